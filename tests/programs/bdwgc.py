#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Programs written for Boehm's collector, unchanged, on Mallard's collected heap: Debian's binaries with
another libgc.so.1, and one source built against either header. Each must print what it prints on
Boehm's library, and must have been collected for on ours.

    bdwgc.py OUT
"""
import contextlib
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
PARSER = "@main[]\n$h[^hash::create[]]\n^for[round](1;12){^for[i](1;5000){$h.[k$i][value $round $i ^math:sqrt($i)]}^memory:compact[]}^h._count[] $h.k77\n"
NIX = "let f = n: if n < 2 then n else f (n - 1) + f (n - 2); in { a = f 21; b = builtins.foldl' (a: b: a + b) 0 (builtins.genList (x: builtins.stringLength (toString (x * x))) 200000); }"
POKE = """fun fib = (int n) int: { if (n < 2) return n; return fib (n - 1) + fib (n - 2); }
var s = "";
for (var i = 0; i < 300; i++) s = s + "x";
printf "%i32d %u64d\\n", fib (14), s'length;
"""
STALIN = "(define (fib n) (if (< n 2) n (+ (fib (- n 1)) (fib (- n 2)))))\n(display (fib 20)) (newline)\n"
ASYMPTOTE = """struct node { int value; node left; node right; }
node insert(node root, int value) {
  if (root == null) { node fresh = new node; fresh.value = value; return fresh; }
  if (value < root.value) root.left = insert(root.left, value); else root.right = insert(root.right, value);
  return root;
}
int depth(node root) { return root == null ? 0 : 1 + max(depth(root.left), depth(root.right)); }
int sum(node root) { return root == null ? 0 : root.value + sum(root.left) + sum(root.right); }
for (int round = 0; round < 10; ++round) {
  node root = null; int value = 1;
  for (int i = 0; i < 4000; ++i) { value = (value * 16807) % 2147483647; root = insert(root, value); }
  path[] paths; string text;
  for (int i = 0; i < 500; ++i) { paths.push(shift(i, 0) * unitcircle); text += string(i); }
  write(depth(root), sum(root), length(text)); write(arclength(paths[499]));
}
"""
# Asymptote's package wants TeX installed: it is unpacked with what the program is linked with.
ASYMPTOTE_PACKAGES = ("asymptote", "libfftw3-double3", "libgsl27", "libgslcblas0", "libglew2.2", "libsigsegv2")
HOMFLY = """#include <homfly.h>
#include <stdio.h>
int main(void) {
    char knot[] = " 1 6 0 1 1 -1 2 1 0 -1 1 1 2 -1 0 1 1 1 2 1", *polynomial = NULL;
    for (int i = 0; i < 2000; i++)
        polynomial = homfly_str(knot);
    puts(polynomial);
    return 0;
}
"""


def beside(name):
    with open(os.path.join(ROOT, "tests", "programs", name), encoding="utf-8") as file:
        return file.read()


# What it is, the command, the file it reads.
DEBIANS = (
    ("w3m", ["w3m", "-dump", "-cols", "80", "page.html"], PAGE),
    ("neko", ["neko", "many.n"], NEKO),
    ("parser3", ["parser3", "many.p"], PARSER),
    ("nix", ["nix-instantiate", "--eval", "--strict", "many.nix"], NIX),
    ("poke", ["poke", "-q", "--no-init-file", "-L", "many.pk"], POKE),
    ("guile", ["guile", "--no-auto-compile", "many.scm"], beside("bdwgc.scm")),
    ("ecl", ["ecl", "-norc", "--shell", "many.lisp"], beside("bdwgc.lisp")),
    ("stalin", ["sh", "-c", "stalin -On -c many.sc && cat many.c", "many.sc"], STALIN),
)


class Checks:
    def __init__(self):
        self.good = self.bad = 0

    def check(self, what, good, seen=""):
        print(f"{'ok  ' if good else 'FAIL'} {what}" + ("" if good else f": {str(seen)[-1500:]}"))
        self.good += bool(good)
        self.bad += not good


def run(argv, folder, ours, preload=False, seconds=300, libraries=""):
    env = {"PATH": os.environ["PATH"], "LC_ALL": "C.UTF-8", "HOME": folder, "MALLARD_DIR": folder}
    env |= {f"NIX_{name}_DIR": os.path.join(folder, "nix", name) for name in ("STORE", "STATE", "LOG", "CONF")}
    if preload:
        env["LD_PRELOAD"] = " ".join(os.path.join(OUT, name) for name in ("libmallard-gc.so.0", "libmallard.so.0"))
    if libraries:
        env["LD_LIBRARY_PATH"] = libraries
    if ours:
        env |= {"LD_LIBRARY_PATH": f"{os.path.join(OUT, 'bdwgc')}:{OUT}:{libraries}", "MALLARD_DEBUG": "gccheckmark=1,gctrace=1"}
    return subprocess.run(argv, cwd=folder, env=env, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=seconds, check=False)


def on_boehms(argv, folder, libraries):
    """What it prints on Boehm's collector. Guile with threads crashes or hangs there once in ten times."""
    for last in (False, False, False, False, True):
        with contextlib.suppress(subprocess.TimeoutExpired):
            done = run(argv, folder, False, seconds=30, libraries=libraries)
            if done.returncode == 0 or last:
                return done
    return subprocess.CompletedProcess(argv, -1, "", "it hangs")


def compare(checks, name, argv, folder, libraries=""):
    theirs = on_boehms(argv, folder, libraries)
    ours = run(argv, folder, True, libraries=libraries)
    checks.check(f"{name} on Boehm's collector", theirs.returncode == 0 and theirs.stdout, theirs)
    checks.check(f"{name} prints the same on Mallard's", ours.returncode == theirs.returncode and ours.stdout == theirs.stdout, (ours.stderr[-600:], ours.stdout[-300:]))
    checks.check(f"{name} was collected for", GCTRACE.search(ours.stderr), ours.stderr)
    return theirs.stdout


