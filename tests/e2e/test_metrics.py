"""What Prometheus is told: how devices are, what they carry, and how the cloud
does; as many series whatever the number of devices."""

import re
import shutil
import ssl
import subprocess
import tempfile
import time

import pytest

import mqtt_raw as mqtt
from cloud_process import topic_of
from kernel import wait_until
from proxy import ROOT
from test_admin import get, get_metrics
from test_hold import SWIFT, lose_link


@pytest.fixture
def path():
    with tempfile.TemporaryDirectory(prefix="adm-") as folder:
        yield f"{folder}/a.sock"


def knock(device, client_id):
    """In vain."""
    device.send_connect(client_id)
    assert device.connack().code != 0
    device.until_closed()


def states(path):
    found = get_metrics(path)
    return {state: found[f"sessions{{state={state}}}"]
            for state in ("dialling", "online", "held", "leaving")}


def test_messages(cloud, start, dial, listen, path):
    """Each way, by QoS; what was adapted; and they stay when the session has
    ended."""
    entry = cloud.device()
    proxy = start(cloud, entry, admin={"socket": path})
    app = dial(cloud)
    app.log_in("app")
    with dial(proxy) as device:
        device.log_in(entry["label"])
        device.subscribe(topic_of(entry, "down"))
        device.publish(topic_of(entry), "a")
        device.publish(topic_of(entry), "b", qos=1, number=1)
        device.publish(topic_of(entry), "c", qos=1, number=2)
        device.send(mqtt.publish(topic_of(entry), "d", 2, 3))
        device.expect(mqtt.PUBREC)
        app.publish(topic_of(entry, "down"), "x", qos=1)
        device.receive()

        def right():
            found = get_metrics(path)
            assert found["messages_total{direction=up,qos=0}"] == 1
            assert found["messages_total{direction=up,qos=1}"] == 2
            assert found["messages_total{direction=up,qos=2}"] == 1
            assert found["messages_total{direction=down,qos=0}"] == 0
            assert found["messages_total{direction=down,qos=1}"] == 1
            assert found["adaptations_total{kind=qos2_ended}"] == 1
            assert found["bytes_total{direction=up}"] > 4 * len(
                topic_of(entry))
            assert found["packets_total{direction=up}"] >= 5
            return found

        before = right()
        device.send(mqtt.DISCONNECT)
        device.until_closed()
    wait_until(lambda: states(path)["online"] == 0)
    after = right()
    assert after["session_ends_total{reason=device_left}"] == 1
    assert (after["bytes_total{direction=down}"]
            == before["bytes_total{direction=down}"])


def test_the_cloud(cloud, start, dial, path, certs):
    """Dials, TLS, certificates, pings."""
    entry, other = cloud.device(), cloud.device()
    proxy = start(cloud, entry, {**other, "device_secret": "0" * 32},
                  admin={"socket": path}, cloud={"ping_interval": "100ms"})
    assert "certificate_expiry_timestamp_seconds{certificate=root}" not in (
        get_metrics(path))
    device = dial(proxy)
    device.log_in(entry["label"])
    knock(dial(proxy), other["label"])
    wait_until(lambda: get_metrics(path)["ping_seconds_count"] > 0)
    found = get_metrics(path)
    assert found["dials_accepted_total"] == 1
    assert found["dials_failed_total{reason=login_refused}"] == 1
    assert found["dial_seconds_count"] == 1
    assert found["dial_seconds_bucket{le=+Inf}"] == 1
    assert found["ping_seconds_bucket{le=30}"] == found["ping_seconds_count"]
    assert (found["tls_handshakes_total{resumed=no}"]
            + found["tls_handshakes_total{resumed=yes}"]) == 2
    for name in ("cloud", "root"):
        at = found[f"certificate_expiry_timestamp_seconds{{certificate={name}}}"]
        assert at > time.time()
    told = ssl._ssl._test_decode_cert(certs / "root.pem")["notAfter"]
    assert found["certificate_expiry_timestamp_seconds{certificate=root}"] == (
        ssl.cert_time_to_seconds(told))


