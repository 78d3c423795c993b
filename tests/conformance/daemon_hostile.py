#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""mallardd among enemies: files that are no boxes or somebody else's, other users, full disks.

    daemon_hostile.py BUILD [CHECK ...]

What needs another user or a mount is left out, with a line, when not run by root.
"""
import glob
import json
import os
import pathlib
import random
import shutil
import socket
import struct
import subprocess
import sys

from daemon_scene import NOBODY, Scene, live, run_checks, start_ticks

wait_until = live.wait_until
IS_ROOT = os.geteuid() == 0
HEADER_PID = 8 + 4 + 4 + 8 + 10 * 16  # magic, version, header_bytes, file_bytes, sections; see box/layout.h


# ---- files that are no boxes

def plant(scene, name, data=b"", mode=0o644):
    path = os.path.join(scene.boxes, name)
    with open(path, "wb") as file:
        file.write(data)
        os.fchmod(file.fileno(), mode)  # by name it may be gone: what is no box is swept away
    return path


def plant_all(scene, real):
    """Every kind of file that a user could leave there; `real` is a living process's box."""
    with open(real, "rb") as file:
        box = bytearray(file.read(1 << 20))
    ours = os.getpid()
    ticks = start_ticks(ours)
    plant(scene, "4000001.1.mallard")
    plant(scene, "4000002.1.mallard", os.urandom(65536))
    plant(scene, f"{ours}.{ticks}.mallard", os.urandom(4096))
    plant(scene, "4000003.1.mallard", box[:100])
    plant(scene, "4000004.1.mallard", box[:4096])
    plant(scene, "4000005.1.mallard", box)
    plant(scene, "4000006.1.mallard", b"MALLARD\n" + b"\xff" * 8192)
    plant(scene, "4000007.1.mallard", b"MALLARD\n" + struct.pack("<I", 99) + bytes(8192))
    plant(scene, "99999999999999999999.99999999999999999999.mallard", box)
    plant(scene, ".mallard", box)
    plant(scene, "12.mallard", box)
    os.mkdir(os.path.join(scene.boxes, "4000008.1.mallard"))
    os.symlink("/etc/passwd", os.path.join(scene.boxes, "4000009.1.mallard"))
    os.symlink(real, os.path.join(scene.boxes, "4000010.1.mallard"))
    os.symlink("/nowhere", os.path.join(scene.boxes, "4000011.1.mallard"))
    os.symlink("/etc", os.path.join(scene.boxes, "run.4000012"))
    os.mkfifo(os.path.join(scene.boxes, "4000013.1.mallard"))
    with socket.socket(socket.AF_UNIX) as one:
        one.bind(os.path.join(scene.boxes, "4000014.1.mallard"))
    sparse = plant(scene, "4000015.1.mallard", b"MALLARD\n")
    os.truncate(sparse, 1 << 42)
    plant(scene, "run.4000016", b"no folder")
    plant(scene, "4000017.1.mallard", bytes(box), 0)


def break_boxes(scene, real, seed):
    """Copies of a real box with bytes changed at random, under names of processes that are gone."""
    numbers = random.Random(seed)
    with open(real, "rb") as file:
        box = file.read()
    for i in range(40):
        broken = bytearray(box)
        for _ in range(numbers.randrange(1, 200)):
            broken[numbers.randrange(4096 if i % 2 else len(broken))] = numbers.randrange(256)
        # Whole under a name that is no box's, since the daemon may remove at once what it finds.
        made = os.path.join(scene.boxes, "made")
        with open(made, "wb") as file:
            file.write(broken[:len(box) if i % 3 else numbers.randrange(len(box))])
        os.rename(made, os.path.join(scene.boxes, f"{4100000 + i}.{i + 1}.mallard"))


def clear(scene, but):
    """Removes everything, boxes of that prefix excepted; the daemon may have been first."""
    for name in os.listdir(scene.boxes):
        path = os.path.join(scene.boxes, name)
        if name.startswith(but):
            continue
        if os.path.isdir(path) and not os.path.islink(path):
            os.rmdir(path)
        else:
            pathlib.Path(path).unlink(missing_ok=True)


