#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The mallard command: exit statuses, messages, signals, job control, files left and not left.

    cli.py MALLARD
"""
import glob
import gzip
import json
import os
import pty
import re
import select
import shutil
import signal
import struct
import subprocess
import sys
import tempfile
import time
import urllib.request

import live

WORKER = "import time\nx = [bytes(1000) for i in range(50000)]\ntime.sleep(60)\n"


class Scene:
    """A folder of its own for boxes and for the current directory."""

    def __init__(self, checks, mallard, folder):
        self.checks, self.mallard, self.folder = checks, os.path.abspath(mallard), folder
        self.boxes = os.path.join(folder, "boxes")
        os.mkdir(self.boxes)
        self.env = dict(os.environ, MALLARD_DIR=self.boxes)
        for name in ("LD_PRELOAD", "MALLARD_HTTP", "MALLARD_KEEP"):
            self.env.pop(name, None)

    def run(self, *arguments, **keywords):
        return subprocess.run([self.mallard, *arguments], cwd=self.folder, env=self.env, text=True,
                              capture_output=True, timeout=60, stdin=subprocess.DEVNULL, **keywords)

    def expect(self, name, arguments, status, out=None, err=None):
        done = self.run(*arguments)
        good = (done.returncode == status and (out is None or re.search(out, done.stdout))
                and (err is None or re.search(err, done.stderr)))
        self.checks.check(name, good, f"status {done.returncode}, out {done.stdout[-300:]!r}, err {done.stderr[-300:]!r}")
        return done

    def start(self, *options, program=("sleep", "600")):
        return live.start(self.mallard, *options, program=program, folder=self.folder, env=self.env)

    def left(self):
        return sorted(name for name in os.listdir(self.folder) if name.startswith("mallard."))

    def runs(self):
        return [name for name in os.listdir(self.boxes) if name.startswith("run.")]


def check_usage(scene):
    scene.expect("no command is a usage error", [], 2, err="usage: mallard COMMAND")
    scene.expect("--help", ["--help"], 0, out="usage: mallard COMMAND")
    scene.expect("--version", ["--version"], 0, out=r"^mallard \d+\.\d+\.\d+\n$")
    scene.expect("an unknown command", ["dance"], 2, err="'dance' is no command")
    scene.expect("help of an unknown command", ["help", "dance"], 2, err="no command")
    for command in ("run", "ps", "top", "stat", "heap", "allocs", "diff", "report", "trace", "check"):
        scene.expect(f"{command} --help", [command, "--help"], 0, out=f"usage: mallard {command}")
        scene.expect(f"help {command}", ["help", command], 0, out=f"usage: mallard {command}")
        scene.expect(f"{command} with an unknown option", [command, "--nonsense"], 2, err="does not know the option --nonsense")
    for command in ("stat", "heap", "allocs", "report", "trace", "check", "run"):
        scene.expect(f"{command} without its argument", [command], 2, err="needs a")
    for command in ("stat", "heap", "trace"):
        scene.expect(f"{command} of no pid", [command, "abc"], 1, err="no process id")
        scene.expect(f"{command} of a process without a box", [command, "1"], 1, err="has no box here")
        scene.expect(f"{command} of two processes", [command, "1", "2"], 2, err="takes one argument")
    scene.expect("an option without its value", ["run", "--http"], 2, err="--http needs a value")
    scene.expect("an option with a value too many", ["ps", "--all=1"], 2, err="takes no value")
    scene.expect("ps of nothing", ["ps"], 0, out=r"PID +STATE +RSS +HEAP +SAMPLES +RATE +COMMAND\n$",
                 err=f"nothing to list in {scene.boxes}\n$")
    ended = subprocess.Popen(["true"])
    ended.wait()
    scene.expect("a process that is not there", ["stat", str(ended.pid)], 1, err=f"there is no process {ended.pid}, and nothing")
    scene.expect("check of it", ["check", str(ended.pid)], 1, out="does not work: there is no such process\n$")
    full = subprocess.run(f"{scene.mallard} --help > /dev/full", shell=True, stderr=subprocess.PIPE, text=True, check=False)
    scene.checks.equal("a full disk is a failure", full.returncode, 1)


def check_missing(scene):
    """Processes that run on another version: they are missing from the list, and one line says so."""
    folder = os.path.join(scene.boxes, "run.1")
    os.mkdir(folder)
    with subprocess.Popen(["sleep", "600"]) as process:
        pid = process.pid
        with open(f"/proc/{pid}/stat", encoding="ascii") as stat:
            ticks = stat.read().rpartition(")")[2].split()[19]
        ended = "4194303"
        for place, name, version in ((folder, f"{pid}.{ticks}", 77), (scene.boxes, f"{ended}.5", 78)):
            with open(os.path.join(place, name + ".mallard"), "wb") as file:
                file.write((b"MALLARD\n" + version.to_bytes(4, "little")).ljust(8192, b"\0"))
        line = r"mallard: the box of process {} was written by another version of Mallard: its layout is {}, and this one reads \d+\n"
        listed = scene.expect("ps names who runs on another version, once", ["ps"], 0, err=line.format(pid, 77) + "$")
        scene.checks.check("and not who is gone", ended not in listed.stderr, listed.stderr)
        both = scene.expect("ps -a names the dead ones, too", ["ps", "-a"], 0, err=line.format(ended, 78))
        scene.checks.check("with the living ones", re.search(line.format(pid, 77), both.stderr), both.stderr)
        scene.expect("stat of it tells the same", ["stat", str(pid)], 1, err=line.format(pid, 77) + "$")
        scene.expect("by its whole id, too", ["stat", f"{pid}.{ticks}"], 1, err=line.format(pid, 77) + "$")
        scene.expect("another start time is another process", ["stat", f"{pid}.{int(ticks) + 1}"], 1, err="there is no process")
        scene.expect("check of it names both versions", ["check", str(pid)], 1,
                     out=r"problem  it has a box of layout 77 here, and this mallard reads layout \d+\n"
                         r"does not work: it runs on another version of Mallard\n$")
        process.kill()
    shutil.rmtree(folder)
    os.unlink(os.path.join(scene.boxes, f"{ended}.5.mallard"))


def check_other_version(scene):
    """Neither that there is no box, nor that it is something else."""
    box = os.path.join(scene.boxes, "1.5.mallard")
    with open(box, "wb") as file:
        file.write((b"MALLARD\n" + (3).to_bytes(4, "little")).ljust(8192, b"\0"))
    os.chmod(box, 0o600)
    for command in ("heap", "top"):
        for process in ("1", box):
            scene.expect(f"{command} of a box of another version", [command, process], 1,
                         err="written by another version of Mallard")
    scene.expect("diff of boxes of another version", ["diff", box, box], 1, err="written by another version of Mallard")
    os.unlink(box)


def check_statuses(scene):
    cases = {"0": ["true"], "1": ["false"], "7": ["sh", "-c", "exit 7"], "255": ["sh", "-c", "exit 255"]}
    for wanted, program in cases.items():
        scene.expect(f"status {wanted} goes through", ["run", "-q", "--", *program], int(wanted), err="^$")
    scene.expect("a program that is not there", ["run", "--", "/no/such"], 127, err="cannot execute /no/such: No such file")
    scene.expect("a name that is not there", ["run", "no-such-program"], 127, err="cannot execute")
    scene.expect("a file that is no program", ["run", "--", "/etc/passwd"], 126, err="cannot execute /etc/passwd: Permission denied")
    scene.expect("a folder", ["run", "--", "/tmp"], 126, err="cannot execute /tmp")
    scene.expect("options of the program are its own", ["run", "-q", "sh", "-c", "exit 3", "--help"], 3)
    scene.checks.equal("nothing is left behind", (scene.left(), scene.runs()), ([], []))


def check_output(scene):
    done = scene.expect("output goes through", ["run", "--", "sh", "-c", "echo out; echo err >&2"], 0, out="^out\n$",
                        err=r"mallard: http://127\.0\.0\.1:\d+/debug/pprof/ serves pid \d+")
    scene.checks.equal("one line of ours", done.stderr.count("mallard:"), 1)
    done = scene.run("run", "-q", "--", "sh", "-c", "cat; echo $LD_PRELOAD; echo $MALLARD_DIR; echo $MALLARD_HTTP")
    lines = done.stdout.splitlines()
    scene.checks.check("the library is in LD_PRELOAD", lines[0].endswith("libmallard.so.0"), done.stdout)
    scene.checks.check("the folder is a private one", re.search(r"/run\.\d+$", lines[1]), done.stdout)
    env = dict(scene.env, LD_PRELOAD="libm.so.6", MALLARD_HTTP="127.0.0.1:1")
    done = subprocess.run([scene.mallard, "run", "-q", "--", "sh", "-c", "echo $LD_PRELOAD; echo h=$MALLARD_HTTP"], env=env,
                          text=True, capture_output=True, check=False)
    scene.checks.check("what was preloaded stays", re.search(r"libmallard\.so\.0:libm\.so\.6\nh=\n", done.stdout), done.stdout)


def check_addresses(scene):
    process, port, _ = scene.start()
    scene.expect("an address that is taken", ["run", "--http", f"127.0.0.1:{port}", "--", "touch", "ran"], 1,
                 err=f"cannot listen on 127.0.0.1:{port}: Address already in use")
    scene.checks.check("and nothing ran", not os.path.exists(os.path.join(scene.folder, "ran")))
    live.stop(process)
    scene.expect("an open address without a token", ["run", "--http", "0.0.0.0:0", "--", "true"], 1, err="needs a token")
    scene.expect("an address that is none", ["run", "--http", "here", "--", "true"], 2, err="an address is written as")
    scene.expect("an empty token", ["run", "--token-file", "/dev/null", "--", "true"], 2, err="token file /dev/null is empty")
    scene.expect("an open address, insecure", ["run", "--insecure", "--http", "0.0.0.0:0", "--", "true"], 0)
    scene.expect("no server", ["run", "--http", "off", "--", "true"], 0, err="^$")
    path = os.path.join(scene.folder, "s")
    scene.expect("a socket", ["run", "--http", f"unix:{path}", "--", "sh", "-c", f"curl -s --unix-socket {path} http://localhost/healthz"],
                        0, out="ok", err="unix:/.* serves pid")
    scene.checks.check("the socket's file is gone", not os.path.exists(path))


def default_port(scene):
    """Two runs without --http: at most one gets 6060; the other takes a free port and says so."""
    command = [scene.mallard, "run", "--", "sleep", "600"]
    both = [subprocess.Popen(command, cwd=scene.folder, env=scene.env, stderr=subprocess.PIPE, text=True) for _ in range(2)]
    lines = [one.stderr.readline() for one in both]
    taken = [line for line in lines if "(127.0.0.1:6060 is taken)" in line]
    scene.checks.check("the second run takes a free port", len(taken) >= 1 and all("serves pid" in line for line in lines), lines)
    for one in both:
        live.stop(one)
    for name in scene.left():
        os.unlink(os.path.join(scene.folder, name))


def check_signals(scene):
    script = ("trap 'echo got USR1' USR1; trap 'echo got HUP' HUP; trap 'echo got TERM; exit 9' TERM; echo ready; "
              "while :; do sleep 0.05; done")
    process = subprocess.Popen([scene.mallard, "run", "-q", "--http", "off", "--", "sh", "-c", script], cwd=scene.folder,
                               env=scene.env, stdout=subprocess.PIPE, text=True)
    process.stdout.readline()
    for number, name in ((signal.SIGUSR1, "USR1"), (signal.SIGHUP, "HUP"), (signal.SIGTERM, "TERM")):
        process.send_signal(number)
        scene.checks.equal(f"SIG{name} goes through", process.stdout.readline().strip(), f"got {name}")
    scene.checks.equal("and the status after it", process.wait(timeout=10), 9)
    process.stdout.close()


def check_death(scene):
    for number in (signal.SIGKILL, signal.SIGTERM, signal.SIGABRT):
        process, _, pid = scene.start(program=("/usr/bin/python3", "-c", WORKER))
        time.sleep(0.5)
        os.kill(pid, number)
        scene.checks.equal(f"status after {number.name}", process.wait(timeout=20), 128 + number)
        said = process.stderr.read()
        process.stderr.close()
        name = f"mallard.python3.{pid}.heap.pb.gz"
        scene.checks.check(f"{number.name}: says where the profile is",
                           re.search(rf"pid {pid} was ended by {number.name}; its last heap profile is \./{name}", said), said)
        path = os.path.join(scene.folder, name)
        scene.checks.check(f"{number.name}: it is a profile", os.path.exists(path) and len(gzip.open(path).read()) > 100)
        top = subprocess.run(["go", "tool", "pprof", "-top", path], capture_output=True, text=True, check=False)
        scene.checks.check(f"{number.name}: go tool pprof reads it", "Type: inuse_space" in top.stdout, top.stdout + top.stderr)
        os.unlink(path)
    scene.checks.equal("no folder is left", scene.runs(), [])


def check_death_nowhere(scene):
    """Where the profile cannot be written it goes among temporary files; that somebody died is said anyhow."""
    for name, temporary in (("among temporary files", scene.folder), ("nowhere", "/proc/no")):
        gone = os.path.join(scene.folder, "gone")
        os.mkdir(gone)
        process, _, pid = live.start(scene.mallard, program=("/usr/bin/python3", "-c", WORKER), folder=gone,
                                     env=dict(scene.env, TMPDIR=temporary))
        time.sleep(0.5)
        os.rmdir(gone)
        os.kill(pid, signal.SIGKILL)
        scene.checks.equal(f"{name}: the status", process.wait(timeout=20), 137)
        said = process.stderr.read()
        process.stderr.close()
        path = os.path.join(scene.folder, f"mallard.python3.{pid}.heap.pb.gz")
        wanted = (f"its last heap profile is {path}\n" if temporary == scene.folder else
                  f"cannot be written to ./mallard.python3.{pid}.heap.pb.gz: No such file or directory\n")
        scene.checks.check(f"{name}: one sentence", f"pid {pid} was ended by SIGKILL; its last heap profile" in said and wanted in said, said)
        scene.checks.equal(f"{name}: what is left", scene.left(), [os.path.basename(path)] if temporary == scene.folder else [])
        if os.path.exists(path):
            os.unlink(path)


def check_keep(scene):
    kept = os.path.join(scene.folder, "kept")
    scene.expect("--keep", ["run", "-q", "--keep", kept, "--", "/usr/bin/python3", "-c", "x=[bytes(1000) for i in range(50000)]"], 0)
    boxes = [name for name in os.listdir(kept) if name.endswith(".mallard")]
    scene.checks.check("--keep keeps the box of a clean exit", len(boxes) >= 1, os.listdir(kept))
    box = os.path.join(kept, boxes[0]) if boxes else "/proc/nonexistent"
    scene.expect("stat of a box", ["stat", box], 0, out="exited with 0")
    scene.expect("heap --text of a box", ["heap", "--text", box], 0, out="^heap profile: ")
    scene.expect("a file that is no box", ["stat", "/etc/passwd"], 1, err="cannot be read as a box")
    scene.expect("--keep where nothing can be", ["run", "--keep", "/proc/no", "--", "true"], 1, err="cannot keep boxes in /proc/no")


def fetch(port, path):
    return urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=10).read()


def check_obeyed(scene, box):
    """What a box's owner put into it, and a script's author into that, for a terminal to obey."""
    evil = "\033]0;evil\007\u009b31m\n"
    with open(box, "rb") as whole:
        data = bytearray(whole.read())
    data = data.replace(b"/usr/bin/python3", b"\033[31m\xc2\x9b1m\x07\x7f\x9b4567")
    trace = struct.unpack_from("<Q", data, 24 + 7 * 16)[0]  # the eighth section; see box/layout.h
    begin = trace + 64 + struct.unpack_from("<Q", data, trace)[0]  # behind what there is: it is little
    text = evil.encode()
    struct.pack_into("<Q", data, trace, begin - trace - 64 + len(text))
    data[begin:begin + len(text)] = text
    path = os.path.join(scene.folder, "obeyed.mallard")
    with open(path, "wb") as file:
        file.write(data)
    script = os.path.join(scene.folder, "script")
    with open(script, "w", encoding="utf-8") as file:
        file.write("#!" + evil)
    for command in (["stat", path], ["trace", path], ["heap", path, "--text"], ["check", script]):
        done = subprocess.run([scene.mallard, *command], env=scene.env, capture_output=True, check=False, timeout=60)
        said = done.stdout.decode(errors="surrogateescape")
        bad = {c for c in said if c not in "\n\t" and (c < " " or "\x7f" <= c < "\xa0" or "\udc80" <= c <= "\udcff")}
        scene.checks.check(f"{command[0]} prints nothing that a terminal obeys", said and not bad, f"{bad} in {said[-300:]!r}")
        scene.checks.check(f"{command[0]} shows the rest", command[0] == "heap" or "31m" in said, said[-300:])
    os.unlink(path)
    os.unlink(script)


def check_readers(scene):
    process, port, pid = scene.start(program=("/usr/bin/python3", "-c", WORKER))
    live.wait_until(lambda: live.answers("127.0.0.1", port, "/debug/pprof/heap"))
    time.sleep(0.5)
    scene.expect("ps", ["ps"], 0, out=rf"\n +{pid}  running .*python3")
    scene.expect("stat", ["stat", str(pid)], 0, out=rf"{pid} .*running")
    done = scene.expect("stat --json", ["stat", "--json", str(pid)], 0)
    stats = json.loads(done.stdout)
    scene.checks.check("stat --json has Go's and our names", stats["HeapAlloc"] > 10 << 20 and "heap_alloc_bytes" in stats["Mallard"])
    for command in ("heap", "allocs"):
        path = os.path.join(scene.folder, command)
        scene.expect(f"{command} -o", [command, str(pid), "-o", path], 0)
        scene.checks.check(f"{command} -o writes a profile", len(gzip.open(path).read()) > 100)
        scene.expect(f"{command} --text", [command, str(pid), "--text"], 0, out="^heap profile: .*@ heap/1048576")
        data = subprocess.run([scene.mallard, command, str(pid)], env=scene.env, capture_output=True, check=False).stdout
        scene.checks.check(f"{command} to a pipe", data[:2] == b"\x1f\x8b")
    scene.expect("a file that cannot be written", ["heap", str(pid), "-o", "/no/such/file"], 1, err="cannot write /no/such/file")
    scene.expect("trace", ["trace", str(pid)], 0)
    scene.expect("a letter with its value", ["top", str(pid), "-n1"], 0, out=rf"^pid {pid} ")
    scene.expect("another start of a living pid", ["stat", f"{pid}.1"], 1, err=rf"there is no process {pid}\.1, and nothing")
    torn = os.path.join(scene.folder, "torn.mallard")
    boxes = glob.glob(os.path.join(scene.boxes, "**", f"{pid}.*.mallard"), recursive=True)
    for bytes_left in (0, 100, 4096, 100000):
        with open(boxes[0], "rb") as whole, open(torn, "wb") as file:
            file.write(whole.read(bytes_left))
        for command in (["stat"], ["heap", "-o", "/dev/null"], ["trace"], ["top", "-n", "1"], ["report", "-o", "/dev/null"]):
            scene.expect(f"{command[0]} of the first {bytes_left} bytes of a box", [command[0], torn, *command[1:]], 1,
                         err=r"^mallard: \S+ cannot be read as a box: it is no box, or only a part of one\n$")
    os.unlink(torn)
    check_obeyed(scene, boxes[0])
    scene.expect("check of a process that runs on Mallard", ["check", str(pid)], 0, out="works\n$")
    page = fetch(port, "/").decode()
    scene.checks.check("the server lists the process", re.search(rf"/p/{pid}\.\d+/debug/pprof/", page))
    scene.checks.equal("by prefix", fetch(port, f"/p/{pid}/debug/pprof/cmdline").split(b"\0")[0], b"/usr/bin/python3")
    scene.checks.equal("by parameter", fetch(port, f"/debug/pprof/cmdline?proc={pid}").split(b"\0")[0], b"/usr/bin/python3")
    live.stop(process)
    for name in scene.left():
        os.unlink(os.path.join(scene.folder, name))


def check_tree(scene):
    """A shell with two children: all three are there, the shell is the default."""
    script = f"/usr/bin/python3 -c \"{WORKER}\" & /usr/bin/python3 -c \"{WORKER}\" & wait"
    process, port, pid = scene.start(program=("sh", "-c", script))
    found = live.wait_until(lambda: fetch(port, "/").decode().count("/debug/pprof/\"") >= 3)
    scene.checks.check("the whole tree is served", found, fetch(port, "/").decode())
    scene.checks.check("the default is what was started", fetch(port, "/debug/pprof/cmdline").startswith(b"sh\0"))
    samples = re.findall(r'mallard_process_alive\{pid="(\d+)"', fetch(port, "/metrics").decode())
    scene.checks.check("/metrics has all of them", len(samples) >= 3 and str(pid) in samples, samples)
    children = [int(one) for one in samples if int(one) != pid]
    live.stop(process)
    scene.checks.check("descendants live on", all(os.path.exists(f"/proc/{one}") for one in children))
    scene.checks.equal("and keep their folder", len(scene.runs()), 1)
    scene.expect("mallard ps still sees them", ["ps"], 0, out=rf"\n +{children[0]}  running")
    for one in children:
        os.kill(one, signal.SIGKILL)
    live.wait_until(lambda: not any(os.path.exists(f"/proc/{one}") for one in children))
    scene.expect("another run", ["run", "-q", "--", "true"], 0)
    scene.checks.equal("another run removes what is left", scene.runs(), [])
    for name in scene.left():
        os.unlink(os.path.join(scene.folder, name))


def check_rights(scene):
    """Who asks decides: what is setuid for root gives root nothing, and others' processes are theirs."""
    scene.expect("check of a setuid program", ["check", "/bin/su"], *((0, "gives you no additional.*\n(.*\n)*.*other users get it without")
                                                                      if os.geteuid() == 0 else (1, "problem +it is setuid")))
    if os.geteuid() != 0:
        return
    ours = subprocess.Popen(["sleep", "600"])
    try:
        done = subprocess.run(["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", scene.mallard, "check", str(ours.pid)],
                              env=scene.env, text=True, capture_output=True, check=False)
        scene.checks.check("check of another user's process",
                           done.returncode == 1 and done.stdout.endswith("does not work: it is another user's, and only they and root may look\n"),
                           done.stdout + done.stderr)
    finally:
        ours.kill()
        ours.wait()


