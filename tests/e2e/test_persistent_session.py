"""Sessions live in the cloud, under one identity, however often and however
long the device is away."""

import pytest

import mqtt_raw as mqtt
from cloud_process import topic_of


@pytest.mark.parametrize("timestamp", ["none", "1700000000000", "now"])
@pytest.mark.parametrize("level", [3, 4])
def test_offline_messages(cloud, start, dial, level, timestamp):
    entry = cloud.device(timestamp=timestamp)
    proxy = start(cloud, entry)
    with dial(proxy) as device:
        device.log_in(entry["label"], level, clean=False)
        device.subscribe(topic_of(entry))
        device.send(mqtt.DISCONNECT)
        device.until_closed()
    cloud.wait("disconnect", entry)

    app = dial(cloud)
    app.log_in("app")
    for at in range(30):
        app.publish(topic_of(entry), f"{at}", qos=1)

    device = dial(proxy)
    answer = device.log_in(entry["label"], level, clean=False)
    # level 3 has no such flag
    assert answer.session_present == (level > 3)
    for at in range(30):
        assert device.receive().payload == f"{at}".encode()
    assert [line["clean"] for line in cloud.decisions("login", entry)] == [
        False, False]


def test_clean_session(cloud, start, dial):
    """forgets."""
    entry = cloud.device()
    proxy = start(cloud, entry)
    for clean, present in ((False, False), (False, True), (True, False),
                           (False, False)):
        device = dial(proxy)
        assert device.log_in(entry["label"],
                             clean=clean).session_present == present
        device.send(mqtt.DISCONNECT)
        device.until_closed()


def test_unacknowledged_message_comes_again(cloud, start, dial):
    """A PUBACK is the device's own: the proxy never gives one for it."""
    entry = cloud.device()
    proxy = start(cloud, entry)
    app = dial(cloud)
    app.log_in("app")
    with dial(proxy) as device:
        device.log_in(entry["label"], clean=False)
        device.subscribe(topic_of(entry))
        app.publish(topic_of(entry), "x", qos=1)
        assert device.receive(ack=False).payload == b"x"
    device = dial(proxy)
    device.log_in(entry["label"], clean=False)
    again = device.expect(mqtt.PUBLISH)
    assert again.flags & 8 and again.body.endswith(b"x")


def test_session_outlives_the_proxy(cloud, start, dial):
    entry = cloud.device()
    app = dial(cloud)
    app.log_in("app")
    proxy = start(cloud, entry)
    device = dial(proxy)
    device.log_in(entry["label"], clean=False)
    device.subscribe(topic_of(entry))
    proxy.stop()
    cloud.wait("disconnect", entry)
    app.publish(topic_of(entry), "meanwhile", qos=1)
    device = dial(start(cloud, entry))
    assert device.log_in(entry["label"], clean=False).session_present
    assert device.receive().payload == b"meanwhile"
