#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""How often threads wait for each of the allocator's locks, from a build that counts.

    locks.py BUILD/tests/bin/bench/workloads LIBMALLARD.SO [--scale S] [--workloads a,b] [--cpus N]

The library is that of `make VARIANT=lockstats`. Every workload with threads runs once; a line a lock
and workload, as far as anybody waited, and the sums. With --cpus the caches are locked ones of so many
simulated CPUs (src/os/percpu.h): what the shared locks would see of a machine with many of them, as far
as two real ones can drive it. No seconds are compared: counting costs some.
"""
import argparse
import collections
import os
import re
import subprocess
import sys
import tempfile
import time

WORKLOADS = "actors,false_active,false_passive,large,pingpong,produce,remote,server,storm,stress,threads,crowd"
LINE = re.compile(r"mallard: lock (\w+): (\d+) locks, (\d+) taken, (\d+) waited, (\d+) ns in all, (\d+) ns at most; "
                  r"busiest lock: (\d+) taken, (\d+) waited")
HEAD = f"{'workload':<14} {'lock':<10} {'locks':>6} {'taken':>10} {'waited':>8} {'share':>8} {'ns each':>9} {'at most µs':>11} {'busiest':>8}"


def run(program, library, scale, cpus):
    """{lock: [locks, taken, waited, ns, longest, busiest taken, busiest waited]}, seconds"""
    with tempfile.TemporaryDirectory(prefix="mallard-locks.") as boxes:
        env = {"PATH": "/usr/bin:/bin", "LD_PRELOAD": os.path.abspath(library), "MALLARD_DIR": boxes}
        env |= {"MALLARD_DEBUG": f"cpus={cpus}"} if cpus else {}
        start = time.monotonic()
        done = subprocess.run([program, str(scale)], env=env, capture_output=True, text=True, timeout=900)
    rows = {found[1]: [int(n) for n in found.groups()[1:]] for found in map(LINE.match, done.stderr.splitlines()) if found}
    if done.returncode != 0 or not rows:
        sys.exit(f"{program}: status {done.returncode}, {len(rows)} locks: {done.stderr.strip()}")
    return rows, time.monotonic() - start


def show(name, lock, row):
    locks, taken, waited, total_ns, longest_ns, _, busiest = row
    print(f"{name:<14} {lock:<10} {locks:>6} {taken:>10} {waited:>8} {waited / taken:>8.3%} {total_ns // max(waited, 1):>9} "
          f"{longest_ns / 1000:>11.1f} {busiest:>8}")


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("programs")
    parser.add_argument("library")
    parser.add_argument("--scale", type=float, default=0.25)
    parser.add_argument("--workloads", default=WORKLOADS)
    parser.add_argument("--cpus", type=int, default=0)
    options = parser.parse_args()
    sums = collections.defaultdict(lambda: [0] * 7)
    print(HEAD)
    for name in options.workloads.split(","):
        rows, seconds = run(os.path.join(options.programs, name), options.library, options.scale, options.cpus)
        for lock, row in rows.items():
            if row[2]:
                show(name, lock, row)
            for at in (1, 2, 3):
                sums[lock][at] += row[at]
            for at in (0, 4, 6):
                sums[lock][at] = max(sums[lock][at], row[at])
        print(f"{name:<14} {seconds:.1f} s", flush=True)
    print()
    for lock, row in sums.items():
        show("all", lock, row)


if __name__ == "__main__":
    main()
