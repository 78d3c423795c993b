#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""mallardd: who is found, how the dead are kept and why they died, settings, restarts.

    daemon.py BUILD [CHECK ...]        BUILD is the folder of a finished build, such as build/release
"""
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time

from daemon_scene import Prey, Scene, is_whole, live, run_checks

wait_until = live.wait_until


# ---- who is found

def check_discovery(checks, build):
    with Scene(build) as scene:
        early = scene.prey()
        daemon = scene.daemon()
        checks.check("one line when ready", re.fullmatch(
            rf"mallardd: http://127\.0\.0\.1:\d+/ watches {scene.boxes}", daemon.line), daemon.line)
        checks.check("a process from before the daemon is known at once", daemon.knows(early.id))
        late = scene.prey()
        checks.check("a new process is known soon", wait_until(lambda: daemon.knows(late.id), 3))
        checks.check("a pid alone names it too", daemon.knows(late.pid))
        checks.equal("another start time is another process", daemon.status(f"/p/{late.pid}.1/debug/pprof/heap"), 404)
        checks.check("both are in /metrics", daemon.lives(early.pid) and daemon.lives(late.pid))
        checks.check("its heap has its functions", "prey_leaf" in daemon.top(late.id), daemon.top(late.id))
        checks.equal("SIGTERM ends the daemon with 0", daemon.stop(), 0)
        checks.equal("and it had nothing to complain about", daemon.errors(), "")


def check_run_folder(checks, build):
    with Scene(build) as scene:
        daemon = scene.daemon()
        process, _, pid = live.start(os.path.join(build, "mallard"), folder=scene.folder, env=scene.daemon_env)
        try:
            checks.check("a process of `mallard run` is found in its folder", wait_until(lambda: daemon.knows(pid), 3))
        finally:
            live.stop(process)
        checks.check("and its end is told", wait_until(lambda: not daemon.lives(pid), 5))


def check_late_folder(checks, build):
    with Scene(build) as scene:
        boxes = os.path.join(scene.folder, "later", "boxes")
        daemon = scene.daemon(boxes=boxes)
        checks.check("a folder that is not there yet is waited for", "is not there yet" in daemon.errors(), daemon.errors())
        os.makedirs(boxes)
        scene.env["MALLARD_DIR"] = boxes
        prey = scene.prey()
        checks.check("made, it is found with what is in it", wait_until(lambda: daemon.knows(prey.id), 3))
        shutil.rmtree(boxes)
        os.mkdir(boxes)
        again = scene.prey()
        checks.check("made anew, it is watched anew", wait_until(lambda: daemon.knows(again.id), 13))
        checks.check("who lost its box with the old one is followed on", daemon.knows(prey.id))
        prey.kill()
        checks.check("and kept when it is killed", wait_until(lambda: scene.is_buried(prey.id), 5))


def check_scan(checks, build):
    """A change that no event tells: the folder's path leads elsewhere."""
    with Scene(build) as scene:
        link, other = os.path.join(scene.folder, "link"), os.path.join(scene.folder, "other")
        os.symlink(scene.boxes, link)
        daemon = scene.daemon(boxes=link)
        os.mkdir(other)
        os.symlink(other, link + ".new")
        os.rename(link + ".new", link)
        scene.env["MALLARD_DIR"] = other
        prey = scene.prey()
        checks.check("the scan every ten seconds finds what no event told", wait_until(lambda: daemon.knows(prey.id), 13))


def check_hidden(checks, build):
    """A daemon in a pid namespace of its own sees no process, only boxes."""
    if os.geteuid() != 0 or subprocess.run(["unshare", "--pid", "--fork", "true"], check=False).returncode != 0:
        print("skip hidden: no pid namespaces here")
        return
    with Scene(build) as scene:
        prey = scene.prey()
        daemon = scene.daemon(prefix=["unshare", "--pid", "--fork", "--mount-proc", "--kill-child"])
        checks.check("a process that cannot be seen is followed by its box", daemon.knows(prey.id) and daemon.lives(prey.pid))
        checks.check("its box stays where it is", wait_until(lambda: daemon.number("mallardd_scans_total") >= 2, 15) and
                     daemon.lives(prey.pid) and scene.box_files())
        prey.kill()
        checks.check("its end is noticed", wait_until(lambda: scene.is_buried(prey.id), 13))
        checks.equal("and nobody knows how it came", scene.facts(prey.id).get("death"), "unknown")


