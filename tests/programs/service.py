#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The hardened service under a real systemd: what the sandbox must not take from the daemon.

    service.py FOLDER LEAK      FOLDER holds the .deb files, LEAK is the program of tests/programs/leak.c

A copy of this system (an overlay, namespaces and a control group of its own) installs the packages and
boots; a leaking service of another user, sandboxed too, runs with the drop-in. It is asked about, then
killed. Needs root, overlayfs and systemd; where they are missing it says so and skips.
"""
import contextlib
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "conformance"))
import deb  # noqa: E402
import live  # noqa: E402

SYSTEMD = "/lib/systemd/systemd"
BOOT_SECONDS = 90
DROP_IN = pathlib.Path(__file__).resolve().parents[2] / "deploy/systemd/service-under-mallard.conf"
LEAKY = """[Unit]
Description=A service under Mallard
After=mallardd.service
[Service]
User=nobody
ProtectSystem=strict
MemoryDenyWriteExecute=yes
SystemCallFilter=@system-service
PrivateTmp=yes
ExecStart=/usr/bin/leaky 4000000
"""
PROBE = """[Unit]
Description=Asks, and writes the answers down
Wants=mallardd.service leaky.service
After=mallardd.service leaky.service
[Service]
Type=oneshot
ExecStart=/bin/sh /usr/lib/probe.sh
"""
TARGET = "[Unit]\nDescription=What is tested\nRequires=basic.target\nWants=probe.service\n"
QUESTIONS = r"""cd /answers
daemon=http://127.0.0.1:6060
pid=$(systemctl show -P MainPID leaky)
tries=0
until curl -s "$daemon/p/$pid/debug/pprof/heap?debug=1&gc=1" | grep -q lose || [ $tries = 100 ]; do
    tries=$((tries + 1))
    sleep 0.1
done
systemctl show -P ActiveState mallardd >state
curl -s $daemon/healthz >healthz
curl -s $daemon/sd >sd
curl -s "$daemon/p/$pid/debug/pprof/heap?debug=1" >heap
setpriv --reuid=daemon --clear-groups curl -s $daemon/sd >sd-of-another
systemctl reload mallardd && echo $? >reload
kill -9 "$pid"
tries=0
until mallard ps -a | grep -q SIGKILL || [ $tries = 100 ]; do
    tries=$((tries + 1))
    sleep 0.1
done
mallard ps -a >dead
setpriv --reuid=nobody --clear-groups mallard ps -a >dead-of-its-user
journalctl --no-pager -o cat -u mallardd >log
systemctl stop mallardd && systemctl show -P Result mallardd >result
touch done
"""


# ---- inside ----

def make_devices(root):
    """systemd arranges /dev to its liking: not this machine's."""
    deb.mount("-t", "tmpfs", "-o", "mode=755", "tmpfs", f"{root}/dev")
    for name in ("null", "zero", "full", "random", "urandom", "tty"):
        os.mknod(f"{root}/dev/{name}", 0o666 | 0o020000, os.stat(f"/dev/{name}").st_rdev)
    for name in ("pts", "shm"):
        os.mkdir(f"{root}/dev/{name}")
    deb.mount("-t", "devpts", "-o", "newinstance,ptmxmode=0666", "devpts", f"{root}/dev/pts")
    for name, target in (("ptmx", "pts/ptmx"), ("fd", "/proc/self/fd")):
        os.symlink(target, f"{root}/dev/{name}")


def write_units(leak):
    units = pathlib.Path("/etc/systemd/system")
    for name, text in (("leaky.service", LEAKY), ("probe.service", PROBE), ("probe.target", TARGET)):
        (units / name).write_text(text)
    (units / "leaky.service.d").mkdir()
    examples = pathlib.Path("/usr/share/doc/mallard/examples/systemd")
    shutil.copy(examples / DROP_IN.name, units / "leaky.service.d/mallard.conf")
    pathlib.Path("/usr/lib/probe.sh").write_text(QUESTIONS)
    pathlib.Path("/usr/bin/leaky").write_bytes(leak)
    os.chmod("/usr/bin/leaky", 0o755)


