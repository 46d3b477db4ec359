"""A whole site at once, every message counted."""

import collections

import mqtt_raw as mqtt
from cloud_process import topic_of

DEVICES = 200
MESSAGES = 20


def test_many_devices(cloud, start, dial, listen):
    """Of all levels, publishing and receiving at once."""
    entries = [cloud.device() for _ in range(DEVICES)]
    proxy = start(cloud, *entries)
    app = listen(cloud, *{topic_of(entry) for entry in entries})
    devices = {entry["label"]: (entry, dial(proxy)) for entry in entries}

    for at, (label, (_, device)) in enumerate(devices.items()):
        device.send_connect(label, level=3 + at % 3, keep_alive=300)
    for entry, device in devices.values():
        assert device.connack().code == 0
        device.send(mqtt.subscribe(topic_of(entry, "get"), qos=0,
                                   level=device.level))
    for _, device in devices.values():
        device.expect(mqtt.SUBACK)
    for at in range(1, MESSAGES + 1):
        for entry, device in devices.values():
            device.send(mqtt.publish(topic_of(entry), f"{at}", 1, at,
                                     device.level))
            app.send(mqtt.publish(topic_of(entry, "get"), f"{at}"))

    arrived = collections.defaultdict(list)
    for _ in range(DEVICES * MESSAGES):
        message = app.receive()
        arrived[message.topic].append(message.payload)
    wanted = [b"%d" % at for at in range(1, MESSAGES + 1)]
    for entry, device in devices.values():
        assert arrived[topic_of(entry)] == wanted
        packets = [device.packet() for _ in range(2 * MESSAGES)]
        assert [packet.body[:2] for packet in packets
                if packet.kind == mqtt.PUBACK] == [
                    at.to_bytes(2, "big") for at in range(1, MESSAGES + 1)]
        assert [packet.body for packet in packets
                if packet.kind == mqtt.PUBLISH] == [
                    mqtt.text(topic_of(entry, "get"))
                    + (b"\0" if device.level == 5 else b"") + payload
                    for payload in wanted]
    assert len(proxy.logs("session_up")) == DEVICES
    assert not proxy.logs("session_end")
    logins = cloud.decisions("login", accepted=True)
    assert len({login["client_id"] for login in logins}) == DEVICES


def test_many_come_and_go(cloud, start, dial):
    """Fire-and-forget devices, all at once, again and again."""
    entries = [cloud.device() for _ in range(50)]
    proxy = start(cloud, *entries)
    for turn in range(1, 5):
        for entry in entries:
            with dial(proxy) as device:
                device.send(mqtt.connect(entry["label"]),
                            mqtt.publish(topic_of(entry), f"{turn}"),
                            mqtt.DISCONNECT)
        for entry in entries:
            cloud.wait("publish", entry, payload=f"{turn}")
    proxy.wait_log("session_end", count=4 * len(entries),
                   reason="device_left")
    assert len(cloud.decisions("publish")) == 4 * len(entries)
