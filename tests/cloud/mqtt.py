"""MQTT 3.1, 3.1.1 and 5.0 control packets: split a stream, read, write.

Bytes in, bytes out.  Only what the gate has to judge is taken apart; all
else stays raw and is passed on as it came.  What a device may never send
raises Malformed.
"""

import struct
from dataclasses import dataclass
from typing import NamedTuple, Optional

(CONNECT, CONNACK, PUBLISH, PUBACK, PUBREC, PUBREL, PUBCOMP, SUBSCRIBE,
 SUBACK, UNSUBSCRIBE, UNSUBACK, PINGREQ, PINGRESP, DISCONNECT,
 AUTH) = range(1, 16)

NAMES = ("", "CONNECT", "CONNACK", "PUBLISH", "PUBACK", "PUBREC", "PUBREL",
         "PUBCOMP", "SUBSCRIBE", "SUBACK", "UNSUBSCRIBE", "UNSUBACK",
         "PINGREQ", "PINGRESP", "DISCONNECT", "AUTH")

# MQTT 5.0 2.2.2.2: how the value of each property is written
PROPERTY_TYPES = {
    0x01: "u8", 0x02: "u32", 0x03: "text", 0x08: "text", 0x09: "binary",
    0x0B: "varint", 0x11: "u32", 0x12: "text", 0x13: "u16", 0x15: "text",
    0x16: "binary", 0x17: "u8", 0x18: "u32", 0x19: "u8", 0x1A: "text",
    0x1C: "text", 0x1F: "text", 0x21: "u16", 0x22: "u16", 0x23: "u16",
    0x24: "u8", 0x25: "u8", 0x26: "pair", 0x27: "u32", 0x28: "u8",
    0x29: "u8", 0x2A: "u8",
}
ASSIGNED_CLIENT_ID = 0x12
SERVER_KEEP_ALIVE = 0x13
SERVER_REFERENCE = 0x1C
TOPIC_ALIAS = 0x23
MAXIMUM_QOS = 0x24


class Malformed(Exception):
    """The packet breaks the standard; the text says how."""


class Packet(NamedTuple):
    """One control packet; raw is the whole of it, body what follows the
    fixed header."""
    kind: int
    flags: int
    body: bytes
    raw: bytes


class Splitter:
    """Cuts a byte stream into packets and keeps what is not whole yet."""

    def __init__(self):
        self._held = bytearray()

    @property
    def partial(self):
        """Whether a packet has begun and not ended."""
        return bool(self._held)

    def feed(self, data):
        """Takes bytes; returns the list of packets they complete."""
        self._held += data
        packets = []
        while (packet := self._take()) is not None:
            packets.append(packet)
        return packets

    def _take(self):
        held = self._held
        length, at = 0, 1
        while True:
            if at >= len(held):
                return None
            length |= (held[at] & 0x7F) << 7 * (at - 1)
            at += 1
            if not held[at - 1] & 0x80:
                break
            if at == 5:
                raise Malformed("remaining length of more than four bytes")
        if len(held) < at + length:
            return None
        raw = bytes(held[:at + length])
        del held[:at + length]
        return Packet(raw[0] >> 4, raw[0] & 0x0F, raw[at:], raw)


class Fields:
    """Reads the fields of a packet's body one after the other."""

    def __init__(self, body):
        self._body = body
        self._at = 0

    @property
    def left(self):
        return len(self._body) - self._at

    def take(self, count):
        if count > self.left:
            raise Malformed("a field runs over the end of the packet")
        self._at += count
        return self._body[self._at - count:self._at]

    def u8(self):
        return self.take(1)[0]

    def u16(self):
        return int.from_bytes(self.take(2), "big")

    def u32(self):
        return int.from_bytes(self.take(4), "big")

    def varint(self):
        value = 0
        for shift in (0, 7, 14, 21):
            byte = self.u8()
            value |= (byte & 0x7F) << shift
            if not byte & 0x80:
                return value
        raise Malformed("variable byte integer of more than four bytes")

    def binary(self):
        return self.take(self.u16())

    def text(self):
        try:
            text = self.binary().decode("utf-8")
        except UnicodeDecodeError:
            raise Malformed("a string is not UTF-8 [MQTT-1.5.3-1]") from None
        if "\0" in text:
            raise Malformed("a string holds U+0000 [MQTT-1.5.3-2]")
        return text

    def pair(self):
        return self.text(), self.text()

    def packet_id(self):
        value = self.u16()
        if value == 0:
            raise Malformed("packet identifier 0 [MQTT-2.3.1-1]")
        return value

    def properties(self, level):
        """Returns the raw property block without its length; empty below
        level 5."""
        return self.take(self.varint()) if level == 5 else b""

    def rest(self):
        return self.take(self.left)

    def end(self):
        if self.left:
            raise Malformed(f"{self.left} bytes after the last field")


