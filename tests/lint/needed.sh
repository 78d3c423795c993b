#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# The core needs libc and nothing else; the archive needs nothing that libc does not have; and the
# library exports what its map says. Usage: needed.sh BUILD
set -eu
build=$1
fail=0
# What is not there needs nothing, and exports nothing.
for file in libmallard.so.0 libmallard-gc.so.0 libmallard-bdwgc.so.0 libmallard.a; do
    [ -s "$build/$file" ] || { echo "$file is not there"; fail=1; }
done
needs_only() { # FILE [LIBRARIES, as a pattern]
    extra=$(readelf -d "$build/$1" | sed -n 's/.*NEEDED.*\[\(.*\)\]/\1/p' | grep -Ev "^(${2:+$2|}libc.so.6|ld-linux-.*)\$" || true)
    if [ -n "$extra" ]; then
        echo "$1 needs more than ${2:+$2 and }libc: $extra"
        fail=1
    fi
}
needs_only libmallard.so.0
needs_only libmallard-gc.so.0 'libmallard.so.0'
needs_only libmallard-bdwgc.so.0 'libmallard-gc.so.0|libmallard.so.0'
foreign=$(nm -D --defined-only "$build/libmallard-bdwgc.so.0" | awk '{print $3}' | grep -v '^GC_' || true)
if [ -n "$foreign" ]; then
    echo "libmallard-bdwgc.so.0 exports what it should not: $foreign"
    fail=1
fi
# Names of libc and libstdc++ that Mallard's own stand before.
replaced='malloc|free|calloc|realloc|memalign|aligned_alloc|posix_memalign|valloc|pvalloc|cfree|mallinfo|mallopt|_exit|_Exit|(__)?vfork$|clone$|unshare$|setns$|capset$|prctl$|dlopen$|_Zn[wa]m|_Zd[la]Pv'
strange=$(nm -D --defined-only "$build/libmallard.so.0" | awk '{print $3}' |
    grep -Ev "^(mallard_|$replaced)" || true)
if [ -n "$strange" ]; then
    echo "libmallard.so.0 exports what it should not: $strange"
    fail=1
fi
leaks=$(nm "$build/libmallard.a" 2>/dev/null | awk '$2 ~ /[TDBR]/ {print $3}' |
    grep -Ev "^(mal_|mallard_|$replaced)" || true)
if [ -n "$leaks" ]; then
    echo "libmallard.a defines names without our prefix: $leaks"
    fail=1
fi
[ $fail = 0 ] && echo "ok needed" || echo "FAIL needed"
exit $fail
