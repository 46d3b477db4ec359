"""Extended authentication (MQTT 5.0 4.12): it passes unchanged between a
device and a cloud that both want it, and nobody may go on with one that the
CONNECT has not begun."""

import pytest

import mqtt_raw as mqtt
from hostile import BINARY, Hostile, frame
from mqtt_raw import TIMEOUT, auth

METHOD = "SCRAM-SHA-256"
CONTINUE, AGAIN, DONE = 0x18, 0x19, 0x00
OF_METHOD = mqtt.text_property(mqtt.AUTH_METHOD, METHOD)
GOOD = {3: b"\x20\2\0\0", 4: b"\x20\2\0\0", 5: b"\x20\3\0\0\0"}


def connack(properties):
    return mqtt.packet(0x20, b"\0\0" + mqtt.block(5, properties))


@pytest.fixture(params=["ws", "wss"])
def server(request, certs):
    """A cloud that does what its script says."""
    own = ((certs / "server.pem", certs / "server.key")
           if request.param == "wss" else ())
    with Hostile(*own) as server:
        yield server


@pytest.fixture
def site(cloud, start, dial, server):
    """(device, its entry, the proxy): nothing is sent yet."""
    entry = cloud.device(port=server.port, transports=server.transport,
                         on_link_loss="close")
    proxy = start(cloud, entry)
    return dial(proxy), entry, proxy


def raw(packet):
    """As it was on the wire."""
    return mqtt.packet(packet.kind << 4 | packet.flags, packet.body)


def test_an_exchange(site, server):
    """Of several steps before the CONNACK, and again after it, with packets
    between. The method and its data are the device's; user name and password
    are the proxy's."""
    device, entry, proxy = site
    first = OF_METHOD + mqtt.text_property(mqtt.AUTH_DATA, b"\0first\xff")
    welcome = connack(OF_METHOD + mqtt.text_property(mqtt.AUTH_DATA, "v=ok"))
    steps = [(auth(CONTINUE, METHOD, b"r=%d" % at),
              auth(CONTINUE, METHOD, bytes([at]) * 200)) for at in range(3)]
    up, down = (mqtt.publish("a", text, level=5) for text in ("up", "down"))

    def script(peer):
        peer.upgrade()
        seen = [peer.packet()]
        for challenge, _ in steps:
            peer.message(challenge)
            seen.append(peer.packet())
        peer.message(welcome + down)
        seen += [peer.packet(), peer.packet()]
        for challenge, _ in steps:
            peer.message(challenge + down)
            seen.append(peer.packet())
        # the last one cut within its head
        done = auth(DONE, METHOD)
        peer.send(frame(BINARY, down + done[:1]))
        peer.send(frame(BINARY, done[1:]))
        seen.append(peer.packet())
        return seen, peer.goodbye()

    played = server.play(script)
    device.send_connect(entry["label"], 5, properties=first,
                        user_name="lan user", password="lan password")

    def answer(challenge, response, *between):
        assert raw(device.packet()) == challenge
        assert [raw(device.packet()) for _ in between] == list(between)
        device.send(response)

    for challenge, response in steps:
        answer(challenge, response)
    assert raw(device.packet()) == welcome
    assert raw(device.packet()) == down
    device.send(up, auth(AGAIN, METHOD, "again"))
    for challenge, response in steps:
        answer(challenge, response, down)
    assert raw(device.packet()) == down
    assert raw(device.packet()) == auth(DONE, METHOD)
    device.ping()
    device.send(mqtt.DISCONNECT)
    assert device.until_closed() == []

    (connect, *seen), code = played.result(TIMEOUT)
    responses = [response for _, response in steps]
    assert seen == [*responses, up, auth(AGAIN, METHOD, "again"), *responses,
                    mqtt.DISCONNECT]
    assert code == 1000
    assert mqtt.block(5, first) in connect
    assert mqtt.text(f"{entry['device_name']}&{entry['product_key']}") \
        in connect
    assert b"lan " not in connect
    assert proxy.wait_log("session_end")["reason"] == "device_left"


def test_refused_within_the_exchange(site, server):
    """With a CONNACK (MQTT-4.12.0-4), which is the device's."""
    device, entry, proxy = site
    server.play(lambda peer: (
        peer.upgrade(), peer.packet(),
        peer.message(auth(CONTINUE, METHOD, "who?")), peer.packet(),
        peer.message(b"\x20\3\0\x8c\0"), peer.goodbye()))
    device.send_connect(entry["label"], 5, properties=OF_METHOD)
    assert raw(device.packet()) == auth(CONTINUE, METHOD, "who?")
    device.send(auth(CONTINUE, METHOD, "me"))
    assert [raw(each) for each in device.until_closed()] == [
        b"\x20\3\0\x8c\0"]
    end = proxy.wait_log("session_end")
    assert end["reason"] == "login_refused"
    assert "bad_authentication_method" in end["detail"]


def test_given_up_by_the_device(site, server):
    """With a DISCONNECT in the middle of it (MQTT-3.1.2-30)."""
    device, entry, proxy = site
    played = server.play(lambda peer: (
        peer.upgrade(), peer.packet(),
        peer.message(auth(CONTINUE, METHOD, "who?")), peer.packet())[-1])
    device.send_connect(entry["label"], 5, properties=OF_METHOD)
    assert raw(device.packet()) == auth(CONTINUE, METHOD, "who?")
    device.send(mqtt.packet(0xE0, b"\x80\0"))
    assert device.until_closed() == []
    assert played.result(TIMEOUT) == mqtt.packet(0xE0, b"\x80\0")
    assert proxy.wait_log("session_end")["reason"] == "device_left"


