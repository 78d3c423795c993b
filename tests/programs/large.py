#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""More real programs, as run.py runs its own: servers with sandboxes, and those that are large.

    large.py --lib PATH [as run.py]

No packages are installed for it: what is not there is skipped. Beside run.py's modes there is
"served": every process is asked to serve, so the first does, and it is scraped all the time, also
for differences. Debian's names of what the cases look for:

    openssh-server openssh-client mariadb-server apache2 apache2-utils php-fpm haproxy bind9 dnsutils
    unbound openjdk-17-jdk-headless erlang-base golang-go qemu-utils qemu-system-x86 gdb ffmpeg
    imagemagick gimp libreoffice-writer-nogui chromium firefox-esr blender
"""
import contextlib
import http.client
import http.server
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
import threading
import urllib.error
import urllib.request

import run as programs
from run import Skip, case, fetch, free_port, sha, wait_for

programs.CASES.clear()
ALL = ("rseq", "lock", "rate1", "served")
SCRAPED = ("/debug/pprof/heap", "/debug/pprof/allocs", "/debug/pprof/heap?seconds=1", "/debug/pprof/heap?debug=1",
           "/metrics", "/debug/pprof/delta_heap", "/api/spans", "/debug/memstats")


class Scraper:
    """Asks a server on that port for everything, again and again; there may be none at times."""

    def __init__(self, port):
        self.port, self.answers, self.over = port, 0, threading.Event()
        self.threads = [threading.Thread(target=self.scrape, args=(path,)) for path in SCRAPED]

    def scrape(self, path):
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        while not self.over.wait(0.05):
            with contextlib.suppress(OSError, ValueError, urllib.error.URLError, http.client.HTTPException):
                with opener.open(f"http://127.0.0.1:{self.port}{path}", timeout=5) as answer:
                    self.answers += len(answer.read()) > 0

    def __enter__(self):
        for thread in self.threads:
            thread.start()
        return self

    def __exit__(self, *_):
        self.over.set()
        for thread in self.threads:
            thread.join()


def as_root():
    if os.geteuid() != 0:
        raise Skip("needs root")


def account(name):
    try:
        return pwd.getpwnam(name)
    except KeyError:
        raise Skip(f"no user {name}") from None


def name_port():
    """Below the ports that the kernel hands out: dig shares its own, and would ask itself."""
    for port in random.sample(range(20000, 30000), 100):
        with socket.socket() as tcp, socket.socket(type=socket.SOCK_DGRAM) as udp, contextlib.suppress(OSError):
            tcp.bind(("127.0.0.1", port))
            udp.bind(("127.0.0.1", port))
            return port
    raise Skip("no free port")


# ---- servers ----

SSHD = """Port {port}
ListenAddress 127.0.0.1
HostKey {folder}/host
AuthorizedKeysFile {folder}/me.pub
StrictModes no
UsePAM no
PermitRootLogin yes
PidFile none
Subsystem sftp internal-sftp
"""


@case("sshd|/usr/sbin/sshd", "ssh", "ssh-keygen", modes=ALL,
      boxes_left="before it is confined each connection's process goes into an empty folder by chroot")
def case_sshd(run):
    as_root()
    account("sshd")
    os.makedirs("/run/sshd", 0o755, exist_ok=True)
    for name in ("host", "me"):
        run.call("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", run.folder / name, preload=False)
    port = free_port()
    config = run.write("sshd_config", SSHD.format(port=port, folder=run.folder))
    server = run.server("/usr/sbin/sshd", "-D", "-E", run.folder / "sshd.log", "-f", config, port=port)
    common = ["-q", "-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null", "-i", run.folder / "me"]
    result = {}
    for turn in range(6):
        result[f"command {turn}"] = run.call("ssh", *common, "-p", port, "root@127.0.0.1", f"echo {turn}; seq 30000")
    result["input"] = run.call("ssh", *common, "-p", port, "root@127.0.0.1", "md5sum", stdin=b"x" * 5000000)
    result["terminal"] = run.call("ssh", *common, "-tt", "-p", port, "root@127.0.0.1", "test -t 0 && echo yes")
    run.write("sent", os.urandom(1000) * 5000)
    run.call("scp", *common, "-P", port, run.folder / "sent", f"root@127.0.0.1:{run.folder}/received")
    result["copy"] = (run.folder / "sent").read_bytes() == (run.folder / "received").read_bytes()
    run.call("ssh", *common, "-p", port, "backup@127.0.0.1", "true", ok=(1, 255))
    os.kill(server.pid, signal.SIGTERM)
    # It ends so without the library, too.
    result["status"] = server.wait(30)
    return result


MARIADB_SQL = """create table t(i int primary key, h char(32), pad text, key(h)) engine=innodb;
insert into t select seq, md5(seq), repeat('x', seq % 500) from seq_1_to_20000;
select count(*), sum(length(pad)), max(h) from t;
select h, group_concat(i) from t where i < 2000 group by h order by h limit 5;
select count(*), sum(length(a.h)) from t a join t b on b.i % 5000 = a.i % 5000 where a.i < 5000;
create temporary table m engine=memory as select i, h from t; select count(distinct h) from m;
update t set pad = concat(pad, h) where i % 3 = 0; alter table t add column j json default '{"a": [1,2,3]}';
select sum(json_extract(j, '$.a[2]')) from t; select count(*) from t where pad regexp '[0-9a-f]{31}';
checksum table t; analyze table t;
"""


@case("mariadbd|/usr/sbin/mariadbd", "mariadb", "mariadb-install-db", "mariadb-slap", modes=ALL)
def case_mariadb(run):
    as_root()
    account("mysql")
    data, port, socket = run.folder / "data", free_port(), run.folder / "s"
    shutil.chown(run.folder, "mysql")
    (run.folder / "stderr.log").touch()
    run.call("mariadb-install-db", "--no-defaults", f"--datadir={data}", "--user=mysql", "--skip-test-db",
             "--auth-root-authentication-method=normal", timeout=120)
    server = run.server("/usr/sbin/mariadbd", "--no-defaults", f"--datadir={data}", f"--socket={socket}", f"--port={port}",
                        "--bind-address=127.0.0.1", "--user=mysql", "--innodb-flush-log-at-trx-commit=0", port=port)
    client = [f"--socket={socket}", "-uroot"]
    result = {"create": run.call("mariadb", "--no-defaults", *client, "-e", "create database d")}
    result["sql"] = run.call("mariadb", "--no-defaults", *client, "-N", "d", stdin=MARIADB_SQL)
    slap = run.call("mariadb-slap", "--no-defaults", *client, "--concurrency=12", "--iterations=2", "--auto-generate-sql",
                    "--number-of-queries=1500", "--auto-generate-sql-load-type=mixed")
    result["load"] = b"Average number of queries per client" in slap
    result["checksum"] = run.call("mariadb", "--no-defaults", *client, "-N", "d", "-e", "checksum table t")
    result["dump"] = sha(re.sub(rb"(?m)^-- Dump completed.*$", b"",
                                run.call("mariadb-dump", "--no-defaults", *client, "d")))
    run.call("mariadb-admin", "--no-defaults", *client, "shutdown")
    run.stop(server)
    return result


APACHE = """ServerRoot {folder}
ServerName localhost
Listen 127.0.0.1:{port}
PidFile {folder}/pid
ErrorLog {folder}/error.log
DocumentRoot {folder}/www
Mutex file:{folder}/tmp default
{modules}
User www-data
Group www-data
ServerLimit 4
ThreadsPerChild 16
StartServers 2
MaxRequestWorkers 64
AddOutputFilterByType DEFLATE text/plain text/html
<Directory />
  Require all granted