def check_container(checks, build):
    """A process in a pid namespace of its own, which calls itself 2 or so."""
    if os.geteuid() != 0 or subprocess.run(["unshare", "--pid", "--fork", "true"], check=False).returncode != 0:
        print("skip container: no pid namespaces here")
        return
    with Scene(build) as scene:
        daemon = scene.daemon()
        scene.env["MALLARD_EAGER"] = "1"
        outer = Prey(scene, ["unshare", "--pid", "--fork", "--mount-proc", "--kill-child", scene.prey_program],
                     stderr=subprocess.DEVNULL)
        scene.started.append(outer)
        with open(f"/proc/{outer.pid}/task/{outer.pid}/children", encoding="ascii") as file:
            pid = int(file.read().split()[0])
        checks.check("it is found by its pid here", wait_until(lambda: daemon.lives(pid) or daemon.lives(1), 3), daemon.metrics())
        checks.check("and answers under it", daemon.knows(pid))
        checks.check("its mailbox is reached", wait_until(
            lambda: daemon.status(f"/p/{pid}/debug/mallard/free-os-memory", method="POST") == 200, 3))
        os.kill(pid, signal.SIGKILL)
        wait_until(lambda: scene.kept_folder(f"{pid}.*") and scene.is_buried(f"{pid}.*"), 5)
        checks.equal("its death is told", scene.facts(f"{pid}.*").get("sentence"), "killed by SIGKILL")


# ---- how it ends

def check_clean_exits(checks, build):
    with Scene(build) as scene:
        daemon = scene.daemon("--keep-every", "1")
        for order in ("exit 0", "exit 3", "vanish 0"):
            prey = scene.prey()
            wait_until(lambda: scene.profiles(prey.id), 6)
            checks.check(f"{order}: a profile was kept while it lived", scene.profiles(prey.id))
            prey.order(order)
            prey.wait()
            gone = wait_until(lambda: not daemon.knows(prey.id) and not scene.kept_folder(prey.id), 4)
            checks.check(f"{order}: nothing of it stays", gone, scene.facts(prey.id))
            checks.check(f"{order}: its box is gone", not [f for f in scene.box_files() if f"/{prey.pid}." in f])


DEATHS = (  # order or signal, kind, what the sentence says
    (signal.SIGKILL, "signal", r"killed by SIGKILL"),
    (signal.SIGTERM, "signal", r"killed by SIGTERM"),
    ("crash", "signal", r"killed by SIGSEGV( \(core dumped\))?"),
    ("vanish 3", "exited", r"exited with status 3"),
)


def check_deaths(checks, build):
    with Scene(build) as scene:
        daemon = scene.daemon()
        for how, kind, sentence in DEATHS:
            prey = scene.prey()
            prey.ask("grow 8388608")
            name = how if isinstance(how, str) else how.name
            checks.check(f"{name}: followed", wait_until(lambda: daemon.knows(prey.id), 2))
            if isinstance(how, str):
                prey.order(how)
                prey.wait()
            else:
                prey.kill(how)
            checks.check(f"{name}: kept", wait_until(lambda: scene.is_buried(prey.id), 5))
            facts = scene.facts(prey.id)
            checks.equal(f"{name}: kind of death", facts.get("death"), kind)
            checks.check(f"{name}: the sentence", re.fullmatch(sentence, facts.get("sentence", "")), facts.get("sentence"))
            checks.equal(f"{name}: whose it was", facts.get("uid"), str(os.geteuid()))
            checks.check(f"{name}: its command line", scene.prey_program in facts.get("cmdline", ""), facts)
            check_dead(checks, scene, daemon, prey, name)
            listed = {one["id"]: one for one in json.loads(daemon.get("/api/processes")[1])["processes"]}
            death = (listed.get(prey.id) or {}).get("death") or {}
            checks.equal(f"{name}: the list tells it", (death.get("kind"), death.get("sentence")), (kind, facts.get("sentence")))