IDLE_MOST = 10  # where the machine is busy some are late with their last allocation, and have a box


def is_listed(scene, pid):
    return re.search(rf"^ +{pid}  running", scene.run("ps").stdout, re.M)


def check_idle(scene):
    """Who allocates nothing after its first 20 ms has no box, unless it asked for one."""
    library = os.path.join(os.path.dirname(scene.mallard), "libmallard.so.0")
    env = dict(scene.env, LD_PRELOAD=library)
    programs = [subprocess.Popen(["sleep", "600"], env=env) for _ in range(IDLE_MOST)]
    eager = subprocess.Popen(["sleep", "600"], env=dict(env, MALLARD_EAGER="1"))
    try:
        listed = live.wait_until(lambda: is_listed(scene, eager.pid), 10)
        scene.checks.check("MALLARD_EAGER=1: an idle process has a box", listed, scene.run("ps").stdout)
        idle = next((one for one in programs if not is_listed(scene, one.pid)), None)
        scene.checks.check("without it it has none", idle is not None, scene.run("ps").stdout)
        if idle is not None:
            scene.expect("and check says so", ["check", str(idle.pid)], 1,
                         out="ok +libmallard is loaded in it\n(.*\n)*.*has none yet: it has hardly allocated\n$")
    finally:
        for program in programs + [eager]:
            program.kill()
            program.wait()


