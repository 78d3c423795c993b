#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# The sources are as clang-format 14 leaves them. Skips with a line where it is not installed.
set -eu
command -v clang-format >/dev/null || { echo "skip format: clang-format is not installed"; exit 0; }
bad=$(git ls-files -co --exclude-standard 'src/*.[ch]' 'include/*.h' 'tests/*.[ch]' | xargs clang-format --dry-run -Werror 2>&1 |
    sed -n 's/^\([^:]*\):.*clang-format-violations.*/\1/p' | sort -u)
if [ -n "$bad" ]; then
    echo "not formatted (run 'make format'):"
    echo "$bad"
    echo "FAIL format"
    exit 1
fi
echo "ok format"
