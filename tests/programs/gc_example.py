#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The README's program on the collected heap: it builds as the README says, its trace is Go's, and its
profile holds what is live, with the label that tells the two heaps apart.

    gc_example.py OUT
"""
import os
import re
import subprocess
import sys
import tempfile

OUT = os.path.abspath(sys.argv[1])
ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
SOURCE = os.path.join(ROOT, "tests", "programs", "gc_example.c")
LINE = re.compile(r"^gc (\d+) @[\d.]+s \d+%: [\d.]+\+[\d.]+\+[\d.]+ ms clock, [\d.]+\+[\d.]+/[\d.]+/[\d.]+\+[\d.]+ ms cpu, "
                  r"(\d+)->(\d+)->(\d+) MB, \d+ MB goal, \d+ MB stacks, \d+ MB globals, \d+ P( \(forced\))?$")
good = bad = 0


def check(what, is_good, seen=""):
    global good, bad
    print(f"{'ok  ' if is_good else 'FAIL'} {what}" + ("" if is_good else f": {seen}"))
    good, bad = good + bool(is_good), bad + (not is_good)


def pprof(*arguments):
    done = subprocess.run(["go", "tool", "pprof", *arguments], capture_output=True, text=True, check=False)
    return done.stdout + done.stderr


def main():
    with open(SOURCE, encoding="utf-8") as file, open(os.path.join(ROOT, "README.md"), encoding="utf-8") as readme:
        body = file.read().split("*/\n", 1)[1].strip()
        check("the README shows this program", body in readme.read())
    with tempfile.TemporaryDirectory(prefix="mallard-example.") as folder:
        env = os.environ | {"MALLARD_DIR": folder, "LD_LIBRARY_PATH": OUT, "MALLARD_DEBUG": "gctrace=1,gccheckmark=1", "PPROF_TMPDIR": folder}
        profile = os.path.join(folder, "index.pb.gz")
        with open(profile, "wb") as out:
            done = subprocess.run([os.path.join(OUT, "tests", "bin", "programs", "gc_example")], env=env, stdout=out, stderr=subprocess.PIPE, text=True, check=False)
        check("it runs", done.returncode == 0, done.stderr[-500:])
        lines = done.stderr.splitlines()
        cycles = [LINE.match(line) for line in lines]
        check("its trace has Go's lines and nothing else", lines and all(cycles), [line for line, match in zip(lines, cycles) if not match][:3])
        last = cycles[-1]
        check("the last collection is the forced one, and leaves the index: 32 MB of a million objects",
              last and last[5] and 28 <= int(last[4]) <= 40, lines[-1:])
        top = pprof("-sample_index=inuse_space", "-top", profile)
        check("its profile shows where it was built", re.search(r"100%.* build\b", top), top)
        megabytes = re.search(r"of ([\d.]+)MB total", top)
        check("and how much of it there is", megabytes and 14 <= float(megabytes[1]) <= 52, top)
        check("labelled as collected", "heap: Total" in pprof("-tags", profile) and "gc" in pprof("-tags", profile), pprof("-tags", profile))
    print(f"{good} passed, {bad} failed")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
