"""Tests of the emulated cloud alone, with a client of their own."""

import concurrent.futures
import email.utils
import hashlib
import json
import os
import select
import signal
import ssl
import subprocess
import threading
import time

import pytest

import mini_client
from cloud_rig import (CROWD, HERE, KEY, SECRET, credentials, knock, listen,
                       login, mosquitto, payload_of, send_down)
from mini_client import (DISCONNECT, PINGREQ, TIMEOUT, Client, StreamClient,
                         packet, publish, subscribe)


# Logins


def test_the_published_signature_is_accepted(cloud):
    password = mini_client.sign(
        "secret", "clientId12345deviceNamedeviceproductKeypktimestamp789",
        "sha1")
    assert password == "fafd82a3d602b37fb0fa8b7892f24a477f851a14"
    client, body = knock(cloud, mini_client.connect(
        "device&pk", "12345|securemode=2,signmethod=hmacsha1,timestamp=789|",
        password.upper()), path="/any/path")
    with client:
        assert body == b"\0\0"
        line = cloud.wait("login")
        assert line.pop("t") > 0 and line.pop("link") > 0
        assert line == {
            "event": "login", "accepted": True, "code": 0,
            "reason": "accepted", "product_key": "pk",
            "device_name": "device",
            "client_id":
                "12345|securemode=2,signmethod=hmacsha1,timestamp=789|",
            "user_name": "device&pk", "sign_method": "hmacsha1",
            "secure_mode": "2", "timestamp": "789", "extra": {},
            "keep_alive": 60, "level": 4, "clean": True, "will": False,
            "transport": "wss", "path": "/any/path", "subprotocol": "mqtt",
            "host": f"localhost:{cloud.port}", "extensions": None,
            "tls": "TLSv1.3", "resumed": False, "sni": "localhost",
            "in_last_minute": 1, "open_before": 0}


@pytest.mark.parametrize("client_id, password", [
    ("12345|securemode=2,signmethod=hmacmd5,timestamp=789|",
     "14b198324fe55e1d3c88f2e705e201ee"),
    ("12345|securemode=2,timestamp=789|",
     "14b198324fe55e1d3c88f2e705e201ee"),
    ("12345|timestamp=789,signmethod=hmacsha256,securemode=2|",
     "6074a46a91b1ebb2cc4ea42790ad0e80202c9843859fc292e57c4eb19fad9e57"),
    ("12345|securemode=2,signmethod=hmacmd5|",
     "2ce7304ec0ddd548eb1492d65ac0b334"),
    ("12345|securemode=2,signmethod=hmacsha1|",
     "3504E4DF7CE4766D30F796EE973C9CE7FC5425CB"),
    ("12345|securemode=2,signmethod=hmacsha256|",
     "c8cb3dcb7159682438e5fd9a9c34f398e41bb8edb6f222795e307bafee151090"),
    ("|securemode=2,signmethod=hmacsha256,timestamp=789|",
     "edae1c344f3351171fcb02f81675761aabf913b7ce139a132b87cd446fbba070"),
])
def test_known_signatures_are_accepted(cloud, client_id, password):
    client, body = knock(cloud, mini_client.connect("device&pk", client_id,
                                                    password))
    with client:
        assert body == b"\0\0"


@pytest.mark.parametrize("options", [
    {"method": "hmacmd5"}, {"method": "hmacsha1"}, {"method": "hmacsha256"},
    {"method": None}, {"timestamp": None}, {"bare": ""},
    {"bare": "x" * 64}, {"extra": ",lan=JS|Ali,ext=1"}, {"extra": ","},
], ids=str)
@pytest.mark.parametrize("level", [3, 4, 5])
def test_every_documented_form_is_accepted(cloud, options, level):
    with login(cloud, level=level, **options):
        line = cloud.wait("login")
        assert line["accepted"] and line["level"] == level
        assert line["sign_method"] == (
            options.get("method", "hmacsha256") or "hmacmd5")


@pytest.mark.parametrize("changes, code3, code5, reason", [
    ({"secret": "wrong"}, 4, 0x86, "wrong signature"),
    ({"signed_id": "2"}, 4, 0x86, "wrong signature"),
    ({"bare": "x" * 65}, 2, 0x85, "64 characters"),
    ({"mode": 3}, 2, 0x85, "securemode"),
    ({"extra": ",novalue"}, 2, 0x85, "not k=v"),
    ({"extra": ", ext=1"}, 2, 0x85, "not k=v"),
    ({"extra": ",timestamp=789"}, 2, 0x85, "twice"),
    ({"timestamp": "now"}, 2, 0x85, "timestamp"),
    ({"name": "stranger"}, 5, 0x87, "unknown"),
    ({"name": "retired"}, 5, 0x87, "disabled"),
], ids=str)
@pytest.mark.parametrize("level", [3, 4, 5])
def test_a_bad_login_gets_its_code_and_is_closed(cloud, changes, code3,
                                                 code5, reason, level):
    client, body = knock(cloud, mini_client.connect(
        *credentials(**changes), level=level))
    with client:
        assert body[1] == (code5 if level == 5 else code3)
        assert client.closed() == 1000
    line = cloud.wait("login", accepted=False, code=body[1])
    assert reason in line["reason"]


