"""The parts every test is made of: cloud, proxy, devices, applications."""

import contextlib
import socket

import pytest

from cloud_process import Cloud, make_certs
from egress import Ways
from mqtt_raw import Client
from proxy import Proxy


@pytest.fixture(scope="session")
def certs(tmp_path_factory):
    """Folder of a throw-away PKI, see tests/cloud/make-certs.sh."""
    folder = tmp_path_factory.mktemp("certs")
    make_certs(folder)
    return folder


@pytest.fixture(scope="session")
def wss_cloud(certs, tmp_path_factory):
    with contextlib.closing(
            Cloud(tmp_path_factory.mktemp("cloud"), certs)) as cloud:
        yield cloud


@pytest.fixture(scope="session")
def ws_cloud(tmp_path_factory):
    with contextlib.closing(
            Cloud(tmp_path_factory.mktemp("cloud"))) as cloud:
        yield cloud


@pytest.fixture(scope="session")
def ways(certs):
    """Egress proxies by name; each starts when it is first asked for."""
    with contextlib.closing(Ways(certs)) as running:
        yield running


@pytest.fixture
def cloud(wss_cloud):
    """The emulated cloud, for this test; at its end the cloud must have had
    nothing to complain about."""
    wss_cloud.begin()
    yield wss_cloud
    wss_cloud.audit()


@pytest.fixture
def plain_cloud(ws_cloud):
    """As cloud, but without TLS."""
    ws_cloud.begin()
    yield ws_cloud
    ws_cloud.audit()


class Starter:
    """Starts proxies, in folders of their own."""

    def __init__(self, folder, certs):
        self.proxies = []
        self._folder = folder
        self._certs = certs

    def settings(self, cloud, more):
        """Those that lead to the cloud, and more."""
        own = {"cloud": {"port": cloud.port,
                         "transports": "wss" if cloud.tls else "ws"},
               "tls": {"ca_file": self._certs / "root.pem"}}
        return {name: {**own.get(name, {}), **more.get(name, {})}
                for name in {**own, **more}}

    def __call__(self, cloud, /, *devices, env=None, sockets=(), **settings):
        """A running proxy for these entries; settings by section."""
        proxy = Proxy(self._folder / f"proxy-{len(self.proxies)}",
                      list(devices), self.settings(cloud, settings), env,
                      sockets)
        proxy.start()
        self.proxies.append(proxy)
        return proxy.ready()


@pytest.fixture
def start(tmp_path, certs):
    """start(cloud, entry, ..., limits={...}) -> Proxy; ended and checked
    when the test is over."""
    starter = Starter(tmp_path, certs)
    with contextlib.ExitStack() as last:
        last.callback(lambda: [proxy.kill() for proxy in starter.proxies])
        yield starter
        for proxy in starter.proxies:
            proxy.finish()


@pytest.fixture
def dial(start):
    """dial(proxy_or_cloud, ...) -> Client: a device of the LAN, or, with a
    cloud, an application at its broker. Needs start, so that devices close
    before the proxy ends."""
    with contextlib.ExitStack() as last:
        def dial_one(peer, **options):
            port = getattr(peer, "broker_port", None) or peer.port
            return last.enter_context(Client(port, **options))

        yield dial_one


@pytest.fixture
def listen(dial):
    """listen(cloud, filter, ...) -> Client: an application of the cloud that
    has subscribed."""
    def listen_to(cloud, *filters, qos=1, level=4):
        app = dial(cloud)
        app.log_in(f"app-{app.port}", level)
        app.subscribe(*filters, qos=qos)
        return app

    return listen_to


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item):
    """Shows at a failure what the parts have said."""
    outcome = yield
    report = outcome.get_result()
    if not report.failed:
        return
    parts = getattr(item, "funcargs", {})
    if "start" in parts:
        for proxy in parts["start"].proxies:
            report.sections.append((proxy.folder.name, proxy.raw_log()))
    if "ways" in parts:
        report.sections.append(("egress proxies", parts["ways"].said()))
    for name in ("cloud", "plain_cloud"):
        if name in parts:
            report.sections.append((name, "\n".join(
                map(str, parts[name].decisions()[-100:]))))


@pytest.fixture
def port():
    """A free one, for what is told of it in a file."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]
