"""Whoever does not read is waited for, in the kernel's buffers and not in
the proxy's memory."""

import threading
import time

import pytest

import mqtt_raw as mqtt
from cloud_process import topic_of
from kernel import wait_until_unread
from proxy import FRUGAL

PIECE = 256 * 1024
PIECES = 200                # 50 MiB in all
GROWTH_MAX = 8 * 1024 * 1024


def pieces():
    return [b"%6d" % at * (PIECE // 6) for at in range(PIECES)]


def test_device_that_does_not_read(cloud, start, dial):
    entry = cloud.device()
    proxy = start(cloud, entry, env=FRUGAL)
    device = dial(proxy, receive_buffer=65536)
    device.log_in(entry["label"])
    device.subscribe(topic_of(entry, "get"))
    before = proxy.memory("VmHWM")
    app = dial(cloud)
    app.log_in("app")
    app.send(*(mqtt.publish(topic_of(entry, "get"), piece)
               for piece in pieces()))
    # the proxy has stopped to read: its side of the link is full
    wait_until_unread(remote=cloud.port)
    for at, piece in enumerate(pieces()):
        assert device.receive().payload == piece, at
    assert proxy.memory("VmHWM") - before < GROWTH_MAX


def test_cloud_that_does_not_read(cloud, start, dial, listen):
    entry = cloud.device(contract="none")
    proxy = start(cloud, entry, env=FRUGAL)
    app = listen(cloud, topic_of(entry), qos=0)
    device = dial(proxy)
    device.log_in(entry["label"])
    before = proxy.memory("VmHWM")
    writer = threading.Thread(target=device.send, args=[
        mqtt.publish(topic_of(entry), piece) for piece in pieces()])
    with cloud.halted():
        writer.start()
        # the proxy has stopped to read: the device's side is full
        wait_until_unread(local=proxy.port)
    for at, piece in enumerate(pieces()):
        assert app.receive().payload == piece, at
    writer.join()
    assert proxy.memory("VmHWM") - before < GROWTH_MAX


def test_waiting_costs_nothing(cloud, start, dial, listen):
    """No turn of the loop, and no keep-alive: who is not read cannot show
    that it lives."""
    entry = cloud.device(contract="none", keep_alive_min="30s")
    other = cloud.device()
    proxy = start(cloud, entry, other)
    app = listen(cloud, topic_of(entry), qos=0)
    device, reader = dial(proxy), dial(proxy, receive_buffer=4096)
    reader.log_in(other["label"])
    reader.subscribe(topic_of(other))
    source = dial(cloud)
    source.log_in("source")
    source.send(*(mqtt.publish(topic_of(other), piece)
                  for piece in pieces()))
    wait_until_unread(remote=cloud.port)
    device.log_in(entry["label"], keep_alive=2)
    writer = threading.Thread(target=device.send, args=[
        mqtt.publish(topic_of(entry), piece) for piece in pieces()])
    with cloud.halted():
        writer.start()
        wait_until_unread(local=proxy.port)
        used = proxy.cpu()
        time.sleep(4)       # well over the keep-alive
        assert proxy.cpu() - used < 0.25
        assert not proxy.logs("session_end")
    for at, piece in enumerate(pieces()):
        assert app.receive().payload == piece, at
    for at, piece in enumerate(pieces()):
        assert reader.receive().payload == piece, at
    writer.join()


def test_others_are_not_held_up(cloud, start, dial):
    """by a device that does not read, on the same worker."""
    slow, quick = cloud.device(), cloud.device()
    proxy = start(cloud, slow, quick, limits={"workers": 1})
    stuck = dial(proxy, receive_buffer=4096)
    stuck.log_in(slow["label"])
    stuck.subscribe(topic_of(slow))
    app = dial(cloud)
    app.log_in("app")
    app.send(*(mqtt.publish(topic_of(slow), piece)
               for piece in pieces()[:40]))
    wait_until_unread(remote=cloud.port)
    other = dial(proxy)
    other.log_in(quick["label"])
    other.subscribe(topic_of(quick))
    for at in range(1, 51):
        other.send(mqtt.publish(topic_of(quick), f"{at}"))
        assert other.receive().payload == b"%d" % at


def test_cloud_stuck_for_too_long(cloud, start, dial):
    entry = cloud.device(contract="none", on_link_loss="close")
    proxy = start(cloud, entry, cloud={"write_timeout": "300ms"})
    device = dial(proxy)
    device.log_in(entry["label"])

    def write():
        with pytest.raises(ConnectionError):
            device.send(*(mqtt.publish(topic_of(entry), piece)
                          for piece in pieces()))

    writer = threading.Thread(target=write)
    with cloud.halted():
        writer.start()
        assert proxy.wait_log("session_end")["reason"] == "cloud_stuck"
    writer.join()
