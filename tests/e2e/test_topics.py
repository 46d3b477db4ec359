"""Rules that map the topics of a device to those of the cloud, and back."""

import pytest

import mqtt_raw as mqtt
from cloud_process import topic_of

OWN = "/${pk}/${dn}/user/"
RULES = {
    "topic.1.lan": "plant/+/state",
    "topic.1.cloud": OWN + "state/$1",
    "topic.1.escape": "yes",
    "topic.2.lan": "plant/${label}/set/#",
    "topic.2.cloud": OWN + "set/$#",
    "topic.2.way": "down",
}


@pytest.fixture(name="hears")
def fixture_hears(cloud, listen):
    """What arrives at the cloud for a device."""
    return lambda entry: listen(
        cloud, f"/{entry['product_key']}/{entry['device_name']}/#")


@pytest.fixture(name="says")
def fixture_says(cloud, dial):
    device = dial(cloud)
    device.log_in("says")
    return device


@pytest.mark.parametrize("level", [3, 4, 5])
def test_both_ways(cloud, start, dial, hears, says, level):
    entry = cloud.device(**RULES)
    cloud.fault(entry, strict=True)
    proxy = start(cloud, entry)
    heard = hears(entry)
    device = dial(proxy)
    device.log_in(entry["label"], level)
    device.publish("plant/a-b/state", b"up", qos=1)
    message = heard.receive()
    assert message.topic == topic_of(entry, "state/a_2Db")
    assert message.payload == b"up"
    device.subscribe(f"plant/{entry['label']}/set/#", qos=1)
    says.publish(topic_of(entry, "set/temp/high"), b"21", qos=1)
    message = device.receive()
    assert message.topic == f"plant/{entry['label']}/set/temp/high"
    assert message.payload == b"21"


def test_a_big_message(cloud, start, dial, hears, says):
    """Only its head is another, its payload travels in pieces."""
    entry = cloud.device(**RULES)
    proxy = start(cloud, entry, limits={"session_buffer": "64K"})
    heard = hears(entry)
    device = dial(proxy)
    device.log_in(entry["label"])
    payload = bytes(range(256)) * 600
    device.publish("plant/7/state", payload, qos=1)
    message = heard.receive()
    assert (message.topic, message.payload) == (
        topic_of(entry, "state/7"), payload)
    device.subscribe("plant/+/state", qos=1)
    says.publish(topic_of(entry, "state/7"), payload, qos=1)
    message = device.receive()
    assert (message.topic, message.payload) == ("plant/7/state", payload)


def test_dropped(cloud, start, dial, hears):
    """A message that no rule maps does not arrive, and is not acknowledged
    as if it had."""
    entry = cloud.device(**RULES, topic_unmapped="drop")
    proxy = start(cloud, entry)
    heard = hears(entry)
    device = dial(proxy)
    device.log_in(entry["label"], 5)
    device.send(mqtt.publish("other", b"x", 1, 7, 5))
    answer = device.packet()
    assert (answer.kind, answer.body[:3]) == (mqtt.PUBACK, b"\x00\x07\x90")
    device.publish("plant/7/state", b"y", qos=1)
    assert heard.receive().payload == b"y"


def test_a_reload_ends_the_session(cloud, start, dial):
    """What it has subscribed to would be wrong."""
    entry, other = cloud.device(**RULES), cloud.device(**RULES)
    proxy = start(cloud, entry, other)
    device, bystander = dial(proxy), dial(proxy)
    device.log_in(entry["label"])
    bystander.log_in(other["label"])
    proxy.set_devices([{**entry, "topic.1.lan": "plant/+/now"}, other])
    assert proxy.reload()["event"] == "reloaded"
    assert device.until_closed() == []
    end = proxy.wait_log("session_end")
    assert (end["label"], end["reason"]) == (entry["label"], "entry_changed")
    bystander.publish("plant/7/state", b"x", qos=1)
    assert len(cloud.decisions("login", other)) == 1


# two filters of the device that are one of the cloud
PAIR = {"topic.1.lan": "dev/set/+", "topic.1.cloud": OWN + "set_$1",
        "topic.2.lan": "dev/get/+", "topic.2.cloud": OWN + "get_$1"}


@pytest.mark.parametrize("level", [3, 4, 5])
def test_unsubscribed_from_one_of_two(cloud, start, dial, says, level):
    """The other still gets its messages, until it is taken back as well."""
    entry = cloud.device(**PAIR)
    cloud.fault(entry, strict=True)
    device = dial(start(cloud, entry))
    device.log_in(entry["label"], level)
    device.subscribe("dev/set/+", "dev/get/+")

    def unsubscribe(*filters):
        device.send(mqtt.unsubscribe(*filters, number=9, level=level))
        answer = device.expect(mqtt.UNSUBACK)
        assert answer.body == b"\0\x09" + (
            b"\0" + bytes(len(filters)) if level == 5 else b"")

    unsubscribe("dev/get/+")
    for name in ("get_1", "set_1", "get_2", "set_2"):
        says.publish(topic_of(entry, name), name, qos=1)
    for name in ("set_1", "set_2"):
        message = device.receive()
        assert (message.topic, message.payload) == (
            f"dev/set/{name[-1]}", name.encode())
    unsubscribe("dev/set/+")
    says.publish(topic_of(entry, "set_3"), "unheard", qos=1)
    device.ping()
    assert [line["filters"] for line in cloud.decisions(
        "unsubscribe", entry)] == [[topic_of(entry, "+")]]


def test_every_topic(cloud, start, dial, hears, says):
    """'#' alone is a rule's topic, not a comment."""
    entry = cloud.device(**{
        "topic.1.lan": "#", "topic.1.cloud": OWN + "$#",
        "topic.1.escape": "yes", "topic.2.lan": "/Living Room;1/+/°C",
        "topic.2.cloud": OWN + "room_$1"})
    cloud.fault(entry, strict=True)
    proxy = start(cloud, entry)
    heard = hears(entry)
    device = dial(proxy)
    device.log_in(entry["label"])
    device.subscribe("#")
    for lan, name in (("a", "a"), ("a-b/°", "a_2Db/_C2_B0"),
                      ("/Living Room;1/x/°C", "room_x")):
        device.send(mqtt.publish(lan, lan, 1))
        assert heard.receive().topic == topic_of(entry, name)
        answers = {packet.kind: packet
                   for packet in (device.packet(), device.packet())}
        assert device.take_publish(answers[mqtt.PUBLISH]).topic == lan
        assert mqtt.PUBACK in answers


def test_larger_than_the_device_takes(cloud, start, dial, says):
    """With its topic of the LAN, that is; the next one is not."""
    entry = cloud.device(**{"topic.1.lan": "x" * 100 + "/+",
                            "topic.1.cloud": OWN + "$1"})
    proxy = start(cloud, entry)
    device = dial(proxy)
    device.log_in(entry["label"], 5,
                  properties=b"\x27" + (150).to_bytes(4, "big"))
    device.subscribe("x" * 100 + "/+")
    says.publish(topic_of(entry, "a"), "y" * 50, qos=1)
    says.publish(topic_of(entry, "b"), "y" * 20, qos=1)
    assert device.receive().topic == "x" * 100 + "/b"
    assert proxy.wait_log("message_dropped")["reason"] == "packet_too_big"
    device.close()
    assert proxy.wait_log("session_end")["down_dropped"] == "1"