def check_dead(checks, scene, daemon, prey, name):
    checks.check(f"{name}: same URL", wait_until(lambda: daemon.knows(prey.id), 2))
    top = daemon.top(prey.id)
    checks.check(f"{name}: its last heap has its functions", "prey_leaf" in top and "prey_branch" in top, top)
    checks.check(f"{name}: the stored profile is one for pprof", scene.profiles(prey.id) and is_whole(scene.profiles(prey.id)[-1]))
    checks.equal(f"{name}: memstats", daemon.status(f"/p/{prey.id}/debug/memstats"), 200)
    checks.check(f"{name}: not among the living", not daemon.lives(prey.pid))
    checks.check(f"{name}: its box left the folder", wait_until(
        lambda: not [f for f in scene.box_files() if f"/{prey.pid}." in f], 2), scene.box_files())
    checks.check(f"{name}: it cannot be ordered about", daemon.status(f"/p/{prey.id}/debug/mallard/gc", method="POST") >= 400)


def check_unreaped(checks, build):
    """A parent that does not wait for its child: the child is a zombie for as long."""
    with Scene(build) as scene:
        daemon = scene.daemon()
        prey = scene.prey()
        child = int(prey.ask("orphan"))
        checks.check("a forked child is a process of its own", wait_until(lambda: daemon.lives(child), 3))
        os.kill(child, signal.SIGKILL)
        checks.check("killed and not waited for, it is kept", wait_until(lambda: scene.is_buried(f"{child}.*"), 6))
        checks.equal("and what killed it is known", scene.facts(f"{child}.*").get("sentence"), "killed by SIGKILL")
        checks.check("its parent lives", daemon.lives(prey.pid))


def check_exec(checks, build):
    with Scene(build) as scene:
        daemon = scene.daemon("--keep-every", "1")
        prey = scene.prey()
        wait_until(lambda: scene.profiles(prey.id), 6)
        checks.equal("a process that replaced its image runs", prey.ask(f"exec {scene.prey_program}"), "ready")
        checks.check("it is one process still", wait_until(lambda: daemon.lives(prey.pid), 3) and
                     daemon.number('mallardd_processes{state="living"}') == 1, daemon.metrics()[-3000:])
        checks.equal("and nobody died", daemon.number("mallardd_processes_kept_total"), 0)
        prey.kill()
        checks.check("killed later, it is kept", wait_until(lambda: scene.is_buried(prey.id), 5))
    with Scene(build) as scene:
        daemon = scene.daemon()
        prey = scene.prey()
        wait_until(lambda: daemon.knows(prey.id), 2)
        del scene.env["LD_PRELOAD"]
        prey.order("exec /bin/true")
        prey.wait()
        checks.check("what became another program and ended well is forgotten", wait_until(lambda: not daemon.knows(prey.id), 4))
    with Scene(build) as scene:
        daemon = scene.daemon()
        prey = scene.prey()
        wait_until(lambda: daemon.knows(prey.id), 2)
        os.kill(daemon.pid, signal.SIGSTOP)
        checks.equal("it replaces its image while nobody looks", prey.ask(f"exec {scene.prey_program}"), "ready")
        prey.kill()
        os.kill(daemon.pid, signal.SIGCONT)
        checks.check("killed, it is kept", wait_until(lambda: scene.is_buried(prey.id) and not scene.box_files(), 5))
        checks.check("and its end is over", wait_until(lambda: daemon.number('mallardd_processes{state="living"}') == 0 and
                                                       daemon.number('mallardd_processes{state="ended"}') == 0, 5))
        checks.equal("once", daemon.number("mallardd_processes_kept_total"), 1)


# ---- the OOM killer

LOGLESS = ("unshare", "--mount", "sh", "-c", 'mount --bind /dev/null /dev/kmsg; exec "$0" "$@"')

