"""What an administrator can do with the running proxy: by command, and by HTTP
where nobody else can have it done."""

import subprocess
import tempfile

import pytest

from proxy import TIMEOUT, Proxy, environment, program
from test_admin import get, get_status, talk
from test_hold import SWIFT, lose_link
from test_metrics import knock


@pytest.fixture
def path():
    with tempfile.TemporaryDirectory(prefix="adm-") as folder:
        yield f"{folder}/a.sock"


def run(path, *arguments):
    """(exit code, standard output, standard error)"""
    done = subprocess.run(
        [program(), *arguments, "--socket", path], capture_output=True,
        text=True, timeout=TIMEOUT, env=environment())
    return done.returncode, done.stdout, done.stderr


def post(path, target, *headers, host="localhost"):
    """The status."""
    lines = [f"POST {target} HTTP/1.1", *([f"Host: {host}"] if host else []),
             *headers, "", ""]
    return int(talk(path, "\r\n".join(lines).encode()).split()[1])


@pytest.mark.parametrize("level, told", [(4, []), (5, [0x98])])
def test_kick(cloud, start, dial, path, level, told):
    """Only that one; it may come back at once."""
    entry, other = cloud.device(), cloud.device()
    proxy = start(cloud, entry, other, admin={"socket": path})
    device, bystander = dial(proxy), dial(proxy)
    device.log_in(entry["label"], level)
    bystander.log_in(other["label"])
    code, text, _ = run(path, "kick", entry["label"])
    assert (code, text) == (0, "it is being closed\n")
    assert [packet.body[0] for packet in device.until_closed()] == told
    assert proxy.wait_log("session_end")["reason"] == "kicked"
    bystander.ping()
    dial(proxy).log_in(entry["label"], level)
    bystander.ping()


def test_kick_one_that_is_held(cloud, start, dial, path):
    entry = cloud.device()
    proxy = start(cloud, entry, admin={"socket": path}, dial=SWIFT)
    device = dial(proxy)
    device.log_in(entry["label"])
    cloud.fault(entry, refuse=3)
    lose_link(cloud, proxy, entry)
    assert run(path, "kick", entry["label"])[0] == 0
    device.until_closed()
    assert proxy.wait_log("session_end")["reason"] == "kicked"


def test_kick_nobody(cloud, start, path):
    entry = cloud.device()
    start(cloud, entry, admin={"socket": path})
    code, _, errors = run(path, "kick", entry["label"])
    assert code == 1 and "is not connected" in errors
    code, _, errors = run(path, "kick", "nobody")
    assert code == 1 and "no device has that label" in errors
    assert run(path, "kick")[0] == 2


def test_reload(cloud, start, path):
    """Tells how it went."""
    entry, other = cloud.device(), cloud.device()
    proxy = start(cloud, entry, admin={"socket": path})
    good = (proxy.folder / "devices.ini").read_text()
    proxy.set_devices([entry, other])
    code, text, _ = run(path, "reload")
    assert (code, text) == (0, "reloaded; 2 device(s)\n")
    proxy.set_devices(good + "[device:x\n")
    code, _, errors = run(path, "reload")
    assert code == 3 and "refused: " in errors and "devices.ini:" in errors
    assert get_status(path)["map"]["devices"] == 2
    proxy.set_devices(good)
    assert run(path, "reload")[0] == 0
    assert get_status(path)["map"]["devices"] == 1


def test_drain(cloud, start, dial, path):
    entry = cloud.device()
    proxy = start(cloud, entry, admin={"socket": path})
    device = dial(proxy)
    device.log_in(entry["label"], 5)
    code, text, _ = run(path, "drain")
    assert code == 0 and "ended in order" in text
    assert [packet.body[0] for packet in device.until_closed()] == [0x8B]
    assert proxy.wait() == 0


def test_log_level(cloud, start, dial, path):
    entry = cloud.device()
    proxy = start(cloud, entry, admin={"socket": path},
                  log={"level": "notice"})
    assert run(path, "log", "debug")[0] == 0
    dial(proxy).log_in(entry["label"])
    proxy.wait_log("session_up")
    assert run(path, "log", "error")[0] == 0
    knock(dial(proxy), "unheard")
    assert run(path, "reload")[0] == 0
    knock(dial(proxy), "heard")
    proxy.wait_log("device_refused", client_id="heard")
    assert not proxy.logs("device_refused", client_id="unheard")
    code, _, errors = run(path, "log", "loud")
    assert code == 1 and "debug" in errors


def test_only_who_means_it(cloud, start, path):
    """No GET, no page of a browser, no name that was made to lead here."""
    proxy = start(cloud, cloud.device(), admin={"socket": path})
    for action in ("/kick?label=x", "/reload", "/drain", "/log?level=debug"):
        code, headers, _ = get(path, action)
        assert (code, headers["Allow"]) == (405, "POST")
        assert post(path, action, "Origin: http://evil.example") == 403
        assert post(path, action, "Origin: null") == 403
        for host in (None, "", "evil.example", "localhost.evil.example",
                     "127.0.0.1.evil.example", "10.0.0.0/8", "[::1", "x" * 99):
            assert post(path, action, host=host) == 403, host
    assert post(path, "/reload", "Host: localhost") == 400
    assert post(path, "/reload", "Content-Length: 3") == 413
    assert get_status(path)["map"]["reloads"] == 0
    for host in ("localhost", "localhost:9100", "127.0.0.1:80", "[::1]:80",
                 "10.1.2.3"):
        assert post(path, "/reload", host=host) == 200, host
    assert proxy.logs("reloaded")


def test_health(cloud, start, path):
    """Lives, and lets devices in or not."""
    proxy = start(cloud, cloud.device(), admin={"socket": path})
    assert run(path, "healthcheck")[:2] == (0, "ok\n")
    assert run(path, "healthcheck", "--ready")[:2] == (0, "ready\n")
    proxy.stop()
    assert run(path, "healthcheck")[0] == 1


def test_not_ready_without_a_map(cloud, start, path, tmp_path):
    proxy = Proxy(tmp_path, [cloud.device()],
                  start.settings(cloud, {"admin": {"socket": path}}))
    (tmp_path / "devices.ini").unlink()
    with proxy:
        assert run(path, "healthcheck")[0] == 0
        code, _, errors = run(path, "healthcheck", "--ready")
        assert code == 1 and "there is no devices.ini yet" in errors
        assert get(path, "/readyz")[0] == 503
