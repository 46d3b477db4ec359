"""Network namespaces of the tests' own, and links between them to break.

    with Namespace() as lan, Namespace() as site:
        lan.link(site, "10.9.1.2/24", "10.9.1.1/24")
        with site.entered():
            ... what this thread opens and starts lives at the site ...
        lan.drop("10.9.1.2")        # not a word of that, to nobody

Nothing of the host's own network is touched or needed. Takes root, iproute2
and nftables: Unavailable says what is missing.
"""

import contextlib
import ctypes
import os
import re
import shutil
import subprocess
import threading

TIMEOUT = 30
CLONE_NEWNET = 0x40000000

_libc = ctypes.CDLL(None, use_errno=True)
_MISSING = re.compile(r"not permitted|not supported|Unknown device type"
                      r"|Protocol not available")
# where packets come in, before the namespace itself sees them: who sent one
# that is lost is not told
_GATE = ("add table inet weather; add chain inet weather gate"
         " { type filter hook prerouting priority 0; }")


class Unavailable(Exception):
    """This machine gives no namespaces, or not to this user."""


class Namespace:
    """A network of its own with a loopback; lives as long as somebody is
    inside, or has it open."""

    def __init__(self):
        for tool in ("ip", "nft"):
            if shutil.which(tool) is None:
                raise Unavailable(f"{tool} is not installed")
        self._fd = _new()
        self._links = 0
        try:
            self._set_up("ip", "link", "set", "lo", "up")
            self._set_up("nft", _GATE)
        except BaseException:
            self.close()
            raise

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        os.close(self._fd)

    # Inside

    @contextlib.contextmanager
    def entered(self):
        """Meanwhile the calling thread is inside: its new sockets, threads
        and processes are and stay there."""
        home = _here()
        try:
            _go(self._fd)
            try:
                yield self
            finally:
                _go(home)
        finally:
            os.close(home)

    def run(self, *argv):
        """Runs a command to its end, which has to be good; returns what it
        wrote."""
        with self.entered():
            done = subprocess.run(argv, stdin=subprocess.DEVNULL, text=True,
                                  capture_output=True, timeout=TIMEOUT)
        if done.returncode != 0:
            raise RuntimeError(f"{' '.join(argv)}: {done.stderr.strip()}")
        return done.stdout

    def popen(self, argv, **options):
        with self.entered():
            return subprocess.Popen(argv, **options)

    # Links

    def link(self, other, here, there):
        """A cable to another namespace; addresses as "10.9.1.1/24". Returns
        the names of its two ends."""
        ends = self._next_name(), other._next_name()
        self._set_up("ip", "link", "add", ends[0], "type", "veth", "peer",
                     "name", ends[1], "netns",
                     f"/proc/{os.getpid()}/fd/{other._fd}")
        for space, name, address in zip((self, other), ends, (here, there)):
            space.address(name, address)
            space.run("ip", "link", "set", name, "up")
        return ends

    def address(self, name, address):
        """One more address for a link's end, at once good to use."""
        self.run("ip", "address", "add", address, "dev", name, *(
            ["nodad"] if ":" in address else []))

    # Weather

    def drop(self, address=None):
        """From now on what comes in from that address or for it is lost;
        None: all that comes in by a cable. Packets that go out are for the
        other namespace to lose."""
        family = "ip6" if ":" in (address or "") else "ip"
        for rule in ([f"{family} saddr {address}", f"{family} daddr {address}"]
                     if address else ["iifname != lo"]):
            self.run("nft", f"add rule inet weather gate {rule} drop")

    def drop_only(self, *addresses):
        """From one moment to the next: what comes in from these addresses or
        for them is lost, and nothing else any more. IPv4."""
        self.run("nft", "; ".join([
            "flush chain inet weather gate",
            *(f"add rule inet weather gate ip {way} {address} drop"
              for address in addresses for way in ("saddr", "daddr"))]))

    def heal(self):
        """Nothing is lost any more."""
        self.run("nft", "flush chain inet weather gate")

    def _next_name(self):
        self._links += 1
        return f"cable{self._links}"

    def _set_up(self, *argv):
        try:
            self.run(*argv)
        except RuntimeError as why:
            if _MISSING.search(str(why)):
                raise Unavailable(str(why)) from None
            raise


def _here():
    return os.open("/proc/thread-self/ns/net", os.O_RDONLY)


def _go(fd):
    if _libc.setns(fd, CLONE_NEWNET) != 0:
        raise OSError(ctypes.get_errno(), "setns")


def _new():
    """The descriptor of a fresh namespace, which a thread makes that has no
    other work: nobody else changes place for it."""
    made = []

    def make():
        if _libc.unshare(CLONE_NEWNET) == 0:
            made.append(_here())
        else:
            made.append(OSError(ctypes.get_errno(), os.strerror(
                ctypes.get_errno())))

    thread = threading.Thread(target=make)
    thread.start()
    thread.join()
    if isinstance(made[0], OSError):
        raise Unavailable(f"unshare: {made[0].strerror}")
    return made[0]
