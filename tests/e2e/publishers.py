"""Many devices that publish at QoS 1, as clients that mean it do: whoever
loses its connection comes back, and sends again what was not acknowledged.
And others that come for a moment only, again and again. All of them in one
thread."""

import asyncio
import collections
import contextlib
import itertools
import random
import struct
import threading

import mqtt_raw as mqtt
from cloud_process import topic_of
from kernel import wait_until

WINDOW = 4              # messages on their way, of one device
PATIENCE = 150          # of whoever waits for a state
# between attempts to connect: less for whoever has just been in
PAUSES_S = [0.1, 0.3, 1, 2]


class Refused(Exception):
    """CONNACK with another code than 0."""


class Connection:
    """MQTT 3.1.1, packet by packet."""

    def __init__(self, reader, writer):
        self._reader, self.writer = reader, writer

    async def packet(self):
        """(first byte, body); IncompleteReadError at the end."""
        first, length, shift = (await self._reader.readexactly(1))[0], 0, 0
        while True:
            byte = (await self._reader.readexactly(1))[0]
            length |= (byte & 0x7F) << shift
            shift += 7
            if not byte & 0x80:
                return first, await self._reader.readexactly(length)

    async def log_in(self, client_id, clean):
        self.writer.write(mqtt.connect(client_id, keep_alive=300,
                                       clean=clean))
        first, body = await self.packet()
        if first >> 4 != mqtt.CONNACK or body[1]:
            raise Refused(body[1])


class Publisher:
    """One that publishes the numbers from 1 on. A number is the packet
    identifier too."""

    def __init__(self, crowd, entry, source):
        self.entry, self.source = entry, source
        self.sent = self.acknowledged = 0   # how many
        self.connections = 0
        self.refusals = collections.Counter()   # by code of CONNACK
        self.turned_away = []       # TCP connections without a CONNACK
        self.is_leaving = False     # in order, to come again
        self.done = False
        self._crowd = crowd
        self._waiting = []          # numbers without a PUBACK, in order

    async def run(self):
        pauses = iter(PAUSES_S)
        while not self.done:
            before = self.connections
            await self._connect()
            if self.connections > before:
                pauses = iter(PAUSES_S)
            if not self.done:
                await asyncio.sleep(next(pauses, PAUSES_S[-1])
                                    * random.uniform(0.5, 1))

    async def _connect(self):
        device = None
        try:
            device = await self._crowd.connect(self.source)
            await device.log_in(self.entry["label"], clean=False)
        except (OSError, asyncio.IncompleteReadError) as why:
            self.turned_away.append(repr(why))
        except Refused as code:
            self.refusals[code.args[0]] += 1
        else:
            self.connections += 1
            with contextlib.suppress(OSError, asyncio.IncompleteReadError):
                await self._converse(device)
        finally:
            if device:
                device.writer.close()

    async def _converse(self, device):
        for number in self._waiting:
            device.writer.write(self._message(number, again=True))
        talking = asyncio.create_task(self._talk(device))
        try:
            while True:
                first, body = await device.packet()
                assert first >> 4 == mqtt.PUBACK, first
                self._waiting.remove(*struct.unpack("!H", body))
                self.acknowledged += 1
        finally:
            talking.cancel()

    async def _talk(self, device):
        while self._waiting or not (self._crowd.over or self.is_leaving):
            if (not (self._crowd.over or self.is_leaving)
                    and len(self._waiting) < WINDOW):
                self.sent += 1
                self._waiting.append(self.sent)
                device.writer.write(self._message(self.sent))
            await asyncio.sleep(self._crowd.pace_s * random.uniform(0.8, 1.2))
        self.done, self.is_leaving = self._crowd.over, False
        device.writer.write(mqtt.DISCONNECT)
        device.writer.write_eof()

    def _message(self, number, again=False):
        return mqtt.publish(topic_of(self.entry), f"{number}", 1, number,
                            again=again)


