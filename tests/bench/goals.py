# SPDX-License-Identifier: Apache-2.0
"""What Mallard is to reach, beside what a run of bench.py found. All figures are Mallard's own.

A goal is looked at only when the run measured what it needs. Goals of memory over time, scraping and
starting are judged where they are measured: memory.py, scrape.py, start.py. All say so in lines of one form.
"""
import math
import statistics

PEERS = ("glibc", "jemalloc", "tcmalloc", "mimalloc")
SMALL = (16, 32, 64, 128, 256, 512, 1024)
CLEARLY = 0.95  # of a peer's own mean: less than a twentieth apart is not clearly apart


def summary(label_start, label_end="", allocator="mallard"):
    def find(result, _):
        rows = result.get("summary", {})
        return next((row.get(allocator) for label, row in rows.items() if label.startswith(label_start) and label.endswith(label_end)), None)

    return find


def to_mean_of(peer):
    """Mallard's mean distance from the best to a peer's own."""
    ours, theirs = (summary("time, all", "to best", name) for name in ("mallard", peer))
    return lambda result, names: ours(result, names) / theirs(result, names) if theirs(result, names) else None


def geomean(values):
    return math.exp(statistics.fmean(math.log(value) for value in values))


def against_peers(keys):
    """Geometric mean over `keys` of Mallard's nanoseconds, to the least such mean among the peers."""

    def find(result, names):
        table, peers = result.get("micro_ns"), [name for name in names if name in PEERS]
        if not table or len(peers) < 2:
            return None
        means = {a: geomean(table[key][a] for key in keys(table)) for a in (*peers, "mallard")}
        return means["mallard"] / min(means[a] for a in peers)

    return find


def pattern(name):
    return against_peers(lambda table: [key for key in table if key.startswith(name + " ")])


def micro_ns(key):
    return lambda result, _: result.get("micro_ns", {}).get(key, {}).get("mallard")


def other_form(name, column):
    return lambda result, _: result.get("mallard_to_other_builds", {}).get(name, [None, None])[column]


def rate_one(result, _):
    seconds = result.get("seconds", {}).get("server", {})
    return seconds["mallard-rate1"] / seconds["mallard-off"] if {"mallard-rate1", "mallard-off"} <= seconds.keys() else None


def leanest(workload):
    """Peak resident set to that of the leanest peer."""

    def find(result, names):
        row, peers = result.get("peak_kib", {}).get(workload), [name for name in names if name in PEERS]
        return row["mallard"] / min(row[a] for a in peers) if row and len(peers) > 1 else None

    return find


# what, at most, how it is found
GOALS = [
    ("time, all workloads, to the best", 1.04, summary("time, all", "to best")),
    *((f"time, all workloads, to {peer}'s mean", CLEARLY, to_mean_of(peer)) for peer in PEERS),
    ("worst workload, to the best", 1.3, summary("worst, to best")),
    ("real programs, to glibc", 0.89, summary("time, real", "to glibc")),
    ("peak RSS above 30 MiB, to glibc", 0.93, summary("peak RSS,", "above 30 MiB, to glibc")),
    ("200 threads, peak RSS to the leanest peer: threads", 1.1, leanest("threads")),
    ("200 threads, peak RSS to the leanest peer: crowd", 1.1, leanest("crowd")),
    ("sampling on, to off: time", 1.01, other_form("mallard-off", 0)),
    ("everything sampled, to off: server", 10, rate_one),
    ("pair 16 to 1024 B, to the best peer", 1.0, against_peers(lambda table: [f"pair {size}" for size in SMALL])),
    ("pair 64 KiB, ns", 6, micro_ns("pair 65536")),
    ("batch, to the best peer", 1.0, pattern("batch")),
    ("random, to the best peer", 1.0, pattern("random")),
    ("cross-thread, to the best peer", 1.0, pattern("cross")),
    ("one sample, ns", 600, lambda result, _: result.get("sample_ns", {}).get("mallard")),
]


def judge(what, bar, value, digits=3):
    """One line, as in the table."""
    return f"{what:54}{bar:>9}{value:>10.{digits}f}  {'reached' if value <= bar else 'missed'}"


def show(result, names):
    """Prints what can be judged; returns it as [(what, at most, found)]."""
    found = [(what, bar, find(result, names)) for what, bar, find in GOALS]
    return print_judged([row for row in found if row[2] is not None])


def print_judged(found):
    """[(what, at most, found)] as a table; returns it."""
    if found:
        print(f"\n{'Goals':54}{'at most':>9}{'found':>10}")
    for what, bar, value in found:
        print(judge(what, bar, value))
    return found
