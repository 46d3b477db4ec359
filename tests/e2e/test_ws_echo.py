"""The WebSocket half of the proxy alone: tests/tools/ws_echo, which is made of
its link and codec, against a real server and against frames that no real
server sends (RFC 6455 5 and 7)."""

import asyncio
import contextlib
import fcntl
import os
import pathlib
import socket
import ssl
import struct
import subprocess
import termios

import pytest
import websockets

from hostile import (BINARY, CLOSE, CONTINUATION, FIN, PING, PONG, TEXT, Peer,
                     close_frame, frame, header, switching)
from kernel import unread, wait_until, wait_until_unread
from proxy import TIMEOUT, program

MIB = 1 << 20
LIMIT = 32 * MIB
CLEAN, FAILED, USAGE = 0, 1, 2
NORMAL, PROTOCOL_ERROR, BAD_DATA, TOO_BIG = 1000, 1002, 1007, 1009


def ws_echo():
    """The binary: $WS_ECHO, or where it is built beside the proxy."""
    path = pathlib.Path(os.environ.get("WS_ECHO") or
                        pathlib.Path(program()).resolve().parent /
                        "tests/tools/ws_echo")
    assert path.exists(), f"no {path}: build it (make check), or set WS_ECHO"
    return path


def command(*arguments):
    # not to be left behind when the tests are killed
    return ["setpriv", "--pdeathsig", "KILL", ws_echo(), *arguments]


def check_words(code, words):
    """What it says: nothing when all was clean, else one line why."""
    assert "Sanitizer" not in words and "runtime error" not in words, words
    assert words.count("\n") == (0 if code == CLEAN else 1), words


# With a real server

def converse(talk, tls=None, options=()):
    """One connection of ws_echo to a server that talks to it so; the server
    closes behind it. Returns the exit code."""
    async def run():
        outcome = asyncio.get_running_loop().create_future()

        async def serve(ws):
            try:
                outcome.set_result(await talk(ws))
            except BaseException as why:
                outcome.set_exception(why)
                raise

        async with websockets.serve(serve, "127.0.0.1", 0, ssl=tls,
                                    max_size=LIMIT, ping_interval=None,
                                    subprotocols=["one", "two"]) as server:
            port = server.sockets[0].getsockname()[1]
            process = await asyncio.create_subprocess_exec(
                *command(*options, f"ws{'s' if tls else ''}://127.0.0.1:"
                                   f"{port}/path?query=1"),
                stderr=subprocess.PIPE)
            try:
                _, words = await asyncio.wait_for(process.communicate(),
                                                  TIMEOUT)
            finally:
                if process.returncode is None:
                    process.kill()
                    await process.wait()
            check_words(process.returncode, words.decode())
            if process.returncode == CLEAN:
                await outcome
            return process.returncode, words.decode()

    return asyncio.run(run())


async def expect_echo(ws, message):
    await ws.send(message)
    answer = await asyncio.wait_for(ws.recv(), TIMEOUT)
    # not compared by assert: it would print both
    if answer != message or type(answer) is not type(message):
        pytest.fail(f"another message came back, of {len(answer)}")


def binary(size):
    return os.urandom(size)


def text(size):
    """So many bytes in UTF-8, with characters of every length at every place
    of a frame's end."""
    some = "a\u00e9\u20ac\U0001f600"            # 1 + 2 + 3 + 4 bytes
    return some * (size // 10) + "z" * (size % 10)


@pytest.fixture(scope="module")
def server_tls(certs):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certs / "server.pem", certs / "server.key")
    return context


@pytest.mark.parametrize("make", [binary, text])
@pytest.mark.parametrize("size", [0, 1, 125, 126, 127, 65535, 65536, MIB,
                                  16 * MIB])
def test_a_message_comes_back(size, make):
    code, _ = converse(lambda ws: expect_echo(ws, make(size)))
    assert code == CLEAN


@pytest.mark.parametrize("make", [binary, text])
def test_messages_come_back_over_tls(make, server_tls, certs):
    async def talk(ws):
        for size in (0, 1, 125, 126, 65535, 65536, 16 * MIB, 5):
            await expect_echo(ws, make(size))

    code, _ = converse(talk, server_tls, ("--ca", certs / "root.pem"))
    assert code == CLEAN


