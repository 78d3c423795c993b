#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Programs that do odd things to their own process, and boxes to which odd things are done.

    hostile.py LIBRARY FOLDER MALLARD      FOLDER holds the program `hostile`

What the kernel or this machine does not have is skipped with a line.
"""
import glob
import os
import pathlib
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time

NOT_HERE = 77
counts = {True: 0, False: 0}


def check(holds, what):
    counts[bool(holds)] += 1
    print(f"{'ok  ' if holds else 'FAIL'} {what}", flush=True)


class Scene:
    def __init__(self, library, folder, mallard):
        self.library, self.mallard = str(pathlib.Path(library).resolve()), mallard
        self.program = str(pathlib.Path(folder).resolve() / "hostile")
        self.boxes = tempfile.TemporaryDirectory(dir="/dev/shm", prefix="mallard-hostile-")
        self.folder = os.path.join(self.boxes.name, "boxes")
        os.mkdir(self.folder, 0o700)

    def environment(self, **knobs):
        return {**os.environ, "LD_PRELOAD": self.library, "MALLARD_DIR": self.folder, **knobs}

    def run(self, *role, **knobs):
        return subprocess.run([self.program, *role], env=self.environment(**knobs), capture_output=True, text=True,
                              timeout=100, stdin=subprocess.DEVNULL, check=False)

    def start(self, *role, **knobs):
        child = subprocess.Popen([self.program, *role], env=self.environment(**knobs), stdin=subprocess.PIPE,
                                 stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        child.stdout.readline()
        until = time.monotonic() + 10
        while self.most_mib(child) == 0 and time.monotonic() < until:
            time.sleep(0.01)
        check(self.box_of(child), "a program that allocated before libc had an environment has its box where MALLARD_DIR says")
        return child

    def box_of(self, child):
        return glob.glob(f"{self.folder}/{child.pid}.*.mallard")

    def most_mib(self, child):
        """What `mallard stat` calls the largest resident set; 0: it says none."""
        shown = subprocess.run([self.mallard, "stat", str(child.pid)], env=self.environment(LD_PRELOAD=""),
                               capture_output=True, text=True, check=False)
        said = re.search(r"resident at most +([0-9.]+) (KiB|MiB)", shown.stdout)
        return float(said[1]) / (1024 if said[2] == "KiB" else 1) if said else 0


def end(child):
    out, err = child.communicate()
    return child.returncode, out, err


def after_exec(s):
    child = s.start("large", s.program, "waits", MALLARD_EAGER="1")
    most = s.most_mib(child)
    check(0 < most < 40, f"what was large before an exec was another program: {most} MiB at most")
    check(end(child)[:2] == (0, "works\n"), "and it works")


def roles(s):
    for role in ("early", "late", "limits", "locked", "mdwe", "personality", "cancels", "fleeting", "crowd"):
        for knobs in ({}, {"MALLARD_EAGER": "1", "MALLARD_MEMPROFILERATE": "1000"}):
            done = s.run(role, **knobs)
            if done.returncode == NOT_HERE:
                print(f"skip {role}: not to be had here")
                break
            check((done.returncode, done.stdout) == (0, "works\n"),
                  f"{role} {' '.join(knobs)}: status {done.returncode} {done.stderr[:200]!r}")


def guests(s):
    for knobs in ({"LD_PRELOAD": ""}, {"LD_PRELOAD": "", "MALLARD_EAGER": "1"}, {}):
        done = s.run("opens", s.library, **knobs)
        check((done.returncode, done.stdout) == (0, "works\n"),
              f"dlopen, dlclose, dlmopen with {knobs}: status {done.returncode} {done.stdout!r} {done.stderr[:200]!r}")


def static_programs(s):
    """The archive in a program that no loader loads: at a fixed place, and wherever the kernel puts it."""
    archive = pathlib.Path(s.library).with_name("libmallard.a")
    program = os.path.join(s.boxes.name, "static")
    for way in (["-static"], ["-static-pie", "-fPIE"]):
        built = subprocess.run(["cc", "-w", "-O1", "-D_GNU_SOURCE", *way, pathlib.Path(__file__).with_suffix(".c"), archive, "-o", program, "-pthread"],
                               capture_output=True, text=True, check=False)
        check(built.returncode == 0, f"{way[0]}: built {built.stderr[:200]!r}")
        for role in ("early", "late", "cancels"):
            done = subprocess.run([program, role], env=s.environment(LD_PRELOAD="", MALLARD_EAGER="1", MALLARD_MEMPROFILERATE="1000"),
                                  capture_output=True, text=True, timeout=100, check=False)
            check((done.returncode, done.stdout) == (0, "works\n"), f"{way[0]}, {role}: status {done.returncode} {done.stderr[:200]!r}")


def odd_values(s):
    """Unicode, newlines, 100 KiB (the kernel's limit is 128): one line of text each, never an end."""
    names = ["MEMPROFILERATE", "GOMEMLIMIT", "GOGC", "HTTP", "HTTP_TOKEN", "DIR", "KEEP", "DEBUG", "EAGER", "CPU_CACHE"]
    values = {"huge": "9" * 40, "negative": "-1", "unicode": "\u0661\u202e\U0001f986", "newline": "1\n2\n", "long": "1" * 100000, "escape": "\x1b[2J"}
    for name in names:
        for what, value in values.items():
            done = s.run("early", **{"MALLARD_" + name: value})
            check((done.returncode, done.stdout) == (0, "works\n") and done.stderr.count("\n") <= 1 and "\x1b" not in done.stderr
                  and len(done.stderr) < 2000, f"MALLARD_{name}, {what}: status {done.returncode} {done.stderr[:120]!r}")


def folders(s):
    child = s.start("waits", MALLARD_EAGER="1")
    for box in s.box_of(child):
        os.unlink(box)
    check(end(child) == (0, "works\n", ""), "a box that somebody removed is no matter")
    child = s.start("waits", MALLARD_EAGER="1")
    shutil.rmtree(s.folder)
    check(end(child) == (0, "works\n", ""), "nor is a folder")
    os.mkdir(s.folder, 0o700)
    link = s.folder + ".link"
    os.symlink(s.folder, link)
    done = s.run("early", MALLARD_DIR=link)
    check((done.returncode, done.stdout) == (0, "works\n"), f"a folder that is a link: {done.stderr!r}")


def stopped(s):
    child = s.start("waits", MALLARD_EAGER="1")
    os.kill(child.pid, signal.SIGSTOP)
    check(s.most_mib(child) > 0, "a stopped program's box is read")
    os.kill(child.pid, signal.SIGCONT)
    check(end(child) == (0, "works\n", ""), "and it goes on")


def main(library, folder, mallard):
    scene = Scene(library, folder, mallard)
    for part in (after_exec, folders, stopped, odd_values, guests, static_programs, roles):
        part(scene)
    print(f"{counts[True]} passed, {counts[False]} failed")
    return counts[False] > 0


if __name__ == "__main__":
    if len(sys.argv) != 4:
        sys.exit(__doc__)
    sys.exit(main(*sys.argv[1:]))
