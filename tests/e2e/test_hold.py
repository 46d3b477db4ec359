"""A device whose link is lost is held, and does not notice: real devices, a
real proxy, and a cloud that lets links drop."""

import pytest

import mqtt_raw as mqtt
from cloud_process import topic_of

LEVELS = pytest.mark.parametrize("level", [3, 4, 5])
# a link that is lost is dialled at once, however often
SWIFT = {"network_first": "50ms", "network_max": "200ms",
         "kicked_first": "50ms", "kicked_max": "200ms", "per_second": 1000}
DROPS = pytest.mark.parametrize("how", ["close", "fin", "abort"])


def lose_link(cloud, proxy, entry, how="abort"):
    since = proxy.mark()
    cloud.order("drop", entry, how=how)
    proxy.wait_log("device_held", since=since)
    return since


def payloads(cloud, entry):
    return [line["payload"] for line in cloud.decisions("publish", entry)]


@LEVELS
@DROPS
def test_a_lost_link(cloud, start, dial, listen, level, how):
    """Messages both ways go on, and the device is asked for nothing."""
    entry = cloud.device()
    proxy = start(cloud, entry, dial=SWIFT)
    app = listen(cloud, topic_of(entry))
    device = dial(proxy)
    device.log_in(entry["label"], level)
    device.subscribe(topic_of(entry, "down"))
    device.publish(topic_of(entry), "before", qos=1)
    since = lose_link(cloud, proxy, entry, how)
    device.ping()
    device.publish(topic_of(entry), "behind", qos=1, number=2)
    resumed = proxy.wait_log("device_resumed", since=since)
    assert resumed["session_present"] == "no"
    assert [app.receive().payload for _ in range(2)] == [b"before", b"behind"]
    cloud.wait("subscribe", entry, count=2)
    app.publish(topic_of(entry, "down"), "answer", qos=1)
    assert device.receive().payload == b"answer"
    assert len(cloud.decisions("login", entry)) == 2
    assert not proxy.logs("session_end")


@LEVELS
def test_what_waits_for_its_acknowledgement(cloud, start, dial, level):
    """is sent again, in its order, with DUP, and acknowledged once."""
    entry = cloud.device()
    proxy = start(cloud, entry, dial=SWIFT)
    device = dial(proxy)
    device.log_in(entry["label"], level)
    cloud.fault(entry, answer_publishes=False)
    device.send(*(mqtt.publish(topic_of(entry), f"{at}", at % 2 + 1, at, level)
                  for at in range(1, 6)))
    cloud.wait("publish", entry, count=5)
    cloud.fault(entry, answer_publishes=True)
    lose_link(cloud, proxy, entry)
    kinds = {mqtt.PUBACK: [], mqtt.PUBREC: []}
    for _ in range(5):
        answer = device.packet()
        kinds[answer.kind].append(int.from_bytes(answer.body[:2], "big"))
    assert kinds == {mqtt.PUBACK: [2, 4], mqtt.PUBREC: [1, 3, 5]}
    assert payloads(cloud, entry) == list("12345") * 2
    again = cloud.decisions("publish", entry)[5:]
    assert all(line["duplicate"] for line in again)
    for at in kinds[mqtt.PUBREC]:
        device.send(mqtt.pubrel(at))
        device.expect(mqtt.PUBCOMP)


def test_while_nothing_listens(cloud, start, dial, listen):
    """What a device sends meanwhile comes when the cloud is back."""
    entry = cloud.device()
    proxy = start(cloud, entry, dial=SWIFT)
    app = listen(cloud, topic_of(entry))
    device = dial(proxy)
    device.log_in(entry["label"])
    cloud.fault(entry, refuse=3)
    lose_link(cloud, proxy, entry)
    cloud.wait("login", entry, accepted=False)
    device.send(mqtt.publish(topic_of(entry), "zero"),
                mqtt.publish(topic_of(entry), "one", 1, 1),
                mqtt.publish(topic_of(entry), "two", 1, 2),
                mqtt.subscribe(topic_of(entry, "down"), number=9))
    device.ping()
    cloud.fault(entry, refuse=0)
    answers = [device.packet() for _ in range(3)]
    assert {packet.kind for packet in answers} == {mqtt.PUBACK, mqtt.SUBACK}
    assert sorted(app.receive().payload for _ in range(3)) == [
        b"one", b"two", b"zero"]


@pytest.mark.parametrize("level, told", [(3, []), (4, []), (5, [0x89])])
def test_the_time_is_over(cloud, start, dial, level, told):
    entry = cloud.device(hold_time="2s")
    proxy = start(cloud, entry, dial=SWIFT)
    device = dial(proxy)
    device.log_in(entry["label"], level)
    cloud.fault(entry, refuse=3 if level < 5 else 0x88)
    lose_link(cloud, proxy, entry)
    assert [packet.body[0] for packet in device.until_closed()] == told
    assert proxy.wait_log("session_end")["reason"] == "hold_over"


@LEVELS
def test_a_refused_login(cloud, start, dial, level):
    """is no outage: the device is closed at once."""
    entry = cloud.device()
    proxy = start(cloud, entry, dial=SWIFT)
    device = dial(proxy)
    device.log_in(entry["label"], level)
    cloud.fault(entry, refuse=4 if level < 5 else 0x86)
    lose_link(cloud, proxy, entry)
    device.until_closed()
    assert proxy.wait_log("session_end")["reason"] == "login_refused"