def read_properties(block):
    """Returns {identifier: last value} of a raw property block."""
    fields, found = Fields(block), {}
    while fields.left:
        identifier = fields.varint()
        if identifier not in PROPERTY_TYPES:
            raise Malformed(f"unknown property 0x{identifier:02x}")
        found[identifier] = getattr(fields, PROPERTY_TYPES[identifier])()
    return found


def check_header(packet, level):
    """Raises Malformed where kind, flags or length are not what a device
    may send (MQTT 3.1.1 table 2.2; 3.1 had DUP in the requests too)."""
    kind, flags = packet.kind, packet.flags
    if kind not in range(CONNECT, DISCONNECT + 1):
        raise Malformed(f"packet type {kind}")
    if kind in (CONNACK, SUBACK, UNSUBACK, PINGRESP):
        raise Malformed(f"{NAMES[kind]} from a client")
    if kind == PUBLISH:
        return
    expected = 2 if kind in (PUBREL, SUBSCRIBE, UNSUBSCRIBE) else 0
    if flags & (0x07 if level == 3 else 0x0F) != expected:
        raise Malformed(f"{NAMES[kind]} with flags 0x{flags:x}"
                        " [MQTT-2.2.2-2]")
    if kind == PINGREQ or (kind == DISCONNECT and level < 5):
        Fields(packet.body).end()
    if kind == PUBACK and level < 5 and len(packet.body) != 2:
        raise Malformed("PUBACK not of two bytes")


@dataclass
class Will:
    """What a CONNECT asks to be published when its link is lost."""
    properties: bytes
    topic: str
    payload: bytes
    qos: int
    retain: bool


@dataclass
class Connect:
    """CONNECT as it was sent.  Of an unknown level only that is set."""
    level: int
    clean: bool = False
    keep_alive: int = 0
    properties: bytes = b""
    client_id: str = ""
    will: Optional[Will] = None
    user_name: Optional[str] = None
    password: Optional[bytes] = None


def read_connect(packet):
    """Reads a CONNECT of level 3, 4 or 5."""
    if packet.kind != CONNECT:
        raise Malformed("the first packet is not CONNECT [MQTT-3.1.0-1]")
    if packet.flags:
        raise Malformed("CONNECT with flags in its fixed header")
    fields = Fields(packet.body)
    name, level = fields.text(), fields.u8()
    if name not in ("MQIsdp", "MQTT"):
        raise Malformed(f"protocol name {name!r} [MQTT-3.1.2-1]")
    if (name, level) not in (("MQIsdp", 3), ("MQTT", 4), ("MQTT", 5)):
        return Connect(level)

    flags = fields.u8()
    will_flag, will_qos = bool(flags & 0x04), flags >> 3 & 3
    if flags & 0x01:
        raise Malformed("reserved connect flag [MQTT-3.1.2-3]")
    if will_qos == 3 or (not will_flag and flags & 0x38):
        raise Malformed("will QoS or retain [MQTT-3.1.2-11..15]")
    if level < 5 and flags & 0x40 and not flags & 0x80:
        raise Malformed("password without user name [MQTT-3.1.2-22]")

    connect = Connect(level, bool(flags & 0x02), fields.u16())
    connect.properties = fields.properties(level)
    read_properties(connect.properties)
    connect.client_id = fields.text()
    if will_flag:
        block = fields.properties(level)
        read_properties(block)
        connect.will = Will(block, fields.text(), fields.binary(), will_qos,
                            bool(flags & 0x20))
    if flags & 0x80:
        connect.user_name = fields.text()
    if flags & 0x40:
        connect.password = fields.binary()
    fields.end()
    return connect


@dataclass
class Publish:
    """PUBLISH; packet_id is 0 at QoS 0, alias 0 without a topic alias."""
    topic: str
    qos: int
    retain: bool
    duplicate: bool
    packet_id: int
    alias: int
    payload: bytes


