"""Several listeners, each with its own rules; load balancers before them; and
sockets that somebody else has opened."""

import contextlib
import os
import shutil
import socket
import struct
import subprocess
import tempfile

import pytest

from mqtt_raw import Client
from proxy import TIMEOUT, Proxy

SIGNATURE = b"\r\n\r\n\0\r\nQUIT\n"


class Through(Client):
    """A device on a socket that is connected already."""

    def __init__(self, connected, first=b""):
        self.level = 4
        self._bytes = bytearray()
        self.socket = connected
        self.socket.settimeout(TIMEOUT)
        self.socket.sendall(first)


@pytest.fixture
def folder():
    """A short path: an address of a Unix socket has room for 107 bytes."""
    with tempfile.TemporaryDirectory(prefix="lis-") as path:
        yield path


@pytest.fixture
def through():
    """through(socket or port, first bytes) -> device"""
    with contextlib.ExitStack() as last:
        def one(to, first=b""):
            if isinstance(to, int):
                to = socket.create_connection(("127.0.0.1", to), TIMEOUT)
            return last.enter_context(Through(to, first))

        yield one


def local(path):
    client = socket.socket(socket.AF_UNIX)
    client.connect(path)
    return client


def port_of(proxy, listener):
    return int(proxy.wait_log("listening", listener=listener)["port"])


def listening(family=socket.AF_INET, at=("127.0.0.1", 0)):
    made = socket.socket(family)
    made.bind(at)
    made.listen(64)
    return made


def binary(address, port=4711, command=1, behind=b""):
    """A header of version 2."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    there = socket.inet_pton(family, address)
    body = (there + bytes(len(there)) + struct.pack("!HH", port, 1883)
            + behind)
    return (SIGNATURE + bytes([0x20 | command,
                               0x21 if ":" in address else 0x11])
            + struct.pack("!H", len(body)) + body)


# ---- listeners ----

def test_several(cloud, start, through, folder):
    """IPv4, IPv6 and a Unix socket; one session each."""
    entries = [cloud.device() for _ in range(3)]
    path = f"{folder}/mqtt.sock"
    proxy = start(cloud, *entries, **{
        "listen:six": {"address": "::1", "port": 0},
        "listen:here": {"socket": path}})
    six = socket.create_connection(("::1", port_of(proxy, "six")), TIMEOUT)
    for entry, to in zip(entries, (proxy.port, six, local(path))):
        through(to).log_in(entry["label"])
    for entry, peer in zip(entries, ("127.0.0.1:", "[::1]:", "unix")):
        line = proxy.wait_log("session_up", label=entry["label"])
        assert line["peer"].startswith(peer)
    assert os.stat(path).st_mode & 0o777 == 0o660
    proxy.stop()
    assert not os.path.exists(path)


def test_both_families_at_one_port(cloud, start, through):
    """"::" leaves IPv4 to the listener that has it."""
    entries = [cloud.device() for _ in range(2)]
    with listening() as free:
        port = free.getsockname()[1]
    proxy = start(cloud, *entries, listen={"port": port}, **{
        "listen:six": {"address": "::", "port": port}})
    six = socket.create_connection(("::1", port), TIMEOUT)
    through(proxy.port).log_in(entries[0]["label"])
    through(six).log_in(entries[1]["label"])


def test_allow_from(cloud, start, through, dial):
    """Of each listener by itself, and as of the reload."""
    entry = cloud.device()
    others = {"listen:some": {"address": "127.0.0.1", "port": 0,
                              "allow_from": "127.0.0.2, 10.0.0.0/8"}}
    proxy = start(cloud, entry, **others)
    some = port_of(proxy, "some")
    through(proxy.port).log_in(entry["label"])
    assert through(some).until_closed() == []
    line = proxy.wait_log("connections_refused",
                          reason="listener_not_allowed", listener="some")
    assert line["peer"].startswith("127.0.0.1:")
    with Client(some, source="127.0.0.2") as device:
        device.log_in(entry["label"])
    others["listen:some"]["allow_from"] = "127.0.0.1"
    others["listen"] = {"port": proxy.port}
    proxy.set_settings(start.settings(cloud, others))
    assert proxy.reload()["event"] == "reloaded"
    through(some).log_in(entry["label"])


def test_interface(cloud, start, through):
    """Who comes by another one does not get in."""
    entry = cloud.device()
    proxy = start(cloud, entry, **{
        "listen:lo": {"port": 0, "interface": "lo"}})
    through(port_of(proxy, "lo")).log_in(entry["label"])


def test_no_such_interface(cloud, tmp_path):
    proxy = Proxy(tmp_path / "p", [cloud.device()],
                  {"listen": {"interface": "nowhere0"}})
    proxy.start()
    assert proxy.wait() == 1
    assert "this machine has no such interface" in proxy.raw_log()
    proxy.kill()


# ---- load balancers ----

@pytest.fixture
def balanced(cloud, start):
    """(proxy, entry, port of the listener that wants a header)"""
    entry = cloud.device(match_address="192.0.2.7")
    proxy = start(cloud, entry, **{"listen:lb": {
        "address": "127.0.0.1", "port": 0, "proxy_protocol": "yes",
        "proxy_from": "127.0.0.1", "allow_from": "192.0.2.0/24, 2001:db8::/32"
        ", 127.0.0.1"}})
    return proxy, entry, port_of(proxy, "lb")


@pytest.mark.parametrize("header", [
    b"PROXY TCP4 192.0.2.7 10.0.0.1 4711 1883\r\n", binary("192.0.2.7"),
    binary("192.0.2.7", behind=b"\x03\x00\x04abcd")],
    ids=["line", "binary", "more"])
def test_header(balanced, through, header):
    """The address in it is the device's; the entry is found by it."""
    proxy, entry, port = balanced
    through(port, header).log_in("whatever")
    assert proxy.wait_log("proxied")["peer"] == "192.0.2.7:4711"
    assert proxy.wait_log("session_up", label=entry["label"])["peer"] \
        == "192.0.2.7:4711"


