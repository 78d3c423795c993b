#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The collector's lines are Go's, and agree with each other and with the statistics.

    gc_trace.py FOLDER_OF_LIBRARY GC_CYCLES
"""
import ctypes
import errno
import os
import platform
import re
import struct
import subprocess
import sys
import tempfile

import live

T = r"(?:0|0\.00[1-9]|0\.0[1-9]\d|0\.[1-9]\d|[1-9]\.\d|[1-9]\d+)"
LINE = re.compile(
    rf"^gc (\d+) @(\d+\.\d{{3}})s (\d+)%: ({T})\+({T})\+({T}) ms clock, ({T})\+({T})/({T})/({T})\+({T}) ms cpu, "
    r"(\d+)->(\d+)->(\d+) MB, (\d+) MB goal, (\d+) MB stacks, (\d+) MB globals, (\d+) P( \(forced\))?$"
)
FLOAT = r"[+-]\d\.\d{6}e[+-]\d{3}"
PACER = (
    re.compile(rf"^pacer: assist ratio={FLOAT} \(scan \d+ MB in \d+->\d+ MB\) workers=\d+\+{FLOAT}$"),
    re.compile(rf"^pacer: \d+% CPU \(25 exp\.\) for \d+\+\d+\+\d+ B work \(\d+ B exp\.\) in \d+ B -> \d+ B "
               rf"\(∆goal -?\d+, cons/mark {FLOAT}\)(\[controller reset\])?$"),
)
MB = 1 << 20
UNTRACKED = "mallard: written pages cannot be told here (userfaultfd), so collections mark with the world stopped"
CUT_NS = 3 * 10**6  # a time in the trace is cut to milliseconds, and the clocks are read one after the other
LATE_NS = 200 * 10**6  # between the end of a cycle and its note, on a busy machine


def run_as_said(folder, command, environment, before=None):
    with tempfile.TemporaryDirectory() as boxes:
        done = subprocess.run(command, capture_output=True, text=True, timeout=300, preexec_fn=before,
                              env=os.environ | {"LD_LIBRARY_PATH": folder, "MALLARD_DIR": boxes} | environment)
    return done.stdout, done.stderr.splitlines()


def run(folder, command, **environment):
    """Where pages cannot be followed anyway, that is said, and no matter here."""
    out, errors = run_as_said(folder, command, environment)
    return out, [line for line in errors if line != UNTRACKED]


def forbid_userfaultfd():
    """A container's filter, in the child: seccomp answers userfaultfd(2) with EPERM."""
    number = {"x86_64": 323, "aarch64": 282}[platform.machine()]
    load, jump, give = 0x20, 0x15, 0x06
    code = b"".join(struct.pack("HBBI", *line) for line in (
        (load, 0, 0, 0), (jump, 0, 1, number), (give, 0, 0, 0x00050000 | errno.EPERM), (give, 0, 0, 0x7FFF0000)))
    buffer = ctypes.create_string_buffer(code, len(code))
    program = ctypes.create_string_buffer(struct.pack("HxxxxxxP", 4, ctypes.addressof(buffer)))
    libc = ctypes.CDLL(None)
    if libc.prctl(38, 1, 0, 0, 0) != 0 or libc.prctl(22, 2, program) != 0:
        os._exit(9)


def untracked_is_said_once(checks, folder, command):
    trace = {"MALLARD_DEBUG": "gctrace=2"}
    _, errors = run_as_said(folder, command, trace, forbid_userfaultfd)
    checks.check("without userfaultfd: said once, first of all", errors.count(UNTRACKED) == 1 and errors[0] == UNTRACKED, str(errors[:2]))
    backends = {line.split()[1] for line in errors if line.startswith("dirty ")}
    checks.check("without userfaultfd: the world is stopped for each", backends == {"backend=none"}, str(backends))
    _, errors = run_as_said(folder, command, {"MALLARD_DEBUG": "gctrace=1,gcdirty=none"}, forbid_userfaultfd)
    checks.check("who asks for that is not told", errors and UNTRACKED not in errors, str(errors[:2]))
    _, errors = run_as_said(folder, command, {}, forbid_userfaultfd)
    checks.check("nor who asks for no trace", errors == [], str(errors[:2]))


def numbers(out):
    values, pauses = {}, []
    for line in out.splitlines():
        if line.startswith("pause "):
            pauses.append(tuple(int(x) for x in line.split()[1:]))
        else:
            name, value = line.split("=")
            values[name] = int(value)
    return values, pauses


def at_least(text):
    """A time was cut: it is at least this, and less than the next one that can be printed."""
    whole = float(text)
    if "." not in text:
        return whole, whole + (1 if whole >= 10 else 0.001)
    return whole, whole + 10 ** -len(text.split(".")[1])