def read_publish(packet, level):
    flags, fields = packet.flags, Fields(packet.body)
    qos = flags >> 1 & 3
    if qos == 3:
        raise Malformed("PUBLISH at QoS 3 [MQTT-3.3.1-4]")
    if flags & 0x08 and qos == 0:
        raise Malformed("DUP at QoS 0 [MQTT-3.3.1-2]")
    topic = fields.text()
    if "+" in topic or "#" in topic:
        raise Malformed("wildcard in a topic name [MQTT-3.3.2-2]")
    packet_id = fields.packet_id() if qos else 0
    alias = read_properties(fields.properties(level)).get(TOPIC_ALIAS, 0)
    if not topic and not alias:
        raise Malformed("empty topic name [MQTT-4.7.3-1]")
    return Publish(topic, qos, bool(flags & 1), bool(flags & 8), packet_id,
                   alias, fields.rest())


@dataclass
class Subscribe:
    """SUBSCRIBE; requests are (filter, option byte)."""
    packet_id: int
    properties: bytes
    requests: list


def read_subscribe(packet, level):
    fields = Fields(packet.body)
    subscribe = Subscribe(fields.packet_id(), fields.properties(level), [])
    read_properties(subscribe.properties)
    while fields.left:
        topic_filter, options = fields.text(), fields.u8()
        if options & 3 == 3 or (level < 5 and options & 0xFC):
            raise Malformed("subscription options [MQTT-3-8.3-4]")
        levels = topic_filter.split("/")
        if not topic_filter or "#" in levels[:-1] or any(
                len(part) > 1 and ("+" in part or "#" in part)
                for part in levels):
            raise Malformed(f"topic filter {topic_filter!r} [MQTT-4.7.1]")
        subscribe.requests.append((topic_filter, options))
    if not subscribe.requests:
        raise Malformed("SUBSCRIBE without a filter [MQTT-3.8.3-3]")
    return subscribe


def read_unsubscribe(packet, level):
    """Returns the filters of an UNSUBSCRIBE."""
    fields, filters = Fields(packet.body), []
    fields.packet_id()
    fields.properties(level)
    while fields.left:
        filters.append(fields.text())
    if not filters:
        raise Malformed("UNSUBSCRIBE without a filter [MQTT-3.10.3-2]")
    return filters


def read_suback(packet, level):
    """Returns (packet identifier, raw properties, return codes)."""
    fields = Fields(packet.body)
    return fields.packet_id(), fields.properties(level), list(fields.rest())


def read_connack(packet, level):
    """Returns (session present, code, raw properties)."""
    fields = Fields(packet.body)
    present, code = fields.u8(), fields.u8()
    return present, code, fields.properties(level)


def varint(value):
    out = bytearray()
    while True:
        value, byte = divmod(value, 128)
        out.append(byte | (0x80 if value else 0))
        if not value:
            return bytes(out)


def binary(data):
    return struct.pack("!H", len(data)) + data


def text(string):
    return binary(string.encode("utf-8"))


def packet_bytes(kind, flags, body):
    return bytes([kind << 4 | flags]) + varint(len(body)) + body


def property_block(block, level):
    """A raw property block with its length; nothing below level 5."""
    return varint(len(block)) + block if level == 5 else b""


def write_connect(connect):
    """CONNECT without user name and password, all else as read."""
    will = connect.will
    flags = connect.clean << 1
    payload = text(connect.client_id)
    if will:
        flags |= 0x04 | will.qos << 3 | will.retain << 5
        payload += (property_block(will.properties, connect.level)
                    + text(will.topic) + binary(will.payload))
    name = "MQIsdp" if connect.level == 3 else "MQTT"
    head = text(name) + struct.pack("!BBH", connect.level, flags,
                                    connect.keep_alive)
    return packet_bytes(CONNECT, 0, head + property_block(
        connect.properties, connect.level) + payload)


def write_connack(level, code, present=0, properties=b""):
    return packet_bytes(CONNACK, 0, bytes([present, code])
                        + property_block(properties, level))


def write_subscribe(subscribe, level):
    body = struct.pack("!H", subscribe.packet_id)
    body += property_block(subscribe.properties, level)
    for topic_filter, options in subscribe.requests:
        body += text(topic_filter) + bytes([options])
    return packet_bytes(SUBSCRIBE, 2, body)


def write_suback(level, packet_id, codes, properties=b""):
    return packet_bytes(SUBACK, 0, struct.pack("!H", packet_id)
                        + property_block(properties, level) + bytes(codes))


def write_puback(packet_id, code):
    """PUBACK of level 5 with a reason."""
    return packet_bytes(PUBACK, 0, struct.pack("!HB", packet_id, code))


def write_disconnect(code):
    """DISCONNECT of level 5 with a reason (below, servers send none)."""
    return packet_bytes(DISCONNECT, 0, bytes([code]))
