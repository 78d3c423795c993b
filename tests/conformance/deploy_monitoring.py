#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""What scrapes and shows: Prometheus, Grafana, Parca, Alloy.

    deploy_monitoring.py BUILD        BUILD is the folder of a finished build, such as build/release

Prometheus' files are judged by promtool, Grafana's queries too. Parca's and Alloy's are compared with
what their documentation knows. Every metric that is named anywhere must be on a real /metrics page.
"""
import json
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile
import urllib.request

import live
import yaml

DEPLOY = pathlib.Path(__file__).resolve().parents[2] / "deploy"
SEVERITIES = {"info", "warning", "critical"}
# Prometheus' own.
OWN_METRICS = {"up"}
WORDS = {"and", "or", "unless", "by", "on", "without", "ignoring", "group_left", "group_right", "offset", "bool", "inf", "nan"}


def run(*command, **options):
    return subprocess.run([str(part) for part in command], capture_output=True, text=True,
                          stdin=subprocess.DEVNULL, timeout=120, **options)


def check_run(checks, what, *command, **options):
    done = run(*command, **options)
    checks.check(what, done.returncode == 0, done.stdout + done.stderr)


# ---- Prometheus ----

def check_prometheus(checks):
    folder = DEPLOY / "prometheus"
    with tempfile.TemporaryDirectory() as place:
        for name in ("prometheus.yml", "kubernetes.yml"):
            text = (folder / name).read_text().replace("/etc/prometheus/mallard-token", f"{place}/token")
            (pathlib.Path(place) / name).write_text(text)
        (pathlib.Path(place) / "token").write_text("secret\n")
        shutil.copy(folder / "alerts.yml", place)
        for name in ("prometheus.yml", "kubernetes.yml"):
            check_run(checks, f"promtool accepts {name}", "promtool", "check", "config", f"{place}/{name}")
    check_run(checks, "promtool accepts the alert rules", "promtool", "check", "rules", folder / "alerts.yml")
    check_run(checks, "the alerts fire when they should, and only then", "promtool", "test", "rules",
              folder / "alerts_test.yml")


def alert_rules():
    groups = yaml.safe_load((DEPLOY / "prometheus/alerts.yml").read_text())["groups"]
    return [rule for group in groups for rule in group["rules"]]


def check_alerts_are_complete(checks):
    tested = yaml.safe_load((DEPLOY / "prometheus/alerts_test.yml").read_text())["tests"]
    fired = {case["alertname"] for test in tested for case in test["alert_rule_test"] if case["exp_alerts"]}
    for rule in alert_rules():
        name = rule["alert"]
        complete = {"summary", "description"} <= set(rule["annotations"]) and rule["labels"]["severity"] in SEVERITIES
        checks.check(f"{name} says what it is about and how bad it is", complete, rule)
        checks.check(f"{name} is shown to fire", name in fired)


def check_jobs(checks):
    jobs = {job["job_name"]: job for job in
            yaml.safe_load((DEPLOY / "prometheus/prometheus.yml").read_text())["scrape_configs"]}
    checks.check("Prometheus discovers processes through /sd",
                 jobs["mallard"]["http_sd_configs"][0]["url"].endswith("/sd"))
    touched = [rule for rule in jobs["mallard"].get("relabel_configs", []) if "__param_proc" in str(rule)
               or rule.get("action") in ("labeldrop", "labelkeep")]
    checks.equal("and leaves __param_proc alone", touched, [])


# ---- Grafana ----

def dashboard():
    return json.loads((DEPLOY / "grafana/mallard.json").read_text())


def panel_fault(panel):
    for key, kind in (("id", int), ("title", str), ("type", str), ("gridPos", dict)):
        if not isinstance(panel.get(key), kind):
            return f"{key} is no {kind.__name__}"
    place = panel["gridPos"]
    if set(place) != {"x", "y", "w", "h"} or place["x"] + place["w"] > 24:
        return "gridPos is beside the grid"
    if panel["type"] == "row":
        return None
    if not panel.get("targets") or not panel.get("description") or "fieldConfig" not in panel or "options" not in panel:
        return "targets, description, fieldConfig or options are missing"
    references = [target["refId"] for target in panel["targets"]]
    if len(set(references)) != len(references):
        return "two targets are called the same"
    return None


def overlaps(panels):
    taken = {}
    for panel in panels:
        place = panel["gridPos"]
        for x in range(place["x"], place["x"] + place["w"]):
            for y in range(place["y"], place["y"] + place["h"]):
                if (x, y) in taken:
                    return f"{panel['title']} lies on {taken[x, y]}"
                taken[x, y] = panel["title"]
    return None


def check_dashboard(checks):
    board = dashboard()
    missing = {"uid", "title", "schemaVersion", "panels", "templating", "time", "tags"} - set(board)
    checks.equal("the dashboard has what Grafana wants of one", sorted(missing), [])
    checks.equal("every panel is whole", [(p.get("title"), panel_fault(p)) for p in board["panels"] if panel_fault(p)], [])
    ids = [panel["id"] for panel in board["panels"]]
    checks.equal("no two panels have one id", len(ids), len(set(ids)))
    checks.equal("no panel lies on another", overlaps(board["panels"]), None)
    known = {variable["name"] for variable in board["templating"]["list"]} | {"__rate_interval"}
    used = set(re.findall(r"\$\{?(\w+)", json.dumps(board)))
    checks.equal("every variable is defined", sorted(used - known), [])
    check_queries_parse(checks)


def dashboard_queries():
    return [target["expr"] for panel in dashboard()["panels"] for target in panel.get("targets", [])]


def check_queries_parse(checks):
    rules = [{"record": f"query:{i}", "expr": expr.replace("$__rate_interval", "5m").replace("$instance", ".*")}
             for i, expr in enumerate(dashboard_queries())]
    with tempfile.NamedTemporaryFile("w", suffix=".yml") as file:
        yaml.safe_dump({"groups": [{"name": "dashboard", "rules": rules}]}, file)
        file.flush()
        check_run(checks, f"promtool parses the dashboard's {len(rules)} queries", "promtool", "check", "rules", file.name)


# ---- metric names ----

def metrics_in(query):
    """The metrics that a query names, without functions, labels and keywords."""
    bare = re.sub(r'"[^"]*"|\{[^}]*\}|\[[^\]]*\]|\b(?:by|on|without|ignoring)\s*\([^)]*\)', " ", query)
    return {name for name, call in re.findall(r"(?<![\w.])([a-zA-Z_:][\w:]*)\s*(\()?", bare)
            if not call and name.lower() not in WORDS}


def families_at(address):
    with urllib.request.urlopen(f"http://{address}/metrics", timeout=10) as answer:
        return set(re.findall(r"^# TYPE (\S+)", answer.read().decode(), re.M))


def real_families(build):
    with tempfile.TemporaryDirectory() as folder:
        environment = dict(os.environ, MALLARD_DIR=folder)
        process, port, _ = live.start(build / "mallard", folder=folder, env=environment)
        try:
            found = families_at(f"127.0.0.1:{port}")
        finally:
            live.stop(process)
        daemon = build / "mallardd"
        return found | (daemon_families(daemon, folder) if daemon.exists() else set())


def daemon_families(daemon, folder):
    command = [str(daemon), "--http", "127.0.0.1:0", "--dir", folder, "--keep", f"{folder}/kept"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    try:
        for line in process.stdout:
            found = re.search(r"http://(127\.0\.0\.1:\d+)", line)
            if found:
                return families_at(found.group(1))
        raise RuntimeError("mallardd served nothing")
    finally:
        process.terminate()
        process.wait(timeout=20)
        process.stdout.close()


def check_metric_names(checks, build):
    real = real_families(build) | OWN_METRICS
    if not (build / "mallardd").exists():
        print("skip the daemon's metrics: no mallardd in this build")
    queries = {f"alert {rule['alert']}": rule["expr"] for rule in alert_rules()}
    queries |= {f"dashboard query {i}": expr for i, expr in enumerate(dashboard_queries())}
    names = set()
    for where, query in queries.items():
        here = {name for name in metrics_in(query) if (build / "mallardd").exists() or not name.startswith("mallardd_")}
        unknown = here - real
        names |= here
        if unknown:
            checks.equal(f"{where} names metrics that exist", sorted(unknown), [])
    checks.check(f"{len(names)} metrics are named, and all of them exist", len(names) > 20 and not names - real)


# ---- Parca ----

PARCA_KEYS = {
    "": {"object_storage", "scrape_configs"},
    "object_storage": {"bucket"},
    "object_storage.bucket": {"type", "config", "prefix"},
    "scrape_configs": {"job_name", "params", "scrape_interval", "scrape_timeout", "scheme", "normalized_addresses",
                       "profiling_config", "relabel_configs", "static_configs", "http_sd_configs", "file_sd_configs",
                       "authorization", "basic_auth", "tls_config", "bearer_token", "bearer_token_file"},
    "scrape_configs.http_sd_configs": {"url", "refresh_interval", "authorization", "basic_auth", "tls_config"},
    "scrape_configs.profiling_config": {"pprof_config", "path_prefix"},
    "scrape_configs.profiling_config.pprof_config": {"memory", "block", "goroutine", "mutex", "process_cpu"},
}
PARCA_PROFILE = {"enabled", "path", "delta", "keep_sample_type"}


def unknown_keys(value, path=""):
    if isinstance(value, list):
        return [fault for item in value for fault in unknown_keys(item, path)]
    if not isinstance(value, dict):
        return []
    known = PARCA_KEYS.get(path, PARCA_PROFILE if path.startswith("scrape_configs.profiling_config.pprof_config.") else None)
    if known is None:
        return []
    faults = [f"{path}.{key}".lstrip(".") for key in value if key not in known]
    for key, inner in value.items():
        faults += unknown_keys(inner, f"{path}.{key}".lstrip("."))
    return faults


def check_parca(checks):
    config = yaml.safe_load((DEPLOY / "parca/parca.yaml").read_text())
    checks.equal("Parca knows every key", unknown_keys(config), [])
    bucket = config["object_storage"]["bucket"]
    checks.check("Parca's storage, which it insists on, is there", bucket["type"] == "FILESYSTEM" and bucket["config"]["directory"])
    job = config["scrape_configs"][0]
    profiles = job["profiling_config"]["pprof_config"]
    checks.check("Parca discovers through /sd and takes the memory profile from allocs",
                 job["http_sd_configs"][0]["url"].endswith("/sd") and profiles["memory"] ==
                 {"enabled": True, "path": "/debug/pprof/allocs"}, job)


# ---- Alloy ----

ALLOY_TOKEN = re.compile(r'\s+|//[^\n]*|"(?:[^"\\\n]|\\.)*"|[A-Za-z_]\w*(?:\.[A-Za-z_]\w*)*|\d+(?:\.\d+)?|[{}\[\]=,]')
ALLOY_BLOCKS = {
    "discovery.http": {"url", "refresh_interval"},
    "pyroscope.scrape": {"targets", "forward_to", "scrape_interval", "profiling_config"},
    "profiling_config": {"profile.memory", "profile.godeltaprof_memory", "profile.block", "profile.goroutine",
                         "profile.mutex", "profile.process_cpu", "path_prefix"},
    "pyroscope.write": {"endpoint"},
    "prometheus.scrape": {"targets", "forward_to", "scrape_interval", "honor_labels"},
    "prometheus.remote_write": {"endpoint"},
    "endpoint": {"url"},
    **{f"profile.{kind}": {"enabled", "path", "delta"} for kind in
       ("memory", "godeltaprof_memory", "block", "goroutine", "mutex", "process_cpu")},
}


def alloy_tokens(text):
    tokens, at = [], 0
    while at < len(text):
        found = ALLOY_TOKEN.match(text, at)
        if not found:
            raise ValueError(f"line {text[:at].count(chr(10)) + 1}: {text[at:at + 20]!r} is no token")
        if not found.group().isspace() and not found.group().startswith("//"):
            tokens.append(found.group())
        at = found.end()
    return tokens


def alloy_value(tokens):
    token = tokens.pop(0)
    if token != "[":
        if token in "{}=,]":
            raise ValueError(f"a value is missing before {token}")
        return json.loads(token) if token.startswith('"') else {"true": True, "false": False}.get(token, token)
    items = []
    while tokens[0] != "]":
        items.append(alloy_value(tokens))
        if tokens[0] == ",":
            tokens.pop(0)
    tokens.pop(0)
    return items


def alloy_body(tokens, nested):
    """Attributes and blocks up to the closing brace: {name: value} and {name or (name, label): {...}}."""
    body = {}
    while tokens and tokens[0] != "}":
        name = tokens.pop(0)
        if tokens[0] == "=":
            tokens.pop(0)
            key, value = name, alloy_value(tokens)
        else:
            key = (name, json.loads(tokens.pop(0))) if tokens[0].startswith('"') else name
            if tokens.pop(0) != "{":
                raise ValueError(f"{name}: neither an attribute nor a block")
            value = alloy_body(tokens, nested=True)
        if key in body:
            raise ValueError(f"{key} comes twice")
        body[key] = value
    if nested and (not tokens or tokens.pop(0) != "}"):
        raise ValueError("a block does not end")
    if not nested and tokens:
        raise ValueError("a block ends that did not begin")
    return body


def alloy_faults(body, known=None):
    faults = []
    for key, value in body.items():
        name = key[0] if isinstance(key, tuple) else key
        if known is not None and name not in known:
            faults.append(name)
        if isinstance(value, dict):
            faults += [name] if name not in ALLOY_BLOCKS else alloy_faults(value, ALLOY_BLOCKS[name])
    return faults


def check_alloy(checks):
    try:
        body = alloy_body(alloy_tokens((DEPLOY / "alloy/config.alloy").read_text()), nested=False)
    except (ValueError, IndexError) as fault:
        checks.check("Alloy's configuration can be parsed", False, fault)
        return
    checks.equal("Alloy knows every block and attribute", alloy_faults(body), [])
    scrape = body["pyroscope.scrape", "mallard"]
    profiles = scrape["profiling_config"]
    checks.check("Alloy takes allocs and delta_heap", profiles["profile.memory"]["enabled"] is True and
                 profiles["profile.godeltaprof_memory"]["enabled"] is True, profiles)
    checks.check("Alloy discovers through /sd", body["discovery.http", "mallard"]["url"].endswith("/sd"))
    labelled = {".".join(key) for key in body if isinstance(key, tuple)}
    used = {part for block in body.values() for name in ("targets", "forward_to") if name in block
            for part in ([block[name]] if isinstance(block[name], str) else block[name])}
    checks.equal("what Alloy's components refer to is there",
                 sorted(name for name in used if name.rsplit(".", 1)[0] not in labelled), [])


def main(arguments):
    if len(arguments) != 1:
        print(__doc__, file=sys.stderr)
        return 2
    build = pathlib.Path(arguments[0]).resolve()
    checks = live.Checks()
    check_prometheus(checks)
    check_alerts_are_complete(checks)
    check_jobs(checks)
    check_dashboard(checks)
    check_metric_names(checks, build)
    check_parca(checks)
    check_alloy(checks)
    return checks.finish()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
