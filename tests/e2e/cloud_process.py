"""The emulated cloud of tests/cloud as a process of its own."""

import contextlib
import hashlib
import json
import signal
import socket
import subprocess
import threading
import time

from proxy import ROOT, TIMEOUT

CLOUD = ROOT / "tests" / "cloud"
PRODUCT = "a1B2c3D4e5F"
CROWD = 8000
# nothing of this may happen, whatever a test does, unless it ordered that
FORBIDDEN = ("breach", "unaligned", "upgrade")
# what only an egress proxy can resolve
NAME = "cloud.test"


def make_certs(folder):
    subprocess.run([CLOUD / "make-certs.sh", folder, NAME], check=True,
                   timeout=60)


def topic_of(entry, name="up"):
    """One of the device's own topics."""
    return f"/{entry['product_key']}/{entry['device_name']}/user/{name}"


class Cloud:
    """One gate with its broker, good for many tests: each takes devices
    that no test has used before."""

    def __init__(self, folder, certs=None, host="127.0.0.1"):
        self.tls = certs is not None
        self._control = str(folder / "control")
        self._names = [f"pump_{at:04}" for at in range(CROWD)]
        (folder / "devices.ini").write_text("".join(
            f"[{name}]\nproduct_key = {PRODUCT}\ndevice_name = {name}\n"
            f"device_secret = {_secret(name)}\n" for name in self._names))
        # the port for mqtts has another root than the one for wss
        options = ["--cert", certs / "server.pem",
                   "--key", certs / "server.key",
                   "--mqtts-cert", certs / "untrusted.pem",
                   "--mqtts-key", certs / "server.key"] if certs else []
        self._lines = []
        self._ended = False
        self._news = threading.Condition()
        self._begin = 0
        self._halted = False
        self._notes = 0
        self._command = [
            "/usr/bin/python3", "-B", CLOUD / "cloud.py", "--host", host,
            "--devices", folder / "devices.ini", "--control", self._control,
            "--exit-with-parent", *options]
        ready = self._run()
        self.port = ready["port"]
        self.mqtts_port = ready["mqtts_port"]
        self.broker_port = ready["mosquitto_port"]

    def _run(self, *options):
        """Starts the process; returns its first line."""
        since = len(self._lines)
        self._ended = False
        self.process = subprocess.Popen(
            [*self._command, *options],
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True)
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        try:
            return self.wait("ready", since=since)
        except BaseException:
            self.close()
            raise

    def close(self):
        self.process.terminate()
        try:
            self.process.wait(TIMEOUT)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self._reader.join()
        self.process.stdout.close()

    @contextlib.contextmanager
    def down(self):
        """Gate and broker are gone meanwhile, and so is all they knew; then
        they are back on the same ports."""
        self.process.kill()
        self.process.wait()
        self._reader.join()
        self.process.stdout.close()
        more = ["--mqtts-port", self.mqtts_port] if self.mqtts_port else []
        try:
            yield
        finally:
            self._run(*map(str, ["--port", self.port, "--mosquitto-port",
                                 self.broker_port, *more]))

    # Devices

    def device(self, **keys):
        """An entry for devices.ini of a device the cloud knows; its label is
        what it calls itself in CONNECT. Keys given as None are left out."""
        name = self._names.pop()
        entry = {"label": name.replace("_", "-"), "product_key": PRODUCT,
                 "device_name": name, "device_secret": _secret(name),
                 "host": "localhost", **keys}
        return {key: value for key, value in entry.items()
                if value is not None}

    # Decisions

    def _read(self):
        for line in self.process.stdout:
            with self._news:
                self._lines.append(json.loads(line))
                self._news.notify_all()
        with self._news:
            self._ended = True
            self._news.notify_all()

    def _catch_up(self):
        """What the gate has decided until now has been read after this."""
        if self._halted or self._ended:
            return
        self._notes += 1
        self.order("note", text=f"{self._notes}")
        self.wait("note", text=f"{self._notes}")

    def mark(self):
        """The place in the decisions, for since=."""
        self._catch_up()
        with self._news:
            return len(self._lines)

    def decisions(self, event=None, entry=None, since=None, **fields):
        """Those that fit, of this test only unless since says otherwise."""
        self._catch_up()
        with self._news:
            return [line for line in
                    self._lines[self._begin if since is None else since:]
                    if _fits(line, event, entry, fields)]

    def wait(self, event, entry=None, timeout=TIMEOUT, since=None, count=1,
             **fields):
        """Returns the count-th decision that fits, as soon as it is there."""
        deadline = time.monotonic() + timeout
        at, found = self._begin if since is None else since, 0
        with self._news:
            while True:
                for line in self._lines[at:]:
                    at += 1
                    found += _fits(line, event, entry, fields)
                    if found == count:
                        return line
                left = deadline - time.monotonic()
                if self._ended or left <= 0:
                    raise AssertionError(
                        f"no decision {event} {fields} ({found} of {count});"
                        f" the last: {self._lines[-10:]}")
                self._news.wait(left)

    def begin(self):
        """A test begins."""
        self._begin = self.mark()

    def audit(self):
        """A test ends: was everything the cloud saw as it should be?"""
        self.order("clear")
        bad = [line for line in self.decisions()
               if (line["event"] in FORBIDDEN and not line.get("ordered"))
               or line.get("open_before")]
        assert not bad, bad

    # Orders

    def order(self, command, entry=None, **detail):
        if entry:
            detail.update(product_key=entry["product_key"],
                          device_name=entry["device_name"])
        with socket.socket(socket.AF_UNIX) as channel:
            channel.settimeout(TIMEOUT)
            channel.connect(self._control)
            with channel.makefile("rw") as lines:
                lines.write(json.dumps({"cmd": command, **detail}) + "\n")
                lines.flush()
                answer = json.loads(lines.readline())
        assert answer.pop("ok"), answer
        return answer

    def fault(self, entry, **detail):
        self.order("fault", entry, **detail)

    @contextlib.contextmanager
    def halted(self):
        """The gate does nothing at all meanwhile; the kernel goes on
        accepting and acknowledging for it."""
        self.process.send_signal(signal.SIGSTOP)
        self._halted = True
        try:
            yield
        finally:
            self._halted = False
            self.process.send_signal(signal.SIGCONT)


def _secret(name):
    return hashlib.sha256(name.encode()).hexdigest()[:32]


def _fits(line, event, entry, fields):
    return ((event is None or line["event"] == event)
            and (entry is None
                 or line.get("device_name") == entry["device_name"])
            and all(line.get(key) == value for key, value in fields.items()))
