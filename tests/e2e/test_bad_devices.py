"""Bad input and hostile peers on the LAN side: each is told why, as far as
its protocol can say it; the log names the reason; nobody else notices."""

import random
import socket
import ssl
import threading

import pytest

from bystander import Bystander, connack, descriptors, disconnect
from cloud_process import topic_of
from hostile import Hostile
from kernel import unread, wait_until
from mqtt_raw import (DISCONNECT, PINGREQ, TIMEOUT, Client, block, connect,
                      packet, publish, text, varint)
from proxy import FRUGAL

MEMORY_SLACK = 6 << 20


@pytest.fixture
def site(cloud, start):
    """site(entry, ..., limits={...}) -> Bystander in a proxy that knows
    these entries, too."""
    bystanders = []

    def build(*entries, env=None, **settings):
        good = cloud.device()
        proxy = start(cloud, good, *entries, env=env, **settings)
        bystanders.append(Bystander(proxy, good))
        return bystanders[-1]

    yield build
    try:
        for bystander in bystanders:
            bystander.end()
    finally:
        for bystander in bystanders:
            bystander.give_up()


def refused(site, device, reason):
    """The log line about a device that was not let in."""
    line = site.proxy.wait_log("device_refused",
                               peer=f"127.0.0.1:{device.port}")
    assert line["reason"] == reason, line
    assert line["detail"], line
    return line


def ended(site, entry, reason):
    """The log line about a session that ended."""
    line = site.proxy.wait_log("session_end", label=entry["label"])
    assert line["reason"] == reason, line
    assert line["hint"], line
    return line


# What is no CONNECT at all

STRANGERS = {
    "HTTP": (b"GET / HTTP/1.1\r\nHost: gateway\r\n\r\n",
             "http_on_mqtt_port"),
    "PINGREQ": (PINGREQ, "not_mqtt"),
    "PUBLISH": (publish("topic", "payload"), "not_mqtt"),
    "CONNACK": (b"\x20\x02\0\0", "not_mqtt"),
    "reserved type": (b"\0\0", "not_mqtt"),
    "flags in the type": (b"\x11" + connect("PUMP7")[1:], "not_mqtt"),
    "length of five bytes": (b"\x10\xff\xff\xff\xff\x01", "not_mqtt"),
    "zeros": (bytes(4096), "not_mqtt"),
    "SSH": (b"SSH-2.0-OpenSSH_9.2\r\n", "not_mqtt"),
    **{f"random bytes {seed}": (random.Random(seed).randbytes(3000),
                                "not_mqtt") for seed in range(5)},
}


@pytest.mark.parametrize("name", STRANGERS)
def test_stranger(site, name):
    here = site()
    data, reason = STRANGERS[name]
    device = here.device()
    device.send(data)
    assert device.until_closed() == []
    line = refused(here, device, reason)
    assert line["hint"], line


def test_tls_client(site):
    here = site()
    device = here.device()
    context = ssl.create_default_context()
    with pytest.raises(OSError):
        context.wrap_socket(device.socket, server_hostname="gateway")
    here.proxy.wait_log("device_refused", reason="tls_on_mqtt_port")


# CONNECTs that are wrong

def raw_connect(level, client_id=b"PUMP7", name=None, flags=2, tail=b"",
                properties=b""):
    name = name or ("MQIsdp" if level == 3 else "MQTT")
    return packet(0x10, text(name) + bytes([level, flags, 0, 60])
                  + block(level, properties) + text(client_id) + tail)


def cut(level):
    """The remaining length ends one byte early."""
    whole = raw_connect(level)
    return whole[:1] + bytes([whole[1] - 1]) + whole[2:]


