"""A device of its own for the tests of the gate: raw sockets, no library
but ssl and hmac, and not a line of the gate."""

import base64
import hashlib
import hmac
import os
import socket
import ssl
import struct

TIMEOUT = 10


def text(string):
    data = string if isinstance(string, bytes) else string.encode()
    return struct.pack("!H", len(data)) + data


def packet(first, body=b""):
    size, length = bytearray(), len(body)
    while True:
        length, byte = divmod(length, 128)
        size.append(byte | (0x80 if length else 0))
        if not length:
            return bytes([first]) + bytes(size) + body


def sign(secret, content, method="sha256"):
    return hmac.new(secret.encode(), content.encode(), method).hexdigest()


def connect(user_name, client_id, password, level=4, keep_alive=60,
            clean=True, will=None, properties=b""):
    """will: (topic, payload, qos, retain)."""
    flags = 0xC0 | clean << 1
    payload = text(client_id)
    if will:
        flags |= 0x04 | will[2] << 3 | will[3] << 5
        payload += b"\0" if level == 5 else b""
        payload += text(will[0]) + text(will[1])
    payload += text(user_name) + text(password)
    block = bytes([len(properties)]) + properties if level == 5 else b""
    return packet(0x10, text("MQIsdp" if level == 3 else "MQTT")
                  + struct.pack("!BBH", level, flags, keep_alive)
                  + block + payload)


def publish(topic, payload, qos=0, retain=False, number=1, level=4):
    return packet(0x30 | qos << 1 | retain, text(topic)
                  + (struct.pack("!H", number) if qos else b"")
                  + (b"\0" if level == 5 else b"") + payload)


def subscribe(*filters, qos=1, number=1, level=4):
    return packet(0x82, struct.pack("!H", number)
                  + (b"\0" if level == 5 else b"")
                  + b"".join(text(name) + bytes([qos]) for name in filters))


PINGREQ, DISCONNECT = packet(0xC0), packet(0xE0)


class Closed(Exception):
    """The other side left; code is that of its close frame or 1006."""

    def __init__(self, code):
        super().__init__(code)
        self.code = code


def _dial(port, root, name):
    plain = socket.create_connection(("127.0.0.1", port), TIMEOUT)
    if not root:
        return plain
    context = ssl.create_default_context(cafile=root)
    return context.wrap_socket(plain, server_hostname=name)


class Client:
    """A WebSocket link; upgrades at once."""

    def __init__(self, port, root=None, path="/mqtt", subprotocol="mqtt",
                 name="localhost"):
        self.frames = []        # (opcode, fin, length) as they came
        self._bytes = b""
        self._mqtt = b""
        self._leaving = False
        self._socket = _dial(port, root, name)
        key = base64.b64encode(os.urandom(16))
        lines = [f"GET {path} HTTP/1.1", f"Host: {name}:{port}",
                 "Upgrade: websocket", "Connection: Upgrade",
                 "Sec-WebSocket-Version: 13",
                 f"Sec-WebSocket-Key: {key.decode()}"]
        if subprotocol:
            lines.append(f"Sec-WebSocket-Protocol: {subprotocol}")
        self._socket.sendall("\r\n".join(lines + ["", ""]).encode())
        while b"\r\n\r\n" not in self._bytes:
            self._receive()
        head, _, self._bytes = self._bytes.partition(b"\r\n\r\n")
        self.status = int(head.split()[1])
        self.headers = {
            key.strip().lower(): value.strip() for key, _, value in (
                line.partition(":")
                for line in head.decode().split("\r\n")[1:])}
        accept = base64.b64encode(hashlib.sha1(
            key + b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11").digest())
        assert self.status != 101 or accept in head

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._socket.close()

    def frame(self, opcode, data, fin=True):
        length = len(data)
        head = bytes([opcode | (0x80 if fin else 0)])
        if length < 126:
            head += bytes([0x80 | length])
        elif length < 65536:
            head += struct.pack("!BH", 0x80 | 126, length)
        else:
            head += struct.pack("!BQ", 0x80 | 127, length)
        mask = os.urandom(4)
        whole = int.from_bytes(data, "big") ^ int.from_bytes(
            (mask * (length // 4 + 1))[:length], "big")
        self._socket.sendall(head + mask + whole.to_bytes(length, "big"))

    def send(self, data):
        """One binary message."""
        self.frame(2, data)

    def close(self, code=1000):
        """Says goodbye and returns the code of the answer."""
        self._say_goodbye(struct.pack("!H", code))
        return self.closed()

    def _say_goodbye(self, data):
        if not self._leaving:
            self._leaving = True
            self.frame(8, data)

    def packet(self):
        """Returns the next MQTT packet as (first byte, body)."""
        while True:
            size = length = 0
            for at, byte in enumerate(self._mqtt[1:5]):
                length |= (byte & 0x7F) << 7 * at
                if not byte & 0x80:
                    size = at + 2
                    break
            if size and len(self._mqtt) >= size + length:
                found = self._mqtt[0], self._mqtt[size:size + length]
                self._mqtt = self._mqtt[size + length:]
                return found
            self._read_frame()

    def closed(self):
        """Reads until the other side has left; returns the close code."""
        try:
            while True:
                self._read_frame()
        except Closed as why:
            return why.code

    def _read_frame(self):
        first, length = self._take(2)
        if length == 126:
            length, = struct.unpack("!H", self._take(2))
        elif length == 127:
            length, = struct.unpack("!Q", self._take(8))
        data = self._take(length)
        opcode = first & 0x0F
        self.frames.append((opcode, bool(first & 0x80), length))
        if opcode == 8:
            self._say_goodbye(data)
            raise Closed(struct.unpack("!H", data[:2])[0] if data else 1005)
        if opcode == 9:
            self.frame(10, data)
        elif opcode in (0, 2):
            self._mqtt += data

    def _take(self, count):
        while len(self._bytes) < count:
            self._receive()
        taken, self._bytes = self._bytes[:count], self._bytes[count:]
        return taken

    def _receive(self):
        try:
            data = self._socket.recv(1 << 18)
        except ConnectionError:
            data = b""
        if not data:
            raise Closed(1006)
        self._bytes += data


class StreamClient(Client):
    """MQTT in TLS, without WebSocket."""

    def __init__(self, port, root, name="localhost"):
        # not that of the parent: nothing is upgraded here
        self.frames = []
        self._bytes = self._mqtt = b""
        self._socket = _dial(port, root, name)

    def send(self, data):
        self._socket.sendall(data)

    def close(self, _code=None):
        self._socket.shutdown(socket.SHUT_WR)
        return self.closed()

    def _read_frame(self):
        self._receive()
        self._mqtt, self._bytes = self._mqtt + self._bytes, b""
