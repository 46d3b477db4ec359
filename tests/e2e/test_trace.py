"""A trace of one device: each packet on both sides, as it passes, and nothing
of a login; and no session waits for whoever reads it."""

import contextlib
import hmac
import os
import re
import select
import signal
import subprocess
import tempfile

import pytest

import mqtt_raw as mqtt
from cloud_process import topic_of
from kernel import wait_until
from proxy import TIMEOUT, environment, program
from test_admin import connect, talk, until_closed
from test_control import post
from test_daemon import successor_of
from test_fleet import Table, client_id, label
from test_hold import SWIFT, lose_link
from test_no_secret_leaks import assert_clean

OWN = "/${pk}/${dn}/user/"
RULES = {"topic.1.lan": "plant/+/state", "topic.1.cloud": OWN + "state/$1"}
LINE = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z "
                  r"(?:(device->proxy |proxy->cloud  |cloud->proxy  "
                  r"|proxy->device )(\S+) bytes=\d+|-- )(.*)")
LEFT_OUT = re.compile(r"\.\.\. (\d+) packets not shown")
HIDDEN = "a-password-of-the-LAN"
TRACES_MAX = 4
MANY = 10000


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
    assert_no_secret(cloud, entry, one.end())


def assert_no_secret(cloud, entry, text):
    """Neither what the device has shown, nor any login of the cloud."""
    known = {"the device's password": HIDDEN,
             "device_secret": entry["device_secret"]}
    logins = cloud.decisions("login", entry)
    assert logins and text.count("proxy->cloud  CONNECT") == len(logins)
    for at, login in enumerate(logins):
        client_id = login["client_id"].partition("|")[0]
        content = (f"clientId{client_id}deviceName{entry['device_name']}"
                   f"productKey{entry['product_key']}"
                   f"timestamp{login['timestamp']}")
        sign = hmac.new(entry["device_secret"].encode(), content.encode(),
                        "sha256").hexdigest()
        known[f"login {at}"] = sign
        known[f"LOGIN {at}"] = sign.upper()
        known["user name"] = login["user_name"]
    assert_clean("the trace", text, known)


@pytest.mark.parametrize("level", [4, 5])
def test_qos_2(cloud, start, dial, path, trace, level):
    """As it is, and as it is changed on its way: into QoS 1."""
    entry = cloud.device()
    proxy = start(cloud, entry, admin={"socket": path})
    device = dial(proxy)
    device.log_in(entry["label"], level)
    one = trace(entry["label"])
    # one that is connected already
    one.until(f"online, peer 127.0.0.1:{device.port}, MQTT level {level}")
    device.send(mqtt.publish(topic_of(entry), "a message", 2, 7, level))
    device.expect(mqtt.PUBREC)
    device.send(mqtt.pubrel(7))
    device.expect(mqtt.PUBCOMP)
    lines = one.until("PUBCOMP", "proxy->device")
    kinds = {way: [(kind, rest[:11]) for to, kind, rest in lines if to == way]
             for way in ("device->proxy", "proxy->device", "proxy->cloud")}
    assert [kind for kind, _ in kinds["device->proxy"]] == [
        "PUBLISH", "PUBREL"]
    assert [kind for kind, _ in kinds["proxy->device"]] == [
        "PUBREC", "PUBCOMP"]
    assert kinds["device->proxy"][0][1] == " qos=2 id=7"
    assert kinds["proxy->cloud"][0][1][:7] in (" qos=1 ", " qos=2 ")
    assert "a message" not in one.end()


def test_reconnect(cloud, start, dial, path, trace):
    """It goes on with the next session, and the next link of one."""
    entry = cloud.device()
    proxy = start(cloud, entry, admin={"socket": path}, dial=SWIFT)
    one = waits(trace(entry["label"]))
    for _ in range(2):
        device = dial(proxy)
        device.log_in(entry["label"])
        assert len(ways_of(one.until("CONNACK", "proxy->device"),
                           "CONNECT")) == 2
        device.close()
        one.until("the session ends: device_closed")
    device = dial(proxy)
    device.log_in(entry["label"])
    lose_link(cloud, proxy, entry, "close")
    assert one.until("no link: ")[-1][2] == (
        "no link: cloud_closed WebSocket close 1001")
    lines = one.until("CONNACK", "cloud->proxy")
    assert [way for way, _ in ways_of(lines, "CONNECT")] == ["proxy->cloud"]
    device.publish(topic_of(entry), "behind", qos=1)
    one.until("PUBACK", "proxy->device")
    assert_no_secret(cloud, entry, one.end())


