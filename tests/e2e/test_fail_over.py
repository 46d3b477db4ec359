"""Two proxies behind HAProxy, with the configuration that ships: the client id
finds a device's proxy, one that is lost is replaced by the other, and nothing
is lost by that."""

import os
import shutil
import subprocess
import threading

import pytest

from cloud_process import topic_of
from kernel import wait_until
from proxy import ROOT, Proxy, environment
from publishers import PATIENCE, Crowd
from test_listeners import listening, port_of
from test_live_many import Arrivals

DEVICES = 60
PER_MINUTE = 5      # logins of a device
PLACES = {"a": "127.0.0.2", "b": "127.0.0.3"}
SOURCES = [f"127.0.1.{at}" for at in range(1, DEVICES + 1)]


class Balancer:
    """HAProxy before these ports; a context manager."""

    def __init__(self, folder, ports):
        self._front = listening()
        self.port = self._front.getsockname()[1]
        text = (ROOT / "config/haproxy.cfg").read_text()
        for old, new in (
                ("bind :1883", f"bind fd@{self._front.fileno()}"),
                *((f'"${{PROXY_{name.upper()}}}:1884"',
                   f'"${{PROXY_{name.upper()}}}:{port}"')
                  for name, port in ports.items())):
            assert text.count(old) == 1
            text = text.replace(old, new)
        self._config = folder / "haproxy.cfg"
        self._config.write_text(text)
        self._lines = []
        self._reader = threading.Thread(target=self._read, daemon=True)

    def __enter__(self):
        program = shutil.which("haproxy",
                               path=os.environ["PATH"] + ":/usr/sbin")
        assert program, "haproxy is not installed"
        self._process = subprocess.Popen(
            ["setpriv", "--pdeathsig", "KILL", program, "-db", "-f",
             self._config],
            pass_fds=[self._front.fileno()], stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
            env={**environment(), **{f"PROXY_{name.upper()}": place
                                     for name, place in PLACES.items()}})
        self._front.close()
        self._reader.start()
        return self

    def __exit__(self, *_):
        self._process.kill()
        self._process.wait()
        self._reader.join()
        self._process.stdout.close()

    def _read(self):
        self._lines.extend(self._process.stdout)

    def count(self, text):
        return sum(text in line for line in self._lines)


class Pair:
    """Both proxies, what is before them and what is behind them."""

    def __init__(self, cloud, start, folder):
        self.cloud, self._start = cloud, start
        self.entries = [cloud.device() for _ in range(DEVICES)]
        self.proxies = {name: self._run(name, 0) for name in PLACES}
        self._ports = {name: port_of(proxy, "haproxy")
                       for name, proxy in self.proxies.items()}
        self.balancer = Balancer(folder, self._ports)

    def _run(self, name, port):
        return self._start(
            self.cloud, *self.entries,
            dial={"per_device": PER_MINUTE},
            **{"listen:haproxy": {
                "address": PLACES[name], "port": port,
                "proxy_protocol": "yes", "proxy_from": "127.0.0.1"}})

    def start_again(self, name):
        """HAProxy has seen it when this is over."""
        up = f"Server proxies/{name} is UP"
        before = self.balancer.count(up)
        self.proxies[name] = self._run(name, self._ports[name])
        wait_until(lambda: self.balancer.count(up) > before, PATIENCE)

    def came_up_at(self, name):
        """label -> the device's address, of all that this process has let
        in."""
        return {line["label"]: line["peer"].rpartition(":")[0]
                for line in self.proxies[name].logs("session_up")}


@pytest.fixture
def pair(cloud, start, tmp_path):
    made = Pair(cloud, start, tmp_path)
    with made.balancer:
        yield made


def connections(crowd, labels):
    return {publisher.entry["label"]: publisher.connections
            for publisher in crowd.publishers
            if publisher.entry["label"] in labels}


def lose(pair, crowd, home, name, how):
    """One proxy ends, and is started again; home: whose devices are whose."""
    other, = set(PLACES) - {name}
    before = connections(crowd, home[other])
    how(pair.proxies[name])
    crowd.hear(2)
    # its own went to the other, each at the first try
    assert set(pair.came_up_at(other)) == home[other] | home[name]
    assert not crowd.turned_away
    assert not pair.proxies[other].logs("session_end")
    # those that connect anew come home
    pair.start_again(name)
    for publisher in crowd.publishers:
        publisher.is_leaving = publisher.entry["label"] in home[name]
    wait_until(lambda: set(pair.came_up_at(name)) == home[name], PATIENCE)
    crowd.hear(2)
    assert set(pair.came_up_at(name)) == home[name]
    # and those of the other have noticed nothing of it all
    assert connections(crowd, home[other]) == before


def test_fail_over(cloud, pair, listen):
    arrivals = Arrivals(listen(cloud, *map(topic_of, pair.entries)))
    with Crowd(pair.balancer.port, pair.entries, sources=SOURCES) as crowd:
        crowd.hear()
        seen = {name: pair.came_up_at(name) for name in PLACES}
        home = {name: set(devices) for name, devices in seen.items()}
        assert all(home.values()) and not home["a"] & home["b"]
        # each is known by its own address
        assert {**seen["a"], **seen["b"]} == {
            publisher.entry["label"]: publisher.source
            for publisher in crowd.publishers}

        lose(pair, crowd, home, "a", Proxy.stop)
        lose(pair, crowd, home, "b", Proxy.kill)

        crowd.settle()
        sent = sum(publisher.sent for publisher in crowd.publishers)
        arrivals.wait(sent)
        crowd.check_arrivals(arrivals.by_topic)
    logins = cloud.decisions("login")
    assert all(line["accepted"] for line in logins)
    most = max(line["in_last_minute"] for line in logins)
    assert most <= PER_MINUTE
    print({"messages": sent, "logins": len(logins), "the most in a minute":
           most, "at a": len(home["a"]), "at b": len(home["b"])})
