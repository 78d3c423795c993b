#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""What MALLARD_GC_TYPE and its kin accept, and what they refuse at compile time.

    gc_types.py

Every snippet is compiled by gcc and by clang as -std=c11 and as -std=gnu2x (gnu17's successor, by
whatever name the compiler has). A right one must compile without a warning; a wrong one must not
compile, and the compiler must say the sentence. Builds nothing else.
"""
import pathlib
import shutil
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parents[2]
HEAD = """
#include <mallard/gc.h>
struct unseen;
struct item { long a; void *p; struct unseen *o; };
struct node { struct node *left, *right; const char *name; long key; int small; void (*call)(void); };
struct wide { char *tail; long x; void *kids[70]; int numbers[4]; long longs[4]; void *square[2][2];
              struct item item; union { long l; void *p; } arm; unsigned bits : 3; };
struct packed { char c; void *p; } __attribute__((packed));
struct vec { struct vec *next; size_t n; struct item v[]; };
struct text { struct text *next; char letter[]; };
struct list { size_t n; struct node *const volatile item[]; };
"""
RIGHT = {
    "pointers": "MALLARD_GC_TYPE(t, struct node, left, right, name);",
    "one": "MALLARD_GC_TYPE(t, struct node, left);",
    "function pointer": "MALLARD_GC_TYPE(t, struct node, call);",
    "array, nested, union arm": "MALLARD_GC_TYPE(t, struct wide, tail, kids, item.p, item.o, arm.p);",
    "flexible": "MALLARD_GC_TYPE_FLEX(t, struct vec, (next), v, struct item, p, o);",
    "flexible without head": "MALLARD_GC_TYPE_FLEX(t, struct vec, (), v, struct item, o);",
    "flexible without pointers in it": "MALLARD_GC_TYPE_FLEX(t, struct text, (next), letter, char, );",
    "array of pointers": "MALLARD_GC_TYPE_POINTERS(t, struct list, (), item);",
    "noscan": "MALLARD_GC_TYPE_NOSCAN(t, char[64]);",
    "masks": """
MALLARD_GC_TYPE(t, struct node, left, right, name);
MALLARD_GC_TYPE(u, struct wide, tail, kids, arm.p);
_Static_assert(MALLARD_GC_RUN_COUNT_(t_runs_) == 3 && MALLARD_GC_RUN_COUNT_(u_runs_) == 3, "runs");
_Static_assert(MALLARD_GC_BITS_(2, 70) == ~(uint64_t)3 && MALLARD_GC_BITS_(64, 1) == 0, "bits");
""",
}
FIELD = "is not a word-aligned pointer field"
WRONG = {
    "int": ("MALLARD_GC_TYPE(t, struct node, small);", FIELD),
    "long": ("MALLARD_GC_TYPE(t, struct node, key);", FIELD),
    "second of three": ("MALLARD_GC_TYPE(t, struct node, left, key, name);", FIELD),
    "array of int": ("MALLARD_GC_TYPE(t, struct wide, numbers);", FIELD),
    "array of long": ("MALLARD_GC_TYPE(t, struct wide, longs);", FIELD),
    "array of arrays": ("MALLARD_GC_TYPE(t, struct wide, square);", FIELD),
    "long arm": ("MALLARD_GC_TYPE(t, struct wide, arm.l);", FIELD),
    "unaligned": ("MALLARD_GC_TYPE(t, struct packed, p);", FIELD),
    "structure": ("MALLARD_GC_TYPE(t, struct wide, item);", ""),
    "bit field": ("MALLARD_GC_TYPE(t, struct wide, bits);", ""),
    "no such field": ("MALLARD_GC_TYPE(t, struct node, middle);", ""),
    "head of a flexible one": ("MALLARD_GC_TYPE_FLEX(t, struct vec, (n), v, struct item, p);", FIELD),
    "element's field": ("MALLARD_GC_TYPE_FLEX(t, struct vec, (next), v, struct item, a);", FIELD),
    "element's type": ("MALLARD_GC_TYPE_FLEX(t, struct vec, (next), v, struct node, left);",
                       "is no array of"),
    "no array of pointers": ("MALLARD_GC_TYPE_POINTERS(t, struct vec, (next), v);", ""),
    "letters as pointers": ("MALLARD_GC_TYPE_POINTERS(t, struct text, (next), letter);",
                            "is no array of pointers"),
}


def compile_one(compiler, standard, text):
    command = [compiler, f"-std={standard}", "-Wall", "-Wextra", "-Werror", "-fsyntax-only",
               f"-I{ROOT / 'include'}", "-x", "c", "-"]
    return subprocess.run(command, input=HEAD + text + "\n", capture_output=True, text=True)


def fault_of(done, sentence):
    if sentence is None:
        return "" if done.returncode == 0 else f"does not compile: {done.stderr}"
    if done.returncode == 0:
        return "compiles"
    return "" if sentence in done.stderr else f"another error: {done.stderr}"


def main():
    cases = [(name, text, None) for name, text in RIGHT.items()]
    cases += [(name, text, sentence) for name, (text, sentence) in WRONG.items()]
    passed = failed = 0
    for compiler in filter(shutil.which, ("gcc", "clang")):
        for standard in ("c11", "gnu2x"):
            for name, text, sentence in cases:
                fault = fault_of(compile_one(compiler, standard, text), sentence)
                what = f"{compiler} {standard}: {'right' if sentence is None else 'wrong'}: {name}"
                print(f"FAIL {what}: {fault}" if fault else f"ok {what}")
                passed += not fault
                failed += bool(fault)
    print(f"{passed} passed, {failed} failed")
    return failed > 0 or passed == 0


if __name__ == "__main__":
    sys.exit(main())
