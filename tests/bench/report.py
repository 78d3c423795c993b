# SPDX-License-Identifier: Apache-2.0
"""What bench.py measured, as tables on the terminal, JSON and charts.

Ratios below 1 are better everywhere. "To best": to the fastest of glibc, the peers and Mallard in
that row. The spread is half the distance from the least to the greatest repetition, as a share of the
median. Of peak resident sets only workloads above RSS_FLOOR_KIB under glibc enter the mean: below, the
allocators' fixed costs would speak instead of their economy.
"""
import json
import math
import os
import pathlib
import platform
import statistics
import time

import goals
import plot
import programs

RSS_FLOOR_KIB = 30 * 1024
PATTERNS = ("pair", "batch", "random", "cross")
LEAST_NET_NS = 0.1  # what is left of a pair when the loop is subtracted is never less


def geomean(values):
    values = [max(value, 1e-9) for value in values]
    return math.exp(statistics.fmean(math.log(v) for v in values)) if values else float("nan")


def column(raw, key, by=statistics.median):
    return {name: {a: by([f[key] for f in figures]) for a, figures in row.items()} for name, row in raw.items()}


def spread(figures):
    values = [f["seconds"] for f in figures]
    return (max(values) - min(values)) / 2 / statistics.median(values)


def ratios(table, to, marks):
    """`to`: an allocator's name, or "best" of `marks`."""
    base = {name: min(row[a] for a in marks) if to == "best" else row[to] for name, row in table.items()}
    return {name: {a: value / base[name] for a, value in row.items()} for name, row in table.items()}


def only(table, names):
    return {name: row for name, row in table.items() if name in names}


# ---- tables ----


def heading(title, names, width):
    print(f"\n{title}\n{'':14}" + "".join(f"{name[:width - 1]:>{width}}" for name in names))


def print_times(raw, names, marks):
    seconds = column(raw, "seconds")
    to_best = ratios(seconds, "best", marks)
    heading("Time: median seconds, ratio to the best, spread (! a disturbed run was kept)", names, 21)
    for name, row in raw.items():
        cells = ""
        for a in names:
            disturbed = "!" if any(f["disturbed"] for f in row[a]) else " "
            cells += f"{seconds[name][a]:>9.3f} {to_best[name][a]:5.2f} ±{spread(row[a]):4.0%}{disturbed}"
        print(f"{name:14}{cells}")


def print_ratios(title, table, names, marks, to, unit=None):
    heading(title, names, 16 if unit else 14)
    for name, row in ratios(table, to, marks).items():
        cells = "".join(f"{unit(table[name][a]):>9} {row[a]:6.2f}" if unit else f"{row[a]:14.2f}" for a in names)
        print(f"{name:14}{cells}")


def summary_rows(raw, names, marks):
    """[(label, {allocator: number or text})]; the numbers of the whole run."""
    seconds, peak = column(raw, "seconds"), column(raw, "peak_kib", max)
    rows = []
    for label, part in (("all", raw), ("own", [n for n in raw if n not in programs.REAL]), ("real", [n for n in raw if n in programs.REAL])):
        if not part or (label != "all" and len(part) == len(raw)):
            continue
        for to in ("best", "glibc"):
            table = ratios(only(seconds, part), to, marks)
            rows.append((f"time, {label} {len(part)}, to {to}", {a: geomean(row[a] for row in table.values()) for a in names}))
    to_best = ratios(seconds, "best", marks)
    worst = {a: max(to_best, key=lambda n, a=a: to_best[n][a]) for a in names}
    rows.append(("worst, to best", {a: to_best[worst[a]][a] for a in names}))
    rows.append(("worst workload", worst))
    large = [n for n in peak if peak[n]["glibc"] > RSS_FLOOR_KIB]
    for label, part in ((f"peak RSS, {len(large)} above 30 MiB", large), ("peak RSS, all", list(peak))):
        table = ratios(only(peak, part), "glibc", marks)
        if table:
            rows.append((f"{label}, to glibc", {a: geomean(row[a] for row in table.values()) for a in names}))
    return rows


