"""What an administrator does to a busy proxy: reloads, rotated logs, an
upgrade, and the end that nobody wanted. No message at QoS 1 is lost by any of
it."""

import collections
import contextlib
import os
import re
import select
import signal
import time

import pytest

from cloud_process import topic_of
from kernel import wait_until
from proxy import Proxy, read_line
from publishers import PATIENCE, Crowd
from test_daemon import ended
from test_live_many import Arrivals

DEVICES = 200
VISITORS = 100          # in turns: none comes more than 3 times in a minute
PER_SECOND = 50         # dials
PER_MINUTE = 5          # logins of a device
ROTATIONS = 5

_LINE = re.compile(r"time=\S+Z level=\w+ event=\w+( .*)?")


class LogFolder:
    """[log] file, and what it was moved to."""

    def __init__(self, folder):
        folder.mkdir()
        self.path = folder / "proxy.log"
        self._moved = []

    def move(self):
        """As logrotate does it, before it has the file opened again."""
        self._moved.append(
            self.path.with_suffix(f".{len(self._moved) + 1}"))
        self.path.rename(self._moved[-1])

    def is_new(self):
        """The file is there again, and in use."""
        return self.path.exists() and self.path.stat().st_size > 0

    def text(self):
        return "".join(path.read_text() for path in [*self._moved, self.path]
                       if path.exists())

    def lines(self, event, **fields):
        found = (read_line(line) for line in self.text().splitlines()
                 if f" event={event} " in line)
        return [line for line in found
                if all(line.get(key) == value
                       for key, value in fields.items())]

    def wait(self, event, count=1, **fields):
        """The count-th line that fits."""
        return wait_until(lambda: len(found := self.lines(
            event, **fields)) >= count and found[count - 1], PATIENCE)

    def check(self):
        """Whole lines only, in every file, and none was left out."""
        for path in [*self._moved, self.path]:
            text = path.read_text()
            assert text.endswith("\n"), path
            for line in text.splitlines():
                assert _LINE.fullmatch(line), (path, line)
        assert not self.lines("log_lines_dropped")


class Site:
    """A proxy whose log is a file, and all who use it."""

    def __init__(self, cloud, start, folder, arrivals):
        self.cloud, self._start = cloud, start
        self.log = LogFolder(folder / "log")
        self._folder, self._arrivals = folder / "p", arrivals
        self.entries = [cloud.device() for _ in range(DEVICES)]
        self.visitors = [cloud.device() for _ in range(VISITORS)]
        self.port = 0
        self.proxy = self.crowd = None

    def start(self):
        """At the port where it was before."""
        ready = len(self.log.lines("ready")) + 1
        self.proxy = Proxy(
            self._folder, [*self.entries, *self.visitors],
            self._start.settings(self.cloud, {
                "listen": {"port": self.port},
                "log": {"file": self.log.path},
                "dial": {"per_device": PER_MINUTE, "per_second": PER_SECOND,
                         "network_first": "1s", "kicked_first": "1s",
                         "wait_max": "60s"}}))
        self.proxy.start()
        self._start.proxies.append(self.proxy)
        self.port = int(self.log.wait("ready", ready)["port"])

    def listen(self, listen):
        app = listen(self.cloud, *map(topic_of, self.entries))
        self._arrivals = Arrivals(app)

    def ends(self):
        """(label, reason) of each session that has ended, but for those of
        visitors."""
        guests = {entry["label"] for entry in self.visitors}
        return [(line["label"], line["reason"])
                for line in self.log.lines("session_end")
                if line["label"] not in guests]

    def logins(self, since):
        return self.cloud.decisions("login", since=since, accepted=True)

    def check(self):
        """At the end, when all devices have left."""
        sent = sum(publisher.sent for publisher in self.crowd.publishers)
        wait_until(lambda: sum(
            len(set(numbers))
            for numbers in self._arrivals.by_topic.copy().values()) >= sent,
            PATIENCE)
        self.crowd.check_arrivals(self._arrivals.by_topic)
        logins = self.cloud.decisions("login")
        assert all(line["accepted"] for line in logins)
        most = max(line["in_last_minute"] for line in logins)
        assert most <= PER_MINUTE
        arrived = sum(map(len, self._arrivals.by_topic.values()))
        print({"messages": sent, "came twice": arrived - sent,
               "logins": len(logins), "the most in a minute": most,
               "visits": self.crowd.visitors.visits.total()})


@pytest.fixture
def site(cloud, start, tmp_path, listen):
    """Everybody is online, and publishes."""
    made = Site(cloud, start, tmp_path, None)
    made.start()
    made.listen(listen)
    with Crowd(made.port, made.entries, made.visitors) as crowd:
        made.crowd = crowd
        crowd.hear()
        yield made


