#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""A program under a debugger gets on: single steps, watchpoints, tracers that come and go, stops.

    stepped.py libmallard.so.0 BUILD/tests/bin/conformance/stepped

Every single step is a preemption, and the kernel restarts a sequence that was preempted; a program
that only tried again would stay inside malloc for ever. What needs gdb, strace or the right to trace
is skipped with a line where it is not to be had.
"""
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time

import live

STEPS = 30000  # a pair under single steps is some thousands of instructions
STOPS = 1500
ATTACHES = 6

GDB_HEAD = """set pagination off
set confirm off
set debuginfod enabled off
set startup-with-shell off
set can-use-hw-watchpoints 0
break step_here
run 500
delete
"""
# What is done from `step_here` on, and what then must have happened before the program goes on.
GDB_SCENES = {
    "stepi": f"stepi {STEPS}\nprintf \"progress %lu\\n\", rounds_done\n",
    "a software watchpoint": "watch rounds_done\ncontinue\ncontinue\nprintf \"progress %lu\\n\", rounds_done\ndelete\n",
    "step through malloc's own lines": "break malloc\ncontinue\ndelete\nstep 60\nprintf \"progress 1\\n\"\n",
    "stepi through a cache that is given back": f"break flood_here\ncontinue\ndelete\nstepi {STEPS}\nprintf \"progress 1\\n\"\n",
    "next": "finish\nnext 40\nprintf \"progress %lu\\n\", rounds_done + 1\n",
}
# The end of a process with threads is where gdb itself stumbles now and then.
GDB_TAIL = "break end_here\ncontinue\nprintf \"left after %lu\\n\", rounds_done\nkill\n"


class Scene:
    def __init__(self, checks, library, program):
        self.checks, self.library, self.program = checks, os.path.abspath(library), os.path.abspath(program)
        self.skipped = 0
        self.boxes = tempfile.TemporaryDirectory(prefix="mallard-stepped-")

    def knobs(self, mode):
        # The background thread from the start: to make it is a walk of its own through libc.
        return {"LD_PRELOAD": self.library, "MALLARD_DIR": self.boxes.name, "MALLARD_CPU_CACHE": mode, "MALLARD_EAGER": "1"}

    def skip(self, what, why):
        self.skipped += 1
        print(f"skip {what}: {why}", flush=True)

    def start(self, mode):
        return subprocess.Popen([self.program, "0"], env={**os.environ, **self.knobs(mode)}, text=True, bufsize=1,
                                stdin=subprocess.PIPE, stdout=subprocess.PIPE)


def rounds(process):
    process.stdin.write("?")
    process.stdin.flush()
    return int(process.stdout.readline().split()[1])


def end(scene, name, process, before):
    scene.checks.check(f"{name}: the program went on", rounds(process) > before, f"still at {before}")
    process.stdin.close()
    last = process.stdout.read()
    scene.checks.check(f"{name}: and found every object as it was", process.wait(20) == 0 and "done" in last, last)
    process.stdout.close()


def run_gdb(scene, mode, commands):
    script = os.path.join(scene.boxes.name, "commands")
    with open(script, "w") as file:
        file.writelines(f"set environment {name} {value}\n" for name, value in scene.knobs(mode).items())
        file.write(GDB_HEAD + commands + GDB_TAIL)
    return subprocess.run(["gdb", "-q", "-nx", "-batch", "-x", script, scene.program], capture_output=True,
                          text=True, errors="replace", timeout=60, stdin=subprocess.DEVNULL)


def check_gdb(scene, mode):
    for name, commands in GDB_SCENES.items():
        name = f"gdb, {name}, {mode}"
        try:
            done = run_gdb(scene, mode, commands)
            shown = done.stdout + done.stderr
        except subprocess.TimeoutExpired:
            scene.checks.check(f"{name}: the program goes on", False, "it never got out of malloc")
            continue
        if "ptrace: Operation not permitted" in shown or "Could not trace the inferior" in shown:
            return scene.skip(name, "tracing is not permitted")
        progress = re.search(r"progress (\d+)", shown)
        scene.checks.check(f"{name}: the program goes on", progress and int(progress[1]) > 0, shown[-800:])
        scene.checks.check(f"{name}: and ends with every object as it was",
                           "done 500" in shown and "left after 500" in shown, shown[-800:])


def check_strace(scene, mode):
    """A tracer that follows, and comes and goes while the program allocates."""
    name = f"strace -f comes and goes, {mode}"
    process = scene.start(mode)
    before = rounds(process)
    for attach in range(ATTACHES):
        tracer = subprocess.Popen(["strace", "-f", "-q", "-o", "/dev/null", "-p", str(process.pid)], stderr=subprocess.PIPE)
        attached = live.wait_until(lambda: tracer_of(process.pid) or tracer.poll() is not None, 10)
        if not attached or tracer.poll() is not None:
            scene.skip(name, "strace cannot attach: " + tracer.stderr.read().decode(errors="replace").strip())
            break
        rounds(process)
        tracer.send_signal(signal.SIGINT)
        tracer.wait(20)
        tracer.stderr.close()
    end(scene, name, process, before)


def tracer_of(pid):
    with open(f"/proc/{pid}/status") as status:
        return int(re.search(r"TracerPid:\s+(\d+)", status.read())[1])


def check_stops(scene, mode):
    process = scene.start(mode)
    before = rounds(process)
    for _ in range(STOPS):
        process.send_signal(signal.SIGSTOP)
        process.send_signal(signal.SIGCONT)
        time.sleep(0)
    end(scene, f"{STOPS} stops, {mode}", process, before)


def main():
    library, program = sys.argv[1:3]
    scene = Scene(live.Checks(), library, program)
    for mode in ("rseq", "lock"):
        if shutil.which("gdb"):
            check_gdb(scene, mode)
        else:
            scene.skip(f"gdb, {mode}", "there is no gdb")
        if shutil.which("strace"):
            check_strace(scene, mode)
        else:
            scene.skip(f"strace, {mode}", "there is no strace")
        check_stops(scene, mode)
    scene.boxes.cleanup()
    print(f"{scene.checks.passed} passed, {scene.checks.failed} failed, {scene.skipped} skipped")
    return 1 if scene.checks.failed else 0


if __name__ == "__main__":
    sys.exit(main())
