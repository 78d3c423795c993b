#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Who sees what: another user's process stays unseen through every route, and TLS.

    http_viewers.py SERVE LIBMALLARD [MALLARDD]

With MALLARDD also what the daemon keeps of the dead. Needs root to be two users; without it only what one user can see is tested.
"""
import http.client
import json
import os
import resource
import subprocess
import sys

import served
import live

KNOBS = ("rate?bytes=77777", "gogc?percent=50", "memory-limit?bytes=1", "free-os-memory", "gc")
PAGES = ("/", "/metrics", "/debug/memstats", "/debug/gctrace", "/debug/scavtrace", "/debug/pprof/", "/debug/pprof/heap",
         "/debug/pprof/heap?debug=1", "/debug/pprof/heap?seconds=1", "/debug/pprof/heap?at=1700000000",
         "/debug/pprof/heap?full=1", "/debug/pprof/allocs", "/debug/pprof/delta_heap", "/debug/pprof/cmdline",
         "/debug/pprof/symbol?0x1", "/debug/pprof/block", "/debug/pprof/mutex", "/debug/pprof/goroutine",
         "/debug/pprof/threadcreate", "/debug/pprof/profile", "/api/process", "/api/history", "/api/profile", "/api/spans",
         "/api/trace")
LISTS = ("/", "/metrics", "/sd", "/api/processes")


def named(path, name):
    """The page for one process, by path and by parameter."""
    yield f"/p/{name}{path}"
    yield f"{path}{'&' if '?' in path else '?'}proc={name}"


def check_hidden(checks, scene, address, hidden):
    """One user against root's process. What answers must be what a process that is not there gets."""
    absent = "4194301.1"
    for path in PAGES:
        for name in (hidden, hidden.split(".")[0]):
            for asked, control in zip(named(path, name), named(path, absent)):
                got = scene.ask(address, f"GET {asked}", uid=served.OTHER)
                wanted = scene.ask(address, f"GET {control}", uid=served.OTHER)
                checks.check(f"{address}: GET {asked} is as if it were not there",
                             got.status == 404 and (got.status, got.body) == (wanted.status, wanted.body),
                             (got.status, got.body[:80], wanted.status))
    for knob in KNOBS:
        for asked in named(f"/debug/mallard/{knob}", hidden):
            got = scene.ask(address, f"POST {asked}", uid=served.OTHER)
            checks.equal(f"{address}: POST {asked}", got.status, 404)


def check_lists(checks, scene, address, hidden, own):
    for path in LISTS:
        got = scene.ask(address, f"GET {path}", uid=served.OTHER)
        if got.status == 404:
            continue
        pid = hidden.split(".")[0]
        checks.check(f"{address}: {path} leaves another's process out",
                     "secret-of-root" not in got.text and hidden not in got.text and f'pid="{pid}"' not in got.text, got.text[:200])
        checks.check(f"{address}: {path} has one's own", own.split(".")[0] in got.text, got.text[:200])
        both = scene.ask(address, f"GET {path}")
        checks.check(f"{address}: root's {path} has both",
                     own.split(".")[0] in both.text and pid in both.text, both.text[:200])


def check_own(checks, scene, address, own):
    got = scene.ask(address, "GET /debug/pprof/cmdline", uid=served.OTHER)
    checks.check(f"{address}: the default process is one's own", b"secret-of-nobody" in got.body, got.body)
    for path in ("/metrics", "/debug/pprof/heap", "/debug/pprof/delta_heap", "/debug/memstats"):
        for asked in named(path, own):
            checks.equal(f"{address}: {asked} for its user", scene.ask(address, f"GET {asked}", uid=served.OTHER).status, 200)
    got = scene.ask(address, f"POST /p/{own}/debug/mallard/rate?bytes=4096", uid=served.OTHER)
    checks.equal(f"{address}: its user may turn a knob", got.status, 200)


def check_token(checks, scene, address, hidden):
    bearer = f"Authorization: Bearer {served.TOKEN}"
    path = f"/p/{hidden}/debug/pprof/cmdline"
    checks.equal(f"{address}: the token's holder sees all", scene.ask(address, f"GET {path}", bearer, uid=served.OTHER).status, 200)
    checks.equal(f"{address}: a wrong token is refused",
                 scene.ask(address, f"GET {path}", bearer + "x", uid=served.OTHER).status, 401)
    checks.equal(f"{address}: root needs none", scene.ask(address, f"GET {path}").status, 200)
    if not address.startswith("unix:"):
        evil = scene.ask(address, "GET /metrics", host="evil.example")
        checks.equal(f"{address}: no rebinding", evil.status, 403)
        checks.equal(f"{address}: the token makes any name good",
                     scene.ask(address, "GET /metrics", bearer, host="any.example").status, 200)


def check_sites(checks, scene, address, own):
    for sign in ("Origin: http://evil.example", "Sec-Fetch-Site: cross-site"):
        for knob in KNOBS:
            got = scene.ask(address, f"POST /p/{own}/debug/mallard/{knob}", sign)
            checks.equal(f"{address}: POST {knob} with {sign}", got.status, 403)


