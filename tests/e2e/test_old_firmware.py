"""Devices whose firmware was made to talk to the platform itself: they sign
their login, and say with it who they are."""

import hmac

import pytest

import mqtt_raw as mqtt
from cloud_process import topic_of

METHODS = {"hmacmd5": "md5", "hmacsha1": "sha1", "hmacsha256": "sha256"}
LEVELS = [(3, 5), (4, 5), (5, 0x87)]


def login(entry, method="hmacsha1", timestamp="1479700000000", own_id="A8:5E",
          secret=None, tail=",_v=aos-r-3.0.3,lan=JS|Ali,", **names):
    """The fields of a CONNECT, as the platform's documentation has them.
    method None: the parameter is left out, which means hmacmd5."""
    name = names.get("device_name", entry["device_name"])
    key = names.get("product_key", entry["product_key"])
    content = f"clientId{own_id}deviceName{name}productKey{key}"
    parameters = "securemode=3"
    if method:
        parameters += f",signmethod={method}"
    if timestamp:
        content += f"timestamp{timestamp}"
        parameters += f",timestamp={timestamp}"
    return {
        "client_id": f"{own_id}|{parameters}{tail}|",
        "user_name": f"{name}&{key}",
        "password": hmac.new(
            (secret or entry["device_secret"]).encode(), content.encode(),
            METHODS[method or "hmacmd5"]).hexdigest()}


def gets_in(cloud, proxy, dial, entry, shown, level=4):
    """As this entry, and is heard."""
    device = dial(proxy)
    device.log_in(level=level, **shown)
    up = proxy.wait_log("session_up", peer=f"127.0.0.1:{device.port}")
    assert up["label"] == entry["label"]
    device.publish(topic_of(entry), "x", qos=1)
    device.send(mqtt.DISCONNECT)
    device.until_closed()


def refused(proxy, dial, shown, reason, level=4, code=5):
    device = dial(proxy)
    device.send_connect(level=level, **shown)
    assert device.connack().code == code
    assert device.until_closed() == []
    return proxy.wait_log("device_refused", reason=reason,
                          peer=f"127.0.0.1:{device.port}")


# a refusal is told at once
SOON = {"wrong_password_pause": 0}


@pytest.mark.parametrize("level", [3, 4, 5])
def test_is_found_by_its_identity(cloud, start, dial, level):
    """Whatever keys its entry has; what it has signed is not looked at."""
    entry = cloud.device(match_client_id="something else")
    proxy = start(cloud, cloud.device(), entry, cloud.device())
    shown = login(entry, secret="wrong")
    gets_in(cloud, proxy, dial, entry, shown, level)


def test_address_of_the_entry_must_hold(cloud, start, dial):
    entry = cloud.device(match_address="127.0.0.2")
    proxy = start(cloud, entry)
    refused(proxy, dial, login(entry), "unknown_device")


def test_keys_go_before(cloud, start, dial):
    entry, other = cloud.device(), cloud.device()
    shown = login(entry)
    other["match_username"] = shown["user_name"]
    proxy = start(cloud, entry, other)
    gets_in(cloud, proxy, dial, other, shown)


def test_unknown_identity(cloud, start, dial):
    entry, stranger = cloud.device(), cloud.device()
    proxy = start(cloud, entry)
    refused(proxy, dial, login(stranger), "unknown_device")
    # not in the form of a login
    shown = login(entry)
    refused(proxy, dial, {**shown, "client_id": "A8:5E"}, "unknown_device")


@pytest.mark.parametrize("timestamp", [None, "789", "2524608000000"])
@pytest.mark.parametrize("method", [None, *METHODS])
def test_verified(cloud, start, dial, method, timestamp):
    entry = cloud.device(verify_login="yes")
    proxy = start(cloud, entry, limits=SOON)
    shown = login(entry, method, timestamp)
    gets_in(cloud, proxy, dial, entry, shown)
    capitals = {**shown, "password": shown["password"].upper()}
    gets_in(cloud, proxy, dial, entry, capitals)
    wrong = login(entry, method, timestamp, secret="wrong")
    told = refused(proxy, dial, wrong, "bad_signature")
    assert wrong["password"] not in proxy.raw_log()
    assert entry["label"] in told["detail"] and "device_secret" in told["hint"]


