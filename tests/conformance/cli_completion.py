#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The completion files for bash and zsh offer what --help says.

    cli_completion.py MALLARD [MALLARDD]

The file for bash is sourced by a bash that is not interactive and asked as readline would ask it.
"""
import os
import pathlib
import re
import shlex
import shutil
import subprocess
import sys
import tempfile

import live
import man

ROOT = pathlib.Path(__file__).resolve().parents[2]
BASH = ROOT / "deploy/completions/mallard.bash"
ZSH = ROOT / "deploy/completions/_mallard"


class Shell:
    """Completes the last word of a line."""

    def __init__(self, mallard, mallardd, folder):
        self.programs = {"mallard": mallard, "mallardd": mallardd}
        self.folder = folder
        self.env = dict(os.environ, MALLARD_DIR=folder)

    def complete(self, *words):
        first = self.programs[words[0]]
        line = " ".join(shlex.quote(word) for word in (first, *words[1:]))
        script = (f"set -u; source {shlex.quote(str(BASH))}; COMP_WORDS=({line}); COMP_CWORD={len(words) - 1}; COMP_LINE=; COMP_POINT=0\n"
                  f"function=$(complete -p {words[0]} | sed 's/.*-F \\([^ ]*\\).*/\\1/'); $function\n"
                  'printf "%s\\n" "${COMPREPLY[@]-}"')
        done = subprocess.run(["bash", "--norc", "--noprofile", "-c", script], env=self.env, cwd=self.folder, text=True,
                              capture_output=True, timeout=30, check=False)
        if done.stderr:
            return {"said: " + done.stderr}
        return set(done.stdout.split("\n")) - {""}


def check_bash(checks, shell, mallard):
    listed = set(re.findall(r"^  ([a-z]+) ", man.output_of(mallard, "--help"), re.MULTILINE))
    checks.equal("the commands", shell.complete("mallard", "") & (listed | {"help"}), listed | {"help"})
    checks.equal("no other commands", shell.complete("mallard", "") - listed, {"help", "--help", "--version"})
    checks.equal("a command that was begun", shell.complete("mallard", "re"), {"report"})
    for command in sorted(listed):
        wanted = man.options_of_help(man.output_of(mallard, "help", command)) - {"-top"}
        checks.equal(f"options of {command}", shell.complete("mallard", command, "-") - {"--help"}, wanted)
    checks.equal("commands to help with", shell.complete("mallard", "help", ""), listed)
    checks.equal("types", shell.complete("mallard", "diff", "--type", "in"), {"inuse_space", "inuse_objects"})
    for key in re.findall(r"\w+", re.search(r"--sort KEY +(.*?)--keep", man.output_of(mallard, "help", "top"), re.DOTALL)[1]):
        if key not in ("of", "one", "process"):
            checks.check(f"top --sort {key}", key in shell.complete("mallard", "top", "--sort", key[:2]))


def check_files(checks, shell):
    pathlib.Path(shell.folder, "profile one.pb.gz").touch()
    pathlib.Path(shell.folder, "folder").mkdir()
    checks.equal("files, with blanks in them", shell.complete("mallard", "heap", "1", "-o", "profile"), {"profile one.pb.gz"})
    checks.equal("folders only", shell.complete("mallard", "ps", "--keep", ""), {"folder"})
    checks.equal("files of diff", shell.complete("mallard", "diff", "prof"), {"profile one.pb.gz"})
    checks.check("programs for run", "sleep" in shell.complete("mallard", "run", "--", "slee"))
    checks.equal("files for the program", shell.complete("mallard", "run", "-q", "cat", "prof"), {"profile one.pb.gz"})
    checks.equal("options of the program are not ours", shell.complete("mallard", "run", "--", "cat", "--kee"), set())
    checks.equal("a number", shell.complete("mallard", "top", "-n", ""), set())


def check_pids(checks, shell, mallard):
    process, _, pid = live.start(mallard, folder=shell.folder, env=shell.env)
    listed = [mallard, "ps"]
    try:
        live.wait_until(lambda: str(pid) in subprocess.run(listed, env=shell.env, capture_output=True, text=True, check=False).stdout)
        for command in ("stat", "heap", "top", "diff", "report", "trace", "check"):
            checks.check(f"pids for {command}", str(pid) in shell.complete("mallard", command, ""))
        checks.equal("a pid that was begun", shell.complete("mallard", "stat", str(pid)), {str(pid)})
    finally:
        live.stop(process)


def check_mallardd(checks, shell, mallardd):
    offered = shell.complete("mallardd", "-")
    checks.check("mallardd has options", "--config" in offered, offered)
    checks.equal("mallardd --keep", shell.complete("mallardd", "--keep", "fo"), {"folder"})
    if mallardd and os.path.exists(mallardd):
        checks.equal("options of mallardd", offered, man.options_of_help(man.output_of(mallardd, "--help")))
    else:
        print("skip options of mallardd: it is not built")


def zsh_arms(text):
    """Command -> the options of its arm."""
    for names, body in re.findall(r"^    ([a-z| ]+)\)\n(.*?)^        ;;", text, re.MULTILINE | re.DOTALL):
        options = set(re.findall(r"(?<![\w-])(--?[a-z][a-z-]*)(?=[\[,}])", body))
        options |= {"--keep"} if "$keep" in body else set()
        for name in names.split("|"):
            yield name.strip(), options


def check_zsh(checks, mallard, mallardd):
    text = ZSH.read_text()
    if shutil.which("zsh"):
        done = subprocess.run(["zsh", "-n", str(ZSH)], capture_output=True, text=True, check=False)
        checks.equal("zsh reads its file", (done.returncode, done.stderr), (0, ""))
    else:
        print("skip zsh -n: zsh is not installed")
    arms = dict(zsh_arms(text))
    listed = re.findall(r"^  ([a-z]+) ", man.output_of(mallard, "--help"), re.MULTILINE)
    checks.equal("zsh: the commands", set(arms), set(listed) | {"help"})
    for command in listed:
        wanted = man.options_of_help(man.output_of(mallard, "help", command)) - {"-top"}
        checks.equal(f"zsh: options of {command}", arms.get(command), wanted)
        checks.check(f"zsh: {command} is described", re.search(rf"^        ['\"]{command}:", text, re.MULTILINE))
    daemon = re.search(r"^_mallardd\(\).*?^}", text, re.MULTILINE | re.DOTALL)[0]
    if mallardd and os.path.exists(mallardd):
        checks.equal("zsh: options of mallardd", set(re.findall(r"'(--[a-z-]+)\[", daemon)),
                     man.options_of_help(man.output_of(mallardd, "--help")))


def main(arguments):
    if not arguments:
        print(__doc__, file=sys.stderr)
        return 2
    mallard = os.path.abspath(arguments[0])
    mallardd = os.path.abspath(arguments[1]) if len(arguments) > 1 else ""
    checks = live.Checks()
    with tempfile.TemporaryDirectory() as folder:
        shell = Shell(mallard, mallardd or "mallardd", folder)
        check_bash(checks, shell, mallard)
        check_files(checks, shell)
        check_mallardd(checks, shell, mallardd)
    with tempfile.TemporaryDirectory() as folder:
        check_pids(checks, Shell(mallard, mallardd or "mallardd", folder), mallard)
    check_zsh(checks, mallard, mallardd)
    return checks.finish()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