@pytest.mark.parametrize("part, value, code", [
    (0, "pump_0", 4), (0, "&", 4), (0, "pump_0&" + KEY + "&", 4),
    (1, "legacy", 2), (1, "1|securemode=2", 2), (1, "1||", 2),
    (1, "1|signmethod=hmacsha256|", 2),
    (1, "1|securemode=2,signmethod=hmacsha512|", 2),
], ids=str)
def test_malformed_credentials(cloud, part, value, code):
    parts = list(credentials())
    parts[part] = value
    client, body = knock(cloud, mini_client.connect(*parts))
    with client:
        assert body == bytes([0, code])


@pytest.mark.parametrize("keep_alive, code", [
    (0, 2), (29, 2), (30, 0), (1200, 0), (1201, 2)])
def test_keep_alive_has_bounds(cloud, keep_alive, code):
    client, body = knock(cloud, mini_client.connect(
        *credentials(), keep_alive=keep_alive))
    with client:
        assert body == bytes([0, code])


def test_an_unknown_level_is_refused(cloud):
    client, body = knock(cloud, mini_client.connect(*credentials(), level=6))
    with client:
        assert body[1] == 0x84


def test_a_will_is_for_level_five_only(cloud):
    own = f"/{KEY}/pump_0/user/gone"
    for level, topic, qos, code in (
            (3, own, 0, 2), (4, own, 0, 2), (5, own, 1, 0),
            (5, own, 2, 0x9B), (5, f"/{KEY}/pump_1/user/gone", 0, 0x87)):
        client, body = knock(cloud, mini_client.connect(
            *credentials(), level=level, will=(topic, "x", qos, False)))
        with client:
            assert body[1] == code
        cloud.wait("login", code=code, will=True)


@pytest.mark.parametrize("data", [
    packet(0xC0), packet(0x11, b""), packet(0x10, b"\0\4MQTT\4"),
    packet(0x10, mini_client.connect(*credentials())[3:] + b"more"),
    packet(0x10, b"\0\4HTTP\4\2\0\x3c\0\0"),
], ids=bytes.hex)
def test_what_is_no_connect_is_closed_without_an_answer(cloud, data):
    with Client(cloud.port, cloud.root) as client:
        # two messages, so that a length that promises more gets it
        client.send(data)
        client.send(b"\0" * 3)
        assert client.closed() == 1002
        assert [opcode for opcode, *_ in client.frames] == [8]
    cloud.wait("breach", rule="malformed", action="closed")


def test_plain_ws_wants_the_other_securemode(start):
    cloud = start()
    client, body = knock(cloud, mini_client.connect(*credentials(mode=2)))
    with client:
        assert body == b"\0\2"
    with login(cloud, mode=3):
        assert cloud.wait("login", accepted=True)["tls"] is None


# WebSocket


def test_the_subprotocol_is_required_until_told_otherwise(cloud):
    for offered in (None, "chat"):
        with Client(cloud.port, cloud.root, subprotocol=offered) as client:
            assert client.status == 400
        assert "subprotocol" in cloud.wait("upgrade", status=400)["detail"]
    assert cloud.order(cmd="fault", subprotocol="ignored")["ok"]
    connect = mini_client.connect(*credentials())
    with knock(cloud, connect, subprotocol=None)[0]:
        assert cloud.wait("login", accepted=True)["subprotocol"] is None


def test_mqttv31_is_for_level_three(cloud):
    connect = mini_client.connect(*credentials(), level=3)
    with knock(cloud, connect, subprotocol="mqttv3.1")[0]:
        assert cloud.wait("login")["subprotocol"] == "mqttv3.1"
    with Client(cloud.port, cloud.root, subprotocol="mqttv3.1") as client:
        client.send(mini_client.connect(*credentials()))
        assert client.closed() == 1002
    cloud.wait("breach", rule="subprotocol")


def test_text_frames_are_a_breach(cloud):
    with login(cloud) as client:
        client.frame(1, b"text")
        assert client.closed() == 1003
    cloud.wait("breach", rule="text frame", action="closed")
    cloud.wait("disconnect", by="gate", clean=False)


def test_a_reserved_bit_is_a_breach(cloud):
    with login(cloud) as client:
        client.frame(0x42, PINGREQ)
        assert client.closed() == 1002
    cloud.wait("breach", rule="websocket", ws_close=1002)


