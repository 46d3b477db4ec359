"""The proxy under test: one process, its two files, its log."""

import json
import os
import pathlib
import re
import signal
import subprocess
import threading
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
# slow enough for a sanitizer on a busy machine; nothing waits this long
# unless it fails
TIMEOUT = 30
# for env=: a sanitizer keeps freed memory and frames that have returned, which
# is not what tests measure
FRUGAL = {"ASAN_OPTIONS": os.environ.get("ASAN_OPTIONS", "")
          + ":quarantine_size_mb=1:detect_stack_use_after_return=0"}

_PAIR = re.compile(r'([\w.]+)=(?:"([^"]*)"|(\S*))')
_SECRET = re.compile(r"^\s*(?:device_secret|password)\s*=\s*(\S+)", re.M)
# what says which egress proxy to use
_WAYS_OUT = re.compile(r"(?:https?|all|no)_proxy", re.I)
_REPORT = re.compile(r"(Address|Leak|Thread|UndefinedBehavior)Sanitizer"
                     r"|runtime error:")


def program():
    """The binary to test: $MQTT_WSS_PROXY, or what a build has left."""
    given = os.environ.get("MQTT_WSS_PROXY")
    if given:
        return given
    for place in ("build/run", "build", "."):
        path = ROOT / place / "mqtt-wss-proxy"
        if path.exists():
            return str(path)
    raise RuntimeError("no mqtt-wss-proxy: build it, or set MQTT_WSS_PROXY")


def environment():
    """That of the tests, without its egress proxies."""
    return {name: value for name, value in os.environ.items()
            if not _WAYS_OUT.fullmatch(name)}


def write_ini(path, sections):
    """sections: {name: {key: value}}, or the text itself."""
    if not isinstance(sections, str):
        sections = "\n".join(
            f"[{name}]\n" + "".join(f"{key} = {value}\n"
                                    for key, value in keys.items())
            for name, keys in sections.items())
    # a new file in one step, as a careful administrator does it
    fresh = path.with_name(path.name + ".new")
    fresh.write_text(sections)
    fresh.chmod(0o600)
    fresh.replace(path)
    return sections


def device_sections(devices):
    """A list of dicts with "label" and the keys of devices.ini; or text."""
    if isinstance(devices, str):
        return devices
    return {f"device:{entry['label']}": {
                key: value for key, value in entry.items() if key != "label"}
            for entry in devices}


def read_line(line):
    """A log line as a dict; what is no log line has only "text"."""
    if line.startswith("{"):
        return {key: str(value) for key, value in json.loads(line).items()}
    if not line.startswith("time="):
        return {"text": line}
    return {key: quoted or bare for key, quoted, bare in _PAIR.findall(line)}


