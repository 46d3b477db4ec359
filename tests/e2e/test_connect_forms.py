"""How a CONNECT may arrive: in pieces, with more behind it, or not at all."""

import socket

import pytest

import mqtt_raw as mqtt
from cloud_process import topic_of
from kernel import ports_to, unread, wait_until

LEVELS = [3, 4, 5]


@pytest.mark.parametrize("level", LEVELS)
def test_byte_by_byte(cloud, start, dial, level):
    entry = cloud.device()
    proxy = start(cloud, entry)
    device = dial(proxy)
    device.level = level
    for byte in mqtt.connect(entry["label"], level):
        device.send(bytes([byte]))
        wait_until(lambda: not unread(local=proxy.port, remote=device.port))
    assert device.connack().code == 0
    assert cloud.wait("login", entry)["level"] == level


@pytest.mark.parametrize("level", LEVELS)
def test_much_in_one_segment(cloud, start, dial, listen, level):
    """Packets may follow before CONNACK (MQTT-3.1.4 non-normative)."""
    entry = cloud.device()
    app = listen(cloud, topic_of(entry))
    proxy = start(cloud, entry)
    device = dial(proxy)
    device.level = level
    device.send(
        mqtt.connect(entry["label"], level),
        mqtt.subscribe(topic_of(entry, "get"), number=7, level=level),
        mqtt.publish(topic_of(entry), "early", 1, 8, level),
        mqtt.publish(topic_of(entry), "second", level=level),
        mqtt.PINGREQ)
    assert device.connack().code == 0
    kinds = sorted(device.packet().kind for _ in range(3))
    assert kinds == [mqtt.PUBACK, mqtt.SUBACK, mqtt.PINGRESP]
    assert app.receive().payload == b"early"
    assert app.receive().payload == b"second"


def test_more_than_is_kept_before_the_login(cloud, start, dial, listen):
    """What the proxy does not take yet waits in the kernel."""
    entry = cloud.device()
    app = listen(cloud, topic_of(entry))
    device = dial(start(cloud, entry))
    payloads = [bytes([at]) * 3000 for at in range(20)]
    device.send(mqtt.connect(entry["label"]),
                *(mqtt.publish(topic_of(entry), payload)
                  for payload in payloads))
    assert device.connack().code == 0
    assert [app.receive().payload for _ in payloads] == payloads


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("count", [1, 30])
def test_fire_and_forget(cloud, start, dial, listen, level, count):
    """The device does not even wait for CONNACK."""
    entry = cloud.device()
    app = listen(cloud, topic_of(entry))
    proxy = start(cloud, entry)
    with dial(proxy) as device:
        device.send(mqtt.connect(entry["label"], level),
                    *(mqtt.publish(topic_of(entry), f"{at}", level=level)
                      for at in range(count)),
                    mqtt.DISCONNECT)
    for at in range(count):
        assert app.receive().payload == f"{at}".encode()
    assert cloud.wait("disconnect", entry)["clean"]
    assert proxy.wait_log("session_end")["reason"] == "device_left"


@pytest.mark.parametrize("how", ["close", "reset"])
def test_device_that_leaves_during_the_dial(cloud, start, dial, how):
    """costs no login."""
    gone, other = cloud.device(), cloud.device()
    proxy = start(cloud, gone, other)
    device = dial(proxy)
    before = ports_to(cloud.port)
    with cloud.halted():
        device.send_connect(gone["label"])
        wait_until(lambda: ports_to(cloud.port) - before)
        getattr(device, how)()
        end = proxy.wait_log("session_end", label=gone["label"])
        assert end["reason"] in ("device_closed", "device_lost")
    dial(proxy).log_in(other["label"])
    cloud.wait("login", other)
    assert not cloud.decisions("login", gone)


def test_two_workers_and_one(cloud, start, dial):
    """Whatever worker a device lives at."""
    entries = [cloud.device() for _ in range(8)]
    for workers in (1, 2, 5):
        proxy = start(cloud, *entries, limits={"workers": workers})
        for entry in entries:
            with dial(proxy) as device:
                device.log_in(entry["label"])
                device.publish(topic_of(entry), "x", qos=1)
        proxy.wait_log("session_end", count=len(entries))