def check_planted(checks, build):
    with Scene(build) as scene:
        prey = scene.prey()
        plant_all(scene, scene.box_files()[0])
        daemon = scene.daemon("--keep-every", "1")
        checks.check("it starts among garbage and serves who is real", daemon.knows(prey.id))
        clear(scene, f"{prey.pid}.")
        plant_all(scene, scene.box_files()[0])
        late = scene.prey()
        unfinished = os.path.join(scene.boxes, f"{os.getpid()}.{start_ticks(os.getpid())}.mallard")
        checks.check("garbage that arrives hides nobody", wait_until(lambda: daemon.knows(late.id) and daemon.knows(prey.id), 3))
        gone = os.path.join(scene.boxes, "4000002.1.mallard")
        checks.check("what nobody can be writing is swept away", wait_until(lambda: not os.path.exists(gone), 5))
        checks.check("what somebody who lives may be is left", os.path.exists(unfinished))
        checks.check("what a link leads to is no process", not daemon.knows(4000010) and not daemon.knows(4000009))
        seed = int(os.environ.get("SEED", 0)) or int.from_bytes(os.urandom(4), "little")
        break_boxes(scene, next(f for f in scene.box_files() if f"/{prey.pid}." in f), seed)
        wait_until(lambda: daemon.number("mallardd_scans_total") > 2, 25)
        checks.check(f"forty broken boxes (seed {seed}) do not end it", daemon.process.poll() is None and daemon.knows(prey.id))
        statuses = {daemon.status(path) for path in ("/", "/metrics", "/sd", "/healthz")}
        checks.equal("and every page answers", statuses, {200})
        for i in range(40):
            daemon.status(f"/p/{4100000 + i}/debug/pprof/heap")
            daemon.status(f"/p/{4100000 + i}/debug/memstats")
        checks.check("so does everything about the broken ones", daemon.process.poll() is None and daemon.knows(prey.id))
        checks.check("the folder of the link was not entered", os.path.exists("/etc/passwd") and
                     not glob.glob(os.path.join(scene.keep, "40000[0-9][0-9].*/box")), os.listdir(scene.keep))
        prey.kill()
        checks.check("a real process is kept as ever", wait_until(lambda: scene.is_buried(prey.id), 5))
        checks.check("nothing was said but of what is wrong", daemon.errors().count("\n") <= 1, daemon.errors())
        checks.equal("it ends well", daemon.stop(), 0)


def check_impostor(checks, build):
    """A box of nobody's that says it is a process of root's."""
    if not IS_ROOT:
        print("skip impostor: not run by root")
        return
    with Scene(build) as scene:
        prey = scene.prey()
        daemon = scene.daemon("--socket", os.path.join(scene.folder, "socket"))
        with open(scene.box_files()[0], "rb") as file:
            box = bytearray(file.read())
        pid, ticks = os.getpid(), start_ticks(os.getpid())
        struct.pack_into("<I", box, HEADER_PID, pid)
        struct.pack_into("<Q", box, HEADER_PID + 16, ticks)
        path = plant(scene, f"{pid}.{ticks}.mallard", box)
        os.chown(path, NOBODY, NOBODY)
        identity = f"{pid}.{ticks}"
        checks.check("root is shown it", wait_until(lambda: daemon.knows(identity), 3))
        checks.check("but not among the living", not daemon.lives(pid))
        checks.equal("nobody else is", as_nobody(daemon, [f"/p/{identity}/debug/pprof/heap"]), {f"/p/{identity}/debug/pprof/heap": 404})
        checks.equal("it is doubtful", daemon.number('mallardd_processes{state="doubtful"}'), 1)
        checks.equal("it takes no orders", daemon.status(f"/p/{identity}/debug/mallard/gc", method="POST"), 409)
        fds = daemon.fds()
        for _ in range(20):
            os.rename(path, path + ".old")
            path = plant(scene, f"{pid}.{ticks}.mallard", box)
            os.chown(path, NOBODY, NOBODY)
            os.unlink(path + ".old")
            wait_until(lambda: daemon.knows(identity), 3)
        checks.check("made anew again and again, it costs no descriptors", daemon.fds() <= fds + 10, (fds, daemon.fds()))
        os.unlink(path)
        checks.check("removed, it is forgotten", wait_until(lambda: not daemon.knows(identity), 3))
        checks.check("it was not kept", not scene.kept_folder(identity))
        checks.check("who is real is untouched", daemon.lives(prey.pid))