@LEVELS
def test_a_message_the_device_has(cloud, start, dial, level):
    """and has not acknowledged when the link is lost is not told twice."""
    entry = cloud.device()
    proxy = start(cloud, entry, dial=SWIFT)
    app = dial(cloud)
    app.log_in("app")
    device = dial(proxy)
    kept = {"clean": False}
    if level == 5:
        kept["properties"] = mqtt.session_expiry(300)
    device.log_in(entry["label"], level, **kept)
    device.subscribe(topic_of(entry, "down"))
    app.publish(topic_of(entry, "down"), "first", qos=1)
    first = device.receive(ack=False)
    since = lose_link(cloud, proxy, entry)
    proxy.wait_log("device_resumed", since=since)
    app.publish(topic_of(entry, "down"), "second", qos=1)
    second = device.receive(ack=False)
    assert second.payload == b"second"
    assert second.number != first.number
    device.send(mqtt.puback(first.number), mqtt.puback(second.number))
    device.publish(topic_of(entry), "behind them", qos=1)
    # the cloud knows: over a third link nothing comes again
    since = lose_link(cloud, proxy, entry)
    proxy.wait_log("device_resumed", since=since)
    app.publish(topic_of(entry, "down"), "third", qos=1)
    assert device.receive().payload == b"third"


def test_a_device_that_comes_again(cloud, start, dial, listen):
    """meanwhile takes over what is held of it."""
    entry = cloud.device()
    proxy = start(cloud, entry, dial=SWIFT)
    app = listen(cloud, topic_of(entry))
    device = dial(proxy)
    device.log_in(entry["label"], clean=False)
    device.subscribe(topic_of(entry, "down"))
    cloud.fault(entry, refuse=3)
    since = lose_link(cloud, proxy, entry)
    device.send(mqtt.publish(topic_of(entry), "kept", 1, 1))
    device.ping()
    device.close()
    again = dial(proxy)
    answer = again.log_in(entry["label"], clean=False)
    assert answer.session_present
    again.send(mqtt.publish(topic_of(entry), "kept", 1, 1, again=True),
               mqtt.publish(topic_of(entry), "more", 1, 2))
    again.ping()
    cloud.fault(entry, refuse=0)
    proxy.wait_log("device_resumed", since=since)
    again.expect(mqtt.PUBACK)
    again.expect(mqtt.PUBACK)
    assert [app.receive().payload for _ in range(2)] == [b"kept", b"more"]
    app.publish(topic_of(entry, "down"), "answer", qos=1)
    assert again.receive().payload == b"answer"
    assert payloads(cloud, entry) == ["kept", "more"]


def test_a_device_that_leaves(cloud, start, dial, listen):
    """meanwhile: what it sent before is delivered."""
    entry = cloud.device()
    proxy = start(cloud, entry, dial=SWIFT)
    app = listen(cloud, topic_of(entry))
    device = dial(proxy)
    device.log_in(entry["label"])
    cloud.fault(entry, refuse=3)
    lose_link(cloud, proxy, entry)
    device.send(mqtt.publish(topic_of(entry), "one", 1, 1),
                mqtt.publish(topic_of(entry), "zero"), mqtt.DISCONNECT)
    device.socket.shutdown(1)
    cloud.wait("login", entry, accepted=False, count=2)
    cloud.fault(entry, refuse=0)
    assert sorted(app.receive().payload for _ in range(2)) == [b"one", b"zero"]
    assert proxy.wait_log("session_end")["reason"] == "device_left"
    assert cloud.wait("disconnect", entry, count=2)["clean"]


def test_a_device_that_is_lost(cloud, start, dial, listen):
    """meanwhile: its messages come, then its will."""
    entry = cloud.device()
    proxy = start(cloud, entry, dial=SWIFT)
    app = listen(cloud, topic_of(entry))
    device = dial(proxy)
    device.log_in(entry["label"], will=(topic_of(entry), "lost", 1))
    cloud.fault(entry, refuse=3)
    lose_link(cloud, proxy, entry)
    device.send(mqtt.publish(topic_of(entry), "one", 1, 1))
    device.ping()
    device.close()
    cloud.wait("login", entry, accepted=False, count=2)
    cloud.fault(entry, refuse=0)
    assert [app.receive().payload for _ in range(2)] == [b"one", b"lost"]
    assert proxy.wait_log("session_end")["reason"] == "device_closed"


def test_a_changed_secret(cloud, start, dial):
    """is a new login, behind the device's back."""
    entry = cloud.device(keep_alive="60s")
    proxy = start(cloud, entry, dial=SWIFT)
    device = dial(proxy)
    device.log_in(entry["label"])
    since = proxy.mark()
    proxy.set_devices([{**entry, "keep_alive": "90s"}])
    proxy.reload()
    proxy.wait_log("device_resumed", since=since)
    device.publish(topic_of(entry), "x", qos=1)
    assert [line["keep_alive"] for line in cloud.decisions("login", entry)
            ] == [60, 90]
