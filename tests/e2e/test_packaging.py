"""What ships beside the program: manifests, units, HAProxy's configuration."""

import os
import pathlib
import re
import shutil
import subprocess

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]


def run(*words, **more):
    return subprocess.run(words, capture_output=True, text=True, timeout=60,
                          check=False, **more)


# ---- Kubernetes

@pytest.fixture(name="objects")
def read_objects():
    yaml = pytest.importorskip("yaml")
    text = (ROOT / "docker/kubernetes.yaml").read_text(encoding="utf-8")
    objects = [o for o in yaml.safe_load_all(text) if o]
    for o in objects:
        assert set(o) == {"apiVersion", "kind", "metadata", "spec"}
    return {(o["kind"], o["metadata"]["name"]): o["spec"] for o in objects}


def pods(objects):
    return {key: spec["template"] for key, spec in objects.items()
            if "template" in spec}


def test_pods_have_no_rights(objects):
    assert len(pods(objects)) == 2
    for pod in pods(objects).values():
        assert pod["spec"]["securityContext"]["runAsNonRoot"] is True
        assert pod["spec"]["securityContext"]["runAsUser"] > 0
        assert pod["spec"]["automountServiceAccountToken"] is False
        for container in pod["spec"]["containers"]:
            rights = container["securityContext"]
            assert rights["allowPrivilegeEscalation"] is False
            assert rights["readOnlyRootFilesystem"] is True
            assert rights["capabilities"] == {"drop": ["ALL"]}
            assert "memory" in container["resources"]["limits"]
            assert "readinessProbe" in container


def test_selectors_find_their_pods(objects):
    labels = [pod["metadata"]["labels"] for pod in pods(objects).values()]
    for (kind, _), spec in objects.items():
        wanted = spec.get("selector") or spec["podSelector"]
        if kind != "Service":
            wanted = wanted["matchLabels"]
        assert wanted in labels
    for (kind, name), pod in pods(objects).items():
        spec = objects[kind, name]
        assert spec["selector"]["matchLabels"] == pod["metadata"]["labels"]


def test_mounts_are_volumes(objects):
    for pod in pods(objects).values():
        volumes = {v["name"] for v in pod["spec"]["volumes"]}
        for container in pod["spec"]["containers"]:
            mounts = {m["name"] for m in container["volumeMounts"]}
            assert mounts == volumes


def test_haproxy_knows_every_proxy(objects):
    proxies = objects["StatefulSet", "proxy"]
    service = proxies["serviceName"]
    assert objects["Service", service]["clusterIP"] == "None"
    # its resolver knows no search list: a name that is not whole is found by
    # the C library at its start, and lost half a minute later
    wanted = {f"proxy-{n}.{service}.$(NAMESPACE).svc.cluster.local"
              for n in range(proxies["replicas"])}
    container, = pods(objects)["Deployment", "haproxy"]["spec"]["containers"]
    namespace, *places = container["env"]   # first: others are made with it
    assert namespace == {"name": "NAMESPACE", "valueFrom": {
        "fieldRef": {"fieldPath": "metadata.namespace"}}}
    env = {e["name"]: e["value"] for e in places}
    assert set(env.values()) == wanted
    named = re.findall(r'"\$\{(\w+)\}',
                       (ROOT / "config/haproxy.cfg").read_text())
    assert set(named) == set(env)


def test_haproxy_alone_tells_addresses(objects):
    """At the port that it connects to."""
    policy = objects["NetworkPolicy", "proxies"]
    rule, = policy["ingress"]
    assert [who["podSelector"] for who in rule["from"]] == [
        objects["Deployment", "haproxy"]["selector"]]
    container, = pods(objects)["StatefulSet", "proxy"]["spec"]["containers"]
    numbers = {p["name"]: p["containerPort"] for p in container["ports"]}
    ports = {str(numbers[p["port"]]) for p in rule["ports"]}
    text = (ROOT / "config/haproxy.cfg").read_text()
    assert set(re.findall(r"^\tserver .*:(\d+)\"", text, re.M)) == ports
    assert set(re.findall(r"^# +port = (\d+)", text, re.M)) == ports


def test_a_proxy_has_time_to_drain(objects):
    pod = pods(objects)["StatefulSet", "proxy"]["spec"]
    assert pod["terminationGracePeriodSeconds"] > 10


# ---- HAProxy

def test_haproxy_takes_its_configuration():
    done = run("haproxy", "-c", "-f", str(ROOT / "config/haproxy.cfg"),
               env={**os.environ, "PROXY_A": "localhost",
                    "PROXY_B": "localhost"})
    assert done.returncode == 0, done.stderr
    assert "WARNING" not in done.stderr


def test_haproxy_needs_no_name_server_to_go_on():
    """By itself it gives up a server whose name it could not ask for in
    half a minute, though it answers."""
    section, = re.findall(r"^resolvers .*\n((?:\t.*\n)+)",
                          (ROOT / "config/haproxy.cfg").read_text(), re.M)
    holds = dict(re.findall(r"^\thold (\w+) (\w+)$", section, re.M))
    assert holds == {"valid": "5s", "refused": "24h", "timeout": "24h",
                     "other": "24h"}


# ---- systemd

@pytest.fixture(name="units")
def installed_units(tmp_path):
    """Folder with the units as they are installed, of a program that is
    there."""
    program = shutil.which(os.environ["MQTT_WSS_PROXY"])
    (tmp_path / "mqtt-wss-proxy").symlink_to(program)
    for name in "service.in", "socket":
        text = (ROOT / f"config/mqtt-wss-proxy.{name}").read_text()
        (tmp_path / f"mqtt-wss-proxy.{name.removesuffix('.in')}").write_text(
            text.replace("@bindir@", str(tmp_path)))
    return tmp_path


def test_systemd_takes_the_units(units):
    for name in "service", "socket":
        done = run("systemd-analyze", "verify", "--man=no",
                   "--recursive-errors=no",
                   str(units / f"mqtt-wss-proxy.{name}"))
        assert done.returncode == 0, done.stderr
        # of other units of this machine nothing is asked
        assert "mqtt-wss-proxy" not in done.stderr


def test_the_service_is_confined(units):
    """systemd's own measure: 0 is nothing to fear, 10 everything."""
    done = run("systemd-analyze", "security", "--offline=yes", "--no-pager",
               "--threshold=15", str(units / "mqtt-wss-proxy.service"))
    assert done.returncode == 0, done.stdout


def test_the_folder_is_kept_from_others():
    line, = (x for x in (ROOT / "config/tmpfiles.d/mqtt-wss-proxy.conf")
             .read_text().splitlines() if not x.startswith("#"))
    assert line.split() == ["d", "/etc/mqtt-wss-proxy", "0750", "root",
                            "mqtt-wss-proxy", "-"]
