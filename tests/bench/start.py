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
    child = place.start([place.programs / "start", options.runs, place.programs / "hello", *words])
    child.digest = child.text
    guard = runs.Guarded(0)
    figures = guard.run(child.finish)
    return figures["disturbed"], {name: list(map(float, numbers)) for name, *numbers in (line.split() for line in figures["output"].splitlines())}


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    known.add_options(parser, ROOT)
    parser.add_argument("--runs", type=int, default=200)
    options = parser.parse_args()
    place = None
    try:
        place = runs.Workplace(options.bin)
        disturbed, rows = measure(options, place)
    except (known.Problem, OSError) as problem:
        return known.give_up("start", problem)
    finally:
        if place:
            place.end()
    print(f"{'':14}{'median ms':>10}{'p10':>8}{'p90':>8}{'to glibc':>11}{'peak RSS':>12}")
    for name, (median, tenth, ninety, peak) in rows.items():
        print(f"{name:14}{median / 1e3:10.3f}{tenth / 1e3:8.3f}{ninety / 1e3:8.3f}{(median - rows['glibc'][0]) / 1e3:+8.3f} ms{peak / 1024:8.2f} MiB")
    print(f"{options.runs} interleaved starts each" + ("; something else used the machine meanwhile" if disturbed else ""))
    print(goals.judge("start of a trivial program, over glibc, ms", 0.5, (rows["mallard"][0] - rows["glibc"][0]) / 1e3))
    print(goals.judge("its peak RSS, MiB", 3, rows["mallard"][3] / 1024))
    options.out.mkdir(parents=True, exist_ok=True)
    (options.out / "start.json").write_text(json.dumps({"runs": options.runs, "cpus": os.cpu_count(), "us_median_p10_p90_peak_kib": rows}, indent=1) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