</Directory>
"""
MODULES = ("mpm_event", "authz_core", "deflate", "filter", "autoindex", "dir", "alias", "mime")


@case("apache2|/usr/sbin/apache2", "ab", modes=ALL)
def case_apache(run):
    as_root()
    account("www-data")
    port, found = free_port(), pathlib.Path("/usr/lib/apache2/modules")
    run.write("www/big.txt", "".join(f"{i} lorem ipsum {i * i}\n" for i in range(40000)))
    run.write("www/small.html", "<html>hello</html>" * 20)
    lines = "\n".join(f"LoadModule {name}_module {found}/mod_{name}.so" for name in MODULES)
    config = run.write("httpd.conf", APACHE.format(folder=run.folder, port=port, modules=lines) + "TypesConfig /dev/null\n")
    server = run.server("/usr/sbin/apache2", "-DFOREGROUND", "-f", config, port=port)
    result = {}
    for turn in range(3):
        result[f"pages {turn}"] = [sha(fetch(port, path, encoding)) for path in ("/big.txt", "/small.html")
                                   for encoding in ("", "gzip")]
        report = run.call("ab", "-q", "-n", 3000, "-c", 24, "-k", "-H", "Accept-Encoding: gzip",
                          f"http://127.0.0.1:{port}/small.html").decode()
        result[f"load {turn}"] = re.search(r"Complete requests: +\d+", report)[0]
        old = set(programs.children(server.pid))
        os.kill(server.pid, signal.SIGUSR1)  # a graceful restart: the master loads its modules again
        wait_for(lambda: not old & set(programs.children(server.pid)), 30, "graceful restart")
        wait_for(lambda: programs.accepts(port), 10, "listening again")
    os.kill(server.pid, signal.SIGWINCH)  # a graceful stop
    run.stop(server)
    return result


PHP_FPM = """[global]
error_log = {folder}/fpm.log
daemonize = no
[www]
user = www-data
group = www-data
listen = 127.0.0.1:{port}
pm = dynamic
pm.max_children = 6
pm.start_servers = 2
pm.min_spare_servers = 1
pm.max_spare_servers = 4
pm.max_requests = 60
catch_workers_output = yes
"""
PHP_PAGE = """<?php $a = []; for ($i = 0; $i < 20000; $i++) $a["k$i"] = str_repeat(chr(65 + $i % 26), $i % 97);
ksort($a); echo md5(json_encode($a)), " ", strlen(gzcompress(serialize($a))), " ", preg_match_all('/A+/', join($a));
class N { public $next; } for ($i = 0; $i < 2000; $i++) { $x = new N; $y = new N; $x->next = $y; $y->next = $x; }
echo " ", gc_collect_cycles() > 0; ?>"""
FASTCGI = """daemon off; master_process off; pid {folder}/nginx.pid; error_log {folder}/error.log;
events {{ worker_connections 64; }} http {{ access_log off; fastcgi_temp_path {folder}/tmp;
  client_body_temp_path {folder}/tmp; proxy_temp_path {folder}/tmp; uwsgi_temp_path {folder}/tmp; scgi_temp_path {folder}/tmp;
  server {{ listen 127.0.0.1:{web}; location / {{ fastcgi_pass 127.0.0.1:{port};
    fastcgi_param SCRIPT_FILENAME {folder}/page.php; fastcgi_param REQUEST_METHOD GET; }} }} }}
