"""What an administrator can do with the running proxy: by command, and by HTTP
where nobody else can have it done."""

import json
import os
import signal
import subprocess
import tempfile
import urllib.error
import urllib.request

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
    # what has ended the last session is not why the new one is as it is
    back, = [each for each in get_status(path)["devices"]
             if each["label"] == entry["label"]]
    assert (back["state"], back["reason"], back["last_reason"]) == (
        "online", "none", "kicked")


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


def test_log_level_of_a_device(cloud, start, dial, path):
    """Over connections and reloads, and of no other one."""
    entry, other = cloud.device(), cloud.device()
    proxy = start(cloud, entry, other, admin={"socket": path},
                  log={"level": "notice"})
    assert run(path, "log", "info", entry["label"])[0] == 0
    assert run(path, "reload")[0] == 0
    for count in (1, 2):
        for one in (other, entry):
            with dial(proxy) as device:
                device.log_in(one["label"])
        proxy.wait_log("session_end", label=entry["label"], count=count)
    assert not proxy.logs(label=other["label"])
    assert run(path, "log", "default", entry["label"])[:2] == (
        0, "that device is logged again as the files say\n")
    dial(proxy).log_in(entry["label"])
    knock(dial(proxy), "heard")
    proxy.wait_log("device_refused", client_id="heard")
    assert len(proxy.logs("session_up", label=entry["label"])) == 2
    for wrong in (("loud", entry["label"]), ("info", "nobody"), ("default",)):
        assert run(path, "log", *wrong)[0] == 1
    assert run(path, "log", "info", "a", "b")[0] == 2


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


@pytest.mark.parametrize("level", [4, 5])
def test_not_ready_without_a_cloud(cloud, start, dial, path, level):
    """Until a device is let in again. A login that is refused says nothing of
    the way to the cloud."""
    entry, wrong = cloud.device(), cloud.device()
    stranger = {**wrong, "device_secret": "f" * 32}
    proxy = start(cloud, entry, stranger, admin={"socket": path},
                  dial={"network_first": "10ms", "network_max": "10ms"})
    knock(dial(proxy), stranger["label"])
    assert run(path, "healthcheck", "--ready")[:2] == (0, "ready\n")
    with cloud.down():
        device = dial(proxy)
        device.send_connect(entry["label"], level)
        assert device.connack().code != 0
        code, _, errors = run(path, "healthcheck", "--ready")
        assert code == 1
        assert "the cloud cannot be reached: cloud_refused: " in errors
        assert run(path, "healthcheck")[:2] == (0, "ok\n")
    log_in_when_possible(dial, proxy, entry["label"], level)
    assert run(path, "healthcheck", "--ready")[:2] == (0, "ready\n")


def log_in_when_possible(dial, proxy, label, level):
    """It may be told to come again for a moment (dial_backoff)."""
    device = dial(proxy)
    device.send_connect(label, level)
    while device.connack().code != 0:
        device.until_closed()
        device = dial(proxy)
        device.send_connect(label, level)


# ---- by TCP ----

TOKEN = "correct-horse-battery"


@pytest.fixture
def by_tcp(cloud, start, path, port, tmp_path):
    (tmp_path / "token").write_text(TOKEN + "\n")
    return start(cloud, cloud.device(), admin={
        "socket": path, "listen": f"127.0.0.1:{port}",
        "token_file": tmp_path / "token"})


def ask(port, target, token=None, method="GET", headers=()):
    """(status, body)"""
    request = urllib.request.Request(
        f"http://127.0.0.1:{port}{target}", method=method,
        headers=dict(headers))
    if token is not None:
        request.add_header("Authorization", token)
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(request, timeout=TIMEOUT) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read().decode()


def test_token(by_tcp, port, path):
    """Nothing without it, not even what is there."""
    for token in (None, "", "Bearer", "Bearer ", f"Bearer {TOKEN}x",
                  f"Bearer {TOKEN[:-1]}", f"Basic {TOKEN}", TOKEN):
        for target in ("/status", "/healthz", "/nowhere", "/kick"):
            assert ask(port, target, token)[0] == 401
        assert ask(port, "/drain", token, "POST")[0] == 401
    right = f"Bearer {TOKEN}"
    assert ask(port, "/healthz", right) == (200, "ok\n")
    assert json.loads(ask(port, "/status", right)[1])["pid"] == by_tcp.pid
    assert ask(port, "/reload", right, "POST")[0] == 200
    assert ask(port, "/reload", right, "POST",
               {"Origin": "http://127.0.0.1"})[0] == 403
    # the owner's socket needs none
    assert get(path, "/healthz")[0] == 200
    assert TOKEN not in by_tcp.raw_log()


def test_another_token(by_tcp, port, path, tmp_path):
    """It is read again with the other files."""
    (tmp_path / "token").write_text("another-token-of-ours")
    assert run(path, "reload")[0] == 0
    assert ask(port, "/healthz", f"Bearer {TOKEN}")[0] == 401
    assert ask(port, "/healthz", "Bearer another-token-of-ours")[0] == 200


def test_handed_over(by_tcp, port):
    """The port goes to a new process as the others do."""
    right = f"Bearer {TOKEN}"
    by_tcp.signal(signal.SIGUSR2)
    pid = int(by_tcp.wait_log("handed_over")["pid"])
    try:
        assert json.loads(ask(port, "/status", right)[1])["pid"] == pid
    finally:
        os.kill(pid, signal.SIGTERM)
    by_tcp.wait()


@pytest.mark.parametrize("admin, text", [
    ({"listen": "127.0.0.1:9441"}, "listen needs a token_file"),
    ({"listen": "localhost:9441"}, "an address and a port"),
    ({"listen": "127.0.0.1"}, "an address and a port"),
    ({"token_file": "nowhere"}, "token_file: "),
    ({"token_file": "short"}, "under 16 characters"),
    ({"token_file": "blank"}, "without blanks"),
    ({"listen": "127.0.0.1:9441", "socket": "none"}, "needs a socket")])
def test_settings_that_cannot_be(cloud, start, tmp_path, admin, text):
    (tmp_path / "short").write_text("x" * 15)
    (tmp_path / "blank").write_text("x" * 15 + " y")
    admin = {"socket": "/nowhere", **admin}
    proxy = Proxy(tmp_path, [cloud.device()],
                  start.settings(cloud, {"admin": admin}))
    proxy.start()
    code = proxy.wait()
    proxy.kill()
    assert code == 3 and text in proxy.raw_log()