def check_lowered(checks, build):
    """A server that was started by root, and is nobody by now: its box is root's still."""
    if not IS_ROOT:
        print("skip lowered: not run by root")
        return
    with Scene(build) as scene:
        daemon = scene.daemon()
        program = (f"import ctypes, os, sys\nkeep = [bytes(1000) for i in range(20000)]\nos.setuid({NOBODY})\n"
                   "print('ready', flush=True)\nsys.stdin.readline()\n")
        with subprocess.Popen(["python3", "-c", program], env=scene.env, cwd=scene.folder, text=True, stdin=subprocess.PIPE,
                              stdout=subprocess.PIPE) as server:
            server.stdout.readline()
            checks.check("it is followed", wait_until(lambda: daemon.lives(server.pid), 5))
            fresh = scene.daemon("--keep", os.path.join(scene.folder, "kept2"), "--socket", os.path.join(scene.folder, "socket2"))
            checks.check("by one that sees it only now, too", wait_until(lambda: fresh.lives(server.pid), 5))
            checks.equal("without a doubt", fresh.number('mallardd_processes{state="doubtful"}'), 0)
            server.kill()


def check_other_version(checks, build):
    """Whose box another version wrote is told once, and nobody else's."""
    with Scene(build) as scene:
        def begin(name):
            return plant(scene, name, (b"MALLARD\n" + struct.pack("<I", 77)).ljust(8192, b"\0"))

        def lines():
            return [line for line in daemon.errors().splitlines() if "another version" in line]

        pid, ticks = os.getpid(), start_ticks(os.getpid())
        path = begin(f"{pid}.{ticks}.mallard")
        begin("4300001.1.mallard")
        begin(f"{pid}.{ticks + 1}.mallard")
        daemon = scene.daemon()
        scans = daemon.number("mallardd_scans_total")
        fds = daemon.fds()
        os.rename(path, path + ".away")
        os.rename(path + ".away", path)
        checks.check("scans go on", wait_until(lambda: daemon.number("mallardd_scans_total") > scans + 1, 50))
        checks.check("and keep no descriptors", daemon.fds() <= fds, (fds, daemon.fds()))
        prey = scene.prey()
        checks.check("and others are found", wait_until(lambda: daemon.knows(prey.id), 5))
        checks.check("a process of another version is told of in one line", len(lines()) == 1, daemon.errors())
        checks.check("with both versions", f"process {pid} is left alone: " in lines()[0] and "of layout 77, and mallardd reads " in lines()[0], lines())
        checks.check("the box is left to it", os.path.exists(path) and os.path.exists(os.path.join(scene.boxes, "4300001.1.mallard")))
        if IS_ROOT:
            with subprocess.Popen(["sleep", "600"]) as other:
                theirs = begin(f"{other.pid}.{start_ticks(other.pid)}.mallard.new")
                os.chown(theirs, NOBODY, NOBODY)
                os.rename(theirs, theirs.removesuffix(".new"))
                late = scene.prey()
                wait_until(lambda: daemon.knows(late.id), 5)
                checks.check("what somebody else wrote is not believed", len(lines()) == 1, lines())
                other.kill()
        checks.equal("it ends well", daemon.stop(), 0)


