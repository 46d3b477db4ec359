"""SIGHUP: both files are read again; whose entry is as before notices
nothing."""

import signal

import pytest

import mqtt_raw as mqtt
from cloud_process import topic_of
from proxy import FRUGAL


@pytest.fixture
def site(cloud, start, dial):
    """(proxy, entries, devices online); three of them."""
    entries = [cloud.device() for _ in range(3)]
    proxy = start(cloud, *entries)
    devices = [dial(proxy) for _ in entries]
    for device, entry in zip(devices, entries):
        device.log_in(entry["label"])
        device.subscribe(topic_of(entry, "get"))
    return proxy, entries, devices


def works(cloud, entry, device):
    """The device is on the connection it was on, and is heard."""
    device.publish(topic_of(entry), "x", qos=1)
    assert len(cloud.decisions("login", entry)) == 1
    return True


def test_nothing_changed(cloud, site):
    proxy, entries, devices = site
    for _ in range(3):
        assert proxy.reload()["event"] == "reloaded"
    for entry, device in zip(entries, devices):
        assert works(cloud, entry, device)
    assert not proxy.logs("session_end")


def test_new_entry(cloud, site, dial):
    proxy, entries, devices = site
    fresh = cloud.device()
    early = dial(proxy)
    early.send_connect(fresh["label"])
    assert early.connack().code == 5
    proxy.set_devices([fresh, *entries])
    assert proxy.reload()["devices"] == "4"
    dial(proxy).log_in(fresh["label"])
    for entry, device in zip(entries, devices):
        assert works(cloud, entry, device)


def test_removed_entry(cloud, site, dial):
    proxy, (gone, *stay), (cut, *devices) = site
    proxy.set_devices(stay)
    assert proxy.reload()["event"] == "reloaded"
    assert cut.until_closed() == []
    end = proxy.wait_log("session_end")
    assert (end["label"], end["reason"]) == (gone["label"], "entry_removed")
    again = dial(proxy)
    again.send_connect(gone["label"])
    assert again.connack().code == 5
    for entry, device in zip(stay, devices):
        assert works(cloud, entry, device)


def test_changed_entry(cloud, site):
    proxy, (entry, *stay), (cut, *devices) = site
    proxy.set_devices([{**entry, "password": "local-password"}, *stay])
    assert proxy.reload()["event"] == "reloaded"
    assert cut.until_closed() == []
    end = proxy.wait_log("session_end")
    assert (end["label"], end["reason"]) == (entry["label"], "entry_changed")
    for other, device in zip(stay, devices):
        assert works(cloud, other, device)


@pytest.mark.parametrize("keys", [
    {"sign_method": "hmacsha1"}, {"client_id": "other"}, {"extra": "a=b"},
    {"path": "/other"}], ids=lambda keys: next(iter(keys)))
def test_changed_login(cloud, site, keys):
    """is done anew, behind the device's back."""
    proxy, (entry, *stay), (held, *devices) = site
    since = proxy.mark()
    proxy.set_devices([{**entry, **keys}, *stay])
    assert proxy.reload()["event"] == "reloaded"
    assert proxy.wait_log("device_resumed", since=since)["label"] == entry[
        "label"]
    held.publish(topic_of(entry), "x", qos=1)
    assert len(cloud.decisions("login", entry)) == 2
    for other, device in zip(stay, devices):
        assert works(cloud, other, device)


def test_changed_secret(cloud, site):
    """The cloud refuses it: that is no outage."""
    proxy, (entry, *stay), (cut, *devices) = site
    proxy.set_devices([{**entry, "device_secret": "another-secret"}, *stay])
    assert proxy.reload()["event"] == "reloaded"
    assert cut.until_closed() == []
    end = proxy.wait_log("session_end")
    assert (end["label"], end["reason"]) == (entry["label"], "login_refused")
    for other, device in zip(stay, devices):
        assert works(cloud, other, device)


