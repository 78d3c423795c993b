#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Every lint fails where it should: each is run over a small tree that passes and then over the
same tree with one fault in it. Usage: faults.py
"""
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parents[2]
GOOD_C = """/* SPDX-License-Identifier: Apache-2.0
 *
 * Adds two numbers for whoever asks.
 *
 * SYNCHRONIZATION. None: all is the caller's.
 */
#include "base/good.h"

int mal_add(int a, int b) {
    return a + b;
}
"""
GOOD_H = """/* SPDX-License-Identifier: Apache-2.0
 *
 * Adding numbers, of any sign.
 */
#ifndef MAL_BASE_GOOD_H
#define MAL_BASE_GOOD_H

int mal_add(int a, int b);

#endif
"""
PLANE_C = GOOD_C.replace("mal_add", "view_add").replace("SYNCHRONIZATION. None: all is the caller's.", "Cheap.")
TREE = {
    "src/LAYERS": "base :\nview :\n",
    "src/base/good.c": GOOD_C,
    "src/base/good.h": GOOD_H,
    "src/view/good.c": PLANE_C.replace('#include "base/good.h"\n', "int view_add(int a, int b);"),
    "include/mallard/good.h": GOOD_H.replace("MAL_BASE", "MALLARD").replace("mal_add", "mallard_add"),
    "include/mallard/bdwgc/good.h": GOOD_H.replace("MAL_BASE", "MALLARD_BDWGC"),
    "include/mallard/bdwgc/gc/good.h": GOOD_H.replace("MAL_BASE", "MALLARD_GC"),
    "tests/good.c": GOOD_C,
    ".ci/run": "#!/bin/sh\necho hello\n",
}
LONG = "int mal_long(void) {\n" + "    mal_add(1, 2);\n" * 60 + "    return 0;\n}\n"
MANY = "".join(f"\nint mal_add_{i}(int a);\nint mal_add_{i}(int a) {{\n    return a;\n}}\n" for i in range(120))
NOTE = "/* TO" "DO: better */\n"
# lint, file, how the fault changes its text, what the lint says of it
FAULTS = [
    ("sources", "src/base/empty.c", lambda text: "", "src/base/empty.c: empty"),
    ("sources", "include/mallard/empty.h", lambda text: "\n", "include/mallard/empty.h: empty"),
    ("sources", "src/base/good.c", lambda text: "int mal_x;\n", "does not open with a comment"),
    ("sources", "src/base/good.c", lambda text: text.replace("SPDX", "XDPS"), "that names its licence"),
    ("sources", "src/base/good.h", lambda text: text.replace("Adding numbers, of any sign.", "Sums."), "what it is for"),
    ("sources", "src/base/good.c", lambda text: text.replace("SYNCHRONIZATION. ", ""), "how threads meet"),
    ("sources", "src/base/good.h", lambda text: text.replace("int a, int b", "bool a, bool b"), "two booleans"),
    ("sources", "src/base/good.c", lambda text: text + NOTE, "a note to oneself"),
    ("sources", "tests/good.c", lambda text: text + "/* see /ho" "me/me/notes */\n", "a path of one machine"),
    ("length", "src/base/good.c", lambda text: text + LONG, "mal_long: 61 lines"),
    ("length", "src/base/good.c", lambda text: text + MANY, "code lines, at most"),
    ("length", "src/base/good.c", lambda text: GOOD_C.replace("    return a + b;\n", "    a++;\n" * 12 + "    return a + b;\n"),
     "in the median"),
    ("layers", "src/base/good.c", lambda text: text.replace("base/good.h", "view/good.h"), "base may not include"),
    ("layers", "src/base/good.c", lambda text: text.replace("base/good.h", "good.h"), "not root-relative"),
    ("layers", "src/view/good.c", lambda text: text + "#ifdef __x86_64__\n#endif\n", "platform #if outside src/os"),
    ("layers", "src/LAYERS", lambda text: text.replace("base :", "base : view"), "base does not include view"),
    ("layers", "src/gone/good.c", lambda text: GOOD_C, "src/gone: not in src/LAYERS"),
    ("headers", "src/base/good.h", lambda text: text.replace("int a", "size_t a"), "FAIL headers"),
    ("headers", "include/mallard/good.h", lambda text: text.replace("int a", "int a, int class"), "FAIL headers"),
    ("format", "tests/good.c", lambda text: text.replace("    return", "  return"), "not formatted"),
    ("shell", ".ci/run", lambda text: text + "cd $HOME\necho $x\n", "FAIL shell"),
]


def command_of(lint, tree):
    script = next((tree / "tests/lint").glob(f"{lint}.*"))
    runner = [sys.executable, "-B"] if script.suffix == ".py" else ["sh"]
    return runner + [str(script)] + ([str(tree)] if lint == "headers" else [])


def run(lint, tree):
    done = subprocess.run(command_of(lint, tree), cwd=tree, capture_output=True, text=True)
    return done.returncode, done.stdout + done.stderr


def build_tree(tree):
    for name, text in TREE.items():
        (tree / name).parent.mkdir(parents=True, exist_ok=True)
        (tree / name).write_text(text)
    (tree / "web").mkdir()
    (tree / "deploy").mkdir()
    shutil.copy(ROOT / ".clang-format", tree)
    shutil.copytree(ROOT / "tests/lint", tree / "tests/lint", ignore=shutil.ignore_patterns("__pycache__", "faults.py"))


def check(what, good, text, counts):
    counts[0 if good else 1] += 1
    print(f"{'ok  ' if good else 'FAIL'} {what}")
    if not good:
        print(text)


def seed(tree, name, change):
    path = tree / name
    before = path.read_text() if path.exists() else ""
    path.parent.mkdir(exist_ok=True)
    path.write_text(change(before))


def try_lint(lint, counts):
    for name, change, said in [(None, None, "ok")] + [fault[1:] for fault in FAULTS if fault[0] == lint]:
        with tempfile.TemporaryDirectory() as folder:
            tree = pathlib.Path(folder)
            build_tree(tree)
            if name:
                seed(tree, name, change)
            status, text = run(lint, tree)
            if text.startswith("skip"):
                print(text, end="")
                return
            good = said in text and (status != 0) == bool(name)
            check(f"{lint}: {name + ': ' + said if name else 'a tree without a fault'}", good, text, counts)


NEEDED = {"libmallard.so.0": "int mallard_x;", "libmallard-gc.so.0": "int x;", "libmallard-bdwgc.so.0": "int GC_x;",
          "libmallard.a": "int mal_x;"}
# file, its text (none: no such file), what it is linked with besides, what the lint says of it
NEEDED_FAULTS = [
    ("libmallard.so.0", "int mallard_x;", ["-Wl,--no-as-needed", "-lm"], "libmallard.so.0 needs more than libc"),
    ("libmallard-gc.so.0", "int x;", ["-Wl,--no-as-needed", "-lm"], "libmallard-gc.so.0 needs more"),
    ("libmallard.so.0", "int x;", [], "libmallard.so.0 exports what it should not"),
    ("libmallard-bdwgc.so.0", "int x;", [], "libmallard-bdwgc.so.0 exports what it should not"),
    ("libmallard.a", "int x;", [], "libmallard.a defines names without our prefix"),
    ("libmallard.a", None, [], "libmallard.a is not there"),
]


def build_library(folder, name, text, options):
    path = os.path.join(folder, name)
    if name.endswith(".a"):
        subprocess.run(["gcc", "-c", "-x", "c", "-", "-o", path + ".o"], input=text, text=True, check=True)
        subprocess.run(["ar", "rcs", path, path + ".o"], check=True)
    else:
        subprocess.run(["gcc", "-shared", "-nostartfiles", "-x", "c", "-", "-o", path] + options, input=text, text=True, check=True)


def try_needed(counts):
    """Each fault of a library beside good ones."""
    lint = str(ROOT / "tests/lint/needed.sh")
    for faulty, its_text, its_options, fault in [(None, None, [], "")] + NEEDED_FAULTS:
        with tempfile.TemporaryDirectory() as folder:
            for name, good_text in NEEDED.items():
                text, options = (its_text, its_options) if name == faulty else (good_text, [])
                if text is not None:
                    build_library(folder, name, text, options)
            done = subprocess.run(["sh", lint, folder], capture_output=True, text=True)
            good = (done.returncode != 0) == bool(fault) and fault in done.stdout
            check(f"needed: {fault or 'good libraries'}", good, done.stdout + done.stderr, counts)


def main():
    counts = [0, 0]
    for lint in dict.fromkeys(fault[0] for fault in FAULTS):
        try_lint(lint, counts)
    try_needed(counts)
    print(f"{counts[0]} passed, {counts[1]} failed")
    return bool(counts[1])


if __name__ == "__main__":
    sys.exit(main())