def check_flood(checks, build):
    """A thousand files at once, and nobody's folder full of them."""
    with Scene(build) as scene:
        daemon = scene.daemon()
        for i in range(1000):
            plant(scene, f"{4200000 + i}.1.mallard", b"x" * 100)
        prey = scene.prey()
        checks.check("a process is found behind a thousand files", wait_until(lambda: daemon.knows(prey.id), 5))
        fds = len(os.listdir(f"/proc/{daemon.pid}/fd"))
        checks.check("which hold no descriptors", fds < 60, fds)
        wait_until(lambda: len(scene.box_files()) == 1, 10)
        checks.equal("and are swept away, being of nobody who lives", len(scene.box_files()), 1)
        fds = daemon.fds()
        for i in range(30):
            os.mkdir(os.path.join(scene.boxes, f"run.{4400000 + i}"))
            plant(scene, f"run.{4400000 + i}/{4400000 + i}.1.mallard", b"x")
        checks.check("so are those in folders of runs", wait_until(lambda: len(scene.box_files()) == 1, 10))
        scans = daemon.number("mallardd_scans_total")
        for i in range(30):
            os.rmdir(os.path.join(scene.boxes, f"run.{4400000 + i}"))
        wait_until(lambda: daemon.number("mallardd_scans_total") > scans + 1, 50)
        checks.check("and the folders are let go of", wait_until(lambda: daemon.fds() <= fds + 10, 5), (fds, daemon.fds()))


# ---- other users

def as_nobody(daemon, paths, unix=True, method="GET"):
    """The statuses that user nobody gets."""
    script = f"""
import encodings.idna, http.client, json, os, socket, sys
os.setgroups([]); os.setgid({NOBODY}); os.setuid({NOBODY})
answers = {{}}
for path in json.load(sys.stdin):
    one = http.client.HTTPConnection("127.0.0.1", {daemon.port}, timeout=20)
    if {unix}:
        one.sock = socket.socket(socket.AF_UNIX)
        one.sock.connect({daemon.socket!r})
    one.request({method!r}, path)
    answer = one.getresponse()
    answers[path] = answer.status
    body = answer.read()
    if os.environ.get("SECRET", "?") in body.decode(errors="replace"):
        answers[path] = "told"
    one.close()
print(json.dumps(answers))
"""
    done = subprocess.run([sys.executable, "-c", script], input=json.dumps(paths), capture_output=True, text=True, timeout=120,
                          env={**os.environ, "SECRET": daemon.secret if hasattr(daemon, "secret") else "no such text"})
    return json.loads(done.stdout) if done.returncode == 0 else {"error": done.stderr}


ROUTES = ("debug/pprof/", "debug/pprof/heap", "debug/pprof/heap?debug=1", "debug/pprof/heap?seconds=1", "debug/pprof/allocs",
          "debug/pprof/cmdline", "debug/pprof/symbol", "debug/pprof/delta_heap?seconds=1", "debug/pprof/profile?seconds=1",
          "debug/pprof/goroutine", "debug/pprof/block", "debug/pprof/mutex", "debug/pprof/threadcreate", "debug/memstats",
          "debug/gctrace", "debug/scavtrace", "metrics")
LISTS = ("/", "/metrics", "/sd", "/api/processes")
API = ("/api/process", "/api/history", "/api/profile", "/api/spans", "/api/trace")


def routes_of(identity):
    return ([f"/p/{identity}/{route}" for route in ROUTES] + [f"{api}?proc={identity}" for api in API] +
            [f"/debug/pprof/heap?proc={identity}", f"/debug/memstats?proc={identity}", f"/p/{identity}/"])