"""


@case("php-fpm8.2|/usr/sbin/php-fpm8.2", "nginx", modes=ALL,
      boxes_left="it ends its children by signals")
def case_php_fpm(run):
    as_root()
    account("www-data")
    port, web = free_port(), free_port()
    run.write("page.php", PHP_PAGE)
    config = run.write("fpm.conf", PHP_FPM.format(folder=run.folder, port=port))
    server = run.server("/usr/sbin/php-fpm8.2", "-F", "-n", "-y", config, port=port)
    gateway = run.write("nginx.conf", FASTCGI.format(folder=run.folder, port=port, web=web))
    nginx = run.popen(["nginx", "-p", run.folder, "-c", gateway, "-e", run.folder / "error.log"], preload=False,
                      stdin=subprocess.DEVNULL)
    wait_for(lambda: programs.accepts(web), 20, "the gateway")
    result = {"pages": sorted({fetch(web, "/") for _ in range(150)})}
    old = set(programs.children(server.pid))
    os.kill(server.pid, signal.SIGUSR2)  # it executes itself anew
    wait_for(lambda: not old & set(programs.children(server.pid)) and programs.accepts(port), 30, "reload of php-fpm")
    result["after the reload"] = sorted({fetch(web, "/") for _ in range(50)})
    run.stop(server, signal.SIGQUIT)
    run.stop(nginx, signal.SIGQUIT)
    return result


HAPROXY = """global
  stats socket {folder}/admin.sock mode 600
  nbthread 3
  {confined}
