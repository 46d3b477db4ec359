"""Calls to the kernel that fail while devices come and go: tests/tools/
fail_syscall.so, loaded before the proxy, lets one fail at a time. It ends one
connection at most, whose reason is in the log; the good devices lose nothing.
"""

import contextlib
import errno
import mmap
import os
import pathlib
import re
import struct
import subprocess

import pytest

from bystander import connack, descriptors, disconnect
from cloud_process import topic_of
from good_site import GoodSite
from kernel import ports_to, wait_until
from mqtt_raw import PINGREQ, PINGRESP, Client, publish
from proxy import ROOT, program

GOOD = 6
TIMES = 3   # a call that may be made again fails so many times


def shim():
    """$FAIL_SYSCALL_SO, or where it is built beside the proxy."""
    path = pathlib.Path(os.environ.get("FAIL_SYSCALL_SO") or
                        pathlib.Path(program()).resolve().parent /
                        "tests/tools/fail_syscall.so")
    assert path.exists(), (
        f"no {path}: build it (make check), or set FAIL_SYSCALL_SO")
    return path


def sanitizer():
    """The program's own, which wants to be loaded first; or nothing."""
    libraries = subprocess.run(["ldd", program()], check=True, text=True,
                               stdout=subprocess.PIPE).stdout
    return re.findall(r"=> (\S*/lib[at]san\.\S+)", libraries)


def calls():
    """The numbers of the calls, as fail_syscall.h gives them."""
    header = (ROOT / "tests/tools/fail_syscall.h").read_text()
    return {name: at for at, name in enumerate(
        re.findall(r"^\tX\((\w+)\)", header, re.M), 1)}


class Faults:
    """The order that fail_syscall.so takes."""

    def __init__(self, path):
        path.write_bytes(bytes(mmap.PAGESIZE))
        with open(path, "r+b") as file:
            self._order = mmap.mmap(file.fileno(), mmap.PAGESIZE)
        self._calls = calls()
        self.env = {"LD_PRELOAD": ":".join([*sanitizer(), str(shim())]),
                    "FAIL_SYSCALL": str(path)}

    def order(self, call, error, at, times, port):
        struct.pack_into("=5I", self._order, 4, error, at, times, port, 0)
        self._write_call(self._calls[call])

    def seen(self):
        """How many of these calls there were."""
        return struct.unpack_from("=I", self._order, 20)[0]

    def stop(self):
        self._write_call(0)

    def _write_call(self, number):
        struct.pack_into("=I", self._order, 0, number)


class Site:
    """A proxy, and in it one device whose calls fail."""

    def __init__(self, cloud, proxy, faults, entry):
        self.cloud, self.proxy, self.entry = cloud, proxy, entry
        self.topic = topic_of(entry)
        self._faults = faults
        self._last = contextlib.ExitStack()
        self._at_rest = len(descriptors(proxy.pid))

    @contextlib.contextmanager
    def fails(self, call, error, at=1, times=1, port=0):
        """The at-th of these calls from now on, of sockets with this port
        at either end; in the end it must have been made."""
        self._faults.order(call, error, at, times, port)
        try:
            yield
            wait_until(lambda: self._faults.seen() >= at)
        finally:
            self._faults.stop()

    def device(self):
        return self._last.enter_context(Client(self.proxy.port))

    def online(self, level=4):
        """The device, and the near port of its link to the cloud."""
        before = ports_to(self.cloud.port)
        device = self.device()
        device.log_in(self.entry["label"], level)
        link, = wait_until(lambda: ports_to(self.cloud.port) - before)
        return device, link

    def ended(self, reason):
        line = self.proxy.wait_log(("session_end", "device_refused"))
        assert line["reason"] == reason, line
        assert line["hint"], line

    def alone(self):
        """It is gone, and nothing is left of it."""
        self._last.close()
        wait_until(lambda: len(descriptors(self.proxy.pid)) == self._at_rest)


