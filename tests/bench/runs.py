# SPDX-License-Identifier: Apache-2.0
"""One measured run of a program, and the guard that says whether the machine was ours meanwhile.

The guard compares the CPU time that the whole machine spent during a run (/proc/stat) with what
this script and everything it started used (times(2)). The rest is somebody else's; where it exceeds
OTHERS_SHARE of the wall time, or the hypervisor took STEAL_SHARE of it, the run is called disturbed.
"""
import contextlib
import hashlib
import os
import pathlib
import select
import signal
import subprocess
import tempfile
import time

from allocators import Allocator, Problem

TICK_SECONDS = 1 / os.sysconf("SC_CLK_TCK")
OTHERS_SHARE, OTHERS_SECONDS = 0.05, 0.05  # the second covers the ticks in which /proc/stat counts
STEAL_SHARE = 0.02
LIMIT_SECONDS = 900
TRIES, QUIET_SECONDS = 4, 10
PLAIN = Allocator("no allocator")
SHARED_MEMORY = "/dev/shm"


class Workplace:
    """A folder, where programs are, and the environment of the measured ones."""

    def __init__(self, programs):
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="mallard-bench."))
        self.folder.chmod(0o755)
        self.programs = pathlib.Path(programs).resolve()
        self.boxes = self.make_boxes()
        self.launch = self.folder / "launch"  # a copy: other users must be able to execute it
        self.launch.write_bytes((self.programs / "launch").read_bytes())
        self.launch.chmod(0o755)
        self.children = []
        self.kept = {}

    def make_boxes(self):
        """Boxes lie on tmpfs, as they do by default: on a disk's file system each costs some milliseconds."""
        on_tmpfs = os.access(SHARED_MEMORY, os.W_OK)
        boxes = pathlib.Path(tempfile.mkdtemp(prefix="mallard-bench.", dir=SHARED_MEMORY if on_tmpfs else self.folder))
        boxes.chmod(0o1777)
        return boxes

    def environment(self, allocator, more):
        env = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C.UTF-8", "HOME": str(self.folder)}
        env |= {name: value for name, value in os.environ.items() if name.startswith("MALLARD_")}
        return env | {"MALLARD_DIR": str(self.boxes)} | allocator.env | (more or {})

    def start(self, argv, allocator=PLAIN, **options):
        child = Child(self, argv, allocator, **options)
        self.children.append(child)
        return child

    def measure(self, argv, allocator=PLAIN, **options):
        return self.start(argv, allocator, **options).finish()

    def write_once(self, name, make):
        path = self.folder / name
        if not path.exists():
            path.write_text(make())
        return path

    def end(self):
        """Ends whatever is still running, each group by the id under which it was started here."""
        for child in self.children:
            child.kill()
        with contextlib.suppress(OSError):
            subprocess.run(["rm", "-rf", str(self.folder), str(self.boxes)], check=False)


class Child:
    """A program under an allocator, started through launch.c, which measures it."""

    def __init__(self, place, argv, allocator, stdin=None, cwd=None, env=None, user=None):
        self.argv, self.name = [str(word) for word in argv], allocator.name
        self.output, self.errors = tempfile.TemporaryFile(dir=place.folder), tempfile.TemporaryFile(dir=place.folder)
        read_end, write_end = os.pipe()
        with open(stdin or os.devnull, "rb") as source:
            command = [str(place.launch), str(write_end), allocator.path, *self.argv]
            self.launcher = subprocess.Popen(command, stdin=source, stdout=self.output, stderr=self.errors, cwd=cwd or place.folder,
                                             env=place.environment(allocator, env), pass_fds=[write_end],
                                             start_new_session=True, **(user or {}))
        os.close(write_end)
        self.report = os.fdopen(read_end)
        self.pid = int(self.report.readline() or 0)
        self.over = False

    def finish(self):
        """Waits for the end: seconds, cpu, peak_kib, switches, output. A failed child is a Problem."""
        ready, _, _ = select.select([self.report], [], [], LIMIT_SECONDS)
        if not ready:
            self.kill()
            raise Problem(f"no end after {LIMIT_SECONDS} s under {self.name}: {' '.join(self.argv)[:200]}")
        line = self.report.readline().split()
        self.report.close()
        self.launcher.wait()
        self.over = True
        if not line or line[0] != "0":
            raise Problem(f"status {line[0] if line else '?'} under {self.name}: {' '.join(self.argv)[:200]}\n{self.last_words()}")
        return {"seconds": int(line[3]) / 1e6, "cpu": int(line[2]) / 1e6, "peak_kib": int(line[1]),
                "switches": int(line[4]), "output": self.digest()}

    def digest(self):
        with self.output as output:
            output.seek(0)
            return hashlib.sha256(output.read()).hexdigest()[:16]

    def last_words(self):
        with self.errors as errors:
            errors.seek(0)
            return errors.read()[-600:].decode(errors="replace").strip()

    def text(self):
        self.output.seek(0)
        return self.output.read().decode(errors="replace")

    def kill(self):
        if not self.over:
            self.over = True
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self.launcher.pid, signal.SIGKILL)
            self.launcher.wait()