def print_summary(rows, names):
    print(f"\nGeometric means\n{'':40}" + "".join(f"{name[:13]:>14}" for name in names))
    for label, row in rows:
        print(f"{label:40}" + "".join(f"{value[:13] if isinstance(value, str) else f'{value:.3f}':>14}" for value in row.values()))


def differs(mine, other):
    """faster, slower, or same when the ranges of the repetitions overlap."""
    mine, other = [f["seconds"] for f in mine], [f["seconds"] for f in other]
    if max(mine) < min(other):
        return "faster"
    return "slower" if min(mine) > max(other) else "same"


def mean_error(mine, other):
    """Standard error of the mean of logarithms of ratios, from how far the repetitions' own ratios are
    apart: each of one against the other's of the same turn."""
    variances = []
    for name in mine:
        logs = [math.log(m["seconds"] / o["seconds"]) for m, o in zip(mine[name], other[name])]
        variances.append(statistics.variance(logs) / len(logs) if len(logs) > 1 else float("nan"))
    return math.sqrt(sum(variances)) / len(variances)


def print_comparison(raw, own):
    """Mallard against its other builds and settings."""
    result = {}
    for other in [a for a in own if a != "mallard"]:
        seconds, peak = column(raw, "seconds"), column(raw, "peak_kib", max)
        print(f"\nMallard to {other}: time, peak RSS; same: the ranges of the repetitions overlap")
        for name, row in raw.items():
            print(f"{name:14} {seconds[name]['mallard'] / seconds[name][other]:6.3f} {peak[name]['mallard'] / peak[name][other]:6.3f}  "
                  f"{differs(row['mallard'], row[other])}")
        result[other] = [geomean(table[n]["mallard"] / table[n][other] for n in raw) for table in (seconds, peak)]
        error = mean_error({n: row["mallard"] for n, row in raw.items()}, {n: row[other] for n, row in raw.items()})
        print(f"{'geomean':14} {result[other][0]:6.3f} {result[other][1]:6.3f}  time's standard error {error:.3f}")
    return result


# ---- micro ----


def micro_tables(micro):
    """({row: {allocator: net ns}}, {row: {allocator: raw ns}}, {row: ns of nothing})."""
    first = next(iter(micro.values()))
    keys = list(first[0]["ns"])
    raw = {key: {a: min(f["ns"][key] for f in figures) for a, figures in micro.items()} for key in keys}
    nothing = {key: min(f["nothing"][key] for figures in micro.values() for f in figures) for key in keys}
    net = {key: {a: max(raw[key][a] - nothing[key], LEAST_NET_NS) for a in micro} for key in keys}
    return net, raw, nothing


def print_micro(tables, names, marks):
    net, _, nothing = tables
    heading("Micro: ns per malloc+free pair without the loop, ratio to the best; last: the loop with an allocator that does nothing", names, 16)
    to_best = ratios(net, "best", marks)
    for key, row in net.items():
        print(f"{key:14}" + "".join(f"{row[a]:>9.1f} {to_best[key][a]:6.2f}" for a in names) + f"{nothing[key]:>9.1f}")
    means = {}
    for pattern in PATTERNS:
        keys = [key for key in to_best if key.startswith(pattern + " ")]
        means[pattern] = {a: geomean(to_best[key][a] for key in keys) for a in names}
        print(f"{pattern + ' geomean':14}" + "".join(f"{'':9} {means[pattern][a]:6.2f}" for a in names))
    return means


def micro_panels(raw, names):
    panels = []
    for pattern in PATTERNS:
        rows = {int(key.split()[1]): row for key, row in raw.items() if key.startswith(pattern + " ")}
        panels.append((pattern, {a: [(size, row[a]) for size, row in rows.items()] for a in names}, []))
    return panels


# ---- files ----


def dot_rows(raw, table, names, marks, to, key):
    rows = []
    for name, row in raw.items():
        base = min(table[name][a] for a in marks) if to == "best" else table[name][to]
        cells = {a: [f[key] / base for f in row[a]] for a in names}
        rows.append((name, {a: (table[name][a] / base, min(values), max(values)) for a, values in cells.items()}))
    means = {a: geomean(cells[a][0] for _, cells in rows) for a in names}
    return rows + [("geometric mean", {a: (m, m, m) for a, m in means.items()})]


