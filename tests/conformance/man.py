#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The manual pages say what the programs, the header and the knobs are, and nothing else.

    man.py MALLARD [MALLARDD]

Both directions: every command and option of --help is in its section, and every option in a section
is in --help. Without MALLARDD its page is only checked for form.
"""
import os
import pathlib
import re
import subprocess
import sys

import live

ROOT = pathlib.Path(__file__).resolve().parents[2]
PAGES = ROOT / "deploy/man"
OPTION = re.compile(r"(?<![\w/\-=:.])--?[a-z][a-z-]*")


def plain(page):
    """The page as people read it, without bold and underlines."""
    done = subprocess.run(["mandoc", "-T", "ascii", "-O", "width=200", str(page)], capture_output=True, text=True, check=True)
    return re.sub(r".\x08", "", done.stdout)


def sections(text, indent):
    """Headings at that indent, each with what is below it."""
    found, name = {}, None
    for line in text.splitlines():
        heading = re.fullmatch(rf" {{{indent}}}(\S.*)", line)
        if heading or (line and not line.startswith(" " * (indent + 1))):
            name = heading[1] if heading else None
        elif name:
            found[name] = found.get(name, "") + line + "\n"
    return found


def options_of_help(text):
    """Options that a help text defines: at the start of an indented line, or in its usage."""
    found = set()
    for line in text.splitlines():
        entry = re.match(r"  (-\S.*?)(?:  |$)", line)
        if entry or line.startswith(("usage:", "    ")) and "[" in line:
            found |= set(OPTION.findall(entry[1] if entry else line))
    return found


def options_of_page(text):
    """Options that a section defines: at the start of a tagged paragraph."""
    found = set()
    for line in text.splitlines():
        entry = re.match(r" {7}(-\S.*?)(?:  |$)", line)
        if entry:
            found |= set(OPTION.findall(entry[1]))
    return found


def same(checks, name, page, program):
    checks.check(name, page == program, f"only in the page: {sorted(page - program)}, only in --help: {sorted(program - page)}")


def output_of(*command):
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def check_form(checks):
    pages = sorted(PAGES.glob("*.[1-8]"))
    checks.equal("the pages", [page.name for page in pages], ["libmallard.3", "mallard.1", "mallard.7", "mallardd.8"])
    for page in pages:
        lint = subprocess.run(["mandoc", "-T", "lint", "-W", "warning", str(page)], capture_output=True, text=True, check=False)
        checks.equal(f"{page.name}: mandoc -T lint", lint.stdout + lint.stderr, "")
        for number, line in enumerate(page.read_text().splitlines(), 1):
            if len(line) > 100 or line != line.rstrip():
                checks.check(f"{page.name}:{number}", False, "too long, or blanks at the end")
        names = {f"{p.stem}({p.suffix[1:]})" for p in pages}
        meant = set(re.findall(r"\b(?:lib)?mallardd?\(\d\)", plain(page)))
        checks.check(f"{page.name}: refers to pages that exist", meant <= names, meant - names)


def check_mallard(checks, mallard):
    text = plain(PAGES / "mallard.1")
    commands = sections(sections(text, 0)["COMMANDS"], 3)
    overview = output_of(mallard, "--help")
    listed = re.findall(r"^  ([a-z]+) ", overview, re.MULTILINE)
    checks.check("mallard --help lists commands", len(listed) >= 10, overview)
    same(checks, "mallard.1: the commands", set(commands), set(listed) | {"help"})
    for command in listed:
        given = options_of_help(output_of(mallard, "help", command))
        checks.check(f"mallard {command}: usage", command in commands and f"mallard {command}" in commands[command])
        same(checks, f"mallard {command}: options", options_of_page(commands.get(command, "")), given)
    for name in set(re.findall(r"\b(?:MALLARD_[A-Z_]+|NO_COLOR)\b", overview + "".join(output_of(mallard, "help", c) for c in listed))):
        checks.check(f"mallard.1 has {name}", name in text)


def check_mallardd(checks, mallardd):
    page = options_of_page(sections(plain(PAGES / "mallardd.8"), 0)["OPTIONS"])
    same(checks, "mallardd.8: options", page, options_of_help(output_of(mallardd, "--help")))


def check_library(checks):
    header = (ROOT / "include/mallard/mallard.h").read_text()
    code = re.sub(r"/\*.*?\*/", "", header, flags=re.DOTALL)
    functions = set(re.findall(r"\b(mallard_\w+)\(", code))
    page = plain(PAGES / "libmallard.3")
    synopsis = sections(page, 0)["SYNOPSIS"]
    checks.check("the header has functions", len(functions) > 10, functions)
    same(checks, "libmallard.3: functions", set(re.findall(r"\b(mallard_\w+)\(", synopsis)), functions)
    described = sections(page, 0)["DESCRIPTION"]
    for function in sorted(functions):
        checks.check(f"libmallard.3 describes {function}", f"{function}()" in described)
    prototypes = {re.sub(r"[\s*]+", " ", one) for one in re.findall(r"^[a-z][^;{}#\"]*?\bmallard_\w+\([^;]*?\);", code, re.MULTILINE)}
    shown = {re.sub(r"[\s*]+", " ", one) for one in re.findall(r"^ +([a-z][^;#]*?mallard_\w+\([^;]*?\);)", synopsis, re.MULTILINE)}
    same(checks, "libmallard.3: prototypes", shown, prototypes)


def check_knobs(checks):
    source = (ROOT / "src/front/options.c").read_text()
    knobs = dict(re.findall(r'\{"([A-Z_]+)", \w+,\s*"[^"]*",\s*"([^"]*)"\}', source))
    page = sections(plain(PAGES / "mallard.7"), 0)["KNOBS"]
    entries = dict(re.findall(r"^ {7}([A-Z_]+)(?: {2,}|\n)(.*?)(?=^ {7}[A-Z_]+(?: {2,}|\n)|\Z)", page, re.MULTILINE | re.DOTALL))
    checks.check("options.c has knobs", len(knobs) >= 6, knobs)
    same(checks, "mallard.7: knobs", set(entries), set(knobs) | {"MALLARD_DIR"})
    for name, default in knobs.items():
        said = re.search(r"Default: (.*)", entries.get(name, ""), re.DOTALL)
        checks.check(f"mallard.7: default of {name}", said and said[1].startswith(default), said and said[1])


def main(arguments):
    if not arguments:
        print(__doc__, file=sys.stderr)
        return 2
    checks = live.Checks()
    check_form(checks)
    check_mallard(checks, os.path.abspath(arguments[0]))
    if len(arguments) > 1 and os.path.exists(arguments[1]):
        check_mallardd(checks, os.path.abspath(arguments[1]))
    check_library(checks)
    check_knobs(checks)
    return checks.finish()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
