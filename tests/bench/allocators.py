# SPDX-License-Identifier: Apache-2.0
"""Which allocators stand beside each other, where their libraries are, what they need set.

glibc (nothing preloaded), jemalloc, tcmalloc (google-perftools) and mimalloc as Debian ships them,
and Mallard as built here with sampling on. Named among the peers, Mallard also stands in other
settings: mallard-off samples nothing, mallard-rate1 everything, mallard-lock has locked caches. Extra
allocators come as NAME:PATH.so.

What counts as "the best" of a workload is the best of glibc, the peers, the extra ones and Mallard.
Other forms of Mallard (settings, and extra libraries that are Mallard) are shown beside it and
do not set that mark.
"""
import dataclasses
import os
import pathlib
import platform
import shutil
import subprocess
import sys

LIBRARY_DIRS = [f"/usr/lib/{platform.machine()}-linux-gnu", "/usr/lib", "/usr/local/lib"]
PEERS = {"jemalloc": "libjemalloc.so.2", "tcmalloc": "libtcmalloc.so.4", "mimalloc": "libmimalloc.so.2.0"}
OURS = "mallard"
SETTINGS = {"mallard-off": {"MALLARD_MEMPROFILERATE": "0"}, "mallard-rate1": {"MALLARD_MEMPROFILERATE": "1"},
            "mallard-lock": {"MALLARD_CPU_CACHE": "lock"}}


class Problem(Exception):
    """Something needed is missing, or a program failed."""

    status = 1


class Misuse(Problem):
    """The caller named something that is not there."""

    status = 2


def give_up(program, problem):
    """One line for the Problem or OSError that ended a program; returns the exit status."""
    print(f"\n{program}: {problem}" if sys.stderr.isatty() else f"{program}: {problem}", file=sys.stderr)
    return getattr(problem, "status", 1)


@dataclasses.dataclass
class Allocator:
    name: str
    path: str = ""
    env: dict = dataclasses.field(default_factory=dict)
    own: bool = False

    @property
    def sets_mark(self):
        return not self.own or self.name == OURS


def find_library(name):
    return next((f"{d}/{name}" for d in LIBRARY_DIRS if os.path.exists(f"{d}/{name}")), None)


def is_mallard(path):
    return b"mallard_free_os_memory" in pathlib.Path(path).read_bytes()


def preload_fails(path):
    env = {"LD_PRELOAD": path, "MALLARD_DIR": os.environ.get("MALLARD_DIR", "/dev/shm"), "PATH": "/usr/bin:/bin"}
    done = subprocess.run(["/bin/true"], env=env, capture_output=True, check=False)
    return done.returncode != 0 or b"cannot be preloaded" in done.stderr


def checked(name, path):
    if not os.path.exists(path):
        raise Misuse(f"{name}: no library {path}")
    if preload_fails(os.path.abspath(path)):
        raise Problem(f"{name}: {path} cannot be preloaded")
    return os.path.abspath(path)


def choose(lib, peers, extras, copies=None):
    """A list in the order of the table. A peer that is not installed is named and left out. Libraries
    built by hand are copied to `copies`, so that a rebuild meanwhile cannot change what is measured."""
    chosen = [Allocator("glibc")]
    for name in peers:
        if name == "glibc" or name in SETTINGS:
            continue
        if name not in PEERS:
            raise Misuse(f"no peer named {name}: {' '.join([*PEERS, *SETTINGS])}")
        path = find_library(PEERS[name])
        if path:
            chosen.append(Allocator(name, checked(name, path)))
        else:
            print(f"bench: {name} left out: no {PEERS[name]} (tests/support/install-deps.sh bench)", file=sys.stderr)
    for extra in extras:
        name, _, path = extra.partition(":")
        path = copied(checked(name, path), name, copies)
        chosen.append(Allocator(name, path, own=is_mallard(path)))
    return chosen + forms(lib, [name for name in peers if name in SETTINGS], copies)


def forms(lib, settings, copies=None):
    """One build of Mallard in the settings of these names, then as it is."""
    ours = copied(checked(OURS, lib), OURS, copies)
    return [Allocator(name, ours, SETTINGS[name], own=True) for name in settings] + [Allocator(OURS, ours, own=True)]


def copied(path, name, copies):
    if not copies:
        return path
    target = pathlib.Path(copies) / f"{name}-{pathlib.Path(path).name}"
    shutil.copy(path, target)
    target.chmod(0o755)
    return str(target)


def names_list(text):
    return [name for name in text.split(",") if name]


def add_options(parser, root):
    parser.add_argument("--lib", default=str(root / "build/release/libmallard.so.0"))
    parser.add_argument("--bin", type=pathlib.Path, default=root / "build/release/tests/bin/bench", help="where the test programs are")
    parser.add_argument("--out", type=pathlib.Path, default=root / "build/bench", help="where JSON and SVG go")
    parser.add_argument("--peers", type=names_list, default=list(PEERS), help=f"beside glibc, of: {' '.join([*PEERS, *SETTINGS])}")
    parser.add_argument("--extra", type=names_list, default=[], metavar="NAME:PATH.so,...", help="other libraries")
    parser.add_argument("--scale", type=float, default=1.0, help="1: the full work")
    parser.add_argument("--patience", type=float, default=600, help="seconds to spend on runs that others disturbed; 0: keep them")