defaults
  mode http
  timeout connect 5s
  timeout client 20s
  timeout server 20s
  compression algo gzip
  compression type text/plain
frontend f
  bind 127.0.0.1:{port}
  default_backend b
backend b
  server s 127.0.0.1:{backend}
"""


@case("haproxy|/usr/sbin/haproxy", modes=ALL)
def case_haproxy(run):
    as_root()
    text = "".join(f"{i} lorem ipsum {i * i}\n" for i in range(20000)).encode()

    class Page(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(200)
            self.send_header("Content-Type", "text/plain")
            self.send_header("Content-Length", str(len(text)))
            self.end_headers()
            self.wfile.write(text)

        def log_message(self, *_):
            pass

    backend = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Page)
    threading.Thread(target=backend.serve_forever, daemon=True).start()
    port = free_port()
    config = run.write("haproxy.cfg", HAPROXY.format(folder=run.folder, port=port, backend=backend.server_port,
                                                     confined=f"user nobody\n  group nogroup\n  chroot {run.folder}/tmp"))
    server = run.server("haproxy", "-Ws", "-f", config, port=port)
    result = {"pages": [sha(fetch(port, "/", encoding)) for _ in range(60) for encoding in ("", "gzip")]}
    old = set(programs.children(server.pid))
    os.kill(server.pid, signal.SIGUSR2)  # the master executes itself anew and hands its sockets over
    wait_for(lambda: programs.children(server.pid) and not old & set(programs.children(server.pid)), 30, "reload of haproxy")
    result["after the reload"] = [sha(fetch(port, "/", encoding)) for _ in range(20) for encoding in ("", "gzip")]
    os.kill(server.pid, signal.SIGUSR1)
    result["status"] = server.wait(30)
    backend.shutdown()
    backend.server_close()
    return result


ZONE = "$TTL 60\n@ SOA a.test. b.test. 1 60 60 60 60\n NS a.test.\na A 127.0.0.1\n"


@case("named|/usr/sbin/named", "dig", modes=ALL)
def case_named(run):
    port = name_port()
    run.write("zone", ZONE + "".join(f"h{i} A 10.0.{i // 250}.{i % 250}\nt{i} TXT \"{'x' * (i % 200)}\"\n" for i in range(3000)))
    config = run.write("named.conf", f'options {{ directory "{run.folder}"; listen-on port {port} {{ 127.0.0.1; }}; '
                       f'listen-on-v6 {{ none; }}; recursion no; pid-file none; session-keyfile none; allow-transfer {{ any; }}; }};\n'
                       f'controls {{ }};\nzone "test" {{ type primary; file "zone"; }};\n')
    server = run.server("/usr/sbin/named", "-g", "-c", config, "-n", 2, port=port)
    wait_for(lambda: run.call("dig", "@127.0.0.1", "-p", port, "+short", "h1.test", ok=(0, 9)) == b"10.0.0.1\n", 20, "named")
    queries = run.write("queries", "".join(f"h{i * 7 % 3000}.test A\nt{i * 11 % 3000}.test TXT\n" for i in range(1500)))
    dig = ["dig", "@127.0.0.1", "-p", port, "+short", "+tries=3"]
    result = {"answers": run.call(*dig, "-f", queries), "transfer": sha(b"\n".join(sorted(run.call(*dig, "test", "AXFR").split(b"\n"))))}
    os.kill(server.pid, signal.SIGHUP)
    result["again"] = run.call(*dig, "-f", queries)
    run.stop(server, signal.SIGTERM)
    return result


@case("unbound|/usr/sbin/unbound", "dig", modes=ALL)
def case_unbound(run):
    as_root()
    account("unbound")
    port = name_port()
    run.folder.chmod(0o755)
    data = "".join(f'  local-data: "h{i}.test. A 10.0.{i // 250}.{i % 250}"\n' for i in range(3000))
    config = run.write("unbound.conf", f'server:\n  interface: 127.0.0.1\n  port: {port}\n  username: unbound\n  chroot: ""\n'
                       f'  directory: {run.folder}\n  use-syslog: no\n  pidfile: ""\n  num-threads: 3\n  do-daemonize: no\n'
                       f'  module-config: "iterator"\n  local-zone: "test." static\n{data}remote-control:\n  control-enable: no\n')
    server = run.server("/usr/sbin/unbound", "-d", "-c", config, port=port)
    queries = run.write("queries", "".join(f"h{i * 7 % 3000}.test A\n" for i in range(2000)))
    dig = ["dig", "@127.0.0.1", "-p", port, "+short", "+tries=3"]
    result = {"answers": run.call(*dig, "-f", queries)}
    os.kill(server.pid, signal.SIGHUP)
    wait_for(lambda: run.call(*dig, "h1.test", "A", ok=(0, 9)) == b"10.0.0.1\n", 20, "reload of unbound")
    result["again"] = run.call(*dig, "-f", queries)
    run.stop(server, signal.SIGTERM)
    return result


# ---- languages ----

JAVA = """import java.util.*; import java.util.concurrent.*; import java.util.zip.*; import java.nio.*;
public class Work { public static void main(String[] a) throws Exception {
  ExecutorService pool = Executors.newFixedThreadPool(8); List<Future<Long>> all = new ArrayList<>();
  for (int t = 0; t < 40; t++) { final int n = t; all.add(pool.submit(() -> { Random r = new Random(n); long sum = 0;
    for (int i = 0; i < 60; i++) { byte[] b = new byte[r.nextInt(60000) + 1]; r.nextBytes(b);
      Deflater d = new Deflater(); d.setInput(b); d.finish(); byte[] o = new byte[b.length + 1000]; int k = d.deflate(o); d.end();
      CRC32 c = new CRC32(); c.update(o, 0, k); sum += c.getValue(); ByteBuffer x = ByteBuffer.allocateDirect(10000 + i); sum += x.capacity(); }
    return sum; })); }
  long total = 0; for (Future<Long> f : all) total += f.get(); pool.shutdown(); System.out.println(total);
  for (int i = 0; i < 300; i++) { Thread t = new Thread(() -> { byte[] b = new byte[100000]; }); t.start(); t.join(); }
  Process p = new ProcessBuilder("sh", "-c", "echo child; exit 3").redirectErrorStream(true).start();
  System.out.print(new String(p.getInputStream().readAllBytes())); System.out.println(p.waitFor()); System.gc();
  try { Object o = null; o.hashCode(); } catch (NullPointerException e) { System.out.println("null"); }
  try { deep(0); } catch (StackOverflowError e) { System.out.println("deep"); } }
  static int deep(int n) { return deep(n + 1) + 1; } }
