"""What legacy firmware sends, as it sends it, through the proxy to a cloud
that holds it to every rule; and the device gets what it is promised."""

import collections
import contextlib

import pytest

import mqtt_raw as mqtt
from cloud_process import Cloud
from kernel import unread, wait_until
from shapes import SHAPES
from talk import NEEDS

# the needs that the proxy makes good
MADE_GOOD = {"qos2", "retain", "split", "rate", "will", "map"}
READY = [shape for shape in SHAPES.values() if shape.needs <= MADE_GOOD]
# what any broker says to a CONNECT, but for those that are to be refused
WELCOME = [shape for shape in SHAPES.values() if all(
    answer.codes == (0,) for step in shape.steps("pk", "dn")
    for answer in step.answers if answer.kind == mqtt.CONNACK)]


class Actor:
    """Acts a shape out. dial() connects to port; hears: an application that
    has subscribed to everything; says: one that publishes; gone() returns
    when the end of the device's connection is known everywhere; topics: what
    the device's are for the applications."""

    def __init__(self, level, dial, port, hears, says, gone, topics=None):
        self._level, self._dial, self._port = level, dial, port
        self._hears, self._says, self._gone = hears, says, gone
        self._topics = topics or {}
        self._device = None
        self._early = collections.deque()   # deliveries

    def act(self, steps):
        for number, step in enumerate(steps):
            try:
                self._act(step)
            except Exception as why:
                raise AssertionError(f"step {number}: {step}") from why
        assert not self._early

    def _act(self, step):
        if step.dials:
            self._device = self._dial()
            self._device.level = self._level
        for segment in step.segments:
            self._device.send(segment)
            if len(step.segments) > 1:
                wait_until(lambda: not unread(local=self._port,
                                              remote=self._device.port))
        if step.down:
            self._says.publish(self._in_cloud(step.down), step.down.payload,
                               step.down.qos)
        self._check_answers(list(step.answers))
        if step.ends:
            self._device.close()
            self._gone()
        for message in step.ups:
            heard = self._hears.receive()
            assert (heard.topic, heard.payload) == (
                self._in_cloud(message), message.payload)
            assert heard.qos == min(message.qos, 1)

    def _in_cloud(self, message):
        return self._topics.get(message.topic, message.topic)

    def _check_answers(self, promised):
        """CONNACK first; those of a kind in order, the kinds in any."""
        if promised and promised[0].kind == mqtt.CONNACK:
            self._check_connack(promised.pop(0))
        waiting = collections.defaultdict(collections.deque)
        for answer in promised:
            waiting[answer.kind].append(answer)
        while any(waiting.values()):
            packet = (self._early.popleft()
                      if self._early and waiting[mqtt.PUBLISH]
                      else self._device.packet())
            if packet.kind == mqtt.PUBREL:  # of a delivery at QoS 2
                self._device.send(mqtt.pubcomp(
                    int.from_bytes(packet.body[:2], "big")))
                continue
            if packet.kind == mqtt.PUBLISH and packet.flags & 1 and (
                    not waiting[packet.kind]):
                # of somebody else, who is retained
                self._device.take_publish(packet)
                continue
            if packet.kind == mqtt.PUBLISH and not waiting[packet.kind]:
                # of a message at QoS 2, before its PUBREL: it went up at once
                self._early.append(packet)
                continue
            assert waiting[packet.kind], packet
            answer = waiting[packet.kind].popleft()
            if answer.message:
                self._check_delivery(packet, answer.message)
            else:
                self._check_answer(packet, answer)

    def _check_connack(self, answer):
        found = self._device.connack()
        assert (found.code,) == answer.codes
        if answer.session is not None and self._level > 3:
            assert found.session_present == answer.session
        if found.code:
            assert self._device.until_closed() == []

    def _check_delivery(self, packet, message):
        found = self._device.take_publish(packet)
        assert (found.topic, found.payload) == (message.topic,
                                                message.payload)
        assert found.qos <= message.qos

    def _check_answer(self, packet, answer):
        if answer.number is not None:
            assert int.from_bytes(packet.body[:2], "big") == answer.number
        if packet.kind == mqtt.SUBACK:
            granted = packet.body[-len(answer.codes):]
            assert len(packet.body) >= 2 + len(answer.codes)
            assert all(code <= asked for code, asked
                       in zip(granted, answer.codes)), granted
        elif self._level < 5:
            assert len(packet.body) == (0 if packet.kind == mqtt.PINGRESP
                                        else 2)
        elif len(packet.body) > 2:
            assert packet.body[2] < 0x80, packet.body


@pytest.fixture(scope="module", name="reference")
def fixture_reference(tmp_path_factory):
    """Any broker would do; here Mosquitto without the gate."""
    with contextlib.closing(
            Cloud(tmp_path_factory.mktemp("reference"))) as cloud:
        yield cloud


@pytest.mark.parametrize("shape", READY, ids=lambda shape: shape.name)
def test_shape(cloud, start, dial, listen, shape):
    """Nothing that the cloud forbids has been sent up; audit() sees to it
    at the end."""
    entry = {**cloud.device(), **shape.keys}
    names = entry["product_key"], entry["device_name"]
    cloud.fault(entry, strict=True)
    proxy = start(cloud, entry)
    mine = "/".join(names)
    hears = listen(cloud, f"/{mine}/#", f"/sys/{mine}/#")
    says = dial(cloud)
    says.log_in("says")

    def gone():
        # each login but those that are refused here has one
        logins = len(cloud.decisions("login", entry))
        if logins:
            cloud.wait("disconnect", entry, count=logins)

    Actor(shape.level, lambda: dial(proxy), proxy.port, hears, says,
          gone, {lan: f"/{mine}/user/{topic}" for lan, topic
                 in shape.topics.items()}).act(shape.steps(*names))


@pytest.mark.parametrize("shape", WELCOME, ids=lambda shape: shape.name)
def test_promise(reference, dial, shape):
    """All that is promised here is what a plain broker does, so that it is
    not the proxy that the shapes have been made for."""
    hears, says = dial(reference), dial(reference)
    hears.log_in("hears", 5)
    # without what is retained of others
    hears.subscribe("#", "$aws/#", "$SYS/broker/connection/#", qos=0x21)
    says.log_in("says")
    Actor(shape.level, lambda: dial(reference), reference.broker_port, hears,
          says, lambda: None).act(shape.steps("pk", f"dn{says.port}"))


def test_the_corpus_is_whole():
    """Many shapes, of every level and with every need."""
    assert len(READY) == len(SHAPES) >= 60
    assert {shape.level for shape in SHAPES.values()} == {3, 4, 5}
    found = collections.Counter(
        need for shape in SHAPES.values() for need in shape.needs)
    assert set(found) == NEEDS, found