def memory_group():
    """A new group of the memory controller with room for 64 MiB, or None."""
    with open("/proc/self/mountinfo", encoding="utf-8") as file:
        mounts = [line.split(" - ") for line in file]
    for before, after in mounts:
        kind, options = after.split()[0], after.split()[-1].split(",")
        point = before.split()[4]
        if not (kind == "cgroup" and "memory" in options or kind == "cgroup2" and os.path.exists(f"{point}/cgroup.controllers")
                and "memory" in open(f"{point}/cgroup.subtree_control", encoding="ascii").read()):
            continue
        path = os.path.join(point, f"mallardd-test-{os.getpid()}")
        try:
            os.mkdir(path)
            name = "memory.limit_in_bytes" if kind == "cgroup" else "memory.max"
            with open(os.path.join(path, name), "w", encoding="ascii") as file:
                file.write(str(64 << 20))
            return path
        except OSError:
            if os.path.isdir(path):
                os.rmdir(path)
    return None


def check_oom(checks, build):
    group = memory_group()
    if group is None:
        print("skip oom: no memory controller of control groups can be written here; SIGKILL stands for it")
        return
    try:
        with Scene(build) as scene:
            daemon = scene.daemon()
            prey = scene.prey(preexec_fn=lambda: open(f"{group}/cgroup.procs", "w", encoding="ascii").write(str(os.getpid())))
            wait_until(lambda: daemon.knows(prey.id), 2)
            prey.order("leak")
            checks.equal("the OOM killer comes", prey.wait(), -signal.SIGKILL)
            checks.check("the victim is kept", wait_until(lambda: scene.is_buried(prey.id), 5))
            facts = scene.facts(prey.id)
            checks.equal("it is known to be an OOM kill", facts.get("death"), "oom")
            checks.equal("its limit is known", facts.get("memory_max_bytes"), str(64 << 20))
            checks.check("and that it was reached", 56 << 20 <= int(facts.get("memory_peak_bytes", 0)) <= 64 << 20, facts)
            checks.check("the sentence says so", re.fullmatch(
                rf"killed by SIGKILL; the OOM killer: cgroup \S*{os.path.basename(group)} was at \S+ MiB of its limit of 64 MiB "
                r"\(oom_kill rose by 1\)", facts.get("sentence", "")), facts.get("sentence"))
            top = daemon.top(prey.id)
            checks.check("its last heap names the leak", "prey_leaf" in top, top)
            print(f"     {facts.get('sentence')}")
            check_second_kill(checks, scene, daemon, group)
            check_stranger_killed(checks, scene, daemon, group)
        with Scene(build) as scene:
            print("     without the kernel's log:")
            daemon = scene.daemon("--keep-every", "1", prefix=LOGLESS)
            check_second_kill(checks, scene, daemon, group)
            check_long_ago(checks, scene, daemon, group)
    finally:
        wait_until(lambda: try_rmdir(group), 5)


def check_second_kill(checks, scene, daemon, group):
    """Of two that are killed in one group the OOM killer had one, which the other's count holds too."""
    def enter():
        with open(f"{group}/cgroup.procs", "w", encoding="ascii") as file:
            file.write(str(os.getpid()))
    other, greedy = scene.prey(preexec_fn=enter), scene.prey(preexec_fn=enter)
    wait_until(lambda: daemon.knows(other.id) and scene.profiles(other.id), 8)
    greedy.order("leak")
    checks.equal("the OOM killer comes for the larger of two", greedy.wait(), -signal.SIGKILL)
    wait_until(lambda: scene.is_buried(greedy.id), 5)
    other.kill()
    wait_until(lambda: scene.is_buried(other.id), 5)
    checks.equal("one was an OOM kill", scene.facts(greedy.id).get("death"), "oom")
    checks.equal("the other was not", scene.facts(other.id).get("death"), "signal")
    print(f"     {scene.facts(other.id).get('sentence')}")


def entering(group):
    def enter():
        with open(f"{group}/cgroup.procs", "w", encoding="ascii") as file:
            file.write(str(os.getpid()))
    return enter


