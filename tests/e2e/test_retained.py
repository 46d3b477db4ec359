"""Retained messages that the cloud does not take, kept in the proxy for later
SUBSCRIBEs of the same entry. The cloud is strict: nothing with RETAIN goes
up."""

import struct

import pytest

import mqtt_raw as mqtt
from cloud_process import topic_of

LEVELS = pytest.mark.parametrize("level", [3, 4, 5])
OWN = "/${pk}/${dn}/user/"
EXPIRY, PACKET_MAX, TOPIC_ALIAS = 0x02, 0x27, 0x23
NO_LOCAL, IF_NEW, NEVER = 0x04, 0x10, 0x20     # options of a filter


@pytest.fixture(name="stores")
def fixture_stores(cloud):
    """stores(**keys): an entry that does, for devices of any level."""
    def device(**keys):
        entry = cloud.device(**{"retain": "store", "retain_5": "no", **keys})
        cloud.fault(entry, strict=True)
        return entry

    return device


def come(dial, proxy, entry, level=4, **options):
    device = dial(proxy)
    device.log_in(entry["label"], level, **options)
    return device


def retain(device, topic, payload, qos=1, number=1, properties=b""):
    device.send(mqtt.publish(topic, payload, qos, number, device.level,
                             properties, retain=True))
    if qos:
        device.expect(mqtt.PUBACK if qos == 1 else mqtt.PUBREC)
    if qos == 2:
        device.send(mqtt.pubrel(number))
        device.expect(mqtt.PUBCOMP)


def told(device):
    """The next packet, which is a retained message."""
    packet = device.expect(mqtt.PUBLISH)
    assert packet.flags == 1, "retained, at QoS 0"
    return device.take_publish(packet)


def told_all(device, count):
    found = {}
    for _ in range(count):
        message = told(device)
        found[message.topic] = message.payload
    return found


def is_told_nothing(device):
    device.ping()


@LEVELS
@pytest.mark.parametrize("qos", [0, 1, 2])
def test_another_session(cloud, stores, start, dial, level, qos):
    entry = stores()
    topic = topic_of(entry)
    proxy = start(cloud, entry)
    device = come(dial, proxy, entry, level)
    retain(device, topic, "old", qos)
    retain(device, topic, "new", qos, 2)
    retain(device, topic_of(entry, "b"), "other", qos, 3)
    cloud.wait("publish", entry, count=3)
    device.send(mqtt.DISCONNECT)
    device.until_closed()
    for _ in range(2):
        later = come(dial, proxy, entry, level)
        later.subscribe(topic)
        message = told(later)
        assert (message.topic, message.payload) == (topic, b"new")
        is_told_nothing(later)
        later.subscribe(topic_of(entry, "#"), number=2)
        assert told_all(later, 2) == {
            topic: b"new", topic_of(entry, "b"): b"other"}
        is_told_nothing(later)
    end = proxy.wait_log("session_end", retained_sent="3")
    assert end["retained"] == "2" and end["retained_dropped"] == "0"
    assert not any(line["retain"]
                   for line in cloud.decisions("publish", entry))


@LEVELS
def test_taken_back(cloud, stores, start, dial, level):
    """By an empty message; and by one that is too big to be kept: what was
    before it is not true any more."""
    entry = stores()
    proxy = start(cloud, entry)
    device = come(dial, proxy, entry, level)
    topics = [topic_of(entry, name) for name in "abc"]
    for topic in topics:
        retain(device, topic, "kept")
    retain(device, topics[0], "")
    retain(device, topics[1], bytes(100000))
    device.subscribe(topic_of(entry, "+"))
    assert told_all(device, 1) == {topics[2]: b"kept"}
    is_told_nothing(device)
    assert proxy.wait_log("retained_dropped")["kept"] == "1"