class Proxy:
    """Runs `mqtt-wss-proxy run` in a folder of its own; a context manager.

    settings: {section: {key: value}} of proxy.ini; without more said it
    listens on 127.0.0.1, a free port, has no admin socket, logs at debug, and
    reads its files again only when told to. devices: see
    device_sections(). sockets: (name, listening socket) each, handed over as
    systemd does it. Leaving the context ends the proxy with SIGTERM and
    demands exit code 0, no report of a sanitizer and no secret in the log.
    """

    def __init__(self, folder, devices, settings=None, env=None, sockets=()):
        self.folder = pathlib.Path(folder)
        self.folder.mkdir(parents=True, exist_ok=True)
        self.port = None
        self.process = None
        self._env = env or {}
        self._sockets = sockets
        self._secrets = set()
        self._lines = []        # raw
        self._log = []          # dicts
        self._ended = False     # of the log
        self._news = threading.Condition()
        self._reader = None
        self.set_settings(settings or {})
        self.set_devices(devices)

    # The two files; a change counts from the next reload() on

    def set_settings(self, settings):
        if not isinstance(settings, str):
            own = {"listen": {"address": "127.0.0.1", "port": 0},
                   "log": {"level": "debug"},
                   # tests say when the files are read
                   "reload": {"interval": 0},
                   "admin": {"socket": "none"},
                   # devices of tests come back as often as they like
                   "dial": {"per_device": 0, "network_first": 0,
                            "refused_first": 0, "kicked_first": 0}}
            settings = {name: {**own.get(name, {}), **settings.get(name, {})}
                        for name in {**own, **settings}}
        write_ini(self.folder / "proxy.ini", settings)

    def set_devices(self, devices):
        text = write_ini(self.folder / "devices.ini",
                         device_sections(devices))
        self._secrets.update(_SECRET.findall(text))

    # Life

    def __enter__(self):
        return self.start().ready()

    def __exit__(self, kind, *_):
        if kind is not None:
            self.kill()
        else:
            self.finish()

    def start(self):
        """Starts it; what listens is there after ready()."""
        self.process = subprocess.Popen(
            # not to be left behind when the tests are killed; what may be
            # preloaded is for the proxy alone
            [*self._hand_over(), "setpriv", "--pdeathsig", "KILL",
             "env", *(f"{name}={text}" for name, text in self._env.items()),
             program(), "run", "--config", str(self.folder / "proxy.ini")],
            stdin=subprocess.DEVNULL, stderr=subprocess.PIPE,
            env=environment(),
            pass_fds=[socket.fileno() for _, socket in self._sockets])
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        return self

    def _hand_over(self):
        """What puts the sockets where sd_listen_fds(3) wants them."""
        if not self._sockets:
            return []
        # first out of the way: the places may be those of others
        moves = [f"{50 + i}<&{socket.fileno()}"
                 for i, (_, socket) in enumerate(self._sockets)]
        moves += [f"{3 + i}<&{50 + i} {50 + i}<&-"
                  for i in range(len(self._sockets))]
        names = ":".join(name for name, _ in self._sockets)
        return ["bash", "-c",
                f"exec {' '.join(moves)}; LISTEN_PID=$$"
                f" LISTEN_FDS={len(self._sockets)} LISTEN_FDNAMES={names}"
                ' exec "$@"', "bash"]

    def ready(self):
        """Waits until devices may connect."""
        try:
            self.port = int(self.wait_log("ready")["port"])
        except BaseException:
            self.kill()
            raise
        return self

    @property
    def pid(self):
        return self.process.pid

    def signal(self, number):
        # the child is not waited for elsewhere: the pid is still its own
        self.process.send_signal(number)

    def reload(self):
        """SIGHUP; returns the line that tells how it went: its event is
        "reloaded" or "reload_refused"."""
        since = self.mark()
        self.signal(signal.SIGHUP)
        return self.wait_log(("reloaded", "reload_refused"), since=since)

    def wait(self, timeout=TIMEOUT):
        """Waits for the end; returns the exit code."""
        code = self.process.wait(timeout)
        self._reader.join(timeout)
        return code

    def stop(self):
        """SIGTERM; demands an end in order."""
        self.signal(signal.SIGTERM)
        code = self.wait()
        assert code == 0, f"exit code {code}\n{self.raw_log()}"

    def finish(self):
        """stop(), unless it has ended already, and the last checks."""
        try:
            if self.process.poll() is None:
                self.stop()
        finally:
            self.kill()
        self.check_log()

    def kill(self):
        """Ends it whatever it does; may be called twice."""
        if self.process is None:
            return
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        self._reader.join()
        self.process.stderr.close()

    def memory(self, name="VmRSS"):
        """A line of /proc/PID/status, in bytes."""
        with open(f"/proc/{self.pid}/status", encoding="ascii") as lines:
            for line in lines:
                if line.startswith(name + ":"):
                    return int(line.split()[1]) * 1024
        raise KeyError(name)

    def cpu(self):
        """Seconds of CPU time used so far."""
        with open(f"/proc/{self.pid}/stat", encoding="ascii") as stat:
            fields = stat.read().rpartition(")")[2].split()
        return sum(map(int, fields[11:13])) / os.sysconf("SC_CLK_TCK")

    # The log

    def _read(self):
        for raw in self.process.stderr:
            line = raw.decode("utf-8", "replace").rstrip("\n")
            with self._news:
                self._lines.append(line)
                self._log.append(read_line(line))
                self._news.notify_all()
        with self._news:
            self._ended = True
            self._news.notify_all()

    def mark(self):
        """The place in the log, for since=."""
        with self._news:
            return len(self._log)

    def logs(self, event=None, since=0, **fields):
        """The lines so far that fit, as dicts; all values are text."""
        with self._news:
            return [line for line in self._log[since:]
                    if _fits(line, event, fields)]

    def raw_log(self):
        with self._news:
            return "\n".join(self._lines)

    def wait_log(self, event, timeout=TIMEOUT, since=0, count=1, **fields):
        """Returns the count-th line that fits, as soon as it is there.
        event: a name or a tuple of names."""
        deadline = time.monotonic() + timeout
        with self._news:
            while True:
                found = [line for line in self._log[since:]
                         if _fits(line, event, fields)]
                if len(found) >= count:
                    return found[count - 1]
                left = deadline - time.monotonic()
                if self._ended or left <= 0:
                    raise AssertionError(
                        f"no log line {event} {fields} ({len(found)} of"
                        f" {count})\n" + "\n".join(self._lines[-60:]))
                self._news.wait(left)

    def check_log(self):
        """No report of a sanitizer, no secret of any map it has had, and in
        no line a key twice, as no JSON object can have it."""
        text = self.raw_log()
        for line in text.splitlines():
            keys = [key for key, *_ in _PAIR.findall(line)]
            assert not line.startswith("time=") or (
                len(keys) == len(set(keys))), line
        assert not _REPORT.search(text), text
        for secret in self._secrets:
            assert secret not in text, f"the log holds the secret {secret}"


def _fits(line, event, fields):
    events = (event,) if isinstance(event, str) else event
    return ((event is None or line.get("event") in events)
            and all(line.get(key) == str(value)
                    for key, value in fields.items()))