def check_paths(checks, scene, address):
    for path in ("/../../../etc/passwd", "/p/1.2/../../etc/passwd", "/p/1.2%2f..%2f..%2fetc/passwd", "/p/../boxes",
                 "/debug/pprof/heap?proc=../../etc/passwd", "/debug/pprof/heap?proc=1.2/../x", "/debug/pprof/heap?at=../../etc/passwd",
                 "/debug/pprof/heap?at=-1", "/debug/pprof/heap?at=99999999999999999999"):
        got = scene.ask(address, f"GET {path}")
        checks.check(f"{address}: {path} leads nowhere", got.status in (400, 404) and b"root:" not in got.body, got.status)


def check_planted(checks, scene, address, hidden):
    """A link in the shared folder, named like a box, that leads to root's box."""
    target = os.path.join(scene.boxes, f"{hidden}.mallard")
    def plant():
        for make, name in ((os.symlink, "4194302.1.mallard"), (os.link, "4194302.2.mallard")):
            try:
                make(target, os.path.join(scene.boxes, name))
            except OSError:
                pass
        return b""
    served.as_user(served.OTHER, plant)
    for name in ("4194302.1", "4194302.2", "4194302"):
        got = scene.ask(address, f"GET /p/{name}/debug/pprof/cmdline", uid=served.OTHER)
        checks.equal(f"{address}: a planted link shows nothing as {name}", got.status, 404)
    got = scene.ask(address, "GET /metrics", uid=served.OTHER)
    checks.check(f"{address}: nor in a list", f'pid="{hidden.split(".")[0]}"' not in got.text)
    for name in ("4194302.1.mallard", "4194302.2.mallard"):
        path = os.path.join(scene.boxes, name)
        if os.path.lexists(path):
            os.unlink(path)


def check_viewers(checks, serve, library):
    with served.scene(serve, library) as scene:
        root = os.geteuid() == 0
        hidden = scene.start_process(os.geteuid(), "sh", "-c", "read line", "secret-of-root")
        own = scene.start_process(served.OTHER if root else os.geteuid(), "sh", "-c", "read line", "secret-of-nobody")
        if not root:
            print("     skipped: only root can be a second user")
        addresses = scene.start_server("127.0.0.1:0", "[::1]:0", f"unix:{scene.folder}/sock", token=served.TOKEN)
        before = scene.ask(addresses[0][1], f"GET /p/{hidden}/metrics").text
        for _, address in addresses:
            check_sites(checks, scene, address, own)
            check_paths(checks, scene, address)
            if root:
                check_hidden(checks, scene, address, hidden)
                check_lists(checks, scene, address, hidden, own)
                check_own(checks, scene, address, own)
                check_token(checks, scene, address, hidden)
                check_planted(checks, scene, address, hidden)
        rates = [line for line in before.splitlines() if line.startswith("mallard_profile_rate_bytes{")]
        after = scene.ask(addresses[0][1], f"GET /p/{hidden}/metrics").text
        checks.check("none of it changed the process", len(rates) == 1 and rates[0] in after, rates)


def entry_of(scene, address, name):
    found = [entry for entry in json.loads(scene.ask(address, "GET /api/processes").text)["processes"] if entry["id"] == name]
    return found[0] if found else None


def check_daemon(checks, scene, mallardd):
    """Two users' processes, alive and killed, and the profiles that are stored of them."""
    addresses = scene.start_daemon(mallardd)
    tcp = addresses[0]
    names = [scene.start_process(uid, "sh", "-c", "read line", f"secret-of-{user}")
             for uid, user in ((0, "root"), (served.OTHER, "nobody")) for _ in range(2)]
    programs = scene.running[-4:]

    def stored(name):
        return json.loads(scene.ask(tcp, f"GET /api/process?proc={name}").text).get("profiles")
    checks.check("the daemon stores profiles of all", live.wait_until(lambda: all(entry_of(scene, tcp, name) and stored(name) for name in names), 20))
    for program in (programs[0], programs[2]):
        program.kill()
        program.wait()
    dead, own_dead = names[0], names[2]
    checks.check("and keeps the dead", live.wait_until(lambda: all(not entry_of(scene, tcp, name)["alive"] for name in (dead, own_dead)), 20))
    for address in addresses:
        for hidden in names[:2]:
            check_hidden(checks, scene, address, hidden)
            at = stored(hidden)[0]["unix_s"]
            path = f"/p/{hidden}/debug/pprof/heap?at={at}"
            checks.equal(f"{address}: {path} of another", scene.ask(address, f"GET {path}", uid=served.OTHER).status, 404)
            checks.equal(f"{address}: {path} for root", scene.ask(address, f"GET {path}").status, 200)
            check_lists(checks, scene, address, names[1], names[3])
        for own in names[2:]:
            at = stored(own)[0]["unix_s"]
            for path in ("debug/pprof/heap", f"debug/pprof/heap?at={at}", "debug/pprof/cmdline", "metrics"):
                got = scene.ask(address, f"GET /p/{own}/{path}", uid=served.OTHER)
                checks.equal(f"{address}: /p/{own}/{path} for its user", got.status, 200)
        check_token(checks, scene, address, dead)
        check_sites(checks, scene, address, names[3])
        check_paths(checks, scene, address)
        check_planted(checks, scene, address, names[1])
    check_out_of_descriptors(checks, scene, tcp, names[1])


