"""Bad answers and hostile servers on the cloud side: the log names the reason
and what to mend, the waiting device gets the CONNACK of its level, and other
sessions do not notice."""

import copy
import email.utils
import random
import socket
import time

import pytest

import hostile as ws
from bystander import Bystander, connack, disconnect
from hostile import (BINARY, CLOSE, CONTINUATION, PING, PONG, TEXT,
                     BlackHole, Hostile, close_frame, frame, switching)
from kernel import unread
from mqtt_raw import (CONNACK, PUBLISH, TIMEOUT, Packet, packet, publish,
                      text, varint)

LEVELS = (3, 4, 5)
MEMORY_SLACK = 8 << 20
GOOD = b"\x20\x02\0\0"          # CONNACK: accepted
GOOD5 = b"\x20\x03\0\0\0"


def entry_for(cloud, server, **keys):
    keys.setdefault("port", server.port if server else None)
    keys.setdefault("transports", getattr(server, "transport", None))
    keys.setdefault("on_link_loss", "close")    # or nothing is told for long
    return cloud.device(**keys)


class Stage:
    """A proxy with a device whose cloud is hostile, and a bystander; with
    another hostile cloud beside, a second one of the same proxy."""

    def __init__(self, cloud, start, server, beside=None, env=None,
                 settings=None, **keys):
        self.server = server
        self.entry = entry_for(cloud, server, **keys)
        entries = [cloud.device(), self.entry]
        if beside:
            entries.append(entry_for(cloud, beside))
        self.proxy = start(cloud, *entries, env=env, **(settings or {}))
        self.good = Bystander(self.proxy, entries[0])
        if beside:
            self.beside = copy.copy(self)
            self.beside.server, self.beside.entry = beside, entries[2]

    def play(self, script):
        return self.server.play(script)

    def connect(self, level=4, **options):
        device = self.good.device(**options)
        device.send_connect(self.entry["label"], level)
        return device

    def online(self, level=4, **options):
        device = self.connect(level, **options)
        assert device.connack().code == 0
        return device

    def end(self, *reasons):
        """How the session ended; the line must be of use."""
        line = self.proxy.wait_log("session_end", label=self.entry["label"])
        assert line["reason"] in reasons, line
        assert line["detail"] and line["hint"], line
        return line

    def refuses(self, level, *reasons):
        """The device cannot log in; returns the line that says why."""
        device = self.connect(level)
        assert device.until_closed() == connack(level, 3, 0x88)
        device.close()
        line = self.end(*reasons)
        # before the session is up no other line has said where
        assert self.entry["host"] in line["detail"] + line.get("host", "")
        return line


@pytest.fixture
def stage(cloud, start):
    """stage(server, ...) -> Stage; at the end its good session must still
    work, and nothing be left of the others."""
    stages = []

    def build(server=None, **options):
        stages.append(Stage(cloud, start, server, **options))
        return stages[-1]

    yield build
    try:
        for each in stages:
            each.good.end()
    finally:
        for each in stages:
            each.good.give_up()


@pytest.fixture
def wss(certs):
    with Hostile(certs / "server.pem", certs / "server.key") as server:
        yield server
        assert server.uninvited == 0


@pytest.fixture
def plain():
    with Hostile() as server:
        yield server
        assert server.uninvited == 0


@pytest.fixture
def both(stage, plain, wss):
    """both(...) -> two Stages of one proxy: without TLS, and with it."""
    def build(**options):
        first = stage(plain, beside=wss, **options)
        return first, first.beside

    return build


def timeouts(**milliseconds):
    return {"cloud": {f"{name}_timeout": f"{value}ms"
                      for name, value in milliseconds.items()}}


def then(*steps):
    """A script of several; its result is that of the last one."""
    def script(peer):
        for step in steps:
            result = step(peer)
        return result
    return script


# Peer's steps with their arguments

def sends(data):
    return lambda peer: peer.send(data)


def answers(data):
    """To the request, whatever it was; then it waits."""
    return then(ws.Peer.request, sends(data), ws.Peer.hold)


# Name, TCP and TLS

@pytest.mark.parametrize("level", LEVELS)
def test_host_that_does_not_exist(stage, level):
    here = stage(host="does-not-exist.invalid",
                 settings=timeouts(resolve=400))
    here.refuses(level, "resolve_failed", "resolve_timeout")


@pytest.mark.parametrize("level", LEVELS)
def test_nobody_listens(stage, level):
    with socket.socket() as reserved:
        reserved.bind(("127.0.0.1", 0))
        port = reserved.getsockname()[1]
        here = stage(port=port)
        line = here.refuses(level, "cloud_refused")
    assert f"127.0.0.1:{port}" in line["detail"]


