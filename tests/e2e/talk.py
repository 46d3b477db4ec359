"""What a device sends and what it is promised back, step by step, as data.

A Talk makes the steps; test_shapes.py acts them out. What a step needs of
the proxy beyond carrying its packets is found here, from the packets.
"""

import dataclasses
from typing import Optional

import mqtt_raw as mqtt

# the platform's own bounds
FILTERS_MAX, TOPIC_BYTES, TOPIC_SLASHES = 8, 128, 7
# what the platform has not, and a proxy has to make good: QoS 2; a will and
# retained messages below level 5; many filters in one packet; topics that
# are not the platform's; more at a time than the platform takes
NEEDS = frozenset({"qos2", "will", "retain", "split", "map", "rate"})


@dataclasses.dataclass(frozen=True)
class Message:
    topic: str
    payload: bytes
    qos: int = 0


@dataclasses.dataclass(frozen=True)
class Answer:
    """A packet that the device is promised.

    number: its packet identifier; codes: of a CONNACK the code, of a SUBACK
    the QoS asked for, which is the most that may be granted; session: that
    of a CONNACK, None for either; message: of a PUBLISH, at its QoS or
    less."""
    kind: int
    number: Optional[int] = None
    codes: tuple = (0,)
    session: Optional[bool] = None
    message: Optional[Message] = None


@dataclasses.dataclass(frozen=True)
class Step:
    """Segments the device writes one by one, and what comes of them before
    the next step: answers to it in any order, but for CONNACK, which is the
    first; messages for the applications of the cloud, in order."""
    segments: tuple = ()
    answers: tuple = ()
    ups: tuple = ()
    needs: frozenset = frozenset()
    dials: bool = False         # on a new connection
    ends: Optional[str] = None  # "bye", after DISCONNECT; "lost"
    down: Optional[Message] = None  # what an application publishes


def together(*steps):
    """All packets in one TCP segment."""
    return _join(steps, (b"".join(
        part for step in steps for part in step.segments),))


def promising_nothing(step):
    """The device does not wait for an answer: there need be none."""
    return dataclasses.replace(step, answers=())


def cut(step, *sizes):
    """In segments of these sizes, the rest in the last."""
    data, pieces = b"".join(step.segments), []
    for size in sizes:
        pieces.append(data[:size])
        data = data[size:]
    return dataclasses.replace(step, segments=tuple(
        piece for piece in (*pieces, data) if piece))


def bytewise(step):
    data = b"".join(step.segments)
    return cut(step, *(1 for _ in data))


def rushed(*steps):
    """Faster than the platform takes it."""
    return _join(steps, tuple(part for step in steps
                              for part in step.segments),
                 frozenset({"rate"}))


def _join(steps, segments, needs=frozenset()):
    return Step(segments,
                tuple(answer for step in steps for answer in step.answers),
                tuple(up for step in steps for up in step.ups),
                needs.union(*(step.needs for step in steps)),
                any(step.dials for step in steps),
                next((step.ends for step in steps if step.ends), None))


