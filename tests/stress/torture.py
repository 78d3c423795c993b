#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Every scene of torture.c, in both access modes, one after the other.

    torture.py BUILD        TORTURE_SECONDS=600 for all together, TORTURE_THREADS=6, TORTURE_SCENES=a,b,
                            TORTURE_MODES=rseq,lock, SEED= repeats

In the scenes with scrapes the mallard command reads the box from outside meanwhile, and asks through
its mailbox for fresh statistics and for memory to go back.
"""
import os
import pathlib
import random
import subprocess
import sys
import tempfile
import threading
import time

SCENES = os.environ.get("TORTURE_SCENES", "signals,affinity,forks,exits,scrapes,pressure,all").split(",")
MODES = os.environ.get("TORTURE_MODES", "rseq,lock").split(",")
SECONDS = float(os.environ.get("TORTURE_SECONDS", "600"))
THREADS = os.environ.get("TORTURE_THREADS", "6")
SEED = int(os.environ.get("SEED") or random.SystemRandom().getrandbits(32))
GRACE_SECONDS = 120  # to stop, check and free everything, on a loaded machine
READERS = (("stat", "--json"), ("heap", "--text"), ("allocs", "--text"))


class Reader(threading.Thread):
    """Reads the process as people do, until it ends. A reader may come too early or too late."""

    def __init__(self, build, pid, env):
        super().__init__()
        self.command, self.pid, self.env = os.path.join(build, "mallard"), str(pid), env
        self.ended = threading.Event()
        self.read = 0

    def run(self):
        while not self.ended.is_set():
            for verb, option in READERS:
                done = subprocess.run([self.command, verb, self.pid, option], env=self.env, stdout=subprocess.DEVNULL,
                                      stderr=subprocess.DEVNULL, timeout=60)
                self.read += done.returncode == 0
            time.sleep(0.05)

    def stop(self):
        self.ended.set()
        self.join()


def run(build, scene, mode, seconds):
    """(passed, line)"""
    with tempfile.TemporaryDirectory(prefix="mallard-torture-") as boxes:
        env = {**os.environ, "MALLARD_DIR": boxes}
        own = {"LD_PRELOAD": os.path.abspath(os.path.join(build, "libmallard.so.0")), "MALLARD_CPU_CACHE": mode}
        program = os.path.join(build, "tests/bin/stress/torture")
        process = subprocess.Popen([program, scene, str(seconds), THREADS, str(SEED)], env={**env, **own}, text=True,
                                   stdout=subprocess.PIPE, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL)
        reader = Reader(build, process.pid, env) if scene in ("scrapes", "all") else None
        if reader:
            reader.start()
        try:
            text, _ = process.communicate(timeout=seconds + GRACE_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            text = process.communicate()[0] + f"FAIL {scene}: no end"
        if reader:
            reader.stop()
    note = f", {reader.read} reads from outside" if reader else ""
    good = process.returncode == 0 and text.startswith("ok ") and (not reader or reader.read > 0)
    return good, f"{mode} {text.strip()}{note}" if good else f"{mode} status {process.returncode}: {text.strip()}{note}"


def main():
    build = sys.argv[1]
    runs = [(scene, mode) for scene in SCENES for mode in MODES]
    again = f"SEED={SEED} TORTURE_SECONDS={SECONDS:g} TORTURE_THREADS={THREADS} {pathlib.Path(__file__).name} {build}"
    print(f"torture: {SECONDS:g} s over {len(runs)} runs, {THREADS} threads; again: {again}", flush=True)
    passed = 0
    for scene, mode in runs:
        good, line = run(build, scene, mode, SECONDS / len(runs))
        passed += good
        print(f"{'ok  ' if good else 'FAIL'} {line}", flush=True)
    print(f"{passed} passed, {len(runs) - passed} failed")
    return 0 if passed == len(runs) else 1


if __name__ == "__main__":
    sys.exit(main())
