"""A minute of messages, many more than the cloud takes: what becomes of each,
and what the log says of it. The cloud is strict: more than its limit in a
sliding second is a breach, which fails the test."""

import select
import time

import mqtt_raw as mqtt
from cloud_process import topic_of

PER_SECOND, SECONDS = 100, 60
COUNT = PER_SECOND * SECONDS
LINE_S = 60
REASONS = ("full", "no_room", "no_memory", "ended")


class Flood:
    """Messages of one device, numbered, as many as its socket takes."""

    def __init__(self, device, entry, qos):
        self.device, self.qos = device, qos
        self.written = 0        # messages, the last may be a part
        self.acknowledged = []
        self._topic = topic_of(entry)
        self._left = b""
        device.socket.setblocking(False)

    def offer(self):
        """One more message, unless there is no room for it."""
        if not self._left:
            at = self.written
            self._left = mqtt.publish(self._topic, f"{at}", self.qos, at + 1)
            self.written += 1
        try:
            self._left = self._left[self.device.socket.send(self._left):]
        except BlockingIOError:
            pass

    def hear(self):
        while select.select([self.device.socket], [], [], 0)[0]:
            self.acknowledged += [
                int.from_bytes(packet.body[:2], "big") - 1
                for packet in self.device.arrived()
                if packet.kind == mqtt.PUBACK]

    def finish(self):
        """The message that has begun is sent to its end."""
        self.device.socket.settimeout(mqtt.TIMEOUT)
        self.device.socket.sendall(self._left)


def sums(lines):
    """Of each count in the lines of one device."""
    return {name: sum(int(line[name]) for line in lines)
            for name in lines[0] if name.startswith(("qos", "dropped"))}


def check_lines(proxy, entry):
    """One at once, then one a minute, and the rest at the end; returns their
    sums."""
    lines = proxy.logs("device_slowed", label=entry["label"])
    times = [seconds(line["time"]) for line in lines]
    assert all(late - early >= LINE_S - 1
               for early, late in zip(times, times[1:-1])), times
    assert len(lines) <= 2 + (times[-1] - times[0]) // LINE_S
    for line in lines:
        assert int(line["qos0_dropped"]) == sum(
            int(line[f"dropped_{reason}"]) for reason in REASONS)
    assert lines[-1]["qos0_waiting"] == "0"
    return sums(lines)


def seconds(text):
    """The time of a log line."""
    text, _, fraction = text.rstrip("Z").partition(".")
    return time.mktime(time.strptime(text, "%Y-%m-%dT%H:%M:%S")) + float(
        f"0.{fraction or 0}")


def test_a_minute(cloud, start, dial):
    """100 messages a second at QoS 0, and of another device at QoS 1."""
    entries = [cloud.device(), cloud.device()]
    for entry in entries:
        cloud.fault(entry, strict=True)
    proxy = start(cloud, *entries)
    floods = []
    for qos, entry in enumerate(entries):
        # what a device cannot get rid of, its application still has
        device = dial(proxy, receive_buffer=4096)
        device.log_in(entry["label"])
        floods.append(Flood(device, entry, qos))
    begin = time.monotonic()
    for at in range(COUNT):
        # late is late: no message is left out for it
        time.sleep(max(begin + at / PER_SECOND - time.monotonic(), 0))
        for flood in floods:
            flood.offer()
            flood.hear()
    quick, slow = floods
    # what QoS 0 has left to say is taken: ask for an answer behind it
    quick.finish()
    assert quick.written == COUNT
    quick.device.ping()
    for flood in floods:
        flood.device.reset()
    for entry in entries:
        proxy.wait_log("session_end", label=entry["label"])
        cloud.wait("disconnect", entry)

    published = [[int(line["payload"])
                  for line in cloud.decisions("publish", entry)]
                 for entry in entries]
    told = [check_lines(proxy, entry) for entry in entries]
    # each is sent, or dropped for a reason; none waits any more
    assert told[0]["qos0_sent"] == len(published[0])
    assert told[0]["qos0_sent"] + told[0]["qos0_dropped"] == COUNT
    assert told[0]["dropped_full"] > 0 and told[0]["dropped_ended"] > 0
    assert published[0] == sorted(set(published[0]))
    # none is lost, and the device knows what has not gone up
    assert told[1]["qos1_sent"] == len(published[1])
    assert told[1]["qos1_waited"] > 0
    assert told[1]["qos0_dropped"] == 0
    assert published[1] == list(range(len(published[1])))
    assert set(slow.acknowledged) <= set(published[1])
    assert len(published[1]) < slow.written
    assert len(proxy.logs("message_dropped")) == 0
