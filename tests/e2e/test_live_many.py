"""A busy site whose map is edited: only whom an edit is about is moved, and
nobody else loses a message."""

import collections
import contextlib
import threading

import pytest

import mqtt_raw as mqtt
from cloud_process import topic_of
from test_live import HEARD, map_of, put, write

DEVICES = 500


class Traffic:
    """Publishes at QoS 1 with all devices, round after round, until it is
    told to end. A device that is closed is left out from then on."""

    def __init__(self, devices):
        self.devices = dict(devices)    # label -> (entry, client)
        self.acknowledged = collections.Counter()
        self.closed = set()             # labels
        self.failed = None
        self.rounds = 0
        self._news = threading.Condition()
        self._ending = False
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self):
        try:
            while not self._ending:
                self._round()
                with self._news:
                    self.rounds += 1
                    self._news.notify_all()
        except BaseException as why:    # told by whoever waits
            with self._news:
                self.failed = why
                self._news.notify_all()

    def _round(self):
        number = self.rounds + 1
        assert number < 0x10000
        sent = []
        for label, (entry, device) in self.devices.items():
            if label in self.closed:
                continue
            try:
                device.send(mqtt.publish(topic_of(entry), f"{number}", 1,
                                         number))
                sent.append((label, device))
            except ConnectionError:
                self.closed.add(label)
        for label, device in sent:
            try:
                answer = device.expect(mqtt.PUBACK).body
            except mqtt.Closed:
                self.closed.add(label)
                continue
            assert answer == number.to_bytes(2, "big"), (label, answer)
            self.acknowledged[label] = number

    def another_round(self):
        """Waits until one has begun and ended since."""
        with self._news:
            wanted = self.rounds + 2
            assert self._news.wait_for(
                lambda: self.failed or self.rounds >= wanted, 120)
        if self.failed:
            raise self.failed

    def end(self):
        self._ending = True
        self._thread.join(120)
        assert not self._thread.is_alive()
        if self.failed:
            raise self.failed


class Arrivals:
    """What an application of the cloud receives, read as it comes: a broker
    does not queue as much as all this."""

    def __init__(self, app):
        self.by_topic = collections.defaultdict(list)
        self._app = app
        self._count = 0
        self._news = threading.Condition()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self):
        with contextlib.suppress(mqtt.Closed, OSError):
            while True:
                message = self._app.receive()
                with self._news:
                    self.by_topic[message.topic].append(int(message.payload))
                    self._count += 1
                    self._news.notify_all()

    def wait(self, count):
        with self._news:
            assert self._news.wait_for(lambda: self._count >= count, 120), (
                self._count, count)


@pytest.fixture
def site(cloud, start, dial):
    """(proxy, {label: (entry, client)}), all online."""
    entries = [cloud.device(on_link_loss="close"),
               *(cloud.device() for _ in range(DEVICES - 1))]
    proxy = start(cloud, *entries, reload=HEARD)
    devices = {entry["label"]: (entry, dial(proxy)) for entry in entries}
    for label, (_, device) in devices.items():
        device.send_connect(label, keep_alive=1200)
    for _, device in devices.values():
        assert device.connack().code == 0
    return proxy, devices


def test_the_map_is_edited_under_load(cloud, site, dial, listen):
    proxy, devices = site
    path = proxy.folder / "devices.ini"
    entries = [entry for entry, _ in devices.values()]
    app = listen(cloud, *{topic_of(entry) for entry in entries})
    arrivals = Arrivals(app)
    traffic = Traffic(devices)

    def edit(change, text, event="reloaded"):
        """One edit; returns its line of the log."""
        since = proxy.mark()
        change(path, text)
        line = proxy.wait_log(event, since=since)
        traffic.another_round()
        return line

    traffic.another_round()

    # one secret is replaced: by one that the cloud does not take, and back
    rekeyed, *others = entries
    told = edit(put, map_of({**rekeyed, "device_secret": "no-such-secret"},
                            *others))
    assert told.items() >= {"added": "0", "removed": "0", "changed": "1",
                            "disconnects": "1"}.items()
    assert traffic.closed == {rekeyed["label"]}
    device = dial(proxy)
    device.send_connect(rekeyed["label"])
    assert device.connack().code == 4
    edit(write, map_of(rekeyed, *others))
    dial(proxy).log_in(rekeyed["label"])

    # one device is added
    added = cloud.device()
    told = edit(put, map_of(rekeyed, *others, added))
    assert told.items() >= {"added": "1", "removed": "0", "changed": "0",
                            "disconnects": "0"}.items()
    dial(proxy).log_in(added["label"])

    # one is removed
    removed, *stay = others
    told = edit(write, map_of(rekeyed, *stay, added))
    assert told.items() >= {"added": "0", "removed": "1", "changed": "0",
                            "disconnects": "1"}.items()
    assert traffic.closed == {rekeyed["label"], removed["label"]}
    device = dial(proxy)
    device.send_connect(removed["label"])
    assert device.connack().code == 5

    # the file is broken, and mended
    good = path.read_text()
    edit(write, good + "[device:more]\nproduct_key a1\n", "reload_refused")
    told = proxy.logs("config_complaint", level="error")[0]
    assert told["file"] == str(path)
    assert told["line"] == str(good.count("\n") + 2)
    assert edit(put, good)["devices"] == str(DEVICES)

    traffic.end()
    # only those two were moved, once each
    assert traffic.closed == {rekeyed["label"], removed["label"]}
    ends = proxy.logs("session_end")
    assert sorted((end["label"], end["reason"]) for end in ends
                  if end["label"] in traffic.closed
                  and end["reason"].startswith("entry_")) == sorted([
                      (rekeyed["label"], "entry_changed"),
                      (removed["label"], "entry_removed")])
    assert {end["label"] for end in ends} == traffic.closed
    for entry in stay:
        assert traffic.acknowledged[entry["label"]] == traffic.rounds
    logins = collections.Counter(
        line["device_name"]
        for line in cloud.decisions("login", accepted=True))
    assert all(logins[entry["device_name"]] == 1 for entry in stay)

    # every message that was acknowledged is there, once, in order
    arrivals.wait(sum(traffic.acknowledged.values()))
    for entry in entries:
        upto = traffic.acknowledged[entry["label"]]
        arrived = arrivals.by_topic[topic_of(entry)]
        # of one that was cut off the last one may have lost its PUBACK
        spare = entry["label"] in traffic.closed
        assert arrived[:upto] == list(range(1, upto + 1))
        assert len(arrived) <= upto + spare
