#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Calls that see how many threads their process has, made by programs that have one of their own.

    alone.py LIBRARY PROGRAM MALLARD

LIBRARY is libmallard.so.0, PROGRAM is built from alone.c, MALLARD is the command. Each role of PROGRAM
runs without the library, with it, and with it serving HTTP, and must say the same each time. What
this machine refuses without the library is skipped.
"""
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile

import live

LIBRARY, PROGRAM, MALLARD = (str(pathlib.Path(path).resolve()) for path in sys.argv[1:4])
ROLES = ("unshare_user", "unshare_user_late", "unshare_mount", "unshare_files", "unshare_pid", "unshare_vm",
         "unshare_nonsense", "setns_user", "setns_mount", "setns_net", "setns_nonsense", "threads", "vfork_child",
         "handler", "credentials", "kept_capabilities", "filtered", "repeated", "handler_in_malloc", "confined", "confined_child",
         "confined_watched")
# Nobody may remove the box in the end, so it has to go before; one that is served stays.
HIDDEN = ("confined", "confined_child", "confined_watched")
WAYS = {"preloaded": {}, "each sampled": {"MALLARD_MEMPROFILERATE": "1"}, "locked": {"MALLARD_CPU_CACHE": "lock"}, "serving": {"MALLARD_HTTP": "127.0.0.1:0"}}
CHECKS = live.Checks()


def run(folder, argv, preload=True, **settings):
    environment = {"PATH": os.environ["PATH"], "MALLARD_DIR": folder}
    if preload:
        environment.update(LD_PRELOAD=LIBRARY, MALLARD_EAGER="1", **settings)
    done = subprocess.run(argv, env=environment, capture_output=True, text=True, timeout=60, check=False)
    # Who may not write into the folder any more after giving up rights says so, once.
    said = [line for line in done.stderr.splitlines() if not line.startswith("mallard: no box at ")]
    return done.returncode, done.stdout, "\n".join(said)


def check_roles(folder):
    for role in ROLES:
        plain = run(folder, [PROGRAM, role], preload=False)
        for way, settings in WAYS.items():
            under = run(folder, [PROGRAM, role], **settings)
            CHECKS.check(f"{role}, {way}", under == plain, f"{under} instead of {plain}")
            left = os.listdir(folder) if role in HIDDEN and (role, way) != ("confined", "serving") else []
            CHECKS.check(f"{role}, {way}: no box is left", not left, f"{left}")
            for name in os.listdir(folder):
                os.unlink(os.path.join(folder, name))


def check_programs(folder):
    """Programs of this system, and the way `mallard run` starts them: with the thread there at once."""
    for argv in (["unshare", "-Ur", "id", "-u"], ["unshare", "-Urm", "id", "-u"], ["unshare", "-Urpf", "id", "-u"],
                 ["unshare", "-UrT", "id", "-u"],
                 ["nsenter", "-m", "-t", str(os.getpid()), "id", "-u"],
                 ["bwrap", "--unshare-all", "--ro-bind", "/", "/", "id", "-u"],
                 ["setpriv", "--reuid=65534", "--clear-groups", "--no-new-privs", "id", "-u"],
                 ["setpriv", "--reuid=65534", "--clear-groups", "--inh-caps=-all", "--bounding-set=-all", "id", "-u"],
                 ["chroot", "/", "id", "-u"]):
        name = " ".join(argv[:3])
        if not shutil.which(argv[0]):
            print(f"skip {name}: not installed")
            continue
        plain = run(folder, argv, preload=False)
        if plain[0] != 0:
            print(f"skip {name}: refused without the library too")
            continue
        under = run(folder, argv)
        CHECKS.check(name, under == plain, f"{under} instead of {plain}")
        wrapped = run(folder, [MALLARD, "run", "--quiet", "--", *argv], preload=False)
        CHECKS.check(f"mallard run -- {name}", wrapped == plain, f"{wrapped} instead of {plain}")


def main():
    with tempfile.TemporaryDirectory(prefix="mallard-alone.") as folder:
        os.chmod(folder, 0o1777)
        check_roles(folder)
        check_programs(folder)
    return CHECKS.finish()


sys.exit(main())