def test_changed_secret_and_back(cloud, site, dial):
    """A wrong secret is refused by the cloud, the mended one is not."""
    proxy, (entry, *stay), _ = site
    proxy.set_devices([{**entry, "device_secret": "wrong-secret"}, *stay])
    proxy.reload()
    device = dial(proxy)
    device.send_connect(entry["label"])
    assert device.connack().code == 4
    proxy.set_devices([entry, *stay])
    proxy.reload()
    dial(proxy).log_in(entry["label"])


def test_renamed_entry(cloud, site):
    """The label and the match_ keys are no reason to cut a session."""
    proxy, (entry, *stay), (device, *_) = site
    proxy.set_devices([*stay, {**entry, "label": "a-new-name",
                               "match_client_id": "whatever"}])
    assert proxy.reload()["event"] == "reloaded"
    assert works(cloud, entry, device)
    device.send(mqtt.DISCONNECT)
    assert proxy.wait_log("session_end")["label"] == "a-new-name"


@pytest.mark.parametrize("level, code", [(4, None), (5, 0x87)])
def test_what_a_removed_device_is_told(cloud, start, dial, level, code):
    entry, other = cloud.device(), cloud.device()
    proxy = start(cloud, entry, other)
    device = dial(proxy)
    device.log_in(entry["label"], level)
    proxy.set_devices([other])
    proxy.reload()
    assert [packet.body[0] for packet in device.until_closed()] == (
        [code] if code else [])


def test_broken_map(cloud, site, dial):
    """Nothing changes, and the log names file and line."""
    proxy, entries, devices = site
    text = (proxy.folder / "devices.ini").read_text()
    line = text.count("\n") + 2
    proxy.set_devices(text + "[device:broken]\ndevice_nmae = x\n")
    assert proxy.reload()["event"] == "reload_refused"
    told = proxy.logs("config_complaint", line=line)
    assert told and told[0]["file"].endswith("devices.ini")
    assert "device_nmae" in told[0]["text"]
    for entry, device in zip(entries, devices):
        assert works(cloud, entry, device)
    # the old map goes on for new connections too
    again = dial(proxy)
    again.log_in(entries[0]["label"])
    proxy.set_devices(text)
    assert proxy.reload()["event"] == "reloaded"


def test_broken_settings(cloud, site):
    proxy, entries, devices = site
    settings = (proxy.folder / "proxy.ini").read_text()
    proxy.set_settings(settings + "[limits]\nworkers = many\n")
    assert proxy.reload()["event"] == "reload_refused"
    told = proxy.logs("config_complaint")
    assert told[0]["file"].endswith("proxy.ini") and "many" in told[0]["text"]
    for entry, device in zip(entries, devices):
        assert works(cloud, entry, device)


def test_broken_settings_alone_are_told(cloud, start):
    """Not an environment that they do not ask."""
    proxy = start(cloud, cloud.device(), env={"https_proxy": "ftp://x"},
                  egress={"proxy": "none"})
    settings = (proxy.folder / "proxy.ini").read_text()
    proxy.set_settings(settings + "[limits]\nworkers = many\n")
    assert proxy.reload()["event"] == "reload_refused"
    told, = proxy.logs("config_complaint")
    assert told["file"].endswith("proxy.ini")


def test_lost_files(cloud, site):
    proxy, entries, devices = site
    for name in ("devices.ini", "proxy.ini"):
        (proxy.folder / name).rename(proxy.folder / "away")
        assert proxy.reload()["event"] == "reload_refused"
        (proxy.folder / "away").rename(proxy.folder / name)
    assert proxy.reload()["event"] == "reloaded"
    assert works(cloud, entries[0], devices[0])


def test_broken_trust(cloud, site, start):
    """A root file that cannot be read is refused like any other mistake."""
    proxy, entries, devices = site
    proxy.set_settings(start.settings(
        cloud, {"tls": {"ca_file": "/nonexistent/root.pem"}}))
    assert proxy.reload()["event"] == "reload_refused"
    assert "/nonexistent/root.pem" in proxy.raw_log()
    assert works(cloud, entries[0], devices[0])


