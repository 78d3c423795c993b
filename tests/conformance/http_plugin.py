#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The server inside a program: MALLARD_HTTP with the library preloaded, and programs that do to
their descriptors, threads and processes what programs do.

    http_plugin.py LIBMALLARD.SO
"""
import contextlib
import os
import re
import select
import socket
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request

import live

PYTHON = "/usr/bin/python3"
KEEP = "x = [bytes(1000) for i in range(20000)]\n"


def free_port():
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


class Scene:
    def __init__(self, checks, library, folder):
        self.checks, self.library, self.folder = checks, os.path.abspath(library), folder
        self.port = free_port()

    def start(self, program, address=None, **more):
        env = dict(os.environ, MALLARD_DIR=self.folder, LD_PRELOAD=self.library,
                   MALLARD_HTTP=address or f"127.0.0.1:{self.port}", **more)
        return subprocess.Popen([PYTHON, "-c", program], env=env, text=True, stdin=subprocess.PIPE,
                                stdout=subprocess.PIPE, stderr=subprocess.PIPE)

    def get(self, path, headers=None):
        request = urllib.request.Request(f"http://127.0.0.1:{self.port}{path}", headers=headers or {})
        try:
            return urllib.request.urlopen(request, timeout=10).status
        except urllib.error.HTTPError as error:
            return error.code
        except OSError as error:
            return str(error)

    def serves(self, seconds=5):
        return live.wait_until(lambda: self.get("/debug/pprof/heap") == 200, seconds)


def finish(process):
    out, err = process.communicate("\n", timeout=20)
    return process.returncode, out, err


def check_descriptors(scene):
    program = KEEP + ("import os\nprint(sorted(int(n) for n in os.listdir('/proc/self/fd')), os.open('/dev/null', 0), flush=True)\n"
                      "input()\n")
    process = scene.start(program)
    scene.checks.check("serves", scene.serves())
    status, out, err = finish(process)
    without = subprocess.run([PYTHON, "-c", program], input="\n", capture_output=True, text=True, check=False).stdout
    scene.checks.equal("the program's descriptors are as without us", (out, err, status), (without, "", 0))


def check_close_all(scene):
    process = scene.start(KEEP + "import os\nos.closerange(3, 65536)\nprint('closed', flush=True)\ninput()\n")
    process.stdout.readline()
    scene.checks.check("serves after the program closed everything", scene.serves())
    scene.checks.equal("and the program ends well", finish(process)[0], 0)


def check_daemon(scene):
    """As daemons do it: fork, the parent ends, the child goes on; it then answers at the address."""
    program = ("import os, sys, time\npid = os.fork()\nif pid: print(pid, flush=True); os._exit(0)\n"
               "os.setsid()\nfor n in (0, 1, 2): os.dup2(os.open('/dev/null', 2), n)\nos.closerange(3, 65536)\n" + KEEP + "time.sleep(60)\n")
    process = scene.start(program)
    child = int(process.stdout.readline())
    scene.checks.equal("the parent ends at once", process.wait(timeout=5), 0)
    def child_answers():
        try:
            page = urllib.request.urlopen(f"http://127.0.0.1:{scene.port}/", timeout=5).read().decode()
            return re.search(rf"/p/{child}\.\d+/", page) is not None
        except OSError:
            return False
    scene.checks.check("the child takes the address over", live.wait_until(child_answers, 10))
    os.kill(child, 15)
    process.communicate()


def check_forked_child_holds_nothing(scene):
    program = ("import os\npid = os.fork()\nif pid == 0:\n    print(sorted(int(n) for n in os.listdir('/proc/self/fd')), flush=True)\n"
               "    os._exit(0)\nos.waitpid(pid, 0)\ninput()\n")
    process = scene.start("import time; time.sleep(0.5)\n" + program)
    scene.checks.check("serves before the fork", scene.serves())
    out = process.stdout.readline()
    scene.checks.check("a child of fork has none of our descriptors", max(map(int, re.findall(r"\d+", out))) < 5, out)
    scene.checks.check("and the parent still serves", scene.serves(1))
    finish(process)


def check_failures(scene):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", scene.port))
        taken.listen()
        cases = {
            "a taken address": (f"127.0.0.1:{scene.port}", "Address already in use"),
            "an open address without a token": ("0.0.0.0:0", "needs a token"),
            "an address that is none": ("nonsense", "an address is written as"),
        }
        for name, (address, sentence) in cases.items():
            status, out, err = finish(scene.start("input(); print('done')", address))
            scene.checks.equal(f"{name}: the program runs on", (status, out), (0, "done\n"))
            scene.checks.check(f"{name}: says why", sentence in err, err)


def check_token(scene):
    process = scene.start(KEEP + "input()\n", MALLARD_HTTP_TOKEN="s3cret")
    live.wait_until(lambda: scene.get("/healthz") == 200)
    scene.checks.equal("without the token", scene.get("/debug/pprof/heap"), 401)
    scene.checks.equal("with the token", scene.get("/debug/pprof/heap", {"Authorization": "Bearer s3cret"}), 200)
    finish(process)


def check_end(scene):
    """A program ends when it wants to, whoever waits for a delta."""
    process = scene.start(KEEP + "input()\n")
    scene.checks.check("serves before the end", scene.serves())
    waiting = socket.create_connection(("127.0.0.1", scene.port))
    waiting.sendall(b"GET /debug/pprof/heap?seconds=600 HTTP/1.1\r\nHost: localhost\r\n\r\n")
    time.sleep(0.2)
    begin = time.monotonic()
    scene.checks.equal("status", finish(process)[0], 0)
    scene.checks.check("the end is not delayed", time.monotonic() - begin < 2, time.monotonic() - begin)
    waiting.close()


# A program that forks, execs itself three times and ends, as often as it is asked meanwhile.
RESTLESS = """
import os, sys
for i in range(40):
    pid = os.fork()
    if pid == 0:
        x = [bytes(500) for k in range(2000)]
        os._exit(0)
    assert os.waitpid(pid, 0)[1] == 0