def reload(site):
    """Of four entries one is removed, one wants a password, one signs
    another login, and one is new: only the first two are thrown out, the
    third does not notice."""
    gone, locked, signed, *stay = site.entries
    signed = {**signed, "extra": "a=b"}
    since = site.cloud.mark()
    site.proxy.set_devices([{**locked, "password": "local-password"}, signed,
                            *stay, *site.visitors, site.cloud.device()])
    site.proxy.signal(signal.SIGHUP)
    told = site.log.wait("reloaded")
    assert (told["added"], told["removed"], told["changed"]) == (
        "1", "1", "2")
    site.log.wait("device_resumed", label=signed["label"])
    site.log.wait("device_refused", client_id=locked["label"])
    out = {gone["label"], locked["label"]}
    site.crowd.hear(2, but=out)
    assert sorted(site.ends()) == sorted([(gone["label"], "entry_removed"),
                                          (locked["label"], "entry_changed")])

    # those two are let in again, by somebody who is in a hurry
    site.entries[2] = signed
    site.proxy.set_devices([*site.entries, *site.visitors])
    for _ in range(5):
        site.proxy.signal(signal.SIGHUP)
    site.crowd.hear(2)
    assert {label for label, _ in site.ends()} == out
    again = [line["device_name"] for line in site.logins(since)]
    assert sorted(again.count(entry["device_name"])
                  for entry in site.entries) == [0] * len(stay) + [1] * 3
    for publisher in site.crowd.publishers:
        label = publisher.entry["label"]
        assert publisher.connections == 1 + (label in out)
        assert set(publisher.refusals) <= ({5} if label in out else set())
    assert not site.crowd.turned_away


def rotate(site):
    before, visits = site.ends(), site.crowd.visitors.visits
    for _ in range(ROTATIONS):
        count = visits.total()
        wait_until(lambda: visits.total() > count, PATIENCE)
        site.log.move()
        site.proxy.signal(signal.SIGUSR1)
        wait_until(site.log.is_new, PATIENCE)
    site.crowd.hear()
    assert site.ends() == before
    assert not site.crowd.turned_away


@contextlib.contextmanager
def upgraded(site):
    """While the new process starts, and while the old one leaves, files are
    read again and the log is moved: that is done by whoever is there. Gives
    the new one's pid."""
    since = site.cloud.mark()
    site.proxy.signal(signal.SIGUSR2)
    site.log.wait("handing_over")
    site.log.move()
    for number in (signal.SIGUSR1, signal.SIGHUP, signal.SIGUSR2):
        site.proxy.signal(number)
    site.log.wait("handover_refused")
    told = site.log.wait("handed_over")
    pid = int(told["pid"])
    with ended(pid):
        assert int(told["over_ms"]) >= DEVICES * 1000 // PER_SECOND
        site.log.move()
        for process in (site.proxy.pid, pid):
            os.kill(process, signal.SIGUSR1)
            os.kill(process, signal.SIGHUP)
        assert site.proxy.process.wait(PATIENCE) == 0
        site.crowd.hear(2)
        labels = [line["device_name"] for line in site.logins(since)]
        for entry in site.entries:
            assert labels.count(entry["device_name"]) == 1
        assert not site.crowd.turned_away
        assert all(set(publisher.refusals) <= {5}
                   for publisher in site.crowd.publishers)
        yield pid


def check_pace(logins, began):
    """Of a process that was not there before: it has made no more dials
    than it may, to any moment."""
    for count, line in enumerate(sorted(logins, key=lambda line: line["t"]),
                                 1):
        assert count <= (line["t"] - began + 0.1) * PER_SECOND + 1, line


def kill(pid):
    """A process that is no child of the test."""
    handle = os.pidfd_open(pid)
    try:
        signal.pidfd_send_signal(handle, signal.SIGKILL)
        assert select.select([handle], [], [], PATIENCE)[0]
    finally:
        os.close(handle)


def kill_and_start(site, pid):
    site.crowd.visitors.coming = False
    wait_until(lambda: site.crowd.visitors.is_quiet, PATIENCE)
    check_visits(site)
    since = site.cloud.mark()
    kill(pid)
    began = time.time()
    site.start()
    site.crowd.visitors.coming = True
    site.crowd.hear(2)
    logins = site.logins(since)
    check_pace(logins, began)
    names = [line["device_name"] for line in logins]
    for entry in site.entries:
        assert names.count(entry["device_name"]) == 1
    assert not site.crowd.visitors.failed


def check_visits(site):
    """Each was told of, when it came and when it left: the log lacks
    nothing."""
    visits = site.crowd.visitors.visits

    def told(event):
        return collections.Counter(
            line["label"] for line in site.log.lines(event)
            if line["label"] in visits)

    wait_until(lambda: told("session_end").total() >= visits.total(),
               PATIENCE)
    assert told("session_up") == told("session_end") == visits


def test_upkeep(site):
    reload(site)
    rotate(site)
    with upgraded(site) as pid:
        kill_and_start(site, pid)
    site.crowd.settle()
    site.check()
    check_visits(site)
    site.proxy.stop()
    site.log.check()
