"""The admin socket: what the running proxy tells of itself, to HTTP clients
and to the command "status", and that nobody there can get into its way."""

import calendar
import contextlib
import json
import os
import re
import signal
import socket
import stat
import struct
import subprocess
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from prometheus_client.parser import text_string_to_metric_families

from bystander import Bystander, descriptors, limit_descriptors
from cloud_process import topic_of
from kernel import wait_until
from proxy import TIMEOUT, Proxy, environment, program

CLIENTS_MAX = 16    # served at once
MANY = 200


@pytest.fixture
def folder():
    """A short path: an address of a Unix socket has room for 107 bytes."""
    with tempfile.TemporaryDirectory(prefix="adm-") as path:
        yield path


@pytest.fixture
def path(folder):
    return f"{folder}/run/a.sock"


@pytest.fixture
def site(cloud, start, path):
    """(proxy, entry); the socket is at <path>."""
    entry = cloud.device()
    return start(cloud, entry, admin={"socket": path}), entry


def connect(path):
    client = socket.socket(socket.AF_UNIX)
    # not settimeout() yet: that would make a full queue an error
    client.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO,
                      struct.pack("@ll", TIMEOUT, 0))
    client.connect(path)
    client.settimeout(TIMEOUT)
    return client


def until_closed(client):
    """All that comes."""
    answer = b""
    with contextlib.suppress(ConnectionResetError):
        while more := client.recv(65536):
            answer += more
    return answer


def talk(path, request):
    with connect(path) as client:
        client.sendall(request)
        return until_closed(client)


def get(path, target, method="GET"):
    """(status, {header: value}, body)"""
    answer = talk(path, f"{method} {target} HTTP/1.1\r\n"
                        "Host: localhost\r\n\r\n".encode())
    head, _, body = answer.decode().partition("\r\n\r\n")
    first, *lines = head.split("\r\n")
    version, status, _ = first.split(" ", 2)
    assert version == "HTTP/1.1"
    headers = dict(line.split(": ", 1) for line in lines)
    assert headers["Connection"] == "close"
    if method != "HEAD":
        assert int(headers["Content-Length"]) == len(body.encode())
    return int(status), headers, body


def get_status(path):
    code, headers, body = get(path, "/status")
    assert (code, headers["Content-Type"]) == (200, "application/json")
    return json.loads(body)


def seconds(text):
    """Since 1970, of "2026-11-01T00:00:00Z"."""
    return calendar.timegm(time.strptime(text, "%Y-%m-%dT%H:%M:%SZ"))


SAMPLE = re.compile(r'([a-z0-9_]+)(?:\{([^}]*)\})? (\S+)')
LABEL = re.compile(r'([a-z_]+)="((?:[^"\\\n]|\\["\\])*)"')


def get_metrics(path, page="/metrics"):
    """{name or name{label=value,...}: value}; demands the form of Prometheus
    0.0.4, each family in one place with its HELP and TYPE before it."""
    code, headers, body = get(path, page)
    assert code == 200
    assert headers["Content-Type"].startswith("text/plain; version=0.0.4")
    assert body.endswith("\n")
    found, family, seen = {}, None, set()
    lines = iter(body[:-1].split("\n"))
    for line in lines:
        if line.startswith("# HELP "):
            family, text = line[7:].split(" ", 1)
            assert text and family not in seen
            seen.add(family)
            kind = next(lines)
            assert re.fullmatch(
                f"# TYPE {family} (gauge|counter|histogram)", kind)
            assert kind.endswith("counter") == family.endswith("_total")
            continue
        name, labels, number = SAMPLE.fullmatch(line).groups()
        assert name.startswith("mqtt_wss_proxy_")
        assert name == family or kind.endswith("histogram") and name in [
            f"{family}_{part}" for part in ("bucket", "sum", "count")]
        key = name[len("mqtt_wss_proxy_"):]
        if labels:
            pairs = LABEL.findall(labels)
            assert labels == ",".join(f'{a}="{b}"' for a, b in pairs)
            key += "{" + ",".join(f"{a}={b}" for a, b in pairs) + "}"
        assert key not in found
        found[key] = float(number)
    return found


def run_status(*arguments, env=None):
    """The command; (exit code, standard output, standard error)."""
    done = subprocess.run(
        [program(), "status", *map(str, arguments)], capture_output=True,
        text=True, timeout=TIMEOUT, env={**environment(), **(env or {})})
    return done.returncode, done.stdout, done.stderr