def test_live_messages_are_not_retained(cloud, stores, start, dial):
    """A subscription that is there gets a message from the cloud, once."""
    entry = stores()
    device = come(dial, start(cloud, entry), entry)
    device.subscribe(topic_of(entry))
    device.send(mqtt.publish(topic_of(entry), "x", retain=True))
    packet = device.expect(mqtt.PUBLISH)
    assert packet.flags == 0
    is_told_nothing(device)


@LEVELS
def test_many_filters(cloud, stores, start, dial, level):
    """They go up in parts, and have one SUBACK."""
    entry = stores()
    device = come(dial, start(cloud, entry), entry, level)
    topics = [topic_of(entry, f"t{at}") for at in range(20)]
    for topic in topics[0], topics[9], topics[19]:
        retain(device, topic, "x")
    device.subscribe(*topics)
    assert set(told_all(device, 3)) == {topics[0], topics[9], topics[19]}
    is_told_nothing(device)


@LEVELS
def test_refused_filter(cloud, stores, start, dial, level):
    """For it is one too many for the cloud."""
    entry = stores()
    device = come(dial, start(cloud, entry), entry, level)
    retain(device, topic_of(entry), "x")
    device.subscribe(*(topic_of(entry, f"t{at}") for at in range(99)))
    device.send(mqtt.subscribe(topic_of(entry, "t99"), topic_of(entry),
                               number=2, level=level))
    granted, refused = device.expect(mqtt.SUBACK).body[-2:]
    assert granted < 0x80 <= refused
    is_told_nothing(device)


@LEVELS
def test_mapped_topics(cloud, stores, start, dial, level):
    """Kept and told as the device has them."""
    entry = stores(**{"topic.1.lan": "plant/+/state",
                      "topic.1.cloud": OWN + "state/$1"})
    proxy = start(cloud, entry)
    device = come(dial, proxy, entry, level)
    retain(device, "plant/7/state", "on")
    line = cloud.wait("publish", entry)
    assert (line["topic"], line["retain"]) == (topic_of(entry, "state/7"),
                                               False)
    later = come(dial, proxy, entry, level)
    later.subscribe("plant/#")
    assert told_all(later, 1) == {"plant/7/state": b"on"}
    is_told_nothing(later)


def test_removed_device(cloud, stores, start, dial):
    """leaves nothing behind, also when its session ends by that."""
    entry, other = stores(), stores()
    proxy = start(cloud, entry, other)
    device = come(dial, proxy, entry)
    retain(device, topic_of(entry), "old")
    proxy.set_devices([other])
    proxy.reload()
    device.until_closed()
    proxy.wait_log("session_end", reason="entry_removed")
    proxy.set_devices([entry, other])
    proxy.reload()
    again = come(dial, proxy, entry)
    again.subscribe(topic_of(entry))
    is_told_nothing(again)


def test_reload(cloud, stores, start, dial):
    """That switches it off empties the store, of who is there and of who is
    not."""
    entries = [stores(), stores()]
    proxy = start(cloud, *entries)
    for entry in entries:
        device = come(dial, proxy, entry)
        retain(device, topic_of(entry), "x")
    device.subscribe(topic_of(entries[1]))
    told(device)
    gone = come(dial, proxy, entries[0])
    gone.send(mqtt.DISCONNECT)
    gone.until_closed()
    for word in "clear", "store":
        proxy.set_devices([{**entry, "retain": word} for entry in entries])
        assert proxy.reload()["event"] == "reloaded"
    device.subscribe(topic_of(entries[1]), number=2)
    is_told_nothing(device)
    retain(device, topic_of(entries[1]), "", 0)
    again = come(dial, proxy, entries[0])
    again.subscribe(topic_of(entries[0]))
    is_told_nothing(again)
    assert [len(cloud.decisions("login", entry)) for entry in entries] == [
        3, 1]


@LEVELS
@pytest.mark.parametrize("rules", [
    {}, {"topic.1.lan": "state", "topic.1.cloud": OWN + "up"}])
