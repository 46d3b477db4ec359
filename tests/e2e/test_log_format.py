"""[log] format, and what a device that is refused over and over may write."""

import json

import pytest

import mqtt_raw as mqtt
from cloud_process import topic_of


def objects(proxy):
    return [json.loads(line) for line in proxy.raw_log().splitlines()]


def refused(dial, proxy, client_id):
    device = dial(proxy)
    device.send_connect(client_id)
    assert device.connack().code == 5


def test_json(cloud, start, dial):
    """One object a line; nothing a device sends breaks out of it."""
    entry = cloud.device()
    proxy = start(cloud, entry, log={"format": "json"})
    device = dial(proxy)
    device.log_in(entry["label"])
    device.publish(topic_of(entry), "x", qos=1)
    refused(dial, proxy, '"}\n{"event":"session_up", \\ \u20ac')
    device.send(mqtt.DISCONNECT)
    device.until_closed()
    proxy.wait_log("session_end")
    lines = objects(proxy)
    assert all(list(line)[:3] == ["time", "level", "event"] for line in lines)
    by_event = {line["event"]: line for line in lines}
    up = by_event["session_up"]
    assert (up["level"], up["mqtt_level"], up["label"]) == (
        "info", 4, entry["label"])
    assert by_event["session_end"]["up_packets"] >= 2
    assert by_event["device_refused"]["client_id"] == (
        r"\x22}\x0a{\x22event\x22:\x22session_up\x22, \x5c \xe2\x82\xac")


@pytest.mark.parametrize("level, told", [("info", 5), ("debug", 8)])
def test_a_device_that_comes_again_and_again(cloud, start, dial, level, told):
    entry = cloud.device()
    proxy = start(cloud, entry, log={"level": level})
    for _ in range(8):
        refused(dial, proxy, "stranger")
    refused(dial, proxy, "another")
    proxy.wait_log("device_refused", client_id="another", untold="0")
    assert len(proxy.logs("device_refused", client_id="stranger")) == told
