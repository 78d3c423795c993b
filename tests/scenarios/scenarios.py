#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Three failures of the field, each before and after its remedy, with the collector's trace beside.

    scenarios.py FOLDER [tail|spike|pool]

FOLDER holds the programs (tests/scenarios). Prints the last trace lines and the figures of both runs,
and judges whether the remedy did what it is for. Exit status 1 when one did not.
"""
import os
import re
import subprocess
import sys
import tempfile

CYCLE = re.compile(r"^gc \d+ @[\d.]+s \d+%: [\d.]+\+[\d.]+\+[\d.]+ ms clock, [\d.]+\+([\d.]+)/[\d.]+/[\d.]+\+[\d.]+ ms cpu, ", re.MULTILINE)


class Run:
    """One run of a program: its figures, and its trace."""

    def __init__(self, folder, program, *arguments, **knobs):
        with tempfile.TemporaryDirectory(prefix="mallard-scenario.") as boxes:
            env = {"PATH": os.environ["PATH"], "MALLARD_DIR": boxes, "MALLARD_DEBUG": "gctrace=1"} | knobs
            done = subprocess.run([os.path.join(folder, program), *arguments], env=env, capture_output=True, text=True, timeout=300, check=False)
        if done.returncode != 0:
            sys.exit(f"scenarios: {program} ended with {done.returncode}\n{done.stderr[-1000:]}")
        self.figures = {key: float(value) for key, value in (line.split() for line in done.stdout.splitlines())}
        self.trace = [line for line in done.stderr.splitlines() if line.startswith("gc ")]
        self.live_mb = int(re.search(r"->(\d+) MB, ", self.trace[-1])[1]) if self.trace else 0
        self.figures["cycles"] = len(self.trace)
        self.figures["assist_ms"] = sum(float(assist) for assist in CYCLE.findall(done.stderr))

    def show(self, title):
        print(f"  {title}")
        for line in self.trace[-2:]:
            print(f"    {line}")
        print("    " + "   ".join(f"{key} {value:g}" for key, value in self.figures.items()))


def tail(folder):
    """Churn that makes the tail latency spike"""
    before, after = Run(folder, "tail", "before"), Run(folder, "tail", "after")
    b, a = before.figures, after.figures
    return before, "scratch memory from the heap", after, "scratch memory from a pool", [
        ("the trace shows assists before", b["assist_ms"] > 0),
        ("few after", a["assist_ms"] <= b["assist_ms"] / 5),
        ("and far fewer cycles", a["cycles"] <= b["cycles"] / 3),
        ("the 99th percentile falls", a["p99_ms"] < b["p99_ms"]),
    ]


def spike(folder):
    """RSS that never falls"""
    before, after = Run(folder, "spike"), Run(folder, "spike", GOMEMLIMIT="100MiB")
    b, a = before.figures, after.figures
    return before, "nothing set", after, "GOMEMLIMIT=100MiB", [
        ("before, the spike stays", b["after_mib"] > 0.8 * b["peak_mib"]),
        ("after, memory is back near the limit", a["after_mib"] <= 110),
    ]


def pool(folder):
    """A pool that keeps its largest buffers"""
    before, after = Run(folder, "pool", "before"), Run(folder, "pool", "after")
    b, a = before.figures, after.figures
    return before, "no bound", after, "max_item_bytes = 64 KiB", [
        ("before, buffers of 10 MiB pile up", b["live_mib"] > 100),
        ("after, small ones are left", a["live_mib"] < 30),
        ("the trace says so too", before.live_mb > 100 and after.live_mb < 30),
        ("and the pool still keeps buffers", a["kept_items"] > 0),
    ]


SCENARIOS = {"tail": tail, "spike": spike, "pool": pool}


def main():
    folder, wanted = sys.argv[1], sys.argv[2:] or list(SCENARIOS)
    good = bad = 0
    for name in wanted:
        if name not in SCENARIOS:
            sys.exit(f"scenarios: there is no '{name}': {' '.join(SCENARIOS)}")
        before, before_title, after, after_title, found = SCENARIOS[name](folder)
        print(f"{name}: {SCENARIOS[name].__doc__}")
        before.show(f"before: {before_title}")
        after.show(f"after: {after_title}")
        for what, reached in found:
            print(f"{'ok  ' if reached else 'FAIL'} {name}: {what}")
            good, bad = good + bool(reached), bad + (not reached)
        print()
    print(f"{good} passed, {bad} failed")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
