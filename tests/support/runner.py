#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Runs test programs one after the other and adds up what they count.

    runner.py NAME=COMMAND ...          each COMMAND is run by a shell, from the project's root

A program's result is what it prints: cmocka's "[  PASSED  ] N test(s)." and "[  FAILED  ] N
test(s)", or a last line "N passed, N failed[, N skipped]"; a program that prints neither counts as
one test. An exit status other than 0 is a failure even if every count is good, and so is a program
that counted nothing. Passing output stays silent but for what was skipped; failing output is shown
whole, with the command that repeats it. The last line is the sum.
"""
import os
import re
import subprocess
import sys
import time

LIMIT_SECONDS = int(os.environ.get("TEST_TIMEOUT", "300"))
CMOCKA_PASSED = re.compile(r"^\[  PASSED  \] (\d+) test\(s\)\.", re.M)
CMOCKA_FAILED = re.compile(r"^\[  FAILED  \] (\d+) test\(s\)", re.M)
CMOCKA_SKIPPED = re.compile(r"^\[  SKIPPED \] (\d+) test\(s\)", re.M)
PLAIN = re.compile(r"^(\d+) passed, (\d+) failed(?:, (\d+) skipped)?$", re.M)


def count(text, status):
    plain = PLAIN.findall(text)
    if plain:
        passed, failed, skipped = (int(n or 0) for n in plain[-1])
    elif CMOCKA_PASSED.search(text) or CMOCKA_FAILED.search(text):
        passed, failed, skipped = (sum(int(n) for n in pattern.findall(text))
                                   for pattern in (CMOCKA_PASSED, CMOCKA_FAILED, CMOCKA_SKIPPED))
    else:
        passed, failed, skipped = int(status == 0), 0, 0
    if failed == 0 and (status != 0 or passed + skipped == 0):
        failed = 1
    return passed, failed, skipped


def run(name, command):
    start = time.monotonic()
    try:
        done = subprocess.run(["sh", "-c", command], capture_output=True, text=True, errors="replace",
                              timeout=LIMIT_SECONDS, stdin=subprocess.DEVNULL)
        status, text = done.returncode, done.stdout + done.stderr
    except subprocess.TimeoutExpired as late:
        text = "".join((part or b"").decode(errors="replace") for part in (late.stdout, late.stderr))
        status, text = 124, text + f"\nno end after {LIMIT_SECONDS} s\n"
    counts = count(text, status)
    verdict = "ok  " if counts[1] == 0 else "FAIL"
    note = f", {counts[2]} skipped" if counts[2] else ""
    print(f"{verdict} {name}: {counts[0]} passed, {counts[1]} failed{note} ({time.monotonic() - start:.1f} s)", flush=True)
    for line in text.splitlines():
        if counts[1] or line.startswith("skip"):
            print(f"     {line}")
    if counts[1]:
        print(f"     status {status}; again: {command}", flush=True)
    return counts


def main(arguments):
    total = [0, 0, 0]
    for argument in arguments:
        name, command = argument.split("=", 1)
        total = [a + b for a, b in zip(total, run(name, command))]
    print(f"{total[0]} passed, {total[1]} failed" + (f", {total[2]} skipped" if total[2] else ""))
    return 1 if total[1] or not total[0] else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
