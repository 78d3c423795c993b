#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Programs go on, or are refused memory cleanly, whatever is missing around them.

    faults.py LIBRARY FOLDER      FOLDER holds the programs `faults` and `look`

FAULTS_KILLS (500) is how many processes are killed at random moments, FAULTS_SEED (1) chooses the
moments. What needs root or a namespace is skipped with a line where it is not to be had.
"""
import glob
import os
import pathlib
import random
import re
import resource
import signal
import subprocess
import sys
import tempfile
import time

KILLS = int(os.environ.get("FAULTS_KILLS", "500"))
SEED = int(os.environ.get("FAULTS_SEED", "1"))
counts = {True: 0, False: 0}


def check(holds, what, again=""):
    counts[bool(holds)] += 1
    print(f"ok   {what}" if holds else f"FAIL {what}; again: {again}", flush=True)


class Setting:
    """The library, the programs, and a fresh folder of boxes."""

    def __init__(self, library, folder):
        self.library, self.faults, self.look = library, folder / "faults", folder / "look"
        self.boxes = tempfile.TemporaryDirectory(dir="/dev/shm", prefix="mallard-faults-")
        self.folder = self.boxes.name

    def environment(self, **knobs):
        return {**os.environ, "LD_PRELOAD": str(self.library), "MALLARD_DIR": self.folder, **knobs}

    def again(self, *role, **knobs):
        return " ".join([f"{k}={v}" for k, v in knobs.items()] + [f"LD_PRELOAD={self.library}", str(self.faults), *role])

    def run(self, *role, before=None, wrapper=(), **knobs):
        environment = self.environment(**knobs)
        if wrapper:
            del environment["LD_PRELOAD"]
        return subprocess.run([*wrapper, self.faults, *role], env=environment, capture_output=True,
                              text=True, timeout=120, preexec_fn=before, stdin=subprocess.DEVNULL)

    def start(self, *role, **knobs):
        return subprocess.Popen([self.faults, *role], env=self.environment(**knobs), stdin=subprocess.PIPE,
                                stdout=subprocess.PIPE, text=True)

    def box_of(self, pid):
        found = glob.glob(f"{self.folder}/{pid}.*.mallard")
        return found[0] if found else None

    def look_at(self, box, *code):
        done = subprocess.run([self.look, box, *code], capture_output=True, text=True)
        return done.returncode, [line.split() for line in done.stdout.splitlines()]

    def expect(self, what, *role, answers=("works\n",), **how):
        done = self.run(*role, **how)
        knobs = {k: v for k, v in how.items() if k.isupper()}
        check(done.returncode == 0 and done.stdout in answers,
              f"{what}: status {done.returncode}, {done.stdout[:20].strip() or 'nothing said'}"
              + (f", {done.stderr.strip()[:200]}" if done.returncode else ""), self.again(*role, **knobs))
        return done


def knobs(s):
    """All that the table has: an empty one is one that is not set, one that is none is named."""
    table = (pathlib.Path(__file__).resolve().parents[2] / "src/front/options.c").read_text()
    names = re.findall(r'^ *\{"(MALLARD_[A-Z_]+)",', table, re.MULTILINE)
    wrong = "x" * 600
    check(len(names) >= 9, f"the table of knobs is there: {len(names)}")
    for name in names:
        quiet, loud = s.run("works", **{name: ""}), s.run("works", **{name: wrong})
        check(quiet.stdout == "works\n" and not quiet.stderr, f"{name}= is not set: {quiet.stderr.strip()[:100] or 'silent'}",
              s.again("works", **{name: ""}))
        check(loud.stdout == "works\n" and loud.stderr.count("\n") == 1 and loud.stderr.startswith(f"mallard: {name}={'...' if 'TOKEN' in name else 'xxx'}"),
              f"{name}=xxx… is named, in one line", s.again("works", **{name: wrong}))


def descriptors(s):
    for rate in ("524288", "1"):
        path = f"{s.folder}/mine"
        s.expect(f"every descriptor closed, rate {rate}", "closed", path, answers=("",), MALLARD_MEMPROFILERATE=rate)
        os.unlink(path)


def address_limits(s):
    for mib in (8, 16, 24, 32, 48, 64, 96, 128, 146, 256, 512, 2048):
        answers = ("works\n",) if mib >= 64 else ("works\n", "refused\n")
        def limit(mib=mib):
            resource.setrlimit(resource.RLIMIT_AS, (mib << 20, mib << 20))
        for rate in ("524288", "1"):
            s.expect(f"ulimit -v {mib} MiB, rate {rate}", "exhaust", before=limit, answers=answers,
                     MALLARD_MEMPROFILERATE=rate)


def file_limits(s):
    """Files of a limited size, as `ulimit -f` and LimitFSIZE= have it: beyond lies a signal."""
    for mib in (0, 1):
        def limit(mib=mib):
            resource.setrlimit(resource.RLIMIT_FSIZE, (mib << 20, mib << 20))
        done = s.expect(f"ulimit -f {mib} MiB", "works", before=limit, MALLARD_MEMPROFILERATE="1")
        check(done.stderr.count("\n") == 1 and "no box at" in done.stderr and "(File too large)" in done.stderr, f"and one line says that there is no box: {done.stderr!r}",
              s.again("works", MALLARD_MEMPROFILERATE="1"))


def failing_maps(s):
    answers = ("works\n", "refused\n")
    for rate in ("524288", "1"):
        wrong = []
        for nth in range(1, 41):
            for knob in ("FAIL_MAP", "FAIL_MAP_FROM"):
                done = s.run("works", **{knob: str(nth)}, MALLARD_MEMPROFILERATE=rate)
                if done.returncode or done.stdout not in answers:
                    wrong.append(s.again("works", **{knob: nth}, MALLARD_MEMPROFILERATE=rate))
        check(not wrong, f"the n-th mapping fails, n = 1 .. 40, rate {rate}", wrong[0] if wrong else "")


def can_unshare():
    done = subprocess.run(["unshare", "-m", "true"], capture_output=True)
    return os.geteuid() == 0 and done.returncode == 0


def mounted(s, what, script, **knobs):
    """Runs `works` after a shell script in a mount namespace of its own."""
    if not can_unshare():
        print(f"skip {what}: needs root and mount namespaces")
        return
    done = s.run(wrapper=["unshare", "-m", "sh", "-c", f'{script} && LD_PRELOAD={s.library} exec "$0" works'],
                 MALLARD_MEMPROFILERATE="1", **knobs)
    check(done.returncode == 0 and done.stdout == "works\n", f"{what}: {done.stderr.strip()[:150] or 'silent'}",
          f"unshare -m sh -c '{script} && MALLARD_MEMPROFILERATE=1 LD_PRELOAD={s.library} {s.faults} works'")


def missing_places(s):
    mounted(s, "no /proc", "mount -t tmpfs none /proc")
    mount = f"mount -t tmpfs -o size={{}} none {s.folder}"
    mounted(s, "boxes on a tmpfs of 64 KiB", mount.format("64k"))
    mounted(s, "boxes on a full tmpfs", mount.format("64k") + f"; dd if=/dev/zero of={s.folder}/fill 2>/dev/null || true")
    for size in ("200k", "400k", "1m"):
        mounted(s, f"boxes on a tmpfs of {size}, which fills up", mount.format(size))
    mounted(s, "boxes on a read-only tmpfs", mount.format("1m") + f" && mount -o remount,ro {s.folder}")
    for place in ("/proc/nonexistent", "/dev/null", "/proc/self"):
        s.expect(f"MALLARD_DIR={place}", "works", MALLARD_DIR=place, MALLARD_MEMPROFILERATE="1")


def kills(s):
    moments = random.Random(SEED)
    unreadable, missing, wrong_life = [], 0, 0
    print(f"     {KILLS} kills, FAULTS_SEED={SEED}")
    for kill in range(KILLS):
        pause = moments.uniform(0.001, 0.04)
        child = s.start("churn", str(kill), MALLARD_MEMPROFILERATE=moments.choice(["1", "4096", "524288"]),
                        MALLARD_EAGER="1")
        time.sleep(pause)
        child.kill()
        child.communicate()
        box = s.box_of(child.pid)
        if not box:
            missing += 1
            continue
        status, lines = s.look_at(box)
        # A box that was killed while it was made has no magic yet: that is an answer too.
        if status and lines != [["error", "open", "74"]]:
            unreadable.append(f"kill {kill} after {pause:.4f} s: {lines[:3]}")
        wrong_life += ["life", "gone"] not in lines and not status
        os.unlink(box)
    check(not unreadable, f"the box of a killed process is readable: {len(unreadable)} of {KILLS} were not; "
          f"{missing} were killed before they had one", f"FAULTS_SEED={SEED} faults.py; {unreadable[:3]}")
    check(wrong_life == 0, f"and says that the process is gone: {wrong_life} did not", f"FAULTS_SEED={SEED} faults.py")


def forks(s):
    for rate in ("524288", "1"):
        for role in ("fork", "vfork"):
            answers = ("works\n" * 51,) if role == "vfork" else ("works\n",)
            s.expect(f"{role} beside working threads, rate {rate}", role, answers=answers, MALLARD_MEMPROFILERATE=rate)
        path = f"{s.folder}/daemon"
        s.expect(f"daemon, rate {rate}", "daemon", path, MALLARD_MEMPROFILERATE=rate)
        for _ in range(100):
            if os.path.exists(path) and os.path.getsize(path):
                break
            time.sleep(0.05)
        check(os.path.exists(path) and open(path).read() == "works\n", f"and its grandchild works, rate {rate}",
              s.again("daemon", path))
        os.unlink(path)
    child = s.start("rawfork", MALLARD_MEMPROFILERATE="1")
    said = [child.stdout.readline() for _ in range(2)]
    _, lines = s.look_at(s.box_of(child.pid), "0", "ffffffffffffffff")
    child.communicate()
    for box in glob.glob(s.folder + "/*.mallard"):
        os.unlink(box)  # the child ended past libc too
    foreign = sum(int(words[3]) for words in lines if words[0] == "bucket" and words[1] == "80")
    check(said == ["works\n", "ready\n"] and child.returncode == 0, "a fork past libc works", s.again("rawfork"))
    check(foreign < 5000, f"and its child writes nothing into its parent's box: {foreign} foreign samples",
          s.again("rawfork", MALLARD_MEMPROFILERATE=1))


def many_threads(s):
    child = s.start("threads", "1000", MALLARD_EAGER="1")
    ready = child.stdout.readline()
    _, lines = s.look_at(s.box_of(child.pid))
    child.communicate()
    stat = {words[1]: int(words[2]) for words in lines if words[0] == "stat"}
    cpus = os.cpu_count()
    cached, slabs = stat["cpu_cache_bytes"], stat["cache_inuse_bytes"]
    check(ready == "ready\n" and child.returncode == 0, "1000 threads come and go", s.again("threads", "1000"))
    check(cached <= cpus * (4352 << 10) and slabs <= cpus * (512 << 10) + (1 << 20),
          f"and {cpus} CPUs cache {cached} bytes in slabs of {slabs} bytes, not more", s.again("threads", "1000"))


def many_cpus(s):
    """Those that the kernel might have and that nobody uses cost nothing, page tables neither."""
    child = s.start("threads", "8", MALLARD_EAGER="1", MALLARD_DEBUG="cpus=8192")
    ready = child.stdout.readline()
    status = dict(line.split(":", 1) for line in open(f"/proc/{child.pid}/status"))
    child.communicate()
    tables_kib = int(status["VmPTE"].split()[0])
    check(ready == "ready\n" and child.returncode == 0 and tables_kib < 1024, f"8192 CPUs take {tables_kib} KiB of page tables",
          s.again("threads", "8", MALLARD_DEBUG="cpus=8192"))


def main(library, folder):
    setting = Setting(pathlib.Path(library).resolve(), pathlib.Path(folder).resolve())
    setting.expect("nothing is missing", "works")
    for part in (knobs, descriptors, address_limits, file_limits, failing_maps, missing_places, forks, many_threads, many_cpus, kills):
        part(setting)
    left = glob.glob(setting.folder + "/*")
    check(not left, f"no box is left behind by a clean end: {left[:3]}", f"faults.py {library} {folder}")
    print(f"{counts[True]} passed, {counts[False]} failed")
    return counts[False] > 0


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    sys.exit(main(*sys.argv[1:]))