def test_one_that_comes_back_while_it_is_held(
        cloud, start, dial, path, trace):
    entry = cloud.device(clean_session="no", password=HIDDEN)
    proxy = start(cloud, entry, admin={"socket": path}, dial=SWIFT)
    login = {"clean": False, "user_name": "own", "password": HIDDEN}
    device = dial(proxy)
    device.log_in(entry["label"], **login)
    one = trace(entry["label"])
    one.until("online")
    cloud.fault(entry, refuse=3)
    lose_link(cloud, proxy, entry)
    device.close()
    one.until("the device has gone, its session stays: device_closed")
    dial(proxy).log_in(entry["label"], **login)
    lines = one.until("CONNACK", "proxy->device")
    assert any("password=yes" in rest for way, rest
               in ways_of(lines, "CONNECT") if way == "device->proxy")
    assert HIDDEN not in one.end()


def test_big_messages(cloud, start, dial, listen, path, trace):
    """Those that pass in pieces are one line; also when the trace begins in
    the middle of one."""
    entry = cloud.device(**RULES)
    proxy = start(cloud, entry, admin={"socket": path},
                  limits={"session_buffer": "64K"})
    heard = listen(cloud, topic_of(entry, "#"))
    device = dial(proxy)
    device.log_in(entry["label"])
    device.subscribe(topic_of(entry, "set"))
    payload = bytes(range(256)) * 600
    message = mqtt.publish("plant/7/state", payload, 1)
    device.send(message[:100000])
    cloud.wait("login", entry)
    one = trace(entry["label"], "--payload")
    one.until("online")
    device.send(message[100000:])
    heard.receive()
    device.expect(mqtt.PUBACK)
    device.publish("plant/8/state", payload, qos=1, number=2)
    heard.receive()
    heard.publish(topic_of(entry, "set"), payload)
    assert device.receive().payload == payload
    lines = one.until("PUBLISH", "proxy->device")
    assert [(way, f"payload_bytes={len(payload)} " in rest) for way, rest
            in ways_of(lines, "PUBLISH") if "plant/7" not in rest] == [
        ("device->proxy", True), ("proxy->cloud", True),
        ("cloud->proxy", True), ("proxy->device", True)]
    # what had begun before is not told, and nothing of it is taken for more
    assert 'topic="plant/7' not in one.text()
    assert 'payload="\\x00\\x01' in one.text()
    assert "malformed" not in one.end()


def ask(path, entry, *headers, target="/trace?label="):
    """A reader by HTTP; its socket, once the answer has begun."""
    client = connect(path)
    client.sendall("\r\n".join([
        f"POST {target}{entry['label']} HTTP/1.1", "Host: localhost",
        *headers, "", ""]).encode())
    head = client.recv(4096)
    assert head.startswith(b"HTTP/1.1 200 OK\r\n"), head
    assert b"Content-Length" not in head
    return client


def test_a_reader_that_stops(cloud, start, dial, listen, path):
    """No message waits for it or is lost, and it is told what it missed."""
    entry = cloud.device(contract="none")
    proxy = start(cloud, entry, admin={"socket": path})
    heard = listen(cloud, topic_of(entry), qos=0)
    device = dial(proxy)
    device.log_in(entry["label"])
    with ask(path, entry) as reader:
        for at in range(0, MANY, 100):
            device.send(*(mqtt.publish(topic_of(entry), f"{i}")
                          for i in range(at, at + 100)))
        assert [int(heard.receive().payload) for _ in range(MANY)] == list(
            range(MANY))
        device.ping()
        # reads on: what it gets are whole lines, with a gap that is told
        text, pings = b"", 0
        while b"the session ends" not in text:
            if b"not shown" in text and device.socket.fileno() >= 0:
                # its end must not be among what is left out
                pings += 1
                device.ping()
                if b"PINGRESP" in text[-400:]:
                    device.send(mqtt.DISCONNECT)
                    device.close()
            more = reader.recv(65536)
            assert more
            text += more
        lines = text.decode().splitlines()
        missed = sum(int(LEFT_OUT.fullmatch(line)[1]) for line in lines
                     if LEFT_OUT.fullmatch(line))
        assert missed > 0
        assert all(LINE.fullmatch(line) or LEFT_OUT.fullmatch(line)
                   for line in lines)
        # both sides of each, PINGREQ and PINGRESP, both sides of DISCONNECT
        seen = sum(" bytes=" in line for line in lines)
        assert seen + missed == 2 * MANY + 4 + 2 * pings


def test_another_takes_its_place(cloud, start, dial, path, trace):
    """All who look go on with the new session, whoever of them has left."""
    entry = cloud.device()
    proxy = start(cloud, entry, admin={"socket": path})
    running = [waits(trace(entry["label"])) for _ in range(3)]
    dial(proxy).log_in(entry["label"])
    for one in running:
        one.until("CONNACK", "proxy->device")
    running.pop(1).end()
    device = dial(proxy)
    device.log_in(entry["label"], 5)
    for one in running:
        one.until("the session ends: taken_over")
        one.until("CONNACK", "proxy->device")
    running.pop(0).end()
    device.publish(topic_of(entry), "behind", qos=1)
    running[0].until("PUBACK", "proxy->device")
    assert_no_secret(cloud, entry, running[0].end())