BAD_CONNECTS = {
    "reserved flag": (lambda level: raw_connect(level, flags=3), (4, 5)),
    "client id not UTF-8": (
        lambda level: raw_connect(level, b"\xc0\xaf"), (3, 4, 5)),
    "client id with NUL": (
        lambda level: raw_connect(level, b"PUMP\0"), (3, 4, 5)),
    "too short": (cut, (3, 4, 5)),
    "too long": (lambda level: raw_connect(level, tail=b"x"), (3, 4, 5)),
    "will with QoS 3": (
        lambda level: raw_connect(
            level, flags=0x1E,
            tail=block(level) + text("topic") + text("gone")), (3, 4, 5)),
    "will flags without will": (
        lambda level: raw_connect(level, flags=0x22), (4, 5)),
    "user name announced only": (
        lambda level: raw_connect(level, flags=0x82), (4, 5)),
    "password without user name": (
        lambda level: raw_connect(level, flags=0x42, tail=text("x")), (4,)),
    "property twice": (
        lambda level: raw_connect(level, properties=b"\x21\0\1" * 2), (5,)),
    "property of a PUBLISH": (
        lambda level: raw_connect(level, properties=b"\x23\0\1"), (5,)),
    "properties past the end": (
        lambda level: packet(0x10, text("MQTT") + b"\5\2\0\x3c"
                             + varint(2000) + text("PUMP7")), (5,)),
}


@pytest.mark.parametrize("name, level", [
    (name, level) for name, (_, levels) in BAD_CONNECTS.items()
    for level in levels])
def test_bad_connect(site, name, level):
    here = site()
    device = here.device()
    device.send(BAD_CONNECTS[name][0](level))
    # only MQTT 5 has a code that says so
    assert device.until_closed() == (
        connack(level, None, 0x81) if level == 5 else [])
    refused(here, device, "bad_connect")


def test_unknown_protocol_name(site):
    here = site()
    device = here.device()
    device.send(raw_connect(4, name="AMQP"))
    assert device.until_closed() == []
    assert "AMQP" in refused(here, device, "bad_connect")["detail"]


@pytest.mark.parametrize("name, level, form", [
    ("MQTT", 6, 5), ("MQTT", 255, 5), ("MQTT", 3, 4), ("MQTT", 0, 4),
    ("MQIsdp", 9, 3), ("MQIsdp", 4, 3),
    # how the bridges of a common broker ask whether they talk to their like
    ("MQTT", 0x84, 4), ("MQIsdp", 0x83, 3)])
def test_unsupported_level(site, name, level, form):
    here = site()
    device = here.device()
    device.send(raw_connect(level, name=name))
    assert device.until_closed() == connack(form, 1, 0x84)
    line = refused(here, device, "unsupported_level")
    assert name in line["detail"] and str(level) in line["detail"]


@pytest.mark.parametrize("level", [3, 4, 5])
def test_unknown_device(site, level):
    here = site()
    device = here.device()
    device.send_connect("NOBODY", level, user_name="who", password="knows")
    assert device.until_closed() == connack(level, 5, 0x87)
    line = refused(here, device, "unknown_device")
    assert (line["client_id"], line["username"]) == ("NOBODY", "who")


def test_names_that_would_forge_a_log_line(site):
    here = site()
    device = here.device()
    device.send_connect('x" level=error event=forged \r\n\x1b[2J"',
                        user_name='"\nevent=forged')
    device.until_closed()
    refused(here, device, "unknown_device")
    assert not here.proxy.logs("forged")
    assert "\x1b" not in here.proxy.raw_log()


@pytest.mark.parametrize("level", [4, 5])
def test_connect_over_the_limit(site, level):
    here = site(limits={"connect_max": 1024})
    device = here.device()
    # refused for what it announces, before it is there
    device.send(connect("PUMP7", level, will=("topic", "x" * 2000))[:20])
    assert device.until_closed() == []
    line = refused(here, device, "connect_too_big")
    assert "1024" in line["detail"]


@pytest.mark.parametrize("begun", [0, 1, 14])
def test_connect_that_never_ends(site, begun):
    here = site(limits={"connect_timeout": "300ms"})
    device = here.device()
    device.send(connect("PUMP7")[:begun])
    assert device.until_closed() == []
    assert str(begun) in refused(here, device, "connect_timeout")["detail"]


# Devices that are online, and then send what they must not

