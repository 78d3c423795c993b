#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Heap profiles against programs that know the truth.

    truth.py LIBRARY FOLDER      FOLDER holds the programs `truth` and `look`

1. With every allocation sampled (rate 1) all four views are exact to the byte, while the program
   pauses, after its clean exit and after SIGKILL, for several seeds and in both cache modes.
2. At 512 KiB, over RUNS seeded runs: no view is biased, the bytes allocated are within 1 %, and the
   spread is that of independent samples. An object of S bytes is sampled with p = 1 - e^(-S/R); n
   objects give an estimate c/p whose variance is n (1-p)/p. Each view's total over all runs is
   compared with the normal distribution, and the sum of z^2 over runs and sizes with chi-square, each
   two-sided at 1e-5 (one false alarm in 20 000 executions). Only sizes with at least 30 expected
   samples are used, so that c is near enough to normal.
"""
import collections
import glob
import math
import os
import pathlib
import signal
import subprocess
import sys
import tempfile

import live

RATE = 524288
RUNS = int(os.environ.get("TRUTH_RUNS", "60"))
FIRST_SEED = int(os.environ.get("TRUTH_SEED", "1"))
OPERATIONS = 200000  # a thread and run; four threads allocate about 4 GiB
SIGMAS = 4.42  # two-sided 1e-5
CHECKS = live.Checks()


class Run:
    """One execution of `truth`, held at its pause."""

    def __init__(self, library, folder, seed, threads, operations, rate, cache="rseq"):
        self.look, self.boxes = folder / "look", tempfile.TemporaryDirectory(dir="/dev/shm")
        knobs = {"LD_PRELOAD": str(library), "MALLARD_MEMPROFILERATE": str(rate), "MALLARD_KEEP": "1",
                 "MALLARD_CPU_CACHE": cache, "MALLARD_DIR": self.boxes.name}
        command = [str(folder / "truth"), str(seed), str(threads), str(operations)]
        self.again = "again: " + " ".join([f"{k}={v}" for k, v in knobs.items() if k != "MALLARD_DIR"] + command)
        self.process = subprocess.Popen(command, env=dict(os.environ, **knobs), text=True,
                                        stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        self.truth = {}
        for line in self.process.stdout:
            words = line.split()
            if words[0] == "range":
                self.range = words[1:]
            elif words[0] == "size":
                self.truth[int(words[1])] = (int(words[2]), int(words[3]))
            elif words[0] == "ready":
                break

    def sampled(self):
        """{size: (allocs, frees)} of the box, by size, with the rate of each."""
        box = glob.glob(self.boxes.name + "/*.mallard")
        done = subprocess.run([self.look, box[0], *self.range], capture_output=True, text=True)
        if done.returncode:
            raise RuntimeError(done.stdout[:500])
        seen = collections.defaultdict(lambda: (0, 0))
        for line in done.stdout.splitlines():
            words = line.split()
            if words[0] == "bucket":
                size, _, allocs, frees = map(int, words[1:])
                seen[size] = (seen[size][0] + allocs, seen[size][1] + frees)
        return dict(seen)

    def end(self, how=None):
        if how:
            self.process.send_signal(how)
        self.process.communicate()


def views(table):
    return {"alloc_objects": sum(a for a, f in table.values()),
            "alloc_space": sum(a * s for s, (a, f) in table.items()),
            "inuse_objects": sum(a - f for a, f in table.values()),
            "inuse_space": sum((a - f) * s for s, (a, f) in table.items())}


def exact(library, folder):
    for seed, threads, cache in ((1, 1, "rseq"), (2, 4, "rseq"), (3, 8, "rseq"), (4, 8, "lock")):
        run = Run(library, folder, FIRST_SEED + seed, threads, 20000, 1, cache)
        what = f"rate 1, {threads} threads, {cache}"
        CHECKS.check(f"{what}: every size is exact while the program runs", run.sampled() == run.truth, run.again)
        CHECKS.check(f"{what}: {views(run.truth)}", views(run.sampled()) == views(run.truth), run.again)
        run.end(signal.SIGKILL if seed % 2 else None)
        CHECKS.check(f"{what}: and after its end", run.sampled() == run.truth, run.again)


def add_run(run, expected, got):
    """Adds one run to the sums per (view, size): [truth, estimate, variance, expected samples]."""
    for size, (allocs, frees) in run.truth.items():
        p = -math.expm1(-size / RATE)
        seen_allocs, seen_frees = got.get(size, (0, 0))
        for view, n, c in (("alloc", allocs, seen_allocs), ("inuse", allocs - frees, seen_allocs - seen_frees)):
            row = expected[view, size]
            for i, value in enumerate((n, c / p, n * (1 - p) / p, n * p)):
                row[i] += value


def check_views(expected, again):
    for view in ("alloc", "inuse"):
        for unit in ("objects", "space"):
            rows = [(s if unit == "space" else 1, row) for (v, s), row in expected.items()
                    if v == view and row[3] >= 30]
            truth, estimate = (sum(w * row[i] for w, row in rows) for i in (0, 1))
            z = (estimate - truth) / math.sqrt(sum(w * w * row[2] for w, row in rows))
            what = f"{RUNS} runs at 512 KiB: {view}_{unit} {100 * (estimate / truth - 1):+.3f} %, z = {z:+.2f}"
            CHECKS.check(what, abs(z) < SIGMAS, again)
            if (view, unit) == ("alloc", "space"):
                CHECKS.check("and within 1 %", abs(estimate / truth - 1) < 0.01, again)


def statistical(library, folder):
    expected = collections.defaultdict(lambda: [0, 0, 0, 0])
    z_values = []
    for seed in range(FIRST_SEED, FIRST_SEED + RUNS):
        run = Run(library, folder, seed, 4, OPERATIONS, RATE)
        seen = run.sampled()
        run.end()
        add_run(run, expected, seen)
        for size, (allocs, _) in run.truth.items():
            p = -math.expm1(-size / RATE)
            if allocs * p >= 30 and allocs * (1 - p) >= 30:
                z_values.append((seen.get(size, (0, 0))[0] - allocs * p) / math.sqrt(allocs * p * (1 - p)))
    again = f"again: TRUTH_SEED={FIRST_SEED} TRUTH_RUNS={RUNS} truth.py {library} {folder}"
    check_views(expected, again)
    k = len(z_values)
    # Wilson and Hilferty: the cube root of chi-square/k is normal.
    chi_square = sum(z * z for z in z_values)
    z = ((chi_square / k) ** (1 / 3) - (1 - 2 / (9 * k))) / math.sqrt(2 / (9 * k))
    CHECKS.check(f"the spread is Poisson's: chi-square {chi_square:.1f} of {k}, z = {z:+.2f}", abs(z) < SIGMAS, again)


def main(library, folder):
    library, folder = pathlib.Path(library).resolve(), pathlib.Path(folder).resolve()
    exact(library, folder)
    statistical(library, folder)
    return CHECKS.finish()


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    sys.exit(main(*sys.argv[1:]))
