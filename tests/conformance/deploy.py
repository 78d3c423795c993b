#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""What is installed on a host: the files, the service, the configuration.

    deploy.py BUILD        BUILD is the folder of a finished build, such as build/release

Needs make, systemd's tools (no running systemd), pkg-config and shellcheck.
"""
import os
import pathlib
import re
import shutil
import stat
import subprocess
import sys
import tempfile

import live

ROOT = pathlib.Path(__file__).resolve().parents[2]
DEPLOY = ROOT / "deploy"
MOST_EXPOSURE = 2.5
SCRIPTS = ["deploy/container/inject.sh", "deploy/debian/build.sh", "deploy/debian/mallard.postinst",
           "deploy/debian/mallard.prerm", "deploy/debian/mallard.postrm"]


def run(*command, **options):
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("MAKE", "MFLAGS"))}
    return subprocess.run([str(part) for part in command], capture_output=True, text=True, env=environment,
                          stdin=subprocess.DEVNULL, timeout=120, **options)


def said(done):
    return (done.stdout + done.stderr).strip()


def install(build, destination, *goals, **variables):
    return run("make", "--no-print-directory", "-C", ROOT, *goals, f"OUT={build}", f"DESTDIR={destination}",
               *[f"{name}={value}" for name, value in variables.items()])


def files_below(folder):
    return sorted(str(p.relative_to(folder)) for p in pathlib.Path(folder).rglob("*")
                  if p.is_symlink() or not p.is_dir())


def ours_below(folder):
    """Files, and folders that are nobody else's."""
    return sorted(str(p.relative_to(folder)) for p in pathlib.Path(folder).rglob("*")
                  if p.is_symlink() or not p.is_dir() or "mallard" in str(p.relative_to(folder)))


# ---- install and uninstall ----

def expected_files(build, prefix, library):
    daemon = (build / "mallardd").exists()
    wanted = {f"{library}/libmallard.so", f"{library}/libmallard.so.0", f"{library}/libmallard.a",
              f"{library}/libmallard-http.so", f"{library}/pkgconfig/mallard.pc",
              f"{library}/libmallard-gc.so", f"{library}/libmallard-gc.so.0", f"{library}/pkgconfig/mallard-gc.pc",
              f"{library}/libmallard-bdwgc.so", f"{library}/libmallard-bdwgc.so.0", f"{library}/pkgconfig/mallard-bdwgc.pc",
              f"{library}/mallard/bdwgc/libgc.so.1", f"{prefix}/include/mallard/gc.h", f"{prefix}/include/mallard/pool.h",
              f"{prefix}/include/mallard/bdwgc/gc/gc.h",
              f"{prefix}/include/mallard/mallard.h", f"{prefix}/bin/mallard", "etc/mallard/mallardd.conf",
              f"{prefix}/lib/systemd/system/mallardd.service", f"{prefix}/lib/tmpfiles.d/mallard.conf",
              f"{prefix}/share/doc/mallard/examples/systemd/service-under-mallard.conf",
              f"{prefix}/share/doc/mallard/examples/prometheus/alerts.yml"}
    wanted |= {f"{prefix}/sbin/mallardd"} if daemon else set()
    wanted |= {f"{prefix}/share/man/man{page.suffix[1:]}/{page.name}" for page in DEPLOY.glob("man/*.[1-8]")}
    return wanted


def check_one_prefix(checks, build, prefix, **variables):
    library = variables.get("LIBDIR", f"/{prefix}/lib").lstrip("/")
    with tempfile.TemporaryDirectory() as place:
        done = install(build, place, "install", PREFIX=f"/{prefix}", **variables)
        checks.check(f"/{prefix}: installs", done.returncode == 0, said(done))
        files = files_below(place)
        checks.equal(f"/{prefix}: nothing is missing", sorted(expected_files(build, prefix, library) - set(files)), [])
        checks.equal(f"/{prefix}: the loader's name leads to the library",
                     os.path.realpath(f"{place}/{library}/libmallard.so"), f"{place}/{library}/libmallard.so.0.1.0")
        checks.equal(f"/{prefix}: Boehm's name leads to Mallard's library",
                     os.path.realpath(f"{place}/{library}/mallard/bdwgc/libgc.so.1"), f"{place}/{library}/libmallard-bdwgc.so.0.1.0")
        check_places(checks, place, prefix, library)
        install(build, place, "install", PREFIX=f"/{prefix}", **variables)
        checks.equal(f"/{prefix}: installing again adds nothing", files_below(place), files)
        done = install(build, place, "uninstall", PREFIX=f"/{prefix}", **variables)
        checks.check(f"/{prefix}: uninstalls", done.returncode == 0, said(done))
        checks.equal(f"/{prefix}: nothing is left", ours_below(place), [])
        done = install(build, place, "uninstall", PREFIX=f"/{prefix}", **variables)
        checks.check(f"/{prefix}: uninstalling nothing is no error", done.returncode == 0, said(done))


