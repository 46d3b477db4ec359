"""A site of good devices that must not notice what others do: every message
of theirs is counted, at the broker and back at the device.

    with GoodSite(entries, to_proxy, to_broker) as good:
        good.works()
        ... somebody misbehaves ...
        good.works()
"""

import collections
import contextlib
import selectors
import threading
import time

import mqtt_raw as mqtt
from cloud_process import topic_of
from proxy import TIMEOUT

PERIOD = 0.3        # seconds between two messages of a device
KEEP_ALIVE = 300    # nobody's silence is what is tested with them


class _Peer:
    """A connection of the site; what comes is taken when it is there."""

    def __init__(self, client):
        self.client = client

    def read(self):
        for found in self.client.arrived():
            self.take(found)

    def take(self, found):
        raise NotImplementedError


class Device(_Peer):
    """Sends its messages 1, 2, 3 ... with QoS 1, each when the one before
    was acknowledged and has come back."""

    def __init__(self, entry, client):
        super().__init__(client)
        self.entry = entry
        self.topic = topic_of(entry)
        self.back = topic_of(entry, "get")
        self.sent = self.acknowledged = self.returned = 0

    @property
    def at_rest(self):
        return self.sent == self.acknowledged == self.returned

    def send(self):
        self.sent += 1
        self.client.send(mqtt.publish(self.topic, f"{self.sent}", 1,
                                      self.sent, self.client.level))

    def take(self, found):
        if found.kind == mqtt.PUBACK:
            self.acknowledged += 1
            assert found.body[:2] == self.acknowledged.to_bytes(2, "big")
            return
        assert found.kind == mqtt.PUBLISH and found.flags == 2, found
        self.returned += 1
        topic = mqtt.text(self.back)
        number = found.body[len(topic):][:2]
        assert found.body == (
            topic + number + (b"\0" if self.client.level == 5 else b"")
            + b"%d" % self.returned), (found.body, self.returned)
        self.client.send(mqtt.packet(0x40, number))


class App(_Peer):
    """Sends every message back to the device it is from."""

    def __init__(self, client, devices):
        super().__init__(client)
        self._by_topic = {device.topic: device for device in devices}
        self._number = 0
        self.arrived = collections.Counter()

    def take(self, found):
        if found.kind == mqtt.PUBACK:
            return
        assert found.kind == mqtt.PUBLISH, found
        length = int.from_bytes(found.body[:2], "big")
        topic = found.body[2:2 + length].decode()
        number, payload = found.body[2 + length:][:2], found.body[4 + length:]
        self.arrived[topic] += 1
        assert payload == b"%d" % self.arrived[topic], (topic, payload)
        self._number = self._number % 65535 + 1
        self.client.send(mqtt.packet(0x40, number), mqtt.publish(
            self._by_topic[topic].back, payload, 1, self._number))


class GoodSite:
    """The devices of these entries, of all levels in turn, and their
    application, in a thread of their own. to_proxy(at), to_broker(): connect
    a Client."""

    def __init__(self, entries, to_proxy, to_broker):
        with contextlib.ExitStack() as undo:
            self.devices = [
                Device(entry, undo.enter_context(to_proxy(at)))
                for at, entry in enumerate(entries)]
            self.app = App(undo.enter_context(to_broker()), self.devices)
            self._log_in()
            self._last = undo.pop_all()
        self._selector = selectors.DefaultSelector()
        self._due = collections.deque()     # (when, device), in order
        self._news = threading.Condition()
        self._stopping = False      # nothing more is sent
        self._settling = True       # but what was sent is waited for
        self._why = None
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self):
        for peer in (*self.devices, self.app):
            self._selector.register(peer.client.socket,
                                    selectors.EVENT_READ, peer)
        begin = time.monotonic()
        for at, device in enumerate(self.devices):
            self._due.append((begin + PERIOD * at / len(self.devices),
                              device))
        self._thread.start()
        return self

    def __exit__(self, kind, *_):
        with self._last, self._selector:
            with self._news:
                self._stopping = True
                self._settling = kind is None
            self._thread.join(TIMEOUT)
            if kind is None:
                self._audit()

    def works(self, rounds=1):
        """Waits until each device has sent so many messages from now on and
        has them back."""
        deadline = time.monotonic() + TIMEOUT
        with self._news:
            # the one that is on its way already does not count
            wanted = {device: device.sent + rounds for device in self.devices}
            while late := [
                    device for device, sent in wanted.items()
                    if min(device.acknowledged, device.returned) < sent]:
                left = deadline - time.monotonic()
                assert self._why is None and left > 0, self._state(late)
                self._news.wait(left)

    def _log_in(self):
        for at, device in enumerate(self.devices):
            device.client.send_connect(device.entry["label"], 3 + at % 3,
                                       keep_alive=KEEP_ALIVE)
        for device in self.devices:
            answer = device.client.connack()
            assert answer.code == 0, (device.entry["label"], answer)
            device.client.send(mqtt.subscribe(device.back,
                                              level=device.client.level))
        for device in self.devices:
            device.client.expect(mqtt.SUBACK)
        app = self.app.client
        app.log_in(f"app-{app.port}", keep_alive=KEEP_ALIVE)
        app.subscribe(*(device.topic for device in self.devices))

    def _run(self):
        try:
            while not self._stopping or self._settling and not all(
                    device.at_rest for device in self.devices):
                self._turn()
        except BaseException as why:    # works() and the end tell it
            with self._news:
                self._why = why
                self._news.notify_all()

    def _turn(self):
        wait = PERIOD
        if self._due and not self._stopping:
            wait = max(self._due[0][0] - time.monotonic(), 0)
        ready = self._selector.select(wait)
        with self._news:
            for key, _ in ready:
                self._read(key.data)
            while (self._due and not self._stopping
                   and self._due[0][0] <= time.monotonic()):
                self._due.popleft()[1].send()
            self._news.notify_all()

    def _read(self, peer):
        busy = isinstance(peer, Device) and not peer.at_rest
        try:
            peer.read()
        except mqtt.Closed as why:
            raise AssertionError(
                f"{getattr(peer, 'entry', 'the application')}: {why}"
            ) from None
        if busy and peer.at_rest:
            self._due.append((time.monotonic() + PERIOD, peer))

    def _state(self, devices):
        return repr(self._why or [
            (device.entry["label"], device.sent, device.acknowledged,
             self.app.arrived[device.topic], device.returned)
            for device in devices])

    def _audit(self):
        """All that was sent has come, once, and nobody was cut off."""
        assert not self._thread.is_alive(), self._state(self.devices)
        assert self._why is None, self._state(self.devices)
        for device in self.devices:
            assert device.at_rest and device.sent > 0, self._state([device])
            assert self.app.arrived[device.topic] == device.sent
            device.client.send(mqtt.DISCONNECT)
        for device in self.devices:
            assert device.client.until_closed() == []
