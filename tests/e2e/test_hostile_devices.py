"""A hundred good devices go on with their work, and lose nothing, whatever
others do: a crowd that says nothing, or little, or far too much, or does not
listen, or has gone without a word."""

import contextlib
import resource
import selectors
import socket
import struct
import threading
import time

import pytest

from bystander import connack, descriptors, disconnect, limit_descriptors
from cloud_process import Cloud, topic_of
from good_site import GoodSite
from kernel import wait_until
from mqtt_raw import TIMEOUT, Client, connect, publish, text, varint
from netns import Namespace, Unavailable
from proxy import FRUGAL

GOOD = 100
# ten of the good devices at each of ten addresses, the bad ones at another
SOURCES = [f"127.0.1.{at}" for at in range(1, 11)]
NEWCOMER, ATTACKER = "127.0.2.1", "127.0.3.1"
LEVELS = (3, 4, 5)

SILENT = 2000
DRIP = 0.05             # seconds between two bytes of a slow CONNECT
CROWD_MAX = 40          # connections of the attacker that are allowed
CROWD_SLACK = 64        # and how many more are told why they are not
BIGGEST = 268435455     # remaining length, MQTT 3.1.1 2.2.3
PIECE = 256 * 1024
MEMORY_SLACK = 2 << 20


class Crowd:
    """Connections from one address, all in one select loop; its length: how
    many the proxy has not closed."""

    def __init__(self, port, count):
        self._open = selectors.DefaultSelector()
        for _ in range(count):
            one = socket.create_connection(("127.0.0.1", port), TIMEOUT,
                                           (ATTACKER, 0))
            # they leave no TIME_WAIT behind for the tests that come
            one.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER,
                           struct.pack("ii", 1, 0))
            self._open.register(one, selectors.EVENT_READ)

    def __len__(self):
        return len(self._open.get_map())

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for key in list(self._open.get_map().values()):
            key.fileobj.close()
        self._open.close()

    def drip(self, data):
        """Each sends it byte by byte, until the proxy has closed them all.
        """
        due = time.monotonic()
        for byte in data:
            for key in self._open.get_map().values():
                with contextlib.suppress(ConnectionError):
                    key.fileobj.send(bytes([byte]))
            due += DRIP
            while self and (left := due - time.monotonic()) > 0:
                self.look(left)

    def look(self, seconds):
        """Waits so long for one that is closed, at most."""
        for key, _ in self._open.select(seconds):
            with contextlib.suppress(ConnectionError):
                assert key.fileobj.recv(100) == b""
            self._open.unregister(key.fileobj)
            key.fileobj.close()

    def until(self, count):
        """Waits until no more than so many are left."""
        deadline = time.monotonic() + TIMEOUT
        while len(self) > count:
            assert time.monotonic() < deadline, f"{len(self)} are left"
            self.look(0.1)


