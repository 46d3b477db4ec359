"""An MQTT client that does exactly what it is told: for old devices, odd
devices, and for applications of the cloud. Levels 3, 4 and 5."""

import dataclasses
import socket
import struct

TIMEOUT = 30
NAMES = {3: "MQIsdp", 4: "MQTT", 5: "MQTT"}

CONNACK, PUBLISH, PUBACK, PUBREC, PUBREL = 2, 3, 4, 5, 6
PUBCOMP, SUBACK, UNSUBACK = 7, 9, 11
PINGRESP, DISCONNECT_KIND, AUTH = 13, 14, 15

# MQTT 5.0 2.2.2.2, the ones that are written or looked for here
SESSION_EXPIRY, ASSIGNED_CLIENT_ID, SERVER_KEEP_ALIVE = 0x11, 0x12, 0x13
SERVER_REFERENCE, USER_PROPERTY = 0x1C, 0x26
SUBSCRIPTION_IDENTIFIER = 0x0B
AUTH_METHOD, AUTH_DATA = 0x15, 0x16
RESPONSE_INFORMATION, REASON_STRING = 0x1A, 0x1F


def varint(number):
    out = bytearray()
    while True:
        number, low = divmod(number, 128)
        out.append(low | (0x80 if number else 0))
        if not number:
            return bytes(out)


def text(value):
    data = value if isinstance(value, bytes) else value.encode()
    return struct.pack("!H", len(data)) + data


def packet(first, body=b""):
    return bytes([first]) + varint(len(body)) + body


def block(level, properties=b""):
    """A list of properties with its length, which only level 5 has."""
    return varint(len(properties)) + properties if level == 5 else b""


def user_property(name, value):
    return bytes([USER_PROPERTY]) + text(name) + text(value)


def text_property(identifier, value):
    """One of a string, or of bytes."""
    return bytes([identifier]) + text(value)


def session_expiry(seconds):
    return struct.pack("!BI", SESSION_EXPIRY, seconds)


def connect(client_id, level=4, keep_alive=60, clean=True, user_name=None,
            password=None, will=None, properties=b"", will_properties=b""):
    """will: (topic, payload), or with QoS and retain behind it."""
    flags = 2 if clean else 0
    payload = text(client_id)
    if will is not None:
        qos, retain = (*will[2:], 0, False)[:2]
        flags |= 0x04 | qos << 3 | retain << 5
        payload += (block(level, will_properties) + text(will[0])
                    + text(will[1]))
    if user_name is not None:
        flags |= 0x80
        payload += text(user_name)
    if password is not None:
        flags |= 0x40
        payload += text(password)
    return packet(0x10, text(NAMES[level])
                  + struct.pack("!BBH", level, flags, keep_alive)
                  + block(level, properties) + payload)


def publish(topic, payload, qos=0, number=1, level=4, properties=b"",
            retain=False, again=False):
    return packet(0x30 | again << 3 | qos << 1 | retain, text(topic)
                  + (struct.pack("!H", number) if qos else b"")
                  + block(level, properties)
                  + (payload if isinstance(payload, bytes)
                     else payload.encode()))


def puback(number):
    return packet(0x40, struct.pack("!H", number))


def pubrec(number):
    return packet(0x50, struct.pack("!H", number))


def pubcomp(number):
    return packet(0x70, struct.pack("!H", number))


def pubrel(number):
    return packet(0x62, struct.pack("!H", number))


def subscribe(*filters, qos=1, number=1, level=4, properties=b""):
    """qos: with it, at level 5, the other options of a filter; one that is
    a pair has its own."""
    pairs = [each if isinstance(each, tuple) else (each, qos)
             for each in filters]
    return packet(0x82, struct.pack("!H", number) + block(level, properties)
                  + b"".join(text(name) + bytes([options])
                             for name, options in pairs))


def unsubscribe(*filters, number=1, level=4):
    return packet(0xA2, struct.pack("!H", number) + block(level)
                  + b"".join(map(text, filters)))


def auth(code, method=None, data=None):
    """AUTH of level 5; without a method it has no properties."""
    properties = b""
    if method is not None:
        properties += text_property(AUTH_METHOD, method)
    if data is not None:
        properties += text_property(AUTH_DATA, data)
    return packet(0xF0, bytes([code]) + block(5, properties))


PINGREQ, DISCONNECT = packet(0xC0), packet(0xE0)


@dataclasses.dataclass(frozen=True)
class Packet:
    kind: int
    flags: int
    body: bytes = dataclasses.field(repr=False)


@dataclasses.dataclass(frozen=True)
class Connack:
    session_present: bool
    code: int
    properties: dict    # identifier -> value


@dataclasses.dataclass(frozen=True)
class Publish:
    topic: str
    payload: bytes
    qos: int
    number: int
    properties: dict


class Closed(Exception):
    """The other side has closed the connection."""