def test_one_packet_per_message_is_watched(cloud):
    with login(cloud) as client:
        client.frame(2, PINGREQ[:1], fin=False)
        client.frame(0, PINGREQ[1:])
        assert client.packet()[0] == 0xD0
        assert cloud.wait("ping")
        assert not [line for line in cloud.seen
                    if line["event"] == "unaligned"]
        client.send(PINGREQ + PINGREQ)
        assert cloud.wait("unaligned")["packets"] == 2
        client.send(PINGREQ[:1])
        assert cloud.wait("unaligned")["packets"] == 0
        client.send(PINGREQ[1:])
        assert cloud.wait("unaligned")["packets"] == 1
        for _ in range(3):
            assert client.packet()[0] == 0xD0


# Publishing and subscribing


@pytest.mark.parametrize("level", [3, 4, 5])
def test_a_message_reaches_a_subscriber_of_the_broker(cloud, level):
    topic = f"/{KEY}/pump_0/user/up"
    app = listen(cloud, topic, 2)
    with login(cloud, level=level) as client:
        client.send(publish(topic, b"zero", level=level))
        client.send(publish(topic, b"one", qos=1, number=7, level=level))
        first, body = client.packet()
        assert (first, body[:2]) == (0x40, b"\0\7")
    said, _ = app.communicate(timeout=TIMEOUT)
    lines = said.splitlines()
    assert "zero" in lines and "one" in lines
    line = cloud.wait("publish", qos=1)
    assert line["topic"] == topic and line["payload"] == "one"
    assert line["bytes"] == 3 and line["device_name"] == "pump_0"


@pytest.mark.parametrize("topic, own", [
    ("/{key}/{name}/user/x", True),
    ("/sys/{key}/{name}/thing/event/property/post", True),
    ("/ota/device/inform/{key}/{name}", True),
    ("/shadow/update/{key}/{name}", True),
    ("/ext/ntp/{key}/{name}/request", True),
    ("/ext/rrpc/123/any/topic", True),
    ("/ext/register", True),
    ("/broadcast/{key}/all", False),
    ("/{key}/pump_1/user/x", False),
    ("/other/{name}/user/x", False),
    ("/sys/{key}/pump_1/thing/event/property/post", False),
    ("/ota/device/inform/{key}/pump_1", False),
    ("/shadow/update/{key}/pump_1", False),
    ("/ext/ntp/{key}/pump_1/request", False),
    ("home/kitchen-1/temp", False),
    ("{key}/{name}/user/x", False),
])
@pytest.mark.parametrize("level", [4, 5])
def test_only_own_topics_can_be_published_to(cloud, topic, own, level):
    topic = topic.format(key=KEY, name="pump_0")
    with login(cloud, level=level) as client:
        client.send(publish(topic, b"x", qos=1, level=level))
        if own or level == 5:
            first, body = client.packet()
            assert first == 0x40
            refused = len(body) > 2 and body[2] >= 0x80
            assert refused != own
        if own:
            cloud.wait("publish", topic=topic)
        else:
            cloud.wait("breach", rule="foreign topic", action="dropped",
                       code=9236, topic=topic)
        client.send(PINGREQ)
        assert client.packet()[0] == 0xD0


def test_subscriptions_are_limited_to_own_topics(cloud):
    own = f"/{KEY}/pump_0/user/#"
    filters = (own, f"/broadcast/{KEY}/#", "/+/pump_0/user/x", "#",
               f"/{KEY}/+/user/x", f"/sys/{KEY}/pump_0/rrpc/request/+")
    with login(cloud) as client:
        client.send(subscribe(*filters, qos=2, number=9))
        first, body = client.packet()
        assert (first, body) == (0x90, b"\0\x09\1\1\x80\x80\x80\1")
        line = cloud.wait("subscribe")
        assert line["filters"] == list(filters)
        assert line["requested"] == [2] * 6
        assert line["granted"] == [1, 1, 0x80, 0x80, 0x80, 1]
        client.send(subscribe("#", number=10))
        assert client.packet() == (0x90, b"\0\x0a\x80")


def test_the_publisher_decides_the_qos_of_a_delivery(cloud):
    topic = f"/{KEY}/pump_0/user/down"
    with login(cloud) as client:
        client.send(subscribe(topic, qos=0))
        assert client.packet() == (0x90, b"\0\1\0")
        send_down(cloud, topic, "hello")
        first, body = client.packet()
        assert first == 0x32
        assert payload_of(body) == (topic, b"hello")


def test_a_packet_identifier_in_use_is_a_breach(cloud):
    asked = subscribe(f"/{KEY}/pump_0/user/down")
    with login(cloud) as client:
        # one message, so that no answer can come between
        client.send(asked + asked)
        client.closed()
    cloud.wait("breach", rule="malformed")


