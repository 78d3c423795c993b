#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Memory goes back, inside spans too, and the lines that say so are Go's.

    scavenge.py libmallard.so.0 BUILD/tests/bin/conformance BUILD/mallard
"""
import os
import pathlib
import re
import subprocess
import sys
import tempfile

import live

# As Go 1.21 and later print it.
LINE = re.compile(r"^scav (\d+) KiB work \(bg\), (\d+) KiB work \(eager\), (\d+) KiB now, (\d+)% util( \(forced\))?$")
MIB = 1 << 20
FILLED = 64 * MIB


class Program:
    def __init__(self, library, programs, folder, keep_one_in, **knobs):
        self.errors = open(os.path.join(folder, "errors"), "w+")
        self.process = subprocess.Popen(
            [os.path.join(programs, "scavenge"), str(FILLED), str(keep_one_in)], text=True, bufsize=1,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self.errors,
            env=dict(os.environ, LD_PRELOAD=os.path.abspath(library), MALLARD_DIR=folder, **knobs))

    def order(self, word):
        self.process.stdin.write(word + "\n")
        return self.process.stdout.readline().strip()

    def resident(self):
        status = pathlib.Path(f"/proc/{self.process.pid}/status").read_text()
        return int(re.search(r"VmRSS:\s+(\d+)", status)[1]) * 1024

    def lines(self):
        self.errors.seek(0)
        return self.errors.read().splitlines()

    def end(self):
        self.process.stdin.close()
        status = self.process.wait(10)
        self.errors.close()
        return status


def check_lines(checks, name, lines):
    parsed = [LINE.match(line) for line in lines]
    checks.check(f"{name}: every line is Go's", lines and all(parsed), str(lines))
    return [match for match in parsed if match]


def check_holes(checks, library, programs, mallard, folder):
    program = Program(library, programs, folder, 8, MALLARD_DEBUG="scavtrace=1")
    program.order("fill")
    before = program.resident()
    program.order("thin")
    checks.check("one live object in eight does not keep the others' memory",
                 live.wait_until(lambda: program.resident() < before - FILLED * 6 // 10, 25),
                 f"{program.resident() // MIB} of {before // MIB} MiB")
    checks.equal("what lives is whole", program.order("check"), "check")
    matches = check_lines(checks, "background", program.lines())
    returned = sum(int(match[1]) for match in matches) * 1024
    checks.check("the lines add up to what went back", abs(returned - (before - program.resident())) < 8 * MIB,
                 f"{returned // MIB} of {(before - program.resident()) // MIB} MiB")
    checks.check("the share in use is a percentage", all(0 <= int(match[4]) <= 100 for match in matches))
    shown = subprocess.run([mallard, "trace", str(program.process.pid)], capture_output=True, text=True,
                           env=dict(os.environ, MALLARD_DIR=folder))
    checks.equal("the box has the same lines", shown.stdout.splitlines(), program.lines())
    program.order("fill")
    checks.equal("and so is what was taken from holes", program.order("check"), "check")
    checks.equal("it ends with status 0", program.end(), 0)


def check_forced(checks, library, programs, folder):
    program = Program(library, programs, folder, 1000, GODEBUG="madvdontneed=1,scavtrace=1", MALLARD_EAGER="1")
    program.order("fill")
    program.order("thin")
    program.order("trim")
    forced = [match for match in check_lines(checks, "forced", program.lines()) if match[5]]
    checks.check("malloc_trim is a forced line under GODEBUG=scavtrace=1", len(forced) == 1, str(program.lines()))
    checks.equal("it ends with status 0", program.end(), 0)


def check_silence(checks, library, programs, folder):
    for value, bad in (("scavtrace=0", []), ("", []), ("scavtrace=2", ["scavtrace=2"]),
                       ("nonsense=1,scavtrace=0", ["nonsense=1"])):
        program = Program(library, programs, folder, 1000, MALLARD_DEBUG=value)
        program.order("fill")
        program.order("thin")
        program.order("trim")
        lines = program.lines()
        checks.check(f"MALLARD_DEBUG={value!r}: a line that names each of {bad}, no other",
                     len(lines) == len(bad) and all(f"MALLARD_DEBUG={entry} " in line for entry, line in zip(bad, lines)),
                     str(lines))
        program.end()


def main():
    library, programs, mallard = sys.argv[1:]
    checks = live.Checks()
    with tempfile.TemporaryDirectory(dir="/dev/shm") as folder:
        check_holes(checks, library, programs, mallard, folder)
        check_forced(checks, library, programs, folder)
        check_silence(checks, library, programs, folder)
    return checks.finish()


if __name__ == "__main__":
    sys.exit(main())
