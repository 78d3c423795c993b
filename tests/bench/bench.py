#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Workloads x allocators, side by side on the machine at hand.

    bench.py [--lib PATH] [--bench NAME,...] [--peers NAME,...] [--extra NAME:PATH.so]...
             [--reps N] [--scale PERCENT] [--quick] [--json FILE]

Allocators are preloaded into unmodified programs: glibc (nothing preloaded), jemalloc, tcmalloc
(google-perftools), mimalloc and Mallard; --extra adds any other library. What drifts (clock speed,
neighbours, page cache) must not favour one of them, so the repetitions are interleaved: each
repetition runs every allocator once, in rotating order, before the next begins. Medians count.

Reported per workload: seconds (or what the workload itself measured), the ratio to glibc and to the
best, and the peak resident set of the program (ru_maxrss from wait4, by launch.c; for redis
that of the server). Below 1.00 is better everywhere. The last rows are geometric means. Raw figures
go to build/bench.json. The table of micro.c is nanoseconds per malloc+free pair.

Workloads of our own are in workloads/*.c, described at their heads. Of the real programs note that
Debian's redis-server is itself linked with jemalloc: its "glibc" column is jemalloc without a preload.
"""
import argparse
import json
import math
import os
import pathlib
import platform
import random
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
HERE = pathlib.Path(__file__).resolve().parent
LIBRARY_DIRS = [f"/usr/lib/{platform.machine()}-linux-gnu", "/usr/lib", "/usr/local/lib"]
PEERS = {"jemalloc": "libjemalloc.so.2", "tcmalloc": "libtcmalloc.so.4", "mimalloc": "libmimalloc.so.2.0"}
PYTHON = "/usr/bin/python3.11"
OWN = [path.stem for path in sorted((HERE / "workloads").glob("*.c"))]


class Problem(Exception):
    """Something needed is missing, or a program failed."""


# ---- running one thing ----


def environment():
    env = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C.UTF-8", "HOME": "/nonexistent"}
    return env | {name: value for name, value in os.environ.items() if name.startswith("MALLARD_")}


class Child:
    """A program under an allocator, started through launch.c, which measures it."""

    def __init__(self, argv, lib, cwd, stdin=None):
        self.argv = [str(word) for word in argv]
        read_end, write_end = os.pipe()
        with open(stdin or os.devnull, "rb") as source:
            command = [str(ROOT / "build/bench/launch"), str(write_end), str(lib or ""), *self.argv]
            self.launcher = subprocess.Popen(command, stdin=source, stdout=subprocess.DEVNULL, env=environment(),
                                             cwd=cwd, pass_fds=[write_end])
        os.close(write_end)
        self.report = os.fdopen(read_end)
        self.pid = int(self.report.readline())
        self.over = False

    def finish(self):
        """Waits for the end: {"seconds", "cpu", "peak_kib"}. A child that failed is a Problem."""
        line = self.report.readline().split()
        self.report.close()
        self.launcher.wait()
        self.over = True
        if not line or line[0] != "0":
            raise Problem(f"status {line[0] if line else '?'}: {' '.join(self.argv)[:200]}")
        return {"seconds": int(line[3]) / 1e6, "cpu": int(line[2]) / 1e6, "peak_kib": int(line[1])}


def measure(argv, lib, cwd, stdin=None):
    return Child(argv, lib, cwd, stdin).finish()


# ---- real programs: name -> (program needed, function(work, lib, scale) -> figures) ----


def write_once(path, make):
    if not path.exists():
        path.write_text(make())
    return path


def sql_script(scale):
    rng = random.Random(1)
    lines = ["pragma journal_mode=off; pragma cache_size=200; create table t(a integer primary key, k text, v real, b blob);",
             "create index tk on t(k); begin;"]
    for i in range(int(2500 * scale)):
        lines.append(f"insert into t values({i}, 'key{rng.randrange(3000)}', {rng.random()}, zeroblob({rng.randrange(600)}));")
    lines.append("commit;")
    for i in range(int(25 * scale)):
        lines.append(f"select v, count(*), group_concat(a), hex(max(b)) from t where k = 'key{i}' group by a % 7 order by sum(v);")
    lines.append("select json_group_array(json_object('k', k, 'v', v)) from t;")
    return "\n".join(lines)


def run_sqlite(work, lib, scale):
    script = write_once(work / f"load-{scale}.sql", lambda: sql_script(scale))
    return measure(["sqlite3", "-batch", ":memory:"], lib, work, stdin=script)


PYTHON_SCRIPT = """
import json, re, sys
n = int(sys.argv[1])
d = {}
for i in range(n * 1500):
    d.setdefault(f'key{i % 2000}', []).append((i, 'v' * (i % 700), [i] * (i % 9)))
text = json.dumps({k: v[:20] for k, v in d.items()}); back = json.loads(text)
words = re.findall('[a-z]+', text); joined = ' '.join(words * 2).split(' ')
rows = sorted((str(i * 7919 % 100003), i) for i in range(n * 500))
class Node:
    def __init__(self, depth): self.kids = [Node(depth - 1) for _ in range(3)] if depth else None; self.tag = 'x' * depth * 200
for i in range(max(1, n // 25)): Node(8)
"""


def run_python(work, lib, scale):
    """Python's own arenas are left out, so that every object comes from malloc."""
    script = write_once(work / "load.py", lambda: PYTHON_SCRIPT)
    return measure(["env", "PYTHONMALLOC=malloc", PYTHON, "-I", script, max(1, int(scale))], lib, work)


LUA_SCRIPT = """
local n = tonumber(arg[1]) * 12000
local t = {} for i = 1, n do t[i % 20000] = {name = 'n' .. i, list = {i, i + 1, ('x'):rep(i % 100)}} end
local parts = {} for i = 1, n // 2 do parts[#parts + 1] = tostring(i / 3) .. ';' end
local s = table.concat(parts) local c = 0 for w in s:gmatch('[^;]+') do c = c + #w end
print(c)
"""


def run_lua(work, lib, scale):
    return measure(["lua5.4", write_once(work / "load.lua", lambda: LUA_SCRIPT), scale], lib, work)


PERL_SCRIPT = """
my $n = $ARGV[0] * 5000; my (%h, @a);
for my $i (1..$n) { $h{'k' . $i % 50000} .= "x$i"; push @a, [$i, 'v' x ($i % 90), {n => $i}]; @a = () if @a > 40000; }
my $t = join ',', map { $_->[1] . $_->[0] } @a; my @w = split /(?<=\\d),/, $t; $t =~ s/(\\d+)/<$1>/g;
print scalar(@w), length $t, "\\n";
"""


def run_perl(work, lib, scale):
    return measure(["perl", write_once(work / "load.pl", lambda: PERL_SCRIPT), scale], lib, work)


CPP_UNIT = """#include <algorithm>
#include <chrono>
#include <functional>
#include <future>
#include <iostream>
#include <map>
#include <random>
#include <regex>
#include <sstream>
#include <string>
#include <thread>
#include <tuple>
#include <unordered_map>
#include <variant>
#include <vector>
template <int N> struct part : part<N - 1> { std::map<int, std::vector<std::tuple<int, std::string>>> m;
  int run() { m[N].emplace_back(N, std::to_string(N)); return (int)m.size() + part<N - 1>::run(); } };
template <> struct part<0> { int run() { return std::regex_match("a", std::regex("a+")); } };
int main() { return part<%d>().run(); }
"""


def run_cc1plus(work, lib, scale):
    unit = write_once(work / f"unit-{scale}.cc", lambda: CPP_UNIT % max(1, int(scale)))
    return measure(["g++", "-O1", "-std=gnu++17", "-c", unit, "-o", os.devnull], lib, work)


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def await_port(port):
    end = time.monotonic() + 20
    while time.monotonic() < end:
        with socket.socket() as s:
            if s.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.01)
    raise Problem("redis-server does not start")


def run_redis(work, lib, scale):
    """The server has the allocator, its load generator has none. Seconds are those of the load."""
    port = free_port()
    server = Child(["redis-server", "--port", port, "--bind", "127.0.0.1", "--save", "", "--dir", work], lib, work)
    try:
        await_port(port)
        load = ["redis-benchmark", "-p", port, "-q", "-P", 32, "-c", 20, "-r", 20000, "-d", 300,
                "-n", max(1000, int(2000 * scale)), "-t", "set,get,lpush,hset,sadd,zadd,spop,lrange_100"]
        seconds = measure(load, None, work)["seconds"]
        os.kill(server.pid, signal.SIGTERM)
        return server.finish() | {"seconds": seconds}
    finally:
        if not server.over:
            os.kill(server.pid, signal.SIGKILL)


REAL = {"redis": ("redis-server", run_redis), "sqlite3": ("sqlite3", run_sqlite), "python": (PYTHON, run_python),
        "lua": ("lua5.4", run_lua), "perl": ("perl", run_perl), "cc1plus": ("g++", run_cc1plus)}


# ---- our own ----


def build(out):
    """Compiles micro.c and the workloads into build/bench/; newer than their sources is good enough."""
    out.mkdir(parents=True, exist_ok=True)
    header = (HERE / "workloads/load.h").stat().st_mtime
    for source in [HERE / "launch.c", HERE / "micro.c", *sorted((HERE / "workloads").glob("*.c"))]:
        target = out / source.stem
        if target.exists() and target.stat().st_mtime > max(source.stat().st_mtime, header):
            continue
        command = ["gcc", "-O2", "-Wall", "-Wextra", "-D_GNU_SOURCE", "-pthread", "-fno-builtin-malloc",
                   str(source), "-o", str(target)]
        if subprocess.run(command).returncode != 0:
            raise Problem(f"does not compile: {source}")


def run_own(name):
    return lambda work, lib, scale: measure([ROOT / "build/bench" / name, scale], lib, work)


def run_micro(lib, scale):
    env = environment() | ({"LD_PRELOAD": lib} if lib else {})
    out = subprocess.run([str(ROOT / "build/bench/micro"), str(scale)], env=env, check=True,
                         capture_output=True, text=True).stdout
    rows = (line.split() for line in out.splitlines())
    return {f"{pattern} {size}": float(ns) for pattern, size, ns in rows}


# ---- the harness ----


def find_library(name):
    return next((f"{d}/{name}" for d in LIBRARY_DIRS if os.path.exists(f"{d}/{name}")), None)


def choose_allocators(options):
    """name -> library or None. A peer that is not installed is named and left out."""
    chosen = {"glibc": None}
    for name in options.peers:
        if name == "glibc":
            continue
        if name not in PEERS:
            raise Problem(f"no peer named {name}: {' '.join(PEERS)}")
        path = find_library(PEERS[name])
        if path:
            chosen[name] = path
        else:
            print(f"bench: {name} left out: no {PEERS[name]} (tests/support/install-deps.sh bench)", file=sys.stderr)
    for extra in options.extra:
        name, _, path = extra.partition(":")
        chosen[name] = os.path.abspath(path)
    chosen["mallard"] = os.path.abspath(options.lib)
    for name, path in chosen.items():
        if path and not os.path.exists(path):
            raise Problem(f"{name}: no library {path}")
        if path and preload_fails(path):
            raise Problem(f"{name}: {path} cannot be preloaded")
    return chosen


def preload_fails(path):
    done = subprocess.run(["/bin/true"], env=environment() | {"LD_PRELOAD": path}, capture_output=True)
    return done.returncode != 0 or b"cannot be preloaded" in done.stderr


def choose_workloads(options):
    known = {name: (None, run_own(name)) for name in OWN} | REAL
    wanted = options.bench or [*known, "micro"]
    for name in wanted:
        if name not in known and name != "micro":
            raise Problem(f"no workload named {name}: {' '.join(known)} micro")
    chosen = {}
    for name in wanted:
        program, function = known.get(name, (None, None))
        if program and not shutil.which(program, path="/usr/sbin:/usr/bin:/sbin:/bin"):
            print(f"bench: {name} left out: no {program}", file=sys.stderr)
        elif function:
            chosen[name] = function
    return chosen, "micro" in wanted


class Progress:
    """One line on standard error, rewritten; silent where nobody looks."""

    def __init__(self, total):
        self.total, self.done, self.start = total, 0, time.monotonic()

    def step(self, text):
        self.done += 1
        if sys.stderr.isatty():
            left = (time.monotonic() - self.start) / self.done * (self.total - self.done)
            print(f"\r\033[K{self.done}/{self.total} {text}, about {left:.0f} s left", end="", file=sys.stderr, flush=True)

    def end(self):
        if sys.stderr.isatty():
            print("\r\033[K", end="", file=sys.stderr, flush=True)


def rotated(names, by):
    by %= len(names)
    return names[by:] + names[:by]


def run_all(workloads, with_micro, allocators, options, work):
    raw = {name: {a: [] for a in allocators} for name in workloads}
    micro = {a: [] for a in allocators}
    names = list(allocators)
    micro_reps = min(options.reps, 3) if with_micro else 0
    progress = Progress((len(workloads) * options.reps + micro_reps) * len(names))
    for name, function in workloads.items():
        for turn in range(options.reps):
            for allocator in rotated(names, turn):
                progress.step(f"{name} {allocator}")
                raw[name][allocator].append(function(work, allocators[allocator], options.scale))
    for turn in range(micro_reps):
        for allocator in rotated(names, turn):
            progress.step(f"micro {allocator}")
            micro[allocator].append(run_micro(allocators[allocator], options.scale))
    progress.end()
    return raw, micro


def medians(raw, key):
    return {name: {a: statistics.median(f[key] for f in figures) for a, figures in row.items()} for name, row in raw.items()}


def geomean(values):
    return math.exp(statistics.fmean(math.log(max(v, 1e-9)) for v in values)) if values else float("nan")


def ratios(table, to):
    """`to`: an allocator's name, or "best"."""
    base = {name: min(row.values()) if to == "best" else row[to] for name, row in table.items()}
    return {name: {a: v / base[name] for a, v in row.items()} for name, row in table.items()}


def summary(table, allocators):
    return {f"to {to}": {a: geomean([row[a] for row in ratios(table, to).values()]) for a in allocators}
            for to in ("glibc", "best")}


def spread(raw):
    """The middle half of the repetitions as a share of the median: how much to believe."""
    worst = {}
    for name, row in raw.items():
        values = [sorted(f["seconds"] for f in figures) for figures in row.values()]
        worst[name] = max((v[len(v) * 3 // 4] - v[len(v) // 4]) / v[len(v) // 2] for v in values)
    return worst


def print_table(title, table, allocators, unit, noise=None):
    print(f"\n{title}")
    print(f"{'':13}" + "".join(f"{a[:17]:>18}" for a in allocators) + ("   spread" if noise else ""))
    for name, row in table.items():
        best = min(row.values())
        cells = "".join(f"{unit(row[a]):>10} {row[a] / row['glibc']:6.2f}{'*' if row[a] == best else ' '}" for a in allocators)
        print(f"{name:13}{cells}" + (f"   {noise[name]:6.1%}" if noise else ""))
    for label, row in summary(table, allocators).items():
        print(f"{label:13}" + "".join(f"{'':10} {row[a]:6.2f} " for a in allocators))


def report(raw, micro, allocators, options):
    names = list(allocators)
    result = {"machine": {"cpus": os.cpu_count(), "kernel": platform.release(), "arch": platform.machine()},
              "allocators": allocators, "reps": options.reps, "scale": options.scale, "raw": raw, "micro_raw": micro}
    if raw:
        seconds, peak = medians(raw, "seconds"), medians(raw, "peak_kib")
        print_table("Time: seconds, ratio to glibc (* best)", seconds, names, lambda v: f"{v:.3f}", spread(raw))
        print_table("Peak resident set: MiB, ratio to glibc (* best)", peak, names, lambda v: f"{v / 1024:.1f}")
        result.update(seconds=seconds, cpu=medians(raw, "cpu"), peak_kib=peak, spread=spread(raw),
                      geomean_seconds=summary(seconds, names), geomean_peak=summary(peak, names))
    if any(micro.values()):
        table = {key: {a: statistics.median(run[key] for run in micro[a]) for a in names} for key in micro["glibc"][0]}
        print_table("micro: ns per malloc+free pair, ratio to glibc (* best)", table, names, lambda v: f"{v:.1f}")
        result.update(micro_ns=table, geomean_micro=summary(table, names))
    options.json.parent.mkdir(parents=True, exist_ok=True)
    options.json.write_text(json.dumps(result, indent=1) + "\n")
    print(f"\nwritten: {options.json}")


def parse_options():
    def names(text):
        return [name for name in text.split(",") if name]

    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--lib", default=str(ROOT / "build/release/libmallard.so.0"))
    parser.add_argument("--bench", type=names, help=f"of: {' '.join([*OWN, *REAL, 'micro'])}")
    parser.add_argument("--peers", type=names, default=list(PEERS), help=f"beside glibc, of: {' '.join(PEERS)}")
    parser.add_argument("--extra", action="append", default=[], metavar="NAME:PATH.so")
    parser.add_argument("--reps", type=int, help="repetitions (5; 3 with --quick)")
    parser.add_argument("--scale", type=float, help="percent of the full work (100; 20 with --quick)")
    parser.add_argument("--quick", action="store_true", help="less work and 3 repetitions: a look, not a result")
    parser.add_argument("--json", type=pathlib.Path, default=ROOT / "build/bench.json")
    options = parser.parse_args()
    options.reps = max(1, options.reps or (3 if options.quick else 5))
    options.scale = options.scale or (20 if options.quick else 100)
    return options


def main():
    options = parse_options()
    work = pathlib.Path(tempfile.mkdtemp(prefix="mallard-bench."))
    try:
        allocators = choose_allocators(options)
        workloads, with_micro = choose_workloads(options)
        build(ROOT / "build/bench")
        raw, micro = run_all(workloads, with_micro, allocators, options, work)
        report(raw, micro, allocators, options)
    except Problem as problem:
        print(f"bench: {problem}", file=sys.stderr)
        return 1
    finally:
        shutil.rmtree(work, ignore_errors=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