def test_unsubscribe_passes(cloud):
    topic = f"/{KEY}/pump_0/user/down"
    with login(cloud) as client:
        client.send(subscribe(topic))
        client.packet()
        client.send(packet(0xA2, b"\0\5" + mini_client.text(topic)))
        assert client.packet() == (0xB0, b"\0\5")
    assert cloud.wait("unsubscribe")["filters"] == [topic]


def test_filters_and_subscriptions_are_limited(cloud):
    own = f"/{KEY}/pump_0/user/"
    with login(cloud) as client:
        client.send(subscribe(*(own + str(at) for at in range(9))))
        assert client.packet() == (0x90, b"\0\1" + b"\x80" * 9)
        cloud.wait("breach", rule="filters", action="refused")
        for start in range(0, 104, 8):
            client.send(subscribe(*(own + str(at)
                                    for at in range(start, start + 8))))
            codes = b"\1" * 8 if start < 96 else b"\1" * 4 + b"\x80" * 4
            assert client.packet() == (0x90, b"\0\1" + codes)
        cloud.wait("breach", rule="subscriptions", action="refused")
        client.send(subscribe(own + "0"))
        assert client.packet() == (0x90, b"\0\1\1")


def test_sizes_are_limited(cloud):
    own = f"/{KEY}/pump_0/user/"
    with login(cloud) as client:
        most = os.urandom(256 * 1024)
        client.send(publish(own + "x", most, qos=1))
        assert client.packet()[0] == 0x40
        line = cloud.wait("publish", bytes=len(most))
        assert line["sha256"] == hashlib.sha256(most).hexdigest()
        client.send(publish(own + "x", most + b"!", qos=1))
        cloud.wait("breach", rule="payload", action="dropped")

        longest = own + "x" * (128 - len(own))
        client.send(publish(longest, b""))
        cloud.wait("publish", topic=longest)
        client.send(publish(longest + "x", b""))
        cloud.wait("breach", rule="topic", action="dropped", code=1903)
        deepest = own + "1/2/3/4"
        client.send(publish(deepest, b""))
        cloud.wait("publish", topic=deepest)
        client.send(publish(deepest + "/5", b""))
        cloud.wait("breach", rule="topic", action="dropped", code=1903)
        client.send(subscribe(deepest + "/5"))
        assert client.packet() == (0x90, b"\0\1\x80")


def test_large_messages_come_down(cloud, tmp_path):
    topic = f"/{KEY}/pump_0/user/down"
    most = os.urandom(256 * 1024)
    (tmp_path / "most").write_bytes(most)
    with login(cloud) as client:
        client.send(subscribe(topic))
        client.packet()
        app = mosquitto(cloud, "mosquitto_pub", "-t", topic, "-q", "1",
                        "-f", str(tmp_path / "most"))
        assert payload_of(client.packet()[1]) == (topic, most)
        assert app.wait(TIMEOUT) == 0


@pytest.mark.parametrize("data, rule", [
    (publish(f"/{KEY}/pump_0/user/x", b"", qos=2), "QoS 2"),
    (publish(f"/{KEY}/pump_0/user/x", b"", retain=True), "retain"),
    (packet(0x62, b"\0\1"), "QoS 2"),
    (mini_client.connect(*credentials()), "second CONNECT"),
    (packet(0x80, subscribe("x")[2:]), "malformed"),
    (packet(0x82, b"\0\0" + mini_client.text("x") + b"\0"), "malformed"),
    (packet(0xF0), "malformed"),
    (packet(0xD0), "malformed"),
    (packet(0xC0, b"x"), "malformed"),
    (publish("a/+", b""), "malformed"),
    (publish("", b""), "malformed"),
    (publish(b"\xff", b""), "malformed"),
    (b"\x30\xff\xff\xff\xff\x01", "malformed"),
], ids=lambda value: value[:8].hex() if isinstance(value, bytes) else value)
def test_a_breach_ends_the_link(cloud, data, rule):
    with login(cloud) as client:
        client.send(data)
        assert client.closed() == 1002
    cloud.wait("breach", rule=rule, action="closed")
    cloud.wait("disconnect", by="gate", clean=False)


def test_level_five_is_told_why(cloud):
    with login(cloud, level=5) as client:
        client.send(publish(f"/{KEY}/pump_0/user/x", b"", qos=2, level=5))
        assert client.packet() == (0xE0, b"\x9b")
    with login(cloud, level=5) as client:
        client.send(publish(f"/{KEY}/pump_0/user/x", b"", retain=True,
                            level=5))
        assert cloud.wait("publish")["retain"]