def test_header_in_parts(balanced, through):
    proxy, _, port = balanced
    device = through(port)
    for byte in binary("192.0.2.7"):
        device.send(bytes([byte]))
    device.log_in("whatever")
    proxy.wait_log("proxied")


def test_header_is_judged(balanced, through):
    """By the listener's allow_from, and the entry's match_address."""
    proxy, _, port = balanced
    device = through(port, binary("198.51.100.1"))
    assert device.until_closed() == []
    line = proxy.wait_log("device_refused", reason="listener_not_allowed")
    assert line["peer"] == "198.51.100.1:4711"
    device = through(port, binary("2001:db8::9"))
    device.send_connect("whatever")
    assert [packet.body[1] for packet in device.until_closed()] == [5]
    assert proxy.wait_log("device_refused", reason="unknown_device")[
        "peer"] == "[2001:db8::9]:4711"


def test_no_header(balanced, through):
    proxy, _, port = balanced
    device = through(port)
    device.send_connect("whatever")
    assert device.until_closed() == []
    proxy.wait_log("device_refused", reason="bad_proxy_header")


def test_header_that_is_not_wanted(balanced, through):
    proxy, _, _ = balanced
    assert through(proxy.port, binary("192.0.2.7")).until_closed() == []
    assert "proxy_protocol" in proxy.wait_log(
        "device_refused", reason="not_mqtt")["detail"]


def test_untrusted(balanced):
    """A header from elsewhere is not even read."""
    proxy, _, port = balanced
    with Client(port, source="127.0.0.3") as device:
        with contextlib.suppress(OSError):
            device.send(binary("192.0.2.7"))
            assert device.until_closed() == []
    proxy.wait_log("connections_refused", reason="proxy_not_trusted")


def test_header_never_ends(cloud, start, through):
    proxy = start(cloud, cloud.device(), limits={"connect_timeout": "200ms"},
                  **{"listen:lb": {"address": "127.0.0.1", "port": 0,
                                   "proxy_protocol": "yes",
                                   "proxy_from": "127.0.0.1"}})
    assert through(port_of(proxy, "lb"), b"PROXY TCP4 ").until_closed() == []
    proxy.wait_log("device_refused", reason="connect_timeout")


def test_limit_by_address(cloud, start, through):
    """That of the device counts, and not that of the balancer."""
    entries = [cloud.device() for _ in range(2)]
    proxy = start(cloud, *entries, limits={"devices_per_address": 1},
                  **{"listen:lb": {"address": "127.0.0.1", "port": 0,
                                   "proxy_protocol": "yes",
                                   "proxy_from": "127.0.0.1"}})
    port = port_of(proxy, "lb")
    through(port, binary("192.0.2.1")).log_in(entries[0]["label"])
    through(port, binary("192.0.2.2")).log_in(entries[1]["label"])
    device = through(port, binary("192.0.2.2"))
    device.send_connect(entries[0]["label"])
    assert [packet.body[1] for packet in device.until_closed()] == [3]
    proxy.wait_log("device_refused", reason="too_many_from_address")