@pytest.mark.parametrize("level", LEVELS)
def test_black_hole(stage, level):
    with BlackHole() as nowhere:
        here = stage(nowhere, host="127.0.0.1", settings=timeouts(tcp=400))
        line = here.refuses(level, "tcp_timeout")
    assert f"127.0.0.1:{nowhere.port}" in line["detail"]
    assert "firewall" in line["hint"]


def leaves_in_handshake(peer):
    with pytest.raises(OSError):
        peer.tls()


@pytest.mark.parametrize("chain, reason, words", [
    ("untrusted", "cert_untrusted", "issuer"),
    ("leaf-only", "cert_untrusted", "depth 0"),
    ("expired", "cert_expired", "expired"),
    ("not-yet", "cert_not_yet_valid", "not yet valid"),
    ("wrong-name", "cert_wrong_name", "mismatch")])
def test_bad_certificate(stage, certs, chain, reason, words):
    with Hostile(certs / f"{chain}.pem", certs / "server.key") as server:
        here = stage(server)
        left = server.play(leaves_in_handshake)
        line = here.refuses(4, reason)
        left.result(TIMEOUT)
    assert words in line["detail"]


TLS_ANSWERS = {
    "an HTTP server": b"HTTP/1.1 400 Bad Request\r\n\r\n",
    "an SSH server": b"SSH-2.0-OpenSSH_9.2\r\n",
    "zeros": bytes(1000),
    "an alert": b"\x15\3\3\0\2\2\x28",
}


@pytest.mark.parametrize("name", TLS_ANSWERS)
def test_no_tls_on_the_port(stage, plain, name):
    here = stage(plain, transports="wss")
    plain.play(then(ws.Peer.receive, sends(TLS_ANSWERS[name]),
                    ws.Peer.hold))
    here.refuses(4, "tls_failed", "cloud_closed")


def test_tls_on_a_plain_port(stage, plain):
    here = stage(plain)
    plain.play(then(ws.Peer.request, sends(b"\x15\3\3\0\2\2\x46"),
                    ws.Peer.hold))
    line = here.refuses(4, "upgrade_not_http")
    assert "TLS" in line["detail"]


# Silence, in each state

SILENT = {
    "upgrade": ws.Peer.request,
    "upgrade, within the answer": then(
        ws.Peer.request, sends(b"HTTP/1.1 101 Switching")),
    "login": then(ws.Peer.upgrade, ws.Peer.packet),
    "login, within CONNACK": then(ws.Peer.upgrade, ws.Peer.packet,
                                  sends(frame(BINARY, GOOD)[:4])),
}


@pytest.mark.parametrize("level", LEVELS)
def test_silence_in_tls(stage, wss, level):
    here = stage(wss, settings=timeouts(tls=500))
    wss.play(then(ws.Peer.receive, ws.Peer.hold))
    assert "500 ms" in here.refuses(level, "tls_timeout")["detail"]


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("name", SILENT)
def test_silence(both, name, level):
    state = name.partition(",")[0]
    for here in both(settings=timeouts(**{state: 500})):
        here.play(then(SILENT[name], ws.Peer.hold))
        line = here.refuses(level, f"{state}_timeout")
        assert "500 ms" in line["detail"]


@pytest.mark.parametrize("data, told", [
    (frame(BINARY, publish("a", "x" * 1000, level=5))[:1], [0x89]),
    (frame(BINARY, publish("a", "x" * 1000, level=5))[:3], [0x89]),
    (frame(BINARY, publish("a", "x" * 1000, level=5))[:600], None),
    (frame(PING, b"x" * 100)[:50], [0x89])],
    ids=["header", "longer header", "payload", "ping"])
def test_silence_within_a_frame(both, data, told):
    """A cloud that does not end its frame does not answer a ping either."""
    for here in both(settings={"cloud": {"ping_interval": "200ms",
                                         "ping_timeout": "300ms"}}):
        here.play(then(lambda peer: peer.login(GOOD5), sends(data),
                       ws.Peer.hold))
        device = here.online(level=5)
        if told is None:
            with pytest.raises(AssertionError, match="half a packet"):
                device.until_closed()
        else:
            assert device.until_closed() == disconnect(5, *told)
        here.end("cloud_silent")


def drip(data, pause):
    """Byte by byte, until the proxy has had enough."""
    def script(peer):
        with pytest.raises(OSError):
            for byte in data:
                peer.send(bytes([byte]))
                time.sleep(pause)
    return script


