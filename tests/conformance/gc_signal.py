#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The signal that stops threads, and programs that have a use for it.

    gc_signal.py FOLDER_OF_LIBRARIES GC_SIGNAL
"""
import os
import signal
import subprocess
import sys
import tempfile

import live

CHECKS = live.Checks()
USUAL = signal.SIGRTMIN + 6


def run(folder, program, number, way, debug="", wrapped=True):
    with tempfile.TemporaryDirectory() as boxes:
        environment = os.environ | {"LD_LIBRARY_PATH": folder, "MALLARD_DIR": boxes, "MALLARD_DEBUG": debug}
        if wrapped:
            environment["LD_PRELOAD"] = os.path.join(folder, "libmallard-gc.so.0")
        done = subprocess.run([program, str(int(number)), way], capture_output=True, text=True, timeout=60, env=environment)
    return done.returncode, done.stdout.strip(), done.stderr.splitlines()


def main():
    folder, program = (os.path.abspath(path) for path in sys.argv[1:3])
    free, taken = "errno=0 collections=0 raised=1", "errno=22 collections=0 raised=0"
    for wrapped in (True, False):
        name = "with libmallard-gc" if wrapped else "without it"
        for way in ("before", "after"):
            got = run(folder, program, USUAL + 10, way, wrapped=wrapped)
            CHECKS.check(f"{name}: another signal is the program's, handler set {way}", got == (0, free, []), got)
        got = run(folder, program, USUAL, "after", debug="gcsignal=60", wrapped=wrapped)
        CHECKS.check(f"{name}: gcsignal=60 leaves it to the program", got == (0, free, []), got)
        got = run(folder, program, USUAL, "behind", wrapped=wrapped)
        CHECKS.check(f"{name}: a handler set behind its back is taken back, with one sentence",
                     got[:2] == (0, "errno=0 collections=0 raised=0") and len(got[2]) == 1 and "taken back" in got[2][0], got)
        got = run(folder, program, USUAL, "after", debug="gcsignal=20", wrapped=wrapped)
        CHECKS.check(f"{name}: gcsignal=20 is no real-time signal", got[0] == 0 and len([l for l in got[2] if "MALLARD_DEBUG" in l and "gcsignal=20" in l]) == 1, got)
    got = run(folder, program, USUAL, "before", wrapped=False)
    CHECKS.check("without libmallard-gc: the usual one is left to a program that took it before", got == (0, free, []), got)
    got = run(folder, program, 60, "before", debug="gcsignal=60", wrapped=False)
    CHECKS.check("without libmallard-gc: one sentence when the program has taken what gcsignal names",
                 got[:2] == (0, free) and len(got[2]) == 1 and "gcsignal=60" in got[2][0] and str(int(USUAL)) in got[2][0], got)
    for way in ("before", "after"):
        got = run(folder, program, USUAL, way)
        CHECKS.check(f"with libmallard-gc: the usual one is refused (EINVAL), handler set {way}", got == (0, taken, []), got)
        got = run(folder, program, 60, way, debug="gcsignal=60")
        CHECKS.check(f"with libmallard-gc: so is the one of gcsignal, handler set {way}", got == (0, taken, []), got)
    return CHECKS.finish()


if __name__ == "__main__":
    sys.exit(main())