def check_check(scene):
    scene.expect("check of a program", ["check", "ls"], 0, out="works\n$")
    scene.expect("check of a path", ["check", "/bin/ls"], 0, out="works\n$")
    scene.expect("check of nothing", ["check", "/no/such"], 1, out="does not work: there is no such program")
    scene.expect("check of a folder", ["check", "/etc"], 1, out="does not work: it is a folder")
    check_rights(scene)
    check_idle(scene)
    scene.expect("check of text", ["check", "/etc/passwd"], 1, out="neither an ELF file nor a script")
    scene.expect("check of a process without Mallard", ["check", str(os.getpid())], 1, out="was not started with Mallard")
    script = os.path.join(scene.folder, "script")
    for first in ("#!/bin/sh", "#!/usr/bin/env sh", "#! /usr/bin/env -S sh -e"):
        with open(script, "w", encoding="ascii") as out:
            out.write(first + "\n")
        scene.expect(f"check of a script: {first}", ["check", script], 0, out=r"is a script for .*\n[^$]*works\n$")
    with open(script, "w", encoding="ascii") as out:
        out.write(f"#!{script}\n")
    scene.expect("check of a script that runs itself", ["check", script], 1)
    program = os.path.join(scene.folder, "program")
    own = "void *malloc(unsigned long n) { (void)n; return 0; }\nint main(void) { return malloc(1) != 0; }\n"
    builds = {
        "a static program": ("-static", "int main(void) { return 0; }\n", "statically linked"),
        "a program that exports malloc": ("-fno-builtin", own, "exports it"),
        "a program with a malloc inside": ("-fno-builtin", "static __attribute__((noinline)) " + own, "malloc of its own"),
    }
    for name, (flag, text, wanted) in builds.items():
        built = subprocess.run(["gcc", "-w", "-x", "c", "-", "-o", program, flag], input=text, text=True,
                               capture_output=True, check=False)
        scene.checks.equal(f"{name} can be built", built.returncode, 0)
        scene.expect(f"check of {name}", ["check", program], 1, out=f"does not work: .*{wanted}")
    shutil.copy("/bin/ls", program)
    os.chmod(program, 0o4755)
    if os.getuid() == 0:
        os.chown(program, 65534, 65534)
        os.chmod(program, 0o4755)
        scene.expect("check of a setuid program", ["check", program], 1, out="ignores LD_PRELOAD")


