#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Programs that misuse memory die with the exact sentence.

    death.py LIBRARY FOLDER      runs each program of FOLDER under LD_PRELOAD=LIBRARY

A program prints the pointer that it misuses. It must end by SIGABRT with one line on standard
error, in both cache modes, with usual sampling and with every object sampled. Builds nothing.
"""
import os
import pathlib
import signal
import subprocess
import sys
import tempfile

FREED = "of an object of size class"
INSIDE = "interior pointer: {} bytes into an object of"
EXPECTED = {
    "double_free": f"free({{p}}): double free {FREED} 64",
    "double_free_after_others": f"free({{p}}): double free {FREED} 64",
    "double_free_late": f"free({{p}}): double free {FREED} 64",
    "double_free_medium": f"free({{p}}): double free {FREED} 114688",
    "double_free_in_thread": f"free({{p}}): double free {FREED} 64",
    "double_free_written": f"free({{p}}): double free {FREED} 64, written into in between",
    "double_free_handled": f"free({{p}}): double free {FREED} 64, written into in between",
    "double_free_hole": f"free({{p}}): double free {FREED} 64",
    "double_free_large": "free({p}): double free: no object is there any more",
    "interior_8": f"free({{p}}): {INSIDE.format(8)} size class 64",
    "interior_16": f"free({{p}}): {INSIDE.format(16)} size class 64",
    "interior_one_byte": f"free({{p}}): {INSIDE.format(1)} size class 64",
    "interior_medium": f"free({{p}}): {INSIDE.format(8192)} size class 114688",
    "interior_large": f"free({{p}}): {INSIDE.format(409600)} 1007616 bytes",
    "interior_large_first_page": f"free({{p}}): {INSIDE.format(16)} 1007616 bytes",
    "foreign_stack": "free({p}): foreign pointer: Mallard never gave it out",
    "foreign_static": "free({p}): foreign pointer: Mallard never gave it out",
    "foreign_wild": "free({p}): foreign pointer: Mallard never gave it out",
    "realloc_freed": f"realloc({{p}}): use after free {FREED} 64",
    "realloc_interior": f"realloc({{p}}): {INSIDE.format(16)} size class 64",
    "realloc_foreign": "realloc({p}): foreign pointer: Mallard never gave it out",
    "usable_size_freed": f"malloc_usable_size({{p}}): use after free {FREED} 64",
    "collected": "free({p}): object of the collected heap: use mallard_gc_free",
    "collected_realloc": "realloc({p}): object of the collected heap: use mallard_gc_free",
    "collected_usable_size":
        "malloc_usable_size({p}): object of the collected heap: use mallard_gc_free",
    "tolerated_break": None,
}


def fault(library, program, sentence, knobs):
    """What is wrong with one run; empty when all is well."""
    if not program.exists():
        return "there is no such program"
    done = subprocess.run([program], env=dict(os.environ, LD_PRELOAD=str(library), **knobs),
                          capture_output=True, text=True, timeout=120, stdin=subprocess.DEVNULL)
    if sentence is None:
        wanted_status, wanted = 0, ""
    else:
        wanted_status = -signal.SIGABRT
        wanted = "mallard: " + sentence.format(p=done.stdout.strip()) + "\n"
    if done.returncode != wanted_status:
        return f"status {done.returncode}, not {wanted_status}; it said: {done.stderr!r}"
    if done.stderr != wanted:
        return f"it said {done.stderr!r}, not {wanted!r}"
    return ""


def main(library, folder):
    library, folder = pathlib.Path(library).resolve(), pathlib.Path(folder).resolve()
    failed = passed = 0
    unknown = {p.name for p in folder.iterdir() if os.access(p, os.X_OK) and p.is_file()} - set(EXPECTED)
    with tempfile.TemporaryDirectory() as boxes:
        for name, sentence in sorted(EXPECTED.items()):
            for cache in ("rseq", "lock"):
                for rate in ("524288", "1"):
                    knobs = {"MALLARD_CPU_CACHE": cache, "MALLARD_MEMPROFILERATE": rate, "MALLARD_DIR": boxes}
                    wrong = fault(library, folder / name, sentence, knobs)
                    failed, passed = failed + bool(wrong), passed + (not wrong)
                    print(f"ok   {name} {cache} {rate}" if not wrong else f"FAIL {name}: {wrong}; again: "
                          + " ".join(f"{k}={v}" for k, v in knobs.items() if k != "MALLARD_DIR")
                          + f" LD_PRELOAD={library} {folder / name}")
    for name in sorted(unknown):
        failed += 1
        print(f"FAIL {name}: a program without an expected sentence in death.py")
    print(f"{passed} passed, {failed} failed")
    return bool(failed)


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    sys.exit(main(*sys.argv[1:]))
