#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""What a trivial program's start costs under each allocator: time, and its floor of memory.

    start.py [--runs N] [allocators.py's options]

start.c does the work, interleaved, N rounds.
"""
import argparse
import json
import os
import pathlib
import sys

import allocators as known
import goals
import runs

ROOT = pathlib.Path(__file__).resolve().parents[2]


def measure(options, place):
    chosen = known.choose(options.lib, [p for p in options.peers if p not in known.SETTINGS], options.extra, place.folder)
    words = [f"{a.name}={a.path}" for a in chosen]

    def once():
        child = place.start([place.programs / "start", options.runs, place.programs / "hello", *words])
        child.digest = child.text
        return child.finish()

    guard = runs.Guarded(options.patience)
    lines = guard.run(once)["output"].splitlines()
    return guard, {name: list(map(float, numbers)) for name, *numbers in map(str.split, lines)}


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    known.add_options(parser, ROOT)
    parser.add_argument("--runs", type=int, default=200)
    options = parser.parse_args()
    place = None
    try:
        place = runs.Workplace(options.bin)
        guard, rows = measure(options, place)
    except (known.Problem, OSError) as problem:
        return known.give_up("start", problem)
    finally:
        if place:
            place.end()
    print(f"{'':14}{'median ms':>10}{'p10':>8}{'p90':>8}{'to glibc':>11}{'peak RSS':>12}")
    for name, (median, tenth, ninety, peak) in rows.items():
        print(f"{name:14}{median / 1e3:10.3f}{tenth / 1e3:8.3f}{ninety / 1e3:8.3f}{(median - rows['glibc'][0]) / 1e3:+8.3f} ms{peak / 1024:8.2f} MiB")
    judged = goals.print_judged([("start of a trivial program, over glibc, ms", 0.5, (rows["mallard"][0] - rows["glibc"][0]) / 1e3),
                                 ("its peak RSS, MiB", 3, rows["mallard"][3] / 1024)])
    print(f"\n{options.runs} interleaved starts each\n{guard.sentence()}")
    options.out.mkdir(parents=True, exist_ok=True)
    (options.out / "start.json").write_text(json.dumps({"runs": options.runs, "cpus": os.cpu_count(), "guard": guard.facts(), "goals": judged,
                                                        "us_median_p10_p90_peak_kib": rows}, indent=1) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