BAD_PACKETS = {
    "second CONNECT": (connect("PUMP7"), "second_connect", 0x82),
    "CONNACK": (b"\x20\x02\0\0", "bad_packet", 0x81),
    "SUBACK": (b"\x90\x03\0\1\0", "bad_packet", 0x81),
    "UNSUBACK": (b"\xb0\x02\0\1", "bad_packet", 0x81),
    "PINGRESP": (b"\xd0\0", "bad_packet", 0x81),
    "PINGREQ with a body": (b"\xc0\1x", "bad_packet", 0x81),
    "reserved type": (b"\0\0", "bad_packet", 0x81),
    "PUBLISH with QoS 3": (b"\x36" + publish("topic", "x", 1)[1:],
                           "bad_packet", 0x81),
    "SUBSCRIBE without its flags": (b"\x80\x06\0\1\0\1a\0", "bad_packet",
                                    0x81),
    "length of five bytes": (b"\x30\xff\xff\xff\xff\1", "bad_packet", 0x81),
    "over the limit": (b"\x30" + varint(5000) + b"begun only",
                       "packet_too_big", 0x95),
}


@pytest.mark.parametrize("level", [3, 4, 5])
@pytest.mark.parametrize("name", BAD_PACKETS)
def test_bad_packet(cloud, site, name, level):
    data, reason, code = BAD_PACKETS[name]
    entry = cloud.device()
    here = site(entry, limits={"packet_max": 4096})
    device = here.device()
    device.log_in(entry["label"], level)
    device.send(data)
    assert device.until_closed() == disconnect(level, code)
    ended(here, entry, reason)
    # a session that broke off: the cloud is not told DISCONNECT
    end = cloud.wait("disconnect", entry)
    assert (end["clean"], end["ws_close"]) == (False, 1000)


def test_auth_is_no_packet_below_level_5(cloud, site):
    entry = cloud.device()
    here = site(entry)
    device = here.device()
    device.log_in(entry["label"])
    device.send(b"\xf0\0")
    assert device.until_closed() == []
    ended(here, entry, "bad_packet")


def test_good_packets_before_a_bad_one_arrive(cloud, site):
    entry = cloud.device()
    here = site(entry)
    device = here.device()
    device.log_in(entry["label"])
    topic = topic_of(entry)
    device.send(publish(topic, "one"), publish(topic, "two"), b"\0\0",
                publish(topic, "three"))
    assert device.until_closed() == []
    ended(here, entry, "bad_packet")
    cloud.wait("disconnect", entry)
    assert [line["payload"] for line in cloud.decisions("publish", entry)
            ] == ["one", "two"]


def test_bytes_behind_disconnect(cloud, site):
    entry = cloud.device()
    here = site(entry)
    device = here.device()
    device.log_in(entry["label"])
    topic = topic_of(entry)
    device.send(publish(topic, "before"), DISCONNECT,
                publish(topic, "behind"), bytes(100))
    assert device.until_closed() == []
    ended(here, entry, "device_left")
    assert cloud.wait("disconnect", entry)["clean"]
    assert [line["payload"] for line in cloud.decisions("publish", entry)
            ] == ["before"]


# Devices that go

AT_DOOR = {"before a byte": 0, "within CONNECT": 9}
ONLINE = {"online": b"", "within a packet": publish("a", "x" * 1000)[:500],
          "within a big packet": publish("a", "x" * 500000)[:200000]}
DIALLING = {"while the cloud is dialled": b"",
            "with packets for the cloud": publish("a", "x")}


@pytest.fixture
def hostile():
    with Hostile() as server:
        yield server


def arrive(phase, cloud, site, hostile):
    """A device in this phase as (Bystander, device, entry, what it sends
    last); without entry where the proxy cannot know that yet."""
    if phase in AT_DOOR:
        here = site()
        return here, here.device(), None, connect("PUMP7")[:AT_DOOR[phase]]
    if phase in DIALLING:
        entry = cloud.device(port=hostile.port, transports="ws")
        here = site(entry)
        device = here.device()
        asked = threading.Event()
        hostile.play(lambda peer: (peer.request(), asked.set(), peer.hold()))
        device.send_connect(entry["label"])
        assert asked.wait(TIMEOUT)
        return here, device, entry, DIALLING[phase]
    entry = cloud.device()
    here = site(entry)
    device = here.device()
    device.log_in(entry["label"])
    device.ping()
    return here, device, entry, ONLINE[phase]


