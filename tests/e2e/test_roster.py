"""What an administrator learns of each device: online, held, leaving or
offline, since when and why; and of those that were not let in."""

import json
import re
import subprocess
import tempfile
import time

import pytest

import mqtt_raw as mqtt
from cloud_process import topic_of
from kernel import wait_until
from proxy import environment, program
from test_admin import get, get_status, run_status, seconds
from test_hold import SWIFT, lose_link

STATES = ("dialling", "online", "held", "leaving")


@pytest.fixture
def path():
    with tempfile.TemporaryDirectory(prefix="adm-") as folder:
        yield f"{folder}/a.sock"


def device_of(path, entry):
    """What /status says of it, among all of them and alone."""
    label = entry["label"]
    found, = [row for row in get_status(path)["devices"]
              if row["label"] == label]
    return found


def alone(path, entry):
    code, _, body = get(path, f"/status?label={entry['label']}")
    assert code == 200
    found, = json.loads(body)["devices"]
    return found


def sessions(**counts):
    return {state: counts.get(state, 0) for state in STATES}


def knock(device, client_id):
    """In vain."""
    device.send_connect(client_id)
    assert device.connack().code != 0
    device.until_closed()


def test_online_and_offline(cloud, start, dial, path):
    entry, other = cloud.device(), cloud.device()
    proxy = start(cloud, entry, other, admin={"socket": path})
    told = get_status(path)
    assert told["sessions"] == sessions() and told["offline"] == 2
    assert device_of(path, entry) == {
        "label": entry["label"], "product_key": entry["product_key"],
        "device_name": entry["device_name"], "state": "offline",
        "since": None, "peer": "", "reason": "none", "detail": "",
        "host": entry["host"]}
    device = dial(proxy)
    device.log_in(entry["label"], level=5)
    device.publish(topic_of(entry), "x" * 100, qos=1)
    told = get_status(path)
    assert told["sessions"] == sessions(online=1) and told["offline"] == 1
    row = device_of(path, entry)
    assert row["state"] == "online" and row["level"] == 5
    assert abs(seconds(row["since"]) - time.time()) < 30
    assert row["peer"] == f"127.0.0.1:{device.port}"
    assert (row["up_packets"], row["unacknowledged"]) == (1, 0)
    assert row["up_bytes"] > 100 and row["transport"] == "wss"
    assert row["port"] == cloud.port and row["link"] == "UP"
    again = alone(path, entry)
    assert {**again, "seconds": 0} == {**row, "seconds": 0}
    device.send(mqtt.DISCONNECT)
    proxy.wait_log("session_end")
    wait_until(lambda: get_status(path)["offline"] == 2)
    row = device_of(path, entry)
    assert (row["state"], row["reason"]) == ("offline", "device_left")
    assert abs(seconds(row["since"]) - time.time()) < 30
    code, text, _ = run_status("--socket", path, entry["label"])
    assert code == 0
    assert f"{entry['label']}: offline since {row['since']}" in text
    assert "the last end: device_left" in text
    code, text, _ = run_status("--socket", path)
    assert re.search(rf"^{entry['label']} +offline .* device_left$", text,
                     re.M)
    assert re.search(rf"^{other['label']} +offline +- +has not been here$",
                     text, re.M)
    code, text, errors = run_status("--socket", path, other["label"])
    assert text.startswith(f"{other['label']}: offline, has not been here\n")
    assert errors == "" # the socket is named: no file is missed


def test_nobody_has_that_label(cloud, start, path):
    start(cloud, cloud.device(), admin={"socket": path})
    assert get(path, "/status?label=nobody")[0] == 404
    assert get(path, "/status?label=%0")[0] == 400
    assert get(path, "/status?label=%00")[0] == 400
    assert get(path, f"/status?label={'x' * 500}")[0] == 400
    code, _, errors = run_status("--socket", path, "no body")
    assert code == 1 and "no device has that label" in errors


