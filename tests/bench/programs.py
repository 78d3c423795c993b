# SPDX-License-Identifier: Apache-2.0
"""Real programs, from Debian's packages, each with a load of its own making.

Every function (place, allocator, scale) -> figures runs the program once. "output" among the figures
is a digest of what the program computed; the harness wants it equal under every allocator. Loads
are made once per invocation, seeded, without any allocator preloaded.

Note that Debian's redis-server is itself linked with jemalloc: its "glibc" column is jemalloc without a
preload. The peak of a program that starts others (git, PostgreSQL) is that of its largest process.
"""
import glob
import os
import pathlib
import pwd
import random
import shutil
import signal
import socket
import subprocess
import time

from allocators import Problem

PYTHON = "/usr/bin/python3.11"
SEARCH = "/usr/sbin:/usr/bin:/sbin:/bin"


def free_port():
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


def await_port(port, what, seconds=30):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        with socket.socket() as one:
            if one.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.01)
    raise Problem(f"{what} does not start")


def at_least_one(number):
    return max(1, int(number))


# ---- databases ----


def sql_script(scale):
    rng = random.Random(1)
    lines = ["pragma journal_mode=off; pragma cache_size=200; create table t(a integer primary key, k text, v real, b blob);",
             "create index tk on t(k); begin;"]
    for i in range(int(250000 * scale)):
        lines.append(f"insert into t values({i}, 'key{rng.randrange(3000)}', {rng.random()}, zeroblob({rng.randrange(600)}));")
    lines.append("commit;")
    for i in range(int(2500 * scale)):
        lines.append(f"select v, count(*), group_concat(a), hex(max(b)) from t where k = 'key{i}' group by a % 7 order by sum(v);")
    lines.append("select json_group_array(json_object('k', k, 'v', v)) from t;")
    return "\n".join(lines)


def run_sqlite(place, allocator, scale):
    script = place.write_once("load.sql", lambda: sql_script(scale))
    return place.measure(["sqlite3", "-batch", ":memory:"], allocator, stdin=script)


REDIS_CHECK = ("local n = 0 for i = 1, 20000 do redis.call('SET', 'check:' .. i, string.rep('x', i % 300)) "
               "n = n + #redis.call('GET', 'check:' .. i) end return n")


def run_redis(place, allocator, scale):
    """The server has the allocator, its load generator has none. Seconds are those of the load."""
    port = free_port()
    server = place.start(["redis-server", "--port", port, "--bind", "127.0.0.1", "--save", "", "--dir", place.folder], allocator)
    await_port(port, "redis-server")
    load = ["redis-benchmark", "-p", port, "-q", "-P", 32, "-c", 20, "-r", 20000, "-d", 300,
            "-n", at_least_one(60000 * scale), "-t", "set,get,lpush,hset,sadd,zadd,spop,lrange_100"]
    seconds = place.measure(load)["seconds"]
    check = place.measure(["redis-cli", "-p", port, "EVAL", REDIS_CHECK, 0])
    os.kill(server.pid, signal.SIGTERM)
    return server.finish() | {"seconds": seconds, "output": check["output"]}


PG_SCRIPT = """\\set n random(1, 90)
begin;
select count(*), md5(string_agg(filler || aid, ',' order by abalance, aid)) from pgbench_accounts where aid % 90 = :n and aid < 20000;
with recursive f(n, s) as (select 1, repeat('x', 10) union all select n + 1, s || 'y' || n from f where n < 400)
  select length(string_agg(s, '')) from f;
select jsonb_agg(jsonb_build_object('a', aid, 'b', filler)) is not null from pgbench_accounts where aid < 800;
update pgbench_branches set bbalance = bbalance + :n where bid = 1;
end;
"""


def as_postgres():
    """PostgreSQL refuses to run as root."""
    if os.geteuid() != 0:
        return {}
    entry = pwd.getpwnam("postgres")
    return {"user": entry.pw_uid, "group": entry.pw_gid, "extra_groups": []}


def postgres_tools():
    folders = sorted(glob.glob("/usr/lib/postgresql/*/bin/postgres"))
    return pathlib.Path(folders[-1]).parent if folders else None


def make_cluster(place, tools):
    folder = place.folder / "postgres"
    folder.mkdir()
    if os.geteuid() == 0:
        shutil.chown(folder, "postgres")
    place.measure([tools / "initdb", "-D", folder / "data", "-A", "trust", "-U", "postgres", "--no-sync"], cwd=folder, user=as_postgres())
    return folder