def test_held(cloud, start, dial, path):
    """from the first second on, and not any more afterwards."""
    entry = cloud.device()
    proxy = start(cloud, entry, admin={"socket": path}, dial=SWIFT)
    device = dial(proxy)
    device.log_in(entry["label"])
    assert states(path) == {
        "dialling": 0, "online": 1, "held": 0, "leaving": 0}
    cloud.fault(entry, refuse=3)
    lose_link(cloud, proxy, entry)
    assert states(path) == {
        "dialling": 0, "online": 0, "held": 1, "leaving": 0}
    found = get_metrics(path)
    assert (found["holds_total"], found["resumes_total"]) == (1, 0)
    assert sum(value for key, value in found.items()
               if key.startswith("links_lost_total")) == 1
    cloud.fault(entry, refuse=0)
    proxy.wait_log("device_resumed")
    wait_until(lambda: states(path)["online"] == 1)
    assert get_metrics(path)["resumes_total"] == 1


def test_held_to_the_end(cloud, start, dial, path):
    entry = cloud.device(hold_time="1s")
    proxy = start(cloud, entry, admin={"socket": path}, dial=SWIFT)
    device = dial(proxy)
    device.log_in(entry["label"])
    cloud.fault(entry, refuse=3)
    lose_link(cloud, proxy, entry)
    device.until_closed()
    found = get_metrics(path)
    assert found["holds_over_total"] == 1
    assert found["session_ends_total{reason=hold_over}"] == 1


def test_refusals(cloud, start, dial, path):
    """At the door, and at the worker."""
    entry = cloud.device(second_device="refuse")
    proxy = start(cloud, entry, admin={"socket": path})
    device = dial(proxy)
    device.log_in(entry["label"])
    knock(dial(proxy), "stranger")
    knock(dial(proxy), entry["label"])
    found = get_metrics(path)
    assert found["refusals_total{reason=unknown_device}"] == 1
    assert found["refusals_total{reason=second_device}"] == 1


def test_series_of_devices(cloud, start, dial, path):
    """Only on a page of their own."""
    entries = [cloud.device() for _ in range(3)]
    proxy = start(cloud, *entries, admin={"socket": path})
    assert get(path, "/metrics/devices")[2] == ""
    few = len(get_metrics(path))
    for entry in entries[:2]:
        dial(proxy).log_in(entry["label"])
    found = get_metrics(path, "/metrics/devices")
    for entry in entries[:2]:
        name = entry["label"]
        assert found[f"device_session{{device={name},state=online}}"] == 1
        assert f"device_bytes_total{{device={name},direction=up}}" in found
    assert len(found) == 6
    # what has happened for the first time is new, devices are not
    assert len(get_metrics(path)) <= few + 2


RULES = ROOT / "config" / "prometheus-rules.yml"


def test_rules_are_about_what_there_is():
    """Each name in the alerts is one that the proxy tells."""
    told = (ROOT / "proxy/server/admin_metrics.c").read_text()
    names = set(re.findall(r"mqtt_wss_proxy_(\w+)", RULES.read_text()))
    assert len(names) > 5
    for name in names:
        assert f'"{name}"' in told, name


@pytest.mark.skipif(shutil.which("promtool") is None, reason="no promtool")
def test_promtool(cloud, start, dial, path):
    entry = cloud.device()
    proxy = start(cloud, entry, admin={"socket": path})
    dial(proxy).log_in(entry["label"])
    subprocess.run(["promtool", "check", "rules", RULES], check=True)
    for page in ("/metrics", "/metrics/devices"):
        done = subprocess.run(
            ["promtool", "check", "metrics"], input=get(path, page)[2],
            text=True, capture_output=True, check=False)
        assert (done.returncode, done.stderr) == (0, "")