def check_places(checks, place, prefix, library):
    texts = {path: (pathlib.Path(place) / path).read_text() for path in files_below(place)
             if path.endswith((".pc", ".service", "service-under-mallard.conf"))}
    checks.equal(f"/{prefix}: no place was left open", [p for p, text in texts.items() if re.search(r"@[A-Z]+@", text)], [])
    pc = texts[f"{library}/pkgconfig/mallard.pc"]
    checks.check(f"/{prefix}: the .pc names its library", f"libdir=/{library}\n" in pc, pc)
    unit = texts[f"{prefix}/lib/systemd/system/mallardd.service"]
    checks.check(f"/{prefix}: the unit starts the daemon of this prefix",
                 f"ExecStart=/{prefix}/sbin/mallardd --config /etc/mallard/mallardd.conf\n" in unit, unit)
    drop_in = texts[f"{prefix}/share/doc/mallard/examples/systemd/service-under-mallard.conf"]
    checks.check(f"/{prefix}: the drop-in preloads the library of this prefix",
                 f"LD_PRELOAD=/{library}/libmallard.so.0\n" in drop_in, drop_in)


def check_administrators_file(checks, build):
    with tempfile.TemporaryDirectory() as place:
        install(build, place, "install", PREFIX="/usr")
        config = pathlib.Path(place) / "etc/mallard/mallardd.conf"
        config.write_text(config.read_text() + "keep-every = 30\n")
        changed = config.read_text()
        install(build, place, "install", PREFIX="/usr")
        checks.equal("a changed configuration is not overwritten", config.read_text(), changed)
        done = install(build, place, "uninstall", PREFIX="/usr")
        checks.check("nor removed, and that is said",
                     files_below(place) == ["etc/mallard/mallardd.conf"] and str(config) in done.stdout, said(done))


def check_never_builds(checks):
    with tempfile.TemporaryDirectory() as empty, tempfile.TemporaryDirectory() as place:
        done = install(pathlib.Path(empty), place, "install", PREFIX="/usr")
        checks.check("install without a build is refused in one sentence",
                     done.returncode != 0 and "run 'make' first" in done.stderr, said(done))
        checks.equal("and installs nothing", files_below(place), [])


def check_installed_command(checks, build):
    with tempfile.TemporaryDirectory() as place:
        install(build, place, "install", PREFIX="/usr")
        done = run("env", f"MALLARD_DIR={place}", f"{place}/usr/bin/mallard", "run", "--http", "off", "--", "grep", "-c", "usr/lib/libmallard.so",
                   "/proc/self/maps")
        checks.check("the installed command runs programs on the installed library",
                     done.returncode == 0 and int(done.stdout or 0) > 0, said(done))
        flags = run("env", f"PKG_CONFIG_PATH={place}/usr/lib/pkgconfig", "pkg-config", "--libs", "mallard")
        checks.check("pkg-config knows the library", "-lmallard" in flags.stdout, said(flags))


# ---- systemd ----

def check_unit(checks):
    unit = DEPLOY / "systemd/mallardd.service"
    done = run("systemd-analyze", "security", "--offline=true", "--no-pager", unit)
    score = re.search(r"Overall exposure level for \S+: ([\d.]+)", done.stdout)
    checks.check(f"the unit's exposure is at most {MOST_EXPOSURE}", score and float(score.group(1)) <= MOST_EXPOSURE,
                 score.group(0) if score else said(done))
    with tempfile.TemporaryDirectory() as place:
        verified = pathlib.Path(place) / "mallardd.service"
        verified.write_text(unit.read_text().replace("/usr/sbin/mallardd", shutil.which("true")))
        done = run("systemd-analyze", "verify", "--man=no", verified)
        checks.equal("systemd finds no fault in the unit", (done.returncode, said(done)), (0, ""))
        service = pathlib.Path(place) / "plain.service"
        service.write_text(f"[Unit]\nDescription=Plain\n[Service]\nExecStart={shutil.which('true')}\n")
        (pathlib.Path(place) / "plain.service.d").mkdir()
        shutil.copy(DEPLOY / "systemd/service-under-mallard.conf", f"{place}/plain.service.d/mallard.conf")
        done = run("systemd-analyze", "verify", "--man=no", service)
        checks.equal("nor in a service with the drop-in", (done.returncode, said(done)), (0, ""))