def run_postgres(place, allocator, scale):
    tools, port = postgres_tools(), free_port()
    if "postgres" not in place.kept:
        place.kept["postgres"] = make_cluster(place, tools)
    folder, target = place.kept["postgres"], ["-h", "127.0.0.1", "-p", port, "-U", "postgres"]
    server = place.start([tools / "postgres", "-D", folder / "data", "-k", folder, "-h", "127.0.0.1", "-p", port, "-c", "fsync=off",
                          "-c", "jit=off", "-c", "autovacuum=off", "-c", "shared_buffers=32MB"], allocator, cwd=folder, user=as_postgres())
    await_port(port, "postgres")
    end = time.monotonic() + 30
    while subprocess.run([str(w) for w in (tools / "pg_isready", *target)], stdout=subprocess.DEVNULL, check=False).returncode:
        if time.monotonic() > end:
            raise Problem("postgres is not ready")
        time.sleep(0.02)
    place.measure([tools / "pgbench", *target, "-q", "-i", "-s", 1, "postgres"])
    script = place.write_once("load.pgbench", lambda: PG_SCRIPT)
    load = place.measure([tools / "pgbench", *target, "-n", "-c", 3, "-j", 1, "-t", at_least_one(250 * scale), "--random-seed=7", "-f", script, "postgres"])
    check = "select bbalance from pgbench_branches; select count(*), sum(hashtext(filler)) from pgbench_accounts"
    output = place.measure([tools / "psql", *target, "-X", "-At", "-c", check, "postgres"])["output"]
    os.kill(server.pid, signal.SIGINT)
    return server.finish() | {"seconds": load["seconds"], "output": output}


# ---- interpreters ----

PYTHON_SCRIPT = """
import json, re, sys
n = int(sys.argv[1])
d = {}
for i in range(n * 1500):
    d.setdefault(f'key{i % 2000}', []).append((i, 'v' * (i % 700), [i] * (i % 9)))
text = json.dumps({k: v[:20] for k, v in d.items()}); back = json.loads(text)
words = re.findall('[a-z]+', text); joined = ' '.join(words * 2).split(' ')
rows = sorted((str(i * 7919 % 100003), i) for i in range(n * 500))
class Node:
    def __init__(self, depth): self.kids = [Node(depth - 1) for _ in range(3)] if depth else None; self.tag = 'x' * depth * 200
for i in range(max(1, n // 25)): Node(8)
print(len(back), len(joined), rows[len(rows) // 2], sum(len(v) for v in d.values()))
"""


def run_python(place, allocator, scale):
    """Python's own arenas are left out, so that every object comes from malloc."""
    script = place.write_once("load.py", lambda: PYTHON_SCRIPT)
    return place.measure([PYTHON, "-I", "-X", "utf8", script, at_least_one(200 * scale)], allocator, env={"PYTHONMALLOC": "malloc"})


LUA_SCRIPT = """
local n = tonumber(arg[1]) * 12000
local t = {} for i = 1, n do t[i % 20000] = {name = 'n' .. i, list = {i, i + 1, ('x'):rep(i % 100)}} end
local parts = {} for i = 1, n // 2 do parts[#parts + 1] = tostring(i / 3) .. ';' end
local s = table.concat(parts) local c = 0 for w in s:gmatch('[^;]+') do c = c + #w end
print(c)
"""


def run_lua(place, allocator, scale):
    return place.measure(["lua5.4", place.write_once("load.lua", lambda: LUA_SCRIPT), at_least_one(80 * scale)], allocator)


PERL_SCRIPT = """
my $n = $ARGV[0] * 5000; my (%h, @a);
for my $i (1..$n) { $h{'k' . $i % 50000} .= "x$i"; push @a, [$i, 'v' x ($i % 90), {n => $i}]; @a = () if @a > 40000; }
my $t = join ',', map { $_->[1] . $_->[0] } @a; my @w = split /(?<=\\d),/, $t; $t =~ s/(\\d+)/<$1>/g;
print scalar(@w), " ", length $t, "\\n";
"""


def run_perl(place, allocator, scale):
    return place.measure(["perl", place.write_once("load.pl", lambda: PERL_SCRIPT), at_least_one(250 * scale)], allocator)


NODE_SCRIPT = """
const zlib = require('zlib'), crypto = require('crypto'), n = Number(process.argv[2]);
let sum = 0;
for (let i = 0; i < n; i++) {
  const rows = []; for (let j = 0; j < 300; j++) rows.push({id: i * j, name: 'n'.repeat(j % 80), list: [j, j + 1]});
  const text = JSON.stringify(rows), packed = zlib.deflateSync(text, {level: 1});
  sum += JSON.parse(zlib.inflateSync(packed).toString()).length;
  sum += crypto.createHash('sha256').update(text).digest()[0];
  for (let j = 0; j < 60; j++) sum += Buffer.allocUnsafeSlow(5000 + j * 100).length + new RegExp('a{' + (j % 9) + '}b|' + i).test('aab' + i);
}
console.log(sum);
"""


