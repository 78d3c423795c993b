#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# The sources are as clang-format 14 leaves them. Another version leaves them otherwise, so where
# that one is not installed nothing is judged, and counted as skipped.
set -eu
clang-format --version 2>/dev/null | grep -q ' version 14\.' || {
    echo "skip format: no clang-format 14"
    echo "0 passed, 0 failed, 1 skipped"
    exit 0
}
list=$(mktemp)
trap 'rm -f "$list"' EXIT
find src include tests -name node_modules -prune -o -name '*.[ch]' -print >"$list"
[ -s "$list" ] || { echo "no sources found"; echo "FAIL format"; exit 1; }
bad=$(xargs clang-format --dry-run -Werror <"$list" 2>&1 |
    sed -n 's/^\([^:]*\):.*clang-format-violations.*/\1/p' | sort -u)
if [ -n "$bad" ]; then
    echo "not formatted (run 'make format'):"
    echo "$bad"
    echo "FAIL format"
    exit 1
fi
echo "ok format ($(wc -l <"$list") files)"
