#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""allocfreetrace shows every allocation and free, whole, in order, with its stack.

    traced.py libmallard.so.0 BUILD/tests/bin/conformance/traced
"""
import collections
import os
import re
import subprocess
import sys
import tempfile

import live

EVENT = re.compile(r"(tracealloc|tracefree)\((0x[0-9a-f]+), (0x[0-9a-f]+)\)\nthread (\d+) \[running\]:\n"
                   r"((?:#\t0x[0-9a-f]+(?:\t\S+\+0x[0-9a-f]+)?\n)*)(\.\.\.additional frames elided\.\.\.\n)?\n")
RUNS = (("rseq", "524288"), ("lock", "524288"), ("rseq", "1"), ("rseq", "0"))


def run(library, program, folder, *arguments, **knobs):
    """(standard output, standard error, status), the latter through a file opened for appending."""
    path = os.path.join(folder, "errors")
    with open(path, "a") as errors:
        errors.truncate(0)
        done = subprocess.run([program, *arguments], stdout=subprocess.PIPE, stderr=errors, text=True, timeout=120,
                              env={**os.environ, "LD_PRELOAD": os.path.abspath(library), "MALLARD_DIR": folder, **knobs})
    with open(path) as errors:
        return done.stdout, errors.read(), done.returncode


def parse(text):
    """(events, what of the text is none)"""
    events, rest, at = [], "", 0
    for match in EVENT.finditer(text):
        rest += text[at:match.start()]
        at = match.end()
        kind = {"tracealloc": "alloc", "tracefree": "free"}[match[1]]
        events.append((kind, match[2], int(match[3], 16), match[4], match[5].splitlines()))
    return events, rest + text[at:]


def faults_of_lives(events):
    """Addresses that came to be twice, or ended otherwise than they came."""
    live_at, found = {}, []
    for kind, address, size, _, _ in events:
        if kind == "free" and live_at.pop(address, None) != size:
            found.append(f"{address} of {size} bytes is freed, but was not that")
        elif kind == "alloc" and address in live_at:
            found.append(f"{address} is given out twice")
        elif kind == "alloc":
            live_at[address] = size
    return found


def check_run(checks, library, program, folder, mode, rate):
    name = f"{mode}, rate {rate}"
    said, shown, status = run(library, program, folder, "4", "3", MALLARD_CPU_CACHE=mode, MALLARD_MEMPROFILERATE=rate,
                              MALLARD_DEBUG="allocfreetrace=1")
    events, rest = parse(shown)
    wanted = collections.Counter(tuple(line.split()) for line in said.splitlines())
    got = collections.Counter((kind, address, hex(size), thread) for kind, address, size, thread, _ in events)
    checks.equal(f"{name}: the program ends as ever", status, 0)
    checks.equal(f"{name}: every event is one whole piece of text", rest, "")
    checks.check(f"{name}: every event of the program is shown", wanted and not wanted - got, str(list((wanted - got).items())[:5]))
    shown_twice = {event: count for event, count in got.items() if event in wanted and count > wanted[event]}
    checks.check(f"{name}: and none more often than it happened", not shown_twice, str(list(shown_twice.items())[:5]))
    # The forked child is the last thread to appear; its copy of the heap is its own affair.
    child = list(dict.fromkeys(event[3] for event in events))[-1]
    faults = faults_of_lives([event for event in events if event[3] != child])
    checks.check(f"{name}: no address lives twice at once", not faults, str(faults[:5]))
    of_program = [event for event in events if (event[0], event[1], hex(event[2]), event[3]) in wanted]
    placed = [event for event in of_program if event[4] and "\ttraced+0x" in event[4][0]]
    checks.check(f"{name}: stacks begin in the program", len(placed) == len(of_program),
                 f"{len(placed)} of {len(of_program)}: {[e for e in of_program if e not in placed][:2]}")


def check_lines(checks, program, shown):
    """An offset is what addr2line wants."""
    events, _ = parse(shown)
    offsets = {frame.split("traced+")[1] for event in events for frame in event[4][:1] if "\ttraced+" in frame}
    done = subprocess.run(["addr2line", "-f", "-e", program, *sorted(offsets)], capture_output=True, text=True)
    names = set(done.stdout.splitlines()[::2])
    checks.check("offsets are places in the program's functions", "use_all_kinds" in names and "drop" in names, str(names))


def main():
    library, program = sys.argv[1:3]
    checks = live.Checks()
    with tempfile.TemporaryDirectory(prefix="mallard-traced-") as folder:
        for mode, rate in RUNS:
            check_run(checks, library, program, folder, mode, rate)
        _, shown, _ = run(library, program, folder, "1", "1", GODEBUG="gctrace=1,allocfreetrace=1")
        checks.check("GODEBUG says it too", parse(shown)[0] and not parse(shown)[1], shown[:300])
        check_lines(checks, program, shown)
        for value in ("allocfreetrace=0", "cpus=3", "allocfreetrace=1,allocfreetrace=0"):
            checks.equal(f"{value}: nothing is shown", run(library, program, folder, "1", "1", MALLARD_DEBUG=value)[1:], ("", 0))
        for value in ("allocfreetrace=2", "allocfreetrace", "cpus=8193", "cpus=", "cpus=x", "cpus=64x"):
            _, shown, status = run(library, program, folder, "1", "1", MALLARD_DEBUG=value)
            checks.check(f"{value}: one line that names it, and the program runs",
                         status == 0 and shown.count("\n") == 1 and f"MALLARD_DEBUG={value}" in shown, shown[:300])
    return checks.finish()


if __name__ == "__main__":
    sys.exit(main())
