"""The cloud is strict, and never has to complain: whatever a device sends, what
goes up keeps to the contract. Each test ends with the cloud's audit."""

import pytest

import mqtt_raw as mqtt
from cloud_process import topic_of
from hostile import Hostile
from mqtt_raw import TIMEOUT
from proxy import FRUGAL

LEVELS = pytest.mark.parametrize("level", [3, 4, 5])


@pytest.fixture(name="strict")
def fixture_strict(cloud):
    """strict(**keys): an entry of a device that is held to every rule."""
    def device(**keys):
        entry = cloud.device(**keys)
        cloud.fault(entry, strict=True)
        return entry

    return device


def number_of(packet):
    return int.from_bytes(packet.body[:2], "big")


def payloads(cloud, entry):
    return [line["payload"] for line in cloud.decisions("publish", entry)]


def leave(cloud, entry, device):
    """DISCONNECT, and the cloud has seen the end of it."""
    since = len(cloud.decisions("disconnect", entry))
    device.send(mqtt.DISCONNECT)
    device.until_closed()
    cloud.wait("disconnect", entry, count=since + 1)


# ---- QoS 2 ----

def twice(entry, number=7, again=False, payload="once", level=4):
    return mqtt.publish(topic_of(entry), payload, 2, number, level,
                        again=again)


@LEVELS
def test_qos2(cloud, strict, start, dial, listen, level):
    """One message, at QoS 1, however often the device sends it."""
    entry = strict()
    app = listen(cloud, topic_of(entry))
    device = dial(start(cloud, entry))
    device.log_in(entry["label"], level)
    with cloud.halted():    # no PUBACK yet
        device.send(twice(entry, level=level),
                    twice(entry, again=True, level=level))
        device.ping()
    assert number_of(device.expect(mqtt.PUBREC)) == 7
    device.send(twice(entry, again=True, level=level))
    assert number_of(device.expect(mqtt.PUBREC)) == 7
    for _ in range(2):
        device.send(mqtt.pubrel(7))
        assert number_of(device.expect(mqtt.PUBCOMP)) == 7
    # the identifier is free again
    device.send(twice(entry, payload="another", level=level))
    device.expect(mqtt.PUBREC)
    assert [app.receive().payload for _ in range(2)] == [b"once", b"another"]
    assert [line["qos"] for line in cloud.decisions("publish", entry)] == [
        1, 1]


@LEVELS
def test_qos2_after_a_lost_pubrec(cloud, strict, start, dial, level):
    """The device was cut off before it came, and sends again."""
    entry = strict()
    proxy = start(cloud, entry)
    kept = {"clean": False}
    if level == 5:
        kept["properties"] = mqtt.session_expiry(600)
    with dial(proxy) as device:
        device.log_in(entry["label"], level, **kept)
        device.send(twice(entry, level=level))
        device.expect(mqtt.PUBREC)
        device.reset()
    cloud.wait("disconnect", entry)
    with dial(proxy) as device:
        device.log_in(entry["label"], level, **kept)
        device.send(twice(entry, again=True, level=level))
        device.expect(mqtt.PUBREC)
        device.send(mqtt.pubrel(7))
        device.reset()      # without PUBCOMP
    cloud.wait("disconnect", entry, count=2)
    device = dial(proxy)
    device.log_in(entry["label"], level, **kept)
    device.send(mqtt.pubrel(7))
    assert number_of(device.expect(mqtt.PUBCOMP)) == 7
    assert payloads(cloud, entry) == ["once"]


def test_qos2_after_a_lost_puback(cloud, strict, start, dial):
    """Nobody knows whether the cloud has it: it goes up again as what it was,
    with DUP. While the link stands it does not."""
    entry = strict()
    cloud.fault(entry, answer_publishes=False)
    proxy = start(cloud, entry)
    with dial(proxy) as device:
        device.log_in(entry["label"], clean=False)
        device.send(twice(entry), twice(entry, again=True))
        cloud.wait("publish", entry)
        device.ping()
        device.reset()
    cloud.wait("disconnect", entry)
    cloud.fault(entry, answer_publishes=True)
    device = dial(proxy)
    device.log_in(entry["label"], clean=False)
    device.send(twice(entry, again=True))
    assert number_of(device.expect(mqtt.PUBREC)) == 7
    assert [(line["payload"], line["packet_id"], line["duplicate"])
            for line in cloud.decisions("publish", entry)] == [
                ("once", 7, False), ("once", 7, True)]


