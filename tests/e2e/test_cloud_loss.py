"""The cloud goes away, or was never there."""

import socket

import pytest

import mqtt_raw as mqtt
from cloud_process import topic_of


@pytest.mark.parametrize("level, told", [(3, []), (4, []), (5, [0x89])])
@pytest.mark.parametrize("how, reasons", [
    ("close", ["cloud_closed"]), ("fin", ["cloud_closed"]),
    ("abort", ["cloud_closed", "cloud_reset"])])
def test_link_is_lost(cloud, start, dial, how, reasons, level, told):
    """The device is told, and may come back at once."""
    entry, other = cloud.device(on_link_loss="close"), cloud.device()
    proxy = start(cloud, entry, other)
    device, bystander = dial(proxy), dial(proxy)
    bystander.log_in(other["label"])
    device.log_in(entry["label"], level)
    cloud.order("drop", entry, how=how)
    assert [packet.body[0] for packet in device.until_closed()] == told
    assert proxy.wait_log("session_end")["reason"] in reasons
    device = dial(proxy)
    device.log_in(entry["label"], level)
    device.publish(topic_of(entry), "x", qos=1)
    bystander.publish(topic_of(other), "x", qos=1)


@pytest.mark.parametrize("level, code", [(3, 3), (4, 3), (5, 0x88)])
def test_nobody_listens(cloud, start, dial, level, code):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))    # and no listen()
        entry = cloud.device(port=taken.getsockname()[1])
        proxy = start(cloud, entry)
        device = dial(proxy)
        device.send_connect(entry["label"], level)
        assert device.connack().code == code
        assert device.until_closed() == []
    end = proxy.wait_log("session_end")
    assert end["reason"] == "cloud_refused"
    assert str(entry["port"]) in end["detail"]


@pytest.mark.parametrize("setting, reason", [
    ("tls_timeout", "tls_timeout"), ("login_timeout", "login_timeout")])
def test_cloud_that_does_not_answer(cloud, start, dial, setting, reason):
    entry = cloud.device()
    cloud.fault(entry, connack_delay=5)
    proxy = start(cloud, entry, cloud={setting: "200ms"})
    device = dial(proxy)
    if reason == "tls_timeout":
        with cloud.halted():
            device.send_connect(entry["label"])
            assert device.connack().code == 3
    else:
        device.send_connect(entry["label"])
        assert device.connack().code == 3
    assert proxy.wait_log("session_end")["reason"] == reason


def test_packets_on_their_way(cloud, start, dial):
    """Nothing is acknowledged that the cloud has not got."""
    entry = cloud.device(on_link_loss="close")
    proxy = start(cloud, entry)
    device = dial(proxy)
    device.log_in(entry["label"])
    device.send(*(mqtt.publish(topic_of(entry), f"{at}", 1, at)
                  for at in range(1, 101)))
    device.expect(mqtt.PUBACK)
    cloud.order("drop", entry, how="abort")
    acks = 1 + sum(packet.kind == mqtt.PUBACK
                   for packet in device.until_closed())
    assert len(cloud.decisions("publish", entry)) >= acks