def kill_stranger(group):
    """The OOM killer takes one of the group that does not run on Mallard."""
    program = "import os\nos.environ.clear()\nx = []\nwhile True:\n    x.append(b'x' * (1 << 20))\n"
    return subprocess.run(["python3", "-c", program], preexec_fn=entering(group), check=False, timeout=60).returncode


def check_stranger_killed(checks, scene, daemon, group):
    """The group's count rose for one that nobody follows; the kernel's log tells whom it was for."""
    other = scene.prey(preexec_fn=entering(group))
    wait_until(lambda: daemon.knows(other.id), 5)
    checks.equal("the OOM killer takes a stranger", kill_stranger(group), -signal.SIGKILL)
    other.kill()
    checks.check("who is killed then is kept all the same", wait_until(lambda: scene.is_buried(other.id), 8))
    checks.equal("and was not killed by the OOM killer", scene.facts(other.id).get("death"), "signal")
    checks.check("as the sentence says", "not by the OOM killer, which killed another process" in scene.facts(other.id).get("sentence", ""),
                 scene.facts(other.id).get("sentence"))


def check_long_ago(checks, scene, daemon, group):
    """Without the log a kill that was counted some time ago explains no end."""
    other = scene.prey(preexec_fn=entering(group))
    wait_until(lambda: scene.profiles(other.id), 8)
    checks.equal("the OOM killer takes a stranger", kill_stranger(group), -signal.SIGKILL)
    time.sleep(10)
    other.kill()
    wait_until(lambda: scene.is_buried(other.id), 8)
    checks.equal("who is killed long after was not killed by the OOM killer", scene.facts(other.id).get("death"), "signal")


def try_rmdir(path):
    try:
        os.rmdir(path)
    except OSError:
        return False
    return True


# ---- restarts

def check_restart(checks, build):
    with Scene(build) as scene:
        daemon = scene.daemon("--keep-every", "1")
        dead, living, away = scene.prey(), scene.prey(), scene.prey()
        wait_until(lambda: all(scene.profiles(one.id) for one in (dead, living, away)), 8)
        dead.kill()
        wait_until(lambda: scene.is_buried(dead.id), 5)
        facts = scene.facts(dead.id)
        daemon.stop()
        away.kill()
        left = os.path.join(scene.boxes, f"{dead.id}.mallard")  # as if it had ended before it removed that
        shutil.copyfile(os.path.join(scene.kept_folder(dead.id), "box"), left)
        daemon = scene.daemon()
        checks.check("the dead are served after a restart", daemon.knows(dead.id) and "prey_leaf" in daemon.top(dead.id))
        checks.check("the living are found again", daemon.lives(living.pid))
        checks.check("who was killed meanwhile is kept", wait_until(lambda: scene.is_buried(away.id) and daemon.knows(away.id), 5))
        checks.equal("without a reason that nobody saw", scene.facts(away.id).get("death"), "unknown")
        checks.check("the box of one that is kept goes", wait_until(lambda: not os.path.exists(left), 5))
        checks.equal("what is known of its end stays", scene.facts(dead.id), facts)
        checks.equal("how many there are", daemon.number('mallardd_processes{state="dead"}'), 2)


def check_crash(checks, build):
    """The daemon is killed while it writes, again and again."""
    with Scene(build) as scene:
        preys = [scene.prey() for _ in range(4)]
        for turn in range(5):
            daemon = scene.daemon("--keep-every", "1")
            end = time.monotonic() + 1.5 + turn * 0.35  # the first profiles come after 1.5 to 2.5 s
            while time.monotonic() < end:
                for prey in preys:
                    prey.ask("grow 1048576")
            daemon.stop(signal.SIGKILL)
        daemon = scene.daemon("--keep-every", "1")
        checks.check("it serves after five crashes", all(daemon.knows(prey.id) for prey in preys))
        kept = [path for prey in preys for path in scene.profiles(prey.id)]
        torn = [path for path in kept if not is_whole(path)]
        checks.check(f"{len(kept)} profiles, all of them whole", kept and not torn, torn)
        strange = [name for prey in preys if scene.kept_folder(prey.id) for name in os.listdir(scene.kept_folder(prey.id))
                   if not re.fullmatch(r"facts|history|heap\.\d+\.pb\.gz", name)]
        checks.equal("nothing half-written is left", strange, [])