# What a device must not send: level, CONNECT's properties, the packet, and
# what the log names; it is online, or, where "before" stands, within the
# exchange

BAD_OF_DEVICE = {
    "at level 3": (3, b"", auth(AGAIN, METHOD), "level 3"),
    "at level 4": (4, b"", auth(AGAIN, METHOD), "level 4"),
    "none begun": (5, b"", auth(AGAIN, METHOD), "MQTT-4.12.0-5, -6, -7"),
    "another method": (5, OF_METHOD, auth(AGAIN, "PLAIN"), "MQTT-4.12.0-5"),
    "no method": (5, OF_METHOD, auth(AGAIN), "MQTT-4.12.0-5"),
    "success": (5, OF_METHOD, auth(DONE, METHOD), "MQTT-3.15.2-1"),
    "again, before": (5, OF_METHOD, auth(AGAIN, METHOD), "MQTT-4.12.0-2"),
    "another method, before": (5, OF_METHOD, auth(CONTINUE, "PLAIN"),
                               "MQTT-4.12.0-5"),
    "PUBLISH, before": (5, OF_METHOD, mqtt.publish("a", "x", level=5),
                        "before the CONNACK"),
}


@pytest.mark.parametrize("name", BAD_OF_DEVICE)
def test_bad_auth_of_the_device(site, server, name):
    level, properties, packet, words = BAD_OF_DEVICE[name]
    before = name.endswith("before")
    device, entry, proxy = site
    first = auth(CONTINUE, METHOD, "who?") if before else GOOD[level]
    played = server.play(lambda peer: (
        peer.upgrade(), peer.packet(), peer.message(first), peer.frame()))
    device.send_connect(entry["label"], level, properties=properties)
    assert raw(device.packet()) == first
    device.send(packet)
    # below level 5, and before the CONNACK, there is no word for it
    assert [raw(each) for each in device.until_closed()] == (
        [b"\xe0\1\x81"] if level == 5 and not before else [])
    end = proxy.wait_log("session_end")
    assert end["reason"] == "bad_packet" and words in end["detail"], end
    # the cloud gets none of it, but the close
    assert played.result(TIMEOUT)[-1] == (8, b"\x03\xe8")


BAD_OF_CLOUD = {
    "at level 3": (3, b"", auth(CONTINUE, METHOD), "level 3"),
    "at level 4": (4, b"", auth(CONTINUE, METHOD), "level 4"),
    "none begun": (5, b"", auth(CONTINUE, METHOD), "MQTT-4.12.0-5, -6"),
    "another method": (5, OF_METHOD, auth(CONTINUE, "PLAIN"),
                       "MQTT-4.12.0-5"),
    "success before CONNACK": (5, OF_METHOD, auth(DONE, METHOD),
                               "MQTT-4.12.0-2"),
    "short success before CONNACK": (5, OF_METHOD, b"\xf0\0",
                                     "MQTT-4.12.0-2"),
    "of a client": (5, OF_METHOD, auth(AGAIN, METHOD), "MQTT-3.15.2-1"),
    "CONNACK, none begun": (5, b"", connack(OF_METHOD), "MQTT-4.12.0-5, -6"),
    "CONNACK, another method": (
        5, OF_METHOD, connack(mqtt.text_property(mqtt.AUTH_METHOD, "PLAIN")),
        "MQTT-4.12.0-5"),
    "at level 4, online": (4, b"", auth(DONE, METHOD), "level 4"),
    "none begun, online": (5, b"", b"\xf0\0", "MQTT-4.12.0-6"),
    "another method, online": (5, OF_METHOD, auth(CONTINUE, "PLAIN"),
                               "MQTT-4.12.0-5"),
}


@pytest.mark.parametrize("name", BAD_OF_CLOUD)
def test_bad_auth_of_the_cloud(site, server, name):
    level, properties, packet, words = BAD_OF_CLOUD[name]
    online = name.endswith("online")
    device, entry, proxy = site
    played = server.play(lambda peer: (
        peer.upgrade(), peer.packet(),
        online and peer.message(GOOD[level]), peer.message(packet),
        peer.goodbye())[-1])
    device.send_connect(entry["label"], level, properties=properties)
    told = [raw(each) for each in device.until_closed()]
    if online:
        assert told == [GOOD[level], b"\xe0\1\x89"][:1 + (level == 5)]
    else:
        assert told == [b"\x20\3\0\x88\0" if level == 5
                        else b"\x20\2\0\3"]
    end = proxy.wait_log("session_end")
    assert end["reason"] == "bad_cloud_packet" and words in end["detail"], end
    assert played.result(TIMEOUT) == 1002


def test_a_cloud_that_does_not_know_the_method(cloud, start, dial):
    """A real broker's answer to it is the device's (MQTT-4.12.0-1)."""
    entry = cloud.device()
    proxy = start(cloud, entry)
    device = dial(proxy)
    device.send_connect(entry["label"], 5, properties=OF_METHOD)
    answer = device.connack()
    assert answer.code == 0x8C
    assert device.until_closed() == []
    assert proxy.wait_log("session_end")["reason"] == "login_refused"
