"""The end: sessions are ended in order, within a bound."""

import signal
import time

import pytest

import mqtt_raw as mqtt
from cloud_process import topic_of
from kernel import connections, ports_to, wait_until


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_drain(cloud, start, dial, number):
    entries = {level: cloud.device() for level in (3, 4, 5)}
    proxy = start(cloud, *entries.values())
    devices = {level: dial(proxy) for level in entries}
    for level, device in devices.items():
        device.log_in(entries[level]["label"], level)
        device.publish(topic_of(entries[level]), "x", qos=1)
    proxy.signal(number)
    told = {level: [packet.body[0] for packet in device.until_closed()]
            for level, device in devices.items()}
    assert told == {3: [], 4: [], 5: [0x8B]}
    assert proxy.wait() == 0
    assert len(proxy.logs("session_end", reason="draining")) == 3
    for entry in entries.values():
        assert cloud.wait("disconnect", entry)["ws_close"] == 1001


def test_what_was_sent_before_is_not_lost(cloud, start, dial):
    """What the cloud has acknowledged has come; the rest was never
    promised."""
    entry = cloud.device()
    proxy = start(cloud, entry)
    device = dial(proxy)
    device.log_in(entry["label"])
    for at in range(1, 201):
        device.send(mqtt.publish(topic_of(entry), f"{at}", 1, at))
    device.expect(mqtt.PUBACK)
    proxy.signal(signal.SIGTERM)
    acks = 1 + sum(packet.kind == mqtt.PUBACK
                   for packet in device.until_closed())
    assert proxy.wait() == 0
    cloud.wait("disconnect", entry)
    arrived = [line["payload"] for line in cloud.decisions("publish", entry)]
    assert len(arrived) >= acks
    assert arrived == [f"{at}" for at in range(1, len(arrived) + 1)]


@pytest.mark.parametrize("level, code", [(4, 3), (5, 0x88)])
def test_device_that_waits(cloud, start, dial, level, code):
    """for its login gets an answer."""
    entry = cloud.device()
    proxy = start(cloud, entry)
    device = dial(proxy)
    before = ports_to(cloud.port)
    with cloud.halted():
        device.send_connect(entry["label"], level)
        wait_until(lambda: ports_to(cloud.port) - before)
        proxy.signal(signal.SIGTERM)
        assert device.connack().code == code
        assert proxy.wait() == 0


def test_door_is_closed_at_once(cloud, start, dial):
    entry = cloud.device()
    proxy = start(cloud, entry, cloud={"close_timeout": "30s"},
                  limits={"drain_timeout": "30s"})
    dial(proxy).log_in(entry["label"])
    with cloud.halted():
        proxy.signal(signal.SIGTERM)
        proxy.wait_log("session_end")
        with pytest.raises(ConnectionRefusedError):
            dial(proxy)
    assert proxy.wait() == 0


def test_drain_timeout(cloud, start, dial):
    """A cloud that does not answer the close is not waited for."""
    entry = cloud.device()
    proxy = start(cloud, entry, cloud={"close_timeout": "60s"},
                  limits={"drain_timeout": "300ms"})
    dial(proxy).log_in(entry["label"])
    with cloud.halted():
        begin = time.monotonic()
        proxy.signal(signal.SIGTERM)
        assert proxy.wait() == 0
        assert time.monotonic() - begin < 20
    assert proxy.logs("drain_timeout")


def test_second_signal(cloud, start, dial):
    """ends it at once."""
    entry = cloud.device()
    proxy = start(cloud, entry, cloud={"close_timeout": "60s"},
                  limits={"drain_timeout": "60s"})
    dial(proxy).log_in(entry["label"])
    with cloud.halted():
        proxy.signal(signal.SIGTERM)
        proxy.wait_log("session_end")
        begin = time.monotonic()
        proxy.signal(signal.SIGTERM)
        assert proxy.wait() == 0
        assert time.monotonic() - begin < 20


def test_device_that_does_not_close(cloud, start, dial):
    """A device that keeps its side open is not waited for either."""
    entry = cloud.device()
    proxy = start(cloud, entry)
    device = dial(proxy)
    device.log_in(entry["label"])
    begin = time.monotonic()
    proxy.signal(signal.SIGTERM)
    assert proxy.wait() == 0
    assert time.monotonic() - begin < 20
    assert device.until_closed() == []


def test_reload_and_drain(cloud, start, dial):
    entry = cloud.device()
    proxy = start(cloud, entry)
    device = dial(proxy)
    device.log_in(entry["label"])
    proxy.signal(signal.SIGHUP)
    proxy.signal(signal.SIGTERM)
    device.until_closed()
    assert proxy.wait() == 0


def test_unread_connect(cloud, start, dial):
    """A connection that has not said who it is is just closed."""
    proxy = start(cloud, cloud.device())
    device = dial(proxy)
    device.send(b"\x10")
    wait_until(lambda: connections(local=proxy.port, remote=device.port))
    proxy.signal(signal.SIGTERM)
    assert device.until_closed() == []
    assert proxy.wait() == 0
