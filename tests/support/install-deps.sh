#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# Installs the Debian packages of the named sets, as far as they are missing:
#
#     install-deps.sh build|test|demo|programs|aarch64|bench|deploy|deb|web|e2e ...
#
# Silent when nothing is missing, so a make target may call it every time. Packages are installed as
# root or through `sudo -n`; where neither works, one line names what is missing and the exit status
# is 1. The daemons among them (redis, nginx, PostgreSQL, memcached) are wanted as programs, not as
# services: while apt works, a policy-rc.d that denies every start stands in the place of the
# system's own, which is put back afterwards, whatever happens.
set -eu

POLICY=/usr/sbin/policy-rc.d
saved=
denying=

packages_of() {
    case $1 in
    build) echo gcc make pkg-config libmicrohttpd-dev libprotobuf-c-dev protobuf-c-compiler \
        libdw-dev libelf-dev libiberty-dev zlib1g-dev ;;
    test) echo libcmocka-dev python3 curl clang libclang-rt-14-dev libunwind-dev golang-go \
        prometheus openssl binutils universal-ctags mandoc zsh gdb strace libgc-dev \
        clang-format-14 shellcheck ;;
    demo) echo redis-server redis-tools golang-go g++ curl ;;
    programs) echo php-cli ruby ripgrep fd-find bubblewrap redis-server redis-tools sqlite3 python3.11 libpython3.11-testsuite nginx wrk \
        postgresql memcached nodejs perl lua5.4 git gcc g++ clang make bash \
        libgc-dev w3m neko parser3-cgi nix-bin poke libhomfly-dev \
        guile-3.0 ecl crystal stalin ;;
    aarch64) echo gcc-aarch64-linux-gnu libc6-dev-arm64-cross qemu-user ;;
    bench) echo gcc g++ clang python3 libjemalloc2 libgoogle-perftools4 libmimalloc2.0 redis-server \
        redis-tools sqlite3 python3.11 lua5.4 perl nodejs git postgresql postgresql-contrib libgc-dev \
        golang-go ;;
    deploy) echo python3 python3-yaml prometheus systemd shellcheck pkg-config musl ;;
    deb) echo dpkg-dev lintian golang-go ;;
    # Node may be there without Debian knowing of it.
    web) command -v npm >/dev/null || echo nodejs npm ;;
    e2e) echo chromium fonts-dejavu-core fonts-liberation golang-go gcc ;;
    *)
        echo "install-deps: no set named '$1', only build test demo programs aarch64 bench deploy deb web e2e" >&2
        return 2
        ;;
    esac
}

is_installed() {
    [ "$(dpkg-query -W -f '${db:Status-Status}' "$1" 2>/dev/null)" = installed ]
}

missing_of() {
    for package in "$@"; do
        is_installed "$package" || echo "$package"
    done | sort -u | tr '\n' ' '
}

give_up() {
    echo "install-deps: $1; missing packages: $missing" >&2
    exit 1
}

as_root() {
    if [ "$(id -u)" = 0 ]; then
        "$@"
    else
        sudo -n "$@"
    fi
}

deny_services() {
    denying=1
    if [ -e "$POLICY" ]; then
        saved=$POLICY.before-mallard
        as_root mv "$POLICY" "$saved"
    fi
    printf '#!/bin/sh\nexit 101\n' | as_root tee "$POLICY" >/dev/null
    as_root chmod 755 "$POLICY"
}

allow_services() {
    [ -n "$denying" ] || return 0
    denying=
    if [ -n "$saved" ]; then
        as_root mv "$saved" "$POLICY"
    else
        as_root rm -f "$POLICY"
    fi
}

# The package lists may be absent or old: they are fetched once, when the first try fails.
apt_install() {
    set -- env DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends "$@"
    as_root "$@" </dev/null >"$log" 2>&1 && return 0
    as_root apt-get update -q </dev/null >>"$log" 2>&1 || return 1
    as_root "$@" </dev/null >>"$log" 2>&1
}

[ $# -gt 0 ] || {
    echo "usage: install-deps.sh build|test|demo|programs|aarch64|bench|deploy|deb|web|e2e ..." >&2
    exit 2
}
wanted=
for set_name in "$@"; do
    wanted="$wanted $(packages_of "$set_name")"
done
command -v dpkg-query >/dev/null || {
    echo "install-deps: not a Debian system; needed packages:$wanted" >&2
    exit 1
}
# shellcheck disable=SC2086 # one word per package
missing=$(missing_of $wanted)
[ -n "$missing" ] || exit 0

command -v apt-get >/dev/null || give_up "no apt-get here"
as_root true 2>/dev/null || give_up "neither root nor 'sudo -n'"
log=$(mktemp)
trap 'allow_services; rm -f "$log"' EXIT
trap 'exit 1' HUP INT TERM
deny_services
echo "install-deps: installing $missing"
# shellcheck disable=SC2086
apt_install $missing || {
    tail -n 5 "$log" >&2
    give_up "apt-get failed"
}