class Talk:
    """Makes the steps of one device, known to the cloud as these two."""

    def __init__(self, product_key, device_name, level):
        self.level = level
        self.mine = f"{product_key}/{device_name}"
        self.client_ids = []    # as they were used
        self.foreign = []       # topics and filters that are not its own
        self._will = None       # of the open connection
        self._held = {}         # packet identifier -> Message at QoS 2

    # The platform's topics

    def own(self, name):
        return f"/{self.mine}/user/{name}"

    def thing(self, name):
        return f"/sys/{self.mine}/thing/{name}"

    # Steps

    def login(self, client_id, session=None, refused=None, waiting=(),
              **options):
        """waiting: messages that have come for a session that is kept."""
        self.client_ids.append(client_id)
        needs, self._will = set(), None
        if will := options.get("will"):
            topic, payload, qos, retain = (*will, 0, False)[:4]
            options["will"] = topic, payload, qos, retain
            self._will = Message(topic, _bytes(payload), qos)
            needs |= self._topic_needs(topic)
            if self.level < 5:
                needs.add("will")
            if qos == 2:
                needs.add("qos2")
        return Step(
            (mqtt.connect(client_id, self.level, **options),),
            (Answer(mqtt.CONNACK, codes=(refused or 0,), session=session),
             *_deliveries(waiting)),
            needs=frozenset(needs), dials=True)

    def pub(self, topic, payload=b"", qos=0, number=0, as_=None, echo=False,
            **options):
        """as_: the topic that an alias stands for; echo: the device hears
        itself."""
        payload = _bytes(payload)
        message = Message(as_ or topic, payload, qos)
        needs = self._topic_needs(message.topic)
        if options.get("retain") and self.level < 5:
            needs.add("retain")
        if qos == 2:
            needs.add("qos2")
            self._held[number] = message
        kind = (None, mqtt.PUBACK, mqtt.PUBREC)[qos]
        answers = [Answer(kind, number)] if kind else []
        if echo:
            answers.append(Answer(mqtt.PUBLISH, message=message))
        return Step(
            (mqtt.publish(topic, payload, qos, number, self.level,
                          **options),),
            tuple(answers), () if qos == 2 else (message,),
            frozenset(needs))

    def rel(self, number, echo=False):
        """The second half of a PUBLISH at QoS 2; only with it the message
        has to be there."""
        message = self._held.pop(number)
        answers = [Answer(mqtt.PUBCOMP, number)]
        if echo:
            answers.append(Answer(mqtt.PUBLISH, message=message))
        return Step((mqtt.pubrel(number),), tuple(answers), (message,),
                    frozenset({"qos2"}))

    def sub(self, number, *filters, qos=0, options=0, waiting=(), **more):
        """A filter may be a pair with a QoS of its own; waiting: messages
        that are retained there."""
        pairs = [each if isinstance(each, tuple) else (each, qos)
                 for each in filters]
        needs = self._filter_needs([name for name, _ in pairs])
        if any(wanted == 2 for _, wanted in pairs):
            needs.add("qos2")
        return Step(
            (mqtt.subscribe(*((name, wanted | options)
                              for name, wanted in pairs),
                            number=number, level=self.level, **more),),
            (Answer(mqtt.SUBACK, number, tuple(
                wanted for _, wanted in pairs)), *_deliveries(waiting)),
            needs=frozenset(needs))

    def unsub(self, number, *filters):
        return Step((mqtt.unsubscribe(*filters, number=number,
                                      level=self.level),),
                    (Answer(mqtt.UNSUBACK, number, (0,) * len(filters)),),
                    needs=frozenset(self._filter_needs(filters)))

    def down(self, topic, payload, qos=0, away=False):
        """An application of the cloud publishes; away: to a session that
        waits for its device."""
        message = Message(topic, _bytes(payload), qos)
        return Step(
            answers=() if away else (Answer(mqtt.PUBLISH, message=message),),
            ups=(message,), needs=frozenset(self._topic_needs(topic)),
            down=message)

    def ping(self):
        return Step((mqtt.PINGREQ,), (Answer(mqtt.PINGRESP),))

    def bye(self):
        self._will = None
        return Step((mqtt.DISCONNECT,), ends="bye")

    def bye_for_reason(self, code, properties=b""):
        """DISCONNECT of level 5; 4 has the will published."""
        will = (self._will,) if code == 4 and self._will else ()
        return Step((mqtt.packet(0xE0, bytes([code])
                                 + mqtt.block(5, properties)),),
                    ups=will, ends="bye")

    def lost(self):
        """The device is gone without a word."""
        return Step(ups=(self._will,) if self._will else (), ends="lost")

    def _topic_needs(self, topic):
        """Of a topic or filter."""
        if not topic.startswith((f"/{self.mine}/", f"/sys/{self.mine}/")):
            if topic not in self.foreign:
                self.foreign.append(topic)
            return {"map"}
        # the others would not be the platform's own
        assert len(topic.encode()) <= TOPIC_BYTES
        assert topic.count("/") <= TOPIC_SLASHES
        return set()

    def _filter_needs(self, filters):
        needs = set().union(*map(self._topic_needs, filters))
        if len(filters) > FILTERS_MAX:
            needs.add("split")
        return needs


def _deliveries(messages):
    return (Answer(mqtt.PUBLISH, message=Message(*each))
            for each in messages)


def _bytes(payload):
    return payload if isinstance(payload, bytes) else payload.encode()