@pytest.mark.parametrize("state", ["tls", "upgrade", "login"])
def test_bytes_do_not_move_a_deadline(stage, wss, state):
    before, data = {
        "tls": (ws.Peer.receive, b"\x16\3\3\x3f\xff" + bytes(5000)),
        "upgrade": (ws.Peer.request,
                    b"HTTP/1.1 101 Switching Protocols\r\nServer: "
                    + b"x" * 5000),
        "login": (then(ws.Peer.upgrade, ws.Peer.packet),
                  frame(PING) * 5000)}[state]
    here = stage(wss, settings=timeouts(**{state: 500}, close=300))
    dripped = wss.play(then(before, drip(data, 0.02)))
    here.refuses(4, f"{state}_timeout", *(
        # a record of zeros is no handshake: that may be seen earlier
        ["tls_failed"] if state == "tls" else []))
    dripped.result(TIMEOUT)


# Gone, in each state; at_once: so fast that the proxy sees the last bytes and
# the end together

GOES = {
    "at once": (lambda peer: None, b""),
    "in TLS": (ws.Peer.receive, b""),
    "during the upgrade": (ws.Peer.request, b""),
    "within the answer": (ws.Peer.request, b"HTTP/1.1 101 Switching"),
    "behind the answer": (ws.Peer.upgrade, b""),
    "before CONNACK": (then(ws.Peer.upgrade, ws.Peer.packet), b""),
    "within CONNACK": (then(ws.Peer.upgrade, ws.Peer.packet),
                       frame(BINARY, GOOD)[:4]),
}
BEFORE_TLS = ("at once", "in TLS")


def goes(here, before, data, how, at_once):
    def script(peer):
        before(peer)
        with here.good.halted(at_once):
            if data:
                peer.send(data)
            how(peer)
    return script


@pytest.mark.parametrize("at_once", [False, True])
@pytest.mark.parametrize("state", GOES)
@pytest.mark.parametrize("transport", ["ws", "wss"])
def test_reset(stage, plain, wss, transport, state, at_once):
    server = plain if transport == "ws" else wss
    here = stage(server, transports=transport)
    server.play(goes(here, *GOES[state], ws.Peer.reset, at_once))
    here.refuses(4, "cloud_reset")


@pytest.mark.parametrize("at_once", [False, True])
@pytest.mark.parametrize("state", GOES)
@pytest.mark.parametrize("transport", ["ws", "wss"])
def test_closed(stage, plain, wss, transport, state, at_once):
    server = plain if transport == "ws" else wss
    here = stage(server, transports=transport)
    server.play(goes(here, *GOES[state], ws.Peer.fin, at_once))
    if transport == "wss" and state in BEFORE_TLS:
        reasons = ["tls_failed"]
    elif state.endswith("CONNACK") or state.startswith("behind"):
        reasons = ["cloud_closed"]
    else:
        reasons = ["upgrade_not_http"]
    if state in ("at once", "behind the answer"):
        # bytes that were not read make a reset of it
        reasons.append("cloud_reset")
    line = here.refuses(4, *reasons)
    assert "closed" in line["detail"] or line["reason"] == "cloud_reset"


@pytest.mark.parametrize("how", [ws.Peer.reset, ws.Peer.fin],
                         ids=["reset", "fin"])
@pytest.mark.parametrize("data", [
    b"", frame(BINARY, publish("a", "whole", level=5)),
    frame(BINARY, publish("a", "x" * 1000, level=5))[:600]],
    ids=["", "behind a packet", "within a frame"])
@pytest.mark.parametrize("at_once", [False, True])
@pytest.mark.parametrize("transport", ["ws", "wss"])
def test_link_cut(stage, plain, wss, transport, at_once, data, how):
    server = plain if transport == "ws" else wss
    here = stage(server, transports=transport)
    server.play(goes(here, then(ws.Peer.upgrade, ws.Peer.packet),
                     frame(BINARY, GOOD5) + data, how, at_once))
    device = here.online(level=5)
    here.end("cloud_reset" if how is ws.Peer.reset else "cloud_closed")
    if len(data) == 600:
        # half a packet has gone to the device: there is no place for words
        with pytest.raises(AssertionError, match="half a packet"):
            device.until_closed()
        return
    packets = device.until_closed()
    assert packets[-1:] == disconnect(5, 0x89)
    if how is ws.Peer.fin:
        assert [each.kind for each in packets[:-1]] == [PUBLISH] * bool(data)


# Answers to the upgrade

def status(line, *headers, body=b""):
    return lambda _: ("\r\n".join(
        [f"HTTP/1.1 {line}", *headers, f"Content-Length: {len(body)}", "",
         ""]).encode() + body)


def just(data):
    return lambda _: data


