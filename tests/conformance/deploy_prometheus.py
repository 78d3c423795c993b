#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""A real Prometheus with the configuration and the alert rules of deploy/prometheus.

    deploy_prometheus.py BUILD        BUILD is the folder of a finished build, such as build/release

It discovers a leaking program through mallardd's /sd, sees it grow, and raises an alert. Of the
configuration only addresses and intervals are changed, of the rules nothing.
"""
import json
import os
import pathlib
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import urllib.parse
import urllib.request

import live

DEPLOY = pathlib.Path(__file__).resolve().parents[2] / "deploy"
LEAK_BYTES_PER_SECOND = 1 << 20
ALERT = "MallardHeapGrowingFast"
ALERT_SECONDS = 150  # the rule waits for one minute


class Started:
    """Everything that was started; ended in the reverse order, whatever happens."""

    def __init__(self):
        self.processes = []

    def start(self, command, **options):
        process = subprocess.Popen([str(part) for part in command], stdin=subprocess.DEVNULL, text=True,
                                   stdout=subprocess.PIPE, stderr=subprocess.STDOUT, **options)
        self.processes.append(process)
        return process

    def end(self, process):
        process.kill()
        process.wait(timeout=20)
        process.stdout.close()
        self.processes.remove(process)

    def end_all(self):
        for process in reversed(list(self.processes)):
            self.end(process)


def start_daemon(started, build, place):
    daemon = started.start([build / "mallardd", "--http", "127.0.0.1:0", "--dir", f"{place}/boxes", "--keep", f"{place}/kept"])
    for line in daemon.stdout:
        found = re.search(r"http://(127\.0\.0\.1:\d+)", line)
        if found:
            return found.group(1)
    raise RuntimeError("mallardd ended before it served")


def start_leak(started, build, place):
    environment = dict(os.environ, LD_PRELOAD=str(build / "libmallard.so.0"), MALLARD_DIR=f"{place}/boxes", MALLARD_EAGER="1")
    process = started.start([build / "tests/bin/programs/leak", LEAK_BYTES_PER_SECOND], env=environment)
    process.stdout.readline()
    return process


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def start_prometheus(started, place, address):
    text = (DEPLOY / "prometheus/prometheus.yml").read_text()
    text = text.replace("127.0.0.1:6060", address)
    text = re.sub(r"((?:scrape|evaluation|refresh)_interval): \d+s", r"\1: 1s", text)
    (pathlib.Path(place) / "prometheus.yml").write_text(text)
    shutil.copy(DEPLOY / "prometheus/alerts.yml", place)
    port = free_port()
    # What it says goes to a file: a pipe that nobody reads would stop it.
    with open(f"{place}/prometheus.log", "w") as log:
        process = subprocess.Popen(["prometheus", f"--config.file={place}/prometheus.yml", f"--storage.tsdb.path={place}/data",
                                    f"--web.listen-address=127.0.0.1:{port}"], stdin=subprocess.DEVNULL, stdout=log,
                                   stderr=subprocess.STDOUT)
    process.stdout = open(os.devnull)
    started.processes.append(process)
    if not live.wait_until(lambda: live.answers("127.0.0.1", port, "/-/ready"), 30):
        raise RuntimeError("Prometheus is not ready: " + pathlib.Path(f"{place}/prometheus.log").read_text()[-2000:])
    return f"http://127.0.0.1:{port}/api/v1"


def get(api, path, **parameters):
    query = "?" + urllib.parse.urlencode(parameters) if parameters else ""
    with urllib.request.urlopen(f"{api}/{path}{query}", timeout=10) as answer:
        return json.load(answer)["data"]


def targets(api):
    return get(api, "targets", state="active")["activeTargets"]


def values(api, query):
    return get(api, "query", query=query)["result"]


def check_discovery(checks, api, pid):
    def both_up():
        return sorted(t["labels"]["job"] for t in targets(api) if t["health"] == "up") == ["mallard", "mallardd"]
    checks.check("the program and the daemon are discovered and up", live.wait_until(both_up, 20), targets(api))
    labels = next((t["labels"] for t in targets(api) if t["labels"]["job"] == "mallard"), {})
    checks.check("the program's target tells which it is", labels.get("pid") == str(pid) and
                 labels.get("instance", "").startswith("leak-") and labels.get("service_name") == "leak", labels)


def check_growth(checks, api, pid):
    query = f'deriv(mallard_heap_alloc_bytes{{job="mallard", pid="{pid}"}}[30s])'

    def growth():
        found = values(api, query)
        return float(found[0]["value"][1]) if len(found) == 1 else 0
    near = live.wait_until(lambda: 0.7 < growth() / LEAK_BYTES_PER_SECOND < 1.3, 40)
    checks.check("PromQL returns its growth", near, f"{growth():.0f} B/s where {LEAK_BYTES_PER_SECOND} leak")
    strange = values(api, 'count by (__name__) ({job="mallardd", __name__!~"mallardd_.+|up|scrape_.+"})')
    checks.equal("the daemon's job has the daemon's own numbers only", strange, [])
    twice = values(api, 'count by (pid, __name__) ({job=~"mallard", exported_pid!=""})')
    checks.equal("no label had to be renamed", twice, [])


def check_alert(checks, api, pid):
    def firing():
        return [a for a in get(api, "alerts")["alerts"] if a["labels"]["alertname"] == ALERT and a["state"] == "firing"]
    live.wait_until(firing, ALERT_SECONDS)
    alerts = firing()
    checks.check(f"{ALERT} fires", len(alerts) == 1 and alerts[0]["labels"]["pid"] == str(pid), get(api, "alerts"))
    if alerts:
        checks.check("and says of whom it tells", f"(pid {pid})" in alerts[0]["annotations"]["summary"], alerts[0])
    others = {a["labels"]["alertname"] for a in get(api, "alerts")["alerts"]} - {ALERT}
    checks.equal("no other alert is raised", sorted(others), [])
    health = [rule["name"] for group in get(api, "rules")["groups"] for rule in group["rules"] if rule["health"] != "ok"]
    checks.equal("every rule can be evaluated", health, [])


def check_all(checks, started, build, place):
    os.mkdir(f"{place}/boxes", mode=0o700)
    address = start_daemon(started, build, place)
    leak = start_leak(started, build, place)
    api = start_prometheus(started, place, address)
    check_discovery(checks, api, leak.pid)
    check_growth(checks, api, leak.pid)
    check_alert(checks, api, leak.pid)
    started.end(leak)
    checks.check("a program that ended is no target any more",
                 live.wait_until(lambda: not [t for t in targets(api) if t["labels"]["job"] == "mallard"], 20), targets(api))


def main(arguments):
    if len(arguments) != 1:
        print(__doc__, file=sys.stderr)
        return 2
    build = pathlib.Path(arguments[0]).resolve()
    if not (build / "mallardd").exists():
        print("skip deploy_prometheus: no mallardd in this build")
        print("0 passed, 0 failed, 1 skipped")
        return 0
    checks, started = live.Checks(), Started()
    with tempfile.TemporaryDirectory() as place:
        try:
            check_all(checks, started, build, place)
        finally:
            started.end_all()
    return checks.finish()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
