#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Runs real programs without and with libmallard.so and compares what they did.

    run.py --lib PATH [--only NAME,...] [--mode rseq|lock|rate1|all] [--list] [--keep]

A case is one function that drives a program in a fresh folder and returns what it produced: a
dictionary of outputs, byte for byte or normalised with the reason beside it. It is called once
without the library (the reference) and once for each mode with it preloaded. The folder has the same
path each time, so even outputs that hold paths must be equal. A case fails when

  - an output or an exit status differs, a process crashes or does not end in time;
  - the library says anything on standard error or in a log of the program ("mallard: ...");
  - the loader could not preload the library, or a server does not have it mapped;
  - a box is left behind in MALLARD_DIR after every process ended by itself.

Modes: rseq and lock are the two ways the per-CPU caches synchronise; rate1 records the stack of
every allocation (for cases that stay bounded in time). The library is copied into the work folder
first, so that a rebuild meanwhile cannot change it. Servers listen on loopback only; processes are
ended by the pid under which they were started here. The last line is
"N passed, N failed" or, where a program is not there, "N passed, N failed, N skipped".
"""
import argparse
import contextlib
import gzip
import hashlib
import os
import pathlib
import pwd
import random
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
import xml.etree.ElementTree

ROOT = pathlib.Path(__file__).resolve().parents[2]
PYTHON = "/usr/bin/python3.11"
MODES = {
    "rseq": {"MALLARD_CPU_CACHE": "rseq"},
    "lock": {"MALLARD_CPU_CACHE": "lock"},
    "rate1": {"MALLARD_CPU_CACHE": "rseq", "MALLARD_MEMPROFILERATE": "1"},
}
CLEAN_ENV = {"PATH": "/usr/local/sbin:/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C.UTF-8", "TZ": "UTC",
             "SOURCE_DATE_EPOCH": "1700000000"}
CRASHES = {128 + s for s in (signal.SIGABRT, signal.SIGSEGV, signal.SIGBUS, signal.SIGILL)}
CASES = {}


class Failure(Exception):
    """The case did not do what it should."""


class Skip(Exception):
    """The case cannot run here, for the reason given."""


def case(*needs, modes=("rseq", "lock", "rate1"), boxes_left=""):
    """Registers a case. `needs`: programs; `boxes_left`: why it kills processes, if it does."""

    def register(function):
        name = function.__name__.removeprefix("case_").replace("_", "-")
        CASES[name] = (function, needs, modes, boxes_left)
        return function

    return register


# ---- one run of one case ----


class Run:
    """A folder, an environment and the processes of one run of a case."""

    def __init__(self, folder, settings, lib=None, box_dir=None):
        self.folder = folder
        self.lib = lib
        self.last = ""
        self.processes = []
        self.env = dict(CLEAN_ENV, HOME=str(folder), TMPDIR=str(folder / "tmp"))
        self.preload = {}
        if lib:
            self.preload = dict(settings, LD_PRELOAD=str(lib), MALLARD_DIR=str(box_dir))
        (folder / "tmp").mkdir(parents=True)
        (folder / "tmp").chmod(0o1777)

    def write(self, name, text):
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return str(path)

    def popen(self, argv, preload=True, env=None, user=None, **options):
        argv = [str(word) for word in argv]
        extra = self.preload if preload else {}
        words = [f"{name}={value}" for name, value in {**extra, **(env or {})}.items()]
        self.last = " ".join(words + argv)[:600]
        if user and os.geteuid() == 0:
            options.update(user=user, group=pwd.getpwnam(user).pw_gid, extra_groups=[])
        options.setdefault("cwd", self.folder)
        process = subprocess.Popen(argv, env={**self.env, **extra, **(env or {})},
                                   start_new_session=True, **options)
        self.processes.append(process)
        return process

    def call(self, *argv, timeout=90, ok=(0,), stdin=None, merge=False, **options):
        """Runs to the end; returns standard output. Standard error goes to stderr.log."""
        if isinstance(stdin, str):
            stdin = stdin.encode()
        with open(self.folder / "stderr.log", "ab") as log:
            process = self.popen(argv, stdin=subprocess.PIPE if stdin is not None else subprocess.DEVNULL,
                                 stdout=subprocess.PIPE, stderr=subprocess.STDOUT if merge else log, **options)
            try:
                output, _ = process.communicate(stdin, timeout=timeout)
            except subprocess.TimeoutExpired:
                raise Failure(f"does not end within {timeout} s: {self.last}") from None
        self.check_status(process.returncode, ok)
        return output

    def check_status(self, status, ok=(0,)):
        if status < 0:
            raise Failure(f"ended by {signal.Signals(-status).name}: {self.last}{self.tail()}")
        if status in CRASHES:
            raise Failure(f"status {status}, a crash: {self.last}{self.tail()}")
        if status not in ok:
            raise Failure(f"status {status}: {self.last}{self.tail()}")

    def tail(self):
        path = self.folder / "stderr.log"
        text = path.read_bytes()[-800:].decode(errors="replace").strip() if path.exists() else ""
        return "\n      " + text.replace("\n", "\n      ") if text else ""

    def server(self, *argv, port=None, ready=None, **options):
        """Starts a server and waits until it accepts (port) or a probe says so (ready)."""
        with open(self.folder / "server.log", "ab") as log:
            process = self.popen(argv, stdin=subprocess.DEVNULL, stdout=log, stderr=log, **options)
        started = self.last
        ready = ready or (lambda: accepts(port))
        wait_for(lambda: process.poll() is not None or ready(), 30, f"server start: {started}")
        if process.poll() is not None:
            self.last = started
            raise Failure(f"server ended at once with status {process.returncode}: {started}")
        self.check_mapped(process.pid)
        return process

    def check_mapped(self, pid):
        if self.lib and str(self.lib) not in pathlib.Path(f"/proc/{pid}/maps").read_text():
            raise Failure(f"the library is not mapped in: {self.last}")

    def stop(self, process, number=None, timeout=30):
        """Waits for a server to end, after a signal if one is named; its status must be 0."""
        if number:
            os.kill(process.pid, number)
        try:
            process.wait(timeout)
        except subprocess.TimeoutExpired:
            raise Failure(f"server does not stop within {timeout} s after {number or 'its command'}") from None
        self.check_status(process.returncode)

    def clean_up(self):
        for process in self.processes:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            if process.stdout:
                process.stdout.close()

    def group_is_gone(self):
        return not any(group_alive(process.pid) for process in self.processes)


def group_alive(group):
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    return True


def accepts(port):
    with socket.socket() as s:
        s.settimeout(1)
        return s.connect_ex(("127.0.0.1", port)) == 0


def wait_for(condition, seconds, what):
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            raise Failure(f"not within {seconds} s: {what}")
        time.sleep(0.02)


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def sha(data):
    return hashlib.sha256(data).hexdigest()


def tree_hashes(folder, pattern):
    return {str(p.relative_to(folder)): sha(p.read_bytes()) for p in sorted(folder.rglob(pattern)) if p.is_file()}


def fetch(port, path, encoding=""):
    request = urllib.request.Request(f"http://127.0.0.1:{port}{path}", headers={"Accept-Encoding": encoding})
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with opener.open(request, timeout=10) as answer:
        body = answer.read()
        return gzip.decompress(body) if answer.headers.get("Content-Encoding") == "gzip" else body


# ---- servers ----


def redis_commands(count):
    """A seeded stream of writes: growing strings, lists, hashes, sets, sorted sets, deletes."""
    rng = random.Random(11)
    for i in range(count):
        key = f"k{rng.randrange(4000)}"
        value = "v" * int(rng.expovariate(1 / 120)) + str(i)
        yield rng.choice((f"SET s:{key} {value}", f"APPEND s:{key} {value}", f"RPUSH l:{key} {value} {i}",
                          f"HSET h:{key} f{i % 300} {value}", f"SADD t:{key} {i % 500} {value}",
                          f"ZADD z:{key} {rng.random()} m{i % 700}", f"DEL s:{key}", f"LPOP l:{key}",
                          f"SETRANGE s:{key} {rng.randrange(3000)} {value}", f"PFADD p:{key} {value}"))


@case("redis-server", "redis-cli", "redis-benchmark")
def case_redis(run):
    port = free_port()
    server = run.server("/usr/bin/redis-server", "--port", port, "--bind", "127.0.0.1", "--dir", run.folder,
                        "--save", "", "--enable-debug-command", "yes", "--io-threads", "2",
                        "--io-threads-do-reads", "yes", port=port)
    result = {}

    def cli(*words, **options):
        return run.call("redis-cli", "-p", port, *words, **options)

    # Figures differ from run to run; that every kind of request was served does not.
    load = run.call("redis-benchmark", "-p", port, "-n", 20000, "-r", 5000, "-d", 200, "-P", 16, "-q",
                    "-t", "set,get,incr,lpush,rpush,lpop,sadd,hset,spop,zadd,lrange_100,mset", timeout=120)
    result["benchmark"] = sorted(set(re.findall(r"[\r\n]?([A-Z][A-Z_0-9 ()a-z]*): [\d.]+ requests per", load.decode())))
    cli("FLUSHALL")
    commands = "".join(line + "\r\n" for line in redis_commands(40000))
    result["pipe"] = cli("--pipe", stdin=commands)
    result["digest"] = cli("DEBUG", "DIGEST")
    result["lua"] = cli("EVAL", "local t={} for i=1,20000 do t[i]=string.rep('x',i%97)..i end return #table.concat(t)", "0")
    cli("BGSAVE")
    wait_for(lambda: b"rdb_bgsave_in_progress:0" in cli("INFO", "persistence"), 30, "BGSAVE")
    result["bgsave"] = b"rdb_last_bgsave_status:ok" in cli("INFO", "persistence")
    result["rdb"] = run.call("redis-check-rdb", run.folder / "dump.rdb").count(b"Checksum OK")
    result["reload"] = cli("DEBUG", "RELOAD")
    result["digest after reload"] = cli("DEBUG", "DIGEST")
    result["keys"] = sha(b"\n".join(sorted(cli("KEYS", "*").split())))
    cli("SHUTDOWN", "NOSAVE")
    run.stop(server)
    return result


NGINX = """daemon off; master_process on; worker_processes 3; pid {folder}/nginx.pid;
error_log {folder}/error.log notice; {user}
events {{ worker_connections 256; }}
http {{ access_log {folder}/access.log; gzip on; gzip_min_length 100; gzip_types *;
  client_body_temp_path {folder}/tmp; proxy_temp_path {folder}/tmp; fastcgi_temp_path {folder}/tmp;
  uwsgi_temp_path {folder}/tmp; scgi_temp_path {folder}/tmp;
  server {{ listen 127.0.0.1:{port}; root {folder}/www; autoindex on;
    location /up/ {{ proxy_pass http://127.0.0.1:{port}/; }} }} }}
"""


def wrk(run, port, path):
    report = run.call("wrk", "-t", 2, "-c", 24, "-d", "1s", "-H", "Accept-Encoding: gzip",
                      f"http://127.0.0.1:{port}{path}").decode()
    if "Non-2xx" in report or "Socket errors" in report:
        raise Failure("wrk saw errors:\n" + report)
    return int(re.search(r"(\d+) requests in", report)[1]) > 0


@case("nginx", "wrk")
def case_nginx(run):
    port = free_port()
    run.write("www/big.txt", "".join(f"{i} lorem ipsum {i * i}\n" for i in range(40000)))
    run.write("www/small.html", "<html>hello</html>" * 20)
    user = "user nobody nogroup;" if os.geteuid() == 0 else ""
    config = run.write("nginx.conf", NGINX.format(folder=run.folder, port=port, user=user))
    server = run.server("nginx", "-p", run.folder, "-e", run.folder / "error.log", "-c", config, port=port)
    result = {}
    for turn in ("before", "after"):
        result[turn] = [sha(fetch(port, path, encoding)) for path in ("/big.txt", "/small.html", "/up/big.txt")
                        for encoding in ("", "gzip")]
        result["load " + turn] = [wrk(run, port, path) for path in ("/small.html", "/up/big.txt")]
        if turn == "before":
            reload_nginx(run, server)
    run.stop(server, signal.SIGQUIT)
    return result


def children(pid):
    return pathlib.Path(f"/proc/{pid}/task/{pid}/children").read_text().split()


def reload_nginx(run, server):
    old = set(children(server.pid))
    os.kill(server.pid, signal.SIGHUP)
    wait_for(lambda: not old & set(children(server.pid)) and len(children(server.pid)) == 3, 20, "nginx reload")
    for worker in children(server.pid):
        run.check_mapped(worker)


PG_SQL = """\\set ON_ERROR_STOP on
create table t as select i, md5(i::text) h, repeat('x', i % 500) pad from generate_series(1, 40000) i;
create index on t (h); analyze t;
set jit = on; set jit_above_cost = 0;
select count(*), sum(length(pad)), max(h) from t;
set jit = off;
select h, string_agg(i::text, ',' order by i) from t where i < 3000 group by h order by h limit 5;
select count(*), sum(length(a.h || b.pad)) from t a join t b on b.i % 20000 = a.i % 20000;
create function f(n int) returns bigint language plpgsql as $$ declare a int[] := '{}'; s bigint := 0;
  begin for i in 1..n loop a := a || i; s := s + a[i]; end loop; return s; end $$;
select f(3000);
select jsonb_object_agg(h, i) ->> md5('77') from t where i < 5000;
select sum(length(xmlelement(name x, h)::text)) from t;
update t set pad = pad || h where i % 3 = 0;
select count(*) from t where pad ~ '[0-9a-f]{31}';
vacuum analyze t;
select sum(hashtext(t::text)::bigint) from t;
"""


def postgres_folder():
    found = sorted(pathlib.Path("/usr/lib/postgresql").glob("*/bin"), key=lambda p: int(p.parent.name))
    if not found:
        raise Skip("no /usr/lib/postgresql/*/bin (package postgresql)")
    return found[-1]


@case(modes=("rseq", "lock", "rate1"))
def case_postgresql(run):
    tools, port, data = postgres_folder(), free_port(), run.folder / "data"
    user = "postgres"
    shutil.chown(run.folder, user) if os.geteuid() == 0 else None
    (run.folder / "stderr.log").touch()
    run.call(tools / "initdb", "-D", data, "-A", "trust", "-U", user, "--no-sync", user=user, timeout=120)
    server = run.server(tools / "postgres", "-D", data, "-k", run.folder, "-h", "127.0.0.1", "-p", port,
                        "-c", "fsync=off", "-c", "jit=off",
                        "-c", "max_parallel_workers_per_gather=2", user=user, port=port)
    target = ["-h", "127.0.0.1", "-p", port, "-U", user]
    wait_for(lambda: run.popen([tools / "pg_isready", *target], stdout=subprocess.DEVNULL).wait() == 0, 30, "pg_isready")
    result = {"sql": run.call(tools / "psql", *target, "-X", "-At", "-d", "postgres", stdin=PG_SQL)}
    run.call(tools / "pgbench", *target, "-q", "-i", "-s", 2, "postgres")
    bench = run.call(tools / "pgbench", *target, "-n", "-c", 4, "-j", 2, "-T", 2, "-C", "postgres").decode()
    result["pgbench failed"] = re.search(r"number of failed transactions: .*", bench)[0]
    run.call(tools / "pgbench", *target, "-n", "-c", 1, "-t", 500, "--random-seed=7", "postgres")
    # What the timed load did depends on speed; its invariant does not.
    check = "select (select sum(abalance) from pgbench_accounts) = (select sum(tbalance) from pgbench_tellers)"
    result["balances"] = run.call(tools / "psql", *target, "-X", "-At", "-c", check, "postgres")
    dump = run.call(tools / "pg_dump", *target, "-t", "t", "postgres")
    # pg_dump puts a new random word into its two \\restrict lines each time.
    result["dump"] = sha(re.sub(rb"(?m)^\\(un)?restrict .*$", b"", dump))
    run.stop(server, signal.SIGINT)
    return result


@case("memcached")
def case_memcached(run):
    port = free_port()
    server = run.server("memcached", "-l", "127.0.0.1", "-p", port, "-m", 64, "-t", 4, "-u", "nobody",
                        "-c", 200, port=port)
    rng, digest, hits = random.Random(5), hashlib.sha256(), 0
    connections = [socket.create_connection(("127.0.0.1", port), 10) for _ in range(60)]
    files = [c.makefile("rwb") for c in connections]
    for i in range(6000):
        stream = files[i % len(files)]
        value = rng.randbytes(int(rng.expovariate(1 / 900)) + 1)
        stream.write(b"set k%d 0 0 %d\r\n%s\r\nget k%d\r\n" % (i % 1500, len(value), value, rng.randrange(1500)))
        stream.flush()
        digest.update(stream.readline())
        head = stream.readline()
        digest.update(head)
        if head.startswith(b"VALUE"):
            digest.update(stream.read(int(head.split()[3]) + 2) + stream.readline())
            hits += 1
    for stream, connection in zip(files, connections):
        stream.close()
        connection.close()
    run.stop(server, signal.SIGTERM)
    return {"hits": hits, "answers": digest.hexdigest()}


# ---- one-shot programs ----


def sql_workload():
    rng = random.Random(3)
    yield "pragma journal_mode=wal; create table a(id integer primary key, k text, v real, b blob);"
    yield "create index ak on a(k, v); create virtual table f using fts5(body); begin;"
    words = ["w" + hashlib.md5(str(i).encode()).hexdigest()[:6] for i in range(2000)]
    for i in range(12000):
        yield f"insert into a values({i}, '{rng.choice(words)}', {rng.random()}, zeroblob({rng.randrange(900)}));"
        if i % 4 == 0:
            yield f"insert into f values('{' '.join(rng.choices(words, k=12))}');"
    yield "commit;"
    yield "select count(*), sum(length(b)), round(sum(v), 6), group_concat(k) from a where id % 97 = 0;"
    for word in words[:60]:
        yield f"select count(*) from f where f match '{word}';"
        yield f"select json_group_array(json_object('k', k, 'id', id)) from (select * from a where k='{word}' order by id);"
    yield "select k, id, row_number() over (partition by k order by v) r from a order by r desc, id limit 50;"
    yield ("with recursive c(x, s) as (select 1, 'a' union all select x + 1, substr(s || hex(x), -400) from c "
           "where x < 30000) select sum(x), sum(length(s)), max(s) from c;")
    yield "update a set b = zeroblob(length(b) * 2) where id % 5 = 0; delete from a where id % 7 = 0;"
    yield "vacuum; pragma integrity_check; select sum(length(b)), count(distinct k) from a;"


@case("sqlite3")
def case_sqlite3(run):
    script = "\n".join(sql_workload())
    return {"file": run.call("sqlite3", "-batch", run.folder / "test.db", stdin=script),
            "memory": run.call("sqlite3", "-batch", ":memory:", stdin=script)}


PYTHON_SCRIPT = r"""
import concurrent.futures, json, os, re, subprocess, sys, threading, zlib, multiprocessing, collections
def tree(depth): return (tree(depth - 1), tree(depth - 1)) if depth else None
def count(t): return 1 + count(t[0]) + count(t[1]) if t else 1
def work(seed):
    d = {f'{seed}:{i}': [i] * (i % 50) for i in range(6000)}
    text = json.dumps(d); back = json.loads(text)
    return zlib.crc32(zlib.compress(text.encode(), 3)), back == d, len(re.findall(r'(\d+), \1', text))
if __name__ == '__main__':
    print(count(tree(15)))
    with concurrent.futures.ThreadPoolExecutor(6) as pool: print(list(pool.map(work, range(10))))
    with multiprocessing.get_context('fork').Pool(3) as pool:
        print(pool.map(work, range(6))); pool.close(); pool.join()
    for i in range(10): print(subprocess.check_output(['printf', str(i)]))
    for i in range(20):
        pid = os.fork()
        if pid == 0: x = [bytes(j) for j in range(3000)]; os._exit(len(x) % 7)
        print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
    for _ in range(200):
        t = threading.Thread(target=lambda: [bytearray(n) for n in range(0, 20000, 97)]); t.start(); t.join()
    b = bytearray()
    for i in range(200000): b += b'%d' % i
    print(zlib.crc32(b)); print(len(collections.Counter(str(i * i)[:4] for i in range(100000))))
"""


@case(PYTHON, modes=("rseq", "lock", "rate1"))
def case_python_script(run):
    script = run.write("work.py", PYTHON_SCRIPT)
    return {allocator: run.call(PYTHON, "-I", script, env={"PYTHONMALLOC": allocator})
            for allocator in ("pymalloc", "malloc")}


PYTHON_TESTS = """test_array test_atexit test_bigmem test_bytes test_bz2 test_cmd_line test_collections test_copy
test_ctypes test_dbm test_decimal test_deque test_dict test_epoll test_exceptions test_finalization test_fork1 test_gc
test_generators test_hashlib test_heapq test_itertools test_json test_list test_long test_lzma
test_marshal test_memoryio test_memoryview test_mmap test_multiprocessing_main_handling test_os test_pickle
test_popen test_posix test_pyexpat test_queue test_re test_resource test_select test_set test_shelve
test_socketserver test_sqlite3 test_struct test_subprocess test_tempfile test_thread
test_threading test_threading_local test_threadsignals test_tracemalloc test_unicode test_wait3 test_wait4
test_weakref test_xml_etree test_zlib""".split()


def python_tests(run, modules, name, jobs):
    """The status of every test of the modules: (module.class.test) -> passed, failed, skipped.

    Times, addresses and the order of modules differ from run to run and are not looked at."""
    report = run.folder / f"{name}.xml"
    run.call(PYTHON, "-m", "test", f"-j{jobs}", "--timeout", 60, "--junit-xml", report, *modules,
             env={"PYTHONMALLOC": "malloc"}, ok=(0, 1, 2, 3), timeout=400, merge=True)
    found = {}
    for test in xml.etree.ElementTree.parse(report).iter("testcase"):
        status = "skipped" if test.find("skipped") is not None or test.get("status") == "notrun" else "passed"
        bad = [child.tag for child in test if child.tag in ("error", "failure")]
        found[test.get("name")] = bad[0] if bad else status
    return found


def module_of(test):
    match = re.search(r"\btest\.(test_\w+)|\b(test_\w+)\.", test)
    return match and (match[1] or match[2])


@case(PYTHON, modes=("rseq", "lock"), boxes_left="the tests kill child processes")
def case_python_tests(run):
    if not pathlib.Path("/usr/lib/python3.11/test/test_gc.py").exists():
        raise Skip("no python3.11 tests (package libpython3.11-testsuite)")
    found = python_tests(run, PYTHON_TESTS, "all", 5)  # most of them sleep
    if len(found) < 5000:
        raise Failure(f"only {len(found)} tests ran")
    # A test that failed under load is given a second chance alone.
    failed = {module_of(name) for name, status in found.items() if status in ("error", "failure")} - {None}
    if failed:
        found.update(python_tests(run, sorted(failed), "again", 1))
    return found


NODE_SCRIPT = r"""
const { Worker, isMainThread, parentPort } = require('worker_threads');
const crypto = require('crypto'), zlib = require('zlib'), { execFileSync } = require('child_process');
function work(n) {
  const all = []; const h = crypto.createHash('sha256');
  for (let i = 0; i < n; i++) { const b = Buffer.alloc(i % 5000, i & 255); h.update(b); if (i % 7 == 0) all.push(b); }
  h.update(zlib.gunzipSync(zlib.gzipSync(Buffer.concat(all), {level: 1})));
  h.update(JSON.stringify(JSON.parse(JSON.stringify(all.slice(0, 50)))));
  return h.digest('hex');
}
if (isMainThread) {
  console.log(work(12000)); console.log(execFileSync('printf', ['x']).toString());
  let left = 3; const seen = [];
  for (let i = 0; i < 3; i++) new Worker(__filename).on('message', m => { seen.push(m); if (!--left) console.log(seen); });
} else parentPort.postMessage(work(6000));
"""

PERL_SCRIPT = r"""
use strict; use Digest::SHA; my (%h, @a); my $sha = Digest::SHA->new(256);
for my $i (1..120000) { $h{"k" . $i % 9000} .= "x$i"; push @a, [$i, "v" x ($i % 60)]; }
$sha->add("$_=$h{$_};") for sort keys %h; my $text = join ',', map { $_->[1] . $_->[0] } @a;
(my $copy = $text) =~ s/(\d+)v/<$1>/g; $sha->add($copy); my @s = sort { $b->[1] cmp $a->[1] || $a->[0] <=> $b->[0] } @a;
$sha->add($_->[0]) for @s[0..500]; print $sha->hexdigest, "\n";
for (1..20) { my $p = fork; if (!$p) { my @x = map { "y" x $_ } 1..2000; exit(@x % 11) } waitpid $p, 0; print $? >> 8, "\n"; }
print `printf hello`, "\n";
"""

LUA_SCRIPT = r"""
local t, sum = {}, 0
for i = 1, 250000 do t[i % 7000] = {i, ('x'):rep(i % 80) .. i}; sum = (sum * 31 + #t[i % 7000][2]) % 1000000007 end
local parts = {} for i = 1, 60000 do parts[#parts + 1] = tostring(i * 1.5) end
local s = table.concat(parts, ';'); local n = 0 for w in s:gmatch('%d+%.%d') do n = n + #w end
local co = {} for i = 1, 5000 do co[i] = coroutine.wrap(function() coroutine.yield(i) return i end); n = n + co[i]() end
local h = 0 for i = 1, #s do h = (h * 33 + s:byte(i)) % 4294967296 end
print(sum, n, h, #s, s:upper():rep(20):len())
"""

BASH_SCRIPT = r"""
f() { local x=$(printf '%s' "$1"); echo "$x$(( $1 * 2 ))"; }
for i in $(seq 300); do a+=($(f $i)); done; echo "${a[@]}" | tr ' ' '\n' | sort -n | md5sum
for i in $(seq 60); do (echo $i; exit $(( i % 5 ))) || s=$(( ${s:-0} + $? )); done; echo $s
for i in $(seq 40); do { sleep 0.01; echo $i > tmp/$i; } & done; wait; cat tmp/* | sort -n | md5sum
declare -A m; for i in $(seq 20000); do m[k$(( i % 3000 ))]+=$i; done; echo ${#m[@]} ${#m[k7]}
seq 200 | while read n; do echo $n | cat; done | md5sum; diff <(seq 100) <(seq 100) && echo same
seq 100 | xargs -P 4 -n 1 expr 1 + | sort -n | md5sum; exec printf 'replaced\n'
"""


@case("node", modes=("rseq", "lock", "rate1"))
def case_node(run):
    return {"out": run.call("/usr/bin/node", run.write("work.js", NODE_SCRIPT))}


@case("perl")
def case_perl(run):
    return {"out": run.call("/usr/bin/perl", run.write("work.pl", PERL_SCRIPT))}


@case("lua5.4")
def case_lua(run):
    return {"out": run.call("lua5.4", run.write("work.lua", LUA_SCRIPT))}


@case("bash")
def case_bash(run):
    return {"out": run.call("bash", run.write("work.sh", BASH_SCRIPT))}


@case("xz", "tar", "sort", "gawk|mawk|awk")
def case_tools(run):
    """sort and xz use threads; tar, awk, sed, grep, find are what every script runs."""
    rng = random.Random(8)
    run.write("in.txt", "".join(f"{rng.randrange(10**9)} {rng.random()} {i}\n" for i in range(120000)))
    script = """sort --parallel=4 -S 2M in.txt | sha256sum; sort -k2 -g --parallel=4 in.txt | sha256sum
awk '{ a[$1 % 5000] = a[$1 % 5000] $3 } END { for (k in a) n += length(a[k]); print n }' in.txt
xz -T4 --block-size=262144 -2 -k in.txt && xz -dc in.txt.xz | sha256sum; grep -cE '(1|2)+3.*7$' in.txt
tar --sort=name --mtime=@0 -czf a.tgz in.txt in.txt.xz && tar -tzf a.tgz; sed -E 's/([0-9]+) (.*)/\\2 \\1/' in.txt | sha256sum
find /usr/include -name '*.h' | sort | xargs cat | gzip -1 | wc -c; split -n 7 in.txt part. && cat part.* | sha256sum"""
    return {"out": run.call("sh", "-c", script)}


@case("php")
def case_php(run):
    """Its extensions are loaded with RTLD_DEEPBIND; without an allocator before libc they all come up."""
    return {"out": run.call("php", "-r", """$a = [];
for ($i = 0; $i < 100000; $i++) $a[] = str_repeat(chr(65 + $i % 26), $i % 90);
sort($a); echo md5(implode($a)), shell_exec('echo from a shell'), implode(' ', get_loaded_extensions());""")}


@case("ruby")
def case_ruby(run):
    return {"out": run.call("ruby", "-e", """words = (1..60000).map { |i| (i * 7919 % 60013).to_s * 3 }
p 4.times.map { Thread.new { words.sort.first(3) } }.map(&:value)
puts `echo from a shell`
p Process.wait2(fork { words.map(&:hash); exit 3 })[1].exitstatus
GC.start
p words.join.size""")}


@case("rg", "fdfind|fd")
def case_rust(run):
    """They map files and walk folders with threads; Rust's allocator is libc's."""
    for i in range(300):
        run.write(f"tree/{i % 17}/{i}.txt", "".join(f"line {n * i % 9973}\n" for n in range(200)))
    fd = shutil.which("fdfind") or "fd"
    return {"rg": run.call("rg", "-j4", "--sort", "path", "-c", "7[0-9]*3$", "tree"),
            "fd": b"\n".join(sorted(run.call(fd, "-j4", "-e", "txt", ".", "tree").splitlines()))}


@case("gcc")
def case_deepbind(run):
    """A library that prefers its own names frees what libc allocated for it; its folder is looked through for others."""
    run.write("other.c", "int other(void) { return 42; }")
    run.write("bound.c", """#include <stdlib.h>
#include <string.h>
int other(void);
char *bound(char *mine) { char *copy = strdup(mine); free(mine); free(copy); return malloc(other()); }""")
    run.write("main.c", """#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
int main(int count, char **arguments) {
    void *library = dlopen(count > 1 ? arguments[1] : "./libbound.so", RTLD_NOW | RTLD_LOCAL | RTLD_DEEPBIND);
    if (!library) { printf("refused\\n"); return 0; }
    char *(*bound)(char *) = (char *(*)(char *))dlsym(library, "bound");
    for (int i = 1; i < 2000; i++) free(bound(calloc(i, 1)));
    return printf("done\\n") < 0;
}""")
    run.call("gcc", "-shared", "-fPIC", "-o", "libother.so", "other.c", preload=False)
    run.call("gcc", "-shared", "-fPIC", "-o", "libbound.so", "bound.c", "-L.", "-lother", "-Wl,-rpath,$ORIGIN", preload=False)
    run.call("gcc", "-o", "main", "main.c", "-Wl,-rpath,$ORIGIN", preload=False)
    return {"found": run.call("./main", "libbound.so"), "none": run.call("./main", "libnone.so")}


@case("git")
def case_git(run):
    when = "2024-01-01T00:00:00Z"
    who = {f"GIT_{role}_{part}": value for role in ("AUTHOR", "COMMITTER")
           for part, value in (("NAME", "a"), ("EMAIL", "a@b"), ("DATE", when))}
    env = dict(who, GIT_CONFIG_NOSYSTEM="1", GIT_CONFIG_GLOBAL="/dev/null")
    repo, rng = run.folder / "repo", random.Random(4)

    def git(*words, **options):
        return run.call("git", "-c", "gc.auto=0", "-c", "init.defaultBranch=main", *words, env=env,
                        **{"cwd": repo, **options})

    git("init", "-q", repo, cwd=run.folder)
    for turn in range(8):
        for i in range(120):
            path = repo / f"d{i % 9}" / f"f{rng.randrange(250)}.txt"
            path.parent.mkdir(exist_ok=True)
            with open(path, "a") as out:
                out.write("".join(f"line {rng.randrange(1000)}\n" for _ in range(40)))
        git("add", "-A")
        git("commit", "-q", "-m", f"turn {turn}")
    result = {"log": git("log", "--stat", "-p"), "head": git("rev-parse", "HEAD"), "blame": git("blame", "d1/" + min(
        p.name for p in (repo / "d1").iterdir()))}
    git("gc", "-q", "--aggressive")
    result["fsck"] = git("fsck", "--full", "--strict")
    git("clone", "-q", "--no-local", repo, run.folder / "clone", cwd=run.folder)
    result["clone"] = git("rev-list", "--objects", "--all", cwd=run.folder / "clone")
    result["grep"] = git("grep", "-c", "line 7")
    return result


# ---- compilers ----


MAKEFILES = ("Makefile", "tests/targets.mk", "deploy/install.mk")


def snapshot(run):
    """A copy of this project's sources: others may be editing them meanwhile."""
    for name in ("src", "include", "proto"):
        shutil.copytree(SOURCES / name, run.folder / "tree" / name)
    for name in MAKEFILES:
        (run.folder / "tree" / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(SOURCES / name, run.folder / "tree" / name)
    return run.folder / "tree"


CPP_UNIT = """#include <algorithm>
#include <map>
#include <regex>
#include <string>
#include <unordered_map>
#include <vector>
template <int N> struct fold { static std::map<int, std::vector<std::string>> make() {
    auto m = fold<N - 1>::make(); m[N].push_back(std::to_string(N)); return m; } };
template <> struct fold<0> { static std::map<int, std::vector<std::string>> make() { return {}; } };
int main(int argc, char **argv) {
    std::unordered_map<std::string, int> seen; std::regex word("[a-z]+");
    for (auto &entry : fold<40>::make()) for (auto &s : entry.second) seen[s]++;
    return std::regex_match(argv[0], word) + (int)seen.size();
}
"""


def compile_all(run, compiler, cpp):
    tree = snapshot(run)
    flags = ["-std=gnu11", "-D_GNU_SOURCE", "-DMAL_VERSION=\"0\"", "-DMAL_OVERRIDE=1", "-Isrc", "-Iinclude", "-fPIC"]
    sources = [p for part in ("front", "pageheap", "cache", "sample") for p in sorted((tree / "src" / part).glob("*.c"))]
    for i, source in enumerate(sources):
        level = ("-O2", "-O3", "-O1", "-O0")[i % 4]
        run.call(compiler, level, "-g", *flags, "-c", source.relative_to(tree), "-o", f"{source.stem}.o", cwd=tree)
    run.write("tree/unit.cc", CPP_UNIT)
    run.call(cpp, "-O1", "-g", "-c", "unit.cc", "-o", "unit.o", cwd=tree)
    run.call(cpp, "unit.o", "-o", "unit", cwd=tree)
    return {**tree_hashes(tree, "*.o"), **tree_hashes(tree, "unit")}


@case("gcc", "g++")
def case_gcc(run):
    return compile_all(run, "gcc", "g++")


@case("clang", "clang++", modes=("rseq", "lock"))
def case_clang(run):
    return compile_all(run, "clang", "clang++")


@case("make", "gcc", "objcopy", modes=("rseq", "lock"))
def case_make(run):
    tree = snapshot(run)
    run.call("make", "-j2", "-k", "core", cwd=tree, timeout=200)
    # The archive holds no dates (ar's D mode); compiler output is reproducible by contract.
    return {**tree_hashes(tree / "build", "*.o"), **tree_hashes(tree / "build", "*.so.*"), **tree_hashes(tree / "build", "*.a")}


# ---- the driver ----


def first_difference(name, before, after):
    if before is None or after is None:
        return f"{name}: only {'with' if before is None else 'without'} the library: {after or before!r}"
    if not isinstance(before, bytes):
        return f"{name}: {before!r} without the library, {after!r} with it"
    for number, (a, b) in enumerate(zip(before.split(b"\n"), after.split(b"\n")), 1):
        if a != b:
            return f"{name}: line {number} is {a[:160]!r} without the library, {b[:160]!r} with it"
    return f"{name}: {len(before)} bytes without the library, {len(after)} with it"


def compare(before, after):
    names = sorted(set(before) | set(after))
    return [first_difference(n, before.get(n), after.get(n)) for n in names if before.get(n) != after.get(n)]


def said_by_library(folder):
    """Lines of the library, or of the loader about it, in what the processes wrote."""
    for path in sorted(folder.rglob("*.log")):
        for line in path.read_bytes().splitlines():
            if b"mallard: " in line or b"cannot be preloaded" in line:
                yield f"{path.name}: {line[:300].decode(errors='replace')}"


def describe_box(run, path):
    """A box's name, who made it, and whether anything was ever written into it."""
    pid = int(path.name.split(".")[0])
    maker = [" ".join(p.args)[:80] for p in run.processes if p.pid == pid]
    written = path.stat().st_blocks > 0 and path.read_bytes()[:8] != bytes(8)
    return f"{path.name} of {maker[0] if maker else 'a descendant'}{'' if written else ', empty'}"


STATE_OFFSET, EXITED, HUSK_BYTES = 272, 2, 16384  # as src/box/layout.h has them


def is_husk(path):
    """What a process leaves that gave up the right to remove its file: marked as ended, and empty."""
    state = int.from_bytes(path.read_bytes()[STATE_OFFSET:STATE_OFFSET + 4], "little")
    return state == EXITED and path.stat().st_blocks * 512 <= HUSK_BYTES


def settle_boxes(run, box_dir):
    """Descriptions of boxes still there once every process has ended."""
    end = time.monotonic() + 10
    while not run.group_is_gone() and time.monotonic() < end:
        time.sleep(0.02)
    return [describe_box(run, path) for path in sorted(box_dir.iterdir()) if not is_husk(path)]


class Driver:
    def __init__(self, options, work):
        self.options = options
        self.work = work
        self.lib = work / "libmallard.so.0"
        shutil.copy(options.lib, self.lib)
        self.lib.chmod(0o755)
        self.reference = {}
        self.counts = {"passed": 0, "failed": 0, "skipped": 0}

    def run_once(self, name, mode):
        """One run; returns (result, faults)."""
        function, _, _, boxes_left = CASES[name]
        folder, box_dir = self.work / "run" / name, self.work / "boxes" / name
        shutil.rmtree(folder, ignore_errors=True)
        shutil.rmtree(box_dir, ignore_errors=True)
        box_dir.mkdir(parents=True)
        box_dir.chmod(0o1777)
        run = Run(folder, MODES.get(mode, {}), self.lib if mode else None, box_dir)
        result, faults, boxes = {}, [], []
        try:
            result = function(run)
            boxes = settle_boxes(run, box_dir)
        except Failure as failure:
            faults.append(str(failure))
        finally:
            run.clean_up()
        if boxes and not boxes_left:
            faults.append(f"{len(boxes)} boxes left after clean exits: {'; '.join(boxes[:4])}")
        faults += [f"unexpected: {line}" for line in said_by_library(folder)][:5]
        return result, faults

    def refer(self, name):
        if name not in self.reference:
            started = time.monotonic()
            result, faults = self.run_once(name, None)
            if faults:
                raise Skip("does not work without the library either: " + faults[0])
            self.reference[name] = result, time.monotonic() - started
        return self.reference[name]

    def check(self, name, mode):
        try:
            expected, plain_s = self.refer(name)
        except Skip as skip:
            self.counts["skipped"] += 1
            print(f"skip {name} {mode}: {skip}", flush=True)
            return
        started = time.monotonic()
        result, faults = self.run_once(name, mode)
        seconds = time.monotonic() - started
        if result:
            faults += compare(expected, result)[:8]
        if faults:
            self.report(name, mode, faults)
            return
        self.counts["passed"] += 1
        print(f"ok {name} {mode} ({seconds:.1f} s, without {plain_s:.1f} s)", flush=True)

    def report(self, name, mode, faults):
        self.counts["failed"] += 1
        print(f"FAIL {name} {mode}")
        for fault in faults:
            print(f"    {fault}")
        print(f"    again: python3 {os.path.relpath(__file__)} --lib {self.options.lib} --only {name} --mode {mode} --keep",
              flush=True)


def missing_programs(needs):
    path = CLEAN_ENV["PATH"]
    return [n for n in needs if not any(shutil.which(one, path=path) for one in n.split("|"))]


def parse_options():
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--lib", type=pathlib.Path, help="libmallard.so.0 to test")
    parser.add_argument("--only", type=lambda text: text.split(","), default=list(CASES), metavar="NAME,...")
    parser.add_argument("--mode", choices=[*MODES, "all"], default="all")
    parser.add_argument("--list", action="store_true", help="print the cases and their modes")
    parser.add_argument("--keep", action="store_true", help="leave the work folder, and name it")
    options = parser.parse_args()
    unknown = [name for name in options.only if name not in CASES]
    if unknown:
        parser.error(f"no case named {', '.join(unknown)}; there are: {' '.join(CASES)}")
    if not options.list and not (options.lib and options.lib.is_file()):
        parser.error("--lib must name the library")
    return options


def run_all(options, work):
    global SOURCES
    SOURCES = work / "sources"
    for name in ("src", "include", "proto"):
        shutil.copytree(ROOT / name, SOURCES / name)
    for name in MAKEFILES:
        (SOURCES / name).parent.mkdir(exist_ok=True)
        shutil.copy(ROOT / name, SOURCES / name)
    driver = Driver(options, work)
    for name in options.only:
        _, needs, modes, _ = CASES[name]
        missing = missing_programs(needs)
        for mode in [m for m in modes if options.mode in (m, "all")]:
            if missing:
                driver.counts["skipped"] += 1
                print(f"skip {name} {mode}: not installed: {' '.join(missing)}", flush=True)
            else:
                driver.check(name, mode)
    return driver.counts


def main():
    options = parse_options()
    if options.list:
        print("\n".join(f"{name:16} {' '.join(modes)}" for name, (_, _, modes, _) in CASES.items()))
        return 0
    # Started in the background of a script, SIGINT would be ignored in everything we test.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    shm = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
    work = pathlib.Path(tempfile.mkdtemp(prefix="mallard-programs.", dir=shm))
    work.chmod(0o755)
    try:
        counts = run_all(options, work)
    finally:
        if options.keep:
            print(f"kept: {work}")
        else:
            shutil.rmtree(work, ignore_errors=True)
    skipped = f", {counts['skipped']} skipped" if counts["skipped"] else ""
    print(f"{counts['passed']} passed, {counts['failed']} failed{skipped}")
    return bool(counts["failed"])


if __name__ == "__main__":
    sys.exit(main())
