#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The collected heap beside Boehm's collector, Go's, and malloc with free by hand.

    gc.py [--bench a,b] [--reps N] [--scale F] [--lib …] [--bin …]

The same programs over each heap (tests/bench/gc), interleaved. Times are medians; pauses are those of
all repetitions together: of Mallard and Go the stop-the-world clock values of their gctrace lines, of
Boehm's collector from its events before stopping and after starting the world.
"""
import argparse
import json
import math
import os
import pathlib
import re
import shutil
import statistics
import sys

import allocators as known
import goals
import runs

ROOT = pathlib.Path(__file__).resolve().parents[2]
HEAPS = ("mallard", "boehm", "go", "malloc")
TRACE = re.compile(r"^gc \d+ @[\d.]+s (\d+)%: ([\d.]+)\+[\d.]+\+([\d.]+) ms clock, ", re.MULTILINE)

# name: program, arguments at scale 1 (the numbers that a scale changes are marked), one CPU only, heaps
ROWS = {
    "trees": ("binary_trees", (20, 1), False, HEAPS),
    "trees2": ("binary_trees", (20, 2), False, HEAPS),
    "alloc16": ("allocate", (16, 60), False, HEAPS[:3]),
    "alloc64": ("allocate", (64, 60), False, HEAPS[:3]),
    "mark": ("mark", (1024, 5), True, HEAPS[:3]),
    "live": ("live", (1024, 20), False, HEAPS[:3]),
    "lru": ("lru", (1024, 3000000), False, HEAPS),
    "spike": ("spike", (50, 10), False, HEAPS),
}


def scaled(name, arguments, scale):
    """Work in proportion; of trees each level is a factor of two."""
    first, second = arguments
    if name.startswith("trees"):
        return max(10, first - max(0, round(-math.log2(scale)))), second
    if name.startswith("alloc") or name == "spike":
        return first, max(2, round(second * scale))
    if name == "lru":
        return max(16, round(first * scale)), max(100000, round(second * scale))
    return max(16, round(first * scale)), second


def command(place, heap, program, arguments, one_cpu):
    folder = place.programs / "gc"
    argv = [folder / "twins", program] if heap == "go" else [folder / f"{program}.{heap}"]
    return (["taskset", "-c", "0"] if one_cpu else []) + argv + list(arguments)


def copy_libraries(place, core):
    """A build at the same time changes nothing: the programs find these first."""
    folder = place.folder / "libraries"
    folder.mkdir()
    for name in ("libmallard.so.0", "libmallard-gc.so.0"):
        shutil.copy2(pathlib.Path(core).resolve().parent / name, folder / name)
    return folder


def measure(place, guard, heap, row, scale):
    program, arguments, one_cpu, _ = ROWS[row]
    env = {"GODEBUG": "gctrace=1", "MALLARD_DEBUG": "gctrace=1", "GC_MARKERS": "1" if one_cpu else str(os.cpu_count()),
           "LD_LIBRARY_PATH": str(place.folder / "libraries")}

    def once():
        child = place.start(command(place, heap, program, scaled(row, arguments, scale), one_cpu), env=env)
        child.digest = child.text
        figures = child.finish()
        child.errors.seek(0)
        return figures | {"trace": child.errors.read().decode(errors="replace")}

    figures = guard.run(once)
    lines = dict(line.split() for line in figures["output"].splitlines() if not line.startswith("pause"))
    pauses = [int(line.split()[1]) / 1e6 for line in figures["output"].splitlines() if line.startswith("pause")]
    cycles = TRACE.findall(figures["trace"])
    pauses += [float(value) for cycle in cycles for value in cycle[1:]]
    return {"seconds": figures["seconds"], "cpu": figures["cpu"], "peak_mib": figures["peak_kib"] / 1024, "pauses_ms": pauses,
            "gc_percent": int(cycles[-1][0]) if cycles else None, "disturbed": figures["disturbed"]} | {k: float(v) for k, v in lines.items()}


def quantile(values, share):
    return sorted(values)[min(len(values) - 1, int(len(values) * share))] if values else None


def merged(figures):
    """One heap's repetitions of one row: medians, and all pauses."""
    keys = [key for key in figures[0] if key not in ("pauses_ms", "disturbed", "gc_percent")]
    result = {key: statistics.median(f[key] for f in figures) for key in keys}
    pauses = [pause for f in figures for pause in f["pauses_ms"]]
    shares = [f["gc_percent"] for f in figures if f["gc_percent"] is not None]
    return result | {"gc_percent": statistics.median(shares) if shares else None, "disturbed": any(f["disturbed"] for f in figures),
                     "collections": len(pauses), "pause_p50_ms": quantile(pauses, 0.5), "pause_p99_ms": quantile(pauses, 0.99),
                     "pause_max_ms": max(pauses, default=None)}


def number(value, digits=2):
    return f"{value:.{digits}f}" if value is not None else "-"


OWN = {"ns_per_object": ("ns/object", 1), "objects_per_second": ("M objects/s", 1e-6), "worst_operation_ns": ("worst ms", 1e-6),
       "worst_insertion_ns": ("worst ms", 1e-6), "spike_kib": ("spike MiB", 1 / 1024), "after_kib": ("after MiB", 1 / 1024)}