def test_qos2_of_a_clean_session(cloud, strict, start, dial):
    """begins anew: the same identifier is another message."""
    entry = strict()
    proxy = start(cloud, entry)
    for payload in ("one", "two"):
        with dial(proxy) as device:
            device.log_in(entry["label"])
            device.send(twice(entry, payload=payload))
            device.expect(mqtt.PUBREC)
            leave(cloud, entry, device)
    assert payloads(cloud, entry) == ["one", "two"]


@pytest.mark.parametrize("level, told", [(3, []), (4, []), (5, [0x9B])])
def test_qos2_refused(cloud, strict, start, dial, level, told):
    entry = strict(qos2="refuse")
    proxy = start(cloud, entry)
    device = dial(proxy)
    answer = device.log_in(entry["label"], level)
    if level == 5:
        assert answer.properties[0x24] == 1     # Maximum QoS
    device.publish(topic_of(entry), "x", 1)
    device.send(twice(entry, level=level))
    assert [packet.body[0] for packet in device.until_closed()] == told
    assert proxy.wait_log("session_end")["reason"] == "qos_refused"
    assert payloads(cloud, entry) == ["x"]


@pytest.mark.parametrize("level, told", [(3, 5), (4, 5), (5, 0x9B)])
def test_will_at_qos2_refused(cloud, strict, start, dial, level, told):
    """It is a message like any other."""
    entry = strict(qos2="refuse")
    proxy = start(cloud, entry)
    device = dial(proxy)
    device.send_connect(entry["label"], level,
                        will=(topic_of(entry), "gone", 2))
    assert device.connack().code == told
    assert device.until_closed() == []
    assert proxy.wait_log("session_end")["reason"] == "qos_refused"
    assert not cloud.decisions("login", entry)


# ---- topic filters ----

@LEVELS
def test_many_filters(cloud, strict, start, dial, level):
    """One answer to one SUBSCRIBE, of what the cloud has had in three."""
    entry = strict()
    filters = [topic_of(entry, f"f{at}") for at in range(20)]
    device = dial(start(cloud, entry))
    device.log_in(entry["label"], level)
    device.subscribe(*filters, qos=2, number=9)
    assert [line["filters"] for line in cloud.decisions("subscribe", entry)
            ] == [filters[:8], filters[8:16], filters[16:]]
    app = dial(cloud)
    app.log_in("app")
    for topic in filters:
        app.publish(topic, "x", qos=1)
        assert device.receive().topic == topic
    device.send(mqtt.unsubscribe(*filters, number=10, level=level))
    answer = device.expect(mqtt.UNSUBACK)
    assert number_of(answer) == 10
    if level == 5:
        assert len(answer.body) == 3 + len(filters)
    assert len(cloud.decisions("unsubscribe", entry)) == 3


# ---- rates ----

def test_rate_of_qos0(cloud, strict, start, dial):
    """Never more than the cloud takes: what cannot wait is dropped, the oldest
    first, and every message is accounted for."""
    entry = strict(qos0_queue="4K")
    proxy = start(cloud, entry)
    device = dial(proxy)
    device.log_in(entry["label"])
    count = 300
    device.send(*(mqtt.publish(topic_of(entry), f"{at}")
                  for at in range(count)))
    cloud.wait("publish", entry, payload=f"{count - 1}")
    sent = payloads(cloud, entry)
    assert sent == sorted(sent, key=int)
    assert sent[:30] == [f"{at}" for at in range(30)]
    # more than is kept, at once: the end drops it
    device.send(*(mqtt.publish(topic_of(entry), "late")
                  for _ in range(count)))
    device.ping()
    leave(cloud, entry, device)
    proxy.wait_log("session_end")
    told = proxy.logs("device_slowed")
    assert len(told) == 2   # at once, and at the end
    assert len(payloads(cloud, entry)) + sum(
        int(line["qos0_dropped"]) for line in told) == 2 * count
    assert sum(int(line["qos0_sent"]) for line in told) == len(
        payloads(cloud, entry))


