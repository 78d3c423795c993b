#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""What is seen of a collected heap from outside, and what can be done to it, while its program runs.

    collecting.py BUILD

A daemon watches a program that uses the collected heap and one that does not. The first is asked to
collect and told another GOGC; stat, the page, the API, the metrics, the time line and the trace must
tell the same of it. Of the second nothing is told.
"""
import json
import re
import statistics
import subprocess
import sys
import time

import daemon_scene
import live

NODE_BYTES = 1024
HELD, DROPPED = 20000, 5000
MIB = 1 << 20
FAMILIES = ("gc_heap_bytes", "gc_live_bytes", "next_gc_bytes", "last_gc_time_seconds", "gc_cycles_total", "gc_forced_cycles_total",
            "gc_pause_seconds_total", "gc_cpu_ratio", "gc_last_pause_seconds")
LATE_NS = 500e6  # between two clocks' readings on a busy machine


class Watched:
    """One program as the daemon and the command line tell of it."""

    def __init__(self, scene, daemon, program=None, **options):
        self.scene, self.daemon = scene, daemon
        self.prey = scene.prey(program, **options)

    def get(self, path):
        status, body = self.daemon.get(path)
        if status != 200:
            raise AssertionError(f"{path}: {status} {body[:200]}")
        return body.decode()

    def process(self):
        return json.loads(self.get(f"/api/process?proc={self.prey.id}"))

    def collector(self):
        return self.process()["collector"]

    def history(self):
        return json.loads(self.get(f"/api/history?proc={self.prey.id}"))

    def page(self):
        return self.get(f"/p/{self.prey.id}/")

    def heap_text(self, query=""):
        return self.get(f"/p/{self.prey.id}/debug/pprof/heap?debug=1{query}")

    def trace(self):
        return [line for line in self.get(f"/p/{self.prey.id}/debug/gctrace").splitlines() if line.startswith("gc ")]

    def periodic(self):
        """How many cycles only time asked for, by what is said before each of them."""
        return json.loads(self.get(f"/api/trace?proc={self.prey.id}"))["lines"].count("GC forced")

    def post(self, knob):
        status, body = self.daemon.get(f"/p/{self.prey.id}/debug/mallard/{knob}", method="POST")
        return json.loads(body) if status == 200 else status

    def metrics(self):
        found = re.findall(rf'^mallard_(\w+){{[^}}]*pid="{self.prey.pid}"[^}}]*}} (\S+)$', self.daemon.metrics(), re.M)
        return {name: float(value) for name, value in found}

    def stat(self, *options):
        command = [f"{self.scene.build}/mallard", "stat", str(self.prey.pid), *options]
        return subprocess.run(command, capture_output=True, text=True, timeout=30, env=self.scene.daemon_env, check=True).stdout


def in_use(text, function):
    """Nodes in use, their bytes, and nodes ever allocated, of the stacks with a function in them."""
    sums = [0, 0, 0]
    for row, frames in re.findall(r"^(\d+: \d+ \[\d+: \d+\]) @[^\n]*\n((?:#.*\n)*)", text, re.M):
        objects, size, allocated, total = (int(x) for x in re.findall(r"\d+", row))
        if f"{function}+" in frames and total == allocated * NODE_BYTES:
            sums = [a + b for a, b in zip(sums, (objects, size, allocated))]
    return tuple(sums)


def has_worked(watched, order):
    """Who allocates nothing publishes nothing. For two seconds there are three rows."""
    watched.prey.ask(f"{order} 65536")
    return len(watched.history()["rows"]) >= 3


def check_nothing(checks, watched, when):
    process = watched.process()
    checks.equal(f"{when}: the API says that there is none", process["collector"], None)
    checks.equal(f"{when}: no metric of it", sorted(set(FAMILIES) & set(watched.metrics())), [])
    checks.check(f"{when}: the other metrics are there", watched.metrics().get("heap_alloc_bytes", 0) > 0)
    text, page = watched.stat().split("\n", 1)[1], watched.page()  # the first line has the program's name
    checks.check(f"{when}: stat is silent", not re.search("collect|pause|forced", text), text)
    checks.check(f"{when}: so is the page", not re.search("Collect|Last pause", page))
    checks.equal(f"{when}: no mark on the time line", [e for e in watched.history()["events"] if e["kind"] == "gc"], [])


def check_collect(checks, watched):
    checks.equal("nodes are held", watched.prey.ask(f"hold {HELD}"), "done")
    checks.equal("GOGC was 100", watched.post("gogc?percent=-1"), {"previous": 100})
    made = watched.post("gc")["gc_cycles_total"]  # ends what may have been under way
    checks.equal("nodes are dropped", watched.prey.ask(f"drop {DROPPED}"), "done")
    before = watched.collector()
    checks.equal("with GOGC off no cycle begins by itself", before["cycles"], made)
    checks.check("they are part of the heap", before["heap_bytes"] >= (HELD + DROPPED) * NODE_BYTES, before)
    checks.equal("and in use without gc=1", in_use(watched.heap_text(), "drop_nodes"), (DROPPED, DROPPED * NODE_BYTES, DROPPED))
    text = watched.heap_text("&gc=1")
    after = watched.collector()
    checks.equal("gc=1 makes one cycle, a forced one", (after["cycles"], after["forced_cycles"]), (before["cycles"] + 1, before["forced_cycles"] + 1))
    checks.equal("what is held is in use, exactly", in_use(text, "hold_nodes"), (HELD, HELD * NODE_BYTES, HELD))
    checks.equal("what was dropped is not", in_use(text, "drop_nodes"), (0, 0, DROPPED))
    checks.check("the live heap is what is held", HELD * NODE_BYTES <= after["live_bytes"] < HELD * NODE_BYTES + MIB, after)
    checks.equal("the knob makes another", watched.post("gc"), {"gc_cycles_total": after["cycles"] + 1})
    checks.equal("without gc=1 there is none", (watched.heap_text() != "", watched.collector()["cycles"]), (True, after["cycles"] + 1))
    checks.equal("GOGC was off", watched.post("gogc?percent=100"), {"previous": -1})


def room(collector):
    return collector["goal_bytes"] - collector["live_bytes"]


def check_gogc(checks, watched):
    wide = watched.collector()
    checks.equal("GOGC was 100", watched.post("gogc?percent=50"), {"previous": 100})
    narrow = watched.collector()
    checks.check("half of it is half of the room above the live heap", abs(room(narrow) / room(wide) - 0.5) < 0.05, (wide, narrow))
    checks.equal("and begins no cycle", narrow["cycles"], wide["cycles"])
    checks.equal("off", watched.post("gogc?percent=-1"), {"previous": 50})
    off = watched.collector()
    checks.equal("there is no goal", off["goal_bytes"], None)
    checks.check("stat says so", re.search("^  next collection at +no size$", watched.stat(), re.M))
    watched.prey.ask(f"drop {8 * HELD}")
    checks.equal("what is dropped now begins no cycle", watched.collector()["cycles"], off["cycles"])
    checks.equal("on again", watched.post("gogc?percent=100"), {"previous": -1})
    watched.prey.ask(f"drop {8 * HELD}")
    on = watched.collector()
    checks.check("now it does, and nobody forced it", on["cycles"] > off["cycles"] and on["forced_cycles"] == off["forced_cycles"], (off, on))


def settled(watched):
    """Whether the cycle that was under way, if one was, has ended: the figures stand still."""
    before = watched.collector()
    time.sleep(0.5)
    return watched.collector() == before


def check_agreement(checks, watched):
    """Everything that tells of the collector tells the same."""
    checks.check("no cycle is under way", live.wait_until(lambda: settled(watched), 20))
    stats = json.loads(watched.stat("--json"))
    collector, metrics, text, page = watched.collector(), watched.metrics(), watched.stat(), watched.page()
    cycles = collector["cycles"]
    pauses = stats["PauseNs"][:cycles]
    checks.check("all cycles are in the ring", 3 < cycles <= 256, cycles)
    checks.equal("cycles", (stats["NumGC"], metrics["gc_cycles_total"]), (cycles, cycles))
    checks.equal("forced ones", (stats["NumForcedGC"], metrics["gc_forced_cycles_total"]), (collector["forced_cycles"],) * 2)
    checks.equal("the last pause", (collector["last_pause_ns"], round(metrics["gc_last_pause_seconds"] * 1e9)), (pauses[-1],) * 2)
    checks.equal("all pauses", (collector["total_pause_ns"], stats["PauseTotalNs"]), (sum(pauses),) * 2)
    checks.equal("the goal", (stats["NextGC"], metrics["next_gc_bytes"]), (collector["goal_bytes"],) * 2)
    checks.equal("the live heap", (stats["Mallard"]["gc_live_bytes"], metrics["gc_live_bytes"]), (collector["live_bytes"],) * 2)
    checks.check("the heap is above it", collector["heap_bytes"] >= collector["live_bytes"] > 0, collector)
    checks.check("the share of CPU", 0 < collector["cpu_share"] < 1 and abs(metrics["gc_cpu_ratio"] - collector["cpu_share"]) < 1e-9, collector)
    forced = collector["forced_cycles"]
    for wanted in (rf"^  collections +{cycles} \({forced} forced\)$", rf"^  last pause +{pauses[-1] / 1e6:.3f} ms$",
                   rf"^  all pauses +{sum(pauses) / 1e6:.3f} ms \(", rf"^  CPU time for collecting +{100 * collector['cpu_share']:.1f} %$"):
        checks.check(f"stat has {wanted}", re.search(wanted, text, re.M), text)
    for wanted in (f"<dd>{cycles}, {forced} of them forced</dd>", f"<dd>{pauses[-1] / 1e6:.3f} ms</dd>",
                   f"title=\"{collector['goal_bytes']} bytes\"", f"title=\"{collector['live_bytes']} bytes\"", "Collect garbage"):
        checks.check(f"the page has {wanted}", wanted in page)
    check_trace(checks, watched, collector)
    check_time_line(checks, watched, collector, stats)


def check_trace(checks, watched, collector):
    lines = watched.trace()
    checks.equal("a line for each cycle", [int(re.match(r"gc (\d+) ", line)[1]) for line in lines], list(range(1, collector["cycles"] + 1)))
    checks.equal("forced ones say so", sum(line.endswith(" (forced)") for line in lines), collector["forced_cycles"])
    checks.equal("the last one's live heap", int(re.search(r"->(\d+) MB,", lines[-1])[1]), collector["live_bytes"] // MIB)


def check_time_line(checks, watched, collector, stats):
    def newest():
        history = watched.history()
        return dict(zip(history["columns"], history["rows"][-1]))
    wanted = collector["cycles"], collector["goal_bytes"]
    checks.check("the newest row has the cycles and the goal",
                 live.wait_until(lambda: (newest()["num_gc"], newest()["next_gc_bytes"]) == wanted, 10), (newest(), wanted))
    marks = [event for event in watched.history()["events"] if event["kind"] == "gc"]
    checks.equal("a mark for each cycle, with its line", [mark["text"] for mark in marks], watched.trace())
    late = [end - mark["unix_ns"] for mark, end in zip(marks, stats["PauseEnd"])]
    checks.check("each stands where its cycle was", late and abs(statistics.median(late)) < LATE_NS and all(-LATE_NS < x < 10 * LATE_NS for x in late), late)


def check_period(checks, watched):
    """Two minutes after the last cycle time alone asks for one, unless GOGC is off."""
    checks.check("it allocates", live.wait_until(lambda: has_worked(watched, "malloc"), 20))
    watched.prey.ask("hold 100")
    watched.post("gc")
    rows = len(watched.history()["rows"])
    checks.check("a while goes by again", live.wait_until(lambda: len(watched.history()["rows"]) > rows + 1, 20))
    checks.equal("nothing is due yet", (watched.periodic(), watched.collector()["cycles"]), (0, 1))
    watched.post("gogc?percent=-1")
    watched.prey.ask("clock 121")
    watched.post("gc")
    watched.post("gc")
    watched.prey.ask("clock 0")
    checks.equal("GOGC=off: two minutes ask for nothing", (watched.periodic(), watched.collector()["cycles"]), (0, 3))
    watched.post("gogc?percent=100")
    watched.prey.ask("clock 121")
    watched.post("gc")
    checks.check("two minutes later there is a cycle", live.wait_until(lambda: watched.periodic() > 0, 20))
    watched.prey.ask("clock 0")
    watched.post("gc")
    collector, lines = watched.collector(), watched.trace()
    checks.equal("five were asked for", collector["forced_cycles"], 5)
    checks.equal("the others are those of the clock", collector["cycles"] - collector["forced_cycles"], watched.periodic())
    checks.equal("and their lines do not say that they were asked for", sum(not line.endswith(" (forced)") for line in lines), watched.periodic())


def main(arguments):
    if len(arguments) != 1:
        print(__doc__, file=sys.stderr)
        return 2
    checks = live.Checks()
    with daemon_scene.Scene(arguments[0]) as scene:
        scene.env["MALLARD_MEMPROFILERATE"] = "1"
        for name in ("GOGC", "MALLARD_GOGC", "GODEBUG", "MALLARD_DEBUG", "GOMEMLIMIT", "MALLARD_GOMEMLIMIT"):
            scene.env.pop(name, None)
        daemon = scene.daemon()
        plain = Watched(scene, daemon)
        watched_program = f"{scene.build}/tests/bin/conformance/collecting"
        watched = Watched(scene, daemon, watched_program)
        known = live.wait_until(lambda: daemon.knows(plain.prey.id) and daemon.knows(watched.prey.id), 20)
        checks.check("the daemon knows both", known)
        # Cycles that come long after the start are told from those that are marked at the start.
        checks.check("a while goes by", live.wait_until(lambda: has_worked(plain, "grow") and has_worked(watched, "malloc"), 20))
        check_nothing(checks, watched, "before it is used")
        check_collect(checks, watched)
        check_gogc(checks, watched)
        check_agreement(checks, watched)
        plain.heap_text("&gc=1")
        plain.post("gc")
        check_nothing(checks, plain, "malloc alone, asked to collect")
        scene.env["MALLARD_DEBUG"] = "gctrace=1"
        hurried = Watched(scene, daemon, watched_program, stderr=subprocess.DEVNULL)
        checks.check("the daemon knows it", live.wait_until(lambda: daemon.knows(hurried.prey.id), 20))
        check_period(checks, hurried)
    return checks.finish()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
