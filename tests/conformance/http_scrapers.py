#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""What Prometheus, Parca, Alloy and Pyroscope find: discovery, metrics and profiles, each judged by
a tool that is not ours: promtool and go tool pprof.

    http_scrapers.py SERVE LIBMALLARD
"""
import json
import os
import re
import subprocess
import sys
import tempfile

import live
import served

# Allocates and keeps 64 KiB for each line that it reads.
GROWS = "import sys\nkept = []\nfor line in sys.stdin:\n kept.append(bytearray(65536)); print(len(kept), flush=True)\n"

# Parca's and Alloy's default paths, then those that Alloy's godeltaprof options add.
DEFAULT_PATHS = ("allocs", "block", "goroutine", "mutex", "profile")
MORE_PATHS = ("heap", "threadcreate", "delta_heap", "delta_block", "delta_mutex")


def pprof_raw(data):
    with tempfile.NamedTemporaryFile(suffix=".pb.gz") as file:
        file.write(data)
        file.flush()
        done = subprocess.run(["go", "tool", "pprof", "-raw", file.name], capture_output=True, text=True, check=False,
                              env={**os.environ, "PPROF_TMPDIR": tempfile.gettempdir()})
    return done.stdout if done.returncode == 0 else ""


def sums(raw):
    """The totals of each value of the samples in `go tool pprof -raw`."""
    totals = []
    rows = re.search(r"Samples:\n(.*?)\nLocations", raw, re.S)
    for row in re.findall(r"^\s*([-\d ]+): ", rows.group(1) if rows else "", re.M):
        values = [int(value) for value in row.split()]
        totals = [a + b for a, b in zip(totals or [0] * len(values), values)]
    return totals


def check_discovery(checks, scene, address, own):
    got = scene.ask(address, "GET /sd", "X-Prometheus-Refresh-Interval-Seconds: 60", host=f"localhost:{address.rsplit(':', 1)[1]}")
    checks.equal("/sd has Prometheus' type", (got.status, got.type), (200, "application/json"))
    groups = json.loads(got.text)
    checks.equal("one group a living process", len(groups), 2)
    for group in groups:
        labels = group["labels"]
        checks.equal("the target is what was asked", group["targets"], [f"localhost:{address.rsplit(':', 1)[1]}"])
        checks.check("all labels are text", all(isinstance(value, str) for value in labels.values()), labels)
        checks.check("labels that a scraper needs", {"__param_proc", "instance", "service_name", "pid", "exe"} <= set(labels), labels)
        checks.check("no label replaces a path", not any(name.startswith("__profile_") for name in labels), labels)
        checks.check("no scheme over plain HTTP", "__scheme__" not in labels, labels)
    checks.equal("instances are unique", len({group["labels"]["instance"] for group in groups}), 2)
    mine = [group["labels"] for group in groups if group["labels"]["__param_proc"] == own]
    checks.check("an instance names program and process",
                 len(mine) == 1 and re.fullmatch(rf"python3[\d.]*-{re.escape(own)}@localhost:\d+", mine[0]["instance"]), mine)
    again = scene.ask(address, "GET /sd", host=f"localhost:{address.rsplit(':', 1)[1]}")
    key = lambda group: group["labels"]["instance"]
    checks.equal("and is stable", sorted(json.loads(again.text), key=key), sorted(groups, key=key))
    for group in groups:
        metrics = scene.ask(address, f"GET /metrics?proc={group['labels']['__param_proc']}")
        checks.check("each target is up", metrics.status == 200 and metrics.text.count("mallard_process_alive{") == 1, metrics.text[:80])


def check_empty_discovery(checks, serve, library):
    with served.scene(serve, library) as scene:
        (_, address), = scene.start_server("127.0.0.1:0")
        got = scene.ask(address, "GET /sd")
        checks.equal("no process: an empty list", (got.status, json.loads(got.text)), (200, []))


def check_metrics(checks, scene, address, own):
    for path, count in (("/metrics", 2), (f"/metrics?proc={own}", 1), (f"/p/{own}/metrics", 1)):
        text = scene.ask(address, f"GET {path}").text
        done = subprocess.run(["promtool", "check", "metrics"], input=text, capture_output=True, text=True, check=False)
        checks.equal(f"promtool accepts {path}", (done.returncode, done.stdout + done.stderr), (0, ""))
        checks.equal(f"{path} has so many processes", text.count("mallard_process_alive{"), count)
        checks.equal(f"{path}: more families only for all", "serve_servers 1" in text, count == 2)
        checks.equal(f"{path}: resident bytes of each", text.count("process_resident_memory_bytes{"), count)
        names = [line.split(" ")[0] for line in text.splitlines() if not line.startswith("#")]
        checks.equal(f"{path}: each series once", len(names), len(set(names)))


def check_profiles(checks, scene, address, own):
    for name in DEFAULT_PATHS + MORE_PATHS:
        for path in (f"/debug/pprof/{name}?proc={own}", f"/p/{own}/debug/pprof/{name}"):
            got = scene.ask(address, f"GET {path}")
            checks.check(f"{path} is a profile",
                         got.status == 200 and got.type == "application/octet-stream" and "PeriodType" in pprof_raw(got.raw),
                         (got.status, got.type, got.raw[:40]))
    for name in ("allocs", "block", "profile", "delta_heap"):
        got = scene.ask(address, f"GET /debug/pprof/{name}?proc={own}&seconds=1&seconds=14&seconds=28&seconds=999999")
        checks.check(f"{name}: the first of many seconds counts", got.status == 200 and pprof_raw(got.raw), got.raw[:80])
    got = scene.ask(address, f"GET /debug/pprof/allocs?proc={own}&seconds=999999")
    checks.equal("seconds have a bound", got.status, 400)


def check_differences(checks, scene, address, own, grow):
    def scrape(scraper):
        return sums(pprof_raw(scene.ask(address, f"GET /debug/pprof/delta_heap?proc={own}&scraper={scraper}").raw))
    first = scrape("a")
    checks.check("a first scrape has what is live, and no allocations yet", first[:2] == [0, 0] and first[3] > 0, first)
    grow(32)
    second = scrape("a")
    checks.check("the next has what came since", second[1] >= 32 * 65536 and second[1] < 8 << 20, second)
    checks.check("and what is live now", second[3] - first[3] >= 32 * 65536 * 0.9, (first, second))
    third = scrape("a")
    checks.check("nothing came: no difference", third[1] < 65536, third)
    other = scrape("b")
    checks.check("another scraper has its own first", other[:2] == [0, 0] and other[3] > 0, other)
    grow(16)
    checks.check("and its own difference", scrape("b")[1] >= 16 * 65536)
    checks.check("beside that of the first", scrape("a")[1] >= 16 * 65536)


def main(arguments):
    if len(arguments) != 2:
        print(__doc__, file=sys.stderr)
        return 2
    checks = live.Checks()
    check_empty_discovery(checks, *arguments)
    with served.scene(*arguments) as scene:
        scene.start_process(os.geteuid(), "sh", "-c", "read line")
        own = scene.start_process(os.geteuid(), "python3", "-c", GROWS, env={"MALLARD_MEMPROFILERATE": "1"}, stdout=subprocess.PIPE)
        program = scene.running[-1]

        def grow(count):
            for _ in range(count):
                program.stdin.write(b"\n")
                program.stdin.flush()
                program.stdout.readline()
        (_, address), = scene.start_server("127.0.0.1:0")
        grow(1)
        check_discovery(checks, scene, address, own)
        check_metrics(checks, scene, address, own)
        check_profiles(checks, scene, address, own)
        check_differences(checks, scene, address, own, grow)
    return checks.finish()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