def test_rate_of_qos1(cloud, strict, start, dial):
    """The device is slowed, and loses nothing; one that goes on meanwhile, on
    the same worker, is not."""
    entry, other = strict(), strict()
    proxy = start(cloud, entry, other, limits={"workers": 1})
    device, quick = dial(proxy), dial(proxy)
    device.log_in(entry["label"])
    quick.log_in(other["label"])
    count = 35
    device.send(*(mqtt.publish(topic_of(entry), f"{at}", 1 + at % 2, at + 1)
                  for at in range(count)))
    proxy.wait_log("device_slowed", label=entry["label"])
    for at in range(8):
        quick.publish(topic_of(other), f"{at}", 1)
    assert len(payloads(cloud, entry)) < count
    kinds = [device.packet().kind for _ in range(count)]
    assert kinds == [(mqtt.PUBACK, mqtt.PUBREC)[at % 2]
                     for at in range(count)]
    assert payloads(cloud, entry) == [f"{at}" for at in range(count)]
    leave(cloud, entry, device)
    proxy.wait_log("session_end")
    told = proxy.logs("device_slowed", label=entry["label"])
    assert sum(int(line["qos1_waited"]) for line in told) > 0
    assert len(told) == 2
    assert not proxy.logs("device_slowed", label=other["label"])


def test_rate_after_a_reconnect(cloud, strict, start, dial):
    """The cloud's second does not end with the connection."""
    entry = strict()
    proxy = start(cloud, entry)
    for turn in range(3):
        device = dial(proxy)
        device.log_in(entry["label"])
        device.send(*(mqtt.publish(topic_of(entry), f"{turn}")
                      for _ in range(30)))
        cloud.wait("publish", entry, count=30 * (turn + 1))
        leave(cloud, entry, device)


def test_bytes_of_a_second(cloud, strict, start, dial):
    """also of messages that travel in pieces."""
    entry = strict()
    device = dial(start(cloud, entry))
    device.log_in(entry["label"])
    for at in range(12):
        device.send(mqtt.publish(topic_of(entry), bytes(200 * 1024), at % 2,
                                 at + 1))
    cloud.wait("publish", entry, count=12)


def test_too_many_without_puback(cloud, strict, start, dial):
    """wait, but not for ever; the cloud is asked for no more."""
    entry = strict(inflight_max=5, on_link_loss="close")
    cloud.fault(entry, answer_publishes=False)
    proxy = start(cloud, entry, cloud={"write_timeout": "500ms"})
    device = dial(proxy)
    device.log_in(entry["label"])
    device.send(*(mqtt.publish(topic_of(entry), f"{at}", 1, at + 1)
                  for at in range(8)))
    assert proxy.wait_log("session_end")["reason"] == "cloud_stuck"
    assert device.until_closed() == []
    assert payloads(cloud, entry) == [f"{at}" for at in range(5)]


def test_slow_device_costs_nothing(cloud, strict, start, dial):
    """While it waits for its turn the proxy sleeps."""
    entry = strict(qos1_per_second=1)
    proxy = start(cloud, entry, env=FRUGAL)
    device = dial(proxy)
    device.log_in(entry["label"])
    device.send(*(mqtt.publish(topic_of(entry), "x", 1, at)
                  for at in range(1, 5)))
    used = proxy.cpu()
    for _ in range(4):
        device.expect(mqtt.PUBACK)
    assert proxy.cpu() - used < 0.25


# ---- what the cloud does not take at all ----

@pytest.mark.parametrize("level", [3, 4])
@pytest.mark.parametrize("qos", [0, 1, 2])
def test_retain_is_cleared(cloud, strict, start, dial, listen, level, qos):
    entry = strict()
    device = dial(start(cloud, entry))
    device.log_in(entry["label"], level)
    device.send(mqtt.publish(topic_of(entry), "x", qos, 1, level, retain=True),
                mqtt.publish(topic_of(entry), bytes(100000), qos, 2, level,
                             retain=True))
    cloud.wait("publish", entry, count=2)
    assert not any(line["retain"] for line in cloud.decisions("publish",
                                                              entry))
    late = listen(cloud, topic_of(entry), topic_of(entry, "other"))
    late.publish(topic_of(entry, "other"), "nothing before", qos=0)
    assert late.receive().payload == b"nothing before"