def draw(raw, names, marks, out, machine):
    rows = dot_rows(raw, column(raw, "seconds"), names, marks, "best", "seconds")
    plot.dot_chart(out / "time.svg", "Time, ratio to the best", f"left is better; dots are medians, lines reach from the fastest to the slowest repetition; {machine}",
                   rows, names, bold=("geometric mean",))
    rows = dot_rows(raw, column(raw, "peak_kib", max), names, marks, "glibc", "peak_kib")
    plot.dot_chart(out / "rss.svg", "Peak resident set, ratio to glibc", f"left is better; {machine}", rows, names, bold=("geometric mean",))


def machine_facts():
    model = next((line.split(":")[1].strip() for line in pathlib.Path("/proc/cpuinfo").read_text().splitlines() if line.startswith("model name")), "")
    return {"cpus": os.cpu_count(), "model": model, "kernel": platform.release(), "arch": platform.machine(),
            "taken": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())}


def write_partial(bench, out):
    """What there is after each repetition, in case the rest never comes."""
    out.mkdir(parents=True, exist_ok=True)
    (out / f"{bench.name}.partial.json").write_text(json.dumps({"raw": bench.raw, "micro_raw": bench.micro}) + "\n")


def run_line(options):
    machine = machine_facts()
    return f"{machine['model']}, {machine['cpus']} CPUs, {options.reps} repetitions, scale {options.scale:g}"


def save(bench, result, options, charts=()):
    """Judges what was found, and writes it with how it was measured."""
    result = {"machine": machine_facts(), "allocators": {a.name: a.path for a in bench.chosen}, "reps": options.reps, "scale": options.scale,
              "guard": bench.guard.facts(), "raw": bench.raw, "micro_raw": bench.micro, "sample_raw": bench.samples} | result
    result["goals"] = goals.show(result, [a.name for a in bench.chosen])
    written = f"{bench.name}.json"
    (options.out / written).write_text(json.dumps(result, indent=1) + "\n")
    (options.out / f"{bench.name}.partial.json").unlink(missing_ok=True)
    print(f"\n{run_line(options)}\n{bench.guard.sentence()}")
    print(f"written: {' '.join(str(options.out / name) for name in (written, *charts))}")


def write(bench, options):
    names, marks = [a.name for a in bench.chosen], [a.name for a in bench.chosen if a.sets_mark]
    own = [a.name for a in bench.chosen if a.own]
    result, out, line = {}, options.out, run_line(options)
    if bench.raw:
        result.update(write_workloads(bench.raw, names, marks, own, out, line))
    if bench.with_micro:
        result.update(write_micro(bench, names, marks, out, line))
    save(bench, result, options, (["time.svg", "rss.svg"] if bench.raw else []) + (["micro.svg"] if bench.with_micro else []))


def write_workloads(raw, names, marks, own, out, line):
    print_times(raw, names, marks)
    print_ratios("Time: ratio to glibc", column(raw, "seconds"), names, marks, "glibc")
    print_ratios("Peak resident set: MiB, ratio to glibc", column(raw, "peak_kib", max), names, marks, "glibc", lambda kib: f"{kib / 1024:.1f}")
    comparison = print_comparison(raw, own)
    rows = summary_rows(raw, names, marks)
    print_summary(rows, names)
    draw(raw, names, marks, out, line)
    return {"seconds": column(raw, "seconds"), "peak_kib": column(raw, "peak_kib", max), "summary": dict(rows), "mallard_to_other_builds": comparison}


def write_micro(bench, names, marks, out, line):
    tables = micro_tables(bench.micro)
    means = print_micro(tables, names, marks)
    costs = {a: min(f["ns"]["one sample"] for f in figures) for a, figures in bench.samples.items()}
    for name, cost in costs.items():
        print(f"one sample, allocation and free, under {name}: {cost:.0f} ns")
    plot.line_panels(out / "micro.svg", "One malloc and free, nanoseconds by size", f"loop included; {line}",
                     micro_panels(tables[1], names), names, "bytes", "ns", log_x=True, log_y=True)
    return {"micro_net_ns": tables[0], "micro_ns": tables[1], "micro_nothing_ns": tables[2], "micro_geomean": means, "sample_ns": costs}