def debian_programs(checks, folder):
    expected = {}
    for name, argv, text in DEBIANS:
        source = os.path.join(folder, argv[-1].replace("many.n", "many.neko") if name == "neko" else argv[-1])
        with open(source, "w", encoding="utf-8") as file:
            file.write(text)
        if not shutil.which(name if argv[0] == "sh" else argv[0]):
            print(f"skip {name}: not installed")
            continue
        if name == "neko":
            subprocess.run(["nekoc", source], cwd=folder, check=True, capture_output=True)
        expected[name] = compare(checks, name, argv, folder)
    for name, argv, _ in DEBIANS:
        if name in ("w3m", "guile", "ecl") and shutil.which(argv[0]):
            done = run(argv, folder, True, preload=True)
            checks.check(f"{name} with malloc and the wrappers before it too", done.returncode == 0 and done.stdout == expected[name], (done.returncode, done.stdout, done.stderr[-600:]))


def library_user(checks, folder):
    """A program that uses a library of Debian's that uses Boehm's collector."""
    if not os.path.exists("/usr/include/homfly.h"):
        print("skip homfly: not installed")
        return
    source = os.path.join(folder, "knot.c")
    with open(source, "w", encoding="utf-8") as file:
        file.write(HOMFLY)
    subprocess.run([os.environ.get("CC", "gcc"), source, "-o", os.path.join(folder, "knot"), "-lhomfly"], check=True)
    compare(checks, "homfly", [os.path.join(folder, "knot")], folder)


def asymptote(checks, folder):
    """Unpacked, not installed."""
    root = os.path.join(folder, "asymptote")
    os.mkdir(root)
    with open(os.path.join(folder, "many.asy"), "w", encoding="utf-8") as file:
        file.write(ASYMPTOTE)
    got = subprocess.run(["apt-get", "-qq", "-o", "APT::Sandbox::User=root", "download", *ASYMPTOTE_PACKAGES], cwd=root, capture_output=True, text=True, check=False)
    if got.returncode != 0:
        print(f"skip asymptote: {got.stderr.strip()[-200:]}")
        return
    for package in os.listdir(root):
        subprocess.run(["dpkg-deb", "-x", package, "."], cwd=root, check=True)
    argv = ["env", f"ASYMPTOTE_DIR={root}/usr/share/asymptote", f"{root}/usr/bin/asy", "-noV", "many.asy"]
    compare(checks, "asymptote", argv, folder, libraries=f"{root}/usr/lib/x86_64-linux-gnu")


def crystal(checks, folder):
    """The compiler, and a program with fibers that it makes."""
    if not shutil.which("crystal"):
        print("skip crystal: not installed")
        return
    with open(os.path.join(folder, "fibers.cr"), "w", encoding="utf-8") as file:
        file.write(beside("bdwgc.cr"))
    built = run(["crystal", "build", "--no-color", "fibers.cr", "-o", "fibers"], folder, False)
    checks.check("crystal on Boehm's collector", built.returncode == 0, built)
    expected = compare(checks, "a program of crystal's", [os.path.join(folder, "fibers")], folder)
    built = run(["crystal", "build", "--no-color", "fibers.cr", "-o", "fibers2"], folder, True)
    checks.check("crystal compiles on Mallard's", built.returncode == 0 and GCTRACE.search(built.stderr), built.stderr[-600:])
    done = run([os.path.join(folder, "fibers2")], folder, True)
    checks.check("and what it made prints the same", done.returncode == 0 and done.stdout == expected, (done.stdout, done.stderr[-600:]))


def names(checks):
    """What Debian's headers declare and its library has is here, or is listed as not there."""
    exported = {}
    for name, library in (("theirs", shutil.which("w3m") and "/usr/lib/x86_64-linux-gnu/libgc.so.1"), ("ours", os.path.join(OUT, "libmallard-bdwgc.so.0"))):
        listed = subprocess.run(["nm", "-D", "--defined-only", library or "libgc.so.1"], capture_output=True, text=True, check=False).stdout
        exported[name] = set(re.findall(r" [A-Z] (GC_\w+)", listed))
    public = set()
    for header in ("gc.h", "gc_mark.h", "gc_typed.h", "gc_inline.h", "gc_gcj.h", "gc_disclaim.h", "gc_backptr.h", "javaxfc.h"):
        with open(os.path.join("/usr/include/gc", header), encoding="latin-1") as file:
            public |= set(re.findall(r"\bGC_\w+", re.sub(r"/\*.*?\*/", "", file.read(), flags=re.DOTALL)))
    with open(os.path.join(ROOT, "include", "mallard", "bdwgc", "gc", "gc.h"), encoding="utf-8") as file:
        table = re.search(r"Not there, .*?\n \* (?=A program)", file.read(), re.DOTALL)
    told = set(re.findall(r"\bGC_\w+", table.group(0))) if table else set()
    missing = (exported["theirs"] & public) - exported["ours"]
    checks.check(f"{len(exported['theirs'] & exported['ours'])} of Boehm's names are there, the header lists the other {len(missing)}", len(exported["theirs"]) > 200 and missing == told,
                 (sorted(missing - told), sorted(told - missing)))


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
        library_user(checks, folder)
        asymptote(checks, folder)
        crystal(checks, folder)
        names(checks)
        compiled(checks, folder)
    print(f"{checks.good} passed, {checks.bad} failed")
    return 1 if checks.bad else 0


if __name__ == "__main__":
    sys.exit(main())
