#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""What a hostile or broken client can do to the server, to other clients and to the program: nothing.

    http_security.py MALLARD

MAL_IDLE sets the number of idle connections (10000, or what RLIMIT_NOFILE allows).
"""
import base64
import os
import re
import resource
import socket
import sys
import tempfile
import threading
import time

import live

TOKEN = "a-token-for-tests"


class Target:
    def __init__(self, port, pid, server_pid):
        self.port, self.pid, self.server_pid = port, pid, server_pid

    def connect(self, timeout=20):
        return socket.create_connection(("127.0.0.1", self.port), timeout=timeout)

    def raw(self, data, timeout=20):
        """Sends bytes, returns all that comes back until the end."""
        answer = b""
        with self.connect(timeout) as connection:
            try:
                connection.sendall(data)
                while piece := connection.recv(65536):
                    answer += piece
            except (ConnectionResetError, BrokenPipeError):
                pass
        return answer

    def ask(self, line, *headers, body=b"", host="localhost"):
        head = [f"{line} HTTP/1.1", f"Host: {host}", "Connection: close", *headers]
        if body:
            head.append(f"Content-Length: {len(body)}")
        return self.raw("\r\n".join(head).encode() + b"\r\n\r\n" + body)

    def status(self, *arguments, **keywords):
        return status_of(self.ask(*arguments, **keywords))

    def healthy(self, limit=2.0):
        begin = time.monotonic()
        good = self.status("GET /debug/pprof/heap") == 200
        return good and time.monotonic() - begin < limit


def status_of(answer):
    found = re.match(rb"HTTP/1\.[01] (\d{3})", answer)
    return int(found.group(1)) if found else None


def rss_kib(pid):
    return int(re.search(r"VmRSS:\s+(\d+)", open(f"/proc/{pid}/status", encoding="ascii").read()).group(1))


def cpu_ticks(pid):
    fields = open(f"/proc/{pid}/stat", encoding="utf-8").read().rsplit(")", 1)[1].split()
    return int(fields[11]) + int(fields[12])


def check_methods(checks, target):
    for method in ("DELETE", "PUT", "PATCH", "OPTIONS", "TRACE", "CONNECT", "PROPFIND", "get"):
        status = target.status(f"{method} /debug/pprof/heap")
        checks.check(f"{method} is refused", status in (400, 405), status)
    answer = target.ask("DELETE /debug/pprof/heap")
    checks.check("a refused method names those allowed", b"\r\nAllow: GET, HEAD, POST\r\n" in answer, answer[:200])


def check_hosts(checks, target):
    for host in ("evil.example", "evil.example:6060", "localhost.evil.example", "127.0.0.1.evil.example",
                 "10.0.0.1", "[::2]", "", "localhost@evil.example"):
        status = target.status("GET /debug/pprof/heap", host=host)
        checks.check(f"Host {host!r} is refused", status in (400, 403), status)
    for host in ("localhost", "127.0.0.1", f"127.0.0.1:{target.port}", "[::1]:1", "LOCALHOST"):
        checks.equal(f"Host {host!r} is served", target.status("GET /healthz", host=host), 200)
    checks.equal("two Host headers, the second another's",
                 target.status("GET /healthz", "Host: evil.example") in (200, 400, 403), True)
    checks.equal("HTTP/1.1 without Host", status_of(target.raw(b"GET /healthz HTTP/1.1\r\n\r\n")), 400)
    checks.equal("HTTP/1.0 without Host", status_of(target.raw(b"GET /healthz HTTP/1.0\r\n\r\n")), 200)


def check_cross_site(checks, target):
    knobs = ("gc", "free-os-memory", "rate?bytes=524288")
    signs = ("Origin: http://evil.example", "Origin: null", "Sec-Fetch-Site: cross-site",
             "Sec-Fetch-Site: same-site", f"Origin: http://localhost:{target.port + 1}")
    for knob in knobs:
        for sign in signs:
            status = target.status(f"POST /debug/mallard/{knob}", sign, "Content-Length: 0")
            checks.equal(f"POST {knob} with {sign}", status, 403)
        checks.equal(f"GET {knob} changes nothing", target.status(f"GET /debug/mallard/{knob}"), 405)
        status = target.status(f"POST /debug/mallard/{knob}", "Content-Length: 0")
        checks.equal(f"POST {knob} without a browser", status, 200)
        status = target.status(f"POST /debug/mallard/{knob}", "Origin: http://localhost", "Content-Length: 0")
        checks.equal(f"POST {knob} from our own page", status, 200)


def check_paths(checks, target):
    for path in ("/../../../etc/passwd", "/..%2f..%2fetc/passwd", "/%2e%2e/%2e%2e/etc/passwd", "//etc/passwd",
                 "/debug/pprof/../../etc/passwd", "/p/../etc/passwd", "/p/1/../../etc/passwd", "/p/99999999999/metrics",
                 "/debug/pprof/heap%00", "/%", "/p/-1/metrics", "/p/1%2f/metrics"):
        answer = target.ask(f"GET {path}")
        checks.check(f"path {path} leads nowhere", status_of(answer) in (400, 404) and b"root:" not in answer, answer[:80])
    answer = target.ask("GET /debug/pprof?%0d%0aX-Injected:%201")
    checks.check("a redirect carries no injected header", b"\r\nX-Injected" not in answer, answer[:200])
    answer = target.ask("GET /debug/pprof/%3Cscript%3E")
    checks.check("errors do not repeat what was asked", b"script" not in answer, answer[-80:])
    answer = target.ask("GET /debug/pprof/")
    checks.check("every answer says nosniff", b"\r\nX-Content-Type-Options: nosniff\r\n" in answer, answer[:200])
    checks.check("pages have a policy", b"\r\nContent-Security-Policy: default-src 'none'" in answer, answer[:400])


def check_sizes(checks, target):
    cases = {
        "a request line of 1 MiB": (b"GET /" + b"a" * (1 << 20) + b" HTTP/1.1\r\nHost: localhost\r\n\r\n", (414, 431, None)),
        "a header of 1 MiB": (b"GET / HTTP/1.1\r\nHost: localhost\r\nX: " + b"a" * (1 << 20) + b"\r\n\r\n", (431, 413, None)),
        "100000 headers": (b"GET / HTTP/1.1\r\nHost: localhost\r\n" + b"X: 1\r\n" * 100000 + b"\r\n", (431, 413, None)),
        "a body announced as 2 MiB": (b"POST /debug/pprof/symbol HTTP/1.1\r\nHost: localhost\r\nContent-Length: 2097152\r\n\r\n", (413,)),
        "a chunked body of 2 MiB": (b"POST /debug/pprof/symbol HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n"
                                    + (b"10000\r\n" + b"a" * 65536 + b"\r\n") * 32 + b"0\r\n\r\n", (413,)),
        "a bad chunk size": (b"POST /debug/pprof/symbol HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n\r\n", (400, None)),
        "a negative length": (b"POST /debug/pprof/symbol HTTP/1.1\r\nHost: localhost\r\nContent-Length: -1\r\n\r\n", (400, 413, None)),
        "no HTTP at all": (os.urandom(4096) + b"\r\n\r\n", (400, None)),
        "a TLS greeting": (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(500) + b"\r\n\r\n", (400, None)),
    }
    for name, (data, wanted) in cases.items():
        status = status_of(target.raw(data))
        checks.check(f"{name} is refused", status in wanted, status)
        checks.check(f"healthy after {name}", target.healthy())
    body = b"0x1+" * (1 << 18)
    checks.equal("a body of exactly 1 MiB is read", target.status("POST /debug/pprof/symbol", body=body), 200)


def check_slow_clients(checks, target):
    """A byte a second, both ways, for longer than the server allows."""
    slow = [target.connect() for _ in range(20)]
    readers = [target.connect() for _ in range(5)]
    for reader in readers:
        reader.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1024)
        reader.sendall(b"GET /debug/pprof/heap?debug=1 HTTP/1.1\r\nHost: localhost\r\n\r\n" * 50)
    begin = time.monotonic()
    ended = None
    good = True
    while time.monotonic() - begin < 15 and ended is None:
        for connection in slow:
            try:
                connection.send(b"G")
            except OSError:
                ended = time.monotonic() - begin
        good = good and target.healthy()
        time.sleep(1)
    checks.check("others are served meanwhile", good)
    checks.check("a client of one byte a second is cut after 10 s", ended is not None and 8 < ended < 14, ended)
    for connection in slow + readers:
        connection.close()


def idle_count():
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return min(int(os.environ.get("MAL_IDLE", "10000")), hard - 200)


def check_idle_connections(checks, target):
    before = rss_kib(target.server_pid)
    idle, good, slowest = [], True, 0.0
    count = idle_count()
    for i in range(count):
        idle.append(target.connect())
        if i % (count // 10) == 0:
            begin = time.monotonic()
            good = good and target.healthy()
            slowest = max(slowest, time.monotonic() - begin)
    checks.check(f"served while {count} connections idle", good and target.healthy(), f"slowest {slowest:.3f} s")
    grown = rss_kib(target.server_pid) - before
    checks.check("idle connections cost at most 32 MiB", grown < 32 << 10, f"{grown} KiB")
    ticks = cpu_ticks(target.server_pid)
    time.sleep(1)
    checks.check("and no CPU", cpu_ticks(target.server_pid) - ticks < 20, cpu_ticks(target.server_pid) - ticks)
    for connection in idle:
        connection.close()
    checks.check("healthy afterwards", target.healthy())


def check_broken_off(checks, target):
    """Clients that go away in the middle of an answer."""
    def one():
        for _ in range(50):
            with target.connect() as connection:
                connection.sendall(b"GET /debug/pprof/heap HTTP/1.1\r\nHost: localhost\r\n\r\n")
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    threads = [threading.Thread(target=one) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    checks.check("healthy after 200 broken connections", target.healthy())


def check_tokens(checks, target):
    basic = base64.b64encode(f"x:{TOKEN}".encode()).decode()
    wrong = base64.b64encode(b"x:wrong").decode()
    cases = (((), 401), ((f"Authorization: Bearer {TOKEN}",), 200), ((f"Authorization: Basic {basic}",), 200),
             (("Authorization: Bearer wrong",), 401), (("Authorization: Bearer",), 401),
             ((f"Authorization: Bearer {TOKEN}x",), 401), ((f"Authorization: Bearer {TOKEN[:-1]}",), 401),
             ((f"Authorization: Basic {wrong}",), 401), (("Authorization: Basic %%%",), 401),
             ((f"Authorization: Digest {TOKEN}",), 401), ((f"X-Token: {TOKEN}",), 401))
    for headers, wanted in cases:
        checks.equal(f"token: {headers}", target.status("GET /debug/pprof/heap", *headers), wanted)
    checks.equal("a token in the query is none", target.status(f"GET /debug/pprof/heap?token={TOKEN}"), 401)
    checks.equal("/healthz needs none", target.status("GET /healthz"), 200)
    answer = target.ask("GET /debug/pprof/heap")
    checks.check("401 says how", b"\r\nWWW-Authenticate: Basic " in answer and b"X-Go-Pprof: 1" in answer, answer[:300])
    checks.equal("a missing path is not told without the token", target.status("GET /nope"), 401)


def with_server(mallard, folder, *options):
    process, port, pid = live.start(mallard, *options, folder=folder)
    live.wait_until(lambda: live.answers("127.0.0.1", port, "/healthz"))
    time.sleep(0.3)
    return process, Target(port, pid, process.pid)


def main(arguments):
    if len(arguments) != 1:
        print(__doc__, file=sys.stderr)
        return 2
    checks = live.Checks()
    with tempfile.TemporaryDirectory() as folder:
        process, target = with_server(arguments[0], folder)
        try:
            for check in (check_methods, check_hosts, check_cross_site, check_paths, check_sizes, check_broken_off,
                          check_slow_clients, check_idle_connections):
                check(checks, target)
            checks.check("the program and the server live", process.poll() is None and os.path.exists(f"/proc/{target.pid}"))
        finally:
            live.stop(process)
        token_file = os.path.join(folder, "token")
        with open(token_file, "w", encoding="ascii") as out:
            out.write(TOKEN + "\n")
        process, target = with_server(arguments[0], folder, "--token-file", token_file)
        try:
            check_tokens(checks, target)
        finally:
            live.stop(process)
    return checks.finish()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