def test_status(site, path, dial):
    proxy, entry = site
    before = get_status(path)
    assert before["pid"] == proxy.pid
    assert before["version"] == proxy.logs("ready")[0]["version"]
    assert before["workers"] == int(proxy.logs("ready")[0]["workers"])
    assert abs(seconds(before["started"]) - time.time()) < TIMEOUT
    assert before["uptime_seconds"] < TIMEOUT
    assert before["connections"] == 0
    assert before["map"] == {
        "file": str(proxy.folder / "devices.ini"), "devices": 1,
        "loaded": before["map"]["loaded"], "reloads": 0,
        "reloads_refused": 0, "refused": False}
    assert seconds(before["map"]["loaded"]) <= seconds(before["started"])
    device = dial(proxy)
    device.log_in(entry["label"])
    assert get_status(path)["connections"] == 1
    device.close()
    wait_until(lambda: get_status(path)["connections"] == 0)


def test_metrics(site, path, dial):
    proxy, entry = site
    dial(proxy).log_in(entry["label"])
    proxy.reload()
    found = get_metrics(path)
    version = proxy.logs("ready")[0]["version"]
    now = time.time()
    assert abs(found.pop("start_time_seconds") - now) < TIMEOUT
    assert abs(found.pop("map_loaded_timestamp_seconds") - now) < TIMEOUT
    assert found.items() >= {
        f"build_info{{version={version}}}": 1, "connections": 1,
        "map_devices": 1, "map_reloads_total{result=ok}": 1,
        "map_reloads_total{result=refused}": 0, "map_refused": 0,
        "take_over_loops_total{where=lan}": 0,
        "take_over_loops_total{where=cloud}": 0,
        "ping_intervals_learned_total": 0}.items()


def test_metrics_as_a_client_of_prometheus_reads_them(site, path):
    families = list(text_string_to_metric_families(get(path, "/metrics")[2]))
    assert families and all(
        family.name.startswith("mqtt_wss_proxy_") and family.documentation
        and family.type in ("counter", "gauge", "histogram") and family.samples
        for family in families)


def test_health_and_what_is_no_page(site, path):
    assert get(path, "/healthz")[::2] == (200, "ok\n")
    assert get(path, "/healthz?verbose=1")[::2] == (200, "ok\n")
    for target in ("/page", "/status/", "/Status", "status", "http://x/status"):
        assert get(path, target)[0] == 404
    code, headers, body = get(path, "/status", "HEAD")
    assert (code, body) == (200, "")
    assert int(headers["Content-Length"]) > 100
    assert get(path, "/nowhere", "HEAD")[::2] == (404, "")
    code, headers, _ = get(path, "/status", "POST")
    assert (code, headers["Allow"]) == (405, "GET, HEAD")


def test_curl(site, path):
    done = subprocess.run(
        ["curl", "-sSf", "--unix-socket", path, "http://localhost/status"],
        capture_output=True, check=True, timeout=TIMEOUT)
    assert json.loads(done.stdout)["pid"] == site[0].pid


def test_broken_map_stays_visible(cloud, site, path, dial):
    """Until it is mended, in every way of asking."""
    proxy, entry = site
    config = ("--config", proxy.folder / "proxy.ini")
    good = (proxy.folder / "devices.ini").read_text()
    line = good.count("\n") + 2
    device = dial(proxy)
    device.log_in(entry["label"])
    assert run_status(*config)[0] == 0
    proxy.set_devices(good + '[device:x]\nport = 0"\n')
    assert proxy.reload()["event"] == "reload_refused"
    first = get_status(path)["map"]
    assert (first["refused"], first["devices"]) == (True, 1)
    refusal = first["refusal"]
    assert abs(seconds(refusal["since"]) - time.time()) < TIMEOUT
    assert refusal["file"] == str(proxy.folder / "devices.ini")
    assert refusal["line"] == line and "0\\x22" in refusal["text"]
    assert refusal["errors"] == len(
        proxy.logs("config_complaint", level="error"))
    assert refusal["errors"] > 1
    assert refusal["text"] in run_status(*config)[1]
    # refused again for another reason: since when stays, why does not
    proxy.set_devices(good + "[device:x\n")
    assert proxy.reload()["event"] == "reload_refused"
    again = get_status(path)["map"]
    assert again["reloads_refused"] == 2
    assert again["refusal"]["since"] == refusal["since"]
    assert again["refusal"]["line"] == line - 1
    assert get_metrics(path)["map_refused"] == 1
    assert get_metrics(path)["map_reloads_total{result=refused}"] == 2
    code, text, errors = run_status(*config)
    assert (code, errors) == (3, "")
    assert f"REFUSED since {refusal['since']}" in text
    assert f"devices.ini:{line - 1}: {again['refusal']['text']}\n" in text
    code, text, _ = run_status("--json", "--socket", path)
    assert code == 3 and json.loads(text)["map"] == again
    # mended
    proxy.set_devices(good)
    assert proxy.reload()["event"] == "reloaded"
    mended = get_status(path)["map"]
    assert not mended["refused"] and "refusal" not in mended
    assert (mended["reloads"], mended["reloads_refused"]) == (1, 2)
    assert get_metrics(path)["map_refused"] == 0
    code, text, _ = run_status(*config)
    assert code == 0 and "REFUSED" not in text
    device.publish(topic_of(entry), "x", qos=1)
    assert len(cloud.decisions("login", entry)) == 1