def show(results):
    print(f"{'':9}{'':9}{'wall s':>9}{'CPU s':>9}{'peak MiB':>10}{'GC %':>6}{'pauses':>8}{'p50 ms':>9}{'p99 ms':>9}{'max ms':>9}")
    for row, heaps in results.items():
        for heap, f in heaps.items():
            own = "  ".join(f"{label} {f[key] * factor:.2f}" for key, (label, factor) in OWN.items() if key in f)
            print(f"{row:9}{heap:9}{f['seconds']:9.2f}{f['cpu']:9.2f}{f['peak_mib']:10.0f}{number(f['gc_percent'], 0):>6}{f['collections']:8}"
                  f"{number(f['pause_p50_ms'], 3):>9}{number(f['pause_p99_ms'], 3):>9}{number(f['pause_max_ms'], 3):>9}  {own}{' !' if f['disturbed'] else ''}")
        print()


def of(results, row, key, heap="mallard"):
    return results.get(row, {}).get(heap, {}).get(key)


def over_best(results, row, key):
    ours, others = of(results, row, key), [of(results, row, key, heap) for heap in ("boehm", "go")]
    return ours / min(others) if ours is not None and None not in others else None


def ratio(results, row, key, other):
    ours, theirs = of(results, row, key), of(results, row, key, other)
    return ours / theirs if ours is not None and theirs else None


def beyond_go(results, row):
    """Points of a hundred between the shares of CPU that collecting takes."""
    ours, gos = of(results, row, "gc_percent"), of(results, row, "gc_percent", "go")
    return None if ours is None or gos is None else ours - gos


def collecting_to_go(results, row):
    """CPU seconds: the share is one of all CPUs for as long as the program ran."""
    share, wall = ratio(results, row, "gc_percent", "go"), ratio(results, row, "seconds", "go")
    return None if share is None or wall is None else share * wall


def judged(results):
    found = [
        ("trees, wall to the better of Go and Boehm", 0.7, over_best(results, "trees", "seconds")),
        ("trees, peak RSS to Go's", 1.0, ratio(results, "trees", "peak_mib", "go")),
        ("trees, two threads, wall to the better", 0.7, over_best(results, "trees2", "seconds")),
        ("16 bytes, ns", 6, of(results, "alloc16", "ns_per_object")),
        ("64 bytes, ns", 6, of(results, "alloc64", "ns_per_object")),
        ("pauses in trees, p99 ms", 0.5, of(results, "trees", "pause_p99_ms")),
        ("pauses, large live heap, p99 ms", 1.5, of(results, "live", "pause_p99_ms")),
        ("pauses, large live heap, longest ms", 5, of(results, "live", "pause_max_ms")),
        ("GC share of CPU in trees, % beyond Go's", 0, beyond_go(results, "trees")),
        ("GC share, two threads, % beyond Go's", 0, beyond_go(results, "trees2")),
        ("CPU seconds of collecting in trees, to Go's", 1.0, collecting_to_go(results, "trees")),
        ("CPU seconds, two threads, to Go's", 1.0, collecting_to_go(results, "trees2")),
        ("lru, longest pause ms", 5, of(results, "lru", "pause_max_ms")),
    ]
    live, after = of(results, "spike", "live_kib"), of(results, "spike", "after_kib")
    found.append(("RSS after a spike, to live", 1.25, after / live if live else None))
    speed = of(results, "mark", "objects_per_second")
    found.append(("marking one object, ns (20 M/s is 50)", 50, 1e9 / speed if speed else None))
    return [goals.judge(label, bar, value) for label, bar, value in found if value is not None]


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    known.add_options(parser, ROOT)
    parser.add_argument("--bench", default=",".join(ROWS))
    parser.add_argument("--reps", type=int, default=3)
    options = parser.parse_args()
    wanted = options.bench.split(",")
    unknown = [name for name in wanted if name not in ROWS]
    if unknown:
        return known.give_up("gc", f"no program {', '.join(unknown)}: one of {', '.join(ROWS)}")
    place, guard, raw = None, runs.Guarded(options.patience), {}
    try:
        place = runs.Workplace(options.bin)
        copy_libraries(place, options.lib)
        for repetition in range(options.reps):
            for row in wanted:
                for heap in ROWS[row][3]:
                    print(f"\r{repetition + 1}/{options.reps} {row} {heap}\033[K", end="", file=sys.stderr)
                    raw.setdefault(row, {}).setdefault(heap, []).append(measure(place, guard, heap, row, options.scale))
    except (known.Problem, OSError) as problem:
        return known.give_up("gc", problem)
    finally:
        print("\r\033[K", end="", file=sys.stderr)
        if place:
            place.end()
    results = {row: {heap: merged(figures) for heap, figures in heaps.items()} for row, heaps in raw.items()}
    show(results)
    print("\n".join(judged(results)))
    print(guard.sentence())
    options.out.mkdir(parents=True, exist_ok=True)
    (options.out / "gc.json").write_text(json.dumps({"reps": options.reps, "scale": options.scale, "cpus": os.cpu_count(), "rows": results}, indent=1) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