def check_users(checks, build):
    if not IS_ROOT:
        print("skip users: not run by root")
        return
    with Scene(build) as scene:
        secret = os.path.join(scene.folder, "unsaid")
        shutil.copy(scene.prey_program, secret)
        os.chmod(secret, 0o755)
        daemon = scene.daemon("--socket", os.path.join(scene.folder, "socket"))
        daemon.secret = "unsaid"
        root, dead = scene.prey(secret), scene.prey(secret)
        theirs = scene.prey(user=NOBODY, group=NOBODY, extra_groups=[])
        wait_until(lambda: all(daemon.knows(one.id) for one in (root, dead, theirs)), 3)
        dead.kill()
        wait_until(lambda: scene.is_buried(dead.id), 5)
        for unix in (True, False):
            way = "the socket" if unix else "loopback"
            for name, one in (("root's process", root), ("root's dead process", dead)):
                answers = as_nobody(daemon, routes_of(one.id), unix)
                checks.equal(f"{way}: nobody gets 404 from every route of {name}", set(answers.values()), {404})
            knobs = [f"/p/{root.id}/debug/mallard/{knob}" for knob in ("gc", "free-os-memory", "rate?bytes=1")]
            checks.equal(f"{way}: nor do its knobs move", set(as_nobody(daemon, knobs, unix, "POST").values()), {404})
            lists = as_nobody(daemon, LISTS, unix)
            checks.check(f"{way}: no list tells of root's", "told" not in lists.values() and lists["/metrics"] == 200, lists)
            own = as_nobody(daemon, [f"/p/{theirs.id}/debug/pprof/heap", f"/p/{theirs.id}/debug/pprof/cmdline"], unix)
            checks.equal(f"{way}: their own they see", set(own.values()), {200})
        checks.check("root sees theirs", daemon.knows(theirs.id) and daemon.lives(theirs.pid))
        theirs.kill()
        wait_until(lambda: scene.is_buried(theirs.id), 5)
        own = as_nobody(daemon, [f"/p/{theirs.id}/debug/pprof/heap"])
        checks.equal("dead, it is theirs to see still", set(own.values()), {200})
        check_files(checks, scene, root, theirs)


def check_unprivileged(checks, build):
    """A user's own daemon, for their own processes, without any right."""
    if not IS_ROOT:
        print("skip unprivileged: every other check was")
        return
    with Scene(build) as scene:
        os.mkdir(scene.keep, mode=0o700)
        os.chown(scene.keep, NOBODY, NOBODY)
        user = {"user": NOBODY, "group": NOBODY, "extra_groups": []}
        daemon = scene.daemon("--keep-every", "1", **user)
        ours, roots = scene.prey(**user), scene.prey()
        checks.check("it follows its user's process", live.wait_until(lambda: daemon.lives(ours.pid), 3), daemon.errors())
        checks.check("and not root's", not daemon.knows(roots.id))
        ours.kill()
        roots.kill()
        checks.check("killed, it is kept", wait_until(lambda: scene.is_buried(ours.id), 5))
        checks.equal("with the reason", scene.facts(ours.id).get("sentence"), "killed by SIGKILL")
        checks.check("and its heap", "prey_leaf" in daemon.top(ours.id))
        folder = scene.kept_folder(ours.id)
        checks.equal("what it keeps is closed to others", [os.stat(path).st_mode & 0o077 for path in (scene.keep, f"{folder}/facts")], [0, 0])
        checks.equal("it has nothing to complain about", daemon.errors(), "")


def check_files(checks, scene, root, theirs):
    """Who may read what is kept, without the daemon."""
    for one, name, wanted in ((theirs, "their own", True), (root, "root's", False)):
        wait_until(lambda: scene.profiles(one.id), 5)
        for path in [*scene.profiles(one.id)[:1], os.path.join(scene.kept_folder(one.id), "facts")]:
            done = subprocess.run(["cat", path], user=NOBODY, group=NOBODY, extra_groups=[], capture_output=True)
            checks.equal(f"nobody reads {os.path.basename(path)} of {name}: {wanted}", done.returncode == 0, wanted)


def check_paths(checks, build):
    with Scene(build) as scene:
        daemon = scene.daemon()
        prey = scene.prey()
        wait_until(lambda: scene.profiles(prey.id), 5)
        for path in ("/p/../kept", f"/p/{prey.id}/../../etc/passwd", f"/p/{prey.id}/debug/pprof/heap?at=../../facts",
                     f"/p/{prey.id}/debug/pprof/heap?at=0/../facts", "/assets/../../../etc/passwd", "/assets/%2e%2e/%2e%2e/etc/passwd",
                     f"/p/{prey.pid}.%2e%2e/metrics", "/api/process?proc=../x", f"/api/profile?proc={prey.id}&at=-1"):
            status, body = daemon.get(path)
            checks.check(f"{path} leads nowhere", status in (400, 404) or b"root:" not in body and b"start_ticks" not in body,
                         f"{status} {body[:80]}")
        checks.equal("another's Host is refused", daemon.status("/metrics", headers={"Host": "evil.example"}), 403)
        checks.equal("another site's order is refused", daemon.status(
            f"/p/{prey.id}/debug/mallard/gc", method="POST", headers={"Origin": "http://evil.example"}), 403)


