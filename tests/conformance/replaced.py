#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Profiles of a program that loads one library where another one was.

    replaced.py LIBRARY FOLDER MALLARD [SEED]

FOLDER holds the program `replaced` and its two libraries, MALLARD is the command. With every
allocation sampled, each of the two must have what was allocated through it, to the object: while the
program runs, and from its box after SIGKILL.
"""
import glob
import os
import pathlib
import random
import re
import subprocess
import sys
import tempfile

import live

LIBRARY, FOLDER, MALLARD = (str(pathlib.Path(path).resolve()) for path in sys.argv[1:4])
SEED = int(sys.argv[4]) if len(sys.argv) > 4 else random.randrange(1 << 31)
NAMES = ("alpha", "delta")
CHECKS = live.Checks()


def counts(what, boxes):
    """{name: (allocated, live)} of a pid or a box, from the text form of its profile."""
    done = subprocess.run([MALLARD, "heap", what, "--text"], env=dict(os.environ, MALLARD_DIR=boxes),
                          capture_output=True, text=True, timeout=60, check=False)
    if done.returncode:
        raise RuntimeError(done.stderr)
    found = dict.fromkeys(NAMES, (0, 0))
    for block in done.stdout.split("\n\n"):
        head = re.search(r"^(\d+): \d+ \[(\d+): \d+\] @", block, re.M)
        if not head:
            continue
        stack = block[head.end():]
        through = [name for name in NAMES if re.search(rf"\b{name}\+0x", stack)]
        if len(through) > 1:
            raise ValueError(f"a stack through both: {block}")
        for name in through:
            found[name] = (found[name][0] + int(head[2]), found[name][1] + int(head[1]))
    return found


def check(seed, cache):
    with tempfile.TemporaryDirectory(dir="/dev/shm") as boxes:
        environment = dict(os.environ, LD_PRELOAD=LIBRARY, MALLARD_DIR=boxes, MALLARD_MEMPROFILERATE="1",
                           MALLARD_CPU_CACHE=cache)
        program = subprocess.Popen([f"{FOLDER}/replaced", str(seed), f"{FOLDER}/lib"], env=environment, text=True,
                                   stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        truth, moved = {}, 0
        for line in program.stdout:
            words = line.split()
            if words[0] == "ready":
                break
            if words[0] == "moved":
                moved = int(words[1])
            else:
                truth[words[0]] = tuple(map(int, words[1:]))
        try:
            CHECKS.check(f"{cache}: {moved} times where the other one was", moved > 10, truth)
            said = counts(str(program.pid), boxes)
            CHECKS.check(f"{cache}: while it runs", said == truth, f"{said} instead of {truth}")
            program.kill()
            program.communicate()
            said = counts(glob.glob(f"{boxes}/{program.pid}.*")[0], boxes)
            CHECKS.check(f"{cache}: after SIGKILL", said == truth, f"{said} instead of {truth}")
        finally:
            program.kill()
            program.communicate()


def main():
    print(f"seed {SEED}")
    check(SEED, "rseq")
    check(SEED + 1, "lock")
    return CHECKS.finish()


sys.exit(main())
