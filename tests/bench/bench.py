#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Workloads x allocators, side by side on the machine at hand.

    bench.py [--lib PATH] [--bench NAME,...] [--peers NAME,...] [--extra NAME:PATH.so,...]
             [--reps N] [--scale FACTOR] [--patience SECONDS] [--bin FOLDER] [--out FOLDER]

Allocators are preloaded into unmodified programs (allocators.py says which). What drifts (clock speed,
neighbours, page cache) must not favour one of them, so everything is interleaved: each repetition
runs every workload under every allocator, in rotating order, before the next repetition begins.
Medians count. A run during which something else used the machine is dropped and repeated (runs.py).

Workloads: our own in workloads/, each described at its head ("own"); real programs in programs.py
("real"); micro.c ("micro"). Every run's output is compared: an allocator under which a program
computes something else ends the benchmark.

Two builds of Mallard are compared by --extra old:PATH: a table of its own says where they differ by
more than the repetitions do among themselves.
"""
import argparse
import contextlib
import os
import pathlib
import signal
import sys
import time

import allocators as known
import programs
import report
import runs
from allocators import Problem

ROOT = pathlib.Path(__file__).resolve().parents[2]
HERE = pathlib.Path(__file__).resolve().parent
OWN = [path.stem for path in sorted((HERE / "workloads").iterdir()) if path.suffix in (".c", ".cc")]
GROUPS = {"own": OWN, "real": list(programs.REAL)}
MICRO_REPS = 3


def choose_workloads(names):
    """The workloads in the order of the table, and whether micro is wanted."""
    every = [*OWN, *programs.REAL, "micro"]
    wanted = [name for word in names or every for name in GROUPS.get(word, [word])]
    for name in wanted:
        if name not in every:
            raise known.Misuse(f"no workload named {name}: own real {' '.join(every)}")
    for name in [name for name in wanted if name in programs.REAL and not programs.is_there(name)]:
        print(f"bench: {name} left out: no {programs.REAL[name][0]}", file=sys.stderr)
        wanted.remove(name)
    return [name for name in wanted if name != "micro"], "micro" in wanted


def run_one(place, name, allocator, scale):
    if name in programs.REAL:
        return programs.REAL[name][1](place, allocator, scale)
    return place.measure([place.programs / "workloads" / name, scale], allocator)


def run_micro(place, allocator, scale, *which):
    child = place.start([place.programs / "micro", scale, *which], allocator)
    child.digest = child.text
    figures = child.finish()
    rows = [line.split() for line in figures.pop("output").splitlines()]
    return figures | {"ns": {f"{pattern} {size}": float(ns) for pattern, size, ns, _ in rows},
                      "nothing": {f"{pattern} {size}": float(ns) for pattern, size, _, ns in rows}}


def run_sample_cost(place, allocator, scale):
    """One sample, allocation and free: a pair when every allocation is sampled, less one when none is."""
    pair = {}
    for rate in ("0", "1"):
        fixed = known.Allocator(allocator.name, allocator.path, {"MALLARD_MEMPROFILERATE": rate})
        pair[rate] = run_micro(place, fixed, scale, "pair", 64)["ns"]["pair 64"]
    return {"ns": {"one sample": pair["1"] - pair["0"]}}


class Progress:
    """One line on standard error, rewritten; one line per repetition where nobody looks."""

    def __init__(self, total):
        self.total, self.done, self.start, self.live = total, 0, time.monotonic(), sys.stderr.isatty()

    def step(self, text):
        if self.live:
            passed = time.monotonic() - self.start
            left = f", about {passed / self.done * (self.total - self.done):.0f} s left" if self.done else ""
            print(f"\r\033[K{self.done}/{self.total} {text}{left}", end="", file=sys.stderr, flush=True)
        self.done += 1

    def repetition(self, number, of):
        if not self.live:
            print(f"bench: repetition {number} of {of}, {time.monotonic() - self.start:.0f} s", file=sys.stderr, flush=True)

    def end(self):
        if self.live:
            print("\r\033[K", end="", file=sys.stderr, flush=True)


def rotated(items, by):
    by %= len(items)
    return items[by:] + items[:by]


def check_outputs(name, rows):
    """Everybody computes the same, or nobody's time counts."""
    outputs = {(a, figures["output"]) for a, row in rows.items() for figures in row if "output" in figures}
    if len({output for _, output in outputs}) > 1:
        raise Problem(f"{name}: the output differs: " + ", ".join(f"{a} {output}" for a, output in sorted(outputs)))