# ---- disks

def mount(path, *options):
    os.makedirs(path, exist_ok=True)
    done = subprocess.run(["mount", "-t", "tmpfs", *options, "tmpfs", path], capture_output=True, check=False)
    return done.returncode == 0


def check_full_disk(checks, build):
    with Scene(build) as scene:
        if not IS_ROOT or not mount(scene.keep, "-o", "size=64k,mode=755"):
            print("skip full_disk: nothing can be mounted here")
            return
        try:
            full_disk(checks, scene)
        finally:
            for one in scene.started:
                one.close()
            subprocess.run(["umount", "-l", scene.keep], check=False)


def full_disk(checks, scene):
    with open(os.path.join(scene.keep, "ballast"), "wb") as file:
        file.write(bytes(60 << 10))
    daemon = scene.daemon("--keep-every", "2")
    preys = [scene.prey() for _ in range(3)]
    wait_until(lambda: all(daemon.knows(prey.id) for prey in preys), 3)
    preys[0].kill()
    checks.check("a full disk is told", wait_until(lambda: "No space left on device" in daemon.errors(), 6), daemon.errors())
    wait_until(lambda: daemon.number("mallardd_keep_errors_total") >= 4, 15)
    checks.equal("in one line", daemon.errors().count("\n"), 1)
    checks.check("the dead is served from its box", daemon.knows(preys[0].id) and "prey_leaf" in daemon.top(preys[0].id))
    checks.check("which stays in its folder", [f for f in scene.box_files() if f"/{preys[0].pid}." in f])
    checks.check("the living are served", daemon.lives(preys[1].pid))
    subprocess.run(["mount", "-o", "remount,size=8m", scene.keep], check=True)
    checks.check("with room again the dead is kept", wait_until(lambda: scene.is_buried(preys[0].id), 8))
    checks.check("and its box leaves the folder", wait_until(
        lambda: not [f for f in scene.box_files() if f"/{preys[0].pid}." in f], 3))
    checks.check("same URL, same heap", "prey_leaf" in daemon.top(preys[0].id))
    subprocess.run(["mount", "-o", "remount,ro", scene.keep], check=False)


def check_read_only(checks, build):
    with Scene(build) as scene:
        daemon = scene.daemon()
        prey = scene.prey()
        wait_until(lambda: daemon.knows(prey.id), 3)
        prey.kill()
        wait_until(lambda: scene.is_buried(prey.id), 5)
        daemon.stop()
        if not IS_ROOT or subprocess.run(["mount", "--bind", scene.keep, scene.keep], check=False).returncode != 0:
            print("skip read_only: nothing can be mounted here")
            return
        try:
            subprocess.run(["mount", "-o", "remount,bind,ro", scene.keep], check=True)
            daemon = scene.daemon("--keep-every", "1")
            checks.equal("a keep folder that is read-only is told in one line", daemon.errors().count("\n"), 1)
            checks.check("what is in it is served", daemon.knows(prey.id) and "prey_leaf" in daemon.top(prey.id))
            late = scene.prey()
            checks.check("so is what lives", wait_until(lambda: daemon.lives(late.pid), 3))
            late.kill()
            wait_until(lambda: daemon.number("mallardd_keep_errors_total") >= 3, 10)
            checks.check("and what died", daemon.knows(late.id))
            checks.check("few lines are said of it", daemon.errors().count("\n") <= 2, daemon.errors())
        finally:
            for one in scene.started:
                one.close()
            subprocess.run(["umount", "-l", scene.keep], check=False)


ALONE = (check_users, check_unprivileged, check_full_disk, check_read_only)
TOGETHER = (check_planted, check_impostor, check_lowered, check_other_version, check_flood, check_paths)


def main(arguments):
    if not arguments:
        print(__doc__, file=sys.stderr)
        return 2
    return run_checks(arguments[0], arguments[1:], TOGETHER, ALONE, len(TOGETHER))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
