"""Names and addresses, with a DNS server, hosts and resolv.conf of the tests'
own: in a network namespace, and with a folder of ours in the place of /etc."""

import contextlib
import os
import re
import shutil
import signal
import subprocess
import threading

import pytest

import proxy as proxy_module
from cloud_process import Cloud
from kernel import wait_until
from netns import Namespace, Unavailable
from proxy import TIMEOUT

HOST = "cloud.test"
# what is sent there can get lost without a word
VOIDS = VOID_4, VOID_6, OTHER_VOID_4 = (
    "203.0.113.9", "2001:db8::9", "203.0.113.8")
DEVICES = 200
FOR_LONG = 3600

# $0: the program; $REAL and $OURS: see Site. All in one process, so that
# signals reach the program.
_WRAPPER = """#!/bin/sh
exec unshare --mount sh -ec '
mount --bind /etc "{real}"
mount --bind "{ours}" /etc
exec "$0" "$@"' "{program}" "$@"
"""


class Names:
    """A dnsmasq that knows what it is told, and says NXDOMAIN to all else
    below "test"; a context manager. records: "name,address[,address][,ttl]".
    """

    def __init__(self, *records, at="127.0.0.1", port=53, options=()):
        self._asked = []
        self._news = threading.Condition()
        self._ready = False
        self._reports = 0
        self.process = subprocess.Popen(
            ["dnsmasq", "--keep-in-foreground", "--conf-file=/dev/null",
             "--pid-file=", "--user=root", "--no-resolv", "--no-hosts",
             "--bind-interfaces", f"--listen-address={at}", f"--port={port}",
             "--log-facility=-", "--log-queries", "--local=/test/",
             *(f"--host-record={record}" for record in records), *options],
            stdin=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        with self._news:
            if not self._news.wait_for(lambda: self._ready, TIMEOUT):
                self.close()
                raise RuntimeError("dnsmasq did not start")

    def _read(self):
        for line in self.process.stderr:
            query = re.search(r" query\[(A+)\] (\S+) from ", line)
            with self._news:
                if query:
                    self._asked.append(" ".join(query.groups()))
                self._ready |= "started, version" in line
                self._reports += "queries forwarded" in line
                self._news.notify_all()

    def asked(self):
        """All questions so far, in alphabetical order: "A name" or "AAAA
        name". It writes about each when that is answered already; a report
        comes after all of them."""
        with self._news:
            seen = self._reports
            self.process.send_signal(signal.SIGUSR1)
            assert self._news.wait_for(lambda: self._reports > seen, TIMEOUT)
            return sorted(self._asked)

    def close(self):
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(TIMEOUT)
        self._reader.join()
        self.process.stderr.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


class Site:
    """A network without anything, and an /etc to change at will."""

    def __init__(self, folder, space):
        self.space = space
        self._real, self._ours = folder / "real", folder / "etc"
        self._real.mkdir()
        self._ours.mkdir()
        for name in os.listdir("/etc"):
            if name not in ("hosts", "resolv.conf"):
                (self._ours / name).symlink_to(self._real / name)
        self.program = folder / "program"
        self.program.write_text(_WRAPPER.format(
            real=self._real, ours=self._ours, program=proxy_module.program()))
        self.program.chmod(0o700)

    def write(self, **files):
        """hosts=, resolv_conf=: the text; None: there is no such file."""
        for name, text in files.items():
            path = self._ours / name.replace("_", ".")
            if text is None:
                path.unlink(missing_ok=True)
                continue
            fresh = path.with_name("fresh")
            fresh.write_text(text)
            fresh.replace(path)

    @contextlib.contextmanager
    def silenced(self):
        """Questions to any DNS server get lost."""
        self.space.run("nft", "add rule inet weather gate udp dport 53 drop")
        try:
            yield
        finally:
            self.space.heal()


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    if shutil.which("dnsmasq") is None:
        pytest.skip("dnsmasq is not installed")
    if subprocess.run(["unshare", "--mount", "true"], check=False,
                      capture_output=True).returncode != 0:
        pytest.skip("no mount namespaces: unshare --mount fails")
    try:
        with Namespace() as space:
            yield Site(tmp_path_factory.mktemp("site"), space)
    except Unavailable as why:
        pytest.skip(f"no network namespaces: {why}")


@pytest.fixture(scope="module")
def here(site, tmp_path_factory):
    """A cloud at 127.0.0.1 only."""
    with site.space.entered():
        cloud = Cloud(tmp_path_factory.mktemp("cloud"))
    with contextlib.closing(cloud):
        yield cloud


@pytest.fixture(scope="module")
def here_6(site, tmp_path_factory):
    """Another, at ::1 only."""
    with site.space.entered():
        cloud = Cloud(tmp_path_factory.mktemp("cloud"), host="::1")
    with contextlib.closing(cloud):
        yield cloud


@pytest.fixture(autouse=True)
def inside(site, monkeypatch):
    """The test, and what it starts, is at the site."""
    monkeypatch.setattr(proxy_module, "program", lambda: str(site.program))
    site.write(hosts="127.0.0.1 localhost\n",
               resolv_conf="nameserver 127.0.0.1\n")
    with site.space.entered():
        yield


@pytest.fixture
def voids(site):
    for address in VOIDS:
        site.space.address("lo", address)
        site.space.drop(address)
    yield
    site.space.heal()
    for address in VOIDS:
        site.space.run("ip", "address", "del", address, "dev", "lo")


class Devices:
    """Knocks at a proxy, each time as another device."""

    def __init__(self, dial, proxy, entries):
        self.proxy = proxy
        self._dial = dial
        self._left = list(entries)

    def arrive(self):
        """A connection that has sent its CONNECT."""
        device = self._dial(self.proxy)
        device.send_connect(self._left.pop()["label"])
        return device

    def knock(self):
        """The code of the CONNACK."""
        return self.arrive().connack().code

    def refused(self):
        """The log's words for a device that is not let in."""
        since = self.proxy.mark()
        assert self.knock() == 3
        return self.proxy.wait_log("session_end", since=since)


@pytest.fixture
def devices(dial, start):
    """devices(cloud, host, ...) -> Devices; settings are of [cloud]."""
    def begin(cloud, host=HOST, count=20, **settings):
        cloud.begin()
        last.callback(cloud.audit)
        entries = [cloud.device(host=host) for _ in range(count)]
        return Devices(dial, start(cloud, *entries, cloud=settings), entries)

    with contextlib.ExitStack() as last:
        yield begin


# What is asked, and of whom


def test_a_and_aaaa(here, devices):
    """Nobody listens at ::1: that costs nothing."""
    with Names(f"{HOST},127.0.0.1,::1") as names:
        assert devices(here).knock() == 0
        assert names.asked() == [f"A {HOST}", f"AAAA {HOST}"]


def test_aaaa_is_used(here_6, devices):
    with Names(f"{HOST},127.0.0.1,::1", "six.test,::1"):
        assert devices(here_6).knock() == 0
        assert devices(here_6, "six.test").knock() == 0


def test_many_devices_ask_once(here, devices):
    with Names(f"{HOST},127.0.0.1,{FOR_LONG}") as names:
        crowd = devices(here, count=2 * DEVICES)
        for _ in range(2):      # all at once, and all again
            arrived = [crowd.arrive() for _ in range(DEVICES)]
            assert [device.connack().code for device in arrived] == (
                [0] * DEVICES)
            for device in arrived:
                device.close()
        assert names.asked() == [f"A {HOST}", f"AAAA {HOST}"]


def test_asked_again_when_the_ttl_is_over(here, devices):
    with Names(f"{HOST},127.0.0.1,1") as names:
        crowd = devices(here, count=1000)

        def asked_again():
            assert crowd.knock() == 0
            return len(names.asked()) >= 4

        wait_until(asked_again)


def test_search_domain(site, here, devices):
    site.write(resolv_conf="search other.test site.test\n"
                           "nameserver 127.0.0.1\n")
    with Names("cloud.site.test,127.0.0.1") as names:
        assert devices(here, "cloud").knock() == 0
        assert names.asked() == [
            "A cloud.other.test", "A cloud.site.test",
            "AAAA cloud.other.test", "AAAA cloud.site.test"]


def test_nameservers_of_the_settings(site, here, devices):
    """They take the place of those of resolv.conf, in their order; its search
    domains stay."""
    site.write(resolv_conf="search site.test\nnameserver 127.0.0.1\n")
    with Names("cloud.site.test,127.0.0.2") as unasked, \
            Names("cloud.site.test,127.0.0.1", at="127.0.0.54",
                  port=5354) as asked:
        crowd = devices(here, "cloud",
                        nameservers="127.0.0.53 127.0.0.54:5354")
        assert crowd.knock() == 0
        assert asked.asked() and not unasked.asked()
        settings = (crowd.proxy.folder / "proxy.ini").read_text()
        crowd.proxy.set_settings(re.sub("nameservers.*", "", settings))
        assert crowd.proxy.reload()["event"] == "reloaded"
        assert "127.0.0.2" in crowd.refused()["detail"]
        assert unasked.asked()


# What changes while the proxy runs


def test_resolv_conf_changes(site, here, devices):
    """Also what was kept of the old servers' answers does not count."""
    site.write(resolv_conf="nameserver 127.0.0.53\n")
    with Names(f"{HOST},127.0.0.2,{FOR_LONG}", at="127.0.0.53"), \
            Names(f"{HOST},127.0.0.1,{FOR_LONG}", at="127.0.0.54"):
        crowd = devices(here)
        assert "127.0.0.2" in crowd.refused()["detail"]
        site.write(resolv_conf="nameserver 127.0.0.54\n")
        assert crowd.knock() == 0


def test_hosts_changes(site, here, devices):
    site.write(hosts=f"127.0.0.2 {HOST}\n")
    with Names(f"{HOST},127.0.0.1,{FOR_LONG}") as names:
        crowd = devices(here)
        assert "127.0.0.2" in crowd.refused()["detail"]
        site.write(hosts=f"127.0.0.1 x.test {HOST.upper()} # by hand\n")
        assert crowd.knock() == 0
        assert not names.asked()
        site.write(hosts=None)
        assert crowd.knock() == 0
        assert names.asked() == [f"A {HOST}", f"AAAA {HOST}"]


def test_no_resolv_conf(site, here, devices):
    """This machine itself is asked then, resolv.conf(5)."""
    site.write(resolv_conf=None)
    crowd = devices(here, resolve_timeout="500ms")
    end = crowd.refused()
    assert end["reason"] == "resolve_timeout"
    assert "127.0.0.1:53: no other is set" in end["detail"]
    with Names(f"{HOST},127.0.0.1"):
        assert crowd.knock() == 0


def test_without_any_network(site, here, devices):
    """A normal start; devices are told to wait until there is one."""
    site.write(resolv_conf="nameserver 192.0.2.53\n")
    crowd = devices(here)
    end = crowd.refused()
    assert end["reason"] == "resolve_failed"
    assert "no way to the DNS server 192.0.2.53:53" in end["detail"]
    site.space.address("lo", "192.0.2.53")
    try:
        with Names(f"{HOST},127.0.0.1", at="192.0.2.53"):
            assert crowd.knock() == 0
    finally:
        site.space.run("ip", "address", "del", "192.0.2.53", "dev", "lo")


# Servers that fail


@pytest.mark.parametrize("how", ["silent", "not there"])
def test_a_dead_server_comes_back(site, here, devices, how):
    """However long it was dead: the next device is let in at once."""
    crowd = devices(here, resolve_timeout="500ms")
    with site.silenced() if how == "silent" else contextlib.nullcontext():
        for _ in range(5):
            end = crowd.refused()
            assert end["reason"] == "resolve_timeout"
            assert f"{HOST}: no answer" in end["detail"]
            assert "127.0.0.1:53" in end["detail"]
    with Names(f"{HOST},127.0.0.1") as names:
        assert crowd.knock() == 0
        assert names.asked() == [f"A {HOST}", f"AAAA {HOST}"]


def test_the_second_server_is_asked(site, here, devices):
    site.write(resolv_conf="nameserver 127.0.0.53\nnameserver 127.0.0.54\n")
    with Names(f"{HOST},127.0.0.1", at="127.0.0.54") as names:
        assert devices(here).knock() == 0
        assert names.asked() == [f"A {HOST}", f"AAAA {HOST}"]


@pytest.mark.parametrize("records, options, words", [
    ([], [], "there is no such name"),
    (["txt.test,127.0.0.1"], [f"--txt-record={HOST},x"], "has no address"),
    ([], ["--server=/test/#"], "refuses to answer"),
    ([f"{HOST},127.0.1.{at}" for at in range(1, 51)], [], "was cut")])
def test_a_server_that_lies(here, devices, records, options, words):
    """For a while: what it has said once is not believed for ever."""
    crowd = devices(here)
    with Names(*records, options=options):
        end = crowd.refused()
        assert end["reason"] == "resolve_failed"
        assert words in end["detail"]
    with Names(f"{HOST},127.0.0.1"):
        assert crowd.knock() == 0


# Addresses that do not answer. The time for each is so long that one after
# the other is no way.


@pytest.mark.parametrize("records", [
    [f"{HOST},127.0.0.1,{VOID_6}"],
    [f"{HOST},{VOID_4}", f"{HOST},127.0.0.1"],
    [f"{HOST},{VOID_4},{VOID_6}", f"{HOST},{OTHER_VOID_4}",
     f"{HOST},127.0.0.1"]])
def test_an_address_that_swallows(here, voids, devices, records):
    with Names(*records):
        crowd = devices(here, tcp_timeout="90s")
        for _ in range(3):
            assert crowd.knock() == 0


def test_all_swallow(here, voids, devices):
    """The words say which."""
    with Names(f"{HOST},{VOID_4},{VOID_6}"):
        end = devices(here, tcp_timeout="800ms").refused()
        assert end["reason"] == "tcp_timeout"
        assert f"[{VOID_6}]:{here.port}" in end["detail"]
        assert f"{VOID_4}:{here.port}" in end["detail"]