n = int(os.environ.get("ROUND", "0"))
if n < 3:
    os.environ["ROUND"] = str(n + 1)
    os.execv(sys.executable, [sys.executable, "-c", os.environ["PROGRAM"]])
print("done", flush=True)
input()
"""


def check_restless(scene):
    process = scene.start(RESTLESS, PROGRAM=RESTLESS, MALLARD_MEMPROFILERATE="4096")
    stop = threading.Event()

    def pester():
        while not stop.is_set():
            for path in ("/debug/pprof/heap", "/metrics", "/debug/pprof/heap?debug=1", "/debug/pprof/heap?gc=1"):
                scene.get(path)
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", scene.port), timeout=5) as one:
                one.sendall(b"GET /debug/pprof/heap?seconds=60 HTTP/1.1\r\nHost: localhost\r\n\r\n")

    clients = [threading.Thread(target=pester) for _ in range(4)]
    for client in clients:
        client.start()
    said = select.select([process.stdout], [], [], 60)[0] and process.stdout.readline()
    scene.checks.equal("a program that is asked all the time forks and execs to its end", said, "done\n")
    scene.checks.check("and serves afterwards", scene.serves())
    stop.set()
    for client in clients:
        client.join()
    if not said:
        process.kill()
    scene.checks.equal("and ends well", finish(process)[::2], (0, ""))


def check_killed(scene):
    """Who waits for a program that is killed is told by the end of the connection, at once."""
    process = scene.start(KEEP + "input()\n")
    scene.checks.check("serves before it is killed", scene.serves())
    with socket.create_connection(("127.0.0.1", scene.port), timeout=10) as waiting:
        waiting.sendall(b"GET /debug/pprof/heap?seconds=60 HTTP/1.1\r\nHost: localhost\r\n\r\n")
        time.sleep(0.2)
        process.kill()
        process.communicate()
        begin = time.monotonic()
        try:
            answer = waiting.recv(100)
        except ConnectionResetError:
            answer = b""
        scene.checks.check("a client of a killed program waits no longer", answer == b"" and time.monotonic() - begin < 5, answer)


def check_knobs(scene):
    process = scene.start(KEEP + "input()\n")
    scene.checks.check("serves before the knobs", scene.serves())
    url = f"http://127.0.0.1:{scene.port}/debug/mallard/"
    answer = urllib.request.urlopen(urllib.request.Request(url + "rate?bytes=4096", method="POST"), timeout=10).read()
    scene.checks.equal("the rate can be changed from inside", answer, b'{"previous":524288}\n')
    answer = urllib.request.urlopen(urllib.request.Request(url + "rate?bytes=524288", method="POST"), timeout=10).read()
    scene.checks.equal("and is then what was set", answer, b'{"previous":4096}\n')
    finish(process)


# Breaks its own use of libmicrohttpd, as the library sees it, once a line is read.
OWN_LIBRARY = KEEP + """import ctypes, os, urllib.request
from ctypes import CFUNCTYPE, c_char_p, c_int, c_uint, c_ushort, c_void_p
mhd = ctypes.CDLL("libmicrohttpd.so.12")
panic = CFUNCTYPE(None, c_void_p, c_char_p, c_uint, c_char_p)(lambda *_: (os.write(1, b"mine"), os._exit(7)))
mhd.MHD_set_panic_func(panic, None)
for _ in range(2):
    error = ctypes.CDLL(None).mallard_http_listen(b"127.0.0.1:SERVED")
    assert error == 0, error
    if _ == 0:
        ctypes.CDLL(None).mallard_http_stop()
handle = CFUNCTYPE(c_int, *[c_void_p] * 8)(lambda _, connection, *rest: mhd.MHD_resume_connection(c_void_p(connection)) or 0)
mhd.MHD_start_daemon(c_uint(8), c_ushort(OWN), None, None, handle, None, c_int(0))
input()
urllib.request.urlopen("http://127.0.0.1:OWN/")
"""


def check_own_library(scene):
    program = OWN_LIBRARY.replace("SERVED", str(scene.port)).replace("OWN", str(free_port()))
    process = scene.start(program, address="off")
    scene.checks.check("serves beside the program's own libmicrohttpd", scene.serves())
    status, out, err = finish(process)
    scene.checks.equal("whose handler stays the program's", (status, out, err), (7, "mine", ""))


def main(arguments):
    if len(arguments) != 1:
        print(__doc__, file=sys.stderr)
        return 2
    checks = live.Checks()
    for check in (check_descriptors, check_close_all, check_daemon, check_forked_child_holds_nothing, check_failures,
                  check_token, check_end, check_killed, check_restless, check_knobs, check_own_library):
        with tempfile.TemporaryDirectory() as folder:
            check(Scene(checks, arguments[0], folder))
    return checks.finish()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