class Bench:
    name = "bench"

    def __init__(self, options, place):
        self.options, self.place, self.guard = options, place, runs.Guarded(options.patience)
        self.chosen = self.choose()
        self.workloads, self.with_micro = choose_workloads(options.bench)
        self.raw = {name: {a.name: [] for a in self.under(name)} for name in self.workloads}
        self.micro = {a.name: [] for a in self.chosen}
        self.samples = {a.name: [] for a in self.chosen if a.own and a.name not in known.SETTINGS}

    def choose(self):
        return known.choose(self.options.lib, self.options.peers, self.options.extra, self.place.folder)

    def under(self, _name):
        """The allocators that a workload runs under."""
        return self.chosen

    def run(self):
        micro_reps = min(self.options.reps, MICRO_REPS) if self.with_micro else 0
        progress = Progress(sum(map(len, self.raw.values())) * self.options.reps + micro_reps * len(self.chosen))
        for turn in range(self.options.reps):
            for place_in_turn, name in enumerate(self.workloads):
                for allocator in rotated(self.under(name), turn + place_in_turn):
                    progress.step(f"{name} {allocator.name}")
                    figures = self.guard.run(lambda n=name, a=allocator: run_one(self.place, n, a, self.options.scale))
                    self.raw[name][allocator.name].append(figures)
                check_outputs(name, self.raw[name])
            if turn < micro_reps:
                self.run_micro_turn(turn, progress)
            progress.repetition(turn + 1, self.options.reps)
            report.write_partial(self, self.options.out)
        progress.end()

    def run_micro_turn(self, turn, progress):
        for allocator in rotated(self.chosen, turn):
            progress.step(f"micro {allocator.name}")
            self.micro[allocator.name].append(self.guard.run(lambda a=allocator: run_micro(self.place, a, self.options.scale)))
            if allocator.name in self.samples:
                cost = self.guard.run(lambda a=allocator: run_sample_cost(self.place, a, self.options.scale))
                self.samples[allocator.name].append(cost)


def parse_options(description=__doc__, wanted=None):
    parser = argparse.ArgumentParser(description=description.split("\n", maxsplit=1)[0])
    known.add_options(parser, ROOT)
    parser.add_argument("--bench", type=known.names_list, default=wanted, help=f"of: own real {' '.join([*OWN, *programs.REAL, 'micro'])}")
    parser.add_argument("--reps", type=int, default=5, help="repetitions")
    options = parser.parse_args()
    if options.reps < 1 or options.scale <= 0:
        parser.error("--reps and --scale must be above 0")
    return options


def stop(*_):
    raise KeyboardInterrupt


def main(options, kind=Bench, write=report.write):
    signal.signal(signal.SIGTERM, stop)
    os.umask(0o022)
    place = None
    try:
        place = runs.Workplace(options.bin)
        bench = kind(options, place)
        bench.run()
        write(bench, options)
    except (Problem, OSError) as problem:
        return known.give_up("bench", problem)
    except KeyboardInterrupt:
        print("\nbench: interrupted", file=sys.stderr)
        return 130
    finally:
        with contextlib.suppress(KeyboardInterrupt):
            if place:
                place.end()
    return 0


if __name__ == "__main__":
    sys.exit(main(parse_options()))
