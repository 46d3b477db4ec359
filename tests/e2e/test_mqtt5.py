"""What MQTT 5.0 adds: passed on unchanged, but for what the cloud says
about itself."""

import queue
import struct

import paho.mqtt.client as paho
import pytest
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

import mqtt_raw as mqtt
from cloud_process import topic_of
from hostile import Hostile
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


@pytest.mark.parametrize("contract, told", [("aliyun", False),
                                            ("none", True)])
def test_what_the_cloud_says_about_itself(cloud, start, dial, contract, told):
    """stays at the proxy."""
    entry = cloud.device(contract=contract, on_link_loss="close")
    cloud.fault(entry, connack_properties={
        "assigned_client_id": "signed-id", "server_keep_alive": 40,
        "server_reference": "elsewhere:1883"})
    device = dial(start(cloud, entry))
    answer = device.log_in(entry["label"], 5)
    assert mqtt.ASSIGNED_CLIENT_ID not in answer.properties
    assert mqtt.SERVER_KEEP_ALIVE not in answer.properties
    assert mqtt.SERVER_REFERENCE not in answer.properties
    # and what it says about what it can do is passed on, but where the proxy
    # stands in for it: Maximum QoS, Topic Alias Maximum
    assert (0x24 in answer.properties) == told
    assert (0x22 in answer.properties) == told


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


# With a cloud that is this test, to see each byte

@pytest.fixture
def server(certs):
    with Hostile(certs / "server.pem", certs / "server.key") as server:
        yield server


# Session Expiry Interval, Receive Maximum, Maximum Packet Size, Topic Alias
# Maximum, Request Response Information, Request Problem Information
CONNECT_PROPERTIES = (
    b"\x11\0\0\x0e\x10" b"\x21\0\x14" b"\x27\0\1\0\0" b"\x22\0\x0a"
    b"\x19\1" b"\x17\0" + mqtt.user_property("a", "1")
    + mqtt.user_property("a", "1") + mqtt.user_property("", ""))
# Will Delay Interval, Payload Format Indicator, Message Expiry Interval,
# Content Type, Response Topic, Correlation Data
WILL_PROPERTIES = (
    b"\x18\0\0\0\5" b"\1\1" b"\2\0\0\0\x3c"
    + mqtt.text_property(0x03, "text/plain") + mqtt.text_property(0x08, "r/t")
    + mqtt.text_property(0x09, b"\0\xff") + mqtt.user_property("w", "2"))


def test_properties_of_connect_and_disconnect_go_up(cloud, start, dial,
                                                    server):
    """as they are: all of them, in their order."""
    entry = cloud.device(port=server.port)
    bye = mqtt.packet(0xE0, b"\4" + mqtt.block(
        5, mqtt.session_expiry(7) + mqtt.user_property("why", "power")
        + mqtt.text_property(mqtt.REASON_STRING, "going")))

    def script(peer):
        peer.upgrade()
        connect = peer.packet()
        peer.message(b"\x20\3\0\0\0")
        return connect, peer.packet(), peer.goodbye()

    played = server.play(script)
    device = dial(start(cloud, entry))
    device.log_in(entry["label"], 5, keep_alive=33, will=("w/t", b"\0\1"),
                  properties=CONNECT_PROPERTIES,
                  will_properties=WILL_PROPERTIES)
    device.send(bye)
    assert device.until_closed() == []
    connect, last, code = played.result(TIMEOUT)
    # name, level, flags (clean, will, user name, password), keep-alive
    assert (mqtt.text("MQTT") + b"\5\xc6\0\x21"
            + mqtt.block(5, CONNECT_PROPERTIES)) in connect
    assert (mqtt.block(5, WILL_PROPERTIES) + mqtt.text("w/t")
            + mqtt.text(b"\0\1") + mqtt.text(user_of(entry))) in connect
    assert (last, code) == (bye, 1000)


def user_of(entry):
    """As the cloud knows it."""
    return f"{entry['device_name']}&{entry['product_key']}"


def client_id_of(connect):
    """The one in a CONNECT of the proxy to which the device gave no
    properties."""
    at = connect.index(b"MQTT\5") + 8
    length, = struct.unpack_from("!H", connect, at + 1)
    return connect[at + 3:at + 3 + length]


def test_the_login_is_told_to_nobody(cloud, start, dial, server):
    """The names used with the cloud do not reach the device in any property of
    CONNACK or DISCONNECT; what stands beside them does."""
    entry = cloud.device(port=server.port)
    told = mqtt.user_property("region", "cn-shanghai")

    def telling(connect):
        name, user = client_id_of(connect), user_of(entry)
        return (mqtt.text_property(mqtt.REASON_STRING, b"hello " + name)
                + mqtt.user_property("you are", user) + told
                + mqtt.user_property(name.decode(), "")
                + mqtt.text_property(mqtt.SERVER_REFERENCE, name))

    def script(peer):
        peer.upgrade()
        connect = peer.packet()
        assert b"|securemode=2" in client_id_of(connect)
        peer.message(mqtt.packet(0x20, b"\0\0" + mqtt.block(
            5, telling(connect)
            + mqtt.text_property(mqtt.ASSIGNED_CLIENT_ID,
                                 client_id_of(connect))
            + mqtt.text_property(mqtt.RESPONSE_INFORMATION,
                                 user_of(entry)))))
        peer.packet()
        peer.message(mqtt.packet(0xE0, b"\x98" + mqtt.block(
            5, telling(connect))))
        return peer.goodbye()

    played = server.play(script)
    device = dial(start(cloud, entry))
    device.send_connect(entry["label"], 5)
    assert device.expect(mqtt.CONNACK).body == b"\0\0" + mqtt.block(5, told)
    device.publish("a", "x")
    assert [packet.body for packet in device.until_closed()] == [
        b"\x98" + mqtt.block(5, told)]
    assert played.result(TIMEOUT) == 1000


def test_disconnect_of_the_cloud_with_properties(cloud, start, dial, server):
    """passes, but for another server, which means nothing to the device."""
    entry = cloud.device(port=server.port)
    kept = (mqtt.text_property(mqtt.REASON_STRING, "quota")
            + mqtt.user_property("a", "b"))
    server.play(lambda peer: (
        peer.login(b"\x20\3\0\0\0"),
        peer.message(mqtt.packet(0xE0, b"\x97" + mqtt.block(
            5, kept + mqtt.text_property(mqtt.SERVER_REFERENCE, "other")))),
        peer.goodbye()))
    device = dial(start(cloud, entry))
    device.log_in(entry["label"], 5)
    assert [packet.body for packet in device.until_closed()] == [
        b"\x97" + mqtt.block(5, kept)]