def test_topic_aliases_are_resolved(cloud):
    topic = f"/{KEY}/pump_0/user/x"
    alias = b"\3\x23\0\1"
    with login(cloud, level=5) as client:
        client.send(packet(0x30, mini_client.text(topic) + alias + b"one"))
        client.send(packet(0x30, b"\0\0" + alias + b"two"))
        assert cloud.wait("publish", payload="two")["topic"] == topic
        client.send(packet(0x30, b"\0\0\3\x23\0\2x"))
        assert client.packet() == (0xE0, b"\x81")


# Sessions


@pytest.mark.parametrize("level", [4, 5])
def test_a_second_login_ends_the_first(cloud, level):
    with login(cloud, level=level, bare="one") as first:
        with login(cloud, level=level, bare="two") as second:
            cloud.wait("login", open_before=0)
            cloud.wait("login", open_before=1)
            if level == 5:
                assert first.packet() == (0xE0, b"\x8e")
            assert first.closed() == 1006
            second.send(PINGREQ)
            assert second.packet()[0] == 0xD0
    cloud.wait("disconnect", reason="taken over")


def test_other_devices_are_not_disturbed(cloud):
    with login(cloud, "pump_0") as one, login(cloud, "pump_1") as two:
        assert cloud.wait("login", device_name="pump_1")["open_before"] == 0
        for client in (one, two):
            client.send(PINGREQ)
            assert client.packet()[0] == 0xD0


@pytest.mark.parametrize("level", [3, 4])
def test_a_session_outlives_its_link(cloud, level):
    topic = f"/{KEY}/pump_0/user/down"
    with login(cloud, level=level):
        pass                                    # forget an older session
    with login(cloud, level=level, clean=False, timestamp="1") as client:
        client.send(subscribe(topic))
        client.packet()
        client.send(DISCONNECT)
        assert client.close() == 1000
    line = cloud.wait("disconnect", clean=True)
    assert line["ws_close"] == 1000 and line["by"] == "device"
    send_down(cloud, topic, "first", "second")

    client, body = knock(cloud, mini_client.connect(
        *credentials(timestamp="2"), level=level, clean=False))
    with client:
        # MQTT 3.1 has no session present flag
        assert body == (b"\1\0" if level == 4 else b"\0\0")
        assert payload_of(client.packet()[1]) == (topic, b"first")
        assert payload_of(client.packet()[1]) == (topic, b"second")
    with login(cloud, level=level) as client:
        client.send(PINGREQ)
        assert client.packet()[0] == 0xD0


def test_a_lost_link_is_not_clean(cloud):
    with login(cloud):
        cloud.wait("login")
    line = cloud.wait("disconnect")
    assert not line["clean"] and line["ws_close"] == 1006


def test_a_will_of_level_five_comes_when_the_link_is_lost(cloud):
    topic = f"/{KEY}/pump_0/user/gone"
    app = listen(cloud, topic, 1)
    client, body = knock(cloud, mini_client.connect(
        *credentials(), level=5, will=(topic, "lost", 1, False)))
    with client:
        assert body[1] == 0
    assert "lost" in app.communicate(timeout=TIMEOUT)[0].splitlines()


# Orders


def test_orders_are_checked(cloud):
    for order in ({"cmd": "nothing"}, {}, {"cmd": "fault", "no_such": 1},
                  {"cmd": "fault", "downlink": "odd"},
                  {"cmd": "fault", "connack_delay": "long"},
                  {"cmd": "drop", "how": "gently"},
                  {"cmd": "fault", "kick_after": "soon"},
                  {"cmd": "fault", "logins_per_minute": 0},
                  {"cmd": "fault", "upgrade_status": 99},
                  {"cmd": "fault", "upgrade_headers": {"Location": 1}},
                  {"cmd": "fault", "date_offset": "late"},
                  {"cmd": "fault", "chain": "/no/such/file"},
                  {"cmd": "fault", "product_key": KEY, "refuse": 3},
                  {"cmd": "fault", "device_name": "pump_0",
                   "product_key": KEY, "subprotocol": "ignored"}):
        answer = cloud.order(**order)
        assert not answer["ok"] and answer["error"]


@pytest.mark.parametrize("how, code", [
    ("close", 1001), ("fin", 1006), ("abort", 1006)])
def test_links_can_be_dropped(cloud, how, code):
    with login(cloud, "pump_0") as one, login(cloud, "pump_1") as two:
        answer = cloud.order(cmd="drop", product_key=KEY,
                             device_name="pump_0", how=how)
        assert answer == {"ok": True, "dropped": 1}
        assert one.closed() == code
        cloud.wait("disconnect", device_name="pump_0",
                   reason="dropped by order")
        two.send(PINGREQ)
        assert two.packet()[0] == 0xD0
        assert cloud.order(cmd="stats")["open"] == [[KEY, "pump_1"]]


