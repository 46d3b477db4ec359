"""A server that does what no cloud does: for every connection a script.

    with Hostile(cert, key) as cloud:
        code = cloud.play(lambda peer: (peer.login(), peer.send(b"\\xc2\\0"),
                                        peer.goodbye())[-1])
        ... make the proxy dial cloud.port ...
        assert code.result(10) == 1002

Shares no code with proxy/, nor with the emulated cloud.
"""

import base64
import concurrent.futures
import contextlib
import hashlib
import queue
import socket
import ssl
import struct
import threading

TIMEOUT = 20
HEAD_MAX = 65536
NO_CODE = 1005

CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG = 0, 1, 2, 8, 9, 10
FIN = 0x80


def frame(opcode, data=b"", first=FIN, mask=None, form=None):
    """A frame (RFC 6455 5.2). first: bits beside the opcode; mask: four
    bytes, which a server must not have; form: 7, 16 or 64 bits of length
    where the shortest is not wanted."""
    length = len(data)
    form = form or (7 if length < 126 else 16 if length < 65536 else 64)
    masked = 0x80 if mask else 0
    head = bytes([first | opcode])
    head += {7: lambda: bytes([masked | length]),
             16: lambda: struct.pack("!BH", masked | 126, length),
             64: lambda: struct.pack("!BQ", masked | 127, length)}[form]()
    return head + (mask + xor(data, mask) if mask else data)


def close_frame(code=None, reason=b""):
    return frame(CLOSE, b"" if code is None
                 else struct.pack("!H", code) + reason)


def xor(data, mask):
    length = len(data)
    keys = (mask * (length // 4 + 1))[:length]
    return (int.from_bytes(data, "big") ^ int.from_bytes(keys, "big")
            ).to_bytes(length, "big")


def accept_value(head):
    key = header(head, "Sec-WebSocket-Key")
    return base64.b64encode(hashlib.sha1(
        key.encode() + b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
    ).digest()).decode()


def header(head, name):
    for line in head.split("\r\n")[1:]:
        key, _, value = line.partition(":")
        if key.lower() == name.lower():
            return value.strip()
    return None


def switching(head, *more, **instead):
    """The 101 to a request. instead: names with _ for -, other values; None
    leaves the header out."""
    headers = {"Upgrade": "websocket", "Connection": "Upgrade",
               "Sec-WebSocket-Accept": accept_value(head),
               "Sec-WebSocket-Protocol": header(head,
                                                "Sec-WebSocket-Protocol")}
    headers.update((name.replace("_", "-"), value)
                   for name, value in instead.items())
    lines = ["HTTP/1.1 101 Switching Protocols"]
    lines += [f"{name}: {value}" for name, value in headers.items()
              if value is not None]
    return "\r\n".join(lines + list(more) + ["", ""]).encode()


class Peer:
    """The server's end of one connection."""

    def __init__(self, raw, context):
        self._socket = raw
        self._context = context
        self._bytes = b""
        self._mqtt = b""

    def tls(self):
        if self._context and not isinstance(self._socket, ssl.SSLSocket):
            self._socket = self._context.wrap_socket(self._socket,
                                                     server_side=True)

    def receive(self):
        """More bytes; b"" when the proxy has left."""
        with contextlib.suppress(ConnectionError, ssl.SSLEOFError):
            return self._socket.recv(1 << 18)
        return b""

    def request(self):
        """The head of the request, which is not answered yet."""
        self.tls()
        while b"\r\n\r\n" not in self._bytes:
            more = self.receive()
            assert more, "the proxy left before its request was whole"
            self._bytes += more
            assert len(self._bytes) < HEAD_MAX
        head, _, self._bytes = self._bytes.partition(b"\r\n\r\n")
        return head.decode()

    def upgrade(self, *more, **instead):
        head = self.request()
        self.send(switching(head, *more, **instead))
        return head

    def login(self, connack=b"\x20\x02\0\0"):
        """As far as a session; connack may have more packets behind it."""
        self.upgrade()
        assert self.packet()[0] == 0x10
        self.message(connack)

    def send(self, data):
        self._socket.sendall(data)

    def trickle(self, data):
        for byte in data:
            self.send(bytes([byte]))

    def message(self, data):
        self.send(frame(BINARY, data))

    def frame(self):
        """The next frame as (opcode, payload); None when the proxy left."""
        head = self._take(2)
        if head is None:
            return None
        assert head[0] & 0x70 == 0 and head[1] & 0x80, "a client masks"
        length = head[1] & 0x7F
        if length > 125:
            form = "!H" if length == 126 else "!Q"
            length, = struct.unpack(form, self._take(struct.calcsize(form)))
        mask, data = self._take(4), self._take(length)
        assert data is not None, "the proxy left within a frame"
        return head[0] & 0x0F, xor(data, mask)

    def next(self, opcode):
        """The payload of the next frame of this opcode."""
        while True:
            got = self.frame()
            assert got is not None, "the proxy left"
            if got[0] == opcode:
                return got[1]

    def packet(self):
        """The next MQTT packet, which the proxy sends one a message."""
        return self.next(BINARY)

    def goodbye(self):
        """Reads on until the proxy says goodbye: the code of its close frame,
        NO_CODE for one without; None when it left without one."""
        while got := self.frame():
            if got[0] == CLOSE:
                return (struct.unpack("!H", got[1][:2])[0] if got[1]
                        else NO_CODE)
        return None

    def hold(self):
        """Says nothing until the proxy leaves."""
        while self.receive():
            pass

    def fin(self):
        """Closes TCP, with no word of TLS or WebSocket."""
        self._socket.shutdown(socket.SHUT_RDWR)

    def reset(self):
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER,
                                struct.pack("ii", 1, 0))
        self._socket.close()

    def end(self):
        """Ends what still blocks on the connection."""
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)

    def close(self):
        self._socket.close()

    def _take(self, count):
        while len(self._bytes) < count:
            more = self.receive()
            if not more:
                return None
            self._bytes += more
        taken, self._bytes = self._bytes[:count], self._bytes[count:]
        return taken


