#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Whether what measures says what it found: reached where it was, missed where it was not.

    yardstick.py BUILD

Judging is tried on made-up results; each command once, on so little work that its figures mean nothing.
"""
import contextlib
import io
import json
import pathlib
import re
import subprocess
import sys
import tempfile

import live

BENCH = pathlib.Path(__file__).resolve().parents[1] / "bench"
sys.path.insert(0, str(BENCH))

import goals  # noqa: E402
import memory  # noqa: E402
import report  # noqa: E402

LINE = re.compile(r"^(.{54}) *([\d.]+) +([\d.-]+|inf|nan)  (reached|missed)$", re.MULTILINE)


def judged(text):
    """{what: (at most, found, verdict)} of a command's output."""
    return {what.strip(): (float(bar), float(found), verdict) for what, bar, found, verdict in LINE.findall(text)}


def shown(result):
    with contextlib.redirect_stdout(io.StringIO()) as out:
        goals.show(result, ["glibc", "jemalloc", "tcmalloc", "mimalloc", "mallard"])
    return judged(out.getvalue())


def made_up(mallard, mallard_off=1.0):
    means = {"glibc": 1.8, "jemalloc": 1.5, "tcmalloc": 1.25, "mimalloc": 1.15, "mallard": mallard}
    return {"summary": {"time, all 34, to best": means, "time, all 34, to glibc": {name: mean / 1.8 for name, mean in means.items()},
                        "worst, to best": dict.fromkeys(means, 1.2)},
            "seconds": {"server": {"mallard-off": mallard_off, "mallard": 1.0, "mallard-rate1": 9.9}},
            "mallard_to_other_builds": {"mallard-off": [1 / mallard_off, 1.0]}}


def verdicts(rows):
    return {what: verdict for what, (_, _, verdict) in rows.items()}


def check_goals(checks):
    near, far = shown(made_up(1.10, 0.98)), shown(made_up(1.03))
    checks.equal("a mean of 1.03 is within 1.04, of 1.10 not",
                 [rows["time, all workloads, to the best"][2] for rows in (far, near)], ["reached", "missed"])
    checks.equal("a peer is clearly behind or it is not", {name: verdicts(near)[f"time, all workloads, to {name}'s mean"] for name in goals.PEERS},
                 {"glibc": "reached", "jemalloc": "reached", "tcmalloc": "reached", "mimalloc": "missed"})
    checks.equal("sampling on to off: 1.00 reached, 1.02 missed", [rows["sampling on, to off: time"][2] for rows in (far, near)], ["reached", "missed"])
    checks.equal("everything sampled: 9.9 reached, 10.1 missed", [rows["everything sampled, to off: server"][2] for rows in (far, near)],
                 ["reached", "missed"])
    checks.equal("what was not measured is not judged", shown({"summary": {}}), {})


def watched(samples, **more):
    return memory.Watched(samples, {}, 0, 0, **more)


def check_memory(checks):
    seconds = [second / 10 for second in range(200)]
    falls = watched([(t, 1000 if t < 9 else 120) for t in seconds])
    returns = watched([(t, 1000 if t < 9 else 120 if t < 15 else 140) for t in seconds])
    killed = watched([(t, 1000) for t in seconds[:50]], killed=5.0)
    spike = watched([(t, 1000 if t < 4 else 220) for t in seconds])

    def reached(name, what):
        return [value <= bar for _, bar, value in memory.judged(name, what)]

    checks.equal("memory that falls in time and stays", reached("runs", falls), [True, True])
    checks.equal("memory that comes back", reached("runs", returns), [True, False])
    checks.equal("a program that was killed", reached("runs", killed), [False, False])
    checks.equal("a peak beyond what lives", reached("limit", spike), [True, True, False])


def check_error(checks):
    steady = {"a": [{"seconds": s} for s in (1.0, 1.1, 1.2)]}
    slower = {"a": [{"seconds": s * 1.02} for s in (1.0, 1.1, 1.2)]}
    shaken = {"a": [{"seconds": s} for s in (1.1, 1.0, 1.3)]}
    checks.check("what is always 2 % slower has no error", report.mean_error(slower, steady) < 1e-9)
    checks.check("what is slower now and faster then has one", report.mean_error(shaken, steady) > 0.01)


class Commands:
    """Runs the commands on next to no work, without peers."""

    def __init__(self, checks, build, out):
        self.checks, self.out = checks, out
        self.options = ["--lib", f"{build}/libmallard.so.0", "--bin", f"{build}/tests/bin/bench", "--out", out, "--peers", "", "--patience", "0"]

    def judges(self, name, wanted, *words):
        done = subprocess.run([sys.executable, BENCH / f"{name}.py", *self.options, *words], capture_output=True, text=True, check=False)
        rows = judged(done.stdout)
        self.checks.equal(f"{name}.py judges {len(wanted)}", (done.returncode, set(rows)), (0, wanted)) or print(done.stdout, done.stderr)
        facts = json.loads(pathlib.Path(self.out, f"{name}.json").read_text())
        self.checks.check(f"{name}.json says the same", {what: f"{found:.3f}" for what, _, found in facts["goals"]} ==
                          {what: f"{found:.3f}" for what, (_, found, _) in rows.items()}, facts["goals"])

    def run(self):
        self.judges("sampling", {"sampling on, to off: time", "everything sampled, to off: server"},
                    "--bench", "server,trees", "--scale", "0.01", "--reps", "2")
        self.judges("start", {"start of a trivial program, over glibc, ms", "its peak RSS, MiB"}, "--runs", "3")
        self.judges("memory", set(), "--scenario", "limit", "--scale", "0.02", "--time", "0.02")


def main(arguments):
    if len(arguments) != 1:
        print(__doc__, file=sys.stderr)
        return 2
    checks = live.Checks()
    check_goals(checks)
    check_memory(checks)
    check_error(checks)
    with tempfile.TemporaryDirectory(prefix="mallard-yardstick.") as out:
        Commands(checks, arguments[0], out).run()
    return checks.finish()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