BAD_ANSWERS = {
    "403": (status("403 Forbidden", body=b"<html>no</html>"),
            "upgrade_refused", "403 Forbidden"),
    "401": (status("401 Unauthorized", "WWW-Authenticate: Basic"),
            "upgrade_refused", "401"),
    "404": (status("404 Not Found"), "upgrade_refused", "path"),
    "503": (status("503 Service Unavailable", "Retry-After: 120"),
            "upgrade_refused", "Retry-After: 120"),
    "407": (status("407 Proxy Authentication Required",
                   "Proxy-Authenticate: Basic"),
            "upgrade_refused", "407"),
    "429": (status("429 Too Many Requests", "Retry-After: 30"),
            "upgrade_refused", "Retry-After: 30"),
    "302": (status("302 Found", "Location: /elsewhere"),
            "upgrade_redirected", "/elsewhere"),
    "200": (status("200 OK", body=b"<html>log in here</html>"),
            "upgrade_refused", "captive portal"),
    "301": (status("301 Moved", "Location: https://login.example/?x"),
            "upgrade_redirected", "login.example"),
    "302 with control bytes": (
        status("302 Found", "Location: /\x1b[2J"), "upgrade_bad_answer",
        "control"),
    "status of letters": (status("abc Hello"), "upgrade_bad_answer",
                          "status line"),
    "status 999": (status("999 Hello"), "upgrade_bad_answer",
                   "status line"),
    "SSH": (just(b"SSH-2.0-OpenSSH_9.2p1\r\n"), "upgrade_not_http", "SSH"),
    "mail": (just(b"220 mail.example ESMTP\r\n"), "upgrade_not_http",
             "mail"),
    "MQTT": (just(GOOD), "upgrade_not_http", "MQTT broker"),
    "garbage": (just(random.Random(1).randbytes(2000)), "upgrade_not_http",
                "HTTP"),
    "zeros": (just(bytes(20000)), "upgrade_not_http", "HTTP"),
    "HTTP/2": (just(b"\0\0\x12\4\0\0\0\0\0" + bytes(18)),
               "upgrade_not_http", "HTTP/2"),
    "no accept": (lambda head: switching(head, Sec_WebSocket_Accept=None),
                  "upgrade_bad_answer", "Sec-WebSocket-Accept"),
    "wrong accept": (
        lambda head: switching(head, Sec_WebSocket_Accept="A" * 27 + "="),
        "upgrade_bad_answer", "not the answer to our key"),
    "accept twice": (
        lambda head: switching(
            head, f"Sec-WebSocket-Accept: {ws.accept_value(head)}"),
        "upgrade_bad_answer", "twice"),
    "no Upgrade": (lambda head: switching(head, Upgrade=None),
                   "upgrade_bad_answer", "Upgrade: websocket"),
    "other Upgrade": (lambda head: switching(head, Upgrade="h2c"),
                      "upgrade_bad_answer", "Upgrade: websocket"),
    "no Connection": (lambda head: switching(head, Connection=None),
                      "upgrade_bad_answer", "Connection: Upgrade"),
    "other Connection": (lambda head: switching(head, Connection="close"),
                         "upgrade_bad_answer", "Connection: Upgrade"),
    "extension": (
        lambda head: switching(
            head, "Sec-WebSocket-Extensions: permessage-deflate"),
        "upgrade_bad_answer", "extension"),
    "other subprotocol": (
        lambda head: switching(head, Sec_WebSocket_Protocol="mqttv3.1"),
        "upgrade_bad_answer", "mqttv3.1"),
    "folded header": (
        lambda head: switching(head, "X-Note: one", " two"),
        "upgrade_bad_answer", "folded"),
    "header without colon": (
        lambda head: switching(head, "nonsense"), "upgrade_bad_answer",
        "colon"),
    "bare LF": (lambda head: switching(head).replace(b"\r\n", b"\n"),
                "upgrade_bad_answer", "CR"),
    "huge header": (
        lambda head: switching(head, "X-Note: " + "x" * 40000),
        "upgrade_bad_answer", "over"),
    "many headers": (
        lambda head: switching(head, *["X-Note: x"] * 4000),
        "upgrade_bad_answer", "over"),
    "endless 1xx": (just(b"HTTP/1.1 100 Continue\r\n\r\n" * 1000),
                    "upgrade_bad_answer", "over"),
}


@pytest.mark.parametrize("name", BAD_ANSWERS)
def test_bad_answer(both, name):
    answer, reason, words = BAD_ANSWERS[name]
    for here in both():
        here.play(lambda peer: (peer.send(answer(peer.request())),
                                peer.hold()))
        line = here.refuses(4, reason)
        assert words in line["detail"], line
        assert "\x1b" not in here.proxy.raw_log()


@pytest.mark.parametrize("line, when", [
    ("503 Service Unavailable", lambda: 120),
    ("429 Too Many Requests", lambda: 120),
    ("503 Service Unavailable", lambda: email.utils.formatdate(
        time.time() + 120, usegmt=True))],
    ids=["503", "429", "a date"])