@pytest.mark.parametrize("level, code", [(3, 5), (4, 5), (5, 0x87)])
def test_unknown_device(cloud, start, dial, level, code):
    proxy = start(cloud, cloud.device())
    device = dial(proxy)
    device.send_connect("who-is-this", level, user_name="nobody",
                        password="a-password")
    assert device.connack().code == code
    assert device.until_closed() == []
    told = proxy.wait_log("device_refused", reason="unknown_device")
    assert told["client_id"] == "who-is-this"
    assert told["username"] == "nobody"
    assert "a-password" not in proxy.raw_log()


NO_CONNECT = {
    "level 6": (b"\x10\x0c\0\4MQTT\6\2\0\x3c\0\0", "unsupported_level",
                b"\x20\x03\0\x84\0"),
    "level 2": (b"\x10\x0c\0\4MQTT\2\2\0\x3c\0\0", "unsupported_level",
                b"\x20\x02\0\x01"),
    "HTTP": (b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", "http_on_mqtt_port", b""),
    "TLS": (b"\x16\x03\x01\x02\0\x01\0\x01\xfc\x03\x03",
            "tls_on_mqtt_port", b""),
    "text": (b"hello?\r\n", "not_mqtt", b""),
    "length of five bytes": (b"\x10\xff\xff\xff\xff\x7f", "not_mqtt", b""),
    "2 MiB": (b"\x10\xff\xff\x7f", "connect_too_big", b""),
    "reserved flag": (b"\x10\x0d\0\4MQTT\4\3\0\x3c\0\1x",  # MQTT-3.1.2-3
                      "bad_connect", b""),
}


@pytest.mark.parametrize("bytes_, reason, answer", NO_CONNECT.values(),
                         ids=NO_CONNECT)
def test_what_is_no_connect(cloud, start, dial, bytes_, reason, answer):
    proxy = start(cloud, cloud.device())
    device = dial(proxy)
    device.send(bytes_)
    device.socket.shutdown(socket.SHUT_WR)
    received = b""
    while data := device.socket.recv(100):
        received += data
    assert received == answer
    assert proxy.wait_log("device_refused")["reason"] == reason
    assert not cloud.decisions("login")


def test_connect_that_never_ends(cloud, start, dial):
    entry = cloud.device()
    proxy = start(cloud, entry, limits={"connect_timeout": "200ms"})
    device = dial(proxy)
    device.send(mqtt.connect(entry["label"])[:-1])
    assert device.until_closed() == []
    assert proxy.wait_log("device_refused")["reason"] == "connect_timeout"


def test_second_connect(cloud, start, dial):
    """MQTT-3.1.0-2."""
    entry = cloud.device()
    proxy = start(cloud, entry)
    device = dial(proxy)
    device.log_in(entry["label"])
    device.send(mqtt.connect(entry["label"]))
    assert device.until_closed() == []
    assert proxy.wait_log("session_end")["reason"] == "second_connect"


@pytest.mark.parametrize("level, answer", [(4, []), (5, [0x95])])
def test_packet_over_the_limit(cloud, start, dial, level, answer):
    entry = cloud.device()
    proxy = start(cloud, entry, limits={"packet_max": 1000})
    device = dial(proxy)
    device.log_in(entry["label"], level)
    device.publish(topic_of(entry), b"x" * 900, qos=1)
    device.send(mqtt.publish(topic_of(entry), b"x" * 1000, level=level))
    assert [packet.body[0] for packet in device.until_closed()] == answer
    assert proxy.wait_log("session_end")["reason"] == "packet_too_big"
    assert len(cloud.decisions("publish", entry)) == 1


def test_too_many_devices(cloud, start, dial):
    entries = [cloud.device() for _ in range(3)]
    proxy = start(cloud, *entries, limits={"devices": 2})
    for entry in entries[:2]:
        dial(proxy).log_in(entry["label"])
    device = dial(proxy)
    device.send_connect(entries[2]["label"])
    assert device.connack().code == 3
    assert proxy.wait_log("device_refused")["reason"] == "too_many_devices"
