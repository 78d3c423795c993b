#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Fails when a file includes something that src/LAYERS does not allow its folder, or when no file of a
folder includes what is allowed.

A folder may always include itself, base and the public headers. Also fails for an include that is
not root-relative, and for `#if` on platform macros outside src/os.
"""
import re
import sys

from source_tree import ROOT, sources

INCLUDE = re.compile(r'^\s*#\s*include\s+"([^"]+)"')
PLATFORM = re.compile(r'^\s*#\s*(if|ifdef|ifndef|elif)\b.*(__x86_64__|__aarch64__|__linux__|__GLIBC__|__clang__)')


def read_layers():
    allowed = {}
    for line in (ROOT / "src/LAYERS").read_text().splitlines():
        line = line.split("#")[0].strip()
        if line:
            folder, others = line.split(":")
            allowed[folder.strip()] = set(others.split()) | {folder.strip(), "base"}
    return allowed


def folder_of(path):
    return path.relative_to(ROOT / "src").parts[0]


def unused(allowed, files):
    found = {folder: {folder, "base"} for folder in allowed}
    for path in files:
        matches = map(INCLUDE.match, path.read_text().splitlines())
        found.setdefault(folder_of(path), set()).update(match[1].split("/")[0] for match in matches if match)
    for folder, others in allowed.items():
        for other in sorted(others - found[folder]):
            yield f"src/LAYERS: {folder} does not include {other}"


def check_file(path, allowed):
    folder = folder_of(path)
    for number, line in enumerate(path.read_text().splitlines(), 1):
        where = f"{path.relative_to(ROOT)}:{number}"
        if PLATFORM.match(line) and folder != "os":
            yield f"{where}: platform #if outside src/os"
        match = INCLUDE.match(line)
        if not match or match[1].startswith("mallard/") or "/" not in match[1] and match[1].endswith(".pb-c.h"):
            continue
        target = match[1].split("/")[0]
        if "/" not in match[1] or target == "..":
            yield f"{where}: include is not root-relative: {match[1]}"
        elif target not in allowed.get(folder, set()):
            yield f"{where}: {folder} may not include {match[1]}"


def main():
    allowed = read_layers()
    files = sources("src")
    faults = [fault for path in files for fault in check_file(path, allowed)]
    faults += unused(allowed, files)
    faults += [f"src/{d.name}: not in src/LAYERS" for d in (ROOT / "src").iterdir()
               if d.is_dir() and d.name not in allowed]
    print("\n".join(faults), end="\n" if faults else "")
    print(f"{'FAIL' if faults else 'ok'} layers ({len(files)} files)")
    return bool(faults) or not files


if __name__ == "__main__":
    sys.exit(main())