def test_an_entry_that_goes_and_comes(cloud, start, dial, path, trace):
    entry, other = cloud.device(), cloud.device()
    proxy = start(cloud, entry, other, admin={"socket": path})
    dial(proxy).log_in(entry["label"])
    one = trace(entry["label"])
    one.until("online")
    proxy.set_devices([other])
    proxy.reload()
    one.until("the session ends: entry_removed")
    proxy.set_devices([other, entry])
    proxy.reload()
    dial(proxy).log_in(entry["label"])
    one.until("CONNACK", "proxy->device")
    one.end()


def test_a_device_of_a_fleet(cloud, start, dial, path, trace, tmp_path):
    """By its own label, and nothing of the others."""
    entries = [cloud.device(), cloud.device()]
    table = Table(tmp_path / "secrets.csv", entries)
    proxy = start(cloud, table.section(), admin={"socket": path})
    one = waits(trace(label(entries[1])))
    for entry in entries:
        dial(proxy).log_in(client_id(entry))
    lines = one.until("CONNACK", "proxy->device")
    assert f'client_id="{client_id(entries[1])}"' in (
        ways_of(lines, "CONNECT")[0][1])
    assert client_id(entries[0]) not in one.end()


def test_how_many(cloud, start, path, trace):
    """A fifth is refused, until one has left; each sees its own device."""
    entry, other = cloud.device(), cloud.device()
    proxy = start(cloud, entry, other, admin={"socket": path})
    running = [waits(trace(each["label"]))
               for each in (entry, entry, other, other)]
    assert len(running) == TRACES_MAX
    fifth = trace(entry["label"])
    _, errors = fifth.process.communicate(timeout=TIMEOUT)
    assert fifth.process.returncode == 1
    assert b"too many traces" in errors
    with mqtt.Client(proxy.port) as device:
        device.log_in(entry["label"])
    for one in running[:2]:
        one.until("the session ends")
    assert "session" not in running[2].end() + running[3].end()
    # the proxy has noticed that they left
    wait_until(lambda: trace(other["label"]).line() is not None)
    running[0].end()


def test_who_may(cloud, start, path, trace):
    """No page in a browser, by no GET; and it is for a device that is there.
    """
    entry = cloud.device()
    start(cloud, entry, admin={"socket": path})
    target = f"/trace?label={entry['label']}"
    assert talk(path, f"GET {target} HTTP/1.1\r\nHost: localhost\r\n\r\n"
                .encode()).startswith(b"HTTP/1.1 405 ")
    assert post(path, target, "Origin: http://localhost") == 403
    assert post(path, target, host="evil.example") == 403
    assert post(path, "/trace?label=nobody") == 404
    nobody = trace("nobody")
    _, errors = nobody.process.communicate(timeout=TIMEOUT)
    assert nobody.process.returncode == 1
    assert b"no device has that label" in errors


def test_the_end(cloud, start, dial, path, trace):
    """SIGTERM: a trace sees the session's end, and ends in order."""
    entry, other = cloud.device(), cloud.device()
    proxy = start(cloud, entry, other, admin={"socket": path})
    device = dial(proxy)
    device.log_in(entry["label"], 5)
    one, idle = trace(entry["label"]), waits(trace(other["label"]))
    one.until("online")
    deaf = ask(path, entry)
    proxy.stop()
    lines = one.until("the proxy ends")
    assert ("proxy->device", " code=0x8b") in ways_of(lines, "DISCONNECT")
    assert any(kind is None and "the session ends: draining" in rest
               for _, kind, rest in lines)
    idle.until("the proxy ends")
    with deaf:
        assert b"the proxy ends" in until_closed(deaf)
    for each in (one, idle):
        assert each.line() is None
        assert each.process.wait(TIMEOUT) == 0


def test_readers_that_leave_at_the_end(cloud, start, dial, path, trace):
    """What is on its way between the threads then is given back."""
    entry = cloud.device()
    proxy = start(cloud, entry, admin={"socket": path})
    dial(proxy).log_in(entry["label"])
    running = [trace(entry["label"]) for _ in range(TRACES_MAX)]
    for one in running:
        one.until("online")
    for one in running[1:]:
        one.process.kill()
    proxy.stop()
    running[0].until("the proxy ends")


def test_handed_over(cloud, start, path, trace):
    """It ends with the process that hands over, which goes on without."""
    entry = cloud.device()
    proxy = start(cloud, entry, admin={"socket": path})
    one = waits(trace(entry["label"]))
    with successor_of(proxy):
        one.until("another process takes over")
        assert one.line() is None and one.process.wait(TIMEOUT) == 0
        other = waits(trace(entry["label"]))
    assert proxy.wait() == 0
    other.until("the proxy ends")


def test_broken_off(cloud, start, path, trace):
    """That it is no end in order is told."""
    entry = cloud.device()
    proxy = start(cloud, entry, admin={"socket": path})
    one = waits(trace(entry["label"]))
    proxy.kill()
    _, errors = one.process.communicate(timeout=TIMEOUT)
    assert one.process.returncode == 1 and b"broken off" in errors