@pytest.fixture(autouse=True, scope="module")
def many_descriptors():
    """For this process, as many as it may have."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard < 2 * SILENT:
        pytest.skip(f"the hard limit of descriptors is {hard}")
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@pytest.fixture
def site(cloud, start):
    """site(entry, ..., limits={...}) -> Proxy, GoodSite: a proxy that knows
    these entries too, with the good devices at work."""
    with contextlib.ExitStack() as last:
        def build(*entries, **settings):
            good = [cloud.device() for _ in range(GOOD)]
            proxy = start(cloud, *good, *entries, env=FRUGAL, **settings)
            return proxy, last.enter_context(at_work(
                good, lambda at: Client(
                    proxy.port, source=SOURCES[at % len(SOURCES)]),
                lambda: Client(cloud.broker_port)))

        yield build


@contextlib.contextmanager
def at_work(entries, to_proxy, to_broker):
    with GoodSite(entries, to_proxy, to_broker) as good:
        good.works()
        yield good
        good.works()


def nobody_else(proxy, *entries):
    """No session has ended but theirs."""
    ended = {line["label"] for line in proxy.logs("session_end")}
    assert ended == {entry["label"] for entry in entries}


# Before CONNECT

def refusals(proxy, reason):
    """How many were refused so: (at least, at most). Of a flood the log may
    lose lines, and says how many."""
    told = len(proxy.logs("device_refused", reason=reason))
    lost = sum(int(line["count"]) for line in proxy.logs("log_lines_dropped"))
    return told, told + lost


def test_silent_connections(site):
    proxy, good = site(limits={"connect_timeout": "3s"})
    at_rest = len(descriptors(proxy.pid))
    with Crowd(proxy.port, SILENT) as crowd:
        good.works()
        crowd.until(0)
    wait_until(lambda: len(descriptors(proxy.pid)) == at_rest)
    wait_until(lambda: refusals(proxy, "connect_timeout")[1] >= SILENT)
    assert refusals(proxy, "connect_timeout")[0] <= SILENT
    nobody_else(proxy)


def test_connect_drop_by_drop(site):
    """The deadline is for the whole of it."""
    data = connect("PUMP7", will=("topic", "x" * 500))
    proxy, good = site(limits={"connect_timeout": "1s"})
    at_rest = len(descriptors(proxy.pid))
    with Crowd(proxy.port, 200) as crowd:
        drip = threading.Thread(target=crowd.drip, args=[data])
        drip.start()
        good.works()
        drip.join()
        assert not crowd
    proxy.wait_log("device_refused", reason="connect_timeout", count=200)
    came = [int(line["detail"].split()[0])
            for line in proxy.logs("device_refused")]
    assert len(came) == 200 and 1 < max(came) < len(data)
    wait_until(lambda: len(descriptors(proxy.pid)) == at_rest)
    nobody_else(proxy)


@pytest.mark.parametrize("setting, most, reason", [
    ("devices_per_address", CROWD_MAX, "too_many_from_address"),
    ("devices", GOOD + CROWD_MAX, "too_many_devices")])
def test_flood_of_connections(cloud, site, dial, setting, most, reason):
    entries = [cloud.device() for _ in LEVELS]
    newcomer = cloud.device()
    proxy, good = site(*entries, newcomer, limits={
        setting: most, "connect_timeout": "60s"})
    at_rest = len(descriptors(proxy.pid))
    with Crowd(proxy.port, CROWD_MAX):
        for entry, level in zip(entries, LEVELS):
            device = dial(proxy, source=ATTACKER)
            device.send_connect(entry["label"], level)
            assert device.until_closed() == connack(level, 3, 0x97)
            line = proxy.wait_log("device_refused",
                                  peer=f"{ATTACKER}:{device.port}")
            assert line["reason"] == reason, line
            device.close()
        with Crowd(proxy.port, 1000) as flood:
            # some are let in as far as being told why, but not all of them
            flood.until(CROWD_SLACK)
            good.works()
            if setting == "devices_per_address":
                dial(proxy, source=NEWCOMER).log_in(newcomer["label"])
                at_rest += 2
    refused = proxy.logs("connections_refused")
    assert {line["reason"] for line in refused} == {reason}
    assert setting in refused[0]["hint"]
    # once a second, and not for each of them
    assert len(refused) < 100
    assert 0 < sum(int(line["count"]) for line in refused) <= 1000
    wait_until(lambda: len(descriptors(proxy.pid)) == at_rest)
    dial(proxy, source=ATTACKER).log_in(entries[0]["label"])
    nobody_else(proxy)


def test_descriptors_used_up(cloud, site, dial):
    entries = [cloud.device() for _ in range(10)]
    proxy, good = site(*entries, limits={"connect_timeout": "60s"})
    limit_descriptors(proxy.pid, 8)
    with Crowd(proxy.port, 12):
        line = proxy.wait_log("accept_paused")
        assert line["reason"] == "no_descriptors"
        assert "LimitNOFILE" in line["hint"]
        late = dial(proxy)
        late.send_connect(entries[0]["label"])
        good.works(rounds=8)    # over more than one pause
    # with those that leave, and no more than them
    assert late.connack().code == 0
    limit_descriptors(proxy.pid, None)
    for entry in entries[1:]:
        device = dial(proxy)
        device.log_in(entry["label"])
        device.publish(topic_of(entry), "in", qos=1)
    assert len(proxy.logs("accept_paused")) == 1
    nobody_else(proxy)


# Online

def test_packet_of_256_mib(cloud, site, dial):
    entries = [cloud.device() for _ in LEVELS]
    pourer = cloud.device()
    proxy, good = site(*entries, pourer)
    devices = [dial(proxy, source=ATTACKER) for _ in LEVELS]
    for device, entry, level in zip(devices, entries, LEVELS):
        device.log_in(entry["label"], level)
    flood = dial(proxy, source=ATTACKER)
    flood.log_in(pourer["label"])
    before = {name: proxy.memory(name) for name in ("VmHWM", "VmPeak")}

    head = b"\x30" + varint(BIGGEST)
    for device, entry, level in zip(devices, entries, LEVELS):
        device.send(head + text(topic_of(entry)))
        assert device.until_closed() == disconnect(level, 0x95)
    with pytest.raises(ConnectionError):
        flood.send(head + text(topic_of(pourer)) + bytes(64 << 20))
    for entry in (*entries, pourer):
        line = proxy.wait_log("session_end", label=entry["label"])
        assert line["reason"] == "packet_too_big", line
        assert not cloud.wait("disconnect", entry)["clean"]
    good.works()
    assert proxy.memory("VmHWM") - before["VmHWM"] < MEMORY_SLACK
    assert proxy.memory("VmPeak") - before["VmPeak"] < BIGGEST
    nobody_else(proxy, *entries, pourer)


def test_reader_that_never_reads(cloud, site, dial):
    entry, buffer = cloud.device(), 256 << 10
    proxy, good = site(entry, limits={
        "device_write_timeout": "1s", "session_buffer": buffer})
    device = dial(proxy, receive_buffer=4096, source=ATTACKER)
    device.log_in(entry["label"])
    device.subscribe(topic_of(entry))
    before = proxy.memory("VmHWM")
    app = dial(cloud)
    app.log_in("app")
    app.send(*[publish(topic_of(entry), bytes(PIECE))] * 100)
    good.works()
    # the kernel's own clock for that, TCP_USER_TIMEOUT, may be first
    assert proxy.wait_log("session_end")["reason"] in ("device_stuck",
                                                       "device_lost")
    assert not cloud.wait("disconnect", entry)["clean"]
    assert proxy.memory("VmHWM") - before < buffer + MEMORY_SLACK
    nobody_else(proxy, entry)


# Gone without a word, on either side of the proxy

PROXY_IN_LAN, PROXY_IN_WAN = "10.9.1.1", "10.9.2.1"
DEVICES_AT, LOST_DEVICE_AT = "10.9.1.2", "10.9.1.3"
CLOUD_AT, LOST_CLOUD_AT = "10.9.2.2", "10.9.2.3"


class Lab:
    """The site in the middle, its LAN, and the way to the cloud, which has
    two addresses."""

    def __init__(self, lan, site, wan, cloud):
        self.cloud = cloud
        self.site = site
        self._lan, self._wan = lan, wan

    def device(self, proxy, source):
        with self._lan.entered():
            return Client(proxy.port, source=source, host=PROXY_IN_LAN)

    def app(self):
        with self._wan.entered():
            return Client(self.cloud.broker_port)

    def lose(self, address):
        """From now on nothing from there arrives, and nothing there."""
        for space in (self._lan, self.site, self._wan):
            space.drop(address)

    def heal(self):
        for space in (self._lan, self.site, self._wan):
            space.heal()


@pytest.fixture(scope="module")
def lab_for_all(tmp_path_factory):
    with contextlib.ExitStack() as last:
        try:
            lan, site, wan = (last.enter_context(Namespace())
                              for _ in range(3))
            _, end = site.link(
                lan, f"{PROXY_IN_LAN}/24", f"{DEVICES_AT}/24")
            lan.address(end, f"{LOST_DEVICE_AT}/24")
            _, end = site.link(
                wan, f"{PROXY_IN_WAN}/24", f"{CLOUD_AT}/24")
            wan.address(end, f"{LOST_CLOUD_AT}/24")
        except Unavailable as why:
            pytest.skip(f"no network namespaces: {why}")
        with wan.entered():
            cloud = last.enter_context(contextlib.closing(
                Cloud(tmp_path_factory.mktemp("cloud"), host="0.0.0.0")))
        yield Lab(lan, site, wan, cloud)


@pytest.fixture
def lab(lab_for_all):
    lab_for_all.cloud.begin()
    yield lab_for_all
    lab_for_all.heal()
    lab_for_all.cloud.audit()


@pytest.fixture
def far_site(lab, start):
    """As site, in the lab."""
    with contextlib.ExitStack() as last:
        def build(*entries, **settings):
            good = [lab.cloud.device(host=CLOUD_AT) for _ in range(GOOD)]
            with lab.site.entered():
                proxy = start(lab.cloud, *good, *entries,
                              listen={"address": PROXY_IN_LAN}, **settings)
            return proxy, last.enter_context(at_work(
                good, lambda _: lab.device(proxy, DEVICES_AT), lab.app))

        yield build


@pytest.mark.parametrize("limits, keep_alive, data, reason, detail", [
    # what was sent to it is not acknowledged: TCP_USER_TIMEOUT
    ({"device_write_timeout": "1s"}, 60, True, "device_lost", "timed out"),
    ({}, 1, False, "device_silent", "")])
def test_device_that_has_gone(lab, far_site, limits, keep_alive, data,
                              reason, detail):
    entry = lab.cloud.device(host=CLOUD_AT)
    proxy, good = far_site(entry, limits=limits)
    with lab.device(proxy, LOST_DEVICE_AT) as device, lab.app() as app:
        device.log_in(entry["label"], keep_alive=keep_alive)
        if data:
            device.subscribe(topic_of(entry))
        lab.lose(LOST_DEVICE_AT)
        if data:
            app.log_in("app")
            app.publish(topic_of(entry), "to nobody", qos=1)
        good.works()
        line = proxy.wait_log("session_end")
    assert line["reason"] == reason and detail in line["detail"], line
    assert not lab.cloud.wait("disconnect", entry)["clean"]
    nobody_else(proxy, entry)
    lab.heal()
    with lab.device(proxy, LOST_DEVICE_AT) as device:
        device.log_in(entry["label"])
        device.publish(topic_of(entry), "back", qos=1)


@pytest.mark.parametrize("settings, data, detail", [
    ({"write_timeout": "1s"}, True, "not acknowledged"),
    ({"ping_interval": "500ms", "ping_timeout": "5s"}, False, "PINGRESP")])
def test_cloud_that_has_gone(lab, far_site, settings, data, detail):
    entry = lab.cloud.device(host=LOST_CLOUD_AT, on_link_loss="close")
    proxy, good = far_site(entry, cloud=settings)
    with lab.device(proxy, DEVICES_AT) as device:
        device.log_in(entry["label"], level=5)
        lab.lose(LOST_CLOUD_AT)
        if data:
            device.send(publish(topic_of(entry), "to nobody", level=5))
        good.works()
        assert device.until_closed() == disconnect(5, 0x89)
    line = proxy.wait_log("session_end")
    assert line["reason"] == "cloud_silent" and detail in line["detail"], line
    nobody_else(proxy, entry)
    # the cloud has not noticed
    lab.cloud.order("drop", entry, how="abort")
    lab.heal()
    with lab.device(proxy, DEVICES_AT) as device:
        device.log_in(entry["label"], level=5)
        device.publish(topic_of(entry), "back", qos=1)
