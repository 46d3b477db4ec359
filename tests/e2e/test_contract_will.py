"""The will of a device of MQTT 3.1 or 3.1.1, which the cloud takes from none:
the proxy keeps it and publishes it. The cloud is strict."""

import signal

import pytest

import mqtt_raw as mqtt
from cloud_process import topic_of

OLD = pytest.mark.parametrize("level", [3, 4])


@pytest.fixture(name="strict")
def fixture_strict(cloud):
    """strict(**keys): an entry of a device that is held to every rule."""
    def device(**keys):
        entry = cloud.device(**keys)
        cloud.fault(entry, strict=True)
        return entry

    return device


def will_of(entry, payload="gone", qos=1, retain=True):
    return topic_of(entry, "will"), payload, qos, retain


def published(cloud, entry):
    """What the cloud has got to the end of its session, which is near."""
    cloud.wait("disconnect", entry)
    return [(line["topic"], line["payload"])
            for line in cloud.decisions("publish", entry)]


# how a device goes: fn(proxy, device, entry, dial), and the reason of the end

def _close(_proxy, device, _entry, _dial):
    device.close()


def _reset(_proxy, device, _entry, _dial):
    device.reset()


def _half_a_packet(_proxy, device, _entry, _dial):
    device.send(b"\x32\x7f\0")
    device.close()


def _is_silent(_proxy, device, _entry, _dial):
    assert device.until_closed() == []


def _bad_packet(_proxy, device, _entry, _dial):
    device.send(b"\xff\xff\xff\xff\xff", mqtt.publish("/never", "x"))
    assert device.until_closed() == []


def _topic_too_long(_proxy, device, entry, _dial):
    device.send(mqtt.publish(topic_of(entry, "x" * 128), "x", 1, 2),
                mqtt.publish(topic_of(entry), "never"))
    assert device.until_closed() == []


def _message_too_big(_proxy, device, entry, _dial):
    # it comes in pieces
    device.send(mqtt.publish(topic_of(entry), bytes(300000), 1, 2),
                mqtt.publish(topic_of(entry), "never"))
    device.until_closed()


def _taken_over(proxy, device, entry, dial):
    dial(proxy).log_in(entry["label"])
    assert device.until_closed() == []


def _entry_removed(proxy, device, entry, _dial):
    proxy.set_devices([{**entry, "label": "other", "device_name": "other"}])
    assert proxy.reload()["event"] == "reloaded"
    assert device.until_closed() == []


LEAVES = {
    "close": (_close, "device_closed"),
    "reset": (_reset, "device_lost"),
    "half a packet": (_half_a_packet, "device_closed"),
    "silence": (_is_silent, "device_silent"),
    "bad packet": (_bad_packet, "bad_packet"),
    "topic too long": (_topic_too_long, "topic_refused"),
    "message too big": (_message_too_big, "message_too_big"),
    "take-over": (_taken_over, "taken_over"),
    "entry removed": (_entry_removed, "entry_removed")}


@OLD
@pytest.mark.parametrize("how", LEAVES)
def test_is_published(cloud, strict, start, dial, how, level):
    """once, when the device goes without DISCONNECT (MQTT-3.1.2-8)."""
    leaves, reason = LEAVES[how]
    entry = strict()
    proxy = start(cloud, entry)
    device = dial(proxy)
    device.log_in(entry["label"], level, will=will_of(entry),
                  keep_alive=1 if how == "silence" else 60)
    device.publish(topic_of(entry), "x", 1)
    leaves(proxy, device, entry, dial)
    assert published(cloud, entry) == [
        (topic_of(entry), "x"), (topic_of(entry, "will"), "gone")]
    assert proxy.wait_log("session_end")["reason"] == reason
    assert proxy.logs("will_sent") and not proxy.logs("will_lost")
    last = cloud.decisions("publish", entry)[-1]
    assert (last["qos"], last["retain"]) == (1, False)
    assert not any(line["will"] for line in cloud.decisions("login", entry))


@OLD
@pytest.mark.parametrize("qos", [0, 1, 2])
def test_at_its_qos(cloud, strict, start, dial, listen, qos, level):
    entry = strict()
    app = listen(cloud, topic_of(entry, "will"))
    device = dial(start(cloud, entry))
    device.log_in(entry["label"], level, will=will_of(entry, "", qos))
    device.close()
    heard = app.receive()
    assert (heard.payload, heard.qos) == (b"", min(qos, 1))
    published(cloud, entry)


