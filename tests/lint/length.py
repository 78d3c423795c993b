#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Prints how long the functions are, per side of the project, and fails over the last column.

Needs universal-ctags. The core: median at most 10 lines, none over 80. The rest: none over 120.
Files: 900 code lines in a .c, 400 in a header.
"""
import json
import pathlib
import statistics
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parents[2]
CORE = {"base", "os", "meta", "box", "pageheap", "central", "cache", "sample", "gc", "front"}
LIMIT = {"core": 80, "plane": 120}
MEDIAN = {"core": 10, "plane": 15}


def functions(files):
    command = ["ctags", "--output-format=json", "--fields=+ne", "--kinds-C=f", "-f", "-"]
    out = subprocess.run(command + [str(f) for f in files], capture_output=True, text=True, check=True)
    for line in out.stdout.splitlines():
        tag = json.loads(line)
        if "end" in tag:
            yield tag["path"], tag["name"], tag["end"] - tag["line"] - 1


def side_of(path):
    return "core" if pathlib.Path(path).relative_to(ROOT / "src").parts[0] in CORE else "plane"


def code_lines(path):
    text = path.read_text()
    return sum(1 for line in text.splitlines() if line.strip() and not line.strip().startswith(("/*", "*", "//")))


def main():
    files = sorted((ROOT / "src").rglob("*.[ch]"))
    lengths = {"core": [], "plane": []}
    faults = []
    for path, name, lines in functions(files):
        side = side_of(path)
        lengths[side].append(lines)
        if lines > LIMIT[side]:
            faults.append(f"{path}: {name} has {lines} lines, at most {LIMIT[side]}")
    for path in files:
        most = 400 if path.suffix == ".h" else 900
        if code_lines(path) > most:
            faults.append(f"{path}: {code_lines(path)} code lines, at most {most}")
    for side, values in lengths.items():
        if not values:
            continue
        values.sort()
        median = statistics.median(values)
        print(f"{side}: {len(values)} functions, median {median}, p90 {values[len(values) * 9 // 10]}, longest {values[-1]}")
        if median > MEDIAN[side]:
            faults.append(f"{side}: the median function has {median} lines, at most {MEDIAN[side]}")
    print("\n".join(faults), end="\n" if faults else "")
    print("FAIL length" if faults else "ok length")
    return bool(faults)


if __name__ == "__main__":
    sys.exit(main())
