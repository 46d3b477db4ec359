"""docs/hard-coded-brokers.md: what it tells to do leads a device that knows
another broker to the proxy. The recipes are taken from that page as they stand
there; networks, DNS server and proxy are real."""

import pathlib
import re
import shutil
import socket
import struct
import subprocess

import pytest

import mqtt_raw as mqtt
from netns import Namespace, Unavailable
from proxy import ROOT, TIMEOUT, Proxy

PAGE = (ROOT / "docs" / "hard-coded-brokers.md").read_text()
BROKER = "203.0.113.10"
NAME = "mqtt.vendor.example"
SETTINGS = {"listen": {"address": "0.0.0.0", "port": 1883}}


def recipe(kind, words):
    """The block of that kind which has the words."""
    found = [block for block in re.findall(rf"```{kind}\n(.*?)```", PAGE, re.S)
             if words in block]
    assert len(found) == 1
    return found[0]


def use(space, folder, rules):
    path = pathlib.Path(folder) / "rules.nft"
    path.write_text(rules)
    space.run("nft", "-c", "-f", str(path))
    space.run("nft", "-f", str(path))


@pytest.fixture
def spaces():
    """Three networks without a cable between them."""
    try:
        with Namespace() as one, Namespace() as two, Namespace() as three:
            yield one, two, three
    except Unavailable as why:
        pytest.skip(f"no network namespaces: {why}")


def rename(space, end, name):
    space.run("ip", "link", "set", end, "down")
    space.run("ip", "link", "set", end, "name", name)
    space.run("ip", "link", "set", name, "up")


@pytest.fixture
def lan(spaces):
    """(device, machine of the proxy, which is its gateway)"""
    device, machine, _ = spaces
    _, end = device.link(machine, "192.168.1.17/24", "192.168.1.2/24")
    rename(machine, end, "lan0")
    device.run("ip", "route", "add", "default", "via", "192.168.1.2")
    return device, machine


@pytest.fixture
def proxy(spaces, tmp_path):
    with spaces[1].entered():
        running = Proxy(tmp_path, [], SETTINGS).start()
    running.ready()
    yield running
    running.finish()


def knock(space, address):
    """A device that is not in the map; it is told so."""
    with space.entered():
        s = socket.create_connection((address, 1883), TIMEOUT)
    with s:
        s.sendall(mqtt.connect("OLD-ONE"))
        assert s.recv(4, socket.MSG_WAITALL) == bytes([0x20, 2, 0, 5])


def came_from(proxy):
    line = proxy.wait_log("device_refused")
    assert line["client_id"] == "OLD-ONE"
    return line["peer"].rsplit(":", 1)[0]


def look_up(space, server, kind):
    """The addresses that a device gets for the broker's name."""
    labels = b"".join(bytes([len(part)]) + part.encode()
                      for part in NAME.split("."))
    query = struct.pack(">6H", 7, 0x100, 1, 0, 0, 0) + labels + struct.pack(
        ">BHH", 0, kind, 1)
    with space.entered():
        s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    with s:
        s.settimeout(TIMEOUT)
        s.connect((server, 53))
        s.send(query)
        answer = s.recv(512)
    number, flags, _, count, *_ = struct.unpack(">6H", answer[:12])
    assert number == 7
    assert flags & 15 in (0, 3)
    return [socket.inet_ntoa(answer[-4:])] if count == 1 else []


@pytest.fixture
def dns(lan, tmp_path):
    """dnsmasq on the proxy's machine, as the page has it."""
    if shutil.which("dnsmasq") is None:
        pytest.skip("dnsmasq is not installed")
    path = tmp_path / "dnsmasq.conf"
    path.write_text(recipe("conf", "address="))
    with lan[1].popen(
            ["dnsmasq", "--keep-in-foreground", f"--conf-file={path}",
             "--pid-file=", "--user=root", "--no-resolv", "--no-hosts",
             "--bind-interfaces", "--listen-address=192.168.1.2",
             "--log-facility=-"], stderr=subprocess.PIPE, text=True) as server:
        for line in server.stderr:
            if "started, version" in line:
                break
        yield
        server.kill()


def test_a_name(lan, dns, proxy):
    device, _ = lan
    assert look_up(device, "192.168.1.2", 1) == ["192.168.1.2"]
    assert look_up(device, "192.168.1.2", 28) == []
    knock(device, "192.168.1.2")
    assert came_from(proxy) == "192.168.1.17"


def test_a_dns_server_that_is_built_in(lan, dns, tmp_path):
    device, machine = lan
    use(machine, tmp_path, recipe("nft", "mqtt_devices_dns"))
    assert look_up(device, "8.8.8.8", 1) == ["192.168.1.2"]


def test_an_address_behind_the_proxys_machine(lan, proxy, tmp_path):
    device, machine = lan
    use(machine, tmp_path, recipe("nft", "table ip mqtt_devices {"))
    knock(device, BROKER)
    assert came_from(proxy) == "192.168.1.17"


def test_an_address_behind_a_router(spaces, proxy, tmp_path):
    """which is in one network with device and proxy."""
    device, machine, router = spaces
    ends = [space.link(router, address, "192.0.2.1/32")[1]
            for space, address in ((device, "192.168.1.17/24"),
                                   (machine, "192.168.1.2/24"))]
    router.run("ip", "link", "add", "bridge", "type", "bridge")
    for end in ends:
        router.run("ip", "address", "flush", "dev", end)
        router.run("ip", "link", "set", end, "master", "bridge")
    router.run("ip", "address", "add", "192.168.1.1/24", "dev", "bridge")
    router.run("ip", "link", "set", "bridge", "up")
    router.run("sh", "-c", "echo 1 >/proc/sys/net/ipv4/ip_forward")
    device.run("ip", "route", "add", "default", "via", "192.168.1.1")
    use(router, tmp_path, recipe("nft", "mqtt_devices_away"))
    knock(device, BROKER)
    assert came_from(proxy) == "192.168.1.1"


def test_an_address_beside_it(lan, proxy):
    device, machine = lan
    machine.run(*recipe("sh", "ip address add").split())
    knock(device, "192.168.1.10")
    assert came_from(proxy) == "192.168.1.17"