@OLD
def test_is_not_published_after_disconnect(cloud, strict, start, dial, level):
    entry = strict()
    proxy = start(cloud, entry)
    device = dial(proxy)
    device.log_in(entry["label"], level, will=will_of(entry))
    device.send(mqtt.DISCONNECT)
    device.until_closed()
    assert published(cloud, entry) == []
    assert not proxy.logs("will_sent") and not proxy.logs("will_lost")


@OLD
@pytest.mark.parametrize("how", ["drain", "new secret"])
def test_is_not_published_by_our_own_doing(cloud, strict, start, dial, how,
                                           level):
    """The device is well, and back at once."""
    entry = strict()
    proxy = start(cloud, entry)
    device = dial(proxy)
    device.log_in(entry["label"], level, will=will_of(entry))
    if how == "drain":
        proxy.signal(signal.SIGTERM)
        assert proxy.wait() == 0
    else:
        proxy.set_devices([{**entry, "sign_method": "hmacmd5"}])
        assert proxy.reload()["event"] == "reloaded"
    assert published(cloud, entry) == []


@pytest.mark.parametrize("qos", [0, 1])
def test_behind_a_queue(cloud, strict, start, dial, qos):
    """of messages of QoS 0 that are more than the cloud takes."""
    entry = strict()
    proxy = start(cloud, entry)
    device = dial(proxy)
    device.log_in(entry["label"], will=will_of(entry, qos=qos))
    device.send(*(mqtt.publish(topic_of(entry), f"{at}")
                  for at in range(80)))
    proxy.wait_log("device_slowed")
    device.reset()
    assert published(cloud, entry)[-1] == (topic_of(entry, "will"), "gone")
    assert proxy.wait_log("will_sent")


@pytest.mark.parametrize("qos", [0, 1])
@pytest.mark.parametrize("how", ["time", "next"])
def test_behind_a_long_queue(cloud, strict, start, dial, qos, how):
    """It has a while, or until the device is back; then what is left of it is
    dropped, and that is told. All is in the device's order."""
    entry = strict(qos0_per_second=5)
    proxy = start(cloud, entry, cloud={"ping_timeout": "300ms"} if
                  how == "time" else {"ping_timeout": "10m"})
    device = dial(proxy)
    device.log_in(entry["label"], will=will_of(entry, qos=qos))
    count = 100
    device.send(*(mqtt.publish(topic_of(entry), f"{at}")
                  for at in range(count)))
    proxy.wait_log("device_slowed")
    device.ping()
    device.close()
    if how == "next":
        dial(proxy).log_in(entry["label"])
    *before, last = published(cloud, entry)
    assert last == (topic_of(entry, "will"), "gone")
    assert before == [(topic_of(entry), f"{at}")
                      for at in range(len(before))]
    sent = proxy.wait_log("will_sent")
    assert int(sent["dropped_before"]) + len(before) == count
    assert sent["qos"] == str(qos)
    assert not proxy.logs("will_lost")


@pytest.mark.parametrize("clean", [False, True])
def test_device_is_back_within_the_delay(cloud, start, dial, clean):
    """With Clean Start its session has ended, and the will is due; else it
    must not be published (MQTT-3.1.3-9)."""
    entry = cloud.device(will_5="no")
    proxy = start(cloud, entry)
    device = dial(proxy)
    device.log_in(entry["label"], 5, clean=False,
                  properties=mqtt.session_expiry(600), will=will_of(entry),
                  will_properties=b"\x18" + (600).to_bytes(4, "big"))
    device.close()
    again = dial(proxy)
    again.log_in(entry["label"], 5, clean=clean)
    assert published(cloud, entry) == (
        [(topic_of(entry, "will"), "gone")] if clean else [])


@pytest.mark.parametrize("downlink", ["whole", "bytes"])
def test_behind_messages_that_are_not_acknowledged_yet(
        cloud, strict, start, dial, downlink):
    entry = strict()
    cloud.fault(entry, downlink=downlink)
    proxy = start(cloud, entry, cloud={"ping_timeout": "5s"})
    device = dial(proxy)
    device.log_in(entry["label"], will=will_of(entry))
    device.subscribe(topic_of(entry, "get"))
    app = dial(cloud)
    app.log_in("app")
    with cloud.halted():
        device.send(*(mqtt.publish(topic_of(entry), f"{at}", 1, at + 1)
                      for at in range(5)))
        device.ping()
        app.send(*(mqtt.publish(topic_of(entry, "get"), bytes(50))
                   for _ in range(20)))
        device.close()
    assert published(cloud, entry)[-1] == (topic_of(entry, "will"), "gone")
    assert proxy.wait_log("will_sent")


