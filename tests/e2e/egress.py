"""Egress proxies as sites have them: real ones, on free ports of loopback.

    with Squid(certs, login="basic") as way:
        ... [egress] proxy = way.url ...
        way.wait_tunnel("cloud.test:443")

Each resolves names by a hosts file of its own, so a name that only this file
has proves that nobody else was asked. They run as nobody when started by
root, since some insist, and end with the test process whatever happens.
"""

import contextlib
import hashlib
import os
import pathlib
import random
import re
import shutil
import socket
import subprocess
import tempfile
import urllib.parse

from cloud_process import NAME
from kernel import LISTEN, connections, wait_until
from proxy import TIMEOUT, environment

# a user whose password has to be written otherwise in a URL
USER, PASSWORD = "site", "egress:pass/w@rd%41"
REALM = "egress"
FORBIDDEN = "forbidden.test"
ATTEMPTS = 5
NOBODY = 65534

_SBIN = os.environ.get("PATH", "") + ":/usr/sbin:/sbin"


def _program(name):
    found = shutil.which(name, path=_SBIN)
    assert found, f"{name} is not installed"
    return found


def _library(pattern):
    """A library as LD_PRELOAD takes it, whatever the machine."""
    found = sorted(pathlib.Path("/usr/lib").glob(f"*-linux-*/{pattern}"))
    assert found, f"no {pattern} is installed"
    return str(found[0])


def faketime(when):
    """The environment in which the wall clock stands at another time, but
    runs; all other clocks are as ever."""
    return {"LD_PRELOAD": _library("faketime/libfaketime.so.1"),
            "FAKETIME": f"@{when}", "FAKETIME_DONT_FAKE_MONOTONIC": "1",
            "TZ": "UTC",
            # libfaketime takes the place that a sanitizer wants
            "ASAN_OPTIONS": os.environ.get("ASAN_OPTIONS", "")
            + ":verify_asan_link_order=0"}


def free_port():
    """Not one of those that connections are given: of these another may be
    taken at any moment."""
    while True:
        port = random.randrange(10000, 32000)
        with contextlib.suppress(OSError), socket.socket() as probe:
            probe.bind(("127.0.0.1", port))
            return port


class Egress:
    """A proxy as a process. A subclass says how it is started."""

    scheme = "http"
    host = "127.0.0.1"
    log = "output"
    # a line of the log that tells of a tunnel, and to where
    tunnel = None
    login = None
    password = PASSWORD

    def __init__(self):
        self.port = 0
        self._process = None
        self._folder = None

    # Life

    def __enter__(self):
        self._folder = pathlib.Path(tempfile.mkdtemp(prefix="egress-"))
        try:
            self._write("hosts", f"127.0.0.1 localhost {NAME} {FORBIDDEN}\n")
            self._prepare()
            for _ in range(ATTEMPTS):
                # another process may take a free port before this one does
                self.port = free_port()
                if self._start():
                    return self
            raise AssertionError(
                f"{type(self).__name__}, login {self.login}, did not start:\n"
                + self._read("output"))
        except BaseException:
            self.close()
            raise

    def __exit__(self, *_):
        self.close()

    def terminate(self):
        """Begins the end."""
        if self._process:
            self._process.terminate()

    def close(self):
        self.terminate()
        if self._process:
            try:
                self._process.wait(TIMEOUT)
            finally:
                self._process.kill()
                self._process.wait()
        shutil.rmtree(self._folder)

    def _start(self):
        command = [_program("setpriv"), "--pdeathsig", "KILL"]
        if os.geteuid() == 0:
            command += ["--reuid", str(NOBODY), "--regid", str(NOBODY),
                        "--clear-groups"]
            for path in (self._folder, *self._folder.iterdir()):
                os.chown(path, NOBODY, NOBODY)
        with open(self._folder / "output", "wb") as output:
            self._process = subprocess.Popen(
                command + self._command(), cwd=self._folder,
                stdin=subprocess.DEVNULL, stdout=output,
                stderr=subprocess.STDOUT,
                env={**environment(), **self._environment()})
        wait_until(lambda: self._process.poll() is not None
                   or self._listens())
        return self._process.poll() is None

    def _listens(self):
        return LISTEN in [state for state, _ in connections(local=self.port)]

    # What is different

    def _prepare(self):
        """Writes files that do not depend on the port."""

    def _command(self):
        raise NotImplementedError

    def _environment(self):
        """Names are resolved by the hosts file alone."""
        return {"LD_PRELOAD": _library("libnss_wrapper.so"),
                "NSS_WRAPPER_HOSTS": str(self._folder / "hosts")}

    def _write(self, name, text):
        (self._folder / name).write_text(text)
        return self._folder / name

    def _read(self, name):
        try:
            return (self._folder / name).read_text(errors="replace")
        except FileNotFoundError:
            return ""

    # What a test asks

    @property
    def url(self):
        """As it stands in [egress] proxy."""
        return self.url_with(USER, self.password) if self.login else (
            self.url_with())

    def url_with(self, user=None, password=None):
        text = ":".join(urllib.parse.quote(part, safe="")
                        for part in (user, password) if part is not None)
        return (f"{self.scheme}://{text}{'@' if text else ''}"
                f"{self.host}:{self.port}")

    def tunnels(self):
        """Where to, "host:port" as it was asked for, in order. Squid writes
        that down when a tunnel has ended."""
        return re.findall(self.tunnel, self._read(self.log))

    def last_words(self):
        return self._read(self.log).splitlines()[-10:]

    def wait_tunnel(self, target, since=0):
        """since: how many there were before."""
        wait_until(lambda: target in self.tunnels()[since:])