def test_server_that_asks_for_patience(both, line, when):
    for here in both():
        here.play(answers(status(line, f"Retry-After: {when()}")(None)))
        assert line in here.refuses(4, "upgrade_refused")["detail"]
        here.good.alone()
        # nobody plays for a second connection: it must not come
        again = here.connect(5)
        assert again.until_closed() == connack(5, 3, 0x88)
        again.close()
        end = here.proxy.wait_log("session_end", label=here.entry["label"],
                                  count=2)
        assert end["reason"] == "cloud_busy" and end["detail"], end


@pytest.mark.parametrize("level", LEVELS)
def test_bad_answer_at_each_level(stage, wss, level):
    here = stage(wss)
    wss.play(answers(status("403 Forbidden")(None)))
    here.refuses(level, "upgrade_refused")


def test_endless_header(both):
    def script(peer):
        peer.request()
        peer.send(b"HTTP/1.1 101 Switching Protocols\r\nX-Note: ")
        with pytest.raises(OSError):
            while True:
                peer.send(b"x" * 65536)

    for here in both():
        ended = here.play(script)
        here.refuses(4, "upgrade_bad_answer")
        ended.result(TIMEOUT)


GOOD_ANSWERS = {
    "no subprotocol": lambda peer: peer.upgrade(Sec_WebSocket_Protocol=None),
    "other case": lambda peer: peer.upgrade(
        Upgrade="WebSocket", Connection="keep-alive, UPGRADE"),
    "names in other case": lambda peer: peer.send(
        switching(peer.request(), UPGRADE="websocket", Upgrade=None,
                  connection="upgrade", Connection=None).replace(
                      b"Sec-WebSocket-A", b"sEC-wEBSOCKET-a")),
    "Connection twice": lambda peer: peer.upgrade(
        "connection: x, upgrade ,y", Connection="keep-alive"),
    "1xx before": lambda peer: peer.send(
        b"HTTP/1.1 100 Continue\r\n\r\n"
        b"HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n"
        + switching(peer.request())),
    "byte by byte": lambda peer: peer.trickle(switching(peer.request())),
    "a frame in the same segment": lambda peer: (
        peer.send(switching(peer.request()) + frame(PING, b"early")),
        None if peer.next(PONG) == b"early" else pytest.fail("no pong")),
    "half a frame in the same segment": lambda peer: (
        peer.send(switching(peer.request()) + frame(PING, b"early")[:3]),
        peer.send(frame(PING, b"early")[3:]),
        None if peer.next(PONG) == b"early" else pytest.fail("no pong")),
}


@pytest.mark.parametrize("name", GOOD_ANSWERS)
def test_good_answer(both, name):
    for here in both():

        def script(peer):
            GOOD_ANSWERS[name](peer)
            if "segment" not in name:
                assert peer.packet()[0] == 0x10
            peer.message(GOOD)
            assert peer.packet() == publish("a", "hello")

        played = here.play(script)
        device = here.online()
        device.send(publish("a", "hello"))
        played.result(TIMEOUT)


# Frames

WHOLE = publish("a", "hello")
BAD_FRAMES = {
    "masked": frame(BINARY, WHOLE, mask=b"abcd"),
    "RSV1": frame(BINARY, WHOLE, first=0xC0),
    "RSV2": frame(BINARY, WHOLE, first=0xA0),
    "RSV3": frame(BINARY, WHOLE, first=0x90),
    "opcode 3": frame(3, WHOLE),
    "opcode 7": frame(7, WHOLE),
    "opcode 11": frame(11),
    "opcode 15": frame(15),
    "fragmented ping": frame(PING, b"x", first=0) + frame(CONTINUATION, b"y"),
    "fragmented close": frame(CLOSE, b"\3\xe8", first=0),
    "ping of 126 bytes": frame(PING, bytes(126)),
    "close of 126 bytes": frame(CLOSE, b"\3\xe8" + b"x" * 124),
    "continuation without start": frame(CONTINUATION, WHOLE),
    "start within a message": frame(BINARY, WHOLE[:4], first=0)
    + frame(BINARY, WHOLE[4:]),
    "16 bits for 5": frame(BINARY, WHOLE[:5], form=16),
    "64 bits for 5": frame(BINARY, WHOLE[:5], form=64),
    "64 bits for 200": frame(BINARY, publish("a", "x" * 195), form=64),
    "top bit of 64": b"\x82\x7f\x80" + bytes(7) + WHOLE,
    "half a close code": frame(CLOSE, b"\3"),
    **{f"close with {code}": close_frame(code)
       for code in (0, 999, 1004, 1005, 1006, 1015, 2999, 5000, 65535)},
}


