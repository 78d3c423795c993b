#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The Debian packages as a user meets them: installed by apt, used, removed, purged, nothing left.

    deb.py FOLDER              FOLDER holds the three .deb files

All of it happens on a copy of this system that costs nothing and leaves no trace: an overlay on /,
its upper layer on tmpfs, with mounts and pids of its own. Needs root and overlayfs; where they are
missing it says so and skips.
"""
import os
import pathlib
import re
import signal
import subprocess
import sys
import tempfile
import urllib.request

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "conformance"))
import live  # noqa: E402

PACKAGES = ["libmallard0", "libmallard-dev", "mallard"]
STAGE = "--in-the-copy"
# What apt, dpkg and their triggers write for themselves.
NOT_COMPARED = ("/proc", "/sys", "/dev", "/tmp", "/packages", "/written", "/var/log", "/var/cache", "/var/lib/apt",
                "/var/lib/dpkg/status-old", "/var/lib/dpkg/available-old", "/var/lib/dpkg/diversions-old",
                "/var/lib/dpkg/statoverride-old", "/var/lib/dpkg/lock", "/var/lib/dpkg/triggers/Lock",
                "/var/lib/dpkg/triggers/Unincorp", "/var/lib/systemd", "/run/systemd")
ENVIRONMENT = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "HOME": "/tmp", "LC_ALL": "C", "LANG": "C",
               "DEBIAN_FRONTEND": "noninteractive", "PPROF_TMPDIR": "/tmp"}
PROGRAM = r"""
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#if LINKED
#include <mallard/mallard.h>
#else
#define mallard_version() "preloaded"
#endif
__attribute__((noinline)) void *fill_shelf(size_t bytes) {
    char *shelf = malloc(bytes);
    memset(shelf, 1, bytes);
    return shelf;
}
int main(void) {
    static void *shelves[200];
    for (int i = 0; i < 200; i++)
        shelves[i] = fill_shelf(100000);
    printf("ready %s\n", mallard_version());
    fflush(stdout);
    pause();
    return shelves[0] == NULL;
}
"""


def run(*command, **options):
    return subprocess.run(command, capture_output=True, text=True, errors="replace", env=ENVIRONMENT,
                          stdin=subprocess.DEVNULL, timeout=240, **options)


def say_skip(reason):
    print(f"skip deb: {reason}")
    print("0 passed, 0 failed, 1 skipped")
    return 0


# ---- making the copy ----

def mount(*arguments):
    done = run("mount", *arguments)
    if done.returncode != 0:
        raise OSError(done.stderr.strip())


def mount_copy(packages, base):
    """Mounts the copy below `base`, all but /dev; returns its root."""
    mount("-t", "tmpfs", "tmpfs", base)
    for name in ("upper", "work", "root"):
        os.mkdir(f"{base}/{name}")
    root = f"{base}/root"
    mount("-t", "overlay", "overlay", "-o", f"lowerdir=/,upperdir={base}/upper,workdir={base}/work", root)
    mount("-t", "proc", "proc", f"{root}/proc")
    for name in ("run", "tmp"):
        mount("-t", "tmpfs", "-o", "mode=1777" if name == "tmp" else "mode=755", "tmpfs", f"{root}/{name}")
    for name, source in (("packages", packages), ("written", f"{base}/upper")):
        os.mkdir(f"{root}/{name}")
        mount("--bind", source, f"{root}/{name}")
    return root


def enter(root):
    os.chroot(root)
    os.chdir("/")


def start_copy(packages):
    if os.geteuid() != 0:
        return say_skip("needs root")
    with tempfile.TemporaryDirectory() as base:
        command = ["unshare", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc",
                   sys.executable, os.path.abspath(__file__), STAGE, os.path.abspath(packages), base]
        return subprocess.run(command).returncode


# ---- what is checked ----

def all_paths():
    found = set()
    for folder, folders, files in os.walk("/"):
        folders[:] = [f for f in folders if not os.path.join(folder, f).startswith(NOT_COMPARED)]
        found.update(os.path.join(folder, name) for name in folders + files)
    return {path for path in found if not path.startswith(NOT_COMPARED)}


def done_here(paths):
    """Those that changed in the copy; the system below it goes on meanwhile."""
    return sorted(path for path in paths if path.startswith("/run/") or os.path.lexists(f"/written{path}"))


def known_packages():
    lines = run("dpkg-query", "-W", "-f", "${Package} ${db:Status-Status}\n").stdout.splitlines()
    return sorted(line for line in lines if line.split()[0] in PACKAGES)


def apt(checks, what, *arguments):
    done = run("apt-get", "-y", "-q", *arguments)
    checks.check(what, done.returncode == 0, (done.stdout + done.stderr)[-2000:])


def check_installed(checks):
    checks.equal("all three are installed", known_packages(), sorted(f"{p} installed" for p in PACKAGES))
    checks.check("the loader knows the library", "libmallard.so.0 " in run("ldconfig", "-p").stdout)
    checks.check("the service is enabled",
                 os.path.islink("/etc/systemd/system/multi-user.target.wants/mallardd.service"))
    checks.check("the configuration is a conffile", "/etc/mallard/mallardd.conf" in run(
        "dpkg-query", "-W", "-f", "${Conffiles}", "mallard").stdout)
    checks.equal("/run/mallard is shared and sticky", oct(os.stat("/run/mallard").st_mode & 0o7777), "0o1777")
    verdict = run("systemd-analyze", "verify", "/lib/systemd/system/mallardd.service")
    ours = [line for line in (verdict.stdout + verdict.stderr).splitlines() if "mallard" in line]
    checks.equal("systemd finds no fault in the unit, its program and its man pages", ours, [])
    changed = run("dpkg", "--verify", *PACKAGES)
    checks.equal("every file is as packed", changed.stdout + changed.stderr, "")


def compile_program(checks, linked):
    source, program = pathlib.Path("/tmp/shelves.c"), f"/tmp/shelves-{'linked' if linked else 'plain'}"
    source.write_text(PROGRAM)
    flags = run("pkg-config", "--cflags", "--libs", "mallard").stdout.split() if linked else []
    done = run("gcc", "-O2", "-g", f"-DLINKED={int(linked)}", str(source), "-o", program, *flags)
    checks.check(f"{program} compiles", done.returncode == 0, done.stderr)
    return program


def top_of(url):
    return run("go", "tool", "pprof", "-top", "-sample_index=inuse_space", url)


def check_top(checks, what, url):
    done = top_of(url)
    checks.check(what, done.returncode == 0 and "fill_shelf" in done.stdout, done.stdout + done.stderr)


def end(process):
    process.send_signal(signal.SIGTERM)
    process.wait(timeout=20)
    for stream in (process.stdout, process.stderr):
        if stream:
            stream.close()


def check_run(checks, program):
    runner, port, _ = live.start("/usr/bin/mallard", program=(program,), env=ENVIRONMENT, folder="/tmp")
    live.wait_until(lambda: "fill_shelf" in top_of(f"http://127.0.0.1:{port}/debug/pprof/heap").stdout, 20)
    check_top(checks, "go tool pprof tops the heap under mallard run", f"http://127.0.0.1:{port}/debug/pprof/heap")
    live.stop(runner)


def check_linked(checks, program):
    process = subprocess.Popen([program], env=ENVIRONMENT, stdout=subprocess.PIPE, text=True)
    checks.check("a linked program runs on the library", re.match(r"ready \d", process.stdout.readline()))
    done = run("mallard", "heap", str(process.pid), "-o", "/tmp/linked.pb.gz")
    checks.equal("mallard heap writes its profile", done.returncode, 0)
    check_top(checks, "its profile names its function", "/tmp/linked.pb.gz")
    end(process)


def start_daemon():
    command = ["/usr/sbin/mallardd", "--http", "127.0.0.1:0", "--config", "/etc/mallard/mallardd.conf"]
    daemon = subprocess.Popen(command, env=ENVIRONMENT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    for line in daemon.stdout:
        found = re.search(r"http://(127\.0\.0\.1:\d+)", line)
        if found:
            return daemon, found.group(1)
    raise RuntimeError(f"mallardd ended with {daemon.wait()} before it served")


def check_daemon(checks, program):
    daemon, address = start_daemon()
    environment = dict(ENVIRONMENT, LD_PRELOAD="libmallard.so.0", MALLARD_EAGER="1")
    process = subprocess.Popen([program], env=environment, stdout=subprocess.PIPE, text=True)
    process.stdout.readline()
    url = f"http://{address}/p/{process.pid}/debug/pprof/heap"
    checks.check("mallardd serves a preloaded program",
                 live.wait_until(lambda: "fill_shelf" in top_of(url).stdout, 20), top_of(url).stderr)
    with urllib.request.urlopen(f"http://{address}/sd", timeout=10) as answer:
        checks.check("and discovers it", f'"{process.pid}' in answer.read().decode())
    process.kill()
    process.wait()
    process.stdout.close()
    end(daemon)
    checks.equal("mallardd ends when told", daemon.returncode, 0)


def check_gone(checks, before):
    checks.equal("no package is known", known_packages(), [])
    after = all_paths()
    checks.equal("nothing was added", done_here(after - before), [])
    checks.equal("nothing was taken", done_here(before - after), [])
    checks.check("the loader forgot the library", "mallard" not in run("ldconfig", "-p").stdout)


def check_copy(packages, base):
    try:
        root = mount_copy(packages, base)
        mount("--rbind", "/dev", f"{root}/dev")
        enter(root)
    except OSError as error:
        return say_skip(f"this machine gives no copy of itself: {error}")
    checks = live.Checks()
    # Whatever this machine has of Mallard must not pass for the packages' own.
    for path in ("/var/lib/mallard", "/etc/mallard"):
        if os.path.exists(path):
            return say_skip(f"{path} exists already")
    before = all_paths()
    files = [f"/packages/{name}" for name in sorted(os.listdir("/packages")) if name.endswith(".deb")]
    apt(checks, "apt installs them", "install", "--no-install-recommends", *files)
    check_installed(checks)
    check_run(checks, compile_program(checks, linked=False))
    check_linked(checks, compile_program(checks, linked=True))
    check_daemon(checks, "/tmp/shelves-plain")
    apt(checks, "apt installs them once more", "install", "--reinstall", "--no-install-recommends", *files)
    check_installed(checks)
    apt(checks, "apt removes them", "remove", *PACKAGES)
    checks.check("removal leaves what was kept and the configuration",
                 os.path.exists("/var/lib/mallard") and os.path.exists("/etc/mallard/mallardd.conf"))
    # What had no configuration is forgotten already, and apt would not know its name.
    apt(checks, "apt purges them", "purge", *[line.split()[0] for line in known_packages()])
    check_gone(checks, before)
    return checks.finish()


def main(arguments):
    if arguments[:1] == [STAGE]:
        return check_copy(*arguments[1:])
    if len(arguments) != 1:
        print(__doc__, file=sys.stderr)
        return 2
    return start_copy(arguments[0])


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