class Visitors:
    """Devices of which one comes every few moments, and leaves when it was
    let in: visits, by label, and what came instead of a good CONNACK."""

    def __init__(self, crowd, entries, pace_s):
        self.visits = collections.Counter()
        self.failed = []
        self.coming = True
        self._crowd, self._pace_s = crowd, pace_s
        self._entries = itertools.cycle(entries)
        self._under_way = set()

    @property
    def is_quiet(self):
        """Nobody is in, and nobody comes."""
        return not self.coming and not self._under_way

    async def run(self):
        while True:
            if self.coming:
                visit = asyncio.create_task(self._visit(next(self._entries)))
                self._under_way.add(visit)
                visit.add_done_callback(self._under_way.discard)
            await asyncio.sleep(self._pace_s)

    async def _visit(self, entry):
        device = None
        try:
            device = await self._crowd.connect()
            await device.log_in(entry["label"], clean=True)
            self.visits[entry["label"]] += 1
            device.writer.write(mqtt.DISCONNECT)
            with contextlib.suppress(OSError, asyncio.IncompleteReadError):
                while True:
                    await device.packet()
        except (OSError, asyncio.IncompleteReadError, Refused) as why:
            self.failed.append((entry["label"], repr(why)))
        finally:
            if device:
                device.writer.close()


class Crowd:
    """Both of them, at one port; a context manager. sources: the addresses
    that publishers come from, in turns."""

    def __init__(self, port, entries, visitors=(), pace_s=1, visit_pace_s=0.25,
                 sources=(None,)):
        self.port, self.pace_s, self.over = port, pace_s, False
        self.publishers = [
            Publisher(self, entry, source)
            for entry, source in zip(entries, itertools.cycle(sources))]
        self.visitors = Visitors(self, visitors, visit_pace_s)
        self._loop = asyncio.new_event_loop()
        self._tasks = []
        self._failed = []       # why, of the tasks, which never do
        self._thread = threading.Thread(
            target=self._run, args=[bool(visitors)], daemon=True)

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *_):
        self._loop.call_soon_threadsafe(
            lambda: [task.cancel() for task in self._tasks])
        self._thread.join()
        self._loop.close()

    def _run(self, with_visitors):
        lives = [publisher.run() for publisher in self.publishers]
        if with_visitors:
            lives.append(self.visitors.run())

        async def live():
            self._tasks = [asyncio.ensure_future(life) for life in lives]
            for task in self._tasks:
                task.add_done_callback(self._note_failure)
            await asyncio.gather(*self._tasks, return_exceptions=True)
            # those who are in a conversation of their own
            rest = asyncio.all_tasks() - {asyncio.current_task()}
            for task in rest:
                task.cancel()
            await asyncio.gather(*rest, return_exceptions=True)

        self._loop.run_until_complete(live())

    def _note_failure(self, task):
        if not task.cancelled() and task.exception():
            self._failed.append(task.exception())

    async def connect(self, source=None):
        return Connection(*await asyncio.open_connection(
            "127.0.0.1", self.port,
            local_addr=source and (source, 0)))

    # What tests wait for

    def hear(self, messages=1, but=()):
        """Each publisher gets so many more messages acknowledged."""
        goals = {publisher: publisher.acknowledged + messages
                 for publisher in self.publishers
                 if publisher.entry["label"] not in but}
        self._wait(lambda: all(publisher.acknowledged >= goal
                               for publisher, goal in goals.items()))

    def settle(self):
        """Nothing new is sent, all is acknowledged, and all leave."""
        self.over = True
        self.visitors.coming = False
        self._wait(lambda: all(publisher.done
                               for publisher in self.publishers)
                   and self.visitors.is_quiet)

    def _wait(self, condition):
        wait_until(lambda: self._failed or condition(), PATIENCE)
        assert not self._failed, self._failed

    @property
    def turned_away(self):
        """All that got no answer to a connection or a CONNECT."""
        return [(publisher.entry["label"], why)
                for publisher in self.publishers
                for why in publisher.turned_away] + self.visitors.failed

    def check_arrivals(self, by_topic):
        """{topic: [number, ...]} as they have arrived: nothing is missing,
        and nothing came before what was sent before it."""
        for publisher in self.publishers:
            arrived = by_topic[topic_of(publisher.entry)]
            assert publisher.acknowledged == publisher.sent
            assert list(dict.fromkeys(arrived)) == list(
                range(1, publisher.sent + 1)), (publisher.entry["label"],
                                                publisher.sent, arrived)
