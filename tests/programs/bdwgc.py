#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Programs written for Boehm's collector, unchanged, on Mallard's collected heap: Debian's binaries with
another libgc.so.1, and one source built against either header. Each must print what it prints on
Boehm's library, and must have been collected for on ours.

    bdwgc.py OUT
"""
import os
import re
import shutil
import subprocess
import sys
import tempfile

OUT = os.path.abspath(sys.argv[1])
ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
GCTRACE = re.compile(r"^gc \d+ @[\d.]+s \d+%: ", re.MULTILINE)

PAGE = "<html><head><title>A long page</title></head><body><h1>Rows</h1>" + "".join(
    f"<table border=1><tr><td>row {i}</td><td><b>{i * 7919 % 1000}</b></td></tr></table><p>And &amp; a <a href='#{i}'>link</a> {i}.</p>" for i in range(3000)) + "</body></html>"
NEKO = """
var list = null; var i = 0;
while( i < 300000 ) { list = $array("item " + i, list); if( i % 1000 == 0 ) list = null; i += 1; }
var count = 0; while( list != null ) { count += 1; list = list[1]; }
$print("kept ", count, "\\n");
"""
PARSER = "@main[]\n$h[^hash::create[]]\n^for[i](1;60000){$h.[k^eval($i % 5000)][value $i ^math:sqrt($i)]}^h._count[] $h.k77\n"


class Checks:
    def __init__(self):
        self.good = self.bad = 0

    def check(self, what, good, seen=""):
        print(f"{'ok  ' if good else 'FAIL'} {what}" + ("" if good else f": {str(seen)[-1500:]}"))
        self.good += bool(good)
        self.bad += not good


def run(argv, folder, ours, trace=True):
    env = {"PATH": os.environ["PATH"], "LC_ALL": "C.UTF-8", "HOME": folder, "MALLARD_DIR": folder}
    if ours:
        env |= {"LD_LIBRARY_PATH": os.path.join(OUT, "bdwgc") + ":" + OUT, "MALLARD_DEBUG": "gccheckmark=1" + (",gctrace=1" if trace else "")}
    return subprocess.run(argv, cwd=folder, env=env, capture_output=True, text=True, timeout=300, check=False)


def compare(checks, name, argv, folder):
    theirs = run(argv, folder, False)
    ours = run(argv, folder, True)
    checks.check(f"{name} on Boehm's collector", theirs.returncode == 0 and theirs.stdout, theirs)
    checks.check(f"{name} prints the same on Mallard's", ours.returncode == theirs.returncode and ours.stdout == theirs.stdout, (ours.stderr[-600:], ours.stdout[-300:]))
    checks.check(f"{name} was collected for", GCTRACE.search(ours.stderr), ours.stderr)


def debian_programs(checks, folder):
    for name, text in (("page.html", PAGE), ("many.neko", NEKO), ("many.p", PARSER)):
        with open(os.path.join(folder, name), "w", encoding="utf-8") as file:
            file.write(text)
    if shutil.which("nekoc"):
        subprocess.run(["nekoc", "many.neko"], cwd=folder, check=True, capture_output=True)
    for name, argv in (("w3m", ["w3m", "-dump", "-cols", "80", "page.html"]), ("neko", ["neko", "many.n"]), ("parser3", ["parser3", "many.p"])):
        if shutil.which(argv[0]):
            compare(checks, name, argv, folder)
        else:
            print(f"skip {name}: not installed")


def compiled(checks, folder):
    source = os.path.join(ROOT, "tests", "programs", "bdwgc.c")
    cc = os.environ.get("CC", "gcc")
    boehm, ours = os.path.join(folder, "boehm"), os.path.join(folder, "ours")
    subprocess.run([cc, "-O2", "-pthread", source, "-o", boehm, "-lgc"], check=True)
    done = subprocess.run([cc, "-O2", "-Wall", "-Wextra", "-pthread", "-I", os.path.join(ROOT, "include", "mallard", "bdwgc"), source, "-o", ours,
                           "-L", OUT, "-lmallard-bdwgc", f"-Wl,-rpath,{OUT}", f"-Wl,-rpath-link,{OUT}"], capture_output=True, text=True, check=False)
    checks.check("it builds against Mallard's header without a warning", done.returncode == 0 and not done.stderr, done.stderr)
    theirs, mine = run([boehm], folder, False), run([ours], folder, True)
    checks.check("on Boehm's library all is well", theirs.returncode == 0 and "FAIL" not in theirs.stdout, theirs.stdout)
    for line in mine.stdout.splitlines():
        checks.check(f"on Mallard's: {line[5:]}", line.startswith("ok"), mine.stderr)
    checks.check("with as many lines", mine.returncode == 0 and mine.stdout.count("\n") == theirs.stdout.count("\n"), (mine.returncode, mine.stdout, mine.stderr))


def main():
    checks = Checks()
    with tempfile.TemporaryDirectory(prefix="mallard-bdwgc.") as folder:
        debian_programs(checks, folder)
        compiled(checks, folder)
    print(f"{checks.good} passed, {checks.bad} failed")
    return 1 if checks.bad else 0


if __name__ == "__main__":
    sys.exit(main())
