"""What the proxy stands between when cost.py counts: devices, and a cloud that
sends every message back, or its PUBACK. One step at a time: whoever sends waits
until it has arrived, so that the proxy does the same in every run."""

import base64
import hashlib
import socket
import struct

CONTRACTS = ("none", "aliyun")
PRODUCT = "a1B2c3D4e5F"
TOPIC = b"/a1B2c3D4e5F/pump/user/state"
PAYLOAD = bytes(64)
PATIENCE_S = 60


def write_files(folder, cloud_port, devices):
    """proxy.ini and devices.ini: a device of each contract by its name, and
    "d0" and so on."""
    (folder / "proxy.ini").write_text(
        "[listen]\naddress = 127.0.0.1\nport = 0\n"
        "[egress]\nproxy = none\n"
        "[dial]\nper_device = 0\nper_second = 0\n"
        "[limits]\nworkers = 1\n"
        "[log]\nlevel = notice\n"
        "[admin]\nsocket = none\n")
    lines = [f"[product:{PRODUCT}]\nhost = 127.0.0.1\nport = {cloud_port}\n"
             "transports = ws\n"]
    names = [(name, name) for name in CONTRACTS]
    names += [(f"d{i}", "aliyun") for i in range(devices)]
    for name, contract in names:
        lines.append(
            f"[device:{name}]\nproduct_key = {PRODUCT}\n"
            f"device_name = the_{name}\ndevice_secret = {'0' * 32}\n"
            f"match_client_id = {name}\ncontract = {contract}\n")
        if contract == "aliyun":
            # the most there is: none has to wait
            lines.append("qos0_per_second = 1000\nqos1_per_second = 1000\n")
    path = folder / "devices.ini"
    path.write_text("".join(lines))
    path.chmod(0o600)


class Peer:
    """A socket, of which is read what is needed."""

    def __init__(self, sock):
        sock.settimeout(PATIENCE_S)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.sock = sock

    def take(self, n):
        data = self.sock.recv(n, socket.MSG_WAITALL)
        if len(data) != n:
            raise ConnectionError("the proxy has closed a connection")
        return data

    def take_packet(self):
        """Of fewer than 128 bytes behind the fixed header, as all are."""
        head = self.take(2)
        return head + self.take(head[1])


class Guest(Peer):
    """The cloud's end of a session."""

    def upgrade(self):
        request = b""
        while not request.endswith(b"\r\n\r\n"):
            request += self.take(1)
        key = next(line.split()[1] for line in request.split(b"\r\n")
                   if line.lower().startswith(b"sec-websocket-key:"))
        # RFC 6455 4.2.2
        proof = hashlib.sha1(key + b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11")
        self.sock.sendall(
            b"HTTP/1.1 101 Switching Protocols\r\n"
            b"Upgrade: websocket\r\nConnection: Upgrade\r\n"
            b"Sec-WebSocket-Accept: " + base64.b64encode(proof.digest()) +
            b"\r\nSec-WebSocket-Protocol: mqtt\r\n\r\n")

    def take_frame(self):
        """What is in it: a whole packet. RFC 6455 5.2"""
        n = self.take(2)[1] & 127
        if n == 126:
            n, = struct.unpack(">H", self.take(2))
        key = self.take(4)
        data = self.take(n)
        return bytes(b ^ key[i % 4] for i, b in enumerate(data))

    def give_frame(self, packet):
        self.sock.sendall(bytes([0x82, len(packet)]) + packet)


class Device(Peer):
    """A device that is logged in, and its <guest>."""

    def __init__(self, sock, client_id, accept):
        super().__init__(sock)
        name = client_id.encode()
        # MQTT 3.1.1, 3.1: clean session, a keep-alive of 1200 s
        self.sock.sendall(
            bytes([0x10, 12 + len(name)]) + b"\x00\x04MQTT\x04\x02\x04\xb0" +
            struct.pack(">H", len(name)) + name)
        self.guest = Guest(accept())
        self.guest.upgrade()
        self.guest.take_frame()
        self.guest.give_frame(b"\x20\x02\x00\x00")
        if self.take_packet() != b"\x20\x02\x00\x00":
            raise ConnectionError("the login was refused")

    def relay(self, qos, n):
        """<n> messages, each with its answer."""
        for i in range(n):
            middle = TOPIC + (struct.pack(">H", i + 1) if qos else b"")
            rest = struct.pack(">H", len(TOPIC)) + middle + PAYLOAD
            packet = bytes([0x30 | qos << 1, len(rest)]) + rest
            self.sock.sendall(packet)
            came = self.guest.take_frame()
            if came != packet:
                raise ConnectionError(f"the cloud got {came!r}")
            answer = packet if qos == 0 else b"\x40\x02" + struct.pack(
                ">H", i + 1)
            self.guest.give_frame(answer)
            if self.take_packet() != answer:
                raise ConnectionError("the device got something else")

    def close(self):
        self.sock.close()
        self.guest.sock.close()


class Cloud:
    def __enter__(self):
        self.listener = socket.create_server(("127.0.0.1", 0), backlog=64)
        self.listener.settimeout(PATIENCE_S)
        self.port = self.listener.getsockname()[1]
        return self

    def __exit__(self, *what):
        self.listener.close()

    def connect(self, port, client_id):
        """A device that has logged in."""
        return Device(
            socket.create_connection(("127.0.0.1", port), PATIENCE_S),
            client_id, lambda: self.listener.accept()[0])
