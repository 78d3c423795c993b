#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Fails over what a reader should not meet in a source file.

src and include: every file opens with a comment that says what it is for; in a .c of the core the
comment also says how threads meet there. No function takes two booleans side by side: a call could
swap them unseen. Everywhere: no notes to oneself, no paths of somebody's own machine.

Needs universal-ctags.
"""
import re
import sys

from source_tree import ROOT, is_core, relative, sources, tags

LICENCE = "SPDX-License-Identifier: Apache-2.0"
OPENING = re.compile(r"\A/\*(.*?)\*/", re.S)
ESSAY_WORDS = 3
THREADS = re.compile(r"synchroni|\block|thread|atomic", re.I)
BOOLEANS = re.compile(r"\bbool\b[^,()]*,\s*(const )?bool\b")
# Written in two parts, since this file is read too.
NOTE = re.compile(r"\b(TO" r"DO|FIX" r"ME|X" r"XX|HA" r"CK)\b")
OWN_PATH = re.compile(r"(?<![\w.$}>-])(/(home|Users|work|root)/[\w.]|/tmp/[a-z]+/[\w.]+\.(py|md|c|sh)\b|\.\./shared/)")
SAID_BY_PURPOSE = {("tests/unit/plane/test_keep_store.c", "/home" "/x")}
READ = {".c", ".h", ".cc", ".py", ".sh", ".js", ".mjs", ".ts", ".tsx", ".css", ".html", ".md", ".mk", ".map",
        ".in", ".awk", ".proto", ".yaml", ".yml", ".conf", ".service", ".socket"}
FOLDERS = ("src", "include", "tests", "web", "deploy", "proto", ".ci")
NAMED = ("Makefile", "README.md", ".ci/run", "src/LAYERS")


def is_own(path):
    return not {"node_modules", "corpus", "build"} & set(path.relative_to(ROOT).parts)


def texts():
    files = {path for folder in FOLDERS for path in (ROOT / folder).rglob("*")
             if path.is_file() and path.suffix in READ and is_own(path)}
    return sorted(files | {ROOT / name for name in NAMED if (ROOT / name).exists()})


def essay_faults(path, where):
    text = path.read_text()
    if not text.strip():
        yield f"{where}: empty"
        return
    opening = OPENING.match(text)
    if not opening or LICENCE not in opening[1]:
        yield f"{where}: does not open with a comment that names its licence"
        return
    essay = opening[1].replace(LICENCE, "").replace("*", " ")
    if len(essay.split()) < ESSAY_WORDS:
        yield f"{where}: does not say what it is for"
    if path.suffix == ".c" and is_core(path) and not THREADS.search(essay):
        yield f"{where}: does not say how threads meet here"


def boolean_faults(files):
    for tag in tags(files, "fp"):
        if BOOLEANS.search(tag.get("signature", "")):
            yield f"{relative(tag['path'])}:{tag['line']}: {tag['name']} takes two booleans side by side"


def word_faults(path, where):
    for number, line in enumerate(path.read_text(errors="replace").splitlines(), 1):
        for match in NOTE.finditer(line):
            yield f"{where}:{number}: a note to oneself: {match[0]}"
        if OWN_PATH.search(line) and not any(where == w and said in line for w, said in SAID_BY_PURPOSE):
            yield f"{where}:{number}: a path of one machine: {OWN_PATH.search(line)[0]}"


def main():
    code, all_texts = sources("src", "include"), texts()
    faults = [f for path in code for f in essay_faults(path, relative(path))]
    faults += boolean_faults(code)
    faults += [f for path in all_texts for f in word_faults(path, relative(path))]
    print("\n".join(faults), end="\n" if faults else "")
    print(f"{'FAIL' if faults else 'ok'} sources ({len(code)} opened, {len(all_texts)} read)")
    return bool(faults) or not code


if __name__ == "__main__":
    sys.exit(main())
