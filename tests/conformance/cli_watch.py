#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""What the mallard command shows of many processes, of two moments and of the dead: top (plain and
with keys in a terminal), diff, ps -a, what was kept, report.

    cli_watch.py MALLARD [MALLARDD]

With MALLARDD also what a real daemon kept; without it only what such a folder looks like.
"""
import fcntl
import gzip
import html.parser
import json
import os
import re
import shutil
import signal
import struct
import subprocess
import sys
import tempfile
import termios
import time

import cli
import live

# Holds 40 MB in small pieces, then allocates and frees a little for ever.
HOLDER = ("import time\nx = [bytes(1000) for i in range(40000)]\nprint('ready', flush=True)\n"
          "while True:\n    y = [bytes(1000) for i in range(1000)]\n    time.sleep(0.05)\n")
# Holds 10 MB, and 10 MB more for each line that it reads.
GROWER = ("import sys\nx = []\nwhile True:\n    x.append([bytes(1000) for i in range(10000)])\n"
          "    print('ready', flush=True)\n    sys.stdin.readline()\n")


class Running:
    """A program under mallard run that said it is ready."""

    def __init__(self, scene, script, *options, **knobs):
        self.process = subprocess.Popen([scene.mallard, "run", "-q", "--http", "off", *options, "--", "/usr/bin/python3", "-c", script],
                                        cwd=scene.folder, env=dict(scene.env, **knobs), text=True, stdin=subprocess.PIPE,
                                        stdout=subprocess.PIPE)
        self.process.stdout.readline()
        with open(f"/proc/{self.process.pid}/task/{self.process.pid}/children", encoding="ascii") as children:
            self.pid = int(children.read().split()[0])

    def grow(self):
        print("more", file=self.process.stdin, flush=True)
        self.process.stdout.readline()

    def kill(self, number):
        os.kill(self.pid, number)
        self.process.wait(timeout=20)

    def stop(self):
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(timeout=20)
        self.process.stdin.close()
        self.process.stdout.close()


def clean(scene):
    for name in scene.left():
        os.unlink(os.path.join(scene.folder, name))


# ---- top

def check_top_usage(scene):
    scene.expect("top of nothing", ["top"], 0, out=r"^mallard top \d\d:\d\d:\d\d +0 processes .*\n +PID +RSS +LIVE +GROWTH/H +ALLOC/S +OBJ/S +CACHES +FREE +COMMAND\n$")
    for bad in (["-n", "0"], ["-n", "x"], ["-d", "0"], ["-d", "1s"], ["-d", "-1"], ["--sort", "colour"], ["1", "--sort", "rss"]):
        scene.expect(f"top {' '.join(bad)}", ["top", *bad], 2, err="^mallard: .*see 'mallard help top'")
    scene.expect("top of a process without a box", ["top", "1"], 1, err="has no box here")


def check_top_plain(scene):
    small = Running(scene, GROWER)
    large = Running(scene, HOLDER, MALLARD_MEMPROFILERATE="65536")
    published = live.wait_until(lambda: re.search(rf"\n +{large.pid} +.* MiB", scene.run("top").stdout), 10)
    scene.checks.check("top sees both", published)
    still = live.wait_until(lambda: re.search(rf"^ +{small.pid} +.* MiB +- +0 B +0 ", scene.run("top").stdout, re.MULTILINE), 10)
    scene.checks.check("what holds still allocates nothing", still, scene.run("top").stdout)
    moving = live.wait_until(lambda: re.search(rf"^ +{large.pid} +.* MiB +- +[\d.]+ MiB +\d+ ", scene.run("top").stdout, re.MULTILINE), 10)
    scene.checks.check("what allocates has rates after its second row", moving, scene.run("top").stdout)
    done = scene.expect("plain top", ["top"], 0, out=r"^mallard top .* 2 processes   RSS .* MiB   live ")
    rows = done.stdout.splitlines()[2:]
    scene.checks.equal("one round, ordered by RSS", [int(row.split()[0]) for row in rows], [large.pid, small.pid])
    found = re.search(rf"^ +{large.pid} +[\d.]+ MiB +([\d.]+) MiB +- +([\d.]+) MiB +(\d+) ", done.stdout, re.MULTILINE)
    scene.checks.check("live bytes, rates, no growth yet", found and float(found[1]) >= 40 and float(found[2]) > 5 and int(found[3]) > 5000, rows)
    scene.checks.check("no sequences in plain output", "\033" not in done.stdout)
    done = scene.expect("by pid", ["top", "--sort", "pid"], 0)
    scene.checks.equal("in that order", [int(row.split()[0]) for row in done.stdout.splitlines()[2:]], sorted((large.pid, small.pid)))
    done = scene.expect("two rounds", ["top", "-n", "2", "-d", "0.2"], 0)
    scene.checks.equal("two tables", done.stdout.count("COMMAND"), 2)
    done = scene.expect("top of one process", ["top", str(large.pid), "-n", "2", "-d", "1"], 0, out=rf"^pid {large.pid} .*   running   RSS ")
    tables = done.stdout.split("\n\n")
    last = tables[-1].splitlines()
    scene.checks.check("its columns", re.fullmatch(r" +FLAT +CUM +OBJECTS +ALLOC/S +FUNCTION", last[1]), last[:2])
    first = re.match(r" +([\d.]+) MiB +([\d.]+) MiB +(\d+) ", last[2])
    scene.checks.check("the first function holds the memory", first and 30 < float(first[1]) < 60 and int(first[3]) > 30000, last[2])
    scene.checks.check("and somebody allocates", re.search(r"^ .* MiB  \S+$", tables[-1].split("OBJECTS")[1], re.MULTILINE), last)
    done = scene.expect("by function", ["top", str(large.pid), "--sort", "function"], 0)
    names = [line.split("  ")[-1] for line in done.stdout.splitlines()[2:]]
    scene.checks.equal("in that order too", names, sorted(names))
    large.stop()
    small.stop()
    clean(scene)


def screen(terminal, at):
    """What was drawn since byte `at`, as lines without sequences."""
    text = terminal.seen[at:].decode(errors="replace").replace("\033[H", "\n").replace("\r", "")
    return re.sub(r"\033\[[?\d;]*[A-Za-z]", "", text)


def resize(terminal, rows, columns):
    fcntl.ioctl(terminal.fd, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))


def is_restored(terminal):
    return b"\033[?1049l" in terminal.seen and b"\033[?25h" in terminal.seen


def mode_of(terminal):
    flags = termios.tcgetattr(terminal.fd)[3]
    return bool(flags & termios.ICANON), bool(flags & termios.ECHO)


def top_terminal(scene, *arguments, **more):
    terminal = cli.Terminal(scene, scene.mallard, "top", "-d", "0.3", *arguments, TERM="xterm", **more)
    resize(terminal, 20, 100)
    return terminal


def pressed(terminal, keys, wanted, seconds=10):
    """Types keys and waits for what they should draw."""
    at = len(terminal.seen)
    terminal.type(keys)
    end = time.monotonic() + seconds
    while time.monotonic() < end and not re.search(wanted, screen(terminal, at)):
        terminal.read_until(b"\033[J", len(terminal.seen), 0.3)
    return bool(re.search(wanted, screen(terminal, at)))


def widest(terminal):
    """Of the next whole picture."""
    at = len(terminal.seen)
    terminal.read_until(b"\033[J", at)
    at = terminal.seen.rfind(b"\033[H", 0, terminal.seen.rfind(b"\033[J"))
    return max(len(line) for line in screen(terminal, at).split("\n"))


def check_top_keys(scene):
    programs = [Running(scene, HOLDER), Running(scene, GROWER)]
    live.wait_until(lambda: re.search(r"top .* 2 processes.*live [^0]", scene.run("top").stdout), 10)
    terminal = top_terminal(scene)
    checks = scene.checks
    checks.check("top draws", pressed(terminal, b"", rf"\n> +{programs[0].pid} "), terminal.seen[-600:])
    checks.check("on a screen of its own", b"\033[?1049h" in terminal.seen and b"\033[?25l" in terminal.seen)
    checks.equal("with keys at once and no echo", mode_of(terminal), (False, False))
    checks.check("with colours", b"\033[7m> " in terminal.seen)
    checks.check("down", pressed(terminal, b"j", rf"\n> +{programs[1].pid} "), screen(terminal, -2000))
    checks.check("up, by an arrow", pressed(terminal, b"\033[A", rf"\n> +{programs[0].pid} "))
    checks.check("the next order", pressed(terminal, b"s", "order: live "))
    checks.check("pause", pressed(terminal, b"p", "PAUSED"))
    checks.check("and on", pressed(terminal, b"p", r"every 0\.3 s   \?"))
    checks.check("the list of keys", pressed(terminal, b"?", "any key: back"))
    checks.check("any key leads back", pressed(terminal, b"x", "COMMAND"))
    checks.check("Enter opens the call sites", pressed(terminal, b"\r", rf"pid {programs[0].pid} .*\n.*\n.*\n +FLAT +CUM"), screen(terminal, -2000))
    checks.check("the letter O alone does nothing, Esc leads back", pressed(terminal, b"O", "FLAT") and pressed(terminal, b"\033", "COMMAND"))
    resize(terminal, 6, 40)
    checks.check("a new size is drawn, and no line is wider", live.wait_until(lambda: widest(terminal) <= 40, 10), widest(terminal))
    terminal.type(b"q")
    terminal.read_until(b"\033[?1049l")
    checks.check("q gives the terminal back", is_restored(terminal))
    checks.equal("with its mode", mode_of(terminal), (True, True))
    checks.equal("q is no failure", terminal.close(), 0)
    for program in programs:
        program.stop()
    clean(scene)


def check_top_process_on_terminal(scene):
    program = Running(scene, HOLDER)
    terminal = top_terminal(scene, str(program.pid))
    checks = scene.checks
    checks.check("top PID opens the call sites", pressed(terminal, b"", r"running .*\n.*\n.*\n +FLAT +CUM"))
    checks.check("there is nothing to go back to", pressed(terminal, b"\033", "FLAT"))
    program.kill(signal.SIGKILL)
    checks.check("the end of the process is said", pressed(terminal, b"", "was killed"), screen(terminal, -600))
    terminal.type(b"q")
    checks.equal("top of a process that ended ends well", terminal.close(), 0)
    program.stop()
    clean(scene)


def check_top_ends(scene):
    checks = scene.checks
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT, signal.SIGSEGV):
        terminal = top_terminal(scene)
        pressed(terminal, b"", "COMMAND")
        os.kill(terminal.pid, number)
        terminal.read_until(b"\033[?1049l")
        checks.check(f"{number.name} gives the terminal back", is_restored(terminal), terminal.seen[-200:])
        checks.equal(f"{number.name}: with its mode", mode_of(terminal), (True, True))
        checks.equal(f"{number.name} ends top as a signal", terminal.close(), -number)
    terminal = top_terminal(scene)
    pressed(terminal, b"", "COMMAND")
    terminal.type(b"\x03")
    terminal.read_until(b"\033[?1049l")
    checks.check("Ctrl-C gives the terminal back", is_restored(terminal))
    checks.equal("Ctrl-C ends it", terminal.close(), -signal.SIGINT)
    terminal = top_terminal(scene, "-n", "2")
    checks.check("-n ends by itself", terminal.read_until(b"\033[?1049l") and is_restored(terminal))
    checks.equal("and well", terminal.close(), 0)


def check_top_stops(scene):
    """Ctrl-Z under a shell: the terminal is the shell's meanwhile, and top's again after fg."""
    terminal = cli.Terminal(scene, "/bin/bash", "--norc", "-i", PS1="P> ", HISTFILE="", TERM="xterm")
    resize(terminal, 20, 100)
    checks = scene.checks
    at = len(terminal.seen)
    terminal.type(f"{scene.mallard} top -d 0.3\n".encode())
    checks.check("top under a shell", terminal.read_until(b"COMMAND", at), terminal.seen[at:])
    at = len(terminal.seen)
    terminal.type(b"\x1a")
    checks.check("Ctrl-Z stops it", terminal.read_until(b"Stopped", at), terminal.seen[at:])
    checks.check("and gives the terminal back first", b"\033[?1049l" in terminal.seen[at:].split(b"Stopped")[0])
    at = len(terminal.seen)
    terminal.type(b"fg\n")
    checks.check("fg takes the screen again", terminal.read_until(b"\033[?1049h", at) and terminal.read_until(b"COMMAND", at), terminal.seen[at:])
    at = len(terminal.seen)
    terminal.type(b"q")
    checks.check("q still works", terminal.read_until(b"\033[?1049l", at), terminal.seen[at:])
    terminal.type(b"echo st''atus=$?; exit\n")
    checks.check("and is no failure", terminal.read_until(b"status=0", at), terminal.seen[at:])
    terminal.close()


def check_top_without_terminal(scene):
    checks = scene.checks
    terminal = top_terminal(scene, "-n", "1", NO_COLOR="1")
    terminal.read_until(b"\033[?1049l")
    checks.check("NO_COLOR: no colours", b"\033[?1049h" in terminal.seen and not re.search(rb"\033\[\d*m", terminal.seen.replace(b"\033[0m\033[?7h", b"")), terminal.seen[-600:])
    terminal.close()
    terminal = cli.Terminal(scene, scene.mallard, "top", TERM="dumb")
    checks.check("a dumb terminal: plain", terminal.read_until(b"COMMAND") and b"\033" not in terminal.seen, terminal.seen)
    checks.equal("one round of it", terminal.close(), 0)


def check_hostile_names(scene):
    """A process that names itself with sequences and wide characters cannot draw."""
    name = "\033[2Jx\u202e\u6f22\u5b57" + "\u6f22" * 100
    script = "import time; print('ready', flush=True); time.sleep(600)"
    process = subprocess.Popen([scene.mallard, "run", "-q", "--http", "off", "--", "/usr/bin/python3", "-c", script, name],
                               cwd=scene.folder, env=scene.env, text=True, stdout=subprocess.PIPE)
    process.stdout.readline()
    live.wait_until(lambda: "\u6f22" in scene.run("ps").stdout)
    checks = scene.checks
    for command in ("ps", "top"):
        out = scene.run(command).stdout
        checks.check(f"{command}: sequences of others are harmless", "\033" not in out and "?[2Jx?\u6f22\u5b57" in out, out)
    terminal = top_terminal(scene, "-n", "1")
    resize(terminal, 10, 130)
    terminal.read_until(b"\033[?1049l")
    checks.check("top draws no sequence of others", b"\033[2J" not in terminal.seen, terminal.seen[-600:])
    terminal.close()
    process.send_signal(signal.SIGTERM)
    process.wait(timeout=10)
    process.stdout.close()
    clean(scene)


# ---- diff

def figure(text):
    units = {"B": 1, "KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30}
    value, unit = text.split()
    return float(value) * units[unit]


def change_of(done):
    """The total change in bytes that diff printed."""
    found = re.search(r"^inuse_space: (.+? \w+) before, (.+? \w+) after, ([+-]?.+? \w+)(?: in .*)?$", done.stdout, re.MULTILINE)
    return figure(found[3]) if found else None


def check_diff(scene):
    checks = scene.checks
    program = Running(scene, GROWER, MALLARD_MEMPROFILERATE="32768")  # some 700 samples: 4 % at one sigma
    before, after, difference = (os.path.join(scene.folder, name) for name in ("before.pb.gz", "after.pb.gz", "difference.pb.gz"))
    scene.expect("a profile before", ["heap", str(program.pid), "-o", before], 0)
    program.grow()
    program.grow()
    scene.expect("and after", ["heap", str(program.pid), "-o", after], 0)
    done = scene.expect("diff of files", ["diff", before, after, "-o", difference], 0, out=r"\n +FLAT +CUM +FUNCTION\n +\+[\d.]+ MiB")
    grown = change_of(done)
    checks.check("20 MB more, within the samples' error", grown and 17e6 < grown < 30e6, done.stdout)
    done = scene.expect("a file and the process now", ["diff", before, str(program.pid)], 0)
    now = change_of(done)  # its interpreter lives on: a sample or two may have come or gone
    checks.check("the process is what the file says", now and abs(now - grown) < 1e6, f"{now} where {grown} was expected")
    done = scene.expect("the other way", ["diff", after, before], 0)
    checks.equal("turns the sign", change_of(done), -grown)
    scene.expect("nothing changed", ["diff", after, after], 0, out="0 B\nno function changed\n$")
    done = scene.expect("one function", ["diff", before, after, "-top", "1"], 0, out=r"and \d+ more functions; --top 0 prints all\n$")
    checks.equal("is one line", len(done.stdout.splitlines()), 4)
    every = len(scene.run("diff", before, after, "--top", "0").stdout.splitlines()) - 2
    checks.check("and all are more", every > 5, every)
    scene.expect("objects", ["diff", before, after, "--type", "alloc_objects"], 0, out=r"^alloc_objects: \d+ before, \d+ after, \+\d+")
    top = subprocess.run(["go", "tool", "pprof", "-sample_index=inuse_space", "-top", "-unit=B", difference], capture_output=True, text=True, check=False)
    total = sum(int(one) for one in re.findall(r"^ *(-?\d+)B ", top.stdout, re.MULTILINE))
    checks.check("go tool pprof reads the difference", "Type: inuse_space" in top.stdout and abs(total - grown) < 1 << 18, (top.stdout, top.stderr, grown))
    with gzip.open(difference) as file:
        checks.check("which is gzipped", len(file.read()) > 100)
    pipe = subprocess.run([scene.mallard, "diff", before, after, "-o", "-"], env=scene.env, capture_output=True, check=False).stdout
    with open(difference, "rb") as file:
        checks.equal("-o - is the same profile and no table", pipe, file.read())
    program.stop()
    check_diff_usage(scene, before)
    clean(scene)


def check_diff_usage(scene, profile):
    scene.expect("diff of nothing", ["diff"], 2, err="diff needs two profiles")
    scene.expect("diff of one", ["diff", profile], 2, err="diff needs two profiles")
    scene.expect("diff of three", ["diff", profile, profile, profile], 2, err="takes two arguments")
    scene.expect("a number that is none", ["diff", profile, profile, "--top", "x"], 2, err="--top needs a number")
    scene.expect("a type that is none", ["diff", profile, profile, "--type", "cpu"], 1, err="has no values of type cpu, only alloc_objects")
    scene.expect("a file that is none", ["diff", profile, "nowhere.pb.gz"], 1, err="nowhere.pb.gz cannot be read: No such file")
    scene.expect("a file of something else", ["diff", profile, "/etc/passwd"], 1, err="it is neither a profile nor a box")
    scene.expect("a process that is none", ["diff", profile, "1"], 1, err="process 1 has no box here")
    scene.expect("a time that is none", ["diff", profile, "1@25:00"], 1, err="'25:00' is no time")
    scene.expect("a file that cannot be written", ["diff", profile, profile, "-o", "/no/such"], 1, err="cannot write /no/such")
    damaged = os.path.join(scene.folder, "damaged.pb.gz")
    with open(profile, "rb") as file:
        data = file.read()
    for length in (2, 20, len(data) // 2, len(data) - 4):
        with open(damaged, "wb") as file:
            file.write(data[:length])
        scene.expect(f"a profile cut to {length} bytes", ["diff", profile, damaged], 1, err="damaged.pb.gz cannot be read: it is no profile")


def check_progress(scene):
    """A line while names are read, gone afterwards, and only on a terminal."""
    box, _ = a_dead_box(scene, signal.SIGKILL)
    terminal = cli.Terminal(scene, scene.mallard, "heap", box, "-o", "h.pb.gz", TERM="xterm")
    terminal.read_until(b"\r\033[K", 10)
    scene.checks.equal("heap on a terminal ends well", terminal.close(), 0)
    scene.checks.check("says what it does, and takes it back", re.fullmatch(rb"\r\033\[Kreading the heap of [^\r\n]* \.\.\.\r\033\[K", terminal.seen), terminal.seen)
    scene.expect("elsewhere it is silent", ["heap", box, "-o", "h.pb.gz"], 0, out="^$", err="^$")
    clean(scene)


# ---- the dead

class Kept:
    """A keep folder as the daemon writes it, with one process in it."""

    def __init__(self, scene, name, box, death, boot="0123abcd"):
        self.path = os.path.join(scene.folder, name)
        pid, start = os.path.basename(box).split(".")[:2]
        self.pid = int(pid)
        self.folder = os.path.join(self.path, f"{pid}.{start}.{boot}")
        os.makedirs(self.folder, mode=0o700)
        os.chmod(self.path, 0o700)
        with open(os.path.join(self.folder, "facts"), "w", encoding="ascii") as facts:
            facts.write(f"pid={pid}\nstart_ticks={start}\nboot={boot}\nuid={os.getuid()}\nexe=/usr/bin/python3\n"
                        f"cmdline=/usr/bin/python3\\x00kept.py\nended_unix_ns={1_700_000_000_000_000_000}\n{death}")
        shutil.copyfile(box, os.path.join(self.folder, "box"))

    def add_profile(self, unix_s, data):
        with open(os.path.join(self.folder, f"heap.{unix_s}.pb.gz"), "wb") as file:
            file.write(data)


def a_dead_box(scene, number):
    """The box of a program that was killed, and its pid."""
    boxes = os.path.join(scene.folder, "dead")
    program = Running(scene, GROWER, "--keep", boxes)
    program.grow()
    live.wait_until(lambda: box_in(boxes) and re.search(r"live objects +[2-9]\d[\d.]* MiB", scene.run("stat", box_in(boxes)).stdout), 10)
    program.kill(number)
    program.stop()
    return box_in(boxes), program.pid


def box_in(folder):
    found = [name for name in os.listdir(folder) if name.endswith(".mallard")] if os.path.isdir(folder) else []
    return os.path.join(folder, found[0]) if found else ""


def check_how_it_ended(scene):
    checks = scene.checks
    box, pid = a_dead_box(scene, signal.SIGUSR1)
    scene.env["MALLARD_DIR"] = os.path.dirname(box)
    checks.check("ps leaves the dead out", str(pid) not in scene.run("ps").stdout)
    scene.expect("ps -a tells the signal that mallard run saw", ["ps", "-a"], 0, out=rf"ENDED  COMMAND\n(?:.*\n)* *{pid}  SIGUSR1 .* \d\d:\d\d:\d\d  /usr/bin/python3 ")
    scene.env["MALLARD_DIR"] = scene.boxes
    done = subprocess.run([scene.mallard, "run", "-q", "--http", "off", "--keep", "clean", "--", "/usr/bin/python3", "-c", "raise SystemExit(3)"],
                          cwd=scene.folder, env=scene.env, check=False)
    checks.equal("a program that exits", done.returncode, 3)
    scene.env["MALLARD_DIR"] = os.path.join(scene.folder, "clean")
    scene.expect("ps -a tells the status", ["ps", "-a"], 0, out=r"\n +\d+  exit 3 ")
    scene.env["MALLARD_DIR"] = scene.boxes
    clean(scene)


def check_kept(scene):
    checks = scene.checks
    box, pid = a_dead_box(scene, signal.SIGKILL)
    profile = subprocess.run([scene.mallard, "heap", box], env=scene.env, capture_output=True, check=True).stdout
    kept = Kept(scene, "kept", box, "death=oom\nsignal=9\nsentence=the group reached its limit\n")
    now = int(time.time())
    for age in (3600, 1800, 60):
        kept.add_profile(now - age, profile)
    shutil.rmtree(os.path.dirname(box))
    checks.check("without the folder nobody knows it", str(pid) not in scene.run("ps", "-a").stdout)
    keep = ["--keep", kept.path]
    scene.expect("ps -a finds it", ["ps", "-a", *keep], 0, out=rf"\n +{pid}  OOM +[\d.]+ MiB +[\d.]+ MiB .* 2023-11-14  /usr/bin/python3 kept\.py\n$")
    checks.check("ps does not", str(pid) not in scene.run("ps", *keep).stdout)
    scene.expect("stat says why it died", ["stat", str(pid), *keep], 0, out=rf"^{pid} .*  the group reached its limit, last seen after .*\n +resident +[\d.]+ MiB")
    scene.expect("trace", ["trace", str(pid), *keep], 0)
    scene.expect("heap --text", ["heap", str(pid), "--text", *keep], 0, out="^heap profile: ")
    scene.expect("allocs", ["allocs", str(pid), "-o", "allocs", *keep], 0)
    scene.expect("top of a dead process", ["top", str(pid), *keep], 0, out=rf"^pid {pid} .* was killed ")
    scene.expect("without it", ["stat", str(pid)], 1, err=f"there is no process {pid}, and nothing of one was kept")
    scene.expect("by PID.START", ["stat", os.path.basename(kept.folder).rsplit(".", 1)[0], *keep], 0)
    scene.expect("another PID.START", ["stat", f"{pid}.1", *keep], 1, err=f"there is no process {pid}.1, ")
    scene.env["MALLARD_KEEP_DIR"] = kept.path
    scene.expect("by MALLARD_KEEP_DIR", ["stat", str(pid)], 0)
    check_stored(scene, kept, profile, now)
    os.unlink(os.path.join(kept.folder, "box"))
    scene.expect("a process without a box", ["stat", str(pid)], 1, err=f"only profiles are left; 'mallard heap {pid}'")
    scene.expect("ps -a lists it all the same", ["ps", "-a"], 0, out=rf"\n +{pid}  OOM +- +- +- +- ")
    heap = subprocess.run([scene.mallard, "heap", str(pid)], env=scene.env, capture_output=True, check=False).stdout
    checks.equal("heap gives its last profile", heap, profile)
    scene.expect("diff takes it", ["diff", str(pid), str(pid)], 0, out="no function changed")
    del scene.env["MALLARD_KEEP_DIR"]
    check_default_places(scene, kept)
    scene.expect("--keep of nothing", ["ps", "-a", "--keep", "/no/such"], 1, err="/no/such")
    clean(scene)


def check_stored(scene, kept, profile, now):
    checks = scene.checks
    pid = kept.pid
    at = lambda when: subprocess.run([scene.mallard, "heap", f"{pid}@{when}"], env=scene.env, capture_output=True, check=False)
    checks.equal("heap PID@TIME is the stored file", at("-10m").stdout, profile)
    checks.equal("by seconds", at(str(now - 1800)).stdout, profile)
    done = at("-2h")
    checks.check("before the first one", done.returncode == 1 and b"the oldest one kept is of" in done.stderr, done.stderr)
    scene.expect("diff of two times", ["diff", f"{pid}@-45m", f"{pid}@-10s"], 0, out="no function changed")
    scene.expect("diff of a time and the last state", ["diff", f"{pid}@-45m", str(pid)], 0, out="^inuse_space: ")
    scene.expect("allocs of a time", ["allocs", f"{pid}@-10m"], 1, err="what is stored of .* are heap profiles")


def check_default_places(scene, kept):
    """XDG_STATE_HOME and HOME, and a living process that is no news."""
    pid = kept.pid
    for variable, below in (("XDG_STATE_HOME", "mallard"), ("HOME", ".local/state/mallard")):
        home = os.path.join(scene.folder, variable)
        os.makedirs(os.path.dirname(os.path.join(home, below)), exist_ok=True)
        shutil.copytree(kept.path, os.path.join(home, below))
        env = dict(scene.env, **{variable: home})
        done = subprocess.run([scene.mallard, "ps", "-a"], env=env, capture_output=True, text=True, check=False)
        scene.checks.check(f"ps -a looks below {variable}", re.search(rf"\n +{pid}  OOM", done.stdout), done.stdout + done.stderr)


def check_kept_and_living(scene):
    checks = scene.checks
    program = Running(scene, GROWER)
    box = []
    live.wait_until(lambda: box.append(find_box(scene, program.pid)) or box[-1])
    with open("/proc/sys/kernel/random/boot_id", encoding="ascii") as boot:
        kept = Kept(scene, "kept", box[-1], "death=none\n", boot.read()[:8])
    done = scene.expect("a living process that is kept too", ["ps", "-a", "--keep", kept.path], 0)
    checks.equal("is listed once", len(re.findall(rf"^ +{program.pid}  running", done.stdout, re.MULTILINE)), 1)
    checks.equal("and nothing else is", len(done.stdout.splitlines()), 2)
    program.kill(signal.SIGKILL)
    program.stop()
    done = scene.expect("when it is dead it is", ["ps", "-a", "--keep", kept.path], 0, out=rf"\n +{program.pid}  killed ")
    checks.equal("once, too", len(done.stdout.splitlines()), 2)
    clean(scene)


def find_box(scene, pid):
    for folder, _, names in os.walk(scene.boxes):
        for name in names:
            if name.startswith(f"{pid}."):
                return os.path.join(folder, name)
    return ""


def check_hostile_keep(scene):
    """Whatever lies in a keep folder, the commands answer."""
    box, pid = a_dead_box(scene, signal.SIGKILL)
    kept = Kept(scene, "kept", box, "death=signal\nsignal=11\n")
    shutil.rmtree(os.path.dirname(box))
    for name, text in {"1.2.zzzzzzzz": "", "3.4.01234567": "pid=\n=\n\\x", "x": "", f"{pid}.999.0123abcd": "death=banana\nsignal=99999999999999\n"}.items():
        os.makedirs(os.path.join(kept.path, name))
        with open(os.path.join(kept.path, name, "facts"), "wb") as facts:
            facts.write(text.encode() + b"\xff\0\n")
    os.symlink("/etc", os.path.join(kept.path, "5.6.01234567"))
    os.mkfifo(os.path.join(kept.path, "3.4.01234567", "box"))
    with open(os.path.join(kept.path, f"{pid}.999.0123abcd", "box"), "wb") as file:
        file.write(os.urandom(100000))
    scene.expect("ps -a in a hostile keep folder", ["ps", "-a", "--keep", kept.path], 0, out=rf"\n +{pid}  SIGSEGV ")
    clean(scene)


def check_daemon(scene, mallardd):
    """A process that a daemon watched: its stored profiles while it lives, all of it when it is dead."""
    checks = scene.checks
    keep = os.path.join(scene.folder, "kept")
    daemon = subprocess.Popen([mallardd, "--http", "127.0.0.1:0", "--dir", scene.boxes, "--keep", keep, "--keep-every", "1"],
                              env=scene.env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    scene.env["MALLARD_KEEP_DIR"] = keep
    checks.check("mallardd is ready", "http://127.0.0.1:" in daemon.stdout.readline())
    program = Running(scene, GROWER)
    pid = program.pid
    stored = live.wait_until(lambda: scene.run("diff", f"{pid}@-0s", f"{pid}@-0s").returncode == 0, 30)
    checks.check("a profile of the living is stored", stored)
    scene.expect("diff of what was stored and now", ["diff", f"{pid}@-0s", str(pid)], 0, out="^inuse_space: ")
    program.kill(signal.SIGKILL)
    dead = live.wait_until(lambda: re.search(rf"\n +{pid}  SIGKILL ", scene.run("ps", "-a").stdout), 30)
    checks.check("ps -a: killed by SIGKILL", dead, scene.run("ps", "-a").stdout)
    sentence = live.wait_until(lambda: re.search(rf"^{pid} .*SIGKILL.*, last seen after", scene.run("stat", str(pid)).stdout), 30)
    checks.check("stat: and why", sentence, scene.run("stat", str(pid)).stdout)
    daemon.send_signal(signal.SIGTERM)
    checks.equal("mallardd ends", daemon.wait(timeout=20), 0)
    daemon.stdout.close()
    scene.expect("heap without a daemon", ["heap", str(pid), "-o", "last.pb.gz"], 0)
    scene.expect("report without a daemon", ["report", str(pid), "-o", "report.html"], 0)
    check_page(scene, "kept by mallardd", os.path.join(scene.folder, "report.html"), pid)
    program.stop()
    clean(scene)


# ---- report

class Page(html.parser.HTMLParser):
    """Whether the tags of a page nest, and what its data script holds."""

    VOID = {"meta", "link", "br", "hr", "img", "input", "col"}

    def __init__(self, text):
        super().__init__()
        self.open, self.data, self.seen, self.good = [], "", [], True
        self.feed(text)
        self.close()
        self.good = self.good and not self.open

    def handle_starttag(self, tag, attrs):
        self.seen.append((tag, dict(attrs)))
        if tag not in self.VOID:
            self.open.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        self.good = self.good and bool(self.open) and self.open.pop()[0] == tag

    def handle_data(self, data):
        if self.open and self.open[-1][1].get("id") == "data":
            self.data += data


def check_page(scene, name, path, pid):
    checks = scene.checks
    with open(path, encoding="utf-8") as file:
        page = Page(file.read())
    checks.check(f"{name}: tags nest", page.good, page.open)
    outside = [attrs for _, attrs in page.seen if attrs.get("src") or str(attrs.get("href", "")).startswith("http")]
    checks.equal(f"{name}: loads nothing", outside, [])
    data = json.loads(page.data or "null") or {}
    checks.equal(f"{name}: four documents", list(data), ["process", "history", "profile", "trace"])
    checks.equal(f"{name}: of the process", data.get("process", {}).get("pid"), pid)
    rss = data.get("process", {}).get("rss", {})
    checks.equal(f"{name}: the parts add up", sum(part["bytes"] for part in rss.get("parts", [])), rss.get("resident_bytes"))
    checks.check(f"{name}: a heap", len(data.get("profile", {}).get("samples", [])) > 0)
    checks.check(f"{name}: a history", len(data.get("history", {}).get("rows", [])) > 0)
    return data


def check_report(scene):
    scene.expect("report of nothing", ["report"], 2, err="report needs a process id")
    scene.expect("report without a file", ["report", "1"], 2, err="report needs a file to write")
    scene.expect("report of a process without a box", ["report", "1", "-o", "x.html"], 1, err="has no box here")
    box, pid = a_dead_box(scene, signal.SIGKILL)
    path = os.path.join(scene.folder, "report.html")
    done = scene.run("report", box, "-o", path)
    if "built without the page" in done.stderr:
        print("skip report: this mallard was built without the page")
        return
    scene.checks.equal("report of a box", (done.returncode, done.stderr), (0, ""))
    check_page(scene, "box", path, pid)
    kept = Kept(scene, "kept", box, "death=oom\nsignal=9\nsentence=</script><script>alert(1)</script><!--\n")
    shutil.rmtree(os.path.dirname(box))
    scene.expect("report of a kept process", ["report", str(pid), "--keep", kept.path, "-o", path], 0)
    data = check_page(scene, "kept", path, pid)
    scene.checks.check("kept: how it died", data["process"]["death"]["kind"] == "oom" and "alert(1)" in data["process"]["death"]["sentence"], data["process"]["death"])
    program = Running(scene, HOLDER)
    live.wait_until(lambda: re.search(r"live objects +[3-9]\d[\d.]* MiB", scene.run("stat", str(program.pid)).stdout), 10)
    scene.expect("report of a living process", ["report", str(program.pid), "-o", path], 0)
    data = check_page(scene, "living", path, program.pid)
    scene.checks.equal("living: alive", (data["process"]["alive"], data["process"]["death"]), (True, None))
    done = scene.run("report", str(program.pid), "-o", "-")
    scene.checks.check("to standard output", done.returncode == 0 and "<html" in done.stdout[:200], done.stderr)
    scene.expect("a file that cannot be written", ["report", str(program.pid), "-o", "/no/such"], 1, err="cannot write /no/such")
    program.stop()
    clean(scene)


def main(arguments):
    if len(arguments) not in (1, 2):
        print(__doc__, file=sys.stderr)
        return 2
    checks = live.Checks()
    steps = (check_top_usage, check_top_plain, check_top_keys, check_top_process_on_terminal, check_top_ends, check_top_stops,
             check_top_without_terminal, check_hostile_names, check_diff, check_progress, check_how_it_ended, check_kept, check_kept_and_living,
             check_hostile_keep, check_report)
    for step in steps:
        with tempfile.TemporaryDirectory() as folder:
            step(cli.Scene(checks, arguments[0], folder))
    if len(arguments) > 1:
        with tempfile.TemporaryDirectory() as folder:
            check_daemon(cli.Scene(checks, arguments[0], folder), os.path.abspath(arguments[1]))
    return checks.finish()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