class Hostile:
    """Listens on a port of its own; with a certificate it speaks TLS."""

    def __init__(self, cert=None, key=None):
        self._context = None
        self.transport = "wss" if cert else "ws"
        if cert:
            self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            self._context.load_cert_chain(cert, key)
        self._scripts = queue.SimpleQueue()
        self._lock = threading.Lock()
        self._open = set()
        self._threads = []
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=64)
        self.port = self._listener.getsockname()[1]
        self.uninvited = 0          # connections nobody had a script for

    def __enter__(self):
        self._start(self._accept)
        return self

    def __exit__(self, *_):
        # a listener that is shut down wakes its accept()
        self._listener.shutdown(socket.SHUT_RDWR)
        with self._lock:
            for peer in self._open:
                peer.end()
        for thread in self._threads:
            thread.join(TIMEOUT)
        self._listener.close()

    def play(self, script):
        """The next connection runs script(peer), and is closed behind it.
        Returns a Future of its result."""
        outcome = concurrent.futures.Future()
        self._scripts.put((script, outcome))
        return outcome

    def _start(self, run, *arguments):
        thread = threading.Thread(target=run, args=arguments, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _accept(self):
        while True:
            try:
                raw, _ = self._listener.accept()
            except OSError:
                return
            raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            raw.settimeout(TIMEOUT)
            try:
                script, outcome = self._scripts.get_nowait()
            except queue.Empty:
                self.uninvited += 1
                raw.close()
                continue
            peer = Peer(raw, self._context)
            with self._lock:
                self._open.add(peer)
            self._start(self._run, peer, script, outcome)

    def _run(self, peer, script, outcome):
        try:
            result = script(peer)
        except Exception as why:    # the test that waits for it is told
            outcome.set_exception(why)
        else:
            outcome.set_result(result)
        finally:
            with self._lock:
                self._open.discard(peer)
            peer.close()


class BlackHole:
    """A port of loopback that never answers TCP: its backlog is full, so the
    kernel drops further SYNs."""

    def __init__(self):
        self._listener = socket.socket()
        self._listener.bind(("127.0.0.1", 0))
        self._listener.listen(0)
        self.port = self._listener.getsockname()[1]
        self._fill = []

    def __enter__(self):
        while True:
            filler = socket.socket()
            self._fill.append(filler)
            filler.settimeout(0.2)
            try:
                filler.connect(("127.0.0.1", self.port))
            except TimeoutError:
                return self

    def __exit__(self, *_):
        for filler in self._fill:
            filler.close()
        self._listener.close()