def test_held_from_the_first_second(cloud, start, dial, path):
    """In the log, in status and in the table, and not any more afterwards."""
    entry = cloud.device()
    proxy = start(cloud, entry, admin={"socket": path}, dial=SWIFT)
    device = dial(proxy)
    device.log_in(entry["label"])
    cloud.fault(entry, refuse=3)
    lose_link(cloud, proxy, entry)
    row = device_of(path, entry)
    assert row["state"] == "held" and row["reason"] != "none"
    assert abs(seconds(row["since"]) - time.time()) < 30
    assert get_status(path)["sessions"] == sessions(held=1)
    device.send(mqtt.publish(topic_of(entry), "x", 1, 1))
    wait_until(lambda: device_of(path, entry)["unacknowledged"] == 1)
    text = run_status("--socket", path)[1]
    assert "1 held" in text
    assert re.search(rf"^{entry['label']} +held +{row['since']} ", text, re.M)
    text = run_status("--socket", path, entry["label"])[1]
    assert f"held since {row['since']}" in text
    assert "held because of: " in text
    cloud.fault(entry, refuse=0)
    device.expect(mqtt.PUBACK)
    row = device_of(path, entry)
    assert (row["state"], row["holds"], row["unacknowledged"]) == (
        "online", 1, 0)


def test_refused_by_the_cloud(cloud, start, dial, path):
    """Its last reason is the one of the cloud."""
    entry = cloud.device()
    wrong = {**entry, "device_secret": "0" * 32}
    proxy = start(cloud, wrong, admin={"socket": path})
    knock(dial(proxy), entry["label"])
    proxy.wait_log("session_end")
    wait_until(lambda: device_of(path, entry)["state"] == "offline")
    row = device_of(path, entry)
    assert row["reason"] == "login_refused" and "CONNACK" in row["detail"]


def test_who_was_not_let_in(cloud, start, dial, path):
    """Bounded, escaped, and counted."""
    entry = {**cloud.device(), "enabled": "no"}
    proxy = start(cloud, cloud.device(), entry, admin={"socket": path})
    for name in ("stranger", 'a"\n\x1b[1m', "stranger", entry["label"]):
        knock(dial(proxy), name)
    proxy.wait_log("device_refused", count=4)
    rows = {row["client_id"]: row
            for row in get_status(path)["turned_away"]}
    assert set(rows) == {"stranger", "a\\x22\\x0a\\x1b[1m", entry["label"]}
    row = rows["stranger"]
    assert (row["times"], row["why"], row["entry"], row["address"]) == (
        2, "unknown_device", "", "127.0.0.1")
    assert seconds(row["first"]) <= seconds(row["last"]) <= time.time()
    row = rows[entry["label"]]
    assert (row["why"], row["entry"]) == ("entry_disabled", entry["label"])
    text = run_status("--socket", path)[1]
    assert ('client id "stranger" from 127.0.0.1: unknown_device, 2 time(s)'
            in text)
    for number in range(300):
        knock(dial(proxy), f"s{number}")
    assert len(get_status(path)["turned_away"]) == 256


def test_watch(cloud, start, path):
    """Ends when the proxy does."""
    proxy = start(cloud, cloud.device(), admin={"socket": path})
    with subprocess.Popen(
            [program(), "status", "--watch", "--json", "--socket", path],
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
            env=environment()) as watching:
        for _ in range(2):
            assert json.loads(watching.stdout.readline())["pid"] == proxy.pid
        proxy.stop()
        _, errors = watching.communicate(timeout=30)
        assert watching.returncode == 1 and path in errors


def test_many_that_are_not_here(cloud, start, dial, path):
    """Bounded; why somebody has left goes before who was never here."""
    entries = [{"label": f"many-{number}", "product_key": "a1B2c3D4e5F",
                "device_name": f"many-{number}", "region": "cn-shanghai",
                "device_secret": "0" * 32} for number in range(1200)]
    entry = cloud.device()
    proxy = start(cloud, *entries, entry, admin={"socket": path})
    told = get_status(path)
    assert (len(told["devices"]), told["offline"]) == (1000, 1201)
    with dial(proxy) as device:
        device.log_in(entry["label"])
        assert len(get_status(path)["devices"]) == 1001
    proxy.wait_log("session_end")
    wait_until(lambda: get_status(path)["offline"] == 1201)
    told = get_status(path)["devices"]
    assert len(told) == 1000
    assert told[0]["label"] == entry["label"]
    assert told[0]["reason"] == "device_closed"
