#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Prints how long the functions are, per side of the project, and fails over the limits below.

Needs universal-ctags. Lines of a function are those between its braces' lines; code lines of a file
are those that are neither blank nor comment. What is longer is listed with its reason.
"""
import statistics
import sys

from source_tree import is_core, relative, sources, tags

FUNCTION_LINES = {"core": 40, "plane": 50}
MEDIAN_LINES = {"core": 8, "plane": 10}
FILE_LINES = {".c": 400, ".h": 300}
LISTED = {
    "src/cli/top_state.c: top_state_key": "one switch over the keys",
}


def functions(files):
    for tag in tags(files, "f"):
        if "end" in tag:
            yield tag["path"], tag["name"], tag["end"] - tag["line"] - 1


def side_of(path):
    return "core" if is_core(path) else "plane"


def code_lines(path):
    text = path.read_text()
    return sum(1 for line in text.splitlines() if line.strip() and not line.strip().startswith(("/*", "*", "//")))


def function_faults(files, ret_lengths):
    for path, name, lines in functions(files):
        side = side_of(path)
        ret_lengths[side].append(lines)
        if lines > FUNCTION_LINES[side]:
            yield f"{relative(path)}: {name}", f"{lines} lines, at most {FUNCTION_LINES[side]}"


def file_faults(files):
    for path in files:
        if code_lines(path) > FILE_LINES[path.suffix]:
            yield relative(path), f"{code_lines(path)} code lines, at most {FILE_LINES[path.suffix]}"


def median_faults(lengths):
    for side, values in lengths.items():
        values.sort()
        median = statistics.median(values or [0])
        if values:
            print(f"{side}: {len(values)} functions, median {median}, p90 {values[len(values) * 9 // 10]}, "
                  f"longest {values[-1]}")
        if not values or median > MEDIAN_LINES[side]:
            yield side, f"{len(values)} functions of {median} lines in the median, at most {MEDIAN_LINES[side]}"


def main():
    files = sources("src")
    lengths = {"core": [], "plane": []}
    over = dict([*function_faults(files, lengths), *file_faults(files), *median_faults(lengths)])
    faults = [f"{what}: {over[what]}" for what in over if what not in LISTED]
    for what in LISTED.keys() - over.keys():
        print(f"{what}: listed, but no longer too long")
    print("\n".join(faults), end="\n" if faults else "")
    print("FAIL length" if faults else "ok length")
    return bool(faults)


if __name__ == "__main__":
    sys.exit(main())
