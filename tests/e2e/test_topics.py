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