def test_of_a_device_that_does_not_read(cloud, strict, start, dial):
    """The cloud is read again when the device is gone, or its answer would
    never come."""
    entry = strict()
    proxy = start(cloud, entry, cloud={"ping_timeout": "10s"},
                  limits={"device_write_timeout": "500ms"})
    device = dial(proxy, receive_buffer=4096)
    device.log_in(entry["label"], will=will_of(entry))
    device.subscribe(topic_of(entry, "get"))
    app = dial(cloud)
    app.log_in("app")
    app.send(*(mqtt.publish(topic_of(entry, "get"), bytes(256 * 1024))
               for _ in range(40)))
    assert proxy.wait_log(("will_sent", "will_lost"))["event"] == "will_sent"
    assert proxy.wait_log("session_end")["reason"] == "device_stuck"


def test_is_not_acknowledged(cloud, strict, start, dial):
    """That is told, and holds nobody up for ever."""
    entry = strict()
    cloud.fault(entry, answer_publishes=False)
    proxy = start(cloud, entry, cloud={"ping_timeout": "300ms"})
    device = dial(proxy)
    device.log_in(entry["label"], will=will_of(entry))
    device.close()
    assert proxy.wait_log("will_lost")
    assert proxy.wait_log("session_end")["reason"] == "device_closed"


def test_next_device_does_not_wait(cloud, strict, start, dial):
    """for the answer to what has been sent."""
    entry = strict()
    cloud.fault(entry, answer_publishes=False)
    proxy = start(cloud, entry)
    device = dial(proxy)
    device.log_in(entry["label"], will=will_of(entry))
    device.close()
    cloud.wait("publish", entry)
    again = dial(proxy)
    again.log_in(entry["label"])
    assert published(cloud, entry) == [(topic_of(entry, "will"), "gone")]


def test_link_is_lost(cloud, strict, start, dial):
    """Nobody can be told."""
    entry = strict(on_link_loss="close")
    proxy = start(cloud, entry)
    device = dial(proxy)
    device.log_in(entry["label"], will=will_of(entry))
    cloud.order("drop", entry)
    assert device.until_closed() == []
    assert proxy.wait_log("will_lost")["detail"] == (
        "the link to the cloud is gone")
    assert published(cloud, entry) == []


@OLD
@pytest.mark.parametrize("name", ["x" * 128, "a/b/c/d/e"])
def test_topic_that_the_cloud_does_not_take(cloud, strict, start, dial, level,
                                            name):
    """It is told at once, and the device works."""
    entry = strict()
    proxy = start(cloud, entry)
    device = dial(proxy)
    device.log_in(entry["label"], level, will=(topic_of(entry, name), "x"))
    assert "topic" in proxy.wait_log("will_lost")["detail"]
    device.publish(topic_of(entry), "x", 1)
    device.close()
    assert published(cloud, entry) == [(topic_of(entry), "x")]


def test_level_5_brings_its_own(cloud, strict, start, dial):
    """to the cloud, at a QoS that this has."""
    entry = strict()
    device = dial(start(cloud, entry))
    device.log_in(entry["label"], 5, will=will_of(entry, qos=2))
    login = cloud.wait("login", entry)
    assert login["accepted"] and login["will"]
    device.close()
    cloud.wait("disconnect", entry)


def test_cloud_that_takes_it(cloud, start, dial):
    """gets the will with the login, or none with will_3 = no, even with a
    contract that has no other rule."""
    entry = cloud.device(contract="none", will_3="no")
    proxy = start(cloud, entry)
    device = dial(proxy)
    device.log_in(entry["label"], will=will_of(entry, retain=False))
    device.publish(topic_of(entry), "x", 1)
    device.close()
    assert published(cloud, entry) == [
        (topic_of(entry), "x"), (topic_of(entry, "will"), "gone")]
    assert proxy.wait_log("will_sent")