def check_out_of_descriptors(checks, scene, address, own):
    """A daemon that can open nothing does not tell Prometheus that all processes are gone."""
    daemon = next(one for one in scene.running if one.args[0].endswith("mallardd"))
    connection = http.client.HTTPConnection(address, timeout=20)

    def ask(path):
        connection.request("GET", path)
        answer = connection.getresponse()
        answer.read()
        return answer.status
    paths = ("/sd", "/metrics", "/api/processes", f"/p/{own}/debug/pprof/heap")
    checks.equal("before there is a lack of descriptors", [ask(path) for path in paths], [200] * 4)
    before = resource.prlimit(daemon.pid, resource.RLIMIT_NOFILE, (3, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))
    checks.equal("out of descriptors", [ask(path) for path in paths], [503, 503, 503, 500])
    resource.prlimit(daemon.pid, resource.RLIMIT_NOFILE, before)
    checks.equal("and when there are some again", [ask(path) for path in paths], [200] * 4)
    connection.close()


def make_pair(folder, name):
    certificate, key = os.path.join(folder, f"{name}.crt"), os.path.join(folder, f"{name}.key")
    subprocess.run(["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", f"/CN={name}", "-days", "2",
                    "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1", "-keyout", key, "-out", certificate],
                   check=True, capture_output=True)
    return certificate, key


def curl(certificate, url, *options):
    return subprocess.run(["curl", "-sS", "--max-time", "20", "--cacert", certificate, *options, url],
                          capture_output=True, check=False)


def check_refused_pairs(checks, scene, pairs):
    cases = (("a key of another certificate", pairs[0][0], pairs[1][1], "no pair"),
             ("a certificate that is none", __file__, pairs[0][1], "no PEM"),
             ("a certificate alone", pairs[0][0], "-", "the key is missing"),
             ("a key alone", "-", pairs[0][1], "the certificate is missing"))
    for name, certificate, key, wanted in cases:
        done = subprocess.run([scene.serve, scene.boxes, "-", certificate, key, "127.0.0.1:0"], stdin=subprocess.DEVNULL,
                              capture_output=True, text=True, timeout=20, check=False)
        checks.check(f"{name} is refused in a sentence", done.returncode == 1 and wanted in done.stderr, done.stderr)


def check_tls(checks, serve, library):
    with served.scene(serve, library) as scene:
        pairs = [make_pair(scene.folder, name) for name in ("one", "two")]
        certificate, key = pairs[0]
        own = scene.start_process(os.geteuid(), "sh", "-c", "read line")
        (scheme, address), = scene.start_server("127.0.0.1:0", certificate=certificate, key=key)
        base = f"https://{address}"
        checks.equal("the scheme", scheme, "https")
        checks.equal("TLS with the certificate's trust", curl(certificate, f"{base}/healthz").stdout, b"ok\n")
        checks.check("another certificate is not trusted", curl(pairs[1][0], f"{base}/healthz").returncode == 60)
        checks.check("plain HTTP gets no answer", curl(certificate, f"http://{address}/healthz").stdout == b"")
        heap = curl(certificate, f"{base}/p/{own}/debug/pprof/heap").stdout
        checks.check("a profile", heap[:2] == b"\x1f\x8b", heap[:40])
        delta = curl(certificate, f"{base}/debug/pprof/heap?seconds=1").stdout
        checks.check("a difference, for which the connection rests", delta[:2] == b"\x1f\x8b", delta[:40])
        many = curl(certificate, f"{base}/metrics?n=[1-40]").stdout
        checks.equal("forty answers on one connection", many.count(b"# TYPE mallard_process_alive gauge"), 40)
        discovery = curl(certificate, f"{base}/sd").stdout
        checks.check("discovery tells the scheme", b'"__scheme__":"https"' in discovery, discovery)
        status = curl(certificate, f"{base}/healthz", "-H", "Host: evil.example", "-o", "/dev/null", "-w", "%{http_code}").stdout
        checks.equal("no rebinding", status, b"403")
        check_refused_pairs(checks, scene, pairs)


def main(arguments):
    if len(arguments) not in (2, 3):
        print(__doc__, file=sys.stderr)
        return 2
    checks = live.Checks()
    check_viewers(checks, *arguments[:2])
    check_tls(checks, *arguments[:2])
    if len(arguments) == 3 and os.geteuid() == 0:
        with served.scene(*arguments[:2]) as scene:
            check_daemon(checks, scene, arguments[2])
    return checks.finish()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