# ---- settings

WRONG = (  # what is in the file, what is said
    ("keep-evry = 60\n", r"mallardd: \S+:1: there is no setting 'keep-evry'\n"),
    ("# x\n\nkeep-every = soon\n", r"mallardd: \S+:3: keep-every wants seconds, 1 to 86400, not 'soon'\n"),
    ("keep-bytes 1GiB\n", r"mallardd: \S+:1: a setting is written as name = value, not 'keep-bytes 1GiB'\n"),
    ("keep-bytes = 1GB\n", r"mallardd: \S+:1: keep-bytes wants a size of at least 1MiB, such as 256MiB, not '1GB'\n"),
)


def check_wrong_settings(checks, build):
    with Scene(build) as scene:
        path = os.path.join(scene.folder, "mallardd.conf")
        for text, wanted in WRONG:
            with open(path, "w", encoding="utf-8") as file:
                file.write(text)
            done = scene.run_daemon("--config", path)
            checks.check(f"refused: {text.strip()!r}", done.returncode == 2 and re.fullmatch(wanted, done.stderr) and not done.stdout,
                         f"{done.returncode} {done.stderr!r}")
        nowhere = os.path.join(scene.folder, "nowhere")
        cases = (
            (["--config", nowhere], 2, f"cannot read the settings in {nowhere}: No such file or directory"),
            (["--nope"], 2, "there is no option --nope"),
            (["--keep-every", "0"], 2, "keep-every wants seconds, 1 to 86400, not '0'"),
            (["--tls-cert", "/x"], 2, "tls-cert needs tls-key too"),
            (["--http", "0.0.0.0:0", "--dir", scene.boxes, "--keep", scene.keep], 1, "needs a token"),
            (["--http", "nonsense", "--dir", scene.boxes, "--keep", scene.keep], 2, "an address is written as"),
            (["--token-file", nowhere, "--dir", scene.boxes, "--keep", scene.keep], 1, "cannot read the token file"),
            (["--keep", "/proc/nowhere", "--dir", scene.boxes], 1, "/proc/nowhere"),
        )
        for options, status, wanted in cases:
            done = scene.run_daemon(*options)
            checks.check(f"refused: {' '.join(options)}", done.returncode == status and wanted in done.stderr and
                         done.stderr.count("\n") == 1 and not done.stdout, f"{done.returncode} {done.stderr!r} {done.stdout!r}")
        evil = scene.run_daemon("--\033[31mnope\r\n<0>forged\x7f")
        checks.check("what was given forges no line of the log", re.fullmatch(r"mallardd: [ -~]+\n", evil.stderr), evil.stderr)
        checks.check("--help", "usage: mallardd" in scene.run_daemon("--help").stdout)
        checks.check("--version", re.fullmatch(r"mallardd \d+\.\d+\.\d+\n", scene.run_daemon("--version").stdout))