class Terminal:
    """A program on a terminal of its own: what it wrote, and keys for it."""

    def __init__(self, scene, path, *arguments, **more):
        self.seen = b""
        self.pid, self.fd = pty.fork()
        if self.pid == 0:
            os.chdir(scene.folder)
            os.execve(path, [path, *arguments], dict(scene.env, **more))

    def read_until(self, text, after=0, seconds=10):
        end = time.monotonic() + seconds
        while text not in self.seen[after:] and time.monotonic() < end:
            if not select.select([self.fd], [], [], 0.2)[0]:
                continue
            try:
                self.seen += os.read(self.fd, 4096)
            except OSError:
                break
        return text in self.seen[after:]

    def type(self, keys):
        os.write(self.fd, keys)

    def close(self):
        """The program's status; one that does not end is killed."""
        if not live.wait_until(lambda: self.ended() is not None, 10):
            os.killpg(self.pid, signal.SIGKILL)
        os.close(self.fd)
        return self.ended()

    def ended(self):
        if not hasattr(self, "status"):
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid == 0:
                return None
            self.status = os.waitstatus_to_exitcode(status)
        return self.status


def check_terminal(scene):
    """Ctrl-C from a terminal reaches the program once, though both of us are sent it."""
    script = "trap 'echo INT; n=$((n+1))' INT; trap 'echo n=$n; exit 5' TERM; n=0; echo ready; while :; do sleep 0.05; done"
    terminal = Terminal(scene, scene.mallard, "run", "-q", "--http", "off", "--", "sh", "-c", script)
    scene.checks.check("runs in a terminal", terminal.read_until(b"ready"), terminal.seen)
    terminal.type(b"\x03")
    scene.checks.check("Ctrl-C arrives", terminal.read_until(b"INT\r\n"), terminal.seen)
    time.sleep(0.3)
    os.kill(terminal.pid, signal.SIGTERM)
    scene.checks.check("Ctrl-C arrived once", terminal.read_until(b"n=1"), terminal.seen)
    scene.checks.equal("status through a terminal", terminal.close(), 5)


