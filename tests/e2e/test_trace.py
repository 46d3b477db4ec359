"""A trace of one device: each packet on both sides, as it passes, and nothing
of a login; and no session waits for whoever reads it."""

import contextlib
import json
import os
import re
import select
import signal
import socket
import subprocess
import tempfile
import threading

import paho.mqtt.client as paho
import pytest

import mqtt_raw as mqtt
from cloud_process import topic_of
from proxy import TIMEOUT, environment, program
from test_admin import connect, get, talk
from test_hold import SWIFT, lose_link

OWN = "/${pk}/${dn}/user/"
RULES = {"topic.1.lan": "plant/+/state", "topic.1.cloud": OWN + "state/$1"}
LINE = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z "
                  r"(?:(device->proxy |proxy->cloud  |cloud->proxy  "
                  r"|proxy->device )(\S+) bytes=\d+|-- )(.*)")
LEFT_OUT = re.compile(r"\.\.\. (\d+) packets not shown")
HIDDEN = "a-password-of-the-LAN"


@pytest.fixture
def path():
    with tempfile.TemporaryDirectory(prefix="adm-") as folder:
        yield f"{folder}/a.sock"


class Trace:
    """The command; its lines as (way, type, rest), or (None, None, note)."""

    def __init__(self, path, label, *options):
        self.process = subprocess.Popen(
            [program(), "trace", label, "--socket", path, *options],
            stdout=subprocess.PIPE, stderr=subprocess.PIPE,
            env=environment())
        self.lines = []
        self.rest = b""     # read already

    def line(self):
        """The next one; None at the end."""
        while b"\n" not in self.rest:
            ready, _, _ = select.select([self.process.stdout], [], [],
                                        TIMEOUT)
            assert ready, self.lines
            more = os.read(self.process.stdout.fileno(), 65536)
            if not more:
                assert not self.rest
                return None
            self.rest += more
        text, _, self.rest = self.rest.partition(b"\n")
        self.lines.append(text.decode())
        if LEFT_OUT.match(self.lines[-1]):
            return None, None, self.lines[-1]
        way, kind, rest = LINE.fullmatch(self.lines[-1]).groups()
        return way and way.strip(), kind, rest

    def until(self, wanted, way=None):
        """Lines up to that type, or that note, the last one; by way."""
        seen = []
        while True:
            line = self.line()
            assert line is not None, (wanted, self.lines)
            seen.append(line)
            if (line[1] == wanted and way in (None, line[0])
                    or line[1] is None and wanted in line[2]):
                return seen

    def text(self):
        return "\n".join(self.lines) + self.rest.decode()

    def end(self):
        """Ctrl-C; all that it has shown."""
        self.process.send_signal(signal.SIGINT)
        rest, _ = self.process.communicate(timeout=TIMEOUT)
        return self.text() + rest.decode()


@pytest.fixture
def trace(path):
    with contextlib.ExitStack() as last:
        def begin(label, *options):
            one = Trace(path, label, *options)
            last.callback(one.process.wait, TIMEOUT)
            last.callback(one.process.kill)
            return one

        yield begin


def waits(one):
    assert one.until("waiting for it")
    return one


def ways_of(lines, kind):
    return [(way, rest) for way, each, rest in lines if each == kind]


@pytest.mark.parametrize("level", [4, 5])
def test_both_sides(cloud, start, dial, listen, path, trace, level):
    entry = cloud.device(**RULES, password=HIDDEN)
    proxy = start(cloud, entry, admin={"socket": path})
    heard = listen(cloud, topic_of(entry, "#"))
    one = waits(trace(entry["label"], "--payload"))
    device = dial(proxy)
    device.log_in(entry["label"], level, user_name="own",
                  password=HIDDEN)
    lines = one.until("CONNACK", "proxy->device")
    own, other = ways_of(lines, "CONNECT")
    assert own[0] == "device->proxy" and other[0] == "proxy->cloud"
    assert f'level={level} ' in own[1]
    assert f'client_id="{entry["label"]}"' in own[1]
    assert "password=yes" in own[1] and "username=yes" in other[1]
    assert "securemode=" in other[1]
    device.publish("plant/7/state", b"\x00up", qos=1)
    heard.receive()
    lines = one.until("PUBACK", "proxy->device")
    own, other = ways_of(lines, "PUBLISH")
    assert own[0] == "device->proxy" and other[0] == "proxy->cloud"
    assert 'topic="plant/7/state"' in own[1] and " qos=1 id=" in own[1]
    assert f'topic="{topic_of(entry, "state/7")}"' in other[1]
    assert 'payload_bytes=3 payload="\\x00up"' in own[1] and (
        'payload_bytes=3 payload="\\x00up"' in other[1])
    device.subscribe(topic_of(entry, "set"), qos=1)
    lines = one.until("SUBACK", "proxy->device")
    assert [way for way, _ in ways_of(lines, "SUBSCRIBE")] == [
        "device->proxy", "proxy->cloud"]
    device.ping()
    lines = one.until("PINGRESP", "proxy->device")
    assert [line[0] for line in lines] == ["device->proxy", "proxy->device"]
    device.send(mqtt.DISCONNECT)
    lines = one.until("the session ends: device_left")
    assert "DISCONNECT" in [kind for _, kind, _ in lines]
    assert HIDDEN not in one.end()