"""


@case("java", "javac", modes=ALL)
def case_java(run):
    source = run.write("Work.java", JAVA)
    run.call("javac", "-d", run.folder, source, timeout=150)
    return {gc: run.call("java", "-Xmx200m", f"-XX:+Use{gc}GC", "-cp", run.folder, "Work", timeout=150) for gc in ("G1", "Serial")}


GO = """package main
/*
#include <stdlib.h>
#include <string.h>
static void *fill(size_t n) { char *p = malloc(n); memset(p, 7, n); return p; }
static unsigned long use(void *p, size_t n) { unsigned long s = 0; for (size_t i = 0; i < n; i++) s += ((char *)p)[i]; free(p); return s; }
*/
import "C"
import ("fmt"; "net"; "os/exec"; "os/user"; "runtime"; "sync")
func main() {
  var wait sync.WaitGroup; var lock sync.Mutex; total := 0
  for g := 0; g < 200; g++ { wait.Add(1); go func(g int) { defer wait.Done()
    for i := 0; i < 300; i++ { n := C.size_t(1 + g*i%20000); s := int(C.use(C.fill(n), n)); lock.Lock(); total += s; lock.Unlock(); runtime.Gosched() } }(g) }
  wait.Wait(); runtime.GC(); fmt.Println(total)
  out, _ := exec.Command("sh", "-c", "echo child").Output(); fmt.Print(string(out))
  me, _ := user.Current(); fmt.Println(me.Uid); a, _ := net.LookupHost("localhost"); fmt.Println(len(a) > 0)
  var p *int; func() { defer func() { fmt.Println(recover()) }(); *p = 1 }()
}
"""


@case("go", "gcc", modes=ALL, boxes_left="Go ends by the bare system call")
def case_go(run):
    source = run.write("work.go", GO)
    env = {"GOCACHE": str(run.folder / "cache"), "CGO_ENABLED": "1", "GOFLAGS": "-mod=mod", "GO111MODULE": "off"}
    run.call("go", "build", "-o", run.folder / "work", source, env=env, timeout=170, preload=False)
    return {"output": run.call(run.folder / "work", timeout=60)}


ERLANG = """main(_) -> L = [spawn_monitor(fun() -> B = [binary:copy(<<I:32>>, 1000 + I rem 97) || I <- lists:seq(1, 300)],
  exit({done, erlang:crc32(zlib:compress(B))}) end) || _ <- lists:seq(1, 300)],
 R = [receive {'DOWN', M, process, _, {done, C}} -> C end || {_, M} <- L], io:format("~p~n", [lists:usort(R)]),
 T = ets:new(t, [public]), [ets:insert(T, {I, integer_to_binary(I * I)}) || I <- lists:seq(1, 50000)],
 io:format("~p ~p~n", [ets:info(T, size), ets:lookup(T, 777)]), io:format("~s", [os:cmd("echo child")]).
