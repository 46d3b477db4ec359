"""The program around the proxy: how it starts, or does not, and what it
says about that."""

import socket
import subprocess

import pytest

from proxy import TIMEOUT, Proxy, program


def run(proxy, *arguments):
    return subprocess.run(
        [program(), *arguments, "--config", proxy.folder / "proxy.ini"],
        capture_output=True, text=True, timeout=TIMEOUT, check=False)


def test_port_in_use(cloud, tmp_path):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        proxy = Proxy(tmp_path, [cloud.device()], {"listen": {"port": port}})
        try:
            assert proxy.start().wait() == 1
            text = proxy.raw_log()
            assert str(port) in text and "in use" in text
            assert "[listen] port" in text
            proxy.check_log()
        finally:
            proxy.kill()


@pytest.mark.parametrize("settings, devices, named", [
    ("[listen]\nport = 99999\n", None, "proxy.ini:2: error: "),
    ("[listen]\nprot = 1883\n", None, "proxy.ini:2: error: "),
    (None, "[device:pump]\nproduct_key = x\n", "devices.ini:1: error: "),
    (None, "[device:pump\n", "devices.ini:1: error: ")])
def test_files_that_are_wrong(cloud, tmp_path, settings, devices, named):
    """One word about each mistake, with the line, and exit code 3."""
    proxy = Proxy(tmp_path, [cloud.device()] if devices is None else devices,
                  settings)
    try:
        assert proxy.start().wait() == 3
        assert named in proxy.raw_log()
        assert not proxy.logs("ready")
        proxy.check_log()
    finally:
        proxy.kill()


def test_map_without_devices(tmp_path):
    """is allowed, for the one who sets up the proxy first, but told."""
    with Proxy(tmp_path, "") as proxy:
        assert "every device will be refused" in proxy.raw_log()


def test_check_of_files_in_use(cloud, start):
    entry = cloud.device(password="local-password")
    proxy = start(cloud, entry)
    found = run(proxy, "check")
    assert found.returncode == 0, found.stderr
    assert f"wss://localhost:{cloud.port}/mqtt" in found.stdout
    for secret in (entry["device_secret"], entry["password"]):
        assert secret not in found.stdout + found.stderr


def test_sign_as_the_proxy_does(cloud, start, dial):
    entry = cloud.device(timestamp="1700000000000", extra="a=b")
    proxy = start(cloud, entry)
    dial(proxy).log_in(entry["label"])
    login = cloud.wait("login", entry)
    found = run(proxy, "sign", entry["label"])
    assert found.returncode == 0
    fields = dict(line.split("=", 1) for line in found.stdout.splitlines())
    assert fields["client_id"] == (
        "{client_id}|securemode=2,signmethod=hmacsha256,"
        "timestamp=1700000000000,a=b|".format(
            client_id=login["client_id"].partition("|")[0]))
    assert fields["username"] == login["user_name"]
    assert len(fields["password"]) == 64
    assert entry["device_secret"] not in found.stdout + found.stderr


def test_ready_line(cloud, start):
    proxy = start(cloud, cloud.device(), cloud.device(),
                  limits={"workers": 3})
    ready = proxy.wait_log("ready")
    assert ready["address"] == "127.0.0.1"
    assert (ready["devices"], ready["workers"]) == ("2", "3")


def test_unverified_tls_is_said_loudly(cloud, start, dial):
    entry = cloud.device()
    proxy = start(cloud, entry, tls={"verify": "no"})
    told = proxy.wait_log("tls_not_verified")
    assert told["level"] == "warning"
    dial(proxy).log_in(entry["label"])


def test_untrusted_cloud(cloud, tmp_path, dial):
    """Without the throw-away root no login gets out."""
    entry = cloud.device()
    with Proxy(tmp_path, [entry], {"cloud": {"port": cloud.port}}) as proxy:
        device = dial(proxy)
        device.send_connect(entry["label"])
        assert device.connack().code == 3
        end = proxy.wait_log("session_end")
        assert end["reason"] == "cert_untrusted"
        assert "ca_file" in end["hint"]
    assert not cloud.decisions("login", entry)