def test_logins_can_be_refused_for_a_while(cloud):
    cloud.order(cmd="fault", product_key=KEY, device_name="pump_0",
                refuse=3, refuse_count=2)
    for code in (3, 3, 0):
        client, body = knock(cloud, mini_client.connect(*credentials()))
        with client:
            assert body == bytes([0, code])
    cloud.wait("login", accepted=False, code=3, reason="refused by order")
    with login(cloud, "pump_1"):
        pass


@pytest.mark.parametrize("how", ["bytes", "fragments", "pinged", "merged"])
def test_messages_can_be_cut_in_every_way(cloud, how):
    topic = f"/{KEY}/pump_0/user/down"
    cloud.order(cmd="fault", downlink=how)
    with login(cloud) as client:
        client.send(subscribe(topic, number=5))
        assert client.packet() == (0x90, b"\0\5\1")
        send_down(cloud, topic, "one", "two")
        assert payload_of(client.packet()[1]) == (topic, b"one")
        assert payload_of(client.packet()[1]) == (topic, b"two")
        data = [frame for frame in client.frames if frame[0] in (0, 2)]
        fins = [fin for _, fin, _ in data]
        if how == "bytes":
            assert all(frame == (2, True, 1) for frame in data)
        elif how == "merged":
            assert fins.count(False) == 0 and data[-1] == (2, True, 1)
        else:
            assert fins.count(False) > fins.count(True) >= 3
            assert (9 in [frame[0] for frame in client.frames]) == (
                how == "pinged")


def test_many_packets_can_lie_in_one_message(cloud):
    cloud.order(cmd="fault", downlink="merged")
    with login(cloud) as client:
        for _ in range(3):
            client.send(PINGREQ)
        for _ in range(3):
            assert client.packet()[0] == 0xD0
        # six bytes: as one message of five and one of a single byte
        assert client.frames[-2:] == [(2, True, 5), (2, True, 1)]


def test_pings_can_go_unanswered(cloud):
    with login(cloud) as client:
        cloud.order(cmd="fault", answer_pings=False)
        client.send(PINGREQ)
        cloud.wait("ping")
        client.send(subscribe("#"))
        assert client.packet()[0] == 0x90
        cloud.order(cmd="clear")
        client.send(PINGREQ)
        assert client.packet()[0] == 0xD0


def test_connack_can_be_late(cloud):
    cloud.order(cmd="fault", connack_delay=60)
    with Client(cloud.port, cloud.root) as client:
        client.send(mini_client.connect(*credentials()))
        cloud.wait("login", accepted=True)
        # the gate reads on, so what follows is seen before any CONNACK
        client.send(publish(f"/{KEY}/pump_0/user/x", b"early"))
        cloud.wait("publish", payload="early")
        assert client.frames == []
    cloud.wait("disconnect")
    cloud.order(cmd="fault", connack_delay=0.05)
    with login(cloud):
        pass


def test_connack_of_level_five_can_tell_more(cloud):
    cloud.order(cmd="fault", connack_properties={
        "assigned_client_id": "given", "server_keep_alive": 120,
        "server_reference": "elsewhere"})
    client, body = knock(cloud, mini_client.connect(*credentials(), level=5))
    with client:
        for piece in (b"\x12\0\5given", b"\x13\0\x78", b"\x24\1",
                      b"\x1c\0\x09elsewhere"):
            assert piece in body[3:]
        assert body[2] == len(body) - 3
    client, body = knock(cloud, mini_client.connect(*credentials()))
    with client:
        assert body == b"\0\0"


@pytest.mark.parametrize("mqtts", [False, True])
def test_logins_can_be_too_many(cloud, mqtts):
    name = f"pump_{100 + mqtts}"
    cloud.order(cmd="fault", logins_per_minute=2)
    for level, codes in ((4, (0, 0, 3)), (5, (0x97,))):
        for code in codes:
            client, body = knock(cloud, mini_client.connect(
                *credentials(name), level=level), mqtts=mqtts)
            with client:
                assert body[:2] == bytes([0, code])
                cloud.wait("login", code=code, reason="over quota" if code
                           else "accepted")
    cloud.order(cmd="clear")
    with login(cloud, name, mqtts=mqtts):
        assert cloud.wait("login")["in_last_minute"] == 5


@pytest.mark.parametrize("mqtts", [False, True])
def test_a_login_can_be_followed_by_a_kick(cloud, mqtts):
    cloud.order(cmd="fault", product_key=KEY, device_name="pump_0",
                kick_after=0)
    with login(cloud, "pump_1") as other:
        with login(cloud, mqtts=mqtts) as client:
            assert client.closed() == 1006
        cloud.wait("disconnect", device_name="pump_0",
                   reason="kicked by order")
        other.send(PINGREQ)
        assert other.packet()[0] == 0xD0