def test_settings_take_effect(cloud, start, dial):
    entry = cloud.device()
    proxy = start(cloud, entry)
    device = dial(proxy)
    device.log_in(entry["label"])
    device.publish(topic_of(entry), b"x" * 2000, qos=1)
    proxy.set_settings(start.settings(cloud, {"limits": {"packet_max": 1000}}))
    assert proxy.reload()["event"] == "reloaded"
    device.send(mqtt.publish(topic_of(entry), b"x" * 2000))
    assert device.until_closed() == []
    assert proxy.wait_log("session_end")["reason"] == "packet_too_big"


def test_setting_that_needs_a_restart(cloud, site, start):
    proxy, *_ = site
    proxy.set_settings(start.settings(cloud, {"limits": {"workers": 7}}))
    assert proxy.reload()["event"] == "reloaded"
    told, = proxy.logs("setting_needs_restart")
    assert (told["section"], told["key"]) == ("limits", "workers")


def test_no_message_is_lost(cloud, site):
    """Reloads in the middle of a stream, with changes for others."""
    proxy, (entry, *rest), (device, *_) = site
    for at in range(1, 301):
        device.send(mqtt.publish(topic_of(entry), f"{at}", 1, at))
        if at % 100 == 0:
            proxy.set_devices([entry, *rest[:at // 100 % 2]])
            assert proxy.reload()["event"] == "reloaded"
    for at in range(1, 301):
        assert device.expect(mqtt.PUBACK).body == at.to_bytes(2, "big")
    arrived = [line["payload"] for line in cloud.decisions("publish", entry)]
    assert arrived == [f"{at}" for at in range(1, 301)]
    assert len(cloud.decisions("login", entry)) == 1


def test_many_reloads_at_once(cloud, site):
    """Signals while one is under way make one more, not none."""
    proxy, entries, devices = site
    proxy.set_devices(entries[:2])
    for _ in range(50):
        proxy.signal(signal.SIGHUP)
    proxy.wait_log("session_end", reason="entry_removed",
                   label=entries[2]["label"])
    assert works(cloud, entries[0], devices[0])


def test_old_maps_go_while_new_ones_come(cloud, start, dial):
    """Reloads that follow each other without a pause, under traffic."""
    entry = cloud.device()
    proxy = start(cloud, entry, env=FRUGAL)
    proxy.set_devices([entry, *(
        {**entry, "label": f"more-{at}", "device_name": f"more-{at}"}
        for at in range(2000))])
    device = dial(proxy)
    device.log_in(entry["label"])

    def reload_often():
        for _ in range(50):
            assert proxy.reload()["event"] == "reloaded"
            device.publish(topic_of(entry), "x", qos=1)
        return proxy.memory()

    # a map of this size takes over 2 MB
    assert reload_often() + 40e6 > reload_often()
    assert works(cloud, entry, device)


@pytest.mark.parametrize("after, code", [
    (None, 5), ({"device_secret": "wrong-secret"}, 4), ({}, 0)],
    ids=["removed", "changed", "as before"])
def test_device_that_waits_for_its_turn(cloud, start, dial, after, code):
    """A take-over waits until the old link is closed; a reload meanwhile
    decides for the new connection."""
    entry, other = cloud.device(), cloud.device()
    proxy = start(cloud, entry, other, cloud={"close_timeout": "30s"})
    old, new = dial(proxy), dial(proxy)
    old.log_in(entry["label"])
    with cloud.halted():
        new.send_connect(entry["label"])
        assert old.until_closed() == []
        stays = [] if after is None else [{**entry, **after}]
        proxy.set_devices([other, *stays])
        assert proxy.reload()["event"] == "reloaded"
    assert new.connack().code == code