class Squid(Egress):
    """login: None, "basic", "digest", or "negotiate", which no password
    serves. idle: seconds after which a silent tunnel is cut."""

    log = "access.log"
    tunnel = r" TCP_TUNNEL/200 \d+ CONNECT (\S+) "
    _helpers = "/usr/lib/squid"
    # what Squid keeps of the requests it has seen is of no use here
    _config = """
hosts_file {folder}/hosts
dns_nameservers 127.0.0.1
dns_timeout 1 second
dns_defnames off
cache deny all
cache_mem 0
cache_log {folder}/cache.log
cache_store_log none
netdb_filename none
access_log stdio:{folder}/access.log
coredump_dir {folder}
pid_filename none
pinger_enable off
shutdown_lifetime 0 seconds
sslproxy_session_cache_size 0
visible_hostname egress
acl forbidden dstdomain {forbidden}
http_access deny forbidden
"""

    def __init__(self, certs=None, login=None, idle=None):
        super().__init__()
        self.login = login
        self._idle = idle
        self._certs = certs
        if certs:
            self.scheme, self.host = "https", "localhost"

    def _prepare(self):
        if self._certs:
            for name in ("server.pem", "server.key"):
                shutil.copy(self._certs / name, self._folder)
        if self.login == "basic":
            hashed = subprocess.run(
                ["openssl", "passwd", "-6", "-stdin"], input=self.password,
                capture_output=True, text=True, check=True,
                timeout=TIMEOUT).stdout
            self._write("users", f"{USER}:{hashed}")
        if self.login == "digest":
            secret = hashlib.md5(
                f"{USER}:{REALM}:{self.password}".encode()).hexdigest()
            self._write("users", f"{USER}:{REALM}:{secret}\n")

    def _command(self):
        port = f"127.0.0.1:{self.port}"
        lines = [self._config.format(folder=self._folder,
                                     forbidden=FORBIDDEN)]
        lines += [
            f"https_port {port} tls-cert={self._folder}/server.pem"
            f" tls-key={self._folder}/server.key"
            if self._certs else f"http_port {port}"]
        if self.login:
            helper = {"basic": f"{self._helpers}/basic_ncsa_auth"
                               f" {self._folder}/users",
                      "digest": f"{self._helpers}/digest_file_auth"
                                f" -c {self._folder}/users",
                      # is never asked
                      "negotiate": "/bin/cat"}[self.login]
            lines += [f"auth_param {self.login} program {helper}",
                      f"auth_param {self.login} children 1"]
            if self.login != "negotiate":
                lines += [f"auth_param {self.login} realm {REALM}"]
            lines += ["acl known proxy_auth REQUIRED",
                      "http_access allow known"]
        else:
            lines += ["http_access allow all"]
        if self._idle:
            lines += [f"read_timeout {self._idle} seconds"]
        self._write("squid.conf", "\n".join(lines) + "\n")
        return [_program("squid"), "-N", "-d", "1", "-f",
                str(self._folder / "squid.conf")]

    def _environment(self):
        return {}               # it has a hosts file of its own

    def challenges(self):
        """How often it has wanted a password."""
        return self._read(self.log).count(" TCP_DENIED/407 ")


class Tinyproxy(Egress):
    """login: None or "basic"."""

    tunnel = r": CONNECT (\S+) HTTP"
    # what its configuration can hold
    password = "tiny-password"

    def __init__(self, login=None):
        super().__init__()
        self.login = login

    def _command(self):
        lines = [f"Port {self.port}", "Listen 127.0.0.1", "Timeout 600",
                 "LogLevel Connect", "MaxClients 20"]
        if self.login:
            lines += [f"BasicAuth {USER} {self.password}"]
        self._write("tinyproxy.conf", "\n".join(lines) + "\n")
        return [_program("tinyproxy"), "-d", "-c",
                str(self._folder / "tinyproxy.conf")]


class Microsocks(Egress):
    """login: None or "password"."""

    scheme = "socks5"
    tunnel = r": connected to (\S+)"    # not before it is

    def __init__(self, login=None):
        super().__init__()
        self.login = login

    def _command(self):
        return [_program("microsocks"), "-i", "127.0.0.1",
                "-p", str(self.port),
                *(["-u", USER, "-P", self.password] if self.login else [])]


class Ways:
    """All of them by name, each started when it is first asked for."""

    def __init__(self, certs):
        self._running = {}
        self._make = {
            "http": Squid,
            "basic": lambda: Squid(login="basic"),
            "digest": lambda: Squid(login="digest"),
            "negotiate": lambda: Squid(login="negotiate"),
            "idle": lambda: Squid(idle=IDLE_CUT_S),
            "https": lambda: Squid(certs),
            "https+basic": lambda: Squid(certs, login="basic"),
            "tinyproxy": Tinyproxy,
            "tinyproxy+basic": lambda: Tinyproxy(login="basic"),
            "socks5": Microsocks,
            "socks5+password": lambda: Microsocks(login="password"),
        }

    def __getitem__(self, name):
        if name not in self._running:
            self._running[name] = self._make[name]().__enter__()
        return self._running[name]

    def said(self):
        """The last of what each has written."""
        return "\n".join(f"{name}: {line}"
                         for name, way in self._running.items()
                         for line in way.last_words())

    def close(self):
        for way in self._running.values():
            way.terminate()     # all at once, since some take their time
        for way in self._running.values():
            way.close()


# how long "idle" bears silence
IDLE_CUT_S = 2