def test_retain_of_level_5(cloud, strict, start, dial, listen):
    """is the cloud's."""
    entry = strict()
    device = dial(start(cloud, entry))
    device.log_in(entry["label"], 5)
    device.send(mqtt.publish(topic_of(entry), "x", 1, 1, 5, retain=True))
    device.expect(mqtt.PUBACK)
    assert cloud.decisions("publish", entry)[0]["retain"]


BIG = 256 * 1024
TOO_MUCH = {
    "big": ("up", bytes(BIG + 1), "message_too_big", 0x97),
    "long": ("x" * 128, b"x", "topic_refused", 0x90),
    "deep": ("a/b/c/d/e", b"x", "topic_refused", 0x90),
    "long and in pieces": ("x" * 128, bytes(BIG), "topic_refused", 0x90)}


@LEVELS
@pytest.mark.parametrize("qos", [0, 1, 2])
@pytest.mark.parametrize("what", TOO_MUCH)
def test_too_much(cloud, strict, start, dial, level, qos, what):
    """QoS 0 is dropped; level 5 is told in the answer; others are closed."""
    name, payload, reason, code = TOO_MUCH[what]
    entry = strict()
    proxy = start(cloud, entry)
    device = dial(proxy)
    device.log_in(entry["label"], level)
    device.send(mqtt.publish(topic_of(entry, name), payload, qos, 3, level))
    if qos > 0 and level < 5:
        assert device.until_closed() == []
        assert proxy.wait_log("session_end")["reason"] == reason
        assert not payloads(cloud, entry)
        return
    if qos > 0:
        answer = device.expect((mqtt.PUBACK, mqtt.PUBREC)[qos - 1])
        assert answer.body[:3] == b"\0\3" + bytes([code])
    else:
        assert proxy.wait_log("message_dropped")["reason"] == reason
    device.ping()
    # and what comes next is carried
    device.publish(topic_of(entry), "next", 1, 4)
    assert payloads(cloud, entry) == ["next"]


@LEVELS
def test_just_not_too_much(cloud, strict, start, dial, level):
    entry = strict()
    device = dial(start(cloud, entry))
    device.log_in(entry["label"], level)
    long_name = "x" * (128 - len(topic_of(entry, "")))
    for name, payload in (("up", bytes(BIG)), (long_name, b""),
                          ("a/b/c/d", b"x")):
        device.publish(topic_of(entry, name), payload, 1)
    assert len(cloud.decisions("publish", entry)) == 3


@LEVELS
def test_filters_that_are_too_long(cloud, strict, start, dial, level):
    """They are refused as the level has it, the others are asked for."""
    entry = strict()
    proxy = start(cloud, entry)
    device = dial(proxy)
    device.log_in(entry["label"], level)
    names = "x" * 128, "good", "a/b/c/d/+"
    device.send(mqtt.subscribe(*(topic_of(entry, name) for name in names),
                               number=5, level=level))
    # 3.1 has no code for it (3.8)
    no = {3: 1, 4: 0x80, 5: 0x8F}[level]
    assert device.expect(mqtt.SUBACK).body[-3:] == bytes([no, 1, no])
    line = proxy.wait_log("filter_refused")
    assert line["reason"] == "topic_refused"
    device.send(mqtt.unsubscribe(*(topic_of(entry, name) for name in names),
                                 number=6, level=level))
    answer = device.expect(mqtt.UNSUBACK).body
    assert number_of(mqtt.Packet(mqtt.UNSUBACK, 0, answer)) == 6
    assert answer[2:] == (b"\0\x11\0\x11" if level == 5 else b"")
    for event in ("subscribe", "unsubscribe"):
        assert [line["filters"] for line in cloud.decisions(
            event, entry)] == [[topic_of(entry, "good")]]
    leave(cloud, entry, device)
    assert proxy.wait_log("session_end")["filters_refused"] == "2"


@LEVELS
def test_will_that_is_too_long(cloud, strict, start, dial, level):
    """is left out, whoever would have published it."""
    entry = strict()
    proxy = start(cloud, entry)
    device = dial(proxy)
    device.log_in(entry["label"], level, will=(
        topic_of(entry, "a/b/c/d/e"), "gone"))
    assert "slashes" in proxy.wait_log("will_lost")["detail"]
    device.close()
    cloud.wait("disconnect", entry)
    assert not payloads(cloud, entry)


