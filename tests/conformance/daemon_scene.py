# SPDX-License-Identifier: Apache-2.0
"""A daemon to test against, the processes that it watches, and what it kept.

    with Scene(build) as scene:
        daemon = scene.daemon("--keep-every", "1")
        prey = scene.prey()

A scene is a temporary folder with one for boxes and one for what is kept; it ends everything that
was started in it.
"""
import concurrent.futures
import glob
import gzip
import http.client
import os
import re
import select
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import traceback

import live

NOBODY = 65534


def start_ticks(pid):
    with open(f"/proc/{pid}/stat", encoding="utf-8", errors="replace") as file:
        return int(file.read().rsplit(")", 1)[1].split()[19])


def read_line(stream, seconds):
    ready, _, _ = select.select([stream], [], [], seconds)
    return stream.readline() if ready else ""


class Prey:
    """The program prey.c under Mallard."""

    def __init__(self, scene, command, **options):
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1,
                                        env=scene.env, cwd=scene.folder, **options)
        if read_line(self.process.stdout, 20).strip() != "ready":
            raise RuntimeError(f"{command} is not ready")
        self.pid = self.process.pid
        self.start = start_ticks(self.pid)

    @property
    def id(self):
        return f"{self.pid}.{self.start}"

    def order(self, line):
        self.process.stdin.write(line + "\n")
        self.process.stdin.flush()

    def ask(self, line):
        self.order(line)
        return read_line(self.process.stdout, 20).strip()

    def wait(self):
        return self.process.wait(timeout=30)

    def kill(self, number=signal.SIGKILL):
        self.process.send_signal(number)
        return self.wait()

    def close(self):
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait(timeout=20)
        self.process.stdin.close()
        self.process.stdout.close()


class UnixConnection(http.client.HTTPConnection):
    def __init__(self, path):
        super().__init__("localhost", timeout=20)
        self.path = path

    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(20)
        self.sock.connect(self.path)


class Daemon:
    def __init__(self, scene, *options, env=None, boxes=None, prefix=(), **more):
        self.scene = scene
        self.socket = os.path.join(scene.folder, "socket")
        command = [*prefix, scene.mallardd, "--http", "127.0.0.1:0", "--dir", boxes or scene.boxes, "--keep", scene.keep, *options]
        self.errors_path = os.path.join(scene.folder, f"errors.{len(scene.started)}")
        with open(self.errors_path, "w", encoding="utf-8") as errors:
            self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=errors, text=True, env=env or scene.env,
                                            stdin=subprocess.DEVNULL, **more)
        self.pid = self.process.pid
        self.line = read_line(self.process.stdout, 20).rstrip("\n")
        found = re.search(r"http://127\.0\.0\.1:(\d+)/", self.line)
        self.port = int(found.group(1)) if found else 0

    def errors(self):
        with open(self.errors_path, encoding="utf-8") as file:
            return file.read()

    def connection(self, unix=False):
        return UnixConnection(self.socket) if unix else http.client.HTTPConnection("127.0.0.1", self.port, timeout=20)

    def get(self, path, unix=False, headers=None, method="GET"):
        """Status and body; the status is 0 when nobody answers."""
        connection = self.connection(unix)
        try:
            connection.request(method, path, headers=headers or {})
            answer = connection.getresponse()
            return answer.status, answer.read()
        except (OSError, http.client.HTTPException):
            return 0, b""
        finally:
            connection.close()

    def status(self, path, **keywords):
        return self.get(path, **keywords)[0]

    def knows(self, identity):
        return self.status(f"/p/{identity}/debug/pprof/cmdline") == 200

    def metrics(self):
        return self.get("/metrics")[1].decode()

    def lives(self, pid):
        return re.search(rf'^mallard_heap_alloc_bytes{{[^}}]*pid="{pid}"', self.metrics(), re.M) is not None

    def number(self, name):
        found = re.search(rf"^{re.escape(name)} ([0-9.e+]+)$", self.metrics(), re.M)
        return float(found.group(1)) if found else None

    def cpu_seconds(self):
        with open(f"/proc/{self.pid}/stat", encoding="ascii") as file:
            fields = file.read().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def fds(self):
        return len(os.listdir(f"/proc/{self.pid}/fd"))

    def memory_kib(self, name="VmRSS"):
        with open(f"/proc/{self.pid}/status", encoding="ascii") as file:
            return next(int(line.split()[1]) for line in file if line.startswith(f"{name}:"))

    def top(self, identity, *options, path="debug/pprof/heap"):
        """What `go tool pprof -top` says of a process's heap."""
        url = f"http://127.0.0.1:{self.port}/p/{identity}/{path}"
        done = subprocess.run(["go", "tool", "pprof", "-top", *options, url], capture_output=True, text=True, timeout=60,
                              env=dict(os.environ, PPROF_TMPDIR=self.scene.folder))
        return done.stdout if done.returncode == 0 else done.stderr

    def stop(self, number=signal.SIGTERM):
        if self.process.poll() is None:
            self.process.send_signal(number)
        return self.process.wait(timeout=20)

    def close(self):
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait(timeout=20)
        self.process.stdout.close()