def check_reload(checks, build):
    with Scene(build) as scene:
        path, token = os.path.join(scene.folder, "conf"), os.path.join(scene.folder, "token")

        def write(text):
            with open(path, "w", encoding="utf-8") as file:
                file.write(text)

        def reload(wanted):
            before = daemon.errors()
            daemon.process.send_signal(signal.SIGHUP)
            wait_until(lambda: re.search(wanted, daemon.errors()[len(before):]), 5)
            return daemon.errors()[len(before):]
        write("keep-bytes = 32MiB\n")
        daemon = scene.daemon("--config", path, "--keep-every", "1")
        limit = "mallardd_keep_limit_bytes"
        checks.equal("the file counts", daemon.number(limit), 32 << 20)
        write("keep-bytes = 48MiB\n")
        checks.equal("SIGHUP is answered by a line", reload("read again"), "mallardd: settings read again\n")
        checks.equal("and changes what can be changed", daemon.number(limit), 48 << 20)
        write("keep-bytes = 64MiB\nkeep-bytes = lots\n")
        said = reload("stay as they were")
        checks.check("a bad file is refused with its line", re.fullmatch(
            r"mallardd: \S+:2: keep-bytes was set on line 1 already; the settings stay as they were\n", said), said)
        checks.equal("and nothing of it is taken", daemon.number(limit), 48 << 20)
        write("keep-bytes = 40MiB\ndir = /elsewhere\nsocket = /elsewhere\n")
        said = reload("read again")
        checks.check("what needs a restart is named", "restart mallardd for the new value of socket\n" in said, said)
        checks.equal("the rest is taken", daemon.number(limit), 40 << 20)
        with open(token, "w", encoding="ascii") as file:
            file.write("secret\n")
        write(f"token-file = {token}\n")
        reload("read again")
        wrong = {"Authorization": "Bearer wrong"}
        checks.equal("a new token is asked for", daemon.status("/metrics", headers=wrong), 401)
        checks.equal("and taken", daemon.status("/metrics", headers={"Authorization": "Bearer secret"}), 200)
        os.unlink(token)
        said = reload("stay as they were")
        checks.check("a token that is gone changes nothing", "cannot read the token file" in said, said)
        checks.equal("the old one is still in force", daemon.status("/metrics", headers=wrong), 401)
        checks.equal("it still ends well", daemon.stop(), 0)


def check_second(checks, build):
    with Scene(build) as scene:
        daemon = scene.daemon()
        other = tempfile.mkdtemp(dir=scene.folder)
        done = scene.run_daemon("--http", f"127.0.0.1:{daemon.port}", "--dir", scene.boxes, "--keep", other)
        checks.check("the port of another daemon is refused in a line", done.returncode == 1 and done.stderr.count("\n") == 1 and
                     f"127.0.0.1:{daemon.port}" in done.stderr, f"{done.returncode} {done.stderr!r}")
        done = scene.run_daemon("--http", "127.0.0.1:0", "--dir", scene.boxes, "--keep", scene.keep)
        checks.check("and so is its keep folder", done.returncode == 1 and done.stderr.count("\n") == 1 and scene.keep in done.stderr,
                     f"{done.returncode} {done.stderr!r}")


def check_manager(checks, build):
    """What the service manager is told."""
    with Scene(build) as scene, socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        path = os.path.join(scene.folder, "notify")
        manager.bind(path)
        manager.settimeout(10)
        daemon = scene.daemon("--socket", os.path.join(scene.folder, "socket"), env=dict(scene.daemon_env, NOTIFY_SOCKET=path))
        checks.equal("READY=1", manager.recv(4096), b"READY=1")
        checks.check("both addresses are in the line", re.fullmatch(
            rf"mallardd: http://127\.0\.0\.1:\d+/ and unix:{daemon.socket} watches {scene.boxes}", daemon.line), daemon.line)
        checks.equal("the socket answers", daemon.status("/healthz", unix=True), 200)
        daemon.process.send_signal(signal.SIGHUP)
        checks.check("RELOADING=1", re.fullmatch(rb"RELOADING=1\nMONOTONIC_USEC=\d+", manager.recv(4096)))
        checks.equal("READY=1 again", manager.recv(4096), b"READY=1")
        checks.equal("SIGINT ends it too", daemon.stop(signal.SIGINT), 0)
        checks.equal("STOPPING=1", manager.recv(4096), b"STOPPING=1")
        checks.check("the socket's file is gone", not os.path.exists(daemon.socket))


# ---- what is kept

def check_deleted_program(checks, build):
    with Scene(build) as scene:
        daemon = scene.daemon()
        program = os.path.join(scene.folder, "victim")
        shutil.copy(scene.prey_program, program)
        prey = scene.prey(program)
        checks.check("a first profile comes soon", wait_until(lambda: scene.profiles(prey.id), 5))
        os.unlink(program)
        shutil.copy("/bin/true", program)
        prey.kill()
        wait_until(lambda: scene.is_buried(prey.id), 5)
        daemon.stop()
        daemon = scene.daemon()
        top = daemon.top(prey.id)
        checks.check("a program that was replaced has names still", "prey_leaf" in top and "prey_branch" in top, top)


