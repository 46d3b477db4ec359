"""What the keys of devices.ini make of a login; the cloud checks each
signature."""

import hashlib
import hmac

import paho.mqtt.client as paho
import pytest

from cloud_process import PRODUCT, topic_of
from proxy import TIMEOUT, Proxy


def login_of(cloud, start, dial, entry):
    """Lets the device log in; returns the cloud's decision."""
    proxy = start(cloud, entry)
    dial(proxy).log_in(entry["label"])
    login = cloud.wait("login", entry)
    assert login["accepted"]
    return login


@pytest.mark.parametrize("method", ["hmacmd5", "hmacsha1", "hmacsha256"])
def test_sign_method(cloud, start, dial, method):
    entry = cloud.device(sign_method=method)
    login = login_of(cloud, start, dial, entry)
    assert login["sign_method"] == method
    assert f"signmethod={method}" in login["client_id"]


@pytest.mark.parametrize("given, signed", [
    ("none", None), ("1700000000000", "1700000000000")])
def test_timestamp(cloud, start, dial, given, signed):
    entry = cloud.device(timestamp=given)
    assert login_of(cloud, start, dial, entry)["timestamp"] == signed


def test_timestamp_is_that_of_the_dial(cloud, start, dial):
    login = login_of(cloud, start, dial, cloud.device())
    assert abs(int(login["timestamp"]) / 1000 - login["t"]) < TIMEOUT


def test_extra(cloud, start, dial):
    entry = cloud.device(extra="gw=1,lan=C")
    login = login_of(cloud, start, dial, entry)
    assert login["extra"] == {"gw": "1", "lan": "C"}


@pytest.mark.parametrize("client_id", ["", "0123456789", "x" * 64])
def test_client_id(cloud, start, dial, client_id):
    entry = cloud.device(client_id=client_id)
    login = login_of(cloud, start, dial, entry)
    assert login["client_id"].partition("|")[0] == client_id


def test_secret_in_a_file(cloud, start, dial, tmp_path):
    entry = cloud.device()
    secret = tmp_path / "secret"
    secret.write_text(entry.pop("device_secret") + "\n")
    secret.chmod(0o600)
    entry["device_secret_file"] = str(secret)
    login_of(cloud, start, dial, entry)


def test_secret_among_the_services_credentials(cloud, start, dial, tmp_path):
    """As systemd's LoadCredential= hands it over."""
    entry = cloud.device()
    folder = tmp_path / "credentials"
    folder.mkdir()
    (folder / "pump").write_text(entry.pop("device_secret") + "\n")
    entry["device_secret_file"] = "${CREDENTIALS_DIRECTORY}/pump"
    proxy = start(cloud, entry, env={"CREDENTIALS_DIRECTORY": str(folder)})
    dial(proxy).log_in(entry["label"])
    assert cloud.wait("login", entry)["accepted"]


def test_no_credentials_for_the_service(cloud, tmp_path):
    entry = cloud.device(device_secret=None,
                         device_secret_file="${CREDENTIALS_DIRECTORY}/pump")
    proxy = Proxy(tmp_path, [entry])
    try:
        assert proxy.start().wait() == 3
        line = proxy.raw_log().splitlines()[-1]
        assert "devices.ini:5: error: device_secret_file" in line
        assert "LoadCredential=" in line
    finally:
        proxy.kill()


def test_plain_websocket(plain_cloud, start, dial, listen):
    """Without TLS securemode is 3."""
    entry = plain_cloud.device()
    app = listen(plain_cloud, topic_of(entry))
    device = dial(start(plain_cloud, entry))
    device.log_in(entry["label"])
    login = plain_cloud.wait("login", entry)
    assert login["accepted"] and login["secure_mode"] == "3"
    assert login["tls"] is None
    device.publish(topic_of(entry), "x", qos=1)
    assert app.receive().payload == b"x"


def test_signature_is_not_logged(cloud, start, dial):
    entry = cloud.device(timestamp="1700000000000")
    proxy = start(cloud, entry)
    dial(proxy).log_in(entry["label"])
    name = entry["device_name"]
    content = (f"clientId{PRODUCT}.{name}deviceName{name}"
               f"productKey{PRODUCT}timestamp1700000000000")
    signature = hmac.new(entry["device_secret"].encode(), content.encode(),
                         hashlib.sha256).hexdigest()
    proxy.wait_log("session_up")
    assert signature not in proxy.raw_log().lower()


def test_device_credentials_stay_here(cloud, start):
    """Paho with a user name and a password of its own: the cloud sees the
    signed ones only."""
    entry = cloud.device()
    proxy = start(cloud, entry)
    device = paho.Client(entry["label"])
    device.username_pw_set("old-firmware", "old-password")
    device.connect("127.0.0.1", proxy.port)
    device.loop_start()
    try:
        device.publish(topic_of(entry), "x", qos=1).wait_for_publish(TIMEOUT)
    finally:
        device.disconnect()
        device.loop_stop()
    login = cloud.wait("login", entry)
    assert login["accepted"]
    assert login["user_name"] == f"{entry['device_name']}&{PRODUCT}"
    assert cloud.wait("publish", entry)["payload"] == "x"
    assert "old-password" not in proxy.raw_log()