def gone(here, entry, reason, port):
    if entry:
        return ended(here, entry, reason)
    line = here.proxy.wait_log("device_refused", peer=f"127.0.0.1:{port}")
    assert line["reason"] == reason, line
    return line


@pytest.mark.parametrize("at_once", [False, True])
@pytest.mark.parametrize("phase", [*AT_DOOR, *DIALLING, *ONLINE])
def test_reset(cloud, site, hostile, phase, at_once):
    here, device, entry, data = arrive(phase, cloud, site, hostile)
    port = device.port
    with here.halted(at_once):
        device.send(data)
        device.reset()
    gone(here, entry, "device_lost", port)


@pytest.mark.parametrize("at_once", [False, True])
@pytest.mark.parametrize("phase", [
    *AT_DOOR, "while the cloud is dialled", *ONLINE])
def test_half_close(cloud, site, hostile, phase, at_once):
    here, device, entry, data = arrive(phase, cloud, site, hostile)
    with here.halted(at_once):
        device.send(data)
        device.socket.shutdown(socket.SHUT_WR)
    # what it has not asked for by then it does not want any more
    assert device.until_closed() == []
    line = gone(here, entry, "device_closed", device.port)
    if phase.startswith("within"):
        assert line["detail"], line


def test_reset_by_a_device_that_does_not_read(cloud, site, hostile):
    entry = cloud.device(port=hostile.port, transports="ws")
    here = site(entry)
    big = publish("a", bytes(8 << 20))
    hostile.play(lambda peer: (peer.login(), peer.message(big), peer.hold()))
    device = here.device(receive_buffer=4096)
    device.log_in(entry["label"])
    wait_until(lambda: unread(local=device.port))
    device.reset()
    ended(here, entry, "device_lost")


# Many at once

@pytest.mark.parametrize("level", [3, 4, 5])
def test_more_devices_than_allowed(cloud, site, level):
    entries = [cloud.device() for _ in range(6)]
    here = site(*entries, limits={"devices": 5})
    online = []
    for entry in entries[:4]:       # the fifth is the bystander
        online.append(here.device())
        online[-1].log_in(entry["label"], level)
    full = len(descriptors(here.proxy.pid))
    one_too_many = here.device()
    one_too_many.send_connect(entries[4]["label"], level)
    assert one_too_many.until_closed() == connack(level, 3, 0x97)
    line = refused(here, one_too_many, "too_many_devices")
    assert "devices" in line["hint"]
    one_too_many.close()
    wait_until(lambda: len(descriptors(here.proxy.pid)) == full)

    online[0].send(DISCONNECT)
    online[0].until_closed()
    online[0].close()
    wait_until(lambda: len(descriptors(here.proxy.pid)) == full - 2)
    here.device().log_in(entries[5]["label"], level)


@pytest.mark.parametrize("level", [4, 5])
def test_no_descriptor_for_the_cloud(cloud, site, level):
    entry = cloud.device()
    here = site(entry)
    device = here.device()
    wait_until(lambda: len(descriptors(here.proxy.pid)) > here.at_rest)
    here.limit_descriptors(0)
    device.send_connect(entry["label"], level)
    assert device.until_closed() == connack(level, 3, 0x88)
    ended(here, entry, "no_descriptors")
    here.limit_descriptors(None)


def test_flood_of_connections(site):
    here = site(env=FRUGAL)
    kinds = [b"", b"GET / HTTP/1.1\r\n\r\n", bytes(500),
             connect("NOBODY"), connect("NOBODY")[:7]]

    def wave():
        for at in range(1000):
            with Client(here.proxy.port) as device:
                device.send(kinds[at % len(kinds)])
                if at % 3 == 0:
                    device.reset()

    wave()
    here.works()
    here.alone()
    before = here.proxy.memory()
    for _ in range(2):
        wave()
        here.works()
    here.alone()
    assert here.proxy.memory() - before < MEMORY_SLACK