def test_other_refusals_are_visible(cloud, site, path, start):
    """Of settings, of trust, and of a map that has lost its devices."""
    proxy, entry = site
    good = (proxy.folder / "proxy.ini").read_text()
    settings = start.settings(cloud, {"admin": {"socket": path}})
    for broken, file, text in (
            (good + "[limits]\nworkers = many\n", "proxy.ini", "many"),
            ({**settings, "tls": {"ca_file": proxy.folder / "devices.ini"}},
             "proxy.ini", "devices.ini")):
        proxy.set_settings(broken)
        assert proxy.reload()["event"] == "reload_refused"
        told = get_status(path)["map"]["refusal"]
        assert told["file"] == str(proxy.folder / file)
        assert text in told["text"] and told["errors"] == 1
    proxy.set_settings(settings)
    proxy.set_devices("")
    assert proxy.reload()["event"] == "reload_refused"
    told = get_status(path)["map"]["refusal"]
    assert told["file"] == str(proxy.folder / "devices.ini")
    assert "no devices" in told["text"]
    assert run_status("--socket", path)[0] == 3


def test_socket_is_the_owners_and_goes(cloud, site, path, folder):
    proxy, _ = site
    mode = os.lstat(path).st_mode
    assert stat.S_ISSOCK(mode) and stat.S_IMODE(mode) == 0o600
    assert stat.S_IMODE(os.stat(os.path.dirname(path)).st_mode) == 0o755
    proxy.stop()
    assert os.listdir(os.path.dirname(path)) == []
    code, _, errors = run_status("--socket", path)
    assert code == 1 and path in errors and "is the proxy running" in errors


def test_leftover_is_replaced(cloud, start, path):
    """What a killed proxy leaves does not stop the next one."""
    settings = {"admin": {"socket": path}}
    first = start(cloud, cloud.device(), **settings)
    first.signal(signal.SIGKILL)
    first.wait()
    assert os.path.exists(path)
    code, _, errors = run_status("--socket", path)
    assert code == 1 and "does not run any more" in errors
    start.proxies.remove(first)
    first.kill()
    second = start(cloud, cloud.device(), **settings)
    assert get_status(path)["pid"] == second.pid


def fails_to_start(cloud, start, folder, path):
    """The exit code and what it says."""
    proxy = Proxy(folder, [cloud.device()],
                  start.settings(cloud, {"admin": {"socket": path}}))
    proxy.start()
    code = proxy.wait()
    proxy.kill()
    return code, proxy.raw_log()


def test_two_proxies_at_one_path(cloud, site, path, start, tmp_path):
    code, log = fails_to_start(cloud, start, tmp_path / "second", path)
    assert code == 1
    assert path in log and "another process listens there" in log
    assert "event=ready" not in log
    assert get_status(path)["pid"] == site[0].pid


def test_default_path(cloud, start, folder, monkeypatch, dial):
    """Whoever has not asked for it goes on without, and says so."""
    wrapper = os.path.join(folder, "program")
    with open(wrapper, "w", encoding="ascii") as file:
        # a /run of its own, which is <folder>
        file.write("#!/bin/sh\nexec unshare --mount sh -c 'mount --bind "
                   f"{folder} /run && exec {program()} \"$@\"' sh \"$@\"\n")
    os.chmod(wrapper, 0o700)
    monkeypatch.setenv("MQTT_WSS_PROXY", wrapper)
    settings = {"admin": {"socket": "/run/mqtt-wss-proxy/admin.sock"}}
    path = f"{folder}/mqtt-wss-proxy/admin.sock"
    first = start(cloud, cloud.device(), **settings)
    assert get_status(path)["pid"] == first.pid
    assert not first.logs("admin_unavailable")
    entry = cloud.device()
    second = start(cloud, entry, **settings)
    told, = second.logs("admin_unavailable")
    assert told["level"] == "warning"
    assert "another process listens there" in told["detail"]
    assert "[admin] socket" in told["hint"]
    dial(second).log_in(entry["label"])
    second.stop()
    assert get_status(path)["pid"] == first.pid


def test_paths_that_cannot_be(cloud, start, folder, tmp_path):
    """Nothing of others is replaced, and the message says what to do."""
    plain = os.path.join(folder, "plain")
    with open(plain, "w", encoding="ascii") as file:
        file.write("mine")
    for path, text in ((plain, "something else than a socket"),
                       (f"{plain}/a.sock", "Not a directory"),
                       (f"{folder}/no/no/a.sock", "cannot make its folder")):
        code, log = fails_to_start(cloud, start, tmp_path / "x", path)
        assert code == 1 and path in log and text in log
    with open(plain, encoding="ascii") as file:
        assert file.read() == "mine"
    for path in ("a.sock", "", f"/{'x' * 107}"):
        code, log = fails_to_start(cloud, start, tmp_path / "x", path)
        assert code == 3 and "socket: none is allowed, or a path" in log


