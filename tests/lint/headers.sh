#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Every header compiles alone; the public ones as C99 and as C++ too. Usage: headers.sh BUILD
set -u
build=$1
fail=0
check() {
    "$@" || { echo "FAIL: $*"; fail=1; }
}
for header in src/*/*.h; do
    check gcc -std=gnu11 -D_GNU_SOURCE -fsyntax-only -Wall -Wextra -Werror -Wno-pragma-once-outside-header \
        -Isrc -Iinclude -I"$build/gen" -DMAL_OVERRIDE=0 -x c "$header"
done
for header in include/mallard/*.h include/mallard/bdwgc/*.h include/mallard/bdwgc/gc/*.h; do
    check gcc -std=c99 -pedantic -fsyntax-only -Wall -Wextra -Werror -Iinclude -x c "$header"
    check g++ -std=c++11 -pedantic -fsyntax-only -Wall -Wextra -Werror -Iinclude -x c++ "$header"
done
[ $fail = 0 ] && echo "ok headers" || echo "FAIL headers"
exit $fail