@pytest.mark.parametrize("name", BAD_FRAMES)
def test_bad_frame(both, name):
    for here in both():
        told = here.play(then(lambda peer: peer.login(GOOD5),
                              sends(BAD_FRAMES[name]), ws.Peer.goodbye))
        device = here.online(level=5)
        assert told.result(TIMEOUT) == 1002
        line = here.end("bad_frame")
        # the paragraph of RFC 6455
        assert "(5." in line["detail"] or "(7." in line["detail"], line
        assert device.until_closed() == disconnect(5, 0x89)


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("name, data, reason, code", [
    ("masked", BAD_FRAMES["masked"], "bad_frame", 1002),
    ("text", frame(TEXT, WHOLE), "text_message", 1003)])
def test_bad_frame_before_connack(stage, wss, name, data, reason, code,
                                  level):
    here = stage(wss)
    told = wss.play(then(ws.Peer.upgrade, ws.Peer.packet, sends(data),
                         ws.Peer.goodbye))
    here.refuses(level, reason)
    assert told.result(TIMEOUT) == code


@pytest.mark.parametrize("data", [
    frame(TEXT, WHOLE), frame(TEXT), frame(TEXT, WHOLE[:3], first=0)],
    ids=["whole", "empty", "begun"])
def test_text_message(both, data):
    for here in both():
        told = here.play(then(lambda peer: peer.login(GOOD5), sends(data),
                              ws.Peer.goodbye))
        device = here.online(level=5)
        assert told.result(TIMEOUT) == 1003
        here.end("text_message")
        assert device.until_closed() == disconnect(5, 0x89)


def test_close_with_a_reason_that_is_not_utf8(both):
    for here in both():
        told = here.play(then(ws.Peer.login, sends(close_frame(1000, b"\xff")),
                              ws.Peer.goodbye))
        here.online()
        assert told.result(TIMEOUT) == 1007
        here.end("bad_frame")


def test_what_came_before_a_bad_frame_arrives(both):
    for here in both():
        here.play(then(ws.Peer.login,
                       sends(frame(BINARY, WHOLE) + BAD_FRAMES["RSV1"]),
                       ws.Peer.goodbye))
        device = here.online()
        assert device.receive().payload == b"hello"
        assert device.until_closed() == []
        here.end("bad_frame")


@pytest.mark.parametrize("length", [0, 1, 125])
def test_ping(both, length):
    for here in both():
        data = bytes(range(length))
        got = here.play(then(ws.Peer.login, sends(frame(PING, data)),
                             lambda peer: peer.next(PONG)))
        here.online()
        assert got.result(TIMEOUT) == data


def test_pings_between_fragments(both):
    message = publish("a", random.Random(1).randbytes(300))

    def script(peer):
        peer.login()
        for at, byte in enumerate(message):
            peer.send(frame(BINARY if at == 0 else CONTINUATION,
                            bytes([byte]), first=0))
            peer.send(frame(PING, b"%d" % at))
            assert peer.next(PONG) == b"%d" % at
        peer.send(frame(CONTINUATION))
        peer.hold()

    for here in both():
        here.play(script)
        device = here.online()
        assert device.receive().payload == message[-300:]


@pytest.mark.parametrize("cut", [1, 2, 4, 5, 6, 20])
def test_head_of_a_big_packet_comes_alone(stage, wss, cut):
    """and what comes next is as much as one read takes."""
    payload = random.Random(cut).randbytes(200000)
    message = publish("a/topic/of/some/length", payload)

    def script(peer):
        peer.login()
        peer.send(frame(BINARY, message[:cut], first=0))
        peer.send(frame(PING, b"read"))
        assert peer.next(PONG) == b"read"
        peer.send(frame(CONTINUATION, message[cut:]))
        peer.hold()

    here = stage(wss)
    wss.play(script)
    device = here.online()
    assert device.receive().payload == payload


def test_many_pings(stage, wss):
    def script(peer):
        peer.login()
        peer.send(b"".join(frame(PING, b"%d" % at) for at in range(20000)))
        # only the last of several has to be answered (RFC 6455 5.5.3)
        while peer.next(PONG) != b"19999":
            pass

    here = stage(wss)
    played = wss.play(script)
    here.online()
    played.result(TIMEOUT)
    here.good.works()


def test_frames_that_say_nothing(both):
    def script(peer):
        peer.login()
        peer.send(frame(BINARY) * 10000)
        peer.send(frame(PONG, b"nobody asked") * 100)
        peer.send(frame(BINARY, first=0) + frame(CONTINUATION, first=0) * 9999
                  + frame(CONTINUATION, WHOLE))
        peer.hold()

    for here in both():
        here.play(script)
        assert here.online().receive().payload == b"hello"