# ---- the guard ----


def machine_seconds():
    """CPU time of the whole machine since boot: spent, and taken by the hypervisor."""
    with open("/proc/stat", encoding="ascii") as stat:
        user, nice, system, _, _, irq, softirq, steal = (int(n) * TICK_SECONDS for n in stat.readline().split()[1:9])
    return user + nice + system + irq + softirq, steal


def own_seconds():
    times = os.times()
    return times.user + times.system + times.children_user + times.children_system


class Watch:
    """with Watch() as watch: ...; then watch.verdict()."""

    def __enter__(self):
        self.start, self.own, (self.busy, self.steal) = time.monotonic(), own_seconds(), machine_seconds()
        return self

    def __exit__(self, *_):
        busy, steal = machine_seconds()
        self.wall = time.monotonic() - self.start
        self.others = max(0.0, busy - self.busy - (own_seconds() - self.own))
        self.steal = steal - self.steal

    def verdict(self):
        disturbed = self.others > OTHERS_SECONDS + OTHERS_SHARE * self.wall or self.steal > TICK_SECONDS + STEAL_SHARE * self.wall
        return {"others": round(self.others, 3), "steal": round(self.steal, 3), "disturbed": disturbed,
                "disturbance": (self.others + self.steal) / max(self.wall, 1e-3)}


def wait_for_quiet(seconds):
    """Until nobody else uses the machine, or the time is over. Returns how long it took."""
    start = time.monotonic()
    while time.monotonic() - start < seconds:
        with Watch() as watch:
            time.sleep(0.3)
        if watch.others < 0.1 * watch.wall:
            break
    return time.monotonic() - start


class Guarded:
    """Runs things until one run was undisturbed; counts what it dropped. `patience` is how many seconds
    in all it may spend on waiting and repeating; then disturbed runs are kept, and marked."""

    def __init__(self, patience):
        self.patience = patience
        self.total = self.dropped = self.kept_disturbed = 0

    def run(self, function):
        attempts = []
        while True:
            with Watch() as watch:
                figures = function()
            attempts.append(figures | watch.verdict())
            self.total += 1
            if not attempts[-1]["disturbed"] or self.patience <= 0 or len(attempts) == TRIES:
                break
            self.patience -= watch.wall + wait_for_quiet(min(QUIET_SECONDS, self.patience))
        self.dropped += len(attempts) - 1
        best = min(attempts, key=lambda attempt: (attempt["disturbed"], attempt["disturbance"]))
        self.kept_disturbed += best["disturbed"]
        return best

    def sentence(self):
        return (f"load guard: {self.total} runs, {self.dropped} dropped because something else used the machine, "
                f"{self.kept_disturbed} kept though disturbed" + ("" if not self.kept_disturbed else " (marked !)"))

    def facts(self):
        return {"runs": self.total, "dropped": self.dropped, "kept_disturbed": self.kept_disturbed}
