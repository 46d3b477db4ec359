"""The life of the process: what a supervisor is told, what signals do, a new
process that takes over, a map that is not there yet."""

import contextlib
import ctypes
import json
import os
import select
import signal
import socket
import tempfile
import threading
import time

import pytest

from kernel import wait_until
from proxy import TIMEOUT, Proxy, write_ini


class Supervisor:
    """The other end of NOTIFY_SOCKET."""

    def __init__(self, at):
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(at.replace("@", "\0", 1))
        self._told = []
        self._news = threading.Condition()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self):
        while message := self._socket.recv(4096).decode():
            with self._news:
                self._told.append(dict(line.split("=", 1)
                                       for line in message.split("\n")))
                self._news.notify_all()

    def close(self):
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as last:
            last.sendto(b"", self._socket.getsockname())
        self._reader.join()
        self._socket.close()

    def told(self, key):
        with self._news:
            return [said[key] for said in self._told if key in said]

    def all(self):
        with self._news:
            return list(self._told)

    def wait(self, key, count=1, fits=lambda text: True):
        """The count-th message with it."""
        def found():
            return [said for said in self._told
                    if key in said and fits(said[key])]

        with self._news:
            assert self._news.wait_for(lambda: len(found()) >= count,
                                       TIMEOUT), (key, self._told)
            return found()[count - 1]


@pytest.fixture
def folder():
    """A short path: an address of a Unix socket has room for 107 bytes."""
    with tempfile.TemporaryDirectory(prefix="dae-") as path:
        yield path


@pytest.fixture(params=["path", "abstract"])
def at(request, folder):
    return f"{folder}/n" if request.param == "path" else f"@{folder}/n"


@pytest.fixture
def supervisor(folder):
    with contextlib.closing(Supervisor(f"{folder}/notify")) as made:
        made.at = f"{folder}/notify"
        yield made


# ---- what the supervisor is told ----

def test_told(cloud, start, dial, at):
    entry = cloud.device()
    with contextlib.closing(Supervisor(at)) as supervisor:
        proxy = start(cloud, entry, env={"NOTIFY_SOCKET": at})
        supervisor.wait("READY")
        supervisor.wait("STATUS", fits=lambda text: "0 devices" in text
                        and "1 in the map" in text)
        began_us = time.monotonic_ns() // 1000
        assert proxy.reload()["event"] == "reloaded"
        reloading = supervisor.wait("RELOADING")
        assert began_us <= int(reloading["MONOTONIC_USEC"])
        supervisor.wait("READY", count=2)
        # also when it comes to nothing
        proxy.set_devices("[device:x]\nnonsense = 1\n")
        assert proxy.reload()["event"] == "reload_refused"
        supervisor.wait("READY", count=3)
        proxy.stop()
        supervisor.wait("STOPPING")
        assert not supervisor.told("WATCHDOG")


def test_watchdog(cloud, start, dial, supervisor):
    entry = cloud.device()
    proxy = start(cloud, entry, env={"NOTIFY_SOCKET": supervisor.at,
                                     "WATCHDOG_USEC": "200000"})
    supervisor.wait("WATCHDOG", count=3)
    dial(proxy).log_in(entry["label"])
    supervisor.wait("STATUS", fits=lambda text: text.startswith(
        "1 devices connected, 1 of them in the cloud"))
    # one that is held is not
    before = len([said for said in supervisor.told("STATUS")
                  if "1 on their way" in said])
    cloud.fault(entry, refuse=3)
    cloud.order("drop", entry, how="abort")
    supervisor.wait("STATUS", fits=lambda text: text.startswith(
        "1 devices connected, 0 of them in the cloud, 1 on their way"),
        count=before + 1)
    # none is sent for a process that is not this one
    other = start(cloud, cloud.device(), env={
        "NOTIFY_SOCKET": supervisor.at, "WATCHDOG_USEC": "200000",
        "WATCHDOG_PID": "1"})
    other.stop()


def thread_of(pid, name):
    """A thread of the process that is called so."""
    for thread in os.listdir(f"/proc/{pid}/task"):
        with open(f"/proc/{pid}/task/{thread}/comm", encoding="ascii") as comm:
            if comm.read().strip() == name:
                return int(thread)
    raise KeyError(name)


