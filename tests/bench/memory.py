#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Memory that goes back: the resident set over time, of each scenario of memory.c under each allocator.

    memory.py [--scenario NAME,...] [--time FACTOR] [allocators.py's options]

The driver reads /proc/PID/statm twenty times a second. Times count from the moment at which the
program had freed what it frees ("idle"). "limit" runs with GOMEMLIMIT and MALLARD_GOMEMLIMIT at 512 MiB;
in "incident" the driver is the OOM killer: it ends a program whose resident set exceeds 1 GiB, and the
table says when. Goals are Mallard's, at full scale: printed as reached or missed, and drawn as a line.

Also told: CPU time used while idle (what giving back costs), and page faults after the first ten seconds
of idleness (memory given back too eagerly comes back as faults); of Mallard, from the box that it leaves,
what it returned until the end, and what of it lay inside spans and was taken into use again ("refaulted").
"""
import argparse
import dataclasses
import json
import os
import pathlib
import select
import signal
import subprocess
import sys
import time

import allocators as known
import goals
import plot
import runs

ROOT = pathlib.Path(__file__).resolve().parents[2]
PAGE_MIB = os.sysconf("SC_PAGE_SIZE") / 2**20
SAMPLE_SECONDS = 0.05
MARKS = (0, 1, 2, 5, 10, 20, 30)
POINTS_MOST = 400


@dataclasses.dataclass
class Scenario:
    text: str
    seconds: float          # how long the program stays after "idle", without what it then does
    goal_mib: float = 0     # the resident set to have reached ...
    goal_after: float = 0   # ... so many seconds after "idle"
    stays_until: float = 0  # and to stay so, seconds after "idle"
    peak_mib: float = 0     # never to exceed
    kill_mib: float = 0     # the driver plays the OOM killer
    env: dict = dataclasses.field(default_factory=dict)


LIMIT = {"GOMEMLIMIT": "512MiB", "MALLARD_GOMEMLIMIT": "512MiB"}
SCENARIOS = {
    "runs": Scenario("1 GiB, 90 % freed in contiguous runs; low load from 10 s", 20, 130, 10, stays_until=20),
    "random": Scenario("1 GiB, 90 % freed at random", 30, 450, 30),
    "threads": Scenario("256 threads, 1 MiB each, all freed", 10, 45, 5, stays_until=10),
    # What lives at the peak, 900 MiB, is beyond the limit; a tenth more is not.
    "limit": Scenario("900 MiB, then 200 MiB, memory limit 512 MiB", 15, 300, 5, stays_until=15, peak_mib=990, env=LIMIT),
    "incident": Scenario("load spike, then a batch job; killed above 1 GiB", 25, 400, 20, peak_mib=1024, kill_mib=1024),
}


@dataclasses.dataclass
class Watched:
    samples: list           # (seconds since idle, MiB)
    phases: dict            # name -> (seconds since idle, live MiB)
    cpu: float              # seconds of CPU between idle and the end
    faults: int             # page faults from ten seconds after idle to the end
    killed: float = None    # seconds since idle
    status: int = 0
    counted: dict = dataclasses.field(default_factory=dict)  # Mallard's own figures, at the end

    def peak(self, since=-float("inf"), until=float("inf")):
        return max((mib for t, mib in self.samples if since <= t <= until), default=float("inf"))

    def at(self, seconds):
        """The resident set then, or None when the program was over."""
        before = [mib for t, mib in self.samples if t <= seconds]
        return before[-1] if before and self.samples[-1][0] >= seconds - 0.2 else None


def read_process(pid):
    """(resident MiB, page faults, CPU seconds), or None when it has ended."""
    try:
        resident = int(pathlib.Path(f"/proc/{pid}/statm").read_text().split()[1]) * PAGE_MIB
        fields = pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    except (OSError, IndexError):
        return None
    return resident, int(fields[7]), (int(fields[11]) + int(fields[12])) * runs.TICK_SECONDS


class Watcher:
    """One program, from its start to its end."""

    def __init__(self, process, scenario, factor, scale):
        self.process, self.scenario, self.factor, self.kill_mib = process, scenario, factor, scenario.kill_mib * scale
        self.rows, self.phases, self.text, self.killed = [], [], b"", None
        os.set_blocking(process.stdout.fileno(), False)

    def read_phases(self):
        self.text += self.process.stdout.read() or b""
        *lines, self.text = self.text.split(b"\n")
        for line in lines:
            _, name, live = line.decode().split()
            self.phases.append((time.monotonic(), name, int(live) / 2**20))

    def run(self, limit_seconds):
        end = time.monotonic() + limit_seconds
        while self.process.poll() is None:
            select.select([self.process.stdout], [], [], SAMPLE_SECONDS)
            self.read_phases()
            row = read_process(self.process.pid)
            if row and row[0] > 0:
                self.rows.append((time.monotonic(), *row))
            if row and self.kill_mib and row[0] > self.kill_mib and not self.killed:
                self.killed = time.monotonic()
                self.process.kill()
            if time.monotonic() > end:
                raise known.Problem("a scenario does not end")
            time.sleep(SAMPLE_SECONDS / 2)
        self.read_phases()
        return self.result()

    def result(self):
        """With times since "idle", in seconds of the full scenario."""
        times = {name: (t, live) for t, name, live in self.phases}
        zero = times["idle"][0] if "idle" in times else self.rows[-1][0]
        since = [((t - zero) / self.factor, mib, faults, cpu) for t, mib, faults, cpu in self.rows]
        rest = [row for row in since if row[0] >= 0] or since[-1:]
        late = [row for row in rest if row[0] >= 10] or rest[-1:]
        return Watched([(t, mib) for t, mib, _, _ in since], {n: ((t - zero) / self.factor, live) for n, (t, live) in times.items()},
                       rest[-1][3] - rest[0][3], late[-1][2] - late[0][2],
                       self.killed and (self.killed - zero) / self.factor, self.process.returncode)


def read_box(place, pid, options):
    """Mallard's figures of a process that has ended, when there is its command to ask."""
    command = pathlib.Path(options.lib).parent / "mallard"
    if not command.exists():
        return {}
    done = subprocess.run([command, "stat", str(pid), "--json"], env={"MALLARD_DIR": str(place.boxes)}, capture_output=True, check=False)
    return json.loads(done.stdout)["Mallard"] if done.returncode == 0 else {}


def watch(place, name, allocator, options):
    scenario = SCENARIOS[name]
    env = place.environment(allocator, scenario.env | {"MALLARD_KEEP": "1"}) | ({"LD_PRELOAD": allocator.path} if allocator.path else {})
    argv = [str(place.programs / "memory"), name, str(options.scale), str(options.time)]
    process = subprocess.Popen(argv, env=env, stdout=subprocess.PIPE, stdin=subprocess.DEVNULL)
    try:
        watched = Watcher(process, scenario, options.time, options.scale).run(120 + 3 * scenario.seconds * options.time)
    finally:
        if process.poll() is None:
            process.kill()
        process.wait()
        process.stdout.close()
    if watched.status != 0 and watched.killed is None:
        raise known.Problem(f"{name} under {allocator.name} ended with status {watched.status}")
    if allocator.own:
        watched.counted = read_box(place, process.pid, options)
    return watched


def verdict(watched, scenario, options):
    if watched.killed is not None:
        return f"killed at {watched.killed:.1f} s"
    if options.scale != 1 or options.time != 1:
        return "alive" if scenario.kill_mib else ""
    reached = watched.at(scenario.goal_after)
    words = "reached" if reached is not None and reached <= scenario.goal_mib else "missed"
    return f"{words} {scenario.goal_mib:.0f} MiB in {scenario.goal_after:.0f} s"


def judged(name, watched):
    """[(what, at most, found)] of Mallard's."""
    scenario = SCENARIOS[name]
    reached = watched.at(scenario.goal_after)
    rows = [(f"{name}: MiB {scenario.goal_after:.0f} s after", scenario.goal_mib, float("inf") if reached is None else reached)]
    if scenario.stays_until:
        rows.append((f"{name}: MiB from then to {scenario.stays_until:.0f} s, at most", scenario.goal_mib,
                     watched.peak(scenario.goal_after, scenario.stays_until)))
    if scenario.peak_mib:
        rows.append((f"{name}: MiB at the peak", scenario.peak_mib, watched.peak()))
    return rows


def counted_sentence(counted):
    returned = sum(counted[f"scavenged_{by}_bytes_total"] for by in ("background", "eager", "forced"))
    refaulted, cpu_ns = counted["span_refaulted_bytes_total"], counted["scavenge_cpu_ns_total"]
    return f"returned {returned / 2**20:.0f} MiB in {cpu_ns / 1e9:.2f} s of CPU; of what lay inside spans {refaulted / 2**20:.1f} MiB were refaulted"


def print_scenario(name, results, options):
    scenario = SCENARIOS[name]
    marks = [m for m in MARKS if m <= scenario.seconds]
    live = max(w.phases.get("idle", (0, 0))[1] for w in results.values())
    print(f"\n{name}: {scenario.text}; {live:.0f} MiB live. Resident MiB:")
    print(f"{'':12}{'peak':>8}" + "".join(f"{f'{m} s':>8}" for m in marks) + f"{'end':>8}{'cpu s':>8}{'faults':>8}  goal")
    for allocator, watched in results.items():
        cells = "".join(f"{'-' if watched.at(m) is None else f'{watched.at(m):.0f}':>8}" for m in marks)
        last = max((mib for t, mib in watched.samples[-6:-2]), default=watched.samples[-1][1])
        print(f"{allocator:12}{watched.peak():8.0f}{cells}{last:8.0f}{watched.cpu:8.2f}{watched.faults:8}  {verdict(watched, scenario, options)}")
    for allocator, watched in results.items():
        if watched.counted:
            print(f"{allocator:12}{counted_sentence(watched.counted)}")


def thinned(samples):
    step = max(1, len(samples) // POINTS_MOST)
    return samples[::step]


def draw(every, names, options):
    panels = []
    for name, results in every.items():
        scenario = SCENARIOS[name]
        marks = [(scenario.goal_mib * options.scale, f"goal at {scenario.goal_after:.0f} s")]
        if scenario.kill_mib:
            marks.append((scenario.kill_mib * options.scale, "killed above"))
        panels.append((f"{name}: {scenario.text}", {a: thinned(w.samples) for a, w in results.items()}, marks))
    plot.line_panels(options.out / "memory.svg", "Resident memory over time", "0 s: the program has freed what it frees, and rests",
                     panels, names, "seconds", "MiB", per_row=2)


def stop(*_):
    raise KeyboardInterrupt


def parse_options():
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    known.add_options(parser, ROOT)
    parser.add_argument("--scenario", type=known.names_list, default=list(SCENARIOS), help=f"of: {' '.join(SCENARIOS)}")
    parser.add_argument("--time", type=float, default=1.0, help="factor on all waiting times")
    options = parser.parse_args()
    for name in options.scenario:
        if name not in SCENARIOS:
            parser.error(f"no scenario named {name}: {' '.join(SCENARIOS)}")
    return options


def run_all(options, place):
    chosen = known.choose(options.lib, options.peers, options.extra, place.folder)
    every = {}
    for name in options.scenario:
        every[name] = {}
        for allocator in chosen:
            print(f"memory: {name} {allocator.name}", file=sys.stderr, flush=True)
            every[name][allocator.name] = watch(place, name, allocator, options)
        print_scenario(name, every[name], options)
    full = options.scale == 1 and options.time == 1
    found = goals.print_judged([row for name, results in every.items() for row in judged(name, results["mallard"]) if full])
    options.out.mkdir(parents=True, exist_ok=True)
    draw(every, [a.name for a in chosen], options)
    facts = {name: {a: dataclasses.asdict(w) for a, w in results.items()} for name, results in every.items()}
    (options.out / "memory.json").write_text(json.dumps({"scale": options.scale, "time": options.time, "goals": found, "scenarios": facts}) + "\n")
    print(f"\nwritten: {options.out}/memory.json {options.out}/memory.svg")


def main():
    options = parse_options()
    signal.signal(signal.SIGTERM, stop)
    place = None
    try:
        place = runs.Workplace(options.bin)
        run_all(options, place)
    except (known.Problem, OSError) as problem:
        return known.give_up("memory", problem)
    except KeyboardInterrupt:
        return 130
    finally:
        if place:
            place.end()
    return 0


if __name__ == "__main__":
    sys.exit(main())