def test_a_server_that_is_not_trusted_gets_nothing(server_tls, certs):
    async def talk(ws):
        raise AssertionError("it has shaken hands")

    code, words = converse(talk, server_tls,
                           ("--ca", certs / "other-root.pem"))
    assert code == FAILED
    assert "cert_untrusted" in words


def test_many_messages_at_once(server_tls, certs):
    """More than both sides' buffers hold, so that each side blocks."""
    messages = [binary(size) for size in (3 * MIB, 0, 70000, 5) * 8]

    async def talk(ws):
        async def send():
            for message in messages:
                await ws.send(message)

        sending = asyncio.create_task(send())
        for message in messages:
            if await ws.recv() != message:
                pytest.fail("another message came back")
        await sending

    code, _ = converse(talk, server_tls, ("--ca", certs / "root.pem"))
    assert code == CLEAN


def test_pings_between_fragments():
    async def talk(ws):
        async def fragments():
            for number in range(20):
                # answered in the middle of the message
                await asyncio.wait_for(await ws.ping(b"%d" % number), TIMEOUT)
                yield b"fragment %d;" % number

        await ws.send(fragments())
        whole = b"".join(b"fragment %d;" % number for number in range(20))
        assert await ws.recv() == whole

    code, _ = converse(talk)
    assert code == CLEAN


@pytest.mark.parametrize("code", [1000, 1001, 1002, 1003, 1007, 1008, 1009,
                                  1010, 1011, 1012, 1013, 1014, 3000, 3999,
                                  4000, 4999])
def test_a_close_code_comes_back(code):
    async def talk(ws):
        await ws.close(code, "bye")
        assert ws.close_rcvd.code == code

    assert converse(talk)[0] == CLEAN


def test_path_and_subprotocol_are_as_told():
    async def talk(ws):
        assert ws.path == "/path?query=1"
        assert ws.subprotocol == "two"

    assert converse(talk, options=("--subprotocol", "two"))[0] == CLEAN


# With a server that is this test