class Scene:
    def __init__(self, build):
        build = os.path.abspath(build)
        self.build = build
        self.mallardd = os.path.join(build, "mallardd")
        self.prey_program = os.path.join(build, "tests/bin/conformance/prey")
        self.folder = tempfile.mkdtemp(prefix="mallardd-")
        os.chmod(self.folder, 0o755)
        self.boxes = os.path.join(self.folder, "boxes")
        self.keep = os.path.join(self.folder, "kept")
        os.mkdir(self.boxes)
        os.chmod(self.boxes, 0o1777)
        self.env = dict(os.environ, MALLARD_DIR=self.boxes, LD_PRELOAD=os.path.join(build, "libmallard.so.0"))
        for name in ("MALLARD_HTTP", "MALLARD_KEEP", "MALLARD_MEMPROFILERATE", "NOTIFY_SOCKET"):
            self.env.pop(name, None)
        self.daemon_env = {name: value for name, value in self.env.items() if name != "LD_PRELOAD"}
        self.started = []

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for one in reversed(self.started):
            one.close()
        shutil.rmtree(self.folder, ignore_errors=True)

    def daemon(self, *options, **keywords):
        keywords.setdefault("env", self.daemon_env)
        daemon = Daemon(self, *options, **keywords)
        self.started.append(daemon)
        return daemon

    def prey(self, program=None, **options):
        prey = Prey(self, [program or self.prey_program], **options)
        self.started.append(prey)
        return prey

    def run_daemon(self, *options):
        """A daemon that is expected to end at once."""
        return subprocess.run([self.mallardd, *options], capture_output=True, text=True, timeout=20, env=self.daemon_env,
                              stdin=subprocess.DEVNULL)

    def box_files(self):
        return sorted(glob.glob(os.path.join(self.boxes, "**/*.mallard"), recursive=True))

    def kept_folder(self, identity):
        found = glob.glob(os.path.join(self.keep, f"{identity}.*"))
        return found[0] if found else None

    def facts(self, identity):
        folder = self.kept_folder(identity)
        if folder is None:
            return {}
        try:
            with open(os.path.join(folder, "facts"), encoding="utf-8", errors="replace") as file:
                return dict(line.rstrip("\n").split("=", 1) for line in file if "=" in line)
        except FileNotFoundError:
            return {}

    def is_buried(self, identity):
        return self.facts(identity).get("death", "none") not in ("none", "")

    def profiles(self, identity):
        folder = self.kept_folder(identity)
        return sorted(glob.glob(os.path.join(folder, "heap.*.pb.gz"))) if folder else []


def is_whole(path):
    """True for a file that gunzips to something."""
    try:
        with gzip.open(path) as file:
            return len(file.read()) > 0
    except (OSError, EOFError):
        return False


def run_checks(build, wanted, together, alone, at_once):
    """Runs the check_ functions, those of `together` several at a time; prints the counts."""
    def is_wanted(check):
        return not wanted or check.__name__.removeprefix("check_") in wanted

    def run(check):
        counts = live.Checks()
        try:
            check(counts, build)
        except Exception as problem:  # one that fails must not hide the others
            counts.check(check.__name__, False, "".join(traceback.format_exception(problem)))
        return counts
    all_counts = [run(check) for check in alone if is_wanted(check)]
    with concurrent.futures.ThreadPoolExecutor(at_once) as pool:
        all_counts += pool.map(run, filter(is_wanted, together))
    total = live.Checks()
    total.passed = sum(counts.passed for counts in all_counts)
    total.failed = sum(counts.failed for counts in all_counts)
    return total.finish()



def run_alone(usage, arguments, check):
    """A program that is one check in one scene: `check(checks, scene)`. Returns its exit status."""
    if len(arguments) != 1:
        print(usage, file=sys.stderr)
        return 2
    checks = live.Checks()
    with Scene(arguments[0]) as scene:
        check(checks, scene)
    return checks.finish()


__all__ = ["Daemon", "NOBODY", "Prey", "Scene", "is_whole", "live", "run_alone", "run_checks", "start_ticks"]
