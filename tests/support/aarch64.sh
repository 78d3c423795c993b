#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Builds the core for aarch64 and runs its unit tests under qemu-user.
#
# Debian has no cmocka for a foreign architecture without multiarch, so cmocka is fetched as the
# arm64 package and unpacked beside the build: nothing is installed for it.
set -eu
out=build/aarch64
root=$out/cmocka
mkdir -p "$root"
if [ ! -e "$root/usr/include/cmocka.h" ]; then
    dpkg --print-foreign-architectures | grep -q '^arm64$' || { dpkg --add-architecture arm64; apt-get -qq update; }
    (cd "$root" && apt-get -qq download libcmocka0:arm64 libcmocka-dev:arm64)
    for package in "$root"/*.deb; do dpkg-deb -x "$package" "$root"; done
fi
lib=$PWD/$root/usr/lib/aarch64-linux-gnu
set --
for source in tests/unit/core/test_*.c; do
    set -- "$@" "$out/tests/core/$(basename "$source" .c)"
done
make --no-print-directory VARIANT=aarch64 CFLAGS="-O2 -g -isystem $PWD/$root/usr/include" LDFLAGS="-L$lib" core "$@"
for test; do
    shift
    set -- "$@" "$(basename "$test")=qemu-aarch64 -L /usr/aarch64-linux-gnu -E MALLARD_TESTS_EMULATED=1 -E LD_LIBRARY_PATH=$lib $test"
done
TEST_TIMEOUT=600 python3 tests/support/runner.py "$@"
