"""A site of devices that must not notice what becomes of their links: of all
levels and QoS, of clean sessions and persistent ones, some in a hurry, some
that read slowly, some late with their acknowledgements, some with topics of
their own. Every message is numbered and counted, both ways.

    entries = [cloud.device(**keys_of(at)) for at in range(200)]
    with HeldSite(entries, to_proxy, to_broker) as site:
        ... links are lost ...
        site.settle()
        site.leave()
    check_book(site, cloud.decisions())
"""

import collections
import contextlib
import heapq
import itertools
import selectors
import threading
import time

import mqtt_raw as mqtt
from cloud_process import PRODUCT, topic_of
from proxy import TIMEOUT

KEEP_ALIVE = 300            # nobody's silence is what is tested here
PATIENCE = 4 * TIMEOUT      # a device may have to wait for its quota
PERIOD = 1.0                # seconds between two messages of a device
HURRY = 0.25                # the same, for bursts of who is in a hurry
BURST = 4                   # more in a second than the cloud takes
SIP_PERIOD, SIP = 0.3, 8192     # how a slow device reads
WINDOW, WIDE_WINDOW = 8, 120    # unacknowledged, the second over the cloud's
OWED = 3                    # acknowledgements of who is late with them
SMALL, LARGE = 16, 24 << 10     # bytes of messages for the devices
FILTERS = 10                # more than go into one SUBSCRIBE of the cloud
UPS = ("up0", "up1", "up2")     # by QoS
RULES = {"topic.1.lan": "plant/#",
         "topic.1.cloud": "/${pk}/${dn}/user/$#"}


class Role:
    """What kind of device number <at> is."""

    def __init__(self, at):
        self.level = 3 + at % 3
        self.persistent = at // 3 % 2 == 0
        self.has_rules = at % 5 == 0
        self.hurries = at % 20 == 7
        self.is_slow = at % 20 == 12
        self.is_late = at % 7 == 1
        self.filters = FILTERS if at % 4 == 0 else 2


def keys_of(at):
    """Of the entry of number <at>."""
    return RULES if Role(at).has_rules else {}