@pytest.mark.parametrize("level", [4, 5])
@pytest.mark.parametrize("code, answer", [
    (1000, 1000), (1001, 1001), (1012, 1012), (4000, 4000),
    (None, ws.NO_CODE)])
def test_closing_handshake(both, code, answer, level):
    for here in both():
        told = here.play(then(
            lambda peer: peer.login(GOOD5 if level == 5 else GOOD),
            sends(close_frame(code, b"maintenance" if code else b"")),
            ws.Peer.goodbye))
        device = here.online(level)
        assert told.result(TIMEOUT) == answer
        line = here.end("cloud_closed")
        if code:
            assert str(code) in line["detail"] and "maint" in line["detail"]
        assert device.until_closed() == disconnect(level, 0x89)


def test_close_instead_of_connack(both):
    for here in both():
        told = here.play(then(ws.Peer.upgrade, ws.Peer.packet,
                              sends(close_frame(1008, b"go away")),
                              ws.Peer.goodbye))
        line = here.refuses(4, "cloud_closed")
        assert "1008" in line["detail"] and "go away" in line["detail"]
        assert told.result(TIMEOUT) == 1008


def test_server_that_does_not_close_after_its_close(both):
    for here in both(settings=timeouts(close=300)):
        here.play(then(ws.Peer.login, sends(close_frame(1000)),
                       ws.Peer.goodbye, ws.Peer.hold))
        device = here.online()
        device.until_closed()
        here.end("cloud_closed")


def test_server_that_never_answers_a_close(both):
    for here in both(settings=timeouts(close=300)):

        def script(peer):
            peer.login()
            assert peer.goodbye() == 1000
            peer.hold()

        left = here.play(script)
        here.online().close()
        here.good.alone()
        left.result(TIMEOUT)


@pytest.mark.parametrize("how", [ws.Peer.reset, ws.Peer.fin],
                         ids=["reset", "fin"])
def test_server_that_goes_while_the_link_closes(both, how):
    """What the log says is why it closed, not that."""
    for here in both():
        told = here.play(then(ws.Peer.login, lambda peer: (
            peer.goodbye(), how(peer))[0]))
        here.online().close()
        assert told.result(TIMEOUT) == 1000
        end = here.proxy.wait_log("session_end", label=here.entry["label"])
        assert end["reason"] == "device_closed"
        here.good.alone()


# MQTT

BAD_PACKETS = {
    "PUBLISH before CONNACK": publish("a", "early"),
    "SUBACK before CONNACK": b"\x90\3\0\1\0",
    "PUBACK before CONNACK": b"\x40\2\0\1",
    "PINGRESP before CONNACK": b"\xd0\0",
    "CONNECT": b"\x10\x0c\0\4MQTT\4\2\0\x3c\0\0",
    "PINGREQ": b"\xc0\0",
    "reserved type": b"\0\0",
    "length of five bytes": b"\x20\xff\xff\xff\xff\1",
    "random": b"\xff" + random.Random(2).randbytes(200),
    "HTTP": b"HTTP/1.1 200 OK\r\n\r\n",
    "CONNACK with flags": b"\x21\2\0\0",
    "CONNACK too long": b"\x20\4\0\0\0\0",
    "CONNACK too short": b"\x20\1\0",
    "CONNACK empty": b"\x20\0",
    "CONNACK with reserved bits": b"\x20\2\2\0",
}


@pytest.mark.parametrize("name", BAD_PACKETS)
def test_bad_packet_for_connack(both, name):
    for here in both():
        told = here.play(then(ws.Peer.upgrade, ws.Peer.packet,
                              lambda peer: peer.message(BAD_PACKETS[name]),
                              ws.Peer.goodbye))
        here.refuses(4, "bad_cloud_packet")
        assert told.result(TIMEOUT) == 1002


@pytest.mark.parametrize("body", [
    b"\0\0", b"\0\0\1", b"\0\0\0\0", b"\0\0\2\x24\2", b"\0\0\4\x21\0\1\x21",
    b"\0\0\3\x23\0\1", b"\0\0\2\x1f\0"])
def test_bad_connack_of_level_5(stage, wss, body):
    here = stage(wss)
    told = wss.play(then(
        ws.Peer.upgrade, ws.Peer.packet,
        lambda peer: peer.message(packet(0x20, body)), ws.Peer.goodbye))
    here.refuses(5, "bad_cloud_packet")
    assert told.result(TIMEOUT) == 1002


