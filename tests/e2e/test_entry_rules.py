"""What an entry of devices.ini demands of a device, or gives it, beyond who it
is."""

import subprocess

import pytest

import mqtt_raw as mqtt
from cloud_process import topic_of
from proxy import TIMEOUT, program

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


@pytest.mark.parametrize("reason, keys", [
    ("entry_disabled", {"enabled": "no"}),
    ("address_not_allowed", {"allow_from": "127.0.0.2"})])
def test_let_in_no_more_while_it_waits(cloud, start, dial, reason, keys):
    """A device whose older connection is still being closed."""
    entry = cloud.device()
    proxy = start(cloud, entry, cloud={"close_timeout": "30s"})
    old, new = dial(proxy), dial(proxy)
    old.log_in(entry["label"])
    with cloud.halted():
        new.send_connect(entry["label"])
        proxy.wait_log("session_end", reason="taken_over")
        proxy.set_devices([{**entry, **keys}])
        proxy.reload()
        assert new.connack().code == 5
    proxy.wait_log("device_refused", reason=reason, label=entry["label"])


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
    entry, other = cloud.device(on_link_loss="close"), cloud.device()
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


# the contract


@pytest.mark.parametrize("device_s, rules, cloud_s", [
    (0, {"keep_alive_zero": "40s"}, 40),
    (0, {}, 50),
    (900, {"keep_alive_max": "100s"}, 100),
    (900, {"contract": "aliyun"}, 900)])
def test_keep_alive_by_contract(cloud, start, dial, device_s, rules, cloud_s):
    """proxy.ini, then the entry, and a contract of its own leaves nothing."""
    entry = cloud.device(**rules)
    proxy = start(cloud, entry, contract={"keep_alive_zero": "50s",
                                          "keep_alive_max": "800s"})
    dial(proxy).log_in(entry["label"], keep_alive=device_s)
    assert cloud.wait("login", entry)["keep_alive"] == cloud_s


def test_contract_changed(cloud, start, dial):
    """Only rules that a session has begun by end it."""
    entry, other = cloud.device(), cloud.device()
    proxy = start(cloud, entry, other)
    device, bystander = dial(proxy), dial(proxy)
    device.log_in(entry["label"])
    bystander.log_in(other["label"])
    proxy.set_devices([{**entry, "keep_alive_max": "900s"},
                       {**other, "qos1_per_second": "20", "topic_max": "99"}])
    proxy.reload()
    assert device.until_closed() == []
    assert proxy.wait_log("session_end")["reason"] == "entry_changed"
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


# allow_from


@pytest.mark.parametrize("level, code", REFUSED)
def test_address_not_allowed(cloud, start, dial, level, code):
    entry = cloud.device(allow_from="127.0.0.4/30, 127.0.1.1, 2001:db8::/32")
    proxy = start(cloud, entry)
    for source in ("127.0.0.3", "127.0.0.8", "127.0.1.2"):
        told = refused(proxy, dial, entry, "address_not_allowed", level, code,
                       source=source)
        assert "allow_from" in told["hint"]
    assert not cloud.decisions("login", entry)
    for source in ("127.0.0.4", "127.0.0.7", "127.0.1.1"):
        device = dial(proxy, source=source)
        device.log_in(entry["label"], level)
        device.send(mqtt.DISCONNECT)
        device.until_closed()


def test_ipv4_device_on_an_ipv6_port(cloud, start, dial):
    """Its address is mapped into IPv6, and counts as what it is."""
    entry = cloud.device(allow_from="127.0.0.0/29")
    other = cloud.device(allow_from="::/0")
    proxy = start(cloud, entry, other, listen={"address": "::"})
    dial(proxy, source="127.0.0.7").log_in(entry["label"])
    refused(proxy, dial, other, "address_not_allowed")


def test_allow_from_by_a_reload(cloud, start, dial):
    """A device that may not come from where it is goes; others stay, also
    those that get a rule which lets them in."""
    entry, other = cloud.device(), cloud.device()
    proxy = start(cloud, entry, other)
    device, bystander = dial(proxy, source="127.0.0.5"), dial(proxy)
    device.log_in(entry["label"], 5)
    bystander.log_in(other["label"])
    proxy.set_devices([{**entry, "allow_from": "127.0.0.4"},
                       {**other, "allow_from": "127.0.0.1"}])
    assert proxy.reload()["event"] == "reloaded"
    assert [packet.body[0] for packet in device.until_closed()] == [0x87]
    assert proxy.wait_log("session_end")["reason"] == "address_not_allowed"
    assert works(cloud, other, bystander)
    refused(proxy, dial, entry, "address_not_allowed", source="127.0.0.5")
    dial(proxy, source="127.0.0.4").log_in(entry["label"])


# match_address with a prefix


def found(proxy, dial, **connect):
    """The label of the entry a device is let in as."""
    source = connect.pop("source", "127.0.0.1")
    device = dial(proxy, source=source)
    device.log_in(connect.pop("client_id", ""), **connect)
    up = proxy.wait_log("session_up", peer=f"{source}:{device.port}")
    device.send(mqtt.DISCONNECT)
    device.until_closed()
    return up["label"]


