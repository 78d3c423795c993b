#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Shell scripts are as shellcheck wants them. Scripts of packages (deploy/) are judged with them.
set -eu
command -v shellcheck >/dev/null || {
    echo "skip shell: no shellcheck"
    echo "0 passed, 0 failed, 1 skipped"
    exit 0
}
find src tests deploy web .ci -name node_modules -prune -o -name '*.sh' -print -o -path .ci/run -print |
    sort | { xargs shellcheck && echo "ok shell"; } || { echo "FAIL shell"; exit 1; }