@contextlib.contextmanager
def stopped(thread):
    """As under a debugger."""
    seize, interrupt, detach, wait_all = 0x4206, 0x4207, 17, 0x40000000
    libc = ctypes.CDLL(None, use_errno=True)
    libc.ptrace.argtypes = [ctypes.c_long] * 4
    assert libc.ptrace(seize, thread, 0, 0) == 0
    assert libc.ptrace(interrupt, thread, 0, 0) == 0
    os.waitpid(thread, wait_all)
    try:
        yield
    finally:
        libc.ptrace(detach, thread, 0, 0)


@pytest.mark.parametrize("who", ["worker", "keeper"])
def test_watchdog_of_a_stuck_thread(cloud, start, supervisor, who):
    """One does not answer: no sign of life any more, and a line says who."""
    entry = cloud.device()
    proxy = start(cloud, entry, env={"NOTIFY_SOCKET": supervisor.at,
                                     "WATCHDOG_USEC": "200000"})
    supervisor.wait("WATCHDOG")
    with stopped(thread_of(proxy.pid, who)):
        proxy.wait_log("thread_stuck", thread=who)
        silent = len(supervisor.told("WATCHDOG"))
        proxy.wait_log("thread_stuck", count=3)
        assert len(supervisor.told("WATCHDOG")) == silent
    supervisor.wait("WATCHDOG", count=silent + 1)


# ---- the log file ----

def test_log_file(cloud, start, tmp_path):
    path = tmp_path / "proxy.log"
    entry = cloud.device()
    proxy = Proxy(tmp_path / "p", [entry],
                  start.settings(cloud, {"log": {"file": path}}))
    proxy.start()
    try:
        wait_until(lambda: path.exists() and "event=ready" in path.read_text())
        assert os.stat(path).st_mode & 0o777 == 0o640
        moved = path.with_suffix(".1")
        path.rename(moved)
        proxy.signal(signal.SIGUSR1)
        wait_until(lambda: path.exists() and "log_reopened" in path.read_text())
        old = moved.read_text()
        proxy.signal(signal.SIGHUP)
        wait_until(lambda: "event=reloaded" in path.read_text())
        assert moved.read_text() == old
        # a folder that is gone: the file that is open stays in use
        path.rename(moved)
        os.mkdir(path)
        proxy.signal(signal.SIGUSR1)
        wait_until(lambda: "log_not_reopened" in moved.read_text())
        proxy.stop()
        assert "event=stopped" in moved.read_text()
        assert proxy.raw_log() == ""
    finally:
        proxy.kill()


def test_log_file_that_cannot_be(cloud, start, tmp_path):
    proxy = Proxy(tmp_path / "p", [cloud.device()],
                  start.settings(cloud, {"log": {"file": "/nowhere/x.log"}}))
    proxy.start()
    assert proxy.wait() == 3
    assert "[log] file = /nowhere/x.log: No such file" in proxy.raw_log()
    proxy.kill()


def test_usr1_without_a_file(cloud, start):
    proxy = start(cloud, cloud.device())
    proxy.signal(signal.SIGUSR1)
    proxy.wait_log("log_reopened")


# ---- a map that is not there yet ----

@pytest.fixture
def without_map(cloud, start, tmp_path):
    """(proxy, entry); it runs, and has no devices.ini."""
    entry = cloud.device()
    proxy = Proxy(tmp_path / "p", [entry], start.settings(
        cloud, {"reload": {"interval": "10s"}}))
    os.unlink(proxy.folder / "devices.ini")
    proxy.start()
    start.proxies.append(proxy)
    return proxy.ready(), entry


def test_map_that_comes(without_map, dial):
    proxy, entry = without_map
    assert proxy.wait_log("ready")["map"] == "missing"
    for level, code in ((4, 3), (5, 0x88)):
        device = dial(proxy)
        device.send_connect(entry["label"], level)
        assert [packet.body[1] for packet in device.until_closed()] == [code]
    proxy.wait_log("device_refused", reason="no_map", count=2)
    proxy.set_devices([entry])
    proxy.wait_log("reloaded", devices=1)
    dial(proxy).log_in(entry["label"])
    # once it was there it is missed
    os.unlink(proxy.folder / "devices.ini")
    proxy.wait_log("reload_refused")
    dial(proxy).log_in(entry["label"])