def test_anothers_socket_is_left_alone(cloud, site, path):
    """One that somebody has put in the place of ours."""
    proxy, _ = site
    os.unlink(path)
    with socket.socket(socket.AF_UNIX) as other:
        other.bind(path)
        proxy.stop()
        assert os.path.exists(path)


def test_without_a_socket(cloud, start):
    proxy = start(cloud, cloud.device())
    code, _, errors = run_status("--config", proxy.folder / "proxy.ini")
    assert code == 1 and "socket = none" in errors


def test_changed_path_needs_a_restart(cloud, site, start, path):
    proxy, _ = site
    proxy.set_settings(start.settings(cloud, {"admin": {"socket": "none"}}))
    assert proxy.reload()["event"] == "reloaded"
    told, = proxy.logs("setting_needs_restart")
    assert (told["section"], told["key"]) == ("admin", "socket")
    assert get_status(path)["map"]["reloads"] == 1


GARBAGE = [b"\r\n\r\n", b"GET\r\n\r\n", b"GET /status\r\n\r\n",
           b"GET /status HTTP/2.0\r\n\r\n", b"\0\0\r\n\r\n" + b"\0" * 5000,
           b"GET  /status HTTP/1.1\r\n\r\n", b"\x10\x20\0\x04MQTT" * 1000,
           b"GET /" + b"a" * 5000 + b" HTTP/1.1\r\n\r\n",
           b"GET /status HTTP/1.1 \r\n\r\n", b"x" * 100000]


@pytest.mark.parametrize("garbage", GARBAGE, ids=range(len(GARBAGE)))
def test_garbage(site, path, garbage):
    with connect(path) as client:
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            client.sendall(garbage)
        answer = until_closed(client)
    assert re.match(rb"HTTP/1\.1 (400|431) ", answer)
    assert get(path, "/healthz")[0] == 200


def test_client_that_goes(site, path):
    """In the middle of a request, or without taking the answer."""
    proxy, _ = site
    at_rest = len(descriptors(proxy.pid))
    for request in (b"", b"GET /sta", b"GET /status HTTP/1.1\r\n\r\n"):
        for _ in range(2 * CLIENTS_MAX):
            with connect(path) as client:
                client.sendall(request)
    assert get(path, "/healthz")[0] == 200
    wait_until(lambda: len(descriptors(proxy.pid)) == at_rest)


def test_slow_clients_hold_up_nobody(site, path):
    """As many as are served at once, silent or dripping: devices go on, the
    slow ones are dropped, and whoever waited behind them is served."""
    proxy, entry = site
    bystander = Bystander(proxy, entry)
    with contextlib.ExitStack() as last:
        slow = [last.enter_context(connect(path))
                for _ in range(CLIENTS_MAX)]
        wait_until(lambda: len(descriptors(proxy.pid))
                   == bystander.at_rest + CLIENTS_MAX)
        waiting = last.enter_context(connect(path))
        waiting.sendall(b"GET /healthz HTTP/1.0\r\n\r\n")
        waiting.setblocking(False)
        drips = iter(b"GET /status HTTP/1.1\r\n" + b"A: b\r\n" * 1000)

        def is_served():
            bystander.works()
            with contextlib.suppress(BrokenPipeError, ConnectionResetError):
                slow[0].send(bytes([next(drips)]))
            with contextlib.suppress(BlockingIOError):
                return waiting.recv(100)

        assert wait_until(is_served).startswith(b"HTTP/1.1 200 ")
        assert until_closed(slow[0]) == b""
    bystander.end()


def test_many_at_once(site, path):
    """More than are served at once, and than may wait: each gets its answer,
    and the device beside them its own."""
    proxy, entry = site
    bystander = Bystander(proxy, entry)

    def ask(_):
        return get(path, "/status")[0]

    with ThreadPoolExecutor(MANY) as pool:
        answers = pool.map(ask, range(MANY))
        bystander.works()
        assert list(answers) == [200] * MANY
    bystander.end()


def test_without_descriptors(site, path):
    """Accepting rests, and goes on when there are some again."""
    proxy, entry = site
    bystander = Bystander(proxy, entry)
    limit_descriptors(proxy.pid, 0)
    with connect(path) as client:
        client.sendall(b"GET /healthz HTTP/1.1\r\n\r\n")
        bystander.works()
        limit_descriptors(proxy.pid, None)
        assert until_closed(client).startswith(b"HTTP/1.1 200 ")
    bystander.end()