def run_node(place, allocator, scale):
    return place.measure(["node", "--single-threaded", place.write_once("load.js", lambda: NODE_SCRIPT), at_least_one(2500 * scale)], allocator)


# ---- compilers ----

CPP_UNIT = """#include <algorithm>
#include <chrono>
#include <functional>
#include <future>
#include <iostream>
#include <map>
#include <random>
#include <regex>
#include <sstream>
#include <string>
#include <thread>
#include <tuple>
#include <unordered_map>
#include <variant>
#include <vector>
template <int N> struct part : part<N - 1> { std::map<int, std::vector<std::tuple<int, std::string>>> m;
  int run() { m[N].emplace_back(N, std::to_string(N)); return (int)m.size() + part<N - 1>::run(); } };
template <> struct part<0> { int run() { return std::regex_match("a", std::regex("a+")); } };
int main() { return part<%d>().run(); }
"""


def preprocessed(place, compiler, scale):
    """The unit with its headers in it: the compilers proper read one file and write one."""
    unit, source = place.folder / f"unit-{compiler}.ii", place.folder / "unit.cc"
    if not unit.exists():
        source.write_text(CPP_UNIT % at_least_one(100 * scale))
        place.measure([compiler, "-E", "-std=gnu++17", source, "-o", unit])
    return unit


def run_cc1plus(place, allocator, scale):
    unit = preprocessed(place, "g++", scale)
    if "cc1plus" not in place.kept:
        place.kept["cc1plus"] = subprocess.run(["g++", "-print-prog-name=cc1plus"], capture_output=True, text=True, check=True).stdout.strip()
    return place.measure([place.kept["cc1plus"], "-quiet", "-fpreprocessed", "-O1", "-std=gnu++17", "-frandom-seed=1", unit, "-o", "/dev/stdout"], allocator)


def run_clang(place, allocator, scale):
    unit = preprocessed(place, "clang++", scale)
    return place.measure(["clang++", "-O1", "-std=gnu++17", "-x", "c++-cpp-output", "-S", unit, "-o", "-"], allocator)


# ---- git ----


def history(scale):
    """A stream for git fast-import: commits that each change some of the files."""
    rng, out, texts = random.Random(4), [], {}
    for turn in range(at_least_one(500 * scale)):
        out.append(f"commit refs/heads/main\ncommitter a <a@b> {1700000000 + turn} +0000\ndata 4\nturn\n")
        for _ in range(12):
            path = f"d{rng.randrange(30)}/f{rng.randrange(80)}.txt"
            lines = texts.setdefault(path, [f"line {rng.randrange(10**9)}\n" for _ in range(150)])
            for _ in range(6):
                lines[rng.randrange(len(lines))] = f"line {rng.randrange(10**9)}\n"
            text = "".join(lines)
            out.append(f"M 100644 inline {path}\ndata {len(text)}\n{text}\n")
    return "".join(out)


GIT_ENV = {"GIT_CONFIG_NOSYSTEM": "1", "GIT_CONFIG_GLOBAL": os.devnull}
GIT_WORK = ("set -e; rm -rf copy.git; git clone -q --no-local --bare -c pack.threads=1 -c gc.auto=0 origin.git copy.git; cd copy.git; "
            "git repack -adfq --window=20; git log --stat --format=%H | cksum; git rev-list --objects --all | cksum")


def run_git(place, allocator, scale):
    if "git" not in place.kept:
        place.kept["git"] = place.write_once("history", lambda: history(scale))
        place.measure(["git", "init", "-q", "--bare", "-b", "main", "origin.git"], env=GIT_ENV)
        place.measure(["git", "--git-dir=origin.git", "fast-import", "--quiet"], stdin=place.kept["git"], env=GIT_ENV)
    return place.measure(["sh", "-c", GIT_WORK], allocator, env=GIT_ENV)


# name -> (program needed, function)
REAL = {"redis": ("redis-server", run_redis), "sqlite3": ("sqlite3", run_sqlite), "postgres": ("psql", run_postgres),
        "python": (PYTHON, run_python), "lua": ("lua5.4", run_lua), "perl": ("perl", run_perl), "node": ("node", run_node),
        "cc1plus": ("g++", run_cc1plus), "clang": ("clang++", run_clang), "git": ("git", run_git)}


def is_there(name):
    if name == "postgres":
        return postgres_tools() is not None
    return shutil.which(REAL[name][0], path=SEARCH) is not None