class Device:
    """Sends numbered messages of each QoS, as its role says; whatever is
    against the standard, or against what it was promised, is an
    AssertionError."""

    def __init__(self, at, entry, client):
        self.role, self.entry, self.client = Role(at), entry, client
        self.closed = False
        self.farewell = None        # the code of its DISCONNECT
        self.confirmed = [[], [], []]   # the numbers, by QoS
        self.sent = [0, 0, 0]       # the last number, by QoS
        self.acknowledged = [0, 0, 0]
        self.before = [0, 0, 0]     # of them, over an earlier connection
        self.told = 0               # the last number of the app's
        self.heard = []             # those that have come
        self.again = 0              # of them, repetitions
        self.pings = self.pongs = 0
        self.answers = set()        # filters that have answered
        self.turns, self.tellings = itertools.count(at), itertools.count()
        self._waiting = [collections.OrderedDict() for _ in range(3)]
        self._releasing = set()     # packet identifiers with a PUBREL sent
        self._owed = collections.OrderedDict()  # identifier -> what
        self._numbers = itertools.cycle(range(1, 65536))

    # Topics: as the device calls them, and as the cloud does

    def topic(self, name):
        return (f"plant/{name}" if self.role.has_rules
                else topic_of(self.entry, name))

    def names(self):
        """Of what it subscribes to."""
        return ["down", *(f"more{at}" for at in
                          range(1, self.role.filters))]

    # What it does

    def came_back(self, client):
        """Over a new connection; what was not acknowledged is forgotten, as
        simple firmware does it."""
        self.client, self.closed, self.farewell = client, False, None
        self.before = list(self.acknowledged)
        self.pings = self.pongs = self.told = 0
        self.heard = []
        for waiting in self._waiting:
            waiting.clear()
        self._releasing.clear()
        self._owed.clear()

    def log_in(self):
        more = {"clean": not self.role.persistent}
        if self.role.persistent and self.role.level == 5:
            more["properties"] = mqtt.session_expiry(3600)
        self.client.send_connect(self.entry["label"], self.role.level,
                                 keep_alive=KEEP_ALIVE, **more)

    def subscribe(self):
        self.client.send(mqtt.subscribe(
            *map(self.topic, self.names()), number=next(self._numbers),
            level=self.role.level))

    def in_flight(self):
        return sum(map(len, self._waiting)) + len(self._releasing)

    @property
    def at_rest(self):
        return not self.in_flight() and self.pings == self.pongs

    def turn(self):
        """What it does now and then; returns when to do it again."""
        turn = next(self.turns)
        if turn % 8 == 0:
            self.pings += 1
            self.client.send(mqtt.PINGREQ)
        if not self.role.hurries:
            self.send(turn % 3, WINDOW)
            return PERIOD
        for _ in range(BURST):
            self.send(1, WIDE_WINDOW)
        return HURRY

    def send(self, qos, window):
        if self.in_flight() >= window:
            return
        number = 0
        if qos:
            number = next(self._numbers)
            while (number in self._waiting[1] or number in self._waiting[2]
                   or number in self._releasing):
                number = next(self._numbers)
            self._waiting[qos][number] = self.sent[qos] + 1
        self.sent[qos] += 1
        self.client.send(mqtt.publish(
            self.topic(UPS[qos]), f"{self.sent[qos]}", qos, number,
            self.role.level))

    def acknowledge_all(self):
        while self._owed:
            self._acknowledge()

    def _acknowledge(self):
        number, _ = self._owed.popitem(last=False)
        self.client.send(mqtt.puback(number))

    # What comes

    def read(self, most=1 << 18):
        for found in self.client.arrived(most):
            self.take(found)

    def take(self, found):
        number = int.from_bytes(found.body[:2], "big")
        if found.kind == mqtt.PUBLISH:
            self._take_publish(found)
        elif found.kind == mqtt.PUBACK:
            self._acknowledged(1, number, found)
        elif found.kind == mqtt.PUBREC:
            self._acknowledged(2, number, found)
            self._releasing.add(number)
            self.client.send(mqtt.pubrel(number))
        elif found.kind == mqtt.PUBCOMP:
            self._releasing.remove(number)
        elif found.kind == mqtt.PINGRESP:
            self.pongs += 1
            assert self.pongs <= self.pings
        elif found.kind == mqtt.DISCONNECT_KIND:
            self.farewell = found.body[0]
        else:
            raise AssertionError(f"{self}: {found} {found.body}")

    def _acknowledged(self, qos, number, found):
        """In the order they were sent (MQTT-4.6.0-2, -3)."""
        assert found.body[2:3] in (b"", b"\0", b"\x10"), (self, found.body)
        first, self.acknowledged[qos] = self._waiting[qos].popitem(last=False)
        assert first == number, (self, qos, first, number)
        self.confirmed[qos].append(self.acknowledged[qos])

    def _take_publish(self, found):
        message = self.client.take_publish(found, ack=False)
        what = message.topic, message.payload.split()[0]
        if message.qos:
            self._owe(message.number, what, found)
        if what[1] == b"end":
            self.answers.add(message.topic)
            return
        assert message.topic == self.topic("down"), (self, message.topic)
        number = int(what[1])
        # what comes first comes in order; what comes again is known
        self.again += number in self.heard
        assert number in self.heard or number > max(self.heard, default=0), (
            self, number, self.heard[-5:])
        if number not in self.heard:
            self.heard.append(number)

    def _owe(self, number, what, found):
        """A message is told again under the same identifier only, as long as
        it is not acknowledged, and the identifier stands for no other."""
        before = self._owed.pop(number, None)
        assert before in (None, what), (self, number, before, what)
        assert before is None or found.flags & 8, (self, number, "no DUP")
        assert what not in self._owed.values(), (self, number, what)
        self._owed[number] = what
        while len(self._owed) > (OWED if self.role.is_late else 0):
            self._acknowledge()

    def __repr__(self):
        return (f"{self.entry['label']} level {self.role.level}: sent"
                f" {self.sent}, acknowledged {self.acknowledged}, waiting"
                f" {[len(each) for each in self._waiting]} +"
                f" {len(self._releasing)}, pings {self.pings} answered"
                f" {self.pongs}, told {self.told}, heard {len(self.heard)}")


class App:
    """Hears all that the devices say, and has something for each of them."""

    def __init__(self, client):
        self.client, self.closed = client, False
        self.arrived = collections.defaultdict(list)    # topic -> numbers
        self.count = 0
        self._numbers = itertools.cycle(range(1, 65536))

    def log_in(self):
        self.client.log_in(f"app-{self.client.port}", keep_alive=KEEP_ALIVE)
        self.client.subscribe(*(f"/{PRODUCT}/+/user/{name}" for name in UPS))

    def tell(self, device):
        device.told += 1
        self._send("down", device, f"{device.told}")

    def say_end(self, device):
        for name in device.names():
            self._send(name, device, "end")

    def _send(self, name, device, word):
        size = LARGE if device.role.is_slow else SMALL
        self.client.send(mqtt.publish(
            topic_of(device.entry, name), word.ljust(size), 1,
            next(self._numbers)))

    def read(self):
        for found in self.client.arrived():
            if found.kind == mqtt.PUBLISH:
                message = self.client.take_publish(found)
                self.arrived[message.topic].append(int(message.payload))
                self.count += 1
            else:
                assert found.kind == mqtt.PUBACK, found