def consistent(lines, why):
    before = None
    for m in lines:
        number, at, percent = int(m[1]), float(m[2]), int(m[3])
        start, end, marked, goal, procs = int(m[12]), int(m[13]), int(m[14]), int(m[15]), int(m[18])
        clock = [at_least(m[i]) for i in (4, 5, 6)]
        cpu = [at_least(m[i]) for i in (7, 11)]
        for wall, share in ((clock[0], cpu[0]), (clock[2], cpu[1])):
            if share[0] >= procs * wall[1] or share[1] <= procs * wall[0]:
                why.append(f"stop of {wall} ms on {procs} P is not {share} ms: {m[0]}")
        if end < start or marked > end + 1 or percent > 100 or goal < 1:
            why.append(m[0])
        if before and (number != before[0] + 1 or at < before[1]):
            why.append(f"after {before}: {m[0]}")
        before = number, at
    return not why


def restarts(errors):
    return sum(int(line.rsplit("restarts=")[1]) for line in errors if line.startswith("dirty backend=uffd"))


def trace_agrees(checks, name, folder, command, **environment):
    """Returns the lines of how pages were followed."""
    out, errors = run(folder, command, **environment)
    values, pauses = numbers(out)
    dirty = [line for line in errors if line.startswith("dirty ")]
    errors = [line for line in errors if line not in dirty]
    lines = [LINE.match(line) for line in errors if line.startswith("gc ")]
    checks.check(f"{name}: every line is Go's ({len(lines)})", lines and all(lines) and len(lines) == len(errors), str(errors[:3]))
    lines = [m for m in lines if m]
    why = []
    checks.check(f"{name}: figures of one line agree, lines follow each other", consistent(lines, why), str(why[:3]))
    checks.check(f"{name}: as many as NumGC", len(lines) == values["num_gc"], f"{len(lines)} {values['num_gc']}")
    forced = sum(bool(m[19]) for m in lines)
    checks.check(f"{name}: forced ones", forced == values["num_forced_gc"] == 5, f"{forced} {values['num_forced_gc']}")
    low = sum(at_least(m[4])[0] + at_least(m[6])[0] for m in lines) * 1e6
    high = sum(at_least(m[4])[1] + at_least(m[6])[1] for m in lines) * 1e6
    checks.check(f"{name}: pauses add up to PauseTotal", low - 1 <= values["pause_total_ns"] <= high + 1, f"{low} {values['pause_total_ns']} {high}")
    known = pauses[: values["num_gc"]]
    checks.check(f"{name}: the ring adds up to it too", values["num_gc"] > 256 or sum(p for p, _ in known) == values["pause_total_ns"])
    checks.check(f"{name}: the last pause ended with the last cycle", pauses[(values["num_gc"] + 255) % 256][1] == values["last_gc_unix_ns"])
    check_ring(checks, name, lines, known)
    check_next(checks, name, lines[-1], values)
    checks.check(f"{name}: the last line's live heap is what the statistics say", int(lines[-1][14]) == values["marked_bytes"] // MB,
                 f"{lines[-1][14]} {values['marked_bytes']}")
    checks.check(f"{name}: the share of CPU", int(lines[-1][3]) == values["cpu_ppb"] * 100 // 10**9, f"{lines[-1][3]} {values['cpu_ppb']}")
    equations(checks, name, values)
    return dirty


def check_ring(checks, name, lines, ring):
    """Each cycle's pause is its line's, and each ended where its line says: counted from one start."""
    if len(ring) != len(lines):
        return
    wrong = []
    for m, (pause_ns, _) in zip(lines, ring):
        first, last = at_least(m[4]), at_least(m[6])
        if not (first[0] + last[0]) * 1e6 - 1 <= pause_ns <= (first[1] + last[1]) * 1e6 + 1:
            wrong.append((m[0], pause_ns))
    checks.check(f"{name}: PauseNs is each line's two stops", not wrong, str(wrong[:2]))
    ends = [end for _, end in ring]
    checks.check(f"{name}: PauseEnd grows", all(a < b for a, b in zip(ends, ends[1:])), str(ends[:4]))
    starts = [end - (float(m[2]) * 1e9 + sum(at_least(m[i])[0] for i in (4, 5, 6)) * 1e6) for m, end in zip(lines, ends)]
    late = [start - min(starts) for start in starts]
    checks.check(f"{name}: PauseEnd is when each line's cycle ended", max(late) < CUT_NS + LATE_NS, str(max(late)))


def check_next(checks, name, last, values):
    """GOGC=100: what was marked, and once more with stacks and globals, and never below 4 MiB; off: none."""
    marked, roots = values["marked_bytes"], int(last[16]) + int(last[17])
    low, high = (max(4 * MB, 2 * marked + more * MB) for more in (0, roots + 2))
    checks.check(f"{name}: NextGC is twice what was marked, and roots", low <= values["next_gc_by_percent"] <= high,
                 f"{low} {values['next_gc_by_percent']} {high}")
    checks.check(f"{name}: GOGC=off has no NextGC", values["next_gc_bytes"] == 2**63 - 1, str(values["next_gc_bytes"]))


def equations(checks, name, v):
    checks.check(f"{name}: objects are mallocs less frees", v["heap_objects"] == v["all_mallocs"] - v["all_frees"])
    checks.check(f"{name}: the collected heap is part of them", v["mallocs"] <= v["all_mallocs"] and v["frees"] <= v["all_frees"])
    checks.check(f"{name}: alloc <= inuse, sys = inuse + idle", v["heap_alloc"] <= v["heap_inuse"] and v["heap_sys"] == v["heap_inuse"] + v["heap_idle"])
    checks.check(f"{name}: the collector's tables are counted", v["gc_sys"] > 0)
    checks.check(f"{name}: all 200 MiB were counted", v["total_alloc"] >= 190 * MB, str(v["total_alloc"]))


def arenas_are_expected(checks, folder, program):
    """An arena is scanned in each cycle: the pacer knows it, and no cycle stops the world for it.

    What a cycle scans again, because it was written to meanwhile, comes on top: that is the machine's business.
    """
    mib = 256
    _, errors = run(folder, [program, "400", "3", "0", str(mib)], MALLARD_DEBUG="gctrace=2,gcpacertrace=1")
    work = [tuple(int(n) for n in re.search(r"for (\d+)\+(\d+)\+(\d+) B work \((\d+) B exp", line).groups())
            for line in errors if line.startswith("pacer: ") and " exp.)" in line and "work" in line]
    settled = [w for w in work if w[0] >= mib * MB][1:]
    checks.check(f"arenas: {len(settled)} cycles scan all of one, as work", len(settled) >= 2, str(work))
    checks.check("arenas: so much was expected", all(w[3] >= mib * MB for w in settled), str(settled))
    rounds = [int(m[1]) for m in (re.match(r"dirty backend=uffd rounds=(\d+)", line) for line in errors) if m]
    late = rounds[-len(settled):]
    checks.check("arenas: none is scanned in a stop where pages can be watched", all(late), str(rounds))


def main():
    folder, program = sys.argv[1:3]
    checks = live.Checks()
    command = [program, "200", "5"]
    trace_agrees(checks, "beside", folder, command, MALLARD_DEBUG="gctrace=1,gcdirty=uffd")
    trace_agrees(checks, "stopped", folder, command, MALLARD_DEBUG="gctrace=1,gcdirty=none")
    dirty = trace_agrees(checks, "given up", folder, command + ["64"], MALLARD_DEBUG="gctrace=2,gcdirty=uffd")
    if dirty and "backend=uffd" in dirty[0]:
        checks.check(f"given up: {restarts(dirty)} stops were", restarts(dirty) > 0, str(dirty[-3:]))
    _, errors = run(folder, [program, "100", "2"], GODEBUG="gctrace=1,gcpacertrace=1")
    pacer = [line for line in errors if line.startswith("pacer: ")]
    checks.check("GODEBUG=gcpacertrace=1: every line is Go's", pacer and all(any(p.match(line) for p in PACER) for line in pacer), str(pacer[:3]))
    _, errors = run(folder, [program, "100", "2"], MALLARD_DEBUG="gctrace=2")
    dirty = [line for line in errors if line.startswith("dirty ")]
    checks.check("gctrace=2: a second line for each", len(dirty) * 2 == len(errors) > 0, str(errors[:3]))
    arenas_are_expected(checks, folder, program)
    untracked_is_said_once(checks, folder, [program, "100", "2"])
    _, errors = run(folder, [program, "100", "2"])
    checks.check("without the knob nothing is said", errors == [], str(errors[:3]))
    out, errors = run(folder, [program, "100", "2"], GOGC="off", GODEBUG="gctrace=1")
    checks.check("GOGC=off: forced cycles only", len(errors) == numbers(out)[0]["num_gc"] == 2, str(errors[:3]))
    _, errors = run(folder, [program, "300", "0"], GODEBUG="gctrace=1", GOGC="20")
    lines = [LINE.match(line) for line in errors if line.startswith("gc ")]
    checks.check(f"GOGC=20: {len(lines)} lines are Go's", len(lines) > 5 and all(lines), str([e for e in errors if e.startswith('gc ') and not LINE.match(e)][:3]))
    _, errors = run(folder, [program, "300", "2"], GODEBUG="gctrace=1", MALLARD_HTTP="127.0.0.1:0")
    lines = [line for line in errors if LINE.match(line)]
    checks.check("beside the HTTP server's threads, started by the first thread of the program", len(lines) > 5, str(errors[:5]))
    return checks.finish()


if __name__ == "__main__":
    sys.exit(main())