def test_map_that_comes_broken(without_map, dial):
    proxy, entry = without_map
    assert proxy.reload()["event"] == "reloaded"
    proxy.set_devices("[device:x]\nnonsense = 1\n")
    proxy.wait_log("reload_refused")
    proxy.set_devices([entry])
    proxy.wait_log("reloaded", devices=1)
    dial(proxy).log_in(entry["label"])


def test_map_broken_at_the_start(cloud, start, tmp_path):
    proxy = Proxy(tmp_path / "p", "[device:x]\nnonsense = 1\n",
                  start.settings(cloud, {}))
    proxy.start()
    assert proxy.wait() == 3
    proxy.kill()


# ---- a new process takes over ----

@contextlib.contextmanager
def ended(pid):
    """A process that is no child of the test: ended when left."""
    handle = os.pidfd_open(pid)
    try:
        yield
        with contextlib.suppress(ProcessLookupError):
            signal.pidfd_send_signal(handle, signal.SIGTERM)
        assert select.select([handle], [], [], TIMEOUT)[0]
    finally:
        with contextlib.suppress(ProcessLookupError):
            signal.pidfd_send_signal(handle, signal.SIGKILL)
        os.close(handle)


@contextlib.contextmanager
def successor_of(proxy):
    """The pid of the process that the proxy hands over to; ended when
    left."""
    proxy.signal(signal.SIGUSR2)
    pid = int(proxy.wait_log("handed_over")["pid"])
    with ended(pid):
        yield pid


@pytest.fixture
def hasty():
    """Connects to a port again and again; never refused."""
    with contextlib.ExitStack() as last:
        def begin(port):
            stop = threading.Event()
            failed = []
            made = [0]

            def run():
                while not stop.wait(0.002):
                    try:
                        socket.create_connection(
                            ("127.0.0.1", port), TIMEOUT).close()
                        made[0] += 1
                    except OSError as error:
                        failed.append(error)

            thread = threading.Thread(target=run)
            thread.start()
            last.callback(thread.join)
            last.callback(stop.set)
            return made, failed

        yield begin


def test_hand_over(cloud, start, dial, supervisor, hasty):
    """No connection is refused; each device is ended as its level has it, and
    comes back to the new process."""
    entries = {level: cloud.device() for level in (3, 4, 5)}
    proxy = start(cloud, *entries.values(),
                  env={"NOTIFY_SOCKET": supervisor.at})
    devices = {level: dial(proxy) for level in entries}
    for level, device in devices.items():
        device.log_in(entries[level]["label"], level)
    made, failed = hasty(proxy.port)
    with successor_of(proxy) as pid:
        assert int(supervisor.wait("MAINPID")["MAINPID"]) == pid
        told = {level: [packet.body[0] for packet in device.until_closed()]
                for level, device in devices.items()}
        assert told == {3: [], 4: [], 5: [0x8B]}
        assert proxy.process.wait(TIMEOUT) == 0
        since = made[0]
        for level, entry in entries.items():
            dial(proxy).log_in(entry["label"], level)
        wait_until(lambda: made[0] > since + 20)
        assert not failed
    # nobody has said that the service stops
    messages = supervisor.all()
    after = [said for said in messages
             if "STOPPING" in said][:1]
    assert len(after) == 1      # the new one, at its own end


def test_hand_over_again(cloud, start, dial, folder):
    """By the new one, with the admin socket; every listener goes over."""
    entry = cloud.device()
    admin, mqtt_path = f"{folder}/a.sock", f"{folder}/m.sock"
    proxy = start(cloud, entry, admin={"socket": admin},
                  **{"listen:here": {"socket": mqtt_path},
                     "listen:lo": {"address": "127.0.0.1", "port": 0,
                                   "interface": "lo"}})
    places = [{key: line[key] for key in ("listener", "address", "port")}
              for line in proxy.logs("listening")]

    def asked():
        with socket.socket(socket.AF_UNIX) as client:
            client.connect(admin)
            client.sendall(b"GET /status HTTP/1.1\r\n\r\n")
            answer = b""
            while part := client.recv(4096):
                answer += part
        return json.loads(answer.partition(b"\r\n\r\n")[2])["pid"]

    assert asked() == proxy.pid
    with successor_of(proxy) as second:
        assert proxy.process.wait(TIMEOUT) == 0
        assert asked() == second
        over = proxy.logs("listening", inherited="yes")
        assert [{key: line[key] for key in place}
                for place, line in zip(places, over)] == places
        os.kill(second, signal.SIGUSR2)
        third = int(proxy.wait_log("handed_over", count=2)["pid"])
        wait_until(lambda: asked() == third)
        with ended(third):
            dial(proxy).log_in(entry["label"])