def test_will(cloud, stores, start, dial, level, rules):
    """What says that a device is gone is retained too."""
    entry = stores(will_5="no", **rules)
    topic = "state" if rules else topic_of(entry)
    proxy = start(cloud, entry)
    device = come(dial, proxy, entry, level, will=(topic, "gone", 1, True))
    retain(device, topic, "here")
    device.subscribe(topic)
    assert told(device).payload == b"here"
    device.reset()
    proxy.wait_log("will_sent")
    later = come(dial, proxy, entry, level)
    later.subscribe(topic)
    assert told(later).payload == b"gone"
    is_told_nothing(later)


# ---- level 5 ----

def test_options(cloud, stores, start, dial):
    entry = stores()
    topic = topic_of(entry)
    device = come(dial, start(cloud, entry), entry, 5)
    retain(device, topic, "x")
    for number, (options, is_told) in enumerate([
            (1 | NEVER, False), (1 | IF_NEW, False), (1, True),
            (1 | NO_LOCAL, False), (1, True)], 1):
        device.subscribe(topic, qos=options, number=number)
        if is_told:
            told(device)
        is_told_nothing(device)
    device.send(mqtt.unsubscribe(topic, number=9, level=5))
    device.expect(mqtt.UNSUBACK)
    device.subscribe(topic, qos=1 | IF_NEW, number=10)
    told(device)


def test_shared(cloud, stores, start, dial):
    entry = stores()
    device = come(dial, start(cloud, entry), entry, 5)
    retain(device, topic_of(entry), "x")
    cloud.fault(entry, strict=False)
    device.send(mqtt.subscribe(f"$share/g/{topic_of(entry)}", level=5))
    device.expect(mqtt.SUBACK)
    is_told_nothing(device)


def test_properties(cloud, stores, start, dial):
    """Those of the message stay; its expiry runs on; the topic alias was the
    publisher's; the identifier is the subscriber's."""
    entry = stores()
    topic = topic_of(entry)
    proxy = start(cloud, entry)
    device = come(dial, proxy, entry, 5)
    pair = mqtt.user_property("unit", "bar")
    retain(device, topic, "1.5", properties=pair
           + struct.pack("!BI", EXPIRY, 1000))
    retain(device, topic_of(entry, "soon"), "x", number=2,
           properties=struct.pack("!BI", EXPIRY, 0))
    later = come(dial, proxy, entry, 5, properties=struct.pack(
        "!BI", PACKET_MAX, 200))
    retain(later, topic_of(entry, "big"), bytes(200))
    later.send(mqtt.subscribe(topic_of(entry, "#"), level=5,
                              properties=bytes([0x0B, 77])))
    later.expect(mqtt.SUBACK)
    message = told(later)
    assert message.topic == topic
    assert 0 < message.properties.pop(EXPIRY) <= 1000
    assert message.properties == {
        mqtt.USER_PROPERTY: [("unit", "bar")],
        mqtt.SUBSCRIPTION_IDENTIFIER: [77]}
    is_told_nothing(later)
    legacy = come(dial, proxy, entry, 3)
    legacy.subscribe(topic_of(entry, "+"))
    assert set(told_all(legacy, 2)) == {topic, topic_of(entry, "big")}


def test_what_the_cloud_keeps(cloud, stores, start, dial):
    """is not kept here, and what was is not true any more."""
    entry = stores(retain_5="yes")
    proxy = start(cloud, entry)
    device = come(dial, proxy, entry, 4)
    retain(device, topic_of(entry, "a"), "of level 4")
    retain(device, topic_of(entry, "b"), "of level 4")
    device = come(dial, proxy, entry, 5)
    retain(device, topic_of(entry, "a"), "of level 5")
    device = come(dial, proxy, entry, 4)
    device.subscribe(topic_of(entry, "b"))
    told(device)
    device = come(dial, proxy, entry, 5)
    device.send(mqtt.DISCONNECT)
    device.until_closed()
    assert proxy.wait_log("session_end", count=4)["retained"] == "1"
