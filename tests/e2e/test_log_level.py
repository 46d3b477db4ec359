"""log_level of an entry: how much is logged of that device alone. A session
tells of itself at info; the least that a test needs is notice, of which the
ready line is."""

import pytest

import mqtt_raw as mqtt
from cloud_process import topic_of


@pytest.fixture
def pair(cloud):
    return cloud.device(), cloud.device()


def told_of(proxy, entry, since=0):
    """The events that were logged of it."""
    return [line["event"] for line in proxy.logs(since=since,
                                                 label=entry["label"])]


def come_and_go(dial, proxy, entry):
    """A session from begin to end; the cloud has seen both."""
    device = dial(proxy)
    device.log_in(entry["label"])
    device.publish(topic_of(entry), "x", qos=1)
    device.send(mqtt.DISCONNECT)
    assert device.until_closed() == []


def test_more_of_one(cloud, start, dial, pair):
    chatty, quiet = pair
    proxy = start(cloud, {**chatty, "log_level": "debug"}, quiet,
                  log={"level": "notice"})
    come_and_go(dial, proxy, quiet)
    come_and_go(dial, proxy, chatty)
    proxy.wait_log("session_end", label=chatty["label"])
    assert told_of(proxy, chatty) == ["session_up", "session_end"]
    assert told_of(proxy, quiet) == []


def test_less_of_one(cloud, start, dial, pair):
    quiet, chatty = pair
    proxy = start(cloud, {**quiet, "log_level": "warning"}, chatty)
    come_and_go(dial, proxy, quiet)
    come_and_go(dial, proxy, chatty)
    proxy.wait_log("session_end", label=chatty["label"])
    assert told_of(proxy, chatty) == ["session_up", "session_end"]
    assert told_of(proxy, quiet) == []


def test_of_a_product(cloud, start, dial, pair):
    """A device goes before its product."""
    one, other = pair
    proxy = start(cloud, {**one, "log_level": "notice"}, other,
                  log={"level": "notice"})
    text = (proxy.folder / "devices.ini").read_text()
    proxy.set_devices(
        text + f"[product:{one['product_key']}]\nlog_level = info\n")
    assert proxy.reload()["event"] == "reloaded"
    come_and_go(dial, proxy, one)
    come_and_go(dial, proxy, other)
    proxy.wait_log("session_end", label=other["label"])
    assert told_of(proxy, one) == []


def test_refusals(cloud, start, dial, pair):
    """Those of the door too, once it knows the entry."""
    chatty, quiet = pair
    proxy = start(cloud, {**chatty, "enabled": "no"},
                  {**quiet, "enabled": "no", "log_level": "warning"},
                  log={"level": "notice"})
    for entry in (quiet, chatty):
        device = dial(proxy)
        device.send_connect(entry["label"])
        assert device.connack().code == 5
    told = proxy.wait_log("device_refused")
    assert told["client_id"] == chatty["label"]
    assert len(proxy.logs("device_refused")) == 1


def test_changed_by_reload(cloud, start, dial, pair):
    """At once, and without a session being cut."""
    entry, other = pair
    proxy = start(cloud, entry, other, log={"level": "notice"})
    devices = [dial(proxy) for _ in range(4)]
    first, *_ = devices
    first.log_in(entry["label"])
    proxy.set_devices([{**entry, "log_level": "debug"}, other])
    assert proxy.reload()["event"] == "reloaded"
    first.publish(topic_of(entry), "x", qos=1)
    assert len(cloud.decisions("login", entry)) == 1
    first.send(mqtt.DISCONNECT)
    assert proxy.wait_log("session_end")["label"] == entry["label"]
    assert not proxy.logs("session_up")
    since = proxy.mark()
    second = devices[1]
    second.log_in(entry["label"])
    proxy.wait_log("session_up", since=since)
    proxy.set_devices([entry, other])
    assert proxy.reload()["event"] == "reloaded"
    second.publish(topic_of(entry), "x", qos=1)
    second.send(mqtt.DISCONNECT)
    assert second.until_closed() == []
    come_and_go(dial, proxy, other)
    assert told_of(proxy, entry, since) == ["session_up"]
    assert len(cloud.decisions("login", entry)) == 2