@pytest.mark.parametrize("break_it", ["settings", "map"])
def test_hand_over_fails(cloud, start, dial, break_it):
    """The old one says why, and goes on; later it can be done."""
    entry = cloud.device()
    proxy = start(cloud, entry)
    device = dial(proxy)
    device.log_in(entry["label"])
    good = (proxy.folder / "proxy.ini").read_text()
    if break_it == "map":
        proxy.set_devices("[device:x]\nnonsense = 1\n")
    else:
        proxy.set_settings("[nonsense]\n")
    proxy.signal(signal.SIGUSR2)
    line = proxy.wait_log("handover_failed")
    assert "exit code 3" in line["detail"]
    assert any("nonsense" in said.get("text", "") for said in proxy.logs())
    device.ping()
    proxy.set_devices([entry])
    write_ini(proxy.folder / "proxy.ini", good)
    with successor_of(proxy):
        assert proxy.process.wait(TIMEOUT) == 0
        dial(proxy).log_in(entry["label"])


def test_hand_over_spreads(cloud, start, dial):
    """At the pace of the dials, so that the new process may dial for each."""
    entries = [cloud.device() for _ in range(6)]
    proxy = start(cloud, *entries, dial={"per_second": 4, "wait_max": "10s"})
    devices = [dial(proxy) for _ in entries]
    for device, entry in zip(devices, entries):
        device.log_in(entry["label"])
    with successor_of(proxy):
        line = proxy.wait_log("handed_over")
        assert int(line["over_ms"]) == 1500
        for device in devices:
            device.until_closed()
        assert proxy.process.wait(TIMEOUT) == 0
        for entry in entries:
            dial(proxy).log_in(entry["label"])


def test_hand_over_then_terminate(cloud, start, dial):
    """The old one does not wait for its pace then."""
    entry = cloud.device()
    proxy = start(cloud, *[entry, cloud.device()], dial={"per_second": 1})
    device = dial(proxy)
    device.log_in(entry["label"])
    with successor_of(proxy):
        proxy.signal(signal.SIGTERM)
        assert proxy.process.wait(TIMEOUT) == 0


def test_process_one(cloud, start, dial, tmp_path):
    """In a container a new process would end with the old one."""
    entry = cloud.device()
    proxy = Proxy(tmp_path / "p", [entry], start.settings(cloud, {}))
    proxy._hand_over = lambda: ["unshare", "--pid", "--fork",
                                "--kill-child=KILL"]
    proxy.start()
    try:
        proxy.ready()
        with open(f"/proc/{proxy.pid}/task/{proxy.pid}/children",
                  encoding="ascii") as children:
            inner = int(children.read().split()[0])
        os.kill(inner, signal.SIGUSR2)
        assert "process 1" in proxy.wait_log("handover_refused")["detail"]
        dial(proxy).log_in(entry["label"])
        os.kill(inner, signal.SIGTERM)
        assert proxy.wait() == 0
    finally:
        proxy.kill()


# ---- an end without a word ----

def test_killed_and_started_again(cloud, start, dial):
    """With the platform's own limits everybody is back at the first try, and
    the cloud has seen no more logins than it takes."""
    entries = [cloud.device() for _ in range(4)]
    limits = {"per_device": 5, "network_first": "1s", "kicked_first": "5s"}
    proxy = start(cloud, *entries, dial=limits)
    for entry in entries:
        dial(proxy).log_in(entry["label"])
    proxy.kill()
    start.proxies.remove(proxy)
    again = start(cloud, *entries, dial=limits)
    for entry in entries:
        dial(again).log_in(entry["label"])
    assert all(line["in_last_minute"] <= 5
               for line in cloud.decisions("login"))