class Server:
    """The far end of a ws_echo, a socket of the test's own. Reads and writes
    frames with peer; the request is answered already."""

    def __init__(self):
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._listener.settimeout(TIMEOUT)
        self.port = self._listener.getsockname()[1]
        self.process = subprocess.Popen(
            command(f"ws://127.0.0.1:{self.port}"),
            stdin=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
        try:
            self._raw, _ = self._listener.accept()
        except BaseException:
            self.kill()
            raise
        self._raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._raw.settimeout(TIMEOUT)
        self.peer = Peer(self._raw, None)

    def upgrade(self, behind=b""):
        """Answers the request; behind: in the same segment."""
        head = self.peer.request()
        assert header(head, "Sec-WebSocket-Protocol") is None
        self.send(switching(head, Sec_WebSocket_Protocol=None) + behind)

    def send(self, *data):
        self.peer.send(b"".join(data))

    def expect(self, *frames):
        for wanted in frames:
            assert self.peer.frame() == wanted

    def expect_close(self, code):
        """Its close frame comes next; after ours it leaves."""
        opcode, payload = self.peer.frame()
        assert opcode == CLOSE
        assert payload[:2] == struct.pack("!H", code)

    def expect_end(self):
        """It sends nothing more, and leaves."""
        assert self.peer.frame() is None

    def message(self, size):
        """A binary message of so many bytes, and the payloads of the pongs
        between its frames."""
        whole, pongs, due = b"", [], BINARY
        while len(whole) < size:
            opcode, payload = self.peer.frame()
            if opcode == PONG:
                pongs.append(payload)
                continue
            assert opcode == due
            whole, due = whole + payload, CONTINUATION
        return whole, pongs

    def wait_until_read(self):
        """All that was sent has arrived there, and was read."""
        wait_until(lambda: self._unsent() == 0
                   and unread(remote=self.port) == 0)

    def _unsent(self):
        left = fcntl.ioctl(self._raw, termios.TIOCOUTQ, bytes(4))
        return struct.unpack("i", left)[0]

    def fin(self):
        self._raw.shutdown(socket.SHUT_WR)

    def finish(self):
        """Its exit code, and what it has said."""
        _, words = self.process.communicate(timeout=TIMEOUT)
        check_words(self.process.returncode, words)
        return self.process.returncode, words

    def kill(self):
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        self.process.stderr.close()

    def close(self):
        self.peer.close()
        self._listener.close()
        self.kill()


@pytest.fixture
def server():
    with contextlib.closing(Server()) as server:
        yield server


@pytest.fixture
def opened(server):
    server.upgrade()
    return server


def no_more(server, code=FAILED):
    """Nothing follows the close; ours is answered with the end."""
    server.expect_end()
    got, words = server.finish()
    assert got == code, words
    return words


def test_frames_behind_the_answer_to_the_upgrade(server):
    server.upgrade(frame(TEXT, b"early") + frame(PING, b"?"))
    server.expect((TEXT, b"early"), (PONG, b"?"))
    server.send(close_frame(NORMAL))
    server.expect_close(NORMAL)
    no_more(server, CLEAN)


def test_each_ping_is_answered_in_its_place(opened):
    opened.send(frame(TEXT, b"one", first=0), frame(PING, b"a"),
                frame(PONG, b"not asked for"), frame(PING),
                frame(CONTINUATION, first=0), frame(PING, b"x" * 125),
                frame(CONTINUATION, b"two"), frame(PING, b"b"))
    opened.expect((PONG, b"a"), (PONG, b""), (PONG, b"x" * 125),
                  (TEXT, b"onetwo"), (PONG, b"b"))


def test_frames_byte_by_byte(opened):
    opened.peer.trickle(frame(BINARY, b"x" * 200) + frame(PING, b"?") +
                        frame(TEXT, "\u20ac".encode(), first=0) +
                        frame(CONTINUATION) + frame(BINARY, form=7) +
                        close_frame(4000, "\u20ac".encode()))
    opened.expect((BINARY, b"x" * 200), (PONG, b"?"),
                  (TEXT, "\u20ac".encode()), (BINARY, b""))
    opened.expect_close(4000)
    no_more(opened, CLEAN)


def test_a_close_without_a_code_is_answered_without_one(opened):
    opened.send(close_frame())
    opened.expect((CLOSE, b""))
    no_more(opened, CLEAN)


def test_what_stands_before_a_close_is_answered_and_nothing_behind(opened):
    opened.send(frame(BINARY, b"before"), frame(TEXT, b"begun", first=0),
                close_frame(1001), frame(CONTINUATION, b"ended"),
                frame(PING), frame(BINARY, b"behind"))
    opened.expect((BINARY, b"before"))
    opened.expect_close(1001)
    no_more(opened, CLEAN)


def test_an_end_without_a_close_is_not_clean(opened):
    opened.send(frame(BINARY, b"last"))
    opened.expect((BINARY, b"last"))
    opened.fin()
    assert "cloud_closed" in no_more(opened)


def test_a_reset_is_not_clean(opened):
    opened.peer.reset()
    assert opened.finish()[0] == FAILED


# What breaks a rule: what is sent, and the code of the close it earns

BAD_TEXT = "\u03ba\u1f79\u03c3\u03bc\u03b5".encode() + b"\xed\xa0\x80"

BROKEN = {
    "RSV1": (frame(TEXT, b"?", first=FIN | 0x40), PROTOCOL_ERROR),
    "RSV2": (frame(TEXT, b"?", first=FIN | 0x20), PROTOCOL_ERROR),
    "RSV3 of a ping": (frame(PING, b"?", first=FIN | 0x10), PROTOCOL_ERROR),
    "RSV of a close": (frame(CLOSE, first=FIN | 0x70), PROTOCOL_ERROR),
    **{f"opcode {opcode}": (frame(opcode, b"?"), PROTOCOL_ERROR)
       for opcode in (3, 4, 5, 6, 7, 11, 12, 13, 14, 15)},
    "masked": (frame(BINARY, b"?", mask=b"abcd"), PROTOCOL_ERROR),
    "masked ping": (frame(PING, mask=b"abcd"), PROTOCOL_ERROR),
    "fragment of a ping": (frame(PING, b"?", first=0), PROTOCOL_ERROR),
    "fragment of a close": (frame(CLOSE, first=0), PROTOCOL_ERROR),
    "ping of 126 bytes": (frame(PING, bytes(126)), PROTOCOL_ERROR),
    "pong of 64 KiB": (frame(PONG, bytes(65536)), PROTOCOL_ERROR),
    "close of 126 bytes": (close_frame(NORMAL, b"x" * 124), PROTOCOL_ERROR),
    "continuation of nothing": (frame(CONTINUATION, b"?"), PROTOCOL_ERROR),
    "continuation of a whole message":
        (frame(CONTINUATION, b"?", first=0), PROTOCOL_ERROR),
    "start in a message":
        (frame(TEXT, b"a", first=0) + frame(TEXT, b"b"), PROTOCOL_ERROR),
    "16 bits for 125": (frame(BINARY, bytes(125), form=16), PROTOCOL_ERROR),
    "64 bits for 65535":
        (frame(BINARY, bytes(65535), form=64), PROTOCOL_ERROR),
    "a length's top bit": (b"\x82\x7f\x80" + bytes(7), PROTOCOL_ERROR),
    "half a close code": (frame(CLOSE, b"\x03"), PROTOCOL_ERROR),
    **{f"close code {code}": (close_frame(code), PROTOCOL_ERROR)
       for code in (0, 999, 1004, 1005, 1006, 1015, 1016, 2999, 5000,
                    65535)},
    "close reason": (close_frame(NORMAL, BAD_TEXT), BAD_DATA),
    "text": (frame(TEXT, BAD_TEXT + b"edited"), BAD_DATA),
    "text that ends in a character": (frame(TEXT, b"\xe2\x82"), BAD_DATA),
    "text in fragments":
        (frame(TEXT, BAD_TEXT[:-2], first=0) +
         frame(CONTINUATION, BAD_TEXT[-2:]), BAD_DATA),
    "text that ends in a character, empty fragment":
        (frame(TEXT, b"\xf0\x9f\x98", first=0) + frame(CONTINUATION),
         BAD_DATA),
    **{f"text {bad.hex()}": (frame(TEXT, b"ok" + bad), BAD_DATA)
       for bad in (b"\x80", b"\xbf", b"\xc0\x80", b"\xc1\xbf", b"\xc3a",
                   b"\xe0\x9f\xbf", b"\xed\xbf\xbf", b"\xef\xbfa",
                   b"\xf0\x8f\xbf\xbf", b"\xf4\x90\x80\x80",
                   b"\xf5\x80\x80\x80", b"\xfe", b"\xff")},
    # at once: what is sent ends where it is wrong
    "text, its message goes on": (frame(TEXT, BAD_TEXT, first=0), BAD_DATA),
    "text, its frame goes on":
        (frame(TEXT, BAD_TEXT + bytes(1000))[:-1000], BAD_DATA),
    "text, its character goes on":
        (frame(TEXT, b"\xf4", first=0) +
         frame(CONTINUATION, b"\x90\x80\x80")[:3], BAD_DATA),
    "one byte too many":
        (struct.pack("!BBQ", FIN | BINARY, 127, LIMIT + 1), TOO_BIG),
    "more than there is memory":
        (struct.pack("!BBQ", FIN | TEXT, 127, (1 << 63) - 1), TOO_BIG),
    "one byte too many in fragments":
        (frame(BINARY, b"x", first=0) + frame(CONTINUATION, first=0) +
         struct.pack("!BBQ", CONTINUATION, 127, LIMIT), TOO_BIG),
}


@pytest.mark.parametrize("name", BROKEN)
def test_what_breaks_a_rule_is_closed_with(name, opened):
    data, code = BROKEN[name]
    opened.send(frame(BINARY, b"before"), data)
    opened.expect((BINARY, b"before"))
    opened.expect_close(code)
    # whatever is sent now, nothing is answered
    opened.send(frame(PING, b"?"), frame(BINARY, b"behind"),
                close_frame(code))
    opened.fin()
    assert "bad_frame" in no_more(opened)


@pytest.mark.parametrize("name", ["RSV1", "text"])
def test_a_server_that_does_not_close_is_left(name, opened):
    data, code = BROKEN[name]
    opened.send(data)
    opened.expect_close(code)
    no_more(opened)


@pytest.mark.parametrize("good", [
    b"\0", b"\x7f", b"\xc2\x80", b"\xdf\xbf", b"\xe0\xa0\x80",
    b"\xed\x9f\xbf", b"\xee\x80\x80", b"\xef\xbf\xbf",
    b"\xf0\x90\x80\x80", b"\xf4\x8f\xbf\xbf"])
def test_text_in_fragments_of_a_byte(good, opened):
    opened.send(frame(TEXT, first=0),
                *(frame(CONTINUATION, bytes([byte]), first=0)
                  for byte in good),
                frame(CONTINUATION))
    opened.expect((TEXT, good))


def test_binary_is_any_bytes(opened):
    opened.send(frame(BINARY, BAD_TEXT, first=0),
                frame(CONTINUATION, b"\xff"))
    opened.expect((BINARY, BAD_TEXT + b"\xff"))


# Blocked: its answer is bigger than all buffers between, and not read

def test_a_flood_of_pings_while_blocked_is_owed_the_last_pong(opened):
    big = os.urandom(24 * MIB)
    opened.send(frame(BINARY, big))
    # blocked for good: until then the kernel's buffers still grow, and a pong
    # may slip in
    wait_until_unread(local=opened.port)
    for number in range(1000):
        opened.send(frame(PING, b"flood %d" % number))
    # it still listens, though nothing can be answered
    opened.wait_until_read()
    whole, pongs = opened.message(len(big))
    assert whole == big
    assert pongs == [b"flood 999"]
    opened.send(frame(PING, b"after"), close_frame(NORMAL))
    opened.expect((PONG, b"after"))
    opened.expect_close(NORMAL)
    no_more(opened, CLEAN)


def test_while_blocked_only_one_more_message_is_read(opened):
    first, second = os.urandom(24 * MIB), os.urandom(24 * MIB)
    opened.send(frame(BINARY, first), frame(BINARY, second))
    opened.wait_until_read()
    opened.send(*(frame(BINARY, b"%d" % number) for number in range(100)))
    wait_until_unread(remote=opened.port)
    for big in (first, second):
        assert opened.message(len(big)) == (big, [])
    opened.expect(*((BINARY, b"%d" % number) for number in range(100)))


def test_a_broken_rule_while_blocked_is_told_behind_what_was_sent(opened):
    big = os.urandom(24 * MIB)
    opened.send(frame(BINARY, big), frame(3))
    opened.wait_until_read()
    while (got := opened.peer.frame())[0] != CLOSE:
        assert got[0] in (BINARY, CONTINUATION)
    assert got[1] == struct.pack("!H", PROTOCOL_ERROR)
    opened.fin()
    no_more(opened)


# The program

def test_a_port_where_nobody_listens():
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        url = f"ws://127.0.0.1:{nobody.getsockname()[1]}"
        done = subprocess.run(command(url), stderr=subprocess.PIPE, text=True,
                              timeout=TIMEOUT)
    assert done.returncode == FAILED
    assert "cloud_refused" in done.stderr


@pytest.mark.parametrize("arguments", [
    [], ["ws://a", "ws://b"], ["--what", "ws://a"], ["http://a"], ["ws:/a"],
    ["ws://"], ["ws://:80"], ["ws://a:"], ["ws://a:0"], ["ws://a:65536"],
    ["ws://a:80x"], ["ws://a:+80"], ["ws://[::1"], ["ws://[::1]x"],
    ["ws://a?query"], ["ws://a/#part"], ["ws://a/b c"],
    ["ws://" + "a" * 254]])
def test_usage(arguments):
    done = subprocess.run(command(*arguments), stderr=subprocess.PIPE,
                          text=True, timeout=TIMEOUT)
    assert done.returncode == USAGE
    assert "usage: ws_echo" in done.stderr