def check_job_control(scene):
    """A shell with job control: Ctrl-Z gives the prompt back, fg goes on. The program forks nothing:
    a shell that is stopped within vfork hangs with and without us."""
    terminal = Terminal(scene, "/bin/bash", "--norc", "-i", PS1="P> ", HISTFILE="")
    program = "/usr/bin/python3 -c 'import time; print(\"rea\" \"dy\", flush=True); time.sleep(600)'"
    terminal.type(f"{scene.mallard} run -q --http off -- {program}\n".encode())
    scene.checks.check("runs under a shell", terminal.read_until(b"ready\r\n"), terminal.seen)
    terminal.type(b"\x1a")
    scene.checks.check("Ctrl-Z stops the job", terminal.read_until(b"Stopped"), terminal.seen)
    at = len(terminal.seen)
    terminal.type(b"fg; echo st''atus=$?\n")
    time.sleep(0.5)
    terminal.type(b"\x03")
    scene.checks.check("fg continues it and Ctrl-C ends it", terminal.read_until(b"status=1", at), terminal.seen[at:])
    terminal.type(b"exit\n")
    terminal.close()
    for name in scene.left():
        os.unlink(os.path.join(scene.folder, name))


def main(arguments):
    if len(arguments) != 1:
        print(__doc__, file=sys.stderr)
        return 2
    checks = live.Checks()
    steps = (check_usage, check_missing, check_other_version, check_statuses, check_output, check_addresses, default_port, check_signals, check_death,
             check_death_nowhere, check_keep, check_readers, check_tree, check_check, check_terminal, check_job_control)
    for step in steps:
        with tempfile.TemporaryDirectory() as folder:
            step(Scene(checks, arguments[0], folder))
    return checks.finish()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