"""


@case("escript", modes=ALL, boxes_left="it kills the process that starts its children")
def case_erlang(run):
    return {"output": run.call("escript", run.write("work.escript", "#!/usr/bin/env escript\n" + ERLANG), timeout=120)}


# ---- machines and debuggers ----

BOOT = bytes.fromhex("be167c baf803 ac 84c0 7403 ee ebf8 b001 baf401 ee f4")  # prints to the serial port, then leaves


@case("qemu-system-x86_64", modes=ALL)
def case_qemu_system(run):
    text = b"booted\n\0"
    image = BOOT.ljust(0x16, b"\x90") + text
    disk = run.write("disk", image.ljust(510, b"\0") + b"\x55\xaa" + bytes(1 << 20))
    words = ["-nodefaults", "-display", "none", "-serial", "stdio", "-m", "64", "-machine", "accel=tcg",
             "-device", "isa-debug-exit,iobase=0x1f4,iosize=1", "-drive", f"file={disk},format=raw,if=ide"]
    result = {"plain": run.call("qemu-system-x86_64", *words, ok=(3,), timeout=60)}
    result["sandbox"] = run.call("qemu-system-x86_64", *words, "-sandbox",
                                 "on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny",
                                 ok=(3,), timeout=60)
    return result


@case("gdb", "gcc", modes=ALL)
def case_gdb(run):
    source = run.write("p.c", "#include <stdlib.h>\nint f(int n) { return n ? f(n - 1) + 1 : abs(-7); }\n"
                       "int main(void) { void *p = malloc(100); free(p); return f(5) - 12; }\n")
    run.call("gcc", "-g", source, "-o", run.folder / "p", preload=False)
    said = run.call("gdb", "-nx", "-q", "-batch", "-ex", "break f if n == 0", "-ex", "run", "-ex", "bt", "-ex", "python print(sum(range(100000)))",
                    "-ex", "delete", "-ex", "continue", run.folder / "p", timeout=120).decode()
    return {"trace": re.findall(r"f \(n=\d\)|main \(\)|4999950000|exited normally", said)}


# ---- pictures, sounds, pages ----


@case("ffmpeg", modes=ALL)
def case_ffmpeg(run):
    source = ["-f", "lavfi", "-i", "testsrc2=s=320x240:d=3", "-f", "lavfi", "-i", "sine=d=3"]
    bits = ["-fflags", "+bitexact", "-flags:v", "+bitexact", "-flags:a", "+bitexact"]
    run.call("ffmpeg", "-v", "error", *source, *bits, "-threads", 4, "-c:v", "mpeg4", "-c:a", "aac", run.folder / "a.mkv")
    decoded = run.call("ffmpeg", "-v", "error", "-threads", 4, "-i", run.folder / "a.mkv", "-vf", "scale=160:-1,hflip", "-f", "md5", "-")
    return {"file": sha((run.folder / "a.mkv").read_bytes()), "decoded": decoded}


@case("convert-im6.q16", modes=ALL)
def case_imagemagick(run):
    convert = "convert-im6.q16"
    out = run.call(convert, "-size", "600x600", "gradient:red-blue", "-swirl", 90, "-blur", "0x4", "-resize", "50%",
                   "-rotate", 30, "-strip", "rgb:-", timeout=120)
    return {"picture": sha(out)}


GIMP = """(let* ((image (car (gimp-image-new 400 300 RGB))) (layer (car (gimp-layer-new image 400 300 RGB-IMAGE "l" 100 LAYER-MODE-NORMAL))))
 (gimp-image-insert-layer image layer 0 0) (gimp-context-set-foreground '(200 30 90)) (gimp-edit-fill layer FILL-FOREGROUND)
 (plug-in-gauss RUN-NONINTERACTIVE image layer 9 9 0) (gimp-image-scale image 200 150)
 (file-bmp-save RUN-NONINTERACTIVE image (car (gimp-image-get-active-layer image)) "{folder}/out.bmp" "o") (gimp-quit 0))
"""


@case("gimp-console-2.10", modes=("rseq", "served"))
def case_gimp(run):
    run.call("gimp-console-2.10", "-i", "-d", "-f", "-s", "-b", GIMP.format(folder=run.folder).replace("\n", " "), timeout=170)
    return {"picture": sha((run.folder / "out.bmp").read_bytes())}


@case("soffice", modes=("rseq", "served"), boxes_left="its first process replaces itself and waits for nobody")
def case_libreoffice(run):
    table = "".join(f"<tr><td>{i}</td><td>{i * i}</td></tr>" for i in range(400))
    run.write("a.html", f"<html><body><h1>Title</h1><table>{table}</table></body></html>")
    home = f"-env:UserInstallation=file://{run.folder}/profile"
    run.call("soffice", home, "--headless", "--convert-to", "txt:Text", "--outdir", run.folder / "out", run.folder / "a.html", timeout=170)
    run.call("soffice", home, "--headless", "--convert-to", "pdf", "--outdir", run.folder / "out", run.folder / "a.html", timeout=170)
    return {"text": (run.folder / "out/a.txt").read_bytes(), "pdf": (run.folder / "out/a.pdf").read_bytes()[:5]}


PAGE = """<html><body><p id=x>0</p><canvas id=c width=300 height=200></canvas><script>
let a = []; for (let i = 0; i < 200000; i++) a.push({k: 'v' + i}); let m = new Map(a.map(e => [e.k, e]));
let g = c.getContext('2d'); for (let i = 0; i < 300; i++) g.fillRect(i, i / 2, 20, 20);
for (let i = 0; i < 2000; i++) { let d = document.createElement('div'); d.textContent = i; document.body.appendChild(d); }
x.textContent = JSON.stringify(a.slice(0, 3)) + m.size + document.querySelectorAll('div').length;</script></body></html>"""


def chromium(run, user, *words):
    page = run.write("page.html", PAGE)
    for name in ("profile", "home"):
        (run.folder / name).mkdir(exist_ok=True)
        if user:
            shutil.chown(run.folder / name, user)
    return run.call("chromium", "--headless", "--disable-gpu", "--no-first-run", "--disable-dev-shm-usage", *words,
                    f"--user-data-dir={run.folder}/profile", "--dump-dom", f"file://{page}", timeout=150, user=user,
                    env={"HOME": str(run.folder / "home")})


@case("chromium", modes=("rseq", "served"), boxes_left="it kills its children")
def case_chromium(run):
    return {"page": chromium(run, None, "--no-sandbox")}


@case("chromium", modes=("rseq", "served"), boxes_left="it kills its children")
def case_chromium_sandboxed(run):
    as_root()
    return {"page": chromium(run, "nobody")}


@case("firefox-esr", modes=("rseq", "served"), boxes_left="it kills its children")
def case_firefox(run):
    as_root()
    page = run.write("page.html", PAGE)
    for name in ("profile", "home", "tmp", "out"):
        (run.folder / name).mkdir(exist_ok=True)
        shutil.chown(run.folder / name, "nobody")
    picture = run.folder / "out/page.png"
    (run.folder / "stderr.log").touch()
    run.call("firefox-esr", "--headless", "--no-remote", "--profile", run.folder / "profile", "--screenshot", picture,
             "--window-size=500,400", f"file://{page}", timeout=150, user="nobody", env={"HOME": str(run.folder / "home")})
    return {"picture": picture.read_bytes()[:4]}


BLENDER = """import bpy
for i in range(40): bpy.ops.mesh.primitive_uv_sphere_add(location=(i, 0, 0))
print('vertices', sum(len(o.data.vertices) for o in bpy.data.objects if o.type == 'MESH'))
m = bpy.context.object.modifiers.new('s', 'SUBSURF'); m.levels = 4; bpy.ops.object.modifier_apply(modifier='s')
print('vertices', len(bpy.context.object.data.vertices))
"""


@case("blender", modes=("rseq", "served"))
def case_blender(run):
    said = run.call("blender", "-b", "--factory-startup", "--python", run.write("w.py", BLENDER), timeout=170).decode()
    return {"said": re.findall(r"vertices \d+", said)}


# Said once, by who changes its root or its user before it has a box, and by who finds the place taken.
DOCUMENTED = re.compile("cannot hold boxes: profiles|no box at .*: profiles|Address already in use: going on")


def serve(mode_name, run_once):
    """Wraps Driver.run_once: in the mode "served" everything that happens is watched."""
    def wrapped(driver, name, mode):
        if mode != mode_name:
            result, faults = run_once(driver, name, mode)
            return result, [fault for fault in faults if not DOCUMENTED.search(fault)]
        shutil.copy(driver.options.lib.parent / "libmallard-http.so", driver.work)
        port = free_port()
        programs.MODES[mode_name] = {"MALLARD_CPU_CACHE": "rseq", "MALLARD_MEMPROFILERATE": "65536",
                                     "MALLARD_HTTP": f"127.0.0.1:{port}"}
        with Scraper(port) as scraper:
            result, faults = run_once(driver, name, mode)
        print(f"    {scraper.answers} answers", flush=True)
        return result, [fault for fault in faults if not DOCUMENTED.search(fault)]
    return wrapped


programs.MODES["served"] = {}
programs.Driver.run_once = serve("served", programs.Driver.run_once)

if __name__ == "__main__":
    sys.exit(programs.main())
