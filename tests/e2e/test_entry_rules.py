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
