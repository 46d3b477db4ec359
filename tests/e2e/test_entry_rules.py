"""What an entry of devices.ini demands of a device, or gives it, beyond who it
is."""

import pytest

import mqtt_raw as mqtt
from cloud_process import topic_of

REFUSED = [(3, 5), (4, 5), (5, 0x87)]


def refused(proxy, dial, entry, reason, level=4, code=5, **options):
    """The device is known, but not let in; returns the log line."""
    device = dial(proxy, **options)
    device.send_connect(entry["label"], level)
    assert device.connack().code == code
    assert device.until_closed() == []
    told = proxy.wait_log("device_refused", reason=reason,
                          client_id=entry["label"])
    assert entry["label"] in told["detail"]
    return told


def works(cloud, entry, device):
    """The device is on the connection it was on, and is heard."""
    device.publish(topic_of(entry), "x", qos=1)
    return len(cloud.decisions("login", entry)) == 1


# enabled


@pytest.mark.parametrize("level, code", REFUSED)
def test_disabled(cloud, start, dial, level, code):
    entry, other = cloud.device(enabled="no"), cloud.device(enabled="yes")
    proxy = start(cloud, entry, other)
    told = refused(proxy, dial, entry, "entry_disabled", level, code)
    assert "enabled = no" in told["hint"]
    dial(proxy).log_in(other["label"], level)
    assert not cloud.decisions("login", entry)


@pytest.mark.parametrize("level, told", [(4, []), (5, [0x87])])
def test_disabled_by_a_reload(cloud, start, dial, level, told):
    """It is cut off at once, and let in again by the next one."""
    entry, other = cloud.device(), cloud.device()
    proxy = start(cloud, entry, other)
    device, bystander = dial(proxy), dial(proxy)
    device.log_in(entry["label"], level)
    bystander.log_in(other["label"], level)
    proxy.set_devices([{**entry, "enabled": "no"}, other])
    assert proxy.reload()["event"] == "reloaded"
    assert [packet.body[0] for packet in device.until_closed()] == told
    end = proxy.wait_log("session_end")
    assert (end["label"], end["reason"]) == (entry["label"], "entry_disabled")
    refused(proxy, dial, entry, "entry_disabled")
    assert works(cloud, other, bystander)
    proxy.set_devices([entry, other])
    proxy.reload()
    dial(proxy).log_in(entry["label"], level)
    assert works(cloud, other, bystander)


def test_product_disabled(cloud, start, dial):
    """An entry of its own may still be enabled."""
    entry, other = cloud.device(), cloud.device(enabled="yes")
    proxy = start(cloud, entry, other)
    device, bystander = dial(proxy), dial(proxy)
    device.log_in(entry["label"])
    bystander.log_in(other["label"])
    text = (proxy.folder / "devices.ini").read_text()
    proxy.set_devices(
        text + f"\n[product:{entry['product_key']}]\nenabled = no\n")
    assert proxy.reload()["event"] == "reloaded"
    assert device.until_closed() == []
    assert works(cloud, other, bystander)


def test_disabled_while_it_waits(cloud, start, dial):
    """A device whose older connection is still being closed."""
    entry = cloud.device()
    proxy = start(cloud, entry, cloud={"close_timeout": "30s"})
    old, new = dial(proxy), dial(proxy)
    old.log_in(entry["label"])
    with cloud.halted():
        new.send_connect(entry["label"])
        proxy.wait_log("session_end", reason="taken_over")
        proxy.set_devices([{**entry, "enabled": "no"}])
        proxy.reload()
        assert new.connack().code == 5
    proxy.wait_log("device_refused", reason="entry_disabled",
                   label=entry["label"])


# keep_alive


@pytest.mark.parametrize("device_s", [0, 1, 60, 65535])
def test_keep_alive(cloud, start, dial, device_s):
    """Whatever the device says, and without a change for the device."""
    entry, other = cloud.device(keep_alive="77"), cloud.device()
    proxy = start(cloud, entry, other)
    device = dial(proxy)
    device.log_in(entry["label"], keep_alive=device_s)
    assert cloud.wait("login", entry)["keep_alive"] == 77
    up = proxy.wait_log("session_up", label=entry["label"])
    assert up["device_keep_alive"] == f"{device_s}"
    assert up["cloud_keep_alive"] == "77"
    dial(proxy).log_in(other["label"], keep_alive=60)
    assert cloud.wait("login", other)["keep_alive"] == 60


def test_keep_alive_out_of_range(cloud, start, dial):
    """is told at the reload, with its line; nothing changes."""
    entry = cloud.device(keep_alive="30s")
    proxy = start(cloud, entry)
    device = dial(proxy)
    device.log_in(entry["label"])
    proxy.set_devices([{**entry, "keep_alive": "29"}])
    assert proxy.reload()["event"] == "reload_refused"
    assert "30s to 1200s" in proxy.wait_log("config_complaint")["text"]
    assert works(cloud, entry, device)


def test_keep_alive_changed(cloud, start, dial):
    """It is the login that says it, so another one is due."""
    entry, other = cloud.device(), cloud.device()
    proxy = start(cloud, entry, other)
    device, bystander = dial(proxy), dial(proxy)
    device.log_in(entry["label"])
    bystander.log_in(other["label"])
    proxy.set_devices([{**entry, "keep_alive": "99"}, other])
    proxy.reload()
    assert device.until_closed() == []
    assert proxy.wait_log("session_end")["reason"] == "entry_changed"
    dial(proxy).log_in(entry["label"])
    assert cloud.wait("login", entry, count=2)["keep_alive"] == 99
    assert works(cloud, other, bystander)


# clean_session


@pytest.mark.parametrize("level", [3, 4, 5])
@pytest.mark.parametrize("rule, asked, told", [
    ("yes", False, True), ("no", True, False), ("device", True, True),
    ("device", False, False), ("yes", True, True), ("no", False, False)])
def test_clean_session(cloud, start, dial, level, rule, asked, told):
    entry = cloud.device(clean_session=rule)
    dial(start(cloud, entry)).log_in(entry["label"], level, clean=asked)
    assert cloud.wait("login", entry)["clean"] == told


@pytest.mark.parametrize("level", [4, 5])
@pytest.mark.parametrize("asked", [True, False])
def test_kept_session(cloud, start, dial, listen, level, asked):
    """What came while it was away reaches the device, but one that has
    forgotten is not told of a session (MQTT-3.2.2-1)."""
    entry = cloud.device(clean_session="no")
    proxy = start(cloud, entry)
    expiry = bytes([mqtt.SESSION_EXPIRY, 0, 0, 1, 0]) if level == 5 else b""
    app = dial(cloud)
    app.log_in("app-kept")
    for again in (False, True):
        device = dial(proxy)
        answer = device.log_in(entry["label"], level, clean=asked,
                               properties=expiry)
        assert answer.session_present == (again and not asked)
        if again:
            assert device.receive().payload == b"kept"
        else:
            device.subscribe(topic_of(entry, "get"))
        device.send(mqtt.DISCONNECT)
        device.until_closed()
        cloud.wait("disconnect", entry, count=2 if again else 1)
        if not again:
            app.publish(topic_of(entry, "get"), "kept", qos=1)