def read_properties(data):
    """A raw list as {identifier: value}; of what may come twice a list."""
    sizes = {1: 1, 2: 4, 17: 4, 19: 2, 23: 1, 24: 4, 25: 1, 33: 2, 34: 2,
             35: 2, 36: 1, 37: 1, 39: 4, 40: 1, 41: 1, 42: 1}
    found, at = {}, 0

    def take_varint():
        nonlocal at
        value = shift = 0
        while True:
            value |= (data[at] & 0x7F) << shift
            shift, at = shift + 7, at + 1
            if not data[at - 1] & 0x80:
                return value

    def take_text():
        nonlocal at
        length, = struct.unpack_from("!H", data, at)
        at += 2 + length
        return bytes(data[at - length:at])

    while at < len(data):
        identifier = data[at]
        at += 1
        if identifier == USER_PROPERTY:
            pair = take_text().decode(), take_text().decode()
            found.setdefault(identifier, []).append(pair)
        elif identifier == SUBSCRIPTION_IDENTIFIER:
            found.setdefault(identifier, []).append(take_varint())
        elif identifier in sizes:
            size = sizes[identifier]
            found[identifier] = int.from_bytes(data[at:at + size], "big")
            at += size
        else:
            found[identifier] = take_text()
    return found


class Client:
    """A TCP connection that speaks MQTT."""

    def __init__(self, port, receive_buffer=None, source="127.0.0.1",
                 host="127.0.0.1", segment=None):
        self.level = 4
        self._bytes = bytearray()
        self.socket = socket.socket()
        if receive_buffer:      # has to be set before connecting
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF,
                                   receive_buffer)
        if segment:     # of the other side's, which then buffers less too
            self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_MAXSEG,
                                   segment)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.socket.settimeout(TIMEOUT)
        self.socket.bind((source, 0))
        self.socket.connect((host, port))

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    @property
    def port(self):
        """Of this side."""
        return self.socket.getsockname()[1]

    def close(self):
        self.socket.close()

    def reset(self):
        """Goes without FIN."""
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER,
                               struct.pack("ii", 1, 0))
        self.socket.close()

    # Out

    def send(self, *packets):
        """All in one go."""
        self.socket.sendall(b"".join(packets))

    def send_connect(self, client_id, level=4, **options):
        self.level = level
        self.send(connect(client_id, level, **options))

    def publish(self, topic, payload, qos=0, number=1, properties=b""):
        """With QoS 1 waits for the PUBACK."""
        self.send(publish(topic, payload, qos, number, self.level,
                          properties))
        if qos:
            answer = self.expect(PUBACK)
            assert answer.body[:2] == struct.pack("!H", number)
            assert answer.body[2:3] in (b"", b"\0", b"\x10"), answer.body

    # In

    def connack(self):
        found = self.expect(CONNACK)
        properties = {}
        if self.level == 5:
            assert found.body[2] < 0x80 and len(found.body) == (
                3 + found.body[2])
            properties = read_properties(found.body[3:])
        else:
            assert len(found.body) == 2
        return Connack(bool(found.body[0] & 1), found.body[1], properties)

    def log_in(self, client_id, level=4, **options):
        """CONNECT, and a CONNACK that has to be good."""
        self.send_connect(client_id, level, **options)
        answer = self.connack()
        assert answer.code == 0, answer
        return answer

    def subscribe(self, *filters, qos=1, number=1):
        self.send(subscribe(*filters, qos=qos, number=number,
                            level=self.level))
        answer = self.expect(SUBACK)
        codes = answer.body[-len(filters):]
        assert max(codes) < 0x80, codes

    def ping(self):
        self.send(PINGREQ)
        assert self.expect(PINGRESP).body == b""

    def expect(self, kind):
        found = self.packet()
        assert found.kind == kind, (found, found.body[:40])
        return found

    def receive(self, ack=True):
        """The next packet, which has to be a PUBLISH."""
        return self.take_publish(self.expect(PUBLISH), ack)

    def take_publish(self, found, ack=True):
        """Reads one that has come."""
        qos = found.flags >> 1 & 3
        length, = struct.unpack_from("!H", found.body)
        at = 2 + length
        topic = found.body[2:at].decode()
        number, properties = 0, {}
        if qos:
            number, = struct.unpack_from("!H", found.body, at)
            at += 2
            if ack:
                self.send(puback(number) if qos == 1 else pubrec(number))
        if self.level == 5:
            assert found.body[at] < 0x80
            end = at + 1 + found.body[at]
            properties = read_properties(found.body[at + 1:end])
            at = end
        return Publish(topic, found.body[at:], qos, number, properties)

    def packet(self):
        """The next packet; raises Closed when there is none any more."""
        while True:
            found = self._take()
            if found:
                return found
            self._read()

    def arrived(self, most=1 << 18):
        """Reads once; returns the packets that are whole then."""
        self._read(most)
        return list(iter(self._take, None))

    def until_closed(self):
        """Reads to the end; returns the packets that still came."""
        found = []
        try:
            while True:
                found.append(self.packet())
        except Closed:
            assert not self._bytes, "half a packet before the end"
            return found

    def _take(self):
        size = length = 0
        for at, byte in enumerate(self._bytes[1:5]):
            length |= (byte & 0x7F) << 7 * at
            if not byte & 0x80:
                size = at + 2
                break
        if not size or len(self._bytes) < size + length:
            return None
        found = Packet(self._bytes[0] >> 4, self._bytes[0] & 15,
                       bytes(self._bytes[size:size + length]))
        del self._bytes[:size + length]
        return found

    def _read(self, most=1 << 18):
        try:
            data = self.socket.recv(most)
        except ConnectionError as why:
            raise Closed(str(why)) from None
        if not data:
            raise Closed("end of stream")
        self._bytes += data
