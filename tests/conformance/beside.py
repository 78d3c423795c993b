#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Two allocators preloaded at once, in either order, and a loader that cannot load ours.

    beside.py LIBRARY FOLDER MALLARD

FOLDER holds the programs `beside` and `death/foreign_stack`; libother.so, an allocator that lacks what
others often lack and ends whoever gives it what is not its own; libforwarding.so, which asks the next
one; and libpretending.so, whose functions of libc allocate. Others are used where the machine has them.
"""
import glob
import os
import pathlib
import signal
import subprocess
import sys
import tempfile

import live

LIBRARY, FOLDER, MALLARD = (str(pathlib.Path(path).resolve()) for path in sys.argv[1:4])
PROGRAM, OTHER, FORWARDING = f"{FOLDER}/beside", f"{FOLDER}/libother.so", f"{FOLDER}/libforwarding.so"
LOADER = "/lib64/ld-linux-x86-64.so.2"
ASKS = '#include <stdio.h>\n#include <stdlib.h>\nint main(void) { const char *p = getenv("LD_PRELOAD"); puts(p ? p : "none"); }\n'
CHECKS = live.Checks()


def run(argv, boxes, preload=None, **knobs):
    environment = {"PATH": os.environ["PATH"], "MALLARD_DIR": boxes, "LC_ALL": "C", **knobs}
    if preload:
        environment["LD_PRELOAD"] = preload
    done = subprocess.run(argv, env=environment, capture_output=True, text=True, timeout=60, check=False, cwd=boxes)
    return done.returncode, done.stdout, done.stderr


def check_pairs(boxes):
    others = [OTHER, FORWARDING, *glob.glob("/usr/lib/*/libjemalloc.so.2"), *glob.glob("/usr/lib/*/libmimalloc.so.2*")[:1],
              *glob.glob("/usr/lib/*/libtcmalloc_minimal.so.4")]
    for argv in ([PROGRAM], ["ls", "/"], ["sort", "-R", "/dev/null"], [sys.executable, "-c", "print(sum(range(9999)))"]):
        plain = run(argv, boxes)
        for other in others:
            for preload in (f"{other}:{LIBRARY}", f"{LIBRARY}:{other}"):
                under = run(argv, boxes, preload)
                names = " before ".join(os.path.basename(path) for path in preload.split(":"))
                CHECKS.check(f"{os.path.basename(argv[0])}, {names}", under == plain, f"{under} instead of {plain}")


def check_pretending(boxes):
    """With a box and a background thread, whose names and times are the kernel's."""
    program = "import os, subprocess, threading; x = [bytes(i) for i in range(3000)]; t = threading.Thread(target=x.clear); " \
              "t.start(); t.join(); os.fork() and print(os.wait()[1], subprocess.check_output(['echo', 'hi']))"
    plain = run(["/usr/bin/python3", "-c", program], boxes)
    pretending = f"{FOLDER}/libpretending.so"
    for knobs in ({}, {"MALLARD_EAGER": "1"}, {"MALLARD_CPU_CACHE": "lock", "MALLARD_MEMPROFILERATE": "1"}):
        for preload in (f"{pretending}:{LIBRARY}", f"{LIBRARY}:{pretending}"):
            under = run(["/usr/bin/python3", "-c", program], boxes, preload, **knobs)
            names = " before ".join(os.path.basename(path) for path in preload.split(":"))
            CHECKS.check(f"{names}, {knobs or 'no knob'}", under[:2] == plain[:2], f"{under} instead of {plain}")


def check_foreign(boxes):
    """Whoever forwards to us gets it said, and not the same pointer again."""
    for preload in (f"{FORWARDING}:{LIBRARY}", f"{LIBRARY}:{FORWARDING}"):
        status, out, err = run([f"{FOLDER}/death/foreign_stack"], boxes, preload)
        names = " before ".join(os.path.basename(path) for path in preload.split(":"))
        wanted = f"mallard: free({out.strip()}): foreign pointer: Mallard never gave it out\n"
        CHECKS.check(f"a foreign pointer, {names}", (status, err) == (-signal.SIGABRT, wanted), (status, out, err))


def check_alone(boxes):
    """Who brings a malloc of his own gets no thread from the start; a program of ours has it, also behind a wrapper."""
    count = "import os; print(len(os.listdir('/proc/self/task')))"
    for preload, threads in ((f"{OTHER}:{LIBRARY}", 1), (f"{FORWARDING}:{LIBRARY}", 2), (f"{LIBRARY}:{OTHER}", 2), (LIBRARY, 2)):
        said = run([sys.executable, "-c", count], boxes, preload, MALLARD_EAGER="1")
        names = " before ".join(os.path.basename(path) for path in preload.split(":"))
        CHECKS.check(f"from the start, {names}: threads {threads}", said == (0, f"{threads}\n", ""), said)


def check_musl(boxes):
    """Its loader ends a program that it cannot preload ours into. A link of that name will do here."""
    if not os.path.exists(LOADER):
        print("skip musl: no loader to stand in for its own")
        return
    loader, program = f"{boxes}/ld-musl-x86_64.so.1", f"{boxes}/asks"
    os.symlink(LOADER, loader)
    pathlib.Path(f"{program}.c").write_text(ASKS, encoding="ascii")
    subprocess.run(["gcc", f"{program}.c", "-o", program, f"-Wl,--dynamic-linker={loader}"], check=True)
    status, out, err = run([MALLARD, "run", "--http", "off", "--", program], boxes)
    CHECKS.check("a program of musl's runs, without the library", (status, out) == (0, "none\n"), (status, out, err))
    CHECKS.check("and one sentence says so", err.count("\n") == 1 and "uses musl's loader" in err, err)
    before = run([MALLARD, "run", "--http", "off", "--quiet", "--", program], boxes, OTHER)
    CHECKS.check("what was to be preloaded stays so", before == (0, f"{OTHER}\n", ""), before)


def main():
    with tempfile.TemporaryDirectory(prefix="mallard-beside.") as boxes:
        check_pairs(boxes)
        check_pretending(boxes)
        check_foreign(boxes)
        check_alone(boxes)
        check_musl(boxes)
    return CHECKS.finish()


sys.exit(main())