BAD_LATER = {
    "second CONNACK": GOOD5,
    "CONNECT": BAD_PACKETS["CONNECT"],
    "SUBSCRIBE": b"\x82\x07\0\1\0\0\1a\0",
    "UNSUBSCRIBE": b"\xa2\x06\0\1\0\0\1a",
    "PINGREQ": b"\xc0\0",
    "PUBLISH with QoS 3": b"\x36" + publish("a", "x", 1, level=5)[1:],
    "PUBREL without its flags": b"\x60\2\0\1",
    "reserved type": b"\0\0",
    "length of five bytes": b"\x30\xff\xff\xff\xff\1",
    "random": b"\xff" + random.Random(3).randbytes(200),
}


@pytest.mark.parametrize("level", [4, 5])
@pytest.mark.parametrize("name", BAD_LATER)
def test_bad_packet(both, name, level):
    for here in both():
        told = here.play(then(
            lambda peer: peer.login(GOOD5 if level == 5 else GOOD),
            lambda peer: peer.message(BAD_LATER[name]), ws.Peer.goodbye))
        device = here.online(level)
        assert told.result(TIMEOUT) == 1002
        here.end("bad_cloud_packet")
        assert device.until_closed() == disconnect(level, 0x89)


def test_two_connacks_in_one_message(both):
    for here in both():
        told = here.play(then(lambda peer: peer.login(GOOD + GOOD),
                              ws.Peer.goodbye))
        device = here.online()
        assert device.until_closed() == []
        here.end("bad_cloud_packet")
        assert told.result(TIMEOUT) == 1002


@pytest.mark.parametrize("level, code", [
    *[(level, code) for level in (3, 4) for code in (1, 2, 3, 4, 5)],
    *[(5, code) for code in (0x80, 0x81, 0x82, 0x83, 0x84, 0x85, 0x86, 0x87,
                             0x88, 0x89, 0x8A, 0x8C, 0x90, 0x95, 0x97, 0x99,
                             0x9A, 0x9B, 0x9C, 0x9D, 0x9F)]])
def test_refusal_of_the_cloud_is_passed_on(stage, wss, level, code):
    here = stage(wss)
    wss.play(then(
        ws.Peer.upgrade, ws.Peer.packet,
        lambda peer: peer.message(
            packet(0x20, bytes([0, code, 0][:3 if level == 5 else 2]))),
        ws.Peer.goodbye))
    device = here.connect(level)
    assert device.until_closed() == connack(level, code, code)
    line = here.end("login_refused")
    assert f"CONNACK {code} " in line["detail"], line


def test_refusal_in_the_old_form(stage, wss):
    """A server that knows no MQTT 5 answers in the form of 3.1.1."""
    here = stage(wss)
    wss.play(then(ws.Peer.upgrade, ws.Peer.packet,
                  lambda peer: peer.message(b"\x20\2\0\1"),
                  ws.Peer.goodbye))
    assert here.connect(5).until_closed() == connack(5, None, 0x84)
    here.end("login_refused")


def test_what_a_refusal_says(stage, wss):
    reason = b"\x1f" + text('device "x" \r\n is banned')
    elsewhere = b"\x1c" + text("other.example")
    here = stage(wss)
    wss.play(then(
        ws.Peer.upgrade, ws.Peer.packet,
        lambda peer: peer.message(packet(
            0x20, b"\0\x8a" + varint(len(reason + elsewhere)) + reason
            + elsewhere)),
        ws.Peer.goodbye))
    # the device gets the reason, but not the name of another server
    assert here.connect(5).until_closed() == [
        Packet(CONNACK, 0, b"\0\x8a" + varint(len(reason)) + reason)]
    assert "is banned" in here.end("login_refused")["detail"]


# More than a device takes

@pytest.mark.parametrize("pieces", [1, 1000])
def test_big_publish_to_a_device_that_does_not_read(both, pieces):
    size = 10 << 20
    payload = random.Random(4).randbytes(size)
    message = publish("a", payload)
    step = -(-len(message) // pieces)
    frames = b"".join(
        frame(CONTINUATION if at else BINARY, message[at:at + step],
              first=0x80 if at + step >= len(message) else 0)
        for at in range(0, len(message), step))
    for here in both(env={"ASAN_OPTIONS": "quarantine_size_mb=1"}):
        here.play(then(ws.Peer.login, sends(frames), ws.Peer.hold))
        before = here.proxy.memory()
        device = here.online(receive_buffer=8192)
        # both sides are full: nothing moves any more
        steady(lambda: unread(local=device.port), lambda: here.good.works())
        assert here.proxy.memory("VmHWM") - before < MEMORY_SLACK
        assert device.receive().payload == payload


def steady(measure, meanwhile):
    """Waits until a measure is above zero and stays for ten turns."""
    last, turns = 0, 0
    while turns < 10:
        meanwhile()
        now = measure()
        turns = turns + 1 if now and now == last else 0
        last = now
