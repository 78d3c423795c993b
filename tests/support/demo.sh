#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# `make demo`: asks an unmodified redis-server where its memory is.
#
#     demo.sh BUILD-DIRECTORY        e.g. build/release
#     DEMO_SECONDS=N                 end by itself after N seconds in total; else with Ctrl-C
#
# Debian's redis-server runs under `mallard run` with nothing changed and gets some tens of MiB of
# data; go's own pprof then asks over HTTP for what was allocated and what is in use. redis is
# stripped: its names come from the dynamic symbol table. Two small programs with debug information
# (tests/programs/demo_c.c, demo_cpp.cc) show files, lines and inlined frames. Whatever fails is said
# in one line, with exit status 1; everything started here is ended here. The programs run in
# sessions of their own, so that a Ctrl-C reaches this script alone, which then ends them in order.
set -eu

root=$(cd "$(dirname "$0")/../.." && pwd)
out=
work=
redis_run=
demo_run=
started=$(date +%s)
ROWS_TO_LEAD=5
export no_proxy='*' NO_PROXY='*'

end_process() {
    [ -n "$1" ] || return 0
    kill -TERM "$1" 2>/dev/null || return 0
    wait "$1" || return $?
}

# shellcheck disable=SC2317 # called by the trap
clean_up() {
    trap - EXIT
    end_process "$demo_run" || true
    end_process "$redis_run" || true
    [ -z "$work" ] || rm -rf "$work"
}

fail() {
    echo "demo: $1" >&2
    [ -z "${2-}" ] || ! [ -s "$2" ] || tail -n 8 "$2" >&2
    exit 1
}

title() {
    printf '\n== %s\n\n' "$1"
}

is_free() {
    status=0
    curl -s -m 2 -o /dev/null "http://127.0.0.1:$1/" || status=$?
    [ "$status" -eq 7 ]
}

free_port_from() {
    port=$1
    until is_free "$port"; do
        port=$((port + 1))
        [ "$port" -lt $(($1 + 100)) ] || fail "no free port between $1 and $port"
    done
    echo "$port"
}

# Up to ten seconds; ends early when the process does.
await() {
    what=$1 process=$2 log=$3
    shift 3
    tries=0
    until "$@" >/dev/null 2>&1; do
        tries=$((tries + 1))
        kill -0 "$process" 2>/dev/null || fail "$what ended before it was ready" "$log"
        [ "$tries" -lt 100 ] || fail "$what is not ready after ten seconds" "$log"
        sleep 0.1
    done
}

start_redis() {
    (cd "$work" && exec setsid "$out/mallard" run --http "127.0.0.1:$http_port" -- \
        redis-server --port "$redis_port" --bind 127.0.0.1 --dir "$work" --save '' --appendonly no) \
        >"$work/redis.log" 2>&1 </dev/null &
    redis_run=$!
    await "redis-server under mallard run" "$redis_run" "$work/redis.log" redis-cli -p "$redis_port" ping
    await "the HTTP server of mallard run" "$redis_run" "$work/redis.log" curl -fs "$base/debug/pprof/"
}

load_redis() {
    for request in set lpush hset; do
        redis-benchmark -p "$redis_port" -q -n 150000 -r 100000 -d 300 -P 16 -t "$request" >"$work/load.log" 2>&1 ||
            fail "redis-benchmark -t $request failed" "$work/load.log"
        tr '\r' '\n' <"$work/load.log" | grep 'requests per second' | tail -n 1
    done
    redis-cli -p "$redis_port" info memory | grep '^used_memory_human' | tr -d '\r'
}

# pprof_top URL SAMPLE-INDEX [OPTION...]: prints the table and leaves it in $work/top.
pprof_top() {
    url=$1 index=$2
    shift 2
    echo "\$ go tool pprof -sample_index=$index -nodecount=15 $* -top $url"
    PPROF_TMPDIR=$work go tool pprof "-sample_index=$index" -nodecount=15 "$@" -top "$url" \
        >"$work/top" 2>"$work/pprof.log" || fail "go tool pprof does not read $url" "$work/pprof.log"
    cat "$work/top"
    grep -q 'flat%' "$work/top" || fail "go tool pprof printed no table for $url" "$work/pprof.log"
}

