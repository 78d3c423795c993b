#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Containers: the Containerfile, the Kubernetes objects, the compose file, the injection.

    deploy_containers.py BUILD TOOLS

BUILD is the folder of a finished build, TOOLS a node_modules folder with dockerfile-utils. YAML is
parsed by PyYAML with duplicate keys refused; objects are compared with the fields that Kubernetes and
the compose specification know, and everything that one object says of another is looked up.
"""
import os
import pathlib
import re
import stat
import subprocess
import sys
import tempfile

import live
import yaml

DEPLOY = pathlib.Path(__file__).resolve().parents[2] / "deploy"
CAPABILITIES = {"DAC_OVERRIDE", "SYS_PTRACE", "CHECKPOINT_RESTORE", "CHOWN"}

# ---- YAML ----


class StrictLoader(yaml.SafeLoader):
    """Two keys of one name are a mistake, not a choice."""


def construct_strictly(loader, node):
    keys = [loader.construct_object(key) for key, _ in node.value]
    twice = {key for key in keys if keys.count(key) > 1}
    if twice:
        raise yaml.YAMLError(f"{node.start_mark}: {sorted(twice)} come twice")
    return yaml.SafeLoader.construct_mapping(loader, node, deep=True)


StrictLoader.add_constructor(yaml.resolver.BaseResolver.DEFAULT_MAPPING_TAG, construct_strictly)


def load(path):
    return list(yaml.load_all((DEPLOY / path).read_text(), Loader=StrictLoader))


def run(*command, **options):
    return subprocess.run([str(part) for part in command], capture_output=True, text=True,
                          stdin=subprocess.DEVNULL, timeout=60, **options)


# ---- Kubernetes ----

METADATA = {"name", "namespace", "labels", "annotations"}
# kind: apiVersion, fields, fields of spec, required fields of spec
KINDS = {
    "Namespace": ("v1", {"spec"}, set(), set()),
    "ServiceAccount": ("v1", {"automountServiceAccountToken", "secrets", "imagePullSecrets"}, set(), set()),
    "Service": ("v1", {"spec"}, {"clusterIP", "selector", "ports", "type"}, {"ports", "selector"}),
    "DaemonSet": ("apps/v1", {"spec"}, {"selector", "template", "updateStrategy", "minReadySeconds"}, {"selector", "template"}),
    "Pod": ("v1", {"spec"}, None, {"containers"}),
}
POD_SPEC = {"containers", "initContainers", "volumes", "hostPID", "serviceAccountName", "automountServiceAccountToken",
            "tolerations", "priorityClassName", "nodeSelector", "securityContext", "restartPolicy",
            "terminationGracePeriodSeconds", "imagePullSecrets"}
CONTAINER = {"name", "image", "command", "args", "env", "ports", "securityContext", "resources", "volumeMounts",
             "startupProbe", "livenessProbe", "readinessProbe", "imagePullPolicy", "workingDir"}
SECURITY = {"runAsUser", "runAsGroup", "runAsNonRoot", "allowPrivilegeEscalation", "readOnlyRootFilesystem",
            "capabilities", "seccompProfile", "privileged"}
PROBE = {"httpGet", "exec", "tcpSocket", "initialDelaySeconds", "periodSeconds", "timeoutSeconds", "failureThreshold",
         "successThreshold"}
MOUNT = {"name", "mountPath", "readOnly", "subPath", "subPathExpr", "mountPropagation"}
VOLUMES = {"emptyDir": {"medium", "sizeLimit"}, "hostPath": {"path", "type"}, "secret": {"secretName", "defaultMode", "items", "optional"},
           "configMap": {"name", "defaultMode", "items", "optional"}}
NAME = re.compile(r"[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?")
QUANTITY = re.compile(r"\d+(\.\d+)?(m|k|Ki|M|Mi|G|Gi)?")


def unknown(where, value, known):
    return [f"{where}: {key}" for key in value if key not in known]


def container_faults(container, volumes):
    where = container.get("name", "a container without a name")
    faults = unknown(where, container, CONTAINER) + unknown(where, container.get("securityContext", {}), SECURITY)
    if not NAME.fullmatch(container.get("name", "")) or ":" not in container.get("image", "").rsplit("/", 1)[-1]:
        faults.append(f"{where}: needs a name and an image with a tag")
    for mount in container.get("volumeMounts", []):
        faults += unknown(where, mount, MOUNT)
        if mount["name"] not in volumes or not mount["mountPath"].startswith("/"):
            faults.append(f"{where}: mounts {mount['name']}, which is no volume, or nowhere")
    ports = {port.get("name") for port in container.get("ports", [])}
    for kind in ("startupProbe", "livenessProbe", "readinessProbe"):
        probe = container.get(kind, {})
        faults += unknown(f"{where}.{kind}", probe, PROBE)
        if "httpGet" in probe and probe["httpGet"]["port"] not in ports:
            faults.append(f"{where}: {kind} asks a port that has no such name")
    for group, amounts in container.get("resources", {}).items():
        bad = [amount for amount in amounts.values() if not QUANTITY.fullmatch(str(amount))]
        faults += [f"{where}: {group} of {bad}"] if bad or group not in ("requests", "limits") else []
    for variable in container.get("env", []):
        if not isinstance(variable.get("value", ""), str) or "name" not in variable:
            faults.append(f"{where}: {variable} is no name and text")
    return faults


def volume_faults(volume):
    kinds = set(volume) - {"name"}
    if len(kinds) != 1 or not kinds <= set(VOLUMES):
        return [f"volume {volume.get('name')}: {sorted(kinds)} is not one known kind"]
    kind = kinds.pop()
    return unknown(f"volume {volume['name']}", volume[kind], VOLUMES[kind])


def pod_faults(spec):
    volumes = {volume["name"] for volume in spec.get("volumes", [])}
    containers = spec.get("initContainers", []) + spec["containers"]
    faults = unknown("pod", spec, POD_SPEC)
    names = [container.get("name") for container in containers]
    faults += [f"{name}: comes twice" for name in set(names) if names.count(name) > 1]
    for container in containers:
        faults += container_faults(container, volumes)
    for volume in spec.get("volumes", []):
        faults += volume_faults(volume)
    mounted = {mount["name"] for container in containers for mount in container.get("volumeMounts", [])}
    return faults + [f"volume {name}: nobody mounts it" for name in sorted(volumes - mounted)]


def object_faults(item):
    kind = item.get("kind")
    if kind not in KINDS:
        return [f"kind {kind} is not known"]
    version, fields, spec_fields, required = KINDS[kind]
    faults = [] if item.get("apiVersion") == version else [f"{kind}: apiVersion is not {version}"]
    faults += unknown(kind, item, fields | {"apiVersion", "kind", "metadata"})
    faults += unknown(f"{kind}.metadata", item.get("metadata", {}), METADATA)
    if not NAME.fullmatch(item.get("metadata", {}).get("name", "")):
        faults.append(f"{kind}: has no name")
    spec = item.get("spec", {})
    if spec_fields is not None:
        faults += unknown(f"{kind}.spec", spec, spec_fields)
    faults += [f"{kind}.spec: {key} is missing" for key in required - set(spec)]
    if kind == "Pod":
        faults += pod_faults(spec)
    if kind == "DaemonSet":
        template = spec["template"]
        wanted = spec["selector"]["matchLabels"].items()
        faults += [] if wanted <= template["metadata"]["labels"].items() else ["DaemonSet: selects other pods than its own"]
        faults += pod_faults(template["spec"])
    return faults


def find(objects, kind):
    return next(item for item in objects if item["kind"] == kind)


def check_daemonset(checks):
    objects = load("kubernetes/daemonset.yaml")
    for item in objects:
        checks.equal(f"{item['kind']} is well formed", object_faults(item), [])
    daemons, service, account = (find(objects, kind) for kind in ("DaemonSet", "Service", "ServiceAccount"))
    spec = daemons["spec"]["template"]["spec"]
    namespaces = {item["metadata"].get("namespace") for item in objects if item["kind"] != "Namespace"}
    checks.equal("everything is in the namespace that is made", namespaces, {find(objects, "Namespace")["metadata"]["name"]})
    checks.equal("the service account is the one that is made", spec["serviceAccountName"], account["metadata"]["name"])
    checks.check("the service finds the daemons", service["spec"]["selector"].items() <=
                 daemons["spec"]["template"]["metadata"]["labels"].items() and service["spec"]["clusterIP"] == "None")
    container = spec["containers"][0]
    checks.check("and their port by its name", service["spec"]["ports"][0]["targetPort"] in
                 {port["name"] for port in container["ports"]})
    check_daemon_container(checks, spec, container)


def check_daemon_container(checks, spec, container):
    security = container["securityContext"]
    checks.check("the daemon has the capabilities it needs and no others", security["capabilities"]["drop"] == ["ALL"] and
                 set(security["capabilities"]["add"]) == CAPABILITIES and "privileged" not in security, security)
    checks.check("its root is read-only, it gains nothing", security["readOnlyRootFilesystem"] is True and
                 security["allowPrivilegeEscalation"] is False and spec["hostPID"] is True)
    probes = [container[kind]["httpGet"]["path"] for kind in ("startupProbe", "livenessProbe", "readinessProbe")]
    checks.equal("it is asked for its health", probes, ["/healthz"] * 3)
    checks.check("its memory is bounded", container["resources"]["limits"]["memory"])
    checks.check("it listens to others with a token only", "--token-file" in container["args"])
    boxes = next(volume for volume in spec["volumes"] if volume["name"] == "boxes")
    checks.equal("it watches the node's folder", boxes["hostPath"]["path"], "/run/mallard")


def check_pod(checks):
    pod = load("kubernetes/pod.yaml")[0]
    checks.equal("Pod is well formed", object_faults(pod), [])
    spec = pod["spec"]
    container = spec["containers"][0]
    variables = {variable["name"]: variable["value"] for variable in container["env"]}
    mounts = {mount["mountPath"]: mount["name"] for mount in container["volumeMounts"]}
    injector = spec["initContainers"][-1]
    checks.equal("the library is checked in the program's own image", injector["image"], container["image"])
    checks.equal("it is put where the program preloads it", injector["command"][-1], variables["LD_PRELOAD"])
    checks.check("the program sees it, and the folder of boxes", os.path.dirname(variables["LD_PRELOAD"]) in mounts and
                 variables["MALLARD_DIR"] in mounts, mounts)
    boxes = next(volume for volume in spec["volumes"] if volume["name"] == mounts[variables["MALLARD_DIR"]])
    checks.equal("which is the node's", boxes["hostPath"]["path"], "/run/mallard")


# ---- compose ----

SERVICE = {"image", "entrypoint", "command", "depends_on", "pid", "cgroup", "cap_drop", "cap_add", "security_opt",
           "read_only", "mem_limit", "restart", "ports", "secrets", "volumes", "environment"}


def service_faults(name, service, compose):
    faults = unknown(name, service, SERVICE)
    faults += [] if "image" in service else [f"{name}: no image"]
    for mount in service.get("volumes", []):
        faults += [] if mount.split(":")[0] in compose["volumes"] else [f"{name}: mounts {mount}, which is no volume"]
    for other, condition in service.get("depends_on", {}).items():
        known = other in compose["services"] and condition["condition"] in (
            "service_started", "service_healthy", "service_completed_successfully")
        faults += [] if known else [f"{name}: depends on {other}"]
    return faults + [f"{name}: secret {s}" for s in service.get("secrets", []) if s not in compose.get("secrets", {})]


def check_compose(checks):
    compose = load("container/compose.yaml")[0]
    checks.equal("compose: top level", unknown("compose", compose, {"services", "volumes", "secrets"}), [])
    for name, service in compose["services"].items():
        checks.equal(f"compose: service {name} is well formed", service_faults(name, service, compose), [])
    daemon, app = compose["services"]["mallardd"], compose["services"]["app"]
    checks.equal("compose: the daemon has the capabilities it needs", set(daemon["cap_add"]), CAPABILITIES)
    checks.check("compose: daemon and program share the folder of boxes",
                 "boxes:/run/mallard" in daemon["volumes"] and "boxes:/run/mallard" in app["volumes"])
    written = re.search(r"openssl rand \S+ \d+ > (\S+)", (DEPLOY / "container/compose.yaml").read_text())[1]
    checks.equal("compose: its first lines write the token where it looks for it", DEPLOY.parent / written,
                 DEPLOY / "container" / compose["secrets"]["token"]["file"])
    checks.check("compose: only this machine reaches the port", daemon["ports"] and all(p.startswith("127.0.0.1:") for p in daemon["ports"]))


# ---- Containerfile and injection ----

def check_containerfile(checks, tools):
    parser = pathlib.Path(tools) / ".bin/dockerfile-utils"
    path = DEPLOY / "container/Containerfile"
    done = run(parser, "lint", path)
    checks.equal("dockerfile-utils finds no fault in the Containerfile", (done.returncode, (done.stdout + done.stderr).strip()), (0, ""))
    with tempfile.TemporaryDirectory() as place:
        bad = pathlib.Path(place) / "Containerfile"
        bad.write_text(path.read_text().replace("ENTRYPOINT", "ENTRYPIONT"))
        checks.check("and would find one", run(parser, "lint", bad).returncode != 0)
    text = path.read_text()
    stages = re.findall(r"^FROM \S+ AS (\w+)", text, re.M)
    checks.equal("what it copies comes from its stages", sorted(set(re.findall(r"--from=(\w+)", text)) - set(stages)), [])
    copied = re.findall(r"^COPY (?:--chmod=\d+ )?(deploy/\S+)", text, re.M)
    checks.check("and from files that exist", copied and all((DEPLOY.parent / name).exists() for name in copied), copied)


def inject(source, target, **environment):
    return run("sh", DEPLOY / "container/inject.sh", source, target, env=dict(os.environ, **environment))


def check_injection(checks, build):
    library = build / "libmallard.so.0"
    with tempfile.TemporaryDirectory() as place:
        target = f"{place}/mallard/libmallard.so.0"
        done = inject(library, target)
        checks.check("glibc: the library is injected", done.returncode == 0 and os.path.exists(target), done.stderr)
        checks.check("glibc: everybody can read it", stat.S_IMODE(os.stat(target).st_mode) == 0o755)
        loaded = run("cat", "/proc/self/maps", env=dict(os.environ, LD_PRELOAD=target, MALLARD_DIR=place))
        checks.check("glibc: and a program preloads it", target in loaded.stdout)


def check_refused(checks, what, wanted, source, **environment):
    with tempfile.TemporaryDirectory() as place:
        done = inject(source, f"{place}/libmallard.so.0", **environment)
        sentence = done.stderr.strip()
        checks.check(f"{what}: refused in one sentence", done.returncode == 1 and wanted in sentence and
                     len(sentence.splitlines()) == 1, (done.returncode, sentence))
        checks.equal(f"{what}: nothing was put anywhere", os.listdir(place), [])


def check_needs_newer_libc(checks):
    with tempfile.TemporaryDirectory() as place:
        library, source = f"{place}/libmallard.so.0", pathlib.Path(place) / "newer.c"
        source.write_text("extern void from_a_newer_libc(void); void *needed(void) { return (void *)from_a_newer_libc; }\n"
                          "__attribute__((constructor)) static void start(void) { from_a_newer_libc(); }\n")
        done = run("gcc", "-shared", "-fPIC", "-Wl,-z,now", source, "-o", library)
        checks.check("newer libc: a library to try compiles", done.returncode == 0, done.stderr)
        check_refused(checks, "newer libc", "no program of this image starts with it", library)


def check_refusals(checks, build):
    library = build / "libmallard.so.0"
    with tempfile.TemporaryDirectory() as place:
        # musl's loader is its ldd.
        os.symlink("/lib/ld-musl-x86_64.so.1", f"{place}/ldd")
        check_refused(checks, "musl", "the libc of this image is musl", library, PATH=f"{place}:{os.environ['PATH']}")
        foreign = pathlib.Path(place) / "libmallard.so.0"
        foreign.write_bytes(library.read_bytes()[:64])
        check_refused(checks, "a library that the loader does not take", "do not take it", foreign)
    check_refused(checks, "no library", "there is no library at", "/nonexistent/libmallard.so.0")
    # A glibc that lacks a name the library needs says so and starts nothing.
    check_needs_newer_libc(checks)
    done = run("sh", DEPLOY / "container/inject.sh")
    checks.equal("without arguments it is called wrongly", done.returncode, 2)


def main(arguments):
    if len(arguments) != 2:
        print(__doc__, file=sys.stderr)
        return 2
    build = pathlib.Path(arguments[0]).resolve()
    checks = live.Checks()
    check_daemonset(checks)
    check_pod(checks)
    check_compose(checks)
    check_containerfile(checks, pathlib.Path(arguments[1]).resolve())
    check_injection(checks, build)
    check_refusals(checks, build)
    return checks.finish()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
