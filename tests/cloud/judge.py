"""What becomes of the packets that one device sends."""

import hashlib

import contract
import mqtt
from meter import Meter

PAYLOAD_SHOWN = 256


class Breach(Exception):
    """One that the link does not outlive, written down already; code is
    that of a DISCONNECT at level 5."""

    def __init__(self, rule, code):
        super().__init__(rule)
        self.rule, self.code = rule, code


class Judge:
    """Of one link.  note(event, **fields) writes a decision down, answer(
    packet) is a coroutine that sends to the device.  Level and identity are
    set by the link as soon as they are known."""

    def __init__(self, gate, note, answer):
        self.level = 4
        self.identity = None
        self._gate, self._note, self._answer = gate, note, answer
        self._aliases = {}          # level 5, of the device
        self._subacks = {}          # packet identifier -> codes
        self._unacknowledged = set()    # packet identifiers of PUBLISH
        self._bytes = Meter()       # of what came and was not dropped

    def connect(self, connect, identity, recent):
        """Returns the Verdict on a CONNECT whose login is all right;
        recent: logins of the identity in the last minute."""
        return self._ask(contract.CONNECT, identity,
                         keep_alive=connect.keep_alive, will=connect.will,
                         logins_per_minute=recent)

    async def packet(self, packet):
        """Returns what the broker gets of a packet, None for nothing."""
        mqtt.check_header(packet, self.level)
        if packet.kind == mqtt.PUBLISH:
            return await self._publish(packet)
        self._ask(contract.PACKET, kind=packet.kind)
        self._bytes.add(len(packet.raw))
        if packet.kind == mqtt.SUBSCRIBE:
            return await self._subscribe(packet)
        if packet.kind == mqtt.UNSUBSCRIBE:
            self._unsubscribe(packet)
        if packet.kind == mqtt.PINGREQ:
            self._note("ping")
        return packet.raw

    def welcome(self, session_present):
        """The broker has let the device in."""
        if not session_present:
            self._subscriptions.clear()

    def suback(self, packet):
        """The broker's SUBACK as the device gets it."""
        number, properties, found = mqtt.read_suback(packet, self.level)
        answers = iter(found)
        codes = [code if code >= 0x80 else max(code, next(answers) & 0x80)
                 for code in self._subacks.pop(number)]
        return mqtt.write_suback(self.level, number, codes, properties)

    def puback(self, packet):
        """The device is about to get this PUBACK."""
        self._unacknowledged.discard(mqtt.Fields(packet.body).packet_id())

    def _ask(self, where, identity=None, about=None, **facts):
        """Asks the contract about a packet; writes a breach down, with what
        it was about, and raises when that ends the link."""
        identity = identity or self.identity
        faults = self._gate.faults
        verdict = contract.first_broken(
            where, faults.get(identity, "strict"),
            faults.get(identity, "limits"),
            {"level": self.level, "identity": identity, **facts})
        if verdict is None or not verdict.is_breach:
            return verdict
        rule, fields = verdict.rule, dict(about or {})
        if rule.log_code:
            fields["code"] = rule.log_code
        self._note("breach", rule=rule.name, action=verdict.action,
                   detail=verdict.detail, product_key=identity[0],
                   device_name=identity[1], **fields)
        if verdict.action == contract.CLOSED:
            raise Breach(rule.name, verdict.code)
        return verdict

    async def _publish(self, packet):
        publish = mqtt.read_publish(packet, self.level)
        size = len(publish.payload)
        about = {"topic": self._topic(publish), "qos": publish.qos,
                 "bytes": size}
        rates = {}
        if self._gate.faults.get(self.identity, "strict"):
            rates = self._rates(publish, len(packet.raw))
            about["in_last_second"] = self._meter(publish).sum() + 1
        verdict = self._ask(
            contract.PUBLISH, about=about, qos=publish.qos,
            retain=publish.retain, payload_bytes=size, **rates,
            **contract.topic_facts(about["topic"]))
        if verdict:
            if verdict.code is not None and publish.qos:
                await self._answer(mqtt.write_puback(publish.packet_id,
                                                     verdict.code))
            return None
        self._count(publish, len(packet.raw))
        self._note("publish", **about, retain=publish.retain,
                   duplicate=publish.duplicate, packet_id=publish.packet_id,
                   **_show(publish.payload))
        return packet.raw

    def _topic(self, publish):
        if publish.alias and publish.topic:
            self._aliases[publish.alias] = publish.topic
        if publish.topic:
            return publish.topic
        if publish.alias not in self._aliases:
            raise mqtt.Malformed(f"topic alias {publish.alias} not set")
        return self._aliases[publish.alias]

    def _meter(self, publish):
        # QoS 2 is turned away before it is counted
        return self._gate.meters[self.identity].publishes[publish.qos & 1]

    def _rates(self, publish, size):
        """What the rules on too much look at, with this one counted in."""
        limits = self._gate.faults.get(self.identity, "limits")
        jitter_s = {**contract.LIMITS, **limits}["jitter_s"]
        rates = {"bytes_per_s": self._bytes.rate_with(size, jitter_s)}
        if publish.qos < 2:
            rates[f"qos{publish.qos}_per_s"] = self._meter(
                publish).rate_with(1, jitter_s)
        if publish.qos == 1:
            rates["unacknowledged"] = len(
                self._unacknowledged | {publish.packet_id})
        return rates

    def _count(self, publish, size):
        self._bytes.add(size)
        self._meter(publish).add()
        if publish.qos:
            self._unacknowledged.add(publish.packet_id)

    async def _subscribe(self, packet):
        subscribe = mqtt.read_subscribe(packet, self.level)
        requests = subscribe.requests
        if subscribe.packet_id in self._subacks:
            raise mqtt.Malformed(f"packet identifier {subscribe.packet_id}"
                                 " is in use [MQTT-2.3.1-2]")
        # a code from 0x80 on stands; one below is what to grant at most
        codes = [self._subscribe_code(wanted, options & 3, len(requests))
                 for wanted, options in requests]
        self._note("subscribe", filters=[wanted for wanted, _ in requests],
                   requested=[options & 3 for _, options in requests],
                   granted=codes)
        # the QoS of a delivery is the publisher's, not the subscriber's
        subscribe.requests = [
            (wanted, options & ~3 | 1)
            for (wanted, options), code in zip(requests, codes)
            if code < 0x80]
        if not subscribe.requests:
            await self._answer(mqtt.write_suback(
                self.level, subscribe.packet_id, codes))
            return None
        self._subacks[subscribe.packet_id] = codes
        return mqtt.write_subscribe(subscribe, self.level)

    def _subscribe_code(self, wanted, qos, count):
        """The code for one filter, of so many in the packet."""
        mine = self._subscriptions
        verdict = self._ask(
            contract.SUBSCRIBE, about={"topic": wanted}, qos=qos,
            filters=count, subscriptions=len(mine | {wanted}),
            **contract.topic_facts(wanted))
        if verdict:
            return verdict.code
        mine.add(wanted)
        return min(qos, 1)

    def _unsubscribe(self, packet):
        filters = mqtt.read_unsubscribe(packet, self.level)
        for wanted in filters:
            self._ask(contract.UNSUBSCRIBE, about={"topic": wanted},
                      filters=len(filters), **contract.topic_facts(wanted))
        self._subscriptions.difference_update(filters)
        self._note("unsubscribe", filters=filters)

    @property
    def _subscriptions(self):
        return self._gate.subscriptions[self.identity]


def _show(payload):
    """A short payload as text, of a long one its digest."""
    if len(payload) <= PAYLOAD_SHOWN:
        return {"payload": payload.decode("utf-8", "backslashreplace")}
    return {"sha256": hashlib.sha256(payload).hexdigest()}