leading_names() {
    sed '1,/flat%/d' "$work/top" | head -n "$ROWS_TO_LEAD" | awk '{ print $6 }'
}

# Names that redis-server itself exports must be among the first rows.
redis_leads() {
    nm -D --defined-only "$(command -v redis-server)" | awk '{ print $NF }' | sort -u >"$work/names"
    leading_names | grep -qxF -f "$work/names" ||
        fail "no function of redis-server is among the first $ROWS_TO_LEAD rows of $1"
}

build_demos() {
    "${CC:-gcc}" -g -O2 "$root/tests/programs/demo_c.c" -o "$work/demo_c" || fail "demo_c.c does not compile"
    "${CXX:-g++}" -g -O2 "$root/tests/programs/demo_cpp.cc" -o "$work/demo_cpp" || fail "demo_cpp.cc does not compile"
    mkfifo "$work/hold"
    exec 3<>"$work/hold" # keeps their standard input open
}

# show_demo PROGRAM SAMPLE-INDEX FUNCTION: FUNCTION, which is inlined, must be in the table.
show_demo() {
    demo_port=$(free_port_from $((http_port + 1)))
    setsid "$out/mallard" run --http "127.0.0.1:$demo_port" --quiet -- "$work/$1" \
        >"$work/$1.log" 2>&1 <"$work/hold" &
    demo_run=$!
    await "$1 under mallard run" "$demo_run" "$work/$1.log" grep -q ready "$work/$1.log"
    title "$1: lines and inlined frames"
    pprof_top "http://127.0.0.1:$demo_port/debug/pprof/heap" "$2" -lines
    grep -q "$3.*$1\." "$work/top" || fail "$1: no row names $3 with its file and line"
    status=0
    end_process "$demo_run" || status=$?
    demo_run=
    [ "$status" -eq 0 ] || fail "$1 ended with status $status" "$work/$1.log"
}

say_where() {
    cat <<TEXT

redis-server is still running on port $redis_port. Ask it:

  go tool pprof -http 127.0.0.1: $base/debug/pprof/heap
  go tool pprof -top $base/debug/pprof/allocs
  curl '$base/debug/pprof/heap?debug=1'
  $base/

TEXT
}

finish() {
    status=0
    end_process "$redis_run" || status=$?
    redis_run=
    [ "$status" -eq 0 ] || fail "redis-server ended with status $status" "$work/redis.log"
    echo "demo: done"
    exit 0
}

wait_for_end() {
    trap finish INT TERM HUP
    [ -n "${DEMO_SECONDS-}" ] || echo "Ctrl-C ends it."
    while kill -0 "$redis_run" 2>/dev/null; do
        if [ -n "${DEMO_SECONDS-}" ] && [ $(($(date +%s) - started)) -ge "$DEMO_SECONDS" ]; then
            finish
        fi
        sleep 0.2
    done
    fail "redis-server ended by itself" "$work/redis.log"
}

if [ $# -ne 1 ] || ! [ -x "$1/mallard" ]; then
    echo "usage: demo.sh BUILD-DIRECTORY (with mallard and libmallard.so.0 in it: run 'make')" >&2
    exit 1
fi
out=$(cd "$1" && pwd)
case ${DEMO_SECONDS-} in
*[!0-9]*) fail "DEMO_SECONDS=$DEMO_SECONDS is not a number of seconds" ;;
esac
"$root/tests/support/install-deps.sh" demo
trap clean_up EXIT
trap 'exit 130' INT TERM HUP
work=$(mktemp -d)
http_port=$(free_port_from 6060)
[ "$http_port" = 6060 ] || echo "demo: port 6060 is taken, using $http_port"
redis_port=$(free_port_from 16379)
base=http://127.0.0.1:$http_port

title "redis-server under mallard run, $base"
start_redis
load_redis
title "everything redis has allocated so far"
pprof_top "$base/debug/pprof/allocs" alloc_space
redis_leads "alloc_space"
title "what redis holds now"
pprof_top "$base/debug/pprof/heap" inuse_space
redis_leads "inuse_space"
build_demos
show_demo demo_c inuse_space copy_name
show_demo demo_cpp alloc_space shop::
say_where
wait_for_end
