#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""What a program's memory is on a machine with many CPUs, simulated, and its bound.

    cpus.py CPUS LIBMALLARD.SO [--counts 1,2,4,8,16,32,64] [--idle SECONDS] [--check]

CPUS (cpus.c) runs as many threads as the largest count, once for each count of CPUs. What a CPU may
cost stands in src/cache/percpu_cache.h:

    resident(N) <= resident(1) + (N - 1) * (MAL_SLAB_BYTES + MAL_CACHE_BUDGET_BYTES + PINNED_BYTES)

The first two are exact and tests/unit/core/test_cache.c has them; PINNED_BYTES is what lies free on
pages beside cached objects: measured, with room for the scavenger's being early or late. --check
prints lines for `make check` instead of the table.
"""
import argparse
import os
import pathlib
import re
import subprocess
import sys
import tempfile

SOURCES = pathlib.Path(__file__).resolve().parents[2] / "src"
PINNED_KIB = 512
PHASES = ("touched", "churned", "idle")


def constant(file, pattern):
    return re.search(pattern, (SOURCES / file).read_text())


def bound_kib():
    slab = 1 << int(constant("os/percpu.h", r"#define MAL_SLAB_SHIFT (\d+)")[1])
    budget = constant("cache/percpu_cache.h", r"#define MAL_CACHE_BUDGET_BYTES \((\d+)u << (\d+)\)")
    return (slab + (int(budget[1]) << int(budget[2]))) // 1024 + PINNED_KIB


def run(program, library, cpus, threads, idle):
    with tempfile.TemporaryDirectory(prefix="mallard-cpus.") as boxes:
        env = {"PATH": "/usr/bin:/bin", "LD_PRELOAD": os.path.abspath(library), "MALLARD_DIR": boxes, "MALLARD_DEBUG": f"cpus={cpus}"}
        done = subprocess.run([program, str(threads), str(idle)], env=env, capture_output=True, text=True, timeout=300, check=True)
    return {name: int(kib) for name, kib in (line.split() for line in done.stdout.splitlines())}


def per_cpu(rows, count, phase):
    return (rows[count][phase] - rows[1][phase]) / max(count - 1, 1)


def show(rows, idle):
    print(f"{'CPUs':>5}" + "".join(f"{phase + ' KiB':>14}{'per CPU':>10}" for phase in PHASES))
    for count, row in rows.items():
        print(f"{count:>5}" + "".join(f"{row[phase]:>14}{per_cpu(rows, count, phase):>10.0f}" for phase in PHASES))
    print(f"bound: {bound_kib()} KiB a CPU; idle after {idle} s")


def judge(rows):
    failed = 0
    for count in [count for count in rows if count > 1]:
        for phase in PHASES:
            cost = per_cpu(rows, count, phase)
            holds = cost <= bound_kib()
            failed += not holds
            print(f"{'ok  ' if holds else 'FAIL'} {count} CPUs, {phase}: {cost:.0f} KiB a CPU, at most {bound_kib()}")
    print(f"{(len(rows) - 1) * len(PHASES) - failed} passed, {failed} failed")
    return failed


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("program")
    parser.add_argument("library")
    parser.add_argument("--counts", default="1,2,4,8,16,32,64")
    parser.add_argument("--idle", type=int, default=8)
    parser.add_argument("--check", action="store_true")
    options = parser.parse_args()
    counts = sorted({1, *map(int, options.counts.split(","))})
    rows = {count: run(options.program, options.library, count, max(counts), options.idle) for count in counts}
    if options.check:
        return 1 if judge(rows) else 0
    show(rows, options.idle)
    return 0


if __name__ == "__main__":
    sys.exit(main())
