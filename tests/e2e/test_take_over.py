"""A device that connects again takes its session over, and the cloud never
sees two sessions of one device (the audit looks at open_before)."""

import select

import pytest

import mqtt_raw as mqtt
from cloud_process import topic_of
from mqtt_raw import Closed


@pytest.mark.parametrize("level, told", [(3, []), (4, []), (5, [0x8E])])
def test_newer_connection_stays(cloud, start, dial, listen, level, told):
    """MQTT-3.1.4-2."""
    entry = cloud.device()
    app = listen(cloud, topic_of(entry))
    proxy = start(cloud, entry)
    old, new = dial(proxy), dial(proxy)
    old.log_in(entry["label"], level)
    new.log_in(entry["label"], level)
    assert [packet.body[0] for packet in old.until_closed()] == told
    end = proxy.wait_log("session_end")
    assert end["reason"] == "taken_over"
    assert end["peer"] == f"127.0.0.1:{old.port}"
    new.publish(topic_of(entry), "new", qos=1)
    assert app.receive().payload == b"new"
    cloud.wait("login", entry, accepted=True, count=2)


def test_session_is_kept(cloud, start, dial):
    """The cloud's subscriptions outlive the take-over."""
    entry = cloud.device(timestamp="none")
    proxy = start(cloud, entry)
    old, new = dial(proxy), dial(proxy)
    old.log_in(entry["label"], clean=False)
    old.subscribe(topic_of(entry))
    assert new.log_in(entry["label"], clean=False).session_present
    new.publish(topic_of(entry), "x")
    assert new.receive().payload == b"x"


def test_five_at_once(cloud, start, dial):
    """One remains, which works."""
    entry = cloud.device()
    proxy = start(cloud, entry)
    devices = [dial(proxy) for _ in range(5)]
    for device in devices:
        device.send_connect(entry["label"])
    left = set(devices)
    while len(left) > 1:
        ready, _, _ = select.select(
            [device.socket for device in left], [], [], mqtt.TIMEOUT)
        assert ready, f"{len(left)} are still connected"
        for device in [one for one in left if one.socket in ready]:
            try:
                device.expect(mqtt.CONNACK)
            except Closed:
                left.remove(device)
    # the last one's CONNACK may have been read above
    last = left.pop()
    last.send(mqtt.publish(topic_of(entry), "x", 1, 1))
    packets = [last.packet()]
    if packets[0].kind == mqtt.CONNACK:
        packets.append(last.packet())
    assert packets[-1].kind == mqtt.PUBACK


def test_again_and_again(cloud, start, dial):
    entry = cloud.device()
    proxy = start(cloud, entry)
    before = None
    for at in range(20):
        device = dial(proxy)
        device.log_in(entry["label"], level=3 + at % 3)
        if before:
            before.until_closed()
        before = device
    before.publish(topic_of(entry), "x", qos=1)
    cloud.wait("login", entry, accepted=True, count=20)


def test_reconnect_after_a_lost_connection(cloud, start, dial):
    """A device that was cut off does not wait for its old session."""
    entry = cloud.device()
    proxy = start(cloud, entry)
    for _ in range(10):
        device = dial(proxy)
        device.log_in(entry["label"])
        device.reset()
    device = dial(proxy)
    device.log_in(entry["label"])
    device.publish(topic_of(entry), "x", qos=1)


def test_take_over_during_the_dial(cloud, start, dial):
    """The first one has not been answered yet."""
    entry = cloud.device()
    cloud.fault(entry, connack_delay=0.3)
    proxy = start(cloud, entry)
    old, new = dial(proxy), dial(proxy)
    old.send_connect(entry["label"])
    cloud.wait("login", entry)
    assert new.log_in(entry["label"]).code == 0
    assert old.connack().code == 3
    assert old.until_closed() == []


def test_messages_of_a_device_that_has_left(cloud, start, dial):
    """Sent and closed while the link is dialled, then back again: what was
    sent goes up first."""
    entry = cloud.device()
    cloud.fault(entry, connack_delay=0.3)
    proxy = start(cloud, entry)
    first, second = dial(proxy), dial(proxy)
    first.send_connect(entry["label"])
    first.publish(topic_of(entry), "left behind")
    first.send(mqtt.DISCONNECT)
    first.close()
    cloud.wait("login", entry)
    assert second.log_in(entry["label"]).code == 0
    cloud.wait("publish", entry, payload="left behind")


def test_take_over_of_a_dead_link(cloud, start, dial):
    """The old link's close is not answered: that costs its time-out only."""
    entry = cloud.device()
    proxy = start(cloud, entry, cloud={"close_timeout": "200ms"})
    old, new = dial(proxy), dial(proxy)
    old.log_in(entry["label"])
    with cloud.halted():
        new.send_connect(entry["label"])
        assert old.until_closed() == []
        assert proxy.wait_log("session_end")["reason"] == "taken_over"
    assert new.connack().code == 0
