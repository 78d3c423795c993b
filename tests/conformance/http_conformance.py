#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Replays the requests that were recorded against Go 1.19's net/http/pprof and compares.

    http_conformance.py MALLARD|HOST:PORT

golden_go/ holds what Go answered, as far as it is compared; its index page is without the
descriptions. Nothing here can be judged without it, so that is a failure.

Compared are the status, every header (but those of framing and time), and the bodies of errors and
of all answers that do not depend on the program. Where we mean to differ, INTENDED says so and why;
a difference that is listed but gone is a failure too.
"""
import gzip
import html.parser
import http.client
import os
import re
import sys

import live

GOLDEN = os.path.join(os.path.dirname(os.path.abspath(__file__)), "golden_go")

FORM = {"Content-Type": "application/x-www-form-urlencoded"}
# recorded name: method, path below /debug/pprof, body, headers
REQUESTS = {
    "allocs": ("GET", "/allocs"), "allocs-debug1": ("GET", "/allocs?debug=1"),
    "allocs-delta1": ("GET", "/allocs?seconds=1"), "allocs-gc1": ("GET", "/allocs?gc=1"),
    "bad-heap-seconds-0": ("GET", "/heap?seconds=0"),
    "bad-heap-seconds-abc": ("GET", "/heap?seconds=abc"),
    "bad-heap-seconds-debug": ("GET", "/heap?seconds=1&debug=1"),
    "bad-heap-seconds-float": ("GET", "/heap?seconds=1.5"),
    "bad-heap-seconds-neg": ("GET", "/heap?seconds=-1"),
    "bad-unknown": ("GET", "/nosuchprofile"), "bad-unknown-nested": ("GET", "/heap/nested"),
    "block": ("GET", "/block"), "block-debug1": ("GET", "/block?debug=1"),
    "cmdline": ("GET", "/cmdline"),
    "goroutine": ("GET", "/goroutine"), "goroutine-debug1": ("GET", "/goroutine?debug=1"),
    "goroutine-debug2": ("GET", "/goroutine?debug=2"), "goroutine-debug3": ("GET", "/goroutine?debug=3"),
    "goroutine-delta1": ("GET", "/goroutine?seconds=1"), "goroutineleak": ("GET", "/goroutineleak"),
    "heap": ("GET", "/heap"), "heap-debug-junk": ("GET", "/heap?debug=junk"),
    "heap-debug-neg": ("GET", "/heap?debug=-1"), "heap-debug1": ("GET", "/heap?debug=1"),
    "heap-debug2": ("GET", "/heap?debug=2"), "heap-delete": ("DELETE", "/heap?debug=1"),
    "heap-delta1": ("GET", "/heap?seconds=1"), "heap-gc1": ("GET", "/heap?gc=1"),
    "heap-gc1-debug1": ("GET", "/heap?gc=1&debug=1"),
    "heap-gzip-accept": ("GET", "/heap?debug=1", None, {"Accept-Encoding": "gzip"}),
    "heap-head": ("HEAD", "/heap"), "heap-post": ("POST", "/heap?debug=1", ""),
    "heap-post-form": ("POST", "/heap", "debug=1", FORM),
    "heap-seconds-empty": ("GET", "/heap?seconds="),
    "index": ("GET", "/"), "index-noslash": ("GET", ""),
    "mutex": ("GET", "/mutex"), "mutex-debug1": ("GET", "/mutex?debug=1"),
    "profile-1s": ("GET", "/profile?seconds=1"), "profile-busy": ("GET", "/profile?seconds=1"),
    "symbol-get": ("GET", "/symbol"), "symbol-get-2pc": ("GET", "/symbol?0x1+0x2"),
    "symbol-get-junk": ("GET", "/symbol?junk+0x1"), "symbol-get-pc": ("GET", "/symbol?0x1"),
    "symbol-post": ("POST", "/symbol", "0x1+0x2"), "symbol-post-empty": ("POST", "/symbol", ""),
    "threadcreate": ("GET", "/threadcreate"), "threadcreate-debug1": ("GET", "/threadcreate?debug=1"),
    "threadcreate-delta1": ("GET", "/threadcreate?seconds=1"),
    "trace-1s": ("GET", "/trace?seconds=1"), "trace-busy": ("GET", "/trace?seconds=1"),
}

# (recorded name, what): why. "*" stands for any request.
PAGE = "a page of HTML gets strict headers: the browser may not run or frame anything"
NO_TRACE = "a C program has no Go execution trace, and no empty one that Go's tools accept"
METHOD = "like Go 1.23 and later: other methods are refused"
NO_CPU = "there is no CPU profiler that could be busy: the profile is valid and empty"
INTENDED = {
    ("index", "Content-Security-Policy"): PAGE,
    ("index", "X-Frame-Options"): PAGE,
    ("index", "Referrer-Policy"): PAGE,
    ("index-noslash", "X-Content-Type-Options"): "sent with every answer; Go leaves it out here",
    ("heap-delete", "status"): METHOD,
    ("heap-delete", "Allow"): METHOD,
    ("heap-delete", "Connection"): "an answer before the body was read ends the connection",
    ("trace-1s", "status"): NO_TRACE,
    ("trace-1s", "Content-Type"): NO_TRACE,
    ("trace-1s", "Content-Disposition"): NO_TRACE,
    ("trace-1s", "X-Go-Pprof"): NO_TRACE,
    ("trace-busy", "status"): NO_TRACE,
    ("trace-busy", "body"): NO_TRACE,
    ("profile-busy", "status"): NO_CPU,
    ("profile-busy", "body"): NO_CPU,
    ("profile-busy", "Content-Type"): NO_CPU,
    ("profile-busy", "Content-Disposition"): NO_CPU,
    ("profile-busy", "X-Go-Pprof"): NO_CPU,
}
FRAMING = {"Date", "Content-Length", "Transfer-Encoding"}
SAME_BODY = re.compile(r"bad-.*|goroutineleak|index-noslash|symbol-get|symbol-post-empty|.*-busy")


def read_samples(path):
    """Recorded answers: name -> (status, headers, lines of the body)."""
    samples = {}
    for block in re.split(r"^=== ", open(path, encoding="utf-8").read(), flags=re.M)[1:]:
        name, *lines = block.split("\n")
        if not lines or not lines[0].startswith("HTTP/"):
            continue
        headers, body = {}, []
        for line in lines[1:]:
            if line.startswith("|"):
                body.append(line[2:])
            elif re.match(r"[A-Za-z-]+: ", line) and not body:
                key, value = line.split(": ", 1)
                headers[key] = value
        samples[name.strip()] = (int(lines[0].split()[1]), headers, body)
    return samples


def ask(host, port, method, path, body=None, headers=None):
    connection = http.client.HTTPConnection(host, port, timeout=30)
    connection.request(method, "/debug/pprof" + path, body, headers or {})
    answer = connection.getresponse()
    data = answer.read()
    connection.close()
    return answer.status, dict(answer.getheaders()), data


class Counter(html.parser.HTMLParser):
    """A page as its tags and texts, with the numbers of the table left out."""

    def __init__(self, text):
        super().__init__()
        self.parts = []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.parts.append((tag, tuple(attrs)))

    def handle_data(self, data):
        if data.strip():
            self.parts.append(re.sub(r"^\d+$", "N", data.strip()))

    def outline(self):
        """Descriptions may say more than Go's: that a profile has nothing to show in C."""
        begin = self.parts.index("Profile Descriptions:")
        return self.parts[:begin] + [part for part in self.parts[begin:] if part[-1:] in (":", "")]