def test_prefixes(cloud, start, dial):
    """An address before a longer prefix before a shorter one, whatever the
    order in the file; each is gone after a reload without it."""
    places = ["127.0.0.17", "127.0.0.16/28", "127.0.0.0/24", "127.0.0.0/8"]
    entries = [cloud.device(match_address=place) for place in places]
    named = cloud.device(match_client_id="named")
    proxy = start(cloud, *reversed(entries), named)
    for source, at in (("127.0.0.17", 0), ("127.0.0.18", 1),
                       ("127.0.0.31", 1), ("127.0.0.32", 2),
                       ("127.0.1.17", 3)):
        assert found(proxy, dial, source=source) == entries[at]["label"]
    assert found(proxy, dial, source="127.0.0.17",
                 client_id="named") == named["label"]
    for at in range(1, len(entries)):
        proxy.set_devices([named, *entries[at:]])
        assert proxy.reload()["event"] == "reloaded"
        assert found(proxy, dial,
                     source="127.0.0.17") == entries[at]["label"]
    proxy.set_devices([named])
    proxy.reload()
    device = dial(proxy, source="127.0.0.17")
    device.send_connect("")
    assert device.connack().code == 5


# match_case


def test_match_case(cloud, start, dial):
    any_case = cloud.device(match_client_id="Pump-7", match_case="no")
    exact = cloud.device(match_client_id="pump-7")
    user = cloud.device(match_username="Operator", match_case="no")
    proxy = start(cloud, any_case, exact, user)
    assert found(proxy, dial, client_id="PUMP-7") == any_case["label"]
    assert found(proxy, dial, client_id="Pump-7") == any_case["label"]
    assert found(proxy, dial, client_id="pump-7") == exact["label"]
    assert found(proxy, dial, user_name="OPERATOR") == user["label"]
    # as before once capitals count again
    proxy.set_devices([{**any_case, "match_case": "yes"}, exact, user])
    assert proxy.reload()["event"] == "reloaded"
    device = dial(proxy)
    device.send_connect("PUMP-7")
    assert device.connack().code == 5
    assert found(proxy, dial, client_id="Pump-7") == any_case["label"]


@pytest.mark.parametrize("keys", [
    {"enabled": "true"}, {"keep_alive": "0"}, {"clean_session": "1"},
    {"allow_from": "192.0.2.1 192.0.2.2"}, {"match_address": "192.0.2.1/24"},
    {"match_case": "off"}], ids=lambda keys: next(iter(keys)))
def test_wrong_values(cloud, start, dial, keys):
    """are told; the map that was there goes on."""
    entry = cloud.device()
    proxy = start(cloud, entry)
    device = dial(proxy)
    device.log_in(entry["label"])
    proxy.set_devices([{**entry, **keys}])
    assert proxy.reload()["event"] == "reload_refused"
    (key, value), = keys.items()
    assert proxy.wait_log("config_complaint")["text"].startswith(
        f"{key} = {value}: ")
    assert works(cloud, entry, device)


# the command that tells it


def test_match_says_what_the_proxy_does(cloud, start, dial):
    """Every device, of all that differ in what they show."""
    entries = [
        cloud.device(match_client_id="Pump"),
        cloud.device(match_client_id="pump", match_case="no"),
        cloud.device(match_client_id="pump", match_case="no",
                     match_address="127.0.0.0/28"),
        cloud.device(match_username="User", match_case="no"),
        cloud.device(match_username="User", match_address="127.0.0.2"),
        cloud.device(match_address="127.0.0.0/30"),
        cloud.device(match_address="127.0.0.2", enabled="no"),
        cloud.device(match_address="127.0.0.0/29", allow_from="127.0.0.5")]
    proxy = start(cloud, *entries)
    files = ["--config", proxy.folder / "proxy.ini"]
    seen = set()
    for client_id in ("Pump", "PUMP", "fan"):
        for username in ("User", "user", "fan"):
            for source in ("127.0.0.1", "127.0.0.2", "127.0.0.5", "127.0.0.6",
                           "127.0.0.200"):
                device = dial(proxy, source=source)
                device.send_connect(client_id, user_name=username)
                device.connack()
                line = proxy.wait_log(("session_up", "device_refused"),
                                      peer=f"{source}:{device.port}")
                device.close()
                told = subprocess.run(
                    [program(), "match", *files, "--client-id", client_id,
                     "--username", username, "--address", source],
                    capture_output=True, text=True, timeout=TIMEOUT,
                    check=False)
                first = told.stdout.split("\n")[0]
                reason = line.get("reason")
                assert told.returncode == (reason == "unknown_device")
                if reason == "unknown_device":
                    assert first.startswith("no entry answers"), first
                    seen.add(reason)
                    continue
                label = (line.get("label")
                         or line["detail"].removeprefix("entry "))
                assert first.startswith(f"device {label} answers"), first
                assert ("refused, " in told.stdout) == bool(reason)
                assert not reason or f"refused, {reason}:" in told.stdout
                seen.update({label, reason})
    assert seen == {*(entry["label"] for entry in entries), None,
                    "unknown_device", "entry_disabled",
                    "address_not_allowed"}
