"""What MQTT 5.0 adds: passed on unchanged, but for what the cloud says
about itself."""

import queue

import paho.mqtt.client as paho
import pytest
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

import mqtt_raw as mqtt
from cloud_process import topic_of
from proxy import TIMEOUT


def properties_of(kind, **values):
    properties = Properties(kind)
    for name, value in values.items():
        setattr(properties, name, value)
    return properties


def test_publish_properties(cloud, start, listen):
    """A Paho device and an application with all that PUBLISH can hold, there
    and back."""
    entry = cloud.device()
    app = listen(cloud, topic_of(entry), level=5)
    proxy = start(cloud, entry)
    arrived, subscribed = queue.Queue(), queue.Queue()
    device = paho.Client(entry["label"], protocol=paho.MQTTv5)
    device.on_message = lambda _c, _u, message: arrived.put(message)
    device.on_subscribe = lambda *_: subscribed.put(True)
    device.connect("127.0.0.1", proxy.port, properties=properties_of(
        PacketTypes.CONNECT, UserProperty=[("site", "Ost")],
        SessionExpiryInterval=60))
    device.loop_start()
    try:
        device.subscribe(topic_of(entry, "get"), qos=1)
        subscribed.get(timeout=TIMEOUT)
        device.publish(
            topic_of(entry), "21.5", qos=1, properties=properties_of(
                PacketTypes.PUBLISH, UserProperty=[("a", "1"), ("a", "2")],
                ContentType="text/plain", ResponseTopic=topic_of(entry),
                CorrelationData=b"\0\xff", MessageExpiryInterval=100,
                PayloadFormatIndicator=1)).wait_for_publish(TIMEOUT)
        message = app.receive()
        assert message.payload == b"21.5"
        assert message.properties[mqtt.USER_PROPERTY] == [
            ("a", "1"), ("a", "2")]
        assert message.properties[0x03] == b"text/plain"
        assert message.properties[0x08] == topic_of(entry).encode()
        assert message.properties[0x09] == b"\0\xff"
        assert message.properties[0x01] == 1

        app.publish(topic_of(entry, "get"), "on", qos=1,
                    properties=mqtt.user_property("b", "3"))
        message = arrived.get(timeout=TIMEOUT)
        assert message.payload == b"on"
        assert message.properties.UserProperty == [("b", "3")]
    finally:
        device.disconnect()
        device.loop_stop()


def test_topic_alias(cloud, start, dial, listen):
    entry = cloud.device()
    app = listen(cloud, topic_of(entry))
    device = dial(start(cloud, entry))
    device.log_in(entry["label"], 5)
    alias = b"\x23\0\1"
    device.publish(topic_of(entry), "one", properties=alias)
    device.publish("", "two", properties=alias)
    assert app.receive().payload == b"one"
    assert app.receive().payload == b"two"


def test_session_expiry(cloud, start, dial):
    """reaches the cloud: the session, and what came for it, is there."""
    entry = cloud.device()
    proxy = start(cloud, entry)
    options = {"level": 5, "properties": mqtt.session_expiry(60)}
    device = dial(proxy)
    assert not device.log_in(entry["label"], **options).session_present
    device.subscribe(topic_of(entry))
    device.send(mqtt.DISCONNECT)
    device.until_closed()
    cloud.wait("disconnect", entry)
    app = dial(cloud)
    app.log_in("app")
    app.publish(topic_of(entry), "meanwhile", qos=1)
    device = dial(proxy)
    assert device.log_in(entry["label"], clean=False,
                         **options).session_present
    assert device.receive().payload == b"meanwhile"


def test_what_the_cloud_says_about_itself(cloud, start, dial):
    """stays at the proxy."""
    entry = cloud.device()
    cloud.fault(entry, connack_properties={
        "assigned_client_id": "signed-id", "server_keep_alive": 40,
        "server_reference": "elsewhere:1883"})
    device = dial(start(cloud, entry))
    answer = device.log_in(entry["label"], 5)
    assert mqtt.ASSIGNED_CLIENT_ID not in answer.properties
    assert mqtt.SERVER_KEEP_ALIVE not in answer.properties
    assert mqtt.SERVER_REFERENCE not in answer.properties
    # and what it says about what it can do is passed on: Maximum QoS
    assert answer.properties[0x24] == 1


def test_server_keep_alive_is_kept(cloud, start, dial):
    """by the proxy, which pings as often as the cloud asks."""
    entry = cloud.device()
    cloud.fault(entry, connack_properties={"server_keep_alive": 1})
    device = dial(start(cloud, entry))
    device.log_in(entry["label"], 5)
    cloud.wait("ping", entry)


@pytest.mark.parametrize("properties", [
    {}, {"assigned_client_id": "signed-id"}], ids=["none", "one"])
def test_empty_client_id(cloud, start, dial, properties):
    """gets the label as its assigned one (MQTT-3.2.2-16), whatever the
    cloud says."""
    entry = cloud.device(match_address="127.0.0.5")
    cloud.fault(entry, connack_properties=properties)
    device = dial(start(cloud, entry), source="127.0.0.5")
    answer = device.log_in("", 5)
    assert answer.properties[mqtt.ASSIGNED_CLIENT_ID] == (
        entry["label"].encode())


@pytest.mark.parametrize("leaves, expected", [
    (lambda device: device.reset(), True),
    (lambda device: device.close(), True),
    (lambda device: device.send(mqtt.packet(0xE0, b"\4\0")), True),
    (lambda device: device.send(mqtt.DISCONNECT), False)],
    ids=["reset", "close", "DISCONNECT with will", "DISCONNECT"])
def test_will(cloud, start, dial, listen, leaves, expected):
    """is published when, and only when, the device would have it so."""
    entry = cloud.device()
    app = listen(cloud, topic_of(entry, "will"), topic_of(entry))
    device = dial(start(cloud, entry))
    device.log_in(entry["label"], 5, will=(topic_of(entry, "will"), "gone"))
    device.publish(topic_of(entry), "x", qos=1)
    assert app.receive().payload == b"x"
    leaves(device)
    cloud.wait("disconnect", entry)
    other = dial(cloud)
    other.log_in("other")
    other.publish(topic_of(entry), "last", qos=1)
    arrived = [app.receive().payload]
    if arrived == [b"gone"]:
        arrived.append(app.receive().payload)
    assert arrived == ([b"gone"] if expected else []) + [b"last"]


def test_disconnect_of_the_cloud(cloud, start, dial):
    entry = cloud.device()
    device = dial(start(cloud, entry))
    device.log_in(entry["label"], 5)
    cloud.order("drop", entry, reason_code=0x97)
    assert [packet.body[0] for packet in device.until_closed()] == [0x97]
