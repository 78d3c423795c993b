# SPDX-License-Identifier: Apache-2.0
"""A server that tells its viewers apart, processes of several users for it to show, and clients.

Everything lies in one temporary folder that other users may enter; what was started ends with it.
"""
import contextlib
import gzip
import os
import re
import shutil
import socket
import subprocess
import tempfile

import live

OTHER = 65534  # nobody
TOKEN = "a-token-for-tests"


class Answer:
    def __init__(self, data):
        head, _, self.raw = data.partition(b"\r\n\r\n")
        found = re.match(rb"HTTP/1\.[01] (\d{3})", head)
        self.status = int(found.group(1)) if found else None
        self.head = head.decode("latin-1")
        zipped = self.raw[:2] == b"\x1f\x8b"
        self.body = gzip.decompress(self.raw) if zipped else self.raw

    @property
    def type(self):
        found = re.search(r"\r\nContent-Type: ([^\r]*)", self.head)
        return found.group(1) if found else None

    @property
    def text(self):
        return self.body.decode("utf-8", "replace")


def exchange(address, request):
    """Sends bytes, returns all that comes back until the end."""
    if address.startswith("unix:"):
        connection = socket.socket(socket.AF_UNIX)
        target = address[5:]
    else:
        host, _, port = address.rpartition(":")
        connection = socket.socket(socket.AF_INET6 if "[" in host else socket.AF_INET)
        target = (host.strip("[]"), int(port))
    data = b""
    with connection:
        connection.settimeout(20)
        connection.connect(target)
        connection.sendall(request)
        while piece := connection.recv(65536):
            data += piece
    return data


def as_user(uid, function, *arguments):
    """The bytes that `function` returns in a process of that user."""
    if uid == os.geteuid():
        return function(*arguments)
    read_end, write_end = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.close(read_end)
            os.setgroups([])
            os.setgid(uid)
            os.setuid(uid)
            with os.fdopen(write_end, "wb") as out:
                out.write(function(*arguments))
            os._exit(0)
        finally:
            os._exit(1)
    os.close(write_end)
    with os.fdopen(read_end, "rb") as data:
        result = data.read()
    os.waitpid(child, 0)
    return result


class Scene:
    def __init__(self, serve, library, folder):
        self.folder = folder
        self.boxes = os.path.join(folder, "boxes")
        self.serve = os.path.abspath(serve)
        self.library = os.path.join(folder, "libmallard.so.0")
        self.running = []
        shutil.copyfile(library, self.library)
        os.chmod(self.library, 0o755)
        os.chmod(folder, 0o755)
        os.mkdir(self.boxes)
        os.chmod(self.boxes, 0o1777)

    def start_server(self, *addresses, token="-", certificate="-", key="-"):
        """Returns [(scheme, address)]."""
        server = subprocess.Popen([self.serve, self.boxes, token, certificate, key, *addresses],
                                  stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.running.append(server)
        return [tuple(server.stdout.readline().split()) for _ in addresses]

    def start_daemon(self, mallardd):
        """mallardd instead; returns its TCP address and that of its Unix socket."""
        token = os.path.join(self.folder, "token")
        path = os.path.join(self.folder, "sock")
        with open(token, "w", encoding="ascii") as out:
            out.write(TOKEN + "\n")
        daemon = subprocess.Popen([os.path.abspath(mallardd), "--http", "127.0.0.1:0", "--socket", path, "--dir", self.boxes, "--keep",
                                   os.path.join(self.folder, "keep"), "--keep-every", "1", "--token-file", token],
                                  stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        self.running.append(daemon)
        line = daemon.stdout.readline()
        return [re.search(r"127\.0\.0\.1:\d+", line).group(0), f"unix:{path}"]

    def start_process(self, uid, *arguments, env=None, stdout=None):
        """A process of that user with a box; returns its id "PID.START"."""
        environment = {"PATH": os.environ["PATH"], "LD_PRELOAD": self.library, "MALLARD_DIR": self.boxes,
                       "MALLARD_EAGER": "1", **(env or {})}
        identity = {"user": uid, "group": uid, "extra_groups": []} if uid != os.geteuid() else {}
        process = subprocess.Popen(arguments, stdin=subprocess.PIPE, stdout=stdout, env=environment, cwd="/", **identity)
        self.running.append(process)
        def box():
            return [name for name in os.listdir(self.boxes) if name.startswith(f"{process.pid}.")]
        if not live.wait_until(lambda: box() and process.poll() is None, 10):
            raise RuntimeError(f"{arguments} made no box")
        return re.match(r"(\d+\.\d+)\.mallard", box()[0]).group(1)

    def ask(self, address, line, *headers, uid=None, host="localhost"):
        head = [f"{line} HTTP/1.1", f"Host: {host}", "Connection: close", *headers]
        if line.startswith("POST"):
            head.append("Content-Length: 0")
        request = "\r\n".join(head).encode() + b"\r\n\r\n"
        return Answer(as_user(os.geteuid() if uid is None else uid, exchange, address, request))

    def stop(self):
        for process in reversed(self.running):
            process.stdin.close()
            if process.args[0].endswith("mallardd"):
                process.terminate()
            try:
                process.wait(timeout=10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
            if process.stdout:
                process.stdout.close()


@contextlib.contextmanager
def scene(serve, library):
    with tempfile.TemporaryDirectory() as folder:
        one = Scene(serve, library, folder)
        try:
            yield one
        finally:
            one.stop()