@pytest.fixture
def haproxy(tmp_path):
    """haproxy(target, options) -> the port devices connect to; a real one,
    which probes the target too."""
    program = shutil.which("haproxy", path=os.environ["PATH"] + ":/usr/sbin")
    assert program, "haproxy is not installed"
    with contextlib.ExitStack() as last:
        def run(target, options):
            front = last.enter_context(listening())
            config = tmp_path / "haproxy.cfg"
            config.write_text(
                "defaults\n mode tcp\n timeout connect 10s\n"
                " timeout client 1m\n timeout server 1m\n"
                f"listen mqtt\n bind fd@{front.fileno()}\n"
                f" server p {target} {options}\n")
            process = subprocess.Popen(
                [program, "-db", "-f", str(config)],
                pass_fds=[front.fileno()], stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            last.callback(process.wait)
            last.callback(process.kill)
            return front.getsockname()[1]

        yield run


@pytest.mark.parametrize("options", [
    "send-proxy", "send-proxy-v2",
    "send-proxy-v2 proxy-v2-options crc32c,unique-id",
    "send-proxy-v2 check inter 100ms check-send-proxy",
    "send-proxy check inter 100ms check-send-proxy"])
def test_haproxy(cloud, start, haproxy, options):
    """The device behind it is known by its own address."""
    entry = cloud.device(match_address="127.0.0.9")
    proxy = start(cloud, entry, **{"listen:lb": {
        "address": "127.0.0.1", "port": 0, "proxy_protocol": "yes",
        "proxy_from": "127.0.0.1"}})
    port = haproxy(f"127.0.0.1:{port_of(proxy, 'lb')}", options)
    with Client(port, source="127.0.0.9") as device:
        device.log_in("whatever")
        assert proxy.wait_log("proxied", peer=f"127.0.0.9:{device.port}")
    if "check" in options:
        # a probe: it has no CONNECT, and is not worth a line
        proxy.wait_log("device_refused", level="debug")
        assert not proxy.logs("device_refused", level="notice")


def test_haproxy_at_a_unix_socket(cloud, start, haproxy, folder):
    entry = cloud.device(match_address="127.0.0.9")
    path = f"{folder}/lb.sock"
    proxy = start(cloud, entry, **{"listen:lb": {
        "socket": path, "proxy_protocol": "yes"}})
    port = haproxy(f"unix@{path}", "send-proxy-v2")
    with Client(port, source="127.0.0.9") as device:
        device.log_in("whatever")
        assert proxy.wait_log("proxied", peer=f"127.0.0.9:{device.port}",
                              via="unix")


# ---- sockets from outside ----

def test_inherited(cloud, start, through):
    """By address, by name, or else by the rules of [listen]."""
    entry = cloud.device()
    with listening() as named, listening() as placed, listening() as other:
        port = placed.getsockname()[1]
        proxy = start(
            cloud, entry, sockets=[("some", named), ("x", placed),
                                   ("mqtt.socket", other)],
            **{"listen:some": {"port": 1, "allow_from": "10.0.0.1"},
               "listen:placed": {"address": "127.0.0.1", "port": port,
                                 "allow_from": "10.0.0.2"}})
        assert {(line["listener"], int(line["port"]), line["inherited"])
                for line in proxy.logs("listening")} == {
                    ("some", named.getsockname()[1], "yes"),
                    ("placed", port, "yes"),
                    ("listen", other.getsockname()[1], "yes")}
        for refused in (named, placed):
            assert through(refused.getsockname()[1]).until_closed() == []
        through(other.getsockname()[1]).log_in(entry["label"])


def test_inherited_unix_socket_stays(cloud, start, through, folder):
    entry = cloud.device()
    path = f"{folder}/s"
    with listening(socket.AF_UNIX, path) as made:
        proxy = start(cloud, entry, sockets=[("", made)])
        through(local(path)).log_in(entry["label"])
        proxy.stop()
        assert os.path.exists(path)


def test_inherited_is_no_listener(cloud, tmp_path):
    with socket.socket() as idle:
        proxy = Proxy(tmp_path / "p", [cloud.device()],
                      sockets=[("", idle)])
        proxy.start()
        assert proxy.wait() == 1
        assert "no stream socket that listens" in proxy.raw_log()
        proxy.kill()


def test_others_pid(cloud, start, through):
    """What was meant for another process is not taken."""
    entry = cloud.device()
    proxy = start(cloud, entry, env={
        "LISTEN_PID": "1", "LISTEN_FDS": "1", "LISTEN_FDNAMES": "listen"})
    assert proxy.wait_log("listening")["inherited"] == "no"
    through(proxy.port).log_in(entry["label"])
