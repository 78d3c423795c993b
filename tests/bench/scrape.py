#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""What a scrape costs the program that is scraped.

    scrape.py [--reps N] [--window SECONDS] [--seed N] [allocators.py's options]

scraped.c allocates without end, with 10 000 stacks in its profile, serving itself (MALLARD_HTTP). Its time is cut into windows of
four kinds, in cycles of random order: two undisturbed ones, one that begins with a scrape, and one that begins with this
script using the CPU for as long as a scrape uses it (server and client together), without touching the program. What a scrape costs
is how many operations the program lacks in its window, beside the undisturbed windows of the same cycle, in milliseconds of its
work. So what the machine does to all windows of a cycle, or to a whole process, is no part of it.

A program that leaves a CPU for others is measured, and one that takes all. `--scale` multiplies the number of cycles.
"""
import argparse
import contextlib
import json
import math
import os
import pathlib
import random
import socket
import statistics
import subprocess
import sys
import time

import allocators as known
import goals
import programs
import runs

ROOT = pathlib.Path(__file__).resolve().parents[2]
STACKS_LEAST = 9900
CYCLE = ("quiet", "quiet", "scraped", "displaced")
CYCLES = 16  # in one process, at scale 1
WARM_UP_SECONDS = 1.0
WARM_UP_SCRAPES = 3  # the first ones look the names up
PERIOD_SECONDS = 1.0  # of the scrapes that are judged


def fetch(port, path="/debug/pprof/heap"):
    """The body, as a scraper asks for it. By hand: what a client library spends is no part of a scrape."""
    with socket.create_connection(("127.0.0.1", port), timeout=30) as connection:
        connection.sendall(f"GET {path} HTTP/1.1\r\nHost: localhost\r\nAccept-Encoding: gzip\r\nConnection: close\r\n\r\n".encode())
        answer = b"".join(iter(lambda: connection.recv(1 << 20), b""))
    head, _, body = answer.partition(b"\r\n\r\n")
    if not head.startswith(b"HTTP/1.1 200 "):
        raise OSError(head[:100].decode(errors="replace"))
    return body


class Program:
    """scraped.c, serving its profile."""

    def __init__(self, place, allocator, threads):
        self.port = programs.free_port()
        env = place.environment(allocator, {"LD_PRELOAD": allocator.path, "MALLARD_HTTP": f"127.0.0.1:{self.port}"})
        self.process = subprocess.Popen([str(place.programs / "scraped"), str(threads)], env=env, text=True,
                                        stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        if self.process.stdout.readline() != "ready\n":
            raise known.Problem("the scraped program does not start")
        programs.await_port(self.port, "the scraped program")

    def ask(self):
        """Operations so far, and the moment in ns."""
        self.process.stdin.write("?\n")
        self.process.stdin.flush()
        return tuple(map(int, self.process.stdout.readline().split()))

    def stacks(self):
        text = fetch(self.port, "/debug/pprof/heap?debug=1").decode(errors="replace")
        stacks = sum(" @ 0x" in line for line in text.splitlines())
        if stacks < STACKS_LEAST:
            raise known.Problem(f"the profile has {stacks} stacks, not {STACKS_LEAST}")
        return stacks

    def server_seconds(self):
        """CPU time of the threads that serve."""
        total = 0
        for task in pathlib.Path(f"/proc/{self.process.pid}/task").iterdir():
            if (task / "comm").read_text().strip() == "mallard-http":
                total += int((task / "schedstat").read_text().split()[0])
        return total / 1e9

    def start_work(self):
        self.process.stdin.write("go\n")
        self.ask()

    def end(self):
        if self.process.poll() is None:
            self.process.kill()
        self.process.communicate()


class Meter:
    """What scrapes cost by the clocks: the server's CPU time, the client's, and how long the client waited."""

    def __init__(self, program):
        self.program, self.server, self.client, self.wall, self.bytes = program, [], [], [], []

    def scrape(self):
        server, client, start = self.program.server_seconds(), time.thread_time(), time.monotonic()
        self.bytes.append(len(fetch(self.program.port)))
        self.wall.append(time.monotonic() - start)
        self.client.append(time.thread_time() - client)
        self.server.append(self.program.server_seconds() - server)

    def cpu_seconds(self):
        return statistics.median(self.server) + statistics.median(self.client)

    def displace(self):
        end = time.thread_time() + self.cpu_seconds()
        while time.thread_time() < end:
            pass


def window(program, meter, kind, seconds):
    """Operations a second in one window."""
    operations, start = program.ask()
    if kind == "scraped":
        meter.scrape()
    elif kind == "displaced":
        meter.displace()
    time.sleep(max(0.0, start / 1e9 + seconds - time.monotonic()))
    after, end = program.ask()
    return (after - operations) / (end - start) * 1e9


def run_process(place, allocator, threads, options):
    """One process, cycle by cycle: what each window of a cycle did."""
    program = Program(place, allocator, threads)
    try:
        stacks = program.stacks()
        program.start_work()
        for _ in range(WARM_UP_SCRAPES):
            fetch(program.port)
        meter = Meter(program)
        meter.scrape()
        time.sleep(WARM_UP_SECONDS)
        cycles = []
        for _ in range(max(1, round(CYCLES * options.scale))):
            kinds = options.random.sample(CYCLE, len(CYCLE))
            cycles.append([(kind, window(program, meter, kind, options.window)) for kind in kinds])
        return {"stacks": stacks, "cycles": cycles, "server": meter.server, "client": meter.client, "wall": meter.wall, "bytes": meter.bytes}
    finally:
        program.end()


# ---- what it comes to ----


def rates(cycle, kind):
    return [rate for k, rate in cycle if k == kind]


def lacks(cycles, kind):
    """Which share of an undisturbed window one of this kind lacks, cycle by cycle."""
    return [1 - rates(cycle, kind)[0] / statistics.fmean(rates(cycle, "quiet")) for cycle in cycles]


def lacks_afterwards(cycles):
    """The same for an undisturbed window right after a scrape, beside the other one of its cycle."""
    found = []
    for cycle in cycles:
        kinds = [kind for kind, _ in cycle]
        after = kinds.index("scraped") + 1
        if after < len(cycle) and kinds[after] == "quiet":
            other = next(i for i, kind in enumerate(kinds) if kind == "quiet" and i != after)
            found.append(1 - cycle[after][1] / cycle[other][1])
    return found


def median_and_error(values):
    """The median, and its standard error as far as the middle half tells."""
    if len(values) < 4:
        return statistics.median(values) if values else math.nan, math.nan
    low, _, high = statistics.quantiles(values, n=4)
    return statistics.median(values), 1.253 * (high - low) / 1.349 / math.sqrt(len(values))


def show_mode(label, processes, seconds):
    """Prints one table row block; returns the milliseconds that the program loses by a scrape."""
    cycles = [cycle for process in processes for cycle in process["cycles"]]
    speeds = [statistics.median(rate for cycle in process["cycles"] for rate in rates(cycle, "quiet")) for process in processes]
    print(f"\n{label}: {min(speeds) / 1e6:.1f} to {max(speeds) / 1e6:.1f} million operations a second undisturbed, by process")
    lost = {}
    for what, values in (("a scrape", lacks(cycles, "scraped")), ("as much CPU time, used elsewhere", lacks(cycles, "displaced")),
                         ("the window after a scrape", lacks_afterwards(cycles))):
        lost[what] = [value * seconds * 1e3 for value in median_and_error(values)]
        print(f"  {what:34}{lost[what][0]:+8.2f} ms lost (± {lost[what][1]:.2f}, {len(values)} windows)")
    server, client, wall = (statistics.median(t for p in processes for t in p[k]) * 1e3 for k in ("server", "client", "wall"))
    size = statistics.median(b for p in processes for b in p["bytes"])
    print(f"  {'one scrape':34}{server:8.2f} ms of CPU in the server, {client:.2f} in the client, {wall:.1f} ms on the clock, {size / 1024:.0f} KiB")
    return lost


def report(results, guard, options):
    print(f"stacks in the profile: {min(p['stacks'] for processes in results.values() for p in processes)}; seed {options.seed}")
    lost = {label: show_mode(label, processes, options.window) for label, processes in results.items()}
    judged = goals.print_judged([(f"scraped once a second, {label}: lost, %", 1, of["a scrape"][0] / PERIOD_SECONDS / 10) for label, of in lost.items()])
    print(f"\n{guard.sentence()}")
    options.out.mkdir(parents=True, exist_ok=True)
    facts = {"cpus": os.cpu_count(), "window_seconds": options.window, "seed": options.seed, "lost_ms_and_error": lost, "goals": judged, "raw": results, "guard": guard.facts()}
    (options.out / "scrape.json").write_text(json.dumps(facts, indent=1) + "\n")


def modes():
    cpus = len(os.sched_getaffinity(0))
    return ({"a CPU left": cpus - 1} if cpus > 1 else {}) | {"all CPUs taken": cpus}


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    known.add_options(parser, ROOT)
    parser.add_argument("--reps", type=int, default=3, help="processes of each kind")
    parser.add_argument("--window", type=float, default=0.25, help="seconds")
    parser.add_argument("--seed", type=int, default=random.randrange(1 << 32))
    options = parser.parse_args()
    options.random = random.Random(options.seed)
    place, guard, results = None, runs.Guarded(options.patience), {label: [] for label in modes()}
    try:
        place = runs.Workplace(options.bin)
        allocator = known.Allocator("mallard", known.checked("mallard", options.lib), own=True)
        for _ in range(options.reps):
            for label, threads in modes().items():
                results[label].append(guard.run(lambda n=threads: run_process(place, allocator, n, options)))
        report(results, guard, options)
        return 0
    except (known.Problem, OSError) as problem:
        return known.give_up("scrape", problem)
    finally:
        if place:
            with contextlib.suppress(OSError):
                place.end()


if __name__ == "__main__":
    sys.exit(main())