def check_unit_lets_the_daemon_work(checks):
    unit = (DEPLOY / "systemd/mallardd.service").read_text()
    for line in ("Type=notify", "ExecReload=/bin/kill -HUP $MAINPID", "StateDirectory=mallard",
                 "ReadWritePaths=/run/mallard", "WantedBy=multi-user.target"):
        checks.check(f"the unit has {line}", line in unit.splitlines())


def check_tmpfiles(checks):
    if os.geteuid() != 0:
        print("skip tmpfiles: needs root, for the owner of /run/mallard")
        return
    with tempfile.TemporaryDirectory() as place:
        os.makedirs(f"{place}/usr/lib/tmpfiles.d")
        shutil.copy(DEPLOY / "systemd/tmpfiles.conf", f"{place}/usr/lib/tmpfiles.d/mallard.conf")
        done = run("systemd-tmpfiles", "--create", f"--root={place}", "mallard.conf")
        made = pathlib.Path(place) / "run/mallard"
        checks.check("tmpfiles makes /run/mallard for everybody, sticky",
                     made.is_dir() and stat.S_IMODE(made.stat().st_mode) == 0o1777, said(done))


# ---- the daemon's configuration ----

def check_configuration(checks, build):
    daemon = build / "mallardd"
    if not daemon.exists():
        print("skip configuration: no mallardd in this build")
        return
    text = (DEPLOY / "mallardd.conf").read_text()
    named = set(re.findall(r"^#?([a-z-]+) = ", text, re.M))
    offered = set(re.findall(r"^ +--([a-z-]+)", run(daemon, "--help").stdout, re.M))
    checks.equal("the example names every setting of the daemon",
                 sorted(named), sorted(offered - {"config", "help", "version", "insecure"}))
    # As it is installed, it is accepted; one line that makes no sense is not, and is named.
    with tempfile.TemporaryDirectory() as place:
        good = pathlib.Path(place) / "mallardd.conf"
        good.write_text(text)
        checks.check("the daemon starts with it", starts(daemon, good, place))
        bad = pathlib.Path(place) / "bad.conf"
        bad.write_text(text + "keep-evry = 5\n")
        done = run(daemon, "--config", bad, "--http", "127.0.0.1:0")
        line = len(bad.read_text().splitlines())
        checks.check("and refuses a line that makes no sense, by its number",
                     done.returncode == 2 and f"{bad}:{line}:" in done.stderr, said(done))


def starts(daemon, config, place):
    command = [str(daemon), "--config", str(config), "--http", "127.0.0.1:0", "--dir", place, "--keep", f"{place}/kept"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    served = any("http://127.0.0.1:" in line for line in process.stdout)
    process.terminate()
    process.wait(timeout=20)
    process.stdout.close()
    return served and process.returncode == 0


def check_scripts(checks):
    done = run("shellcheck", *SCRIPTS, cwd=ROOT)
    checks.equal("shellcheck finds no fault in the scripts", said(done), "")


def main(arguments):
    if len(arguments) != 1:
        print(__doc__, file=sys.stderr)
        return 2
    build = pathlib.Path(arguments[0]).resolve()
    checks = live.Checks()
    check_one_prefix(checks, build, "usr/local")
    check_one_prefix(checks, build, "opt/tools/mallard", LIBDIR="/opt/tools/mallard/lib64")
    check_administrators_file(checks, build)
    check_never_builds(checks)
    check_installed_command(checks, build)
    check_unit(checks)
    check_unit_lets_the_daemon_work(checks)
    check_tmpfiles(checks)
    check_configuration(checks, build)
    check_scripts(checks)
    return checks.finish()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