class Comparison:
    def __init__(self, checks):
        self.checks = checks
        self.used = set()

    def differs(self, name, what, got, wanted):
        """One thing to compare; True when it is an unintended difference."""
        if got == wanted:
            return []
        if (name, what) in INTENDED:
            self.used.add((name, what))
            return []
        return [f"{what} is {got!r}, in Go {wanted!r}"]

    def run(self, name, sample, answer):
        status, headers, data = answer
        wrong = self.differs(name, "status", status, sample[0])
        for key in sorted((set(headers) | set(sample[1])) - FRAMING):
            wrong += self.differs(name, key, headers.get(key), sample[1].get(key))
        if SAME_BODY.fullmatch(name):
            text = data.decode("utf-8", "replace").rstrip("\n")
            wrong += self.differs(name, "body", text, "\n".join(sample[2]).rstrip("\n"))
        self.checks.check(name, not wrong, "; ".join(wrong))


def check_bodies(checks, host, port):
    """What Go's tools rely on in bodies, beyond the recorded headers."""
    for name in ("heap", "allocs", "block", "mutex", "goroutine", "threadcreate", "profile"):
        for query in ("", "?seconds=1"):
            data = ask(host, port, "GET", f"/{name}{query}")[2]
            try:
                good = len(gzip.decompress(data)) > 10
            except (OSError, EOFError):
                good = False
            checks.check(f"/{name}{query} is a gzipped profile", good, data[:20])
    for name, first in (("heap", "heap profile: "), ("goroutine", "goroutine profile: total "),
                        ("threadcreate", "threadcreate profile: total "),
                        ("block", "--- contention:"), ("mutex", "--- mutex:")):
        text = ask(host, port, "GET", f"/{name}?debug=1")[2].decode()
        checks.check(f"/{name}?debug=1 begins as Go's text does", text.startswith(first), text[:40])
    page = ask(host, port, "GET", "/")[2].decode()
    sample = open(os.path.join(GOLDEN, "index.html"), encoding="utf-8").read()
    checks.equal("the index page has Go's structure", Counter(page).outline(), Counter(sample).outline())
    status, headers, data = ask(host, port, "HEAD", "/heap")
    checks.check("HEAD has the length and no body", data == b"" and int(headers["Content-Length"]) > 20)


def main(arguments):
    if len(arguments) != 1:
        print(__doc__, file=sys.stderr)
        return 2
    checks = live.Checks()
    samples = read_samples(os.path.join(GOLDEN, "answers.txt"))
    checks.equal("every request is recorded", set(samples), set(REQUESTS))
    comparison = Comparison(checks)
    with live.server(arguments[0]) as (host, port):
        for name, request in REQUESTS.items():
            if name in samples:
                comparison.run(name, samples[name], ask(host, port, *request))
        check_bodies(checks, host, port)
    checks.equal("every intended difference is still one", sorted(set(INTENDED) - comparison.used), [])
    for (name, what), reason in sorted(INTENDED.items()):
        print(f"     differs: {name} {what}: {reason}")
    return checks.finish()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
