#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""A memory limit: kept where there is something to give back, never an obstacle where there is not.

    limit.py libmallard.so.0 BUILD/tests/bin/conformance BUILD/mallard
"""
import json
import os
import pathlib
import re
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request

import live

MIB = 1 << 20
OFF = 2**63 - 1
LINE = re.compile(r"^scav (\d+) KiB work \(bg\), (\d+) KiB work \(eager\), (\d+) KiB now, (\d+)% util( \(forced\))?$")


class Program:
    def __init__(self, scene, **knobs):
        self.scene = scene
        env = {name: value for name, value in os.environ.items() if "GOMEMLIMIT" not in name and "GOGC" not in name}
        self.errors = tempfile.TemporaryFile("w+")
        self.process = subprocess.Popen(
            [os.path.join(scene.programs, "limit")], text=True, bufsize=1, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            stderr=self.errors, env=env | {"LD_PRELOAD": scene.library, "MALLARD_DIR": scene.folder, "MALLARD_EAGER": "1"} | knobs)

    def order(self, *words):
        self.process.stdin.write(" ".join(map(str, words)) + "\n")
        return self.process.stdout.readline().split()

    def does(self, *words):
        return self.order(*words)[:1] == [str(words[0])]

    def memory(self, field):
        status = pathlib.Path(f"/proc/{self.process.pid}/status").read_text()
        return int(re.search(rf"{field}:\s+(\d+)", status)[1]) * 1024

    def lazily_free(self):
        smaps = pathlib.Path(f"/proc/{self.process.pid}/smaps_rollup").read_text()
        return int(re.search(r"LazyFree:\s+(\d+)", smaps)[1]) * 1024

    def cpu_seconds(self):
        fields = pathlib.Path(f"/proc/{self.process.pid}/stat").read_text().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def stats(self):
        shown = subprocess.run([self.scene.mallard, "stat", str(self.process.pid), "--json"], capture_output=True, text=True,
                               env=dict(os.environ, MALLARD_DIR=self.scene.folder), check=False)
        return json.loads(shown.stdout) if shown.returncode == 0 else {}

    def stat(self, name):
        return find(self.stats(), name)

    def lines(self):
        self.errors.seek(0)
        return self.errors.read().splitlines()

    def end(self):
        self.process.stdin.close()
        status = self.process.wait(20)
        self.process.stdout.close()
        self.errors.close()
        return status


def find(tree, name):
    """The value of a member, wherever in the tree it is."""
    if isinstance(tree, dict):
        if name in tree:
            return tree[name]
        tree = tree.values()
    elif not isinstance(tree, list):
        return None
    return next((found for found in (find(branch, name) for branch in tree) if found is not None), None)


class Scene:
    def __init__(self, library, programs, mallard, folder):
        self.library, self.mallard = os.path.abspath(library), os.path.abspath(mallard)
        self.programs, self.folder = programs, folder


def check_spike(checks, scene):
    """The classic incident in small: a spike far over the limit, then a fall far below."""
    program = Program(scene, MALLARD_GOMEMLIMIT="64MiB", MALLARD_DEBUG="scavtrace=1")
    checks.check("spike: the limit is in the box", live.wait_until(lambda: program.stat("memory_limit_bytes") == 64 * MIB), program.stats())
    checks.check("spike: memory is had beyond the limit", program.does("grow", 128) and program.memory("VmRSS") > 128 * MIB)
    checks.check("spike: what is kept is whole", program.does("thin"))
    start = time.monotonic()
    checks.check("spike: within the limit again in 5 s", live.wait_until(lambda: program.memory("VmRSS") < 64 * MIB, 5),
                 f"{program.memory('VmRSS') // MIB} MiB")
    print(f"# within the limit after {time.monotonic() - start:.1f} s")
    checks.check("spike: and then near what lives", live.wait_until(lambda: program.memory("VmRSS") < 52 * MIB, 10),
                 f"{program.memory('VmRSS') // MIB} MiB")
    checks.check("spike: what lives is whole", program.does("check"))
    settled = live.wait_until(lambda: lines_agree(program), 5)
    checks.check("spike: the lines add up to the counters", settled, f"{program.lines()} {program.stats()}")
    checks.check("spike: in Go's form", all(LINE.match(line) for line in program.lines()), program.lines())
    checks.equal("spike: it ends with status 0", program.end(), 0)


def lines_agree(program):
    """Lines cut their numbers to whole KiB, each by less than one."""
    matches = [match for match in map(LINE.match, program.lines()) if match]
    for group, name in (1, "scavenged_background_bytes_total"), (2, "scavenged_eager_bytes_total"):
        missing = (program.stat(name) or 0) / 1024 - sum(int(match[group]) for match in matches)
        if not 0 <= missing <= len(matches):
            return False
    return bool(matches)


def peak_of_growth(checks, scene, limit):
    program = Program(scene, MALLARD_GOMEMLIMIT=limit)
    checks.check(f"growth, limit {limit}: done", program.does("comb", 64))
    peak, eager = program.memory("VmHWM"), program.stat("scavenged_eager_bytes_total")
    print(f"# limit {limit}: peak {peak // MIB} MiB, {eager // MIB} MiB eagerly, {program.stat('scavenge_calls_total')} calls")
    checks.check(f"growth, limit {limit}: nothing is lost", program.does("check"))
    checks.equal(f"growth, limit {limit}: it ends with status 0", program.end(), 0)
    return peak


def check_growth(checks, scene):
    """Growth gives back first, with a limit and without: gaps that nothing fits into make room for
    what is put elsewhere."""
    for limit in ("off", "80MiB"):
        peak = peak_of_growth(checks, scene, limit)
        checks.check(f"growth, limit {limit}: the peak stays near what lives", peak < 88 * MIB, f"{peak // MIB} MiB")


def given_back_by_growth(checks, scene, limit):
    program = Program(scene)
    program.order("grow", 60)
    program.order("clear")
    program.order("set", limit)
    before = program.stat("scavenged_eager_bytes_total")
    checks.check(f"relief, limit {limit}: growth goes on", program.does("grow", 8))
    given_back = program.stat("scavenged_eager_bytes_total") - before
    checks.equal(f"relief, limit {limit}: it ends with status 0", program.end(), 0)
    return given_back


def check_relief(checks, scene):
    """What lies idle beyond a limit goes back at the hands of who allocates, and stays without one.
    The background may happen to come by and do it first."""
    for _ in range(5):
        free, kept = (given_back_by_growth(checks, scene, limit) for limit in (OFF, 20 * MIB))
        print(f"# without a limit {free // 1024} KiB eagerly, with one {kept // 1024} KiB")
        if free < MIB <= kept:
            break
    checks.check("relief: who allocates gives back", kept >= MIB, f"{kept // 1024} KiB")
    checks.check("relief: which is not so without a limit", free < MIB, f"{free // 1024} KiB")


def check_progress(checks, scene):
    """More lives than the limit allows: the program goes on, and what that costs is bounded."""
    cost = {}
    for limit in ("off", "0", "16MiB"):
        program = Program(scene, GOMEMLIMIT=limit)
        program.order("grow", 64)
        live.wait_until(lambda: (program.stat("heap_alloc_bytes") or 0) > 64 * MIB)
        before, cpu = program.stats(), program.cpu_seconds()
        start = time.monotonic()
        checks.check(f"progress, limit {limit}: every allocation succeeds", program.does("churn", 1024))
        seconds = time.monotonic() - start
        cost[limit] = program.cpu_seconds() - cpu
        after = program.stats()
        delta = {name: find(after, name) - find(before, name) for name in
                 ("scavenge_calls_total", "scavenge_cpu_ns_total", "scavenged_eager_bytes_total", "total_alloc_bytes")}
        calls = delta["scavenge_calls_total"] / (delta["total_alloc_bytes"] / MIB)
        print(f"# limit {limit}: {cost[limit]:.2f} s of CPU, {calls:.1f} calls and "
              f"{delta['scavenged_eager_bytes_total'] / delta['total_alloc_bytes']:.2f} bytes returned per MiB or byte allocated")
        checks.check(f"progress, limit {limit}: at most 64 calls per MiB allocated", calls <= 64, calls)
        checks.check(f"progress, limit {limit}: at most 3/4 of the time is spent returning memory",
                     delta["scavenge_cpu_ns_total"] <= 0.75e9 * seconds + 1e8, f"{delta} in {seconds} s")
        checks.check(f"progress, limit {limit}: nothing is lost", program.does("check"))
        checks.equal(f"progress, limit {limit}: it ends with status 0", program.end(), 0)
    checks.check("progress: less than five times the CPU", max(cost.values()) <= 5 * cost["off"] + 0.5, cost)


def check_pause(checks, scene):
    """However much is beyond a limit, no single allocation pays for it."""
    program = Program(scene)
    name, longest_us = program.order("pause", 256)
    checks.check("pause: no malloc takes long", name == "pause" and int(longest_us) < 20000, f"{longest_us} us of CPU")
    checks.check("pause: nothing is lost", program.does("check"))
    checks.equal("pause: it ends with status 0", program.end(), 0)


def check_setting(checks, scene):
    program = Program(scene)
    checks.equal("set: no limit at first", program.order("set", -1), ["set", str(OFF)])
    checks.equal("set: the previous one is told", program.order("set", 50 * MIB), ["set", str(OFF)])
    checks.equal("set: a negative number asks", program.order("set", -5), ["set", str(50 * MIB)])
    checks.check("set: the box says so", live.wait_until(lambda: program.stat("memory_limit_bytes") == 50 * MIB))
    program.order("grow", 60)
    program.order("thin")
    checks.check("set: and it is kept", live.wait_until(lambda: program.memory("VmRSS") < 50 * MIB, 6), program.memory("VmRSS"))
    program.order("set", OFF)
    checks.equal("set: off again", program.order("set", -1), ["set", str(OFF)])
    checks.equal("set: it ends with status 0", program.end(), 0)


def post(port, path):
    try:
        with urllib.request.urlopen(urllib.request.Request(f"http://127.0.0.1:{port}{path}", method="POST"), timeout=10) as answer:
            return answer.status, json.loads(answer.read())
    except urllib.error.HTTPError as error:
        return error.code, None


def check_over_http(checks, scene):
    env = {name: value for name, value in os.environ.items() if "GOMEMLIMIT" not in name}
    process, port, _ = live.start(scene.mallard, folder=scene.folder, env=env | {"MALLARD_DIR": scene.folder, "GOMEMLIMIT": "3GiB"})
    try:
        checks.check("POST: it serves", live.wait_until(lambda: live.answers("127.0.0.1", port, "/debug/memstats")))
        path = "/debug/mallard/memory-limit?bytes="
        checks.equal("POST: the previous limit", post(port, path + "1000000000"), (200, {"previous": 3 << 30}))
        checks.equal("POST: a negative number asks", post(port, path + "-1"), (200, {"previous": 1000000000}))
        checks.equal("POST: nonsense is refused", post(port, path + "lots")[0], 400)
        checks.equal("POST: GOGC's knob", [post(port, "/debug/mallard/gogc?percent=" + to) for to in ("-1", "50", "70")],
                     [(200, {"previous": before}) for before in (100, -1, 50)])
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10) as answer:
            checks.check("it is among the metrics", re.search(rb"memory_limit_bytes(\{[^}]*\})? 1(000000000|e\+09)\n", answer.read()))
    finally:
        live.stop(process)


def check_knobs(checks, scene):
    for knobs, wanted in (({"GOMEMLIMIT": "7MiB"}, 7 * MIB), ({"GOMEMLIMIT": "7MiB", "MALLARD_GOMEMLIMIT": "off"}, OFF),
                          ({"MALLARD_GOMEMLIMIT": "2GiB"}, 2 << 30)):
        program = Program(scene, **knobs)
        checks.equal(f"{knobs}", (program.order("set", -1)[1], program.lines()), (str(wanted), []))
        program.end()
    program = Program(scene, MALLARD_GOMEMLIMIT="1GB", GOGC="lots")
    checks.equal("a bad limit is none", program.order("set", -1)[1], str(OFF))
    checks.equal("bad values are one line each", program.lines(),
                 ["mallard: MALLARD_GOMEMLIMIT=1GB is not bytes such as 512MiB, auto or off: using off",
                  "mallard: GOGC=lots is not a percentage or off: using 100"])
    program.end()
    program = Program(scene, MALLARD_GOMEMLIMIT="auto", GOGC="off")
    limit = int(program.order("set", -1)[1])
    checks.check("auto is understood", 0 < limit <= OFF and not program.lines(), program.lines())
    checks.check("GOGC=off is in the box", live.wait_until(lambda: program.stat("gogc_percent") == 2**64 - 1), program.stats())
    program.end()


def check_lazy(checks, scene):
    """MADV_FREE: the memory goes when somebody else needs it; what it held may still be there."""
    program = Program(scene, GODEBUG="madvdontneed=0")
    program.order("grow", 64)
    program.order("clear")
    program.order("trim")
    checks.check("madvdontneed=0: the pages wait for the kernel", program.lazily_free() > 48 * MIB, program.lazily_free())
    checks.check("madvdontneed=0: and count as returned", program.stat("heap_released_bytes") > 56 * MIB)
    checks.check("madvdontneed=0: calloc gives zeros all the same", program.does("zero"))
    checks.check("madvdontneed=0: they can be used again", program.does("grow", 64) and program.does("check"))
    checks.equal("madvdontneed=0: it ends with status 0", program.end(), 0)
    program = Program(scene, MALLARD_DEBUG="madvdontneed=1")
    program.order("grow", 64)
    program.order("clear")
    program.order("trim")
    checks.check("madvdontneed=1: they are gone", program.memory("VmRSS") < 48 * MIB and program.lazily_free() == 0)
    checks.check("madvdontneed=1: calloc gives zeros", program.does("zero"))
    checks.equal("madvdontneed=1: it ends with status 0", program.end(), 0)


def main():
    library, programs, mallard = sys.argv[1:]
    checks = live.Checks()
    with tempfile.TemporaryDirectory(dir="/dev/shm") as folder:
        scene = Scene(library, programs, mallard, folder)
        for check in check_spike, check_growth, check_relief, check_progress, check_pause, check_setting, check_over_http, check_knobs, check_lazy:
            check(checks, scene)
    return checks.finish()


if __name__ == "__main__":
    sys.exit(main())
