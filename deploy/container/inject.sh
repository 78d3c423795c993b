#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# Puts the library where a program of this image can preload it, once it is sure that it can:
#
#     inject.sh FROM TO
#
# Run it inside the program's own image (in Kubernetes: as an init container of that image), since it
# is that image's libc that counts. It refuses with one sentence and status 1: with musl, which knows
# nothing of glibc's names, and wherever a preloaded program does not start or does not hold the library
# (a glibc before 2.35, a static shell, another architecture). Nothing is put anywhere then.
set -eu

refuse() {
    echo "mallard: $1; nothing was injected" >&2
    exit 1
}

[ $# = 2 ] || {
    echo "usage: inject.sh FROM TO" >&2
    exit 2
}
from=$1
to=$2
[ -r "$from" ] || refuse "there is no library at $from"
case $(ldd --version 2>&1 || true) in
*musl*) refuse "the libc of this image is musl, and Mallard needs glibc 2.35 or later" ;;
esac
# The proof: a program of this image that runs with the library and has it in its memory.
try() {
    LD_PRELOAD=$from MALLARD_DIR=/nonexistent cat "$1"
}
complaint() {
    try /dev/null 2>&1 | head -n 1
}
maps=$(try /proc/self/maps 2>/dev/null) || refuse "no program of this image starts with it: $(complaint)"
case $maps in
*"/${from##*/}"*) ;;
*) refuse "the programs of this image do not take it (static, or another libc): $(complaint)" ;;
esac

mkdir -p "$(dirname "$to")"
cp "$from" "$to.new"
chmod 755 "$to.new"
mv "$to.new" "$to"
echo "mallard: $to is ready to be preloaded"