def test_upgrades_can_get_another_answer(cloud):
    for status, headers in ((404, {}), (503, {"Retry-After": "5"}),
                            (302, {"Location": "http://portal.test/login"})):
        cloud.order(cmd="fault", upgrade_status=status,
                    upgrade_headers=headers)
        with Client(cloud.port, cloud.root) as client:
            assert client.status == status
            for name, value in headers.items():
                assert client.headers[name.lower()] == value
        assert cloud.wait("upgrade", status=status)["ordered"]
    cloud.order(cmd="clear")
    with login(cloud):
        pass


@pytest.mark.parametrize("offset", [0, -3600, 86400 * 365])
def test_answers_hold_the_date(cloud, offset):
    cloud.order(cmd="fault", date_offset=offset)
    for status in (None, 404):
        cloud.order(cmd="fault", upgrade_status=status)
        with Client(cloud.port, cloud.root) as client:
            date = email.utils.parsedate_to_datetime(client.headers["date"])
            assert abs(date.timestamp() - offset - time.time()) < TIMEOUT


@pytest.mark.parametrize("mqtts", [False, True])
def test_the_chain_can_be_another(cloud, certs, mqtts):
    cloud.order(cmd="fault", chain=str(certs / "expired.pem"))
    with pytest.raises(ssl.SSLCertVerificationError, match="expired"):
        if mqtts:
            StreamClient(cloud.mqtts_port, cloud.root)
        else:
            Client(cloud.port, cloud.root)
    cloud.order(cmd="clear")
    with login(cloud, mqtts=mqtts):
        pass


# Without WebSocket


@pytest.mark.parametrize("level", [3, 4, 5])
def test_a_stream_has_the_same_rules(cloud, level):
    topic = f"/{KEY}/pump_0/user/echo"
    with login(cloud, level=level, mqtts=True) as client:
        line = cloud.wait("login", accepted=True)
        assert line["transport"] == "mqtts" and line["sni"] == "localhost"
        assert line["tls"] == "TLSv1.3" and line["secure_mode"] == "2"
        assert line["path"] is line["subprotocol"] is line["host"] is None
        client.send(subscribe(topic, level=level))
        assert client.packet()[0] == 0x90
        client.send(publish(topic, b"there", level=level))
        first, body = client.packet()
        assert first == 0x30 and body.endswith(b"there")
        client.send(publish("/not/mine", b"", level=level))
        cloud.wait("breach", rule="foreign topic", action="dropped")
        client.send(DISCONNECT)
        assert client.close() == 1006
    line = cloud.wait("disconnect", clean=True)
    assert line["ws_close"] is None


@pytest.mark.parametrize("changes, code", [
    ({"mode": 3}, 2), ({"secret": "wrong"}, 4), ({"name": "stranger"}, 5)],
    ids=str)
def test_a_bad_login_over_a_stream(cloud, changes, code):
    client, body = knock(cloud, mini_client.connect(*credentials(**changes)),
                         mqtts=True)
    with client:
        assert body == bytes([0, code])
        assert client.closed() == 1006


def test_a_stream_may_be_cut_anywhere(cloud):
    connect = mini_client.connect(*credentials())
    with StreamClient(cloud.mqtts_port, cloud.mqtts_root) as client:
        for byte in connect + PINGREQ:
            client.send(bytes([byte]))
        assert client.packet() == (0x20, b"\0\0")
        assert client.packet()[0] == 0xD0
        client.send(PINGREQ * 2)
        for _ in range(2):
            assert client.packet()[0] == 0xD0
    cloud.wait("disconnect", clean=False)
    assert not [line for line in cloud.seen if line["event"] == "unaligned"]


@pytest.mark.parametrize("how", ["bytes", "fragments", "pinged", "merged"])
def test_a_stream_down_can_be_cut_too(cloud, how):
    cloud.order(cmd="fault", downlink=how)
    with login(cloud, mqtts=True) as client:
        client.send(subscribe("/not/mine", f"/{KEY}/pump_0/user/x"))
        assert client.packet() == (0x90, b"\0\1\x80\1")


@pytest.mark.parametrize("how", ["close", "fin", "abort"])
def test_a_stream_can_be_dropped(cloud, how):
    with login(cloud, level=5, mqtts=True) as client:
        answer = cloud.order(cmd="drop", how=how, reason_code=0x8B)
        assert answer == {"ok": True, "dropped": 1}
        if how != "abort":      # which takes back what is on its way
            assert client.packet() == (0xE0, b"\x8b")
        assert client.closed() == 1006


def test_one_session_whatever_the_transport(cloud):
    with login(cloud) as first, login(cloud, mqtts=True) as second:
        cloud.wait("login", open_before=1)
        assert first.closed() == 1006
        with login(cloud) as third:
            assert second.closed() == 1006
            third.send(PINGREQ)
            assert third.packet()[0] == 0xD0


