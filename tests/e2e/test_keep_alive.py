"""The two keep-alives, which have nothing to do with each other."""

import time

import pytest

import mqtt_raw as mqtt
from cloud_process import topic_of
from kernel import unread, wait_until, wait_until_unread


@pytest.mark.parametrize("device_s, cloud_s", [
    (0, 300), (1, 30), (29, 30), (30, 30), (61, 61), (1200, 1200),
    (1201, 1200), (65535, 1200)])
def test_what_the_cloud_is_told(cloud, start, dial, device_s, cloud_s):
    entry = cloud.device()
    dial(start(cloud, entry)).log_in(entry["label"], keep_alive=device_s)
    assert cloud.wait("login", entry)["keep_alive"] == cloud_s


@pytest.mark.parametrize("level, told", [(4, []), (5, [0x8D])])
def test_silent_device(cloud, start, dial, level, told):
    """One and a half times its own value (MQTT-3.1.2-24)."""
    entry = cloud.device()
    proxy = start(cloud, entry)
    device = dial(proxy)
    device.log_in(entry["label"], level, keep_alive=1)
    begin = time.monotonic()
    assert [packet.body[0] for packet in device.until_closed()] == told
    assert 1.4 < time.monotonic() - begin < 6
    assert proxy.wait_log("session_end")["reason"] == "device_silent"
    assert not cloud.wait("disconnect", entry)["clean"]


def test_device_that_pings(cloud, start, dial):
    """lives, and the cloud hears nothing of its pings."""
    entry = cloud.device()
    proxy = start(cloud, entry)
    device = dial(proxy)
    device.log_in(entry["label"], keep_alive=1)
    begin = time.monotonic()
    while time.monotonic() - begin < 3:
        device.ping()
        time.sleep(0.5)     # the device's own pace
    device.publish(topic_of(entry), "alive", qos=1)
    assert not proxy.logs("session_end")
    assert not cloud.decisions("ping", entry)


def test_keep_alive_zero(cloud, start, dial):
    """Only [limits] idle_timeout ends it."""
    entry, other = cloud.device(), cloud.device()
    proxy = start(cloud, entry, other, limits={"idle_timeout": "300ms"})
    active, idle = dial(proxy), dial(proxy)
    active.log_in(entry["label"], keep_alive=60)
    idle.log_in(other["label"], keep_alive=0)
    assert idle.until_closed() == []
    end = proxy.wait_log("session_end")
    assert (end["label"], end["reason"]) == (other["label"], "device_silent")
    active.ping()


@pytest.mark.parametrize("level", [3, 4, 5])
def test_own_pings(cloud, start, dial, level):
    """keep the cloud content, and the device does not see the answers."""
    entry = cloud.device()
    proxy = start(cloud, entry, cloud={"ping_interval": "200ms",
                                       "ping_timeout": "10s"})
    device = dial(proxy)
    device.log_in(entry["label"], level, keep_alive=0)
    device.subscribe(topic_of(entry))
    cloud.wait("ping", entry, count=4)
    device.publish(topic_of(entry), "x")
    assert device.receive().payload == b"x"     # and nothing before it
    device.ping()
    device.publish(topic_of(entry), "y")
    assert device.receive().payload == b"y"


def test_no_pings_while_packets_go_up(cloud, start, dial):
    """They are for silence only: nothing was written for ping_interval."""
    entry = cloud.device(contract="none")
    proxy = start(cloud, entry, cloud={"ping_interval": "1s"})
    device = dial(proxy)
    device.log_in(entry["label"])
    begin = time.monotonic()
    while time.monotonic() - begin < 2.5:
        device.publish(topic_of(entry), "x", qos=1)
    assert not cloud.decisions("ping", entry)


@pytest.mark.parametrize("level, told", [(4, []), (5, [0x89])])
def test_silent_cloud(cloud, start, dial, level, told):
    entry = cloud.device(on_link_loss="close")
    cloud.fault(entry, answer_pings=False)
    proxy = start(cloud, entry, cloud={"ping_interval": "200ms",
                                       "ping_timeout": "300ms"})
    device = dial(proxy)
    device.log_in(entry["label"], level)
    assert [packet.body[0] for packet in device.until_closed()] == told
    assert proxy.wait_log("session_end")["reason"] == "cloud_silent"


def test_ping_while_the_cloud_stands_still(cloud, start, dial):
    """The answer is the proxy's own."""
    entry = cloud.device()
    device = dial(start(cloud, entry))
    device.log_in(entry["label"])
    with cloud.halted():
        for _ in range(100):
            device.ping()


def test_ping_inside_a_big_publish(cloud, start, dial):
    """Answers come between packets, never inside one."""
    entry = cloud.device()
    proxy = start(cloud, entry)
    device = dial(proxy, receive_buffer=4096)
    device.log_in(entry["label"])
    device.subscribe(topic_of(entry, "get"))
    app = dial(cloud)
    app.log_in("app")
    payload = bytes(range(256)) * 4096 * 16
    app.publish(topic_of(entry, "get"), payload, qos=1)
    # the proxy holds a part of it, and takes no more from the cloud
    wait_until_unread(remote=cloud.port)
    device.send(mqtt.PINGREQ * 5)
    wait_until(lambda: not unread(local=proxy.port, remote=device.port))
    assert device.receive().payload == payload
    for _ in range(5):
        assert device.expect(mqtt.PINGRESP).body == b""


def test_ping_at_the_end_of_a_stream(cloud, start, dial):
    """A device that pings between its packets gets an answer to each."""
    entry = cloud.device(contract="none")
    device = dial(start(cloud, entry))
    device.log_in(entry["label"])
    for at in range(1, 201):
        device.send(mqtt.publish(topic_of(entry), "x", 1, at), mqtt.PINGREQ)
    kinds = [device.packet().kind for _ in range(400)]
    assert kinds.count(mqtt.PUBACK) == kinds.count(mqtt.PINGRESP) == 200