def boot(packages, base, answers, leak):
    program = pathlib.Path(leak).read_bytes()
    root = deb.mount_copy(packages, base)
    make_devices(root)
    deb.mount("-t", "sysfs", "sysfs", f"{root}/sys")
    deb.mount("-t", "cgroup2", "cgroup2", f"{root}/sys/fs/cgroup")
    os.mkdir(f"{root}/answers")
    deb.mount("--bind", answers, f"{root}/answers")
    deb.enter(root)
    files = [f"/packages/{name}" for name in os.listdir("/packages") if name.startswith(("libmallard0_", "mallard_"))]
    done = deb.run("dpkg", "-i", *files)
    if done.returncode != 0:
        raise OSError(done.stderr)
    write_units(program)
    os.execve(SYSTEMD, [SYSTEMD, "--system", "--unit=probe.target"], {"container": "copy", "PATH": deb.ENVIRONMENT["PATH"]})


# ---- outside ----

def unified_hierarchy():
    for line in pathlib.Path("/proc/mounts").read_text().splitlines():
        _, point, kind, *_ = line.split()
        if kind == "cgroup2":
            return point
    raise OSError("there is no unified hierarchy of control groups")


@contextlib.contextmanager
def own_group():
    path = pathlib.Path(unified_hierarchy()) / f"mallard-test.{os.getpid()}"
    path.mkdir()
    try:
        yield path
    finally:
        # Its processes are gone in a moment, being killed.
        live.wait_until(lambda: remove_group(path), 10)


def remove_group(path):
    for folder, _, _ in os.walk(path, topdown=False):
        with contextlib.suppress(OSError):
            os.rmdir(folder)
    return not path.exists()


def run_copy(packages, leak, answers, base):
    command = ["unshare", "--mount", "--pid", "--cgroup", "--uts", "--ipc", "--net", "--fork", "--kill-child",
               "--mount-proc", sys.executable, os.path.abspath(__file__), deb.STAGE, os.path.abspath(packages), base,
               answers, os.path.abspath(leak)]
    with own_group() as group:
        # Entered before unshare, which makes it the root of what the copy sees.
        command = ["sh", "-c", f'echo $$ > {group}/cgroup.procs && exec "$@"', "sh", *command]
        with open(f"{answers}/boot.log", "w") as log:
            process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        try:
            end = time.monotonic() + BOOT_SECONDS
            while time.monotonic() < end and process.poll() is None and not os.path.exists(f"{answers}/done"):
                time.sleep(0.1)
        finally:
            process.kill()
            process.wait()


def check_answers(checks, answers):
    def read(name):
        path = pathlib.Path(answers) / name
        return path.read_text(errors="replace").strip() if path.exists() else f"no answer: {read('boot.log')[-500:]}"
    checks.equal("the service is ready and running", read("state"), "active")
    checks.equal("it answers", read("healthz"), "ok")
    checks.check("it discovers another user's sandboxed service", '"exe":"/usr/bin/leaky"' in read("sd") and
                 '"unit":"leaky.service"' in read("sd"), read("sd"))
    checks.check("and has its heap, with names", "lose+" in read("heap"), read("heap")[:500])
    checks.equal("a third user sees none of it", read("sd-of-another").replace("\n", ""), "[]")
    checks.equal("it reads its settings again", read("reload"), "0")
    checks.check("the killed service is kept, with its signal", "SIGKILL" in read("dead"), read("dead"))
    checks.check("and its user can read that", "SIGKILL" in read("dead-of-its-user"), read("dead-of-its-user"))
    checks.check("nothing was denied to it", "cannot" not in read("log") and "ermi" not in read("log"), read("log"))
    checks.equal("it ends when told", read("result"), "success")


def main(arguments):
    if arguments[:1] == [deb.STAGE]:
        return boot(*arguments[1:])
    if len(arguments) != 2:
        print(__doc__, file=sys.stderr)
        return 2
    if os.geteuid() != 0 or not os.path.exists(SYSTEMD):
        return deb.say_skip("the service needs root and systemd")
    checks = live.Checks()
    with tempfile.TemporaryDirectory() as answers, tempfile.TemporaryDirectory() as base:
        try:
            run_copy(*arguments, answers, base)
        except OSError as error:
            return deb.say_skip(f"this machine boots no copy of itself: {error}")
        check_answers(checks, answers)
    return checks.finish()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