class HeldSite:
    """The devices of these entries, and their application, in a thread of
    their own. to_proxy(at, role), to_broker(): connect a Client."""

    def __init__(self, entries, to_proxy, to_broker):
        with contextlib.ExitStack() as undo:
            self.devices = [
                Device(at, entry, undo.enter_context(to_proxy(at, Role(at))))
                for at, entry in enumerate(entries)]
            self.app = App(undo.enter_context(to_broker()))
            self._log_in()
            self._last = undo.pop_all()
        self._selector = selectors.DefaultSelector()
        self._due = []              # (when, number, what): a heap
        self._order = itertools.count()
        self._news = threading.Condition()
        self._ending = self._quiet = False
        self._expects_ends = False
        self._why = None
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self):
        self._watch(self.app)
        for at, device in enumerate(self.devices):
            self._watch(device)
            self._later(PERIOD * at / len(self.devices), self._turn, device)
        self._thread.start()
        return self

    def __exit__(self, kind, *_):
        with self._last, self._selector:
            self._ending = True
            self._thread.join(TIMEOUT)
            assert kind is not None or not self._thread.is_alive()
            assert kind is not None or self._why is None, self._why

    # What a test waits for

    def until(self, condition, what, timeout=PATIENCE):
        """Waits until that holds; nobody sends or reads while it is asked.
        """
        deadline = time.monotonic() + timeout
        with self._news:
            while not condition():
                left = deadline - time.monotonic()
                assert self._why is None, self._why
                assert left > 0, (what, self._state())
                self._news.wait(left)

    def hears(self, count):
        """Waits until so many more messages have come to the application.
        """
        wanted = self.app.count + count
        self.until(lambda: self.app.count >= wanted, f"{count} messages")

    def quiet(self):
        """Nobody begins anything any more."""
        with self._news:
            self._quiet = True

    def expect_ends(self):
        """From now on connections may be closed."""
        with self._news:
            self._expects_ends = True

    def lose_all(self):
        """Waits until all are closed, and the application too."""
        self.until(lambda: self.app.closed and all(
            device.closed for device in self.devices), "ends")

    def come_back(self, to_proxy, to_broker):
        """All but those that are refused; returns how many are here."""
        if self.app.closed:
            with self._news:
                self.app.client.close()
                self.app.client, self.app.closed = to_broker(), False
                self.app.log_in()
                self._watch(self.app)
        clients = {device: to_proxy(device.role)
                   for device in self.devices if device.closed}
        with self._news:
            for device, client in clients.items():
                device.client.close()
                device.came_back(client)
            for device in self._let_in(clients):
                self._watch(device)
            return sum(not device.closed for device in self.devices)

    def settle(self):
        """Nobody begins anything any more; waits until all is acknowledged
        and told, and then until each subscription has answered."""
        self.quiet()
        self.until(lambda: all(device.at_rest for device in self.devices),
                   "acknowledgements")
        self.until(self._all_arrived, "messages at the application")
        self.until(self._all_told, "messages at the devices")
        with self._news:
            for device in self.devices:
                device.acknowledge_all()
                self.app.say_end(device)
        self.until(lambda: all(
            len(device.answers) == len(device.names())
            for device in self.devices), "subscriptions that answer")
        with self._news:
            for device in self.devices:
                device.acknowledge_all()

    def leave(self):
        """All leave in order, at the end."""
        self._ending = True
        self._thread.join(TIMEOUT)
        assert self._why is None, self._why
        for device in self.devices:
            device.client.send(mqtt.DISCONNECT)
        for device in self.devices:
            assert device.client.until_closed() == [], device

    def _all_arrived(self):
        return all(
            device.acknowledged[qos] == device.before[qos]
            or self.arrived(device, qos)[-1:] == [device.acknowledged[qos]]
            for device in self.devices for qos in (1, 2))

    def _all_told(self):
        return all(len(device.heard) == device.told
                   for device in self.devices if device.role.persistent)

    def arrived(self, device, qos):
        """At the application."""
        return self.app.arrived[topic_of(device.entry, UPS[qos])]

    # The thread

    def _log_in(self):
        self.app.log_in()
        assert self._let_in(self.devices) == self.devices

    def _let_in(self, devices):
        """Those of them that are; the others are closed."""
        let_in = []
        for device in devices:
            device.log_in()
        for device in devices:
            device.closed = device.client.connack().code != 0
            if not device.closed:
                device.subscribe()
                let_in.append(device)
        for device in let_in:
            codes = device.client.expect(mqtt.SUBACK).body[
                -device.role.filters:]
            assert max(codes) <= 1, (device, codes)
        return let_in

    def _watch(self, peer):
        if isinstance(peer, Device) and peer.role.is_slow:
            self._later(SIP_PERIOD, self._sip, peer)
        else:
            self._selector.register(peer.client.socket,
                                    selectors.EVENT_READ, peer)

    def _run(self):
        try:
            while not self._ending:
                self._step()
        except BaseException as why:    # told by who waits
            with self._news:
                self._why = why
                self._news.notify_all()

    def _step(self):
        left = self._due[0][0] - time.monotonic()
        ready = self._selector.select(max(left, 0))
        with self._news:
            for key, _ in ready:
                self._read(key.data)
            while self._due[0][0] <= time.monotonic():
                _, _, act, device = heapq.heappop(self._due)
                act(device)
            self._news.notify_all()

    def _later(self, seconds, act, device):
        heapq.heappush(self._due, (time.monotonic() + seconds,
                                   next(self._order), act, device))

    def _read(self, peer, *most):
        try:
            peer.read(*most)
        except mqtt.Closed as why:
            if not self._expects_ends:
                raise AssertionError(f"closed ({why}): {peer}") from None
            if peer.client.socket.fileno() in self._selector.get_map():
                self._selector.unregister(peer.client.socket)
            peer.closed = True

    def _sip(self, device):
        device.client.socket.setblocking(False)
        try:
            self._read(device, SIP)
        except BlockingIOError:
            pass
        finally:
            device.client.socket.settimeout(mqtt.TIMEOUT)
        if not device.closed:
            self._later(SIP_PERIOD, self._sip, device)

    def _turn(self, device):
        """One that is closed finds out when it reads."""
        if self._quiet:
            return
        period = PERIOD
        if not device.closed:
            with contextlib.suppress(*(
                    [ConnectionError] if self._expects_ends else [])):
                period = device.turn()
                if not self.app.closed and next(device.tellings) % (
                        4 if device.role.hurries else 1) == 0:
                    self.app.tell(device)
        self._later(period, self._turn, device)

    def _state(self):
        late = [str(device) for device in self.devices
                if not device.at_rest or device.role.persistent
                and len(device.heard) != device.told
                or len(device.answers) < len(device.names())]
        return self._why or (len(late), late[:20])

    def figures(self):
        devices = self.devices
        return {
            "sent": [sum(device.sent[qos] for device in devices)
                     for qos in range(3)],
            "acknowledged": [sum(device.acknowledged[qos]
                                 for device in devices) for qos in (1, 2)],
            "arrived": [sum(len(self.arrived(device, qos))
                            for device in devices) for qos in range(3)],
            "told": sum(device.told for device in devices),
            "heard": sum(len(device.heard) for device in devices),
            "told again": sum(device.again for device in devices),
            "pings": sum(device.pings for device in devices),
        }


