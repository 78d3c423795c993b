#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The documents under /api and the pages without JavaScript, of real programs.

    api.py MALLARD

Runs a shell under `mallard run` that starts a program which keeps memory; asks for every document,
kills the program, and asks again. The numbers are compared with what the kernel says.
"""
import gzip
import html.parser
import http.client
import json
import os
import re
import signal
import sys
import tempfile

import live

KEEPER = """
import sys, time
kept = [bytes(3000) for _ in range(20000)]
print("ready", flush=True)
while True:
    kept.append(bytes(3000))
    time.sleep(0.01)
"""
PARTS = ["live", "free_in_spans", "cpu_caches", "free_pages", "tables", "profiler", "stacks", "code_files", "rest"]
VOID = {"meta", "link", "input", "br"}


class Client:
    def __init__(self, port):
        self.port = port

    def ask(self, path, headers=None, method="GET", body=None):
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        connection.request(method, path, body, headers or {})
        answer = connection.getresponse()
        data = answer.read()
        connection.close()
        return answer.status, {k.lower(): v for k, v in answer.getheaders()}, data

    def json(self, path):
        status, headers, data = self.ask(path)
        if headers.get("content-type") != "application/json":
            raise AssertionError(f"{path} answers {status} {headers}")
        return json.loads(data)


class Page(html.parser.HTMLParser):
    """Checks that tags are closed in order; collects what is asked about."""

    def __init__(self, text):
        super().__init__()
        self.open, self.faults, self.tags = [], [], []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        if not self.open or self.open.pop() != tag:
            self.faults.append(tag)

    def count(self, tag):
        return sum(1 for name, _ in self.tags if name == tag)

    def sound(self):
        return not self.open and not self.faults


def resident_bytes(pid):
    for line in open(f"/proc/{pid}/status", encoding="utf-8"):
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) << 10
    return 0


def keeper_of(client, alive=True):
    for process in client.json("/api/processes")["processes"]:
        if "bytes(3000)" in process["cmdline"] and "python3" in process["name"] and process["alive"] == alive:
            return process
    return None


def check_list(checks, client, entry):
    document = client.json("/api/processes")
    checks.equal("the list says who answers", (document["daemon"], bool(document["host"])), (False, True))
    checks.check("the list has the shell and its child", len(document["processes"]) >= 2)
    checks.equal("the child lives", (entry["alive"], entry["life"], entry["death"]), (True, "running", None))
    checks.equal("its id is its pid and its start", re.sub(r"\d+", "N", entry["id"]), "N.N")
    checks.equal("its user", entry["uid"], os.getuid())


def check_process(checks, client, entry):
    document = client.json(f"/api/process?proc={entry['id']}")
    now = resident_bytes(entry["pid"])
    rss = document["rss"]
    checks.equal("the parts have their names and order", [part["key"] for part in rss["parts"]], PARTS)
    checks.equal("the parts add up", sum(part["bytes"] for part in rss["parts"]), rss["resident_bytes"])
    checks.check("none is negative", all(part["bytes"] >= 0 for part in rss["parts"]), rss)
    checks.check("measured", rss["measured"])
    checks.check("the whole is VmRSS", abs(rss["resident_bytes"] - now) < 4 << 20, (rss["resident_bytes"], now))
    parts = {part["key"]: part["bytes"] for part in rss["parts"]}
    checks.check("about 60 MB are live", 58e6 < parts["live"] < 90e6, parts)
    checks.check("code, stacks and profiler are there", min(parts["code_files"], parts["stacks"], parts["profiler"]) > 0, parts)
    checks.check("little is unexplained", parts["rest"] < 0.2 * rss["resident_bytes"], parts)
    checks.check("the sentence begins with the whole", re.match(r"RSS [\d.]+ MiB = [\d.]+ MiB live objects \(", rss["sentence"]), rss["sentence"])
    size_class = [row for row in document["classes"] if row["size_bytes"] >= 3033][0]
    checks.check("its size class holds 20000 objects", size_class["live_objects"] >= 20000, size_class)
    checks.check("the classes' live bytes are the heap's", abs(sum(row["live_bytes"] for row in document["classes"]) - document["stats"]["heap_alloc_bytes"]) < 1 << 20)
    checks.equal("the knobs", (document["knobs"]["rate_bytes"], document["can_command"]), (524288, True))
    checks.check("limits and profiles are there", "cgroup_max_bytes" in document["limits"] and document["profiles"] == [])


def check_history(checks, client, entry):
    path = f"/api/history?proc={entry['id']}"
    live.wait_until(lambda: len(client.json(path)["rows"]) >= 3, 15)
    document = client.json(path)
    checks.check("rows have a value for each column", document["rows"] and all(len(row) == len(document["columns"]) for row in document["rows"]))
    checks.check("time goes on", all(a[0] < b[0] for a, b in zip(document["rows"], document["rows"][1:])))
    column = document["columns"].index("heap_alloc_bytes")
    checks.check("the heap grew", document["rows"][-1][column] > document["rows"][0][column])
    checks.equal("thinned", len(client.json(path + "&points=2")["rows"]), 2)
    checks.equal("nothing before there was anything", client.json(path + "&to=1")["rows"], [])


def check_profile(checks, client, entry):
    document = client.json(f"/api/profile?proc={entry['id']}&gc=1")
    functions, frames, stacks = document["functions"], document["frames"], document["stacks"]
    checks.check("frames name functions", all(0 <= f < len(functions) for f, _ in frames))
    checks.check("stacks name frames", all(0 <= f < len(frames) for stack in stacks for f in stack))
    checks.check("samples name stacks", all(0 <= s[0] < len(stacks) and len(s) == 6 for s in document["samples"]))
    checks.equal("one sample per stack and size", len({(s[0], s[1]) for s in document["samples"]}), len(document["samples"]))
    held = sum(s[5] for s in document["samples"])
    checks.check("the samples add up to about the heap", 40e6 < held < 120e6, held)
    status, headers, data = client.ask(f"/api/profile?proc={entry['id']}", {"Accept-Encoding": "gzip"})
    checks.equal("compressed when accepted", (status, headers.get("content-encoding"), headers.get("vary")), (200, "gzip", "Accept-Encoding"))
    checks.equal("and then the same", json.loads(gzip.decompress(data))["values"], document["values"])


def check_spans_and_trace(checks, client, entry):
    document = client.json(f"/api/spans?proc={entry['id']}")
    spans = document["spans"]
    checks.check("spans are there", len(spans) > 1000, len(spans))
    checks.check("in order, and none lies in another", all(a[0] + a[1] <= b[0] for a, b in zip(spans, spans[1:])))
    checks.check("live is at most what fits", all(0 <= s[3] <= s[4] for s in spans))
    checks.check("classes and pins resolve", all(s[2] < len(document["classes"]) and -1 <= s[5] < len(document["pins"]["stacks"]) for s in spans))
    checks.check("something is pinned", any(s[5] >= 0 for s in spans))
    trace = client.json(f"/api/trace?proc={entry['id']}")
    checks.equal("the trace goes on where it ended", client.json(f"/api/trace?proc={entry['id']}&cursor={trace['cursor']}")["cursor"] >= trace["cursor"], True)


def check_errors(checks, client):
    for path, status in (("/api/process?proc=4194305", 404), ("/api/process?proc=x", 400), ("/api/profile?at=1", 404)):
        got, headers, data = client.ask(path)
        checks.equal(f"{path} is an error in JSON", (got, headers["content-type"], list(json.loads(data))), (status, "application/json", ["error"]))
    got, headers, data = client.ask("/api/processes", method="POST", body="")
    checks.equal("a POST is refused in JSON", (got, list(json.loads(data))), (405, ["error"]))


def check_pages(checks, client, entry, alive):
    for path in ("/", f"/p/{entry['id']}/"):
        status, headers, data = client.ask(path)
        page = Page(data.decode())
        checks.equal(f"{path} is a page", (status, headers["content-type"]), (200, "text/html; charset=utf-8"))
        checks.check(f"{path} closes what it opens", page.sound(), (page.open, page.faults))
        checks.check(f"{path} has captions and one heading", page.count("caption") == page.count("table") > 0 and page.count("h1") == 1)
        checks.equal(f"{path} has nothing inline", (page.count("style"), [a for t, a in page.tags if t == "script" and "src" not in a]), (0, []))
        checks.check(f"{path} has a strict policy", "script-src 'self'" in headers["content-security-policy"] and "unsafe" not in headers["content-security-policy"])
        checks.check(f"{path} names the program", b"python3" in data)
        for tag, attributes in page.tags:
            asset = attributes.get("src") or (attributes.get("href") if tag == "link" else None)
            if asset and asset.startswith("/assets/"):
                got, headers, _ = client.ask(asset)
                checks.equal(f"{asset} is there for ever", (got, "immutable" in headers["cache-control"]), (200, True))
    checks.equal("knobs only where they can be turned", page.count("form") > 0, alive)


def check_dead(checks, client, entry):
    os.kill(entry["pid"], signal.SIGKILL)
    checks.check("its death is seen", live.wait_until(lambda: keeper_of(client, False), 10))
    document = client.json(f"/api/process?proc={entry['id']}")
    checks.equal("it is dead", (document["alive"], document["can_command"], document["rss"]["measured"]), (False, False, False))
    checks.check("somebody says how", document["death"]["kind"] in ("unknown", "signal") and document["death"]["sentence"], document["death"])
    checks.equal("its parts add up still", sum(part["bytes"] for part in document["rss"]["parts"]), document["rss"]["resident_bytes"])
    checks.check("its profile is there", len(client.json(f"/api/profile?proc={entry['id']}")["samples"]) > 0)
    checks.check("its history is there", len(client.json(f"/api/history?proc={entry['id']}")["rows"]) > 0)


def main(arguments):
    if len(arguments) != 1:
        print(__doc__, file=sys.stderr)
        return 2
    checks = live.Checks()
    with tempfile.TemporaryDirectory() as folder:
        environment = dict(os.environ, MALLARD_DIR=folder)
        script = os.path.join(folder, "keeper.py")
        with open(script, "w", encoding="utf-8") as out:
            out.write(KEEPER)
        shell = f"python3 -c \"$(cat {script})\" >{folder}/ready & wait; exec sleep 600"
        process, port, _ = live.start(arguments[0], program=("sh", "-c", shell), folder=folder, env=environment)
        try:
            client = Client(port)
            started = live.wait_until(lambda: os.path.exists(f"{folder}/ready") and "ready" in open(f"{folder}/ready").read(), 30)
            if checks.check("the program runs", started and live.wait_until(lambda: keeper_of(client), 10)):
                entry = keeper_of(client)
                check_list(checks, client, entry)
                check_process(checks, client, entry)
                check_history(checks, client, entry)
                check_profile(checks, client, entry)
                check_spans_and_trace(checks, client, entry)
                check_errors(checks, client)
                check_pages(checks, client, entry, True)
                check_dead(checks, client, entry)
                check_pages(checks, client, entry, False)
        finally:
            live.stop(process)
    return checks.finish()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
