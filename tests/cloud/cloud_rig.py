"""The emulated cloud as a process, and devices and applications to talk with
it, for its own tests."""

import json
import pathlib
import queue
import socket
import struct
import subprocess
import threading

import pytest

import mini_client
from mini_client import TIMEOUT, Client, StreamClient

HERE = pathlib.Path(__file__).parent
KEY = "a1B2c3D4e5F"
SECRET = "0123456789abcdef0123456789abcdef"
CROWD = 200
# all that a name may hold
ODD_NAME = "dev-1_a@b.c:d"


class Cloud:
    """cloud.py as a process, its decisions as a queue."""

    def __init__(self, folder, *options):
        self.control_path = str(folder / "control")
        devices = folder / "devices.ini"
        entry = ("[{0}]\nproduct_key = {1}\ndevice_name = {0}\n"
                 "device_secret = {2}\nenabled = {3}\n")
        names = [f"{kind}_{at}" for kind in ("pump", "valve")
                 for at in range(CROWD)] + [ODD_NAME]
        devices.write_text("".join(
            entry.format(name, KEY, SECRET, "yes") for name in names)
            + entry.format("retired", KEY, SECRET, "no")
            + entry.format("device", "pk", "secret", "yes"))
        self.process = subprocess.Popen(
            ["/usr/bin/python3", HERE / "cloud.py", "--devices", devices,
             "--control", self.control_path, *options],
            stdout=subprocess.PIPE, text=True)
        self._lines = queue.Queue()
        self.seen = []
        self._reader = threading.Thread(target=self._read)
        self._reader.start()
        try:
            self.ready = self.wait("ready")
        except BaseException:
            self.tidy()
            raise
        self.root = self.mqtts_root = None
        self.port = self.ready["port"]
        self.mqtts_port = self.ready["mqtts_port"]
        self.broker_port = self.ready["mosquitto_port"]

    def _read(self):
        for line in self.process.stdout:
            self._lines.put(json.loads(line))
        self._lines.put(None)

    def wait(self, event, **wanted):
        """Returns the next decision that fits; keeps the ones between."""
        while True:
            try:
                line = self._lines.get(timeout=TIMEOUT)
            except queue.Empty:
                line = None
            if line is None:
                pytest.fail(f"no {event} {wanted}; seen: {self.seen[-20:]}")
            self.seen.append(line)
            if line["event"] == event and all(
                    line.get(name) == value
                    for name, value in wanted.items()):
                return line

    def order(self, **order):
        with socket.socket(socket.AF_UNIX) as channel:
            channel.settimeout(TIMEOUT)
            channel.connect(self.control_path)
            channel.sendall(json.dumps(order).encode() + b"\n")
            with channel.makefile() as answers:
                return json.loads(answers.readline())

    def stop(self):
        """Returns the exit status."""
        self.process.terminate()
        return self.process.wait(TIMEOUT)

    def tidy(self):
        """Leaves nothing behind, whatever a test has done."""
        self.stop()
        self._reader.join()
        self.process.stdout.close()


def credentials(name="pump_0", bare="1", method="hmacsha256", mode=2,
                timestamp="789", secret=SECRET, key=KEY, extra="",
                signed_id=None):
    """(user name, client id, password) as the platform documents them."""
    pairs = [f"securemode={mode}"]
    pairs += [f"signmethod={method}"] if method else []
    content = (f"clientId{bare if signed_id is None else signed_id}"
               f"deviceName{name}productKey{key}")
    if timestamp:
        pairs.append(f"timestamp={timestamp}")
        content += f"timestamp{timestamp}"
    return (f"{name}&{key}", f"{bare}|{','.join(pairs)}{extra}|",
            mini_client.sign(secret, content, (method or "hmacmd5")[4:]))


def knock(cloud, connect, path="/mqtt", subprotocol="mqtt", mqtts=False):
    """Sends CONNECT; returns the client and the body of its CONNACK."""
    client = (StreamClient(cloud.mqtts_port, cloud.mqtts_root) if mqtts
              else Client(cloud.port, cloud.root, path, subprotocol))
    client.send(connect)
    first, body = client.packet()
    assert first == 0x20
    return client, body


def login(cloud, name="pump_0", level=4, clean=True, mqtts=False, **options):
    client, body = knock(cloud, mini_client.connect(
        *credentials(name, **options), level=level, clean=clean), mqtts=mqtts)
    assert body[1] == 0, f"CONNACK {body[1]}"
    return client


def mosquitto(cloud, program, *arguments, **options):
    # line by line, so that a subscriber is seen to have subscribed
    return subprocess.Popen(
        ["stdbuf", "-oL", program, "-h", "127.0.0.1",
         "-p", str(cloud.broker_port), *arguments], text=True, **options)


def listen(cloud, topic, count):
    """An application of the cloud that has subscribed already."""
    app = mosquitto(cloud, "mosquitto_sub", "-t", topic, "-C", str(count),
                    "-d", "-W", str(TIMEOUT), stdout=subprocess.PIPE)
    for line in app.stdout:
        if "SUBACK" in line:
            return app
    pytest.fail("mosquitto_sub did not subscribe")


def send_down(cloud, topic, *messages, qos=1):
    """Publishes to the broker itself, as an application of the cloud."""
    for message in messages:
        app = mosquitto(cloud, "mosquitto_pub", "-q", str(qos), "-t", topic,
                        "-m", message)
        assert app.wait(TIMEOUT) == 0


def payload_of(body, qos=1):
    """Topic and payload of a PUBLISH below level 5."""
    length, = struct.unpack("!H", body[:2])
    return (body[2:2 + length].decode(),
            body[2 + length + (2 if qos else 0):])
