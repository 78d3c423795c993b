# SPDX-License-Identifier: Apache-2.0
"""What the lints know of the tree: where it is, which folders are the core, what ctags finds."""
import json
import pathlib
import subprocess

ROOT = pathlib.Path(__file__).resolve().parents[2]
CORE = {"base", "os", "meta", "box", "pageheap", "central", "cache", "sample", "gc", "front"}


def relative(path):
    return str(pathlib.Path(path).relative_to(ROOT))


def is_core(path):
    parts = pathlib.Path(path).relative_to(ROOT).parts
    return parts[0] == "src" and parts[1] in CORE


def sources(*folders):
    return sorted(path for folder in folders for path in (ROOT / folder).rglob("*.[ch]"))


def tags(files, kinds):
    """Functions (f) and prototypes (p) with their first and last line and their signature."""
    command = ["ctags", "--output-format=json", "--fields=+neS", f"--kinds-C={kinds}", "-f", "-"]
    out = subprocess.run(command + [str(f) for f in files], capture_output=True, text=True, check=True)
    return [json.loads(line) for line in out.stdout.splitlines()]
