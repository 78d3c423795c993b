#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Instructions per operation on the fast paths, against the golden file.

    instructions.py COUNT LIBMALLARD.SO --compiler "gcc -O2 -g" [--renew | --peers]

COUNT (count.c) single-steps through each operation with the library preloaded, once with restartable
sequences and once with the locked caches. The counts depend on the compiler and its flags, so the
golden file names them; under others there is nothing to compare, and that is a skip, not a pass.

A count that grew by more than SLACK fails. One that fell is a reason to renew: `make golden`.
--peers prints the same table for the other allocators instead.
"""
import argparse
import os
import pathlib
import platform
import subprocess
import sys
import tempfile

import allocators

GOLDEN = pathlib.Path(__file__).with_name("golden_instructions.txt")
MODES = ("rseq", "lock")
SLACK = 0.02
HEAD = """# Instructions inside libmallard.so per operation, counted by tests/bench/count.c.
# Columns: operation, with restartable sequences, with locked caches. Renewed by `make golden`.
"""


class NoStepping(Exception):
    """Single steps are not allowed here."""


def count(program, library, mode):
    with tempfile.TemporaryDirectory(prefix="mallard-count.") as boxes:
        env = {"PATH": "/usr/bin:/bin", "MALLARD_DIR": boxes, "MALLARD_CPU_CACHE": mode}
        env |= {"LD_PRELOAD": os.path.abspath(library)} if library else {}
        done = subprocess.run([program], env=env, capture_output=True, text=True, check=False, timeout=120)
    if done.returncode == 2:
        raise NoStepping(done.stderr.strip())
    if done.returncode != 0:
        raise allocators.Problem(f"{program}: status {done.returncode}: {done.stderr.strip()}")
    return {name: int(number) for name, number in (line.split() for line in done.stdout.splitlines())}


def built_with(compiler):
    """What the golden file must have been made with: the machine, the compiler's version, its flags."""
    name, _, flags = compiler.partition(" ")
    said = subprocess.run([name, "--version"], capture_output=True, text=True, check=True).stdout
    brand = "clang" if "clang" in said else "gcc"
    version = subprocess.run([name, "-dumpversion" if brand == "clang" else "-dumpfullversion"], capture_output=True, text=True, check=True)
    return f"{platform.machine()} {brand} {version.stdout.strip()} {flags}".strip()


def read_golden():
    """(built with, {operation: {mode: count}})"""
    built, rows = "", {}
    for line in GOLDEN.read_text().splitlines() if GOLDEN.exists() else ():
        if line.startswith("built: "):
            built = line.removeprefix("built: ")
        elif line and not line.startswith("#"):
            name, *numbers = line.split()
            rows[name] = dict(zip(MODES, map(int, numbers)))
    return built, rows


def write_golden(built, found):
    rows = [f"{name:24}" + "".join(f"{found[mode][name]:>6}" for mode in MODES) for name in found["rseq"]]
    GOLDEN.write_text(HEAD + f"built: {built}\n" + "\n".join(rows) + "\n")
    print(f"written: {GOLDEN}")


def judge(name, mode, golden, now):
    if golden is None:
        return f"FAIL {name} {mode}: {now} instructions, not in the golden file; `make golden` adds it"
    if now > golden * (1 + SLACK):
        return f"FAIL {name} {mode}: {now} instructions, {golden} in the golden file; if that must be, `make golden` renews it"
    better = f", {golden} in the golden file: `make golden` keeps the gain" if now < golden * (1 - SLACK) else ""
    return f"ok   {name} {mode}: {now}{better}"


def compare(rows, found):
    if found["rseq"] == found["lock"]:
        print("skip instructions rseq: no restartable sequences here, only locked caches")
        del found["rseq"]
    lines = [judge(name, mode, rows.get(name, {}).get(mode), found[mode][name]) for mode in found for name in found[mode]]
    lines += [f"FAIL {name}: in the golden file, but not counted any more; `make golden`" for name in rows if name not in found["lock"]]
    print("\n".join(lines))
    failed = sum(line.startswith("FAIL") for line in lines)
    print(f"{len(lines) - failed} passed, {failed} failed")
    return 1 if failed else 0


def print_peers(program, library):
    chosen = allocators.choose(library, list(allocators.PEERS), [])
    table = {a.name: count(program, a.path, "rseq") for a in chosen}
    print(f"{'':24}" + "".join(f"{name:>10}" for name in table))
    for name in table["mallard"]:
        print(f"{name:24}" + "".join(f"{row.get(name, '-'):>10}" for row in table.values()))
    return 0


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("program")
    parser.add_argument("library")
    parser.add_argument("--compiler", required=True)
    parser.add_argument("--renew", action="store_true")
    parser.add_argument("--peers", action="store_true")
    options = parser.parse_args()
    built, (golden_built, rows) = built_with(options.compiler), read_golden()
    try:
        if options.peers:
            return print_peers(options.program, options.library)
        if not options.renew and built != golden_built:
            print(f"skip instructions: built with '{built}', the golden file with '{golden_built}'\n0 passed, 0 failed, 1 skipped")
            return 0
        found = {mode: count(options.program, options.library, mode) for mode in MODES}
    except NoStepping as reason:
        print(f"skip instructions: {reason}\n0 passed, 0 failed, 1 skipped")
        return 0
    if options.renew:
        write_golden(built, found)
        return 0
    return compare(rows, found)


if __name__ == "__main__":
    sys.exit(main())
