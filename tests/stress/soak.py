#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""mallardd among processes that do not live long: fifty a second start, fork, exec, end and are killed.

    soak.py BUILD        SOAK_SECONDS=120, SOAK_RATE=50, SOAK_SEED

Afterwards every killed process was kept or counted, no process is followed that is not there, and the
daemon has the descriptors and the memory that it had when it was warm.
"""
import os
import random
import subprocess
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "conformance"))

from daemon_scene import live, run_alone  # noqa: E402

SECONDS = float(os.environ.get("SOAK_SECONDS", "120"))
RATE = float(os.environ.get("SOAK_RATE", "50"))
SEED = int(os.environ.get("SOAK_SEED", str(int.from_bytes(os.urandom(4), "little"))))
# How one of them ends, and how many killed processes with a box come of it.
ENDS = {"exit": 0, "kill": 1, "fork": 1, "exec": 1}
WARM_SHARE = 0.4
DRAIN_SECONDS = 60  # a slow disk may be behind
GROWTH_KIB = 8 << 10


class Crowd:
    def __init__(self, scene, numbers):
        self.scene, self.numbers = scene, numbers
        self.program = os.path.join(scene.build, "tests/bin/stress/fleeting")
        self.running = []
        self.started = self.killed = 0

    def add(self):
        how = self.numbers.choice(tuple(ENDS))
        command = [self.program, how, str(self.numbers.randrange(0, 300))]
        self.running.append(subprocess.Popen(command, env=self.scene.env, stdin=subprocess.DEVNULL))
        self.started += 1
        self.killed += ENDS[how]

    def reap(self):
        self.running = [one for one in self.running if one.poll() is None]

    def end(self):
        for one in self.running:
            try:
                one.wait(timeout=20)
            except subprocess.TimeoutExpired:
                one.kill()
                one.wait()


def fds(daemon):
    return len(os.listdir(f"/proc/{daemon.pid}/fd"))


def settled(scene, daemon):
    """A box that is not finished belongs to no process yet: it is looked at for half a minute."""
    return (not scene.box_files() and daemon.number('mallardd_processes{state="living"}') == 0 and
            daemon.number('mallardd_processes{state="ended"}') == 0)


def run_crowd(crowd, daemon):
    """Returns the memory of the warm daemon."""
    begin = time.monotonic()
    warm = 0
    while (now := time.monotonic() - begin) < SECONDS:
        while crowd.started < now * RATE:
            crowd.add()
        crowd.reap()
        if warm == 0 and now > SECONDS * WARM_SHARE:
            warm = daemon.memory_kib()
        time.sleep(0.01)
    crowd.end()
    return warm or daemon.memory_kib()


def check(checks, scene):
    daemon = scene.daemon("--keep-bytes", "8MiB", "--keep-every", "5")
    before = fds(daemon)
    crowd = Crowd(scene, random.Random(SEED))
    warm = run_crowd(crowd, daemon)
    used = daemon.cpu_seconds()
    checks.check("every process that is followed is there, or none", live.wait_until(lambda: settled(scene, daemon), DRAIN_SECONDS),
                 [line for line in daemon.metrics().splitlines() if line.startswith("mallardd_processes")])
    kept, lost, removed = (int(daemon.number(f"mallardd_{name}_total")) for name in
                           ("processes_kept", "processes_lost", "boxes_removed"))
    print(f"     {crowd.started} started, {crowd.killed} killed, {kept} kept, {lost} given up, {removed} unreadable; "
          f"seed {SEED}; the daemon used {used / SECONDS * 100:.1f} % of a CPU, "
          f"{warm >> 10} MiB warm, {daemon.memory_kib() >> 10} MiB at the end")
    checks.equal("every killed process was kept or counted", kept + lost + removed, crowd.killed)
    checks.equal("none was given up", lost, 0)
    checks.equal("boxes left in the folder", len(scene.box_files()), 0)
    live.wait_until(lambda: fds(daemon) <= before + 2, 15)
    checks.check("no descriptor was lost", fds(daemon) <= before + 2, f"{fds(daemon)} where {before} were")
    checks.check("no memory was lost", daemon.memory_kib() - warm < GROWTH_KIB, f"{warm} KiB when warm, {daemon.memory_kib()} KiB now")
    with open(f"/proc/{daemon.pid}/task/{daemon.pid}/children", encoding="ascii") as file:
        checks.equal("it has no children", file.read(), "")
    checks.equal("it said nothing", daemon.errors(), "")
    checks.equal("and ends well", daemon.stop(), 0)


if __name__ == "__main__":
    sys.exit(run_alone(__doc__, sys.argv[1:], check))