@pytest.mark.parametrize("own_id", ["", "a" * 64])
def test_verified_client_ids(cloud, start, dial, own_id):
    entry = cloud.device(verify_login="yes")
    proxy = start(cloud, entry)
    gets_in(cloud, proxy, dial, entry, login(entry, own_id=own_id))


@pytest.mark.parametrize("level, code", LEVELS)
def test_what_is_refused(cloud, start, dial, level, code):
    """Whatever the entry was found by."""
    entry, other = (cloud.device(verify_login="yes", match_address=address)
                    for address in ("127.0.0.1", "127.0.0.2"))
    proxy = start(cloud, entry, other, limits=SOON)
    good = login(entry)
    hostile = [
        {"client_id": "any"},
        {**good, "password": None},
        {**good, "password": ""},
        {**good, "password": good["password"] + "0"},
        {**good, "password": good["password"][:-1]},
        {**good, "user_name": good["user_name"] + "x"},
        {**good, "client_id": good["client_id"][:-1]},
        {**good, "client_id": good["client_id"].replace("A8", "A9")},
        {**good, "client_id": good["client_id"].replace("14797", "14798")},
        {**good, "client_id": good["client_id"].replace(
            "signmethod=hmacsha1", "signmethod=hmacsha1,signmethod=hmacsha1")},
        {**good, "client_id": good["client_id"].replace(
            "hmacsha1", "hmacsha256")},
        login(entry, own_id="a" * 65),
        # signed as it should be, by another device, or for one
        login(other, secret=entry["device_secret"]),
        login(other),
    ]
    for shown in hostile:
        refused(proxy, dial, shown, "bad_signature", level, code)
    assert not cloud.decisions("login")
    gets_in(cloud, proxy, dial, entry, good, level)


def test_product_verifies(cloud, start, dial):
    """An entry of its own may still not."""
    entry, other = cloud.device(), cloud.device(verify_login="no")
    proxy = start(cloud, entry, other, limits=SOON)
    text = (proxy.folder / "devices.ini").read_text()
    proxy.set_devices(
        text + f"\n[product:{entry['product_key']}]\nverify_login = yes\n")
    assert proxy.reload()["event"] == "reloaded"
    refused(proxy, dial, {"client_id": entry["label"]}, "bad_signature")
    gets_in(cloud, proxy, dial, entry, login(entry))
    gets_in(cloud, proxy, dial, other, {"client_id": other["label"]})


def test_demanded_by_a_reload(cloud, start, dial):
    """Who is online has not shown it: it has to come again."""
    entry = cloud.device()
    proxy = start(cloud, entry)
    device = dial(proxy)
    device.log_in(**login(entry))
    proxy.set_devices([{**entry, "verify_login": "yes"}])
    assert proxy.reload()["event"] == "reloaded"
    assert device.until_closed() == []
    assert proxy.wait_log("session_end")["reason"] == "entry_changed"
    gets_in(cloud, proxy, dial, entry, login(entry))


def test_fleet(cloud, start, dial, tmp_path):
    """Each of them with its own secret from the table, and with no other."""
    entries = [cloud.device() for _ in range(3)]
    table = tmp_path / "secrets.csv"
    table.write_text("DeviceName,DeviceSecret\n" + "".join(
        f"{entry['device_name']},{entry['device_secret']}\n"
        for entry in entries))
    proxy = start(cloud, {
        "label": "pumps", "product_key": entries[0]["product_key"],
        "device_secrets_file": table, "host": "localhost",
        "verify_login": "yes"}, limits=SOON)
    for entry in entries:
        gets_in(cloud, proxy, dial,
                {**entry, "label": f"pumps/{entry['device_name']}"},
                login(entry))
    refused(proxy, dial, login(
        entries[0], secret=entries[1]["device_secret"]), "bad_signature")
