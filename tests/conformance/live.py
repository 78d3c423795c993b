# SPDX-License-Identifier: Apache-2.0
"""A live server to test against, and the counting of checks.

    with live.server(argument) as (host, port): ...

`argument` is HOST:PORT of a server that runs already, or the path of the mallard command, which then
runs a small program of its own.
"""
import contextlib
import os
import re
import signal
import subprocess
import tempfile
import time
import urllib.error
import urllib.request


class Checks:
    """Prints one line a check and ends with the counts."""

    def __init__(self):
        self.passed = self.failed = 0

    def check(self, name, good, detail=""):
        self.passed += bool(good)
        self.failed += not good
        print(f"ok   {name}" if good else f"FAIL {name}: {detail}", flush=True)
        return bool(good)

    def equal(self, name, got, wanted):
        return self.check(name, got == wanted, f"{got!r} where {wanted!r} was expected")

    def finish(self):
        print(f"{self.passed} passed, {self.failed} failed")
        return 1 if self.failed else 0


def wait_until(condition, seconds=5.0):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if condition():
            return True
        time.sleep(0.02)
    return False


def answers(host, port, path):
    try:
        return urllib.request.urlopen(f"http://{host}:{port}{path}", timeout=5).status == 200
    except (urllib.error.URLError, OSError):
        return False


def start(mallard, *options, program=("sleep", "600"), folder=None, env=None):
    """Starts `mallard run` on a free port; returns the process and the port."""
    command = [os.path.abspath(mallard), "run", "--http", "127.0.0.1:0", *options, "--", *program]
    process = subprocess.Popen(command, cwd=folder, env=env, stderr=subprocess.PIPE, text=True)
    for line in process.stderr:
        found = re.search(r"http://127\.0\.0\.1:(\d+)/debug/pprof/ serves pid (\d+)", line)
        if found:
            return process, int(found.group(1)), int(found.group(2))
    raise RuntimeError(f"{command} ended with {process.wait()} and served nothing")


def stop(process):
    if process.poll() is None:
        process.send_signal(signal.SIGTERM)
    process.wait(timeout=20)
    process.stderr.close()


@contextlib.contextmanager
def server(argument, *options):
    if re.fullmatch(r"[^/]*:\d+", argument):
        host, port = argument.rsplit(":", 1)
        yield host, int(port)
        return
    with tempfile.TemporaryDirectory() as folder:
        process, port, _ = start(argument, *options, folder=folder)
        try:
            wait_until(lambda: answers("127.0.0.1", port, "/debug/pprof/heap"))
            yield "127.0.0.1", port
        finally:
            stop(process)