@pytest.mark.parametrize("data, rule", [
    (publish(f"/{KEY}/pump_0/user/x", b"", qos=2), "QoS 2"),
    (packet(0xF0), "malformed"), (b"\x30\xff\xff\xff\xff\x01", "malformed")],
    ids=["QoS 2", "no packet", "length"])
def test_a_breach_ends_a_stream(cloud, data, rule):
    with login(cloud, mqtts=True) as client:
        client.send(data)
        assert client.closed() == 1006
    cloud.wait("breach", rule=rule, action="closed")


# The program


def test_many_devices_at_once(cloud):
    def one(at):
        name = f"pump_{at}"
        topic = f"/{KEY}/{name}/user/echo"
        with login(cloud, name) as client:
            client.send(subscribe(topic))
            assert client.packet()[0] == 0x90
            client.send(publish(topic, name.encode()))
            first, body = client.packet()
            assert payload_of(body, first & 2) == (topic, name.encode())
            everyone.wait(3 * TIMEOUT)
            return cloud.order(cmd="stats") if at == 0 else None

    everyone = threading.Barrier(CROWD)
    with concurrent.futures.ThreadPoolExecutor(CROWD) as pool:
        list(pool.map(one, range(CROWD)))
    for _ in range(CROWD):
        assert cloud.wait("login")["open_before"] == 0


@pytest.mark.parametrize("number", [
    signal.SIGTERM, signal.SIGINT, signal.SIGKILL])
def test_the_broker_ends_with_the_gate(start, number):
    cloud = start()
    broker = os.pidfd_open(cloud.ready["mosquitto_pid"])
    with login(cloud, mode=3) as client:
        cloud.process.send_signal(number)
        killed = number == signal.SIGKILL
        assert client.closed() == (1006 if killed else 1001)
    assert cloud.process.wait(TIMEOUT) == (-number if killed else 0)
    assert os.path.exists(cloud.control_path) == killed
    assert has_ended(broker)


def test_a_stream_ends_with_the_gate(start, certs):
    cloud = start("--mqtts-cert", certs / "server.pem",
                  "--mqtts-key", certs / "server.key")
    root = str(certs / "root.pem")
    cloud.mqtts_root = root
    with (StreamClient(cloud.mqtts_port, root) as silent,
          login(cloud, mqtts=True) as client):
        cloud.process.terminate()
        for each in (silent, client):
            assert each.closed() == 1006
    assert cloud.process.wait(TIMEOUT) == 0


def has_ended(process):
    """Waits for a pidfd, which is readable once its process has ended."""
    try:
        return bool(select.select([process], [], [], TIMEOUT)[0])
    finally:
        os.close(process)


def test_the_gate_does_not_outlive_its_broker(start):
    cloud = start()
    os.kill(cloud.ready["mosquitto_pid"], signal.SIGKILL)
    assert cloud.process.wait(TIMEOUT) == 1


def test_the_gate_can_end_with_its_parent(tmp_path):
    devices = tmp_path / "devices.ini"
    devices.write_text("")
    # a shell starts the gate and lives while its stdin is open
    with subprocess.Popen(
            ["sh", "-c", '/usr/bin/python3 "$0" --devices "$1" '
             '--exit-with-parent & cat',
             HERE / "cloud.py", devices],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            text=True) as shell:
        ready = json.loads(shell.stdout.readline())
        watches = [os.pidfd_open(ready[name])
                   for name in ("pid", "mosquitto_pid")]
    ended = [has_ended(watch) for watch in watches]
    if not all(ended):
        os.kill(ready["pid"], signal.SIGTERM)
    assert all(ended)


def test_decisions_go_to_a_file(start, tmp_path):
    log = tmp_path / "decisions"
    cloud = start("--decisions", log)
    with Client(cloud.port) as client:
        client.send(mini_client.connect(*credentials(secret="wrong",
                                                     mode=3)))
        assert client.packet()[1] == b"\0\4"
        lines = [json.loads(line) for line in log.read_text().splitlines()]
        assert [line["reason"] for line in lines] == ["wrong signature"]
        assert SECRET not in log.read_text()


@pytest.mark.parametrize("chain, words", [
    ("expired", "expired"), ("not-yet", "not yet valid"),
    ("wrong-name", "mismatch"), ("untrusted", "self-signed|unable to get"),
    ("leaf-only", "unable to get")])
def test_bad_chains_are_bad(start, certs, chain, words):
    cloud = start("--cert", certs / f"{chain}.pem",
                  "--key", certs / "server.key")
    with pytest.raises(ssl.SSLCertVerificationError, match=words):
        Client(cloud.port, str(certs / "root.pem"))