# What was right, by the application and by the cloud's book

def check_confirmed(site, decisions):
    """What was acknowledged to a device has come to the broker."""
    come = {(line["topic"], line["payload"]) for line in decisions
            if line["event"] == "publish"}
    for device in site.devices:
        for qos in (1, 2):
            topic = topic_of(device.entry, UPS[qos])
            missing = [number for number in device.confirmed[qos]
                       if (topic, f"{number}") not in come]
            assert not missing, (device, qos, missing)


def check_arrivals(site):
    """QoS 1 and 2 at least once and in order, QoS 0 in order and at most
    once: what comes for the first time is the next, and what comes again is
    no surprise."""
    for device in site.devices:
        zero = site.arrived(device, 0)
        assert zero == sorted(set(zero)), (str(device), zero)
        for qos in (1, 2):
            check_numbers(site.arrived(device, qos), device)
            assert max(site.arrived(device, qos), default=0) >= (
                device.acknowledged[qos]), str(device)


def check_numbers(numbers, device):
    most = 0
    for number in numbers:
        assert number <= most + 1, (str(device), number, most, numbers)
        most = max(most, number)


def check_book(site, decisions):
    """Over each link each topic's messages go up one after the other, from
    one on that was not skipped, with DUP if it was there before."""
    by_topic = collections.defaultdict(list)
    for line in decisions:
        if line["event"] == "publish" and line["qos"]:
            by_topic[line["topic"]].append(line)
    for device in site.devices:
        for qos in (1, 2):
            lines = by_topic[topic_of(device.entry, UPS[qos])]
            most, last, link = 0, 0, None
            for line in lines:
                number = int(line["payload"])
                if line["link"] == link:
                    assert number == last + 1, (str(device), line, last)
                assert number <= most + 1, (str(device), line, most)
                assert line["duplicate"] or number > most, (
                    str(device), line, most)
                most, last, link = max(most, number), number, line["link"]
            assert most >= device.acknowledged[qos], (str(device), most)