# ---- contract = none ----

@pytest.fixture(name="server")
def fixture_server(certs):
    with Hostile(certs / "server.pem", certs / "server.key") as server:
        yield server


@LEVELS
@pytest.mark.parametrize("where", ["entry", "settings"])
def test_contract_none(cloud, start, dial, server, level, where):
    """Every packet passes as it is, both ways."""
    up = [mqtt.publish("a", "x", 2, 7, level, retain=True),
          mqtt.publish("a", "x", 2, 7, level, again=True), mqtt.pubrel(7),
          mqtt.publish("/".join("a" * 20) + "x" * 200, "x", 1, 8, level),
          mqtt.subscribe(*(f"f{at}" for at in range(20)), qos=2, number=9,
                         level=level),
          mqtt.publish("a", bytes(9000), 0, 0, level)] + [
              mqtt.publish("a", f"{at}", 1, at + 100, level)
              for at in range(200)]
    down = [mqtt.pubrec(7), mqtt.packet(0x70, b"\0\7"), mqtt.puback(8)]
    keys = {"contract": "none"} if where == "entry" else {}
    entry = cloud.device(port=server.port, **keys)

    def script(peer):
        peer.upgrade()
        connect = peer.packet()
        peer.message(b"\x20\2\0\0" if level < 5 else b"\x20\3\0\0\0")
        got = [peer.packet() for _ in up]
        peer.message(b"".join(down))
        peer.goodbye()
        return connect, got

    played = server.play(script)
    settings = {} if keys else {"contract": {"cloud": "none"}}
    device = dial(start(cloud, entry, **settings))
    device.log_in(entry["label"], level, will=("w", "gone", 2, True))
    device.send(*up)
    assert [device.packet().kind for _ in down] == [
        mqtt.PUBREC, mqtt.PUBCOMP, mqtt.PUBACK]
    device.close()
    connect, got = played.result(TIMEOUT)
    assert got == up
    # a will at QoS 2, retained, behind a name and a password
    flags = connect[connect.index(mqtt.NAMES[level].encode()) +
                    len(mqtt.NAMES[level]) + 1]
    assert flags & 0x3C == 0x34
    assert mqtt.text("w") + mqtt.text("gone") in connect


# ---- reloads ----

def test_reload_of_a_rate(cloud, strict, start, dial):
    """counts at once, for the session that runs."""
    entry = strict()
    proxy = start(cloud, entry)
    device = dial(proxy)
    device.log_in(entry["label"])
    for at in range(10):
        device.publish(topic_of(entry), f"{at}", 1)
    # what has passed counts too
    cloud.fault(entry, limits={"qos1_per_s": 2, "jitter_s": 0.2})
    proxy.set_devices([{**entry, "qos1_per_second": 2}])
    assert proxy.reload()["event"] == "reloaded"
    for at in range(6):
        device.publish(topic_of(entry), f"more {at}", 1)
    assert not proxy.logs("session_end")


def test_reload_of_what_is_told_at_the_login(cloud, strict, start, dial):
    """ends the session: it could not go on as it began."""
    entry = strict()
    proxy = start(cloud, {**entry, "contract": "none"})
    device = dial(proxy)
    device.log_in(entry["label"])
    proxy.set_devices([entry])
    assert proxy.reload()["event"] == "reloaded"
    assert device.until_closed() == []
    assert proxy.wait_log("session_end")["reason"] == "entry_changed"
    device = dial(proxy)
    device.log_in(entry["label"])
    device.send(twice(entry))
    device.expect(mqtt.PUBREC)


def test_reload_of_the_highest_qos(cloud, strict, start, dial):
    """alone."""
    entry = strict()
    proxy = start(cloud, {**entry, "qos_max": 2})
    device = dial(proxy)
    device.log_in(entry["label"])
    proxy.set_devices([entry])
    assert proxy.reload()["event"] == "reloaded"
    assert device.until_closed() == []
    assert proxy.wait_log("session_end")["reason"] == "entry_changed"
    device = dial(proxy)
    device.log_in(entry["label"])
    device.send(twice(entry))
    device.expect(mqtt.PUBREC)
