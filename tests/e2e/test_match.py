"""Which entry of devices.ini a device is, and what it has to show."""

import pytest

import mqtt_raw as mqtt
from cloud_process import topic_of


def logs_in(cloud, proxy, dial, entry, source="127.0.0.1", **connect):
    """True: as this entry. False: refused as unknown."""
    device = dial(proxy, source=source)
    device.send_connect(**connect)
    answer = device.connack()
    if answer.code == 0:
        device.publish(topic_of(entry), "x", qos=1)
        device.send(mqtt.DISCONNECT)
        device.until_closed()
        return True
    assert answer.code == 5
    proxy.wait_log("device_refused", reason="unknown_device",
                   peer=f"{source}:{device.port}")
    return False


def test_client_id(cloud, start, dial):
    entry = cloud.device(match_client_id="PUMP 7/Ost")
    proxy = start(cloud, entry)
    assert logs_in(cloud, proxy, dial, entry, client_id="PUMP 7/Ost")
    assert not logs_in(cloud, proxy, dial, entry, client_id="pump 7/ost")
    # with a key given, the label is none any more
    assert not logs_in(cloud, proxy, dial, entry, client_id=entry["label"])


def test_username(cloud, start, dial):
    entry = cloud.device(match_username="old user")
    proxy = start(cloud, entry)
    assert logs_in(cloud, proxy, dial, entry, client_id="any",
                   user_name="old user")
    assert logs_in(cloud, proxy, dial, entry, client_id="",
                   user_name="old user", password="any")
    assert not logs_in(cloud, proxy, dial, entry, client_id="any")
    assert not logs_in(cloud, proxy, dial, entry, client_id="old user")


def test_address(cloud, start, dial):
    entry = cloud.device(match_address="127.0.0.2")
    proxy = start(cloud, entry)
    assert logs_in(cloud, proxy, dial, entry, "127.0.0.2", client_id="")
    assert logs_in(cloud, proxy, dial, entry, "127.0.0.2", client_id="any")
    assert not logs_in(cloud, proxy, dial, entry, "127.0.0.3", client_id="")


# from the most telling to the least
KEYS = [
    ("client_id", "username", "address"), ("client_id", "username"),
    ("client_id", "address"), ("client_id",), ("username", "address"),
    ("username",), ("address",)]
VALUES = {"client_id": "common", "username": "user", "address": "127.0.0.4"}


def test_most_telling_entry_wins(cloud, start, dial):
    """All seven kinds of entries fit the device; they are taken away from
    the first on."""
    entries = [cloud.device(**{f"match_{key}": VALUES[key] for key in keys})
               for keys in KEYS]
    proxy = start(cloud, *reversed(entries))
    for at, entry in enumerate(entries):
        proxy.set_devices(entries[:at - 1:-1] if at else entries)
        assert proxy.reload()["event"] == "reloaded"
        device = dial(proxy, source="127.0.0.4")
        device.log_in("common", user_name="user")
        up = proxy.wait_log("session_up", peer=f"127.0.0.4:{device.port}")
        assert up["label"] == entry["label"], KEYS[at]


@pytest.mark.parametrize("keys", KEYS, ids="+".join)
def test_all_keys_of_an_entry_must_fit(cloud, start, dial, keys):
    entry = cloud.device(**{f"match_{key}": VALUES[key] for key in keys})
    proxy = start(cloud, entry)
    for wrong in (None, *keys):
        assert logs_in(
            cloud, proxy, dial, entry,
            "127.0.0.9" if wrong == "address" else VALUES["address"],
            client_id="x" if wrong == "client_id" else VALUES["client_id"],
            user_name="x" if wrong == "username" else VALUES["username"],
        ) == (wrong is None), wrong


@pytest.mark.parametrize("level, code", [(3, 5), (4, 5), (5, 0x87)])
@pytest.mark.parametrize("shown", [None, "", "Local-Password", "local-passwor",
                                   "local-password-"])
def test_wrong_local_password(cloud, start, dial, level, code, shown):
    entry = cloud.device(password="local-password")
    proxy = start(cloud, entry)
    device = dial(proxy)
    # MQTT-3.1.2-22: below level 5 no password without a user name
    device.send_connect(entry["label"], level, password=shown,
                        user_name=None if shown is None else "user")
    assert device.connack().code == code
    assert device.until_closed() == []
    told = proxy.wait_log("device_refused")
    assert told["reason"] == "bad_password"
    if shown:
        assert shown not in proxy.raw_log()
    assert not cloud.decisions("login", entry)


@pytest.mark.parametrize("level", [3, 4, 5])
def test_right_local_password(cloud, start, dial, level):
    """is for the proxy alone: the cloud's own check of the password it
    gets is what shows it."""
    entry = cloud.device(password="local-password")
    proxy = start(cloud, entry)
    device = dial(proxy)
    device.log_in(entry["label"], level, user_name="user",
                  password="local-password")
    assert cloud.wait("login", entry)["accepted"]