@pytest.fixture
def site(cloud, start, tmp_path):
    faults = Faults(tmp_path / "order")
    good = [cloud.device() for _ in range(GOOD)]
    entry = cloud.device(host="127.0.0.1", on_link_loss="close")
    proxy = start(cloud, *good, entry, env=faults.env)
    maps = pathlib.Path(f"/proc/{proxy.pid}/maps").read_text()
    if "fail_syscall.so" not in maps:
        pytest.skip("the dynamic loader has not loaded fail_syscall.so")
    with GoodSite(good, lambda _: Client(proxy.port),
                  lambda: Client(cloud.broker_port)) as devices:
        devices.works()
        here = Site(cloud, proxy, faults, entry)
        yield here
        here.alone()
        # the others have lost nothing, and it may come again
        devices.works()
        again, _ = here.online()
        again.publish(here.topic, "again", qos=1)
        here.alone()
        ends = proxy.logs("session_end")
        assert {line["label"] for line in ends} <= {entry["label"]}, ends


# At the door

def test_connections_that_are_aborted(site):
    with site.fails("accept4", errno.ECONNABORTED, times=TIMES):
        site.online()
    assert not site.proxy.logs("accept_paused")


@pytest.mark.parametrize("error, reason", [
    (errno.EMFILE, "no_descriptors"), (errno.ENOMEM, "out_of_memory")])
def test_no_more_can_be_accepted(site, error, reason):
    with site.fails("accept4", error, times=2):
        device = site.device()
        device.send_connect(site.entry["label"])
        line = site.proxy.wait_log("accept_paused")
        assert (line["reason"], line["detail"]) == (reason,
                                                    os.strerror(error))
        assert device.connack().code == 0
    assert len(site.proxy.logs("accept_paused")) == 1


@pytest.mark.parametrize("at, answer", [
    (1, []), (2, connack(4, 3, None)), (3, connack(4, 3, None)),
    (4, connack(4, 3, None))],
    ids=["at the door", "at home", "connecting", "connected"])
def test_socket_that_cannot_be_watched(site, at, answer):
    with site.fails("epoll_ctl", errno.ENOMEM, at=at):
        device = site.device()
        device.send_connect(site.entry["label"])
        assert device.until_closed() == answer
    site.ended("out_of_memory")


# On the way to the cloud

@pytest.mark.parametrize("error, reason", [
    (errno.EMFILE, "no_descriptors"), (errno.ENOBUFS, "out_of_memory")])
def test_no_socket_for_the_cloud(site, error, reason):
    device = site.device()
    with site.fails("socket", error):
        device.send_connect(site.entry["label"])
        assert device.until_closed() == connack(4, 3, None)
    site.ended(reason)


# On either side of a session

@pytest.mark.parametrize("call, error, reason, answer", [
    ("recv", errno.ENOMEM, "out_of_memory", disconnect(5, 0x97)),
    ("recv", errno.ECONNRESET, "device_lost", []),
    # a packet may have been cut off: then nothing may stand behind it
    ("send", errno.ENOMEM, "out_of_memory", []),
    ("send", errno.EPIPE, "device_lost", [])])
def test_device_side(site, call, error, reason, answer):
    device, _ = site.online(level=5)
    with site.fails(call, error, port=device.port):
        device.send(PINGREQ)
        assert device.until_closed() == answer
    site.ended(reason)


@pytest.mark.parametrize("call, error, reason, code", [
    ("read", errno.ENOMEM, "out_of_memory", 0x97),
    ("read", errno.ECONNRESET, "cloud_reset", 0x89),
    ("write", errno.ENOMEM, "out_of_memory", 0x97),
    ("write", errno.EPIPE, "cloud_reset", 0x89)])
def test_cloud_side(site, call, error, reason, code):
    device, link = site.online(level=5)
    with site.fails(call, error, port=link):
        device.send(publish(site.topic, "lost", 1, 1, 5))
        assert device.until_closed() == disconnect(5, code)
    site.ended(reason)


@pytest.mark.parametrize("error", [errno.EINTR, errno.EAGAIN],
                         ids=["EINTR", "EAGAIN"])
def test_what_has_to_be_called_again(site, error):
    device, link = site.online()
    since = site.proxy.mark()
    for call, port in (("recv", device.port), ("send", device.port),
                       ("read", link), ("write", link)):
        with site.fails(call, error, times=TIMES, port=port):
            for at in range(1, 4):
                device.publish(site.topic, f"{call} {at}", 1, at)
                device.ping()
    assert not site.proxy.logs("session_end", since=since)
    arrived = [line["payload"] for line in
               site.cloud.decisions("publish", site.entry)]
    assert arrived == [f"{call} {at}" for call in
                       ("recv", "send", "read", "write")
                       for at in range(1, 4)]