def folder_bytes(path):
    total = 0
    for folder, _, names in os.walk(path):
        for name in [*names, "."]:
            try:
                total += os.lstat(os.path.join(folder, name)).st_blocks * 512
            except FileNotFoundError:
                pass
    return total


def check_bound(checks, build):
    with Scene(build) as scene:
        daemon = scene.daemon("--keep-bytes", "1MiB", "--keep-every", "1")
        most = 0
        for _ in range(60):
            prey = scene.prey()
            wait_until(lambda: daemon.knows(prey.id), 2)
            prey.kill()
            wait_until(lambda: scene.is_buried(prey.id), 5)
            most = max(most, folder_bytes(scene.keep))
            prey.close()
        checks.check("the keep folder stays within its bound", most <= 1 << 20, f"{most} bytes")
        checks.check("the newest is there", daemon.knows(prey.id))
        checks.check("older ones made room", daemon.number("mallardd_processes_trimmed_total") > 0)
        checks.equal("and are forgotten", daemon.number('mallardd_processes{state="dead"}'),
                     len([name for name in os.listdir(scene.keep) if name[0].isdigit()]))


def check_history(checks, build):
    with Scene(build) as scene:
        daemon = scene.daemon("--keep-every", "1")
        prey = scene.prey()

        def grown():
            prey.ask("grow 1048576")
            return len(scene.profiles(prey.id)) >= 3
        checks.check("a process that grows has a history of profiles", wait_until(grown, 10), scene.profiles(prey.id))
        first, *_, last = scene.profiles(prey.id)
        done = subprocess.run(["go", "tool", "pprof", "-top", "-base", first, last], capture_output=True, text=True, timeout=60)
        checks.check("two of them can be compared", "prey_leaf" in done.stdout, done.stdout + done.stderr)
        count = len(scene.profiles(prey.id))
        skipped = daemon.number("mallardd_profiles_skipped_total")
        wait_until(lambda: daemon.number("mallardd_profiles_skipped_total") > skipped + 1, 6)
        checks.check("one that rests gets no more", len(scene.profiles(prey.id)) <= count + 1, scene.profiles(prey.id))


def check_metrics(checks, build):
    with Scene(build) as scene:
        daemon = scene.daemon()
        preys = [scene.prey() for _ in range(3)]
        wait_until(lambda: all(daemon.lives(prey.pid) for prey in preys), 3)
        preys[0].kill()
        wait_until(lambda: scene.is_buried(preys[0].id), 5)
        done = subprocess.run(["promtool", "check", "metrics"], input=daemon.metrics(), capture_output=True, text=True, timeout=60)
        checks.equal("promtool finds nothing wrong with /metrics", (done.returncode, done.stdout + done.stderr), (0, ""))
        checks.check("a process that is gone has no numbers in it", wait_until(lambda: not daemon.lives(preys[0].pid), 2))
        for name in ('processes{state="living"}', "kept_bytes", "keep_limit_bytes", "profiles_written_total",
                     "scan_seconds_total", "process_resident_memory_bytes"):
            checks.check(f"mallardd_{name}", daemon.number(f"mallardd_{name}") is not None)
        own = daemon.get(f"/p/{preys[1].id}/metrics")[1].decode()
        checks.check("one process's page has its numbers alone", "mallardd_" not in own and f'pid="{preys[2].pid}"' not in own and
                     f'pid="{preys[1].pid}"' in own)


ALONE = (check_oom, check_container, check_hidden)  # they change what a forked child inherits
TOGETHER = (check_discovery, check_run_folder, check_late_folder, check_scan, check_clean_exits, check_deaths, check_unreaped,
            check_exec, check_restart, check_crash, check_wrong_settings, check_reload, check_second, check_manager,
            check_deleted_program, check_bound, check_history, check_metrics)
AT_ONCE = 6  # they mostly wait


def main(arguments):
    if not arguments:
        print(__doc__, file=sys.stderr)
        return 2
    return run_checks(arguments[0], arguments[1:], TOGETHER, ALONE, AT_ONCE)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
