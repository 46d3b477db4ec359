"""The ways out that sites have: the proxy reaches the cloud through them, and
says what to mend when it cannot."""

import base64
import socket
import subprocess
import urllib.parse

import pytest

from cloud_process import NAME, topic_of
from egress import (FORBIDDEN, IDLE_CUT_S, PASSWORD, USER, Tinyproxy,
                    free_port)
from hostile import BlackHole, Hostile, Peer
from proxy import TIMEOUT, environment, program

TRANSPORTS = ("wss", "mqtts")
MATRIX = ("direct", "http", "basic", "digest", "https", "socks5",
          "socks5+password")
WITH_PASSWORD = ("basic", "digest", "socks5+password")
# what nobody else can resolve is not found, as fast as that can be told
UNRESOLVED = {"resolve_timeout": "400ms"}
NOT_FOUND = ("resolve_failed", "resolve_timeout")
SECRETS = [form for password in (PASSWORD, Tinyproxy.password)
           for form in (password, urllib.parse.quote(password, safe=""),
                        base64.b64encode(f"{USER}:{password}".encode())
                        .decode())]


class Site:
    """A proxy that has to go out some way, and its device."""

    def __init__(self, cloud, start, certs, url, /, transport="wss",
                 host=NAME, env=None, port=None, keys=None, **settings):
        self.cloud = cloud
        self.since = 0
        self.port = port or (cloud.mqtts_port if transport == "mqtts"
                             else cloud.port)
        self.entry = cloud.device(host=host, **(keys or {}))
        own = {"cloud": {"transports": transport,
                         "port": self.port, "mqtts_port": self.port},
               "tls_mqtts": {"ca_file": certs / "other-root.pem"}}
        if url is not None:
            own["egress"] = {"proxy": url}
        self.proxy = start(cloud, self.entry, env=env, **{
            name: {**own.get(name, {}), **settings.get(name, {})}
            for name in {**own, **settings}})

    @property
    def target(self):
        return f"{self.entry['host']}:{self.port}"

    def end(self, *reasons):
        line = self.proxy.wait_log("session_end", since=self.since,
                                   label=self.entry["label"])
        assert line["reason"] in reasons, line
        assert line["detail"] and line["hint"], line
        return f"{line['detail']} ({line['hint']})"


@pytest.fixture
def site(cloud, start, certs):
    """site(URL, ...) -> Site; a password of an egress proxy must not be in
    the log, which tells all there is to tell."""
    def build(url, /, at=cloud, **options):
        return Site(at, start, certs, url, **options)

    yield build
    for proxy in start.proxies:
        log = proxy.raw_log()
        for secret in SECRETS:
            assert secret not in log, f"the log holds {secret}"


@pytest.fixture
def refused(dial):
    """refused(site, reason, ...) -> what the log says; the device is told
    that the cloud is not available."""
    def knock(here, *reasons, level=4):
        device = dial(here.proxy)
        device.send_connect(here.entry["label"], level)
        assert device.connack().code == (0x88 if level == 5 else 3)
        assert device.until_closed() == []
        return here.end(*reasons)

    return knock


@pytest.fixture
def both_ways(dial, listen):
    """both_ways(site): messages pass, up and down, more than a buffer
    takes."""
    def carry(here):
        cloud, entry = here.cloud, here.entry
        up, down = topic_of(entry, "up"), topic_of(entry, "down")
        app = listen(cloud, up)
        device = dial(here.proxy)
        device.log_in(entry["label"])
        device.subscribe(down)
        for payload in (b"21.5", bytes(range(256)) * 800):
            device.publish(up, payload, qos=1)
            assert app.receive().payload == payload
            app.publish(down, payload, qos=1)
            assert device.receive().payload == payload
        device.close()
        here.proxy.wait_log("session_end", label=entry["label"])
        return cloud.wait("login", entry)

    return carry


# What works


@pytest.mark.parametrize("way, transport", [
    *((way, transport) for way in MATRIX for transport in TRANSPORTS),
    ("https+basic", "wss"), ("tinyproxy", "wss"), ("tinyproxy+basic", "wss")])
def test_messages_pass(ways, site, both_ways, way, transport):
    if way == "direct":
        here = site("none", transport=transport, host="localhost")
    else:
        here = site(ways[way].url, transport=transport)
        before = len(ways[way].tunnels())
    login = both_ways(here)
    assert login["accepted"] and login["secure_mode"] == "2"
    assert login["transport"] == transport
    assert login["sni"] == here.entry["host"]
    if transport == "wss":
        assert login["host"] == here.target
    if way != "direct":
        ways[way].wait_tunnel(here.target, before)


def test_without_tls(ways, site, both_ways, plain_cloud):
    way = ways["http"]
    before = len(way.tunnels())
    here = site(way.url, at=plain_cloud, transport="ws")
    assert both_ways(here)["secure_mode"] == "3"
    way.wait_tunnel(here.target, before)


@pytest.mark.parametrize("way", ["basic", "digest"])
def test_a_challenge_is_answered_once(ways, site, dial, way):
    """Later dials know what the proxy wants."""
    before = ways[way].challenges()
    here = site(ways[way].url)
    for count in (1, 2, 3):
        with dial(here.proxy) as device:
            device.log_in(here.entry["label"])
        here.proxy.wait_log("session_end", count=count)
    assert ways[way].challenges() - before == 1


@pytest.mark.parametrize("way", WITH_PASSWORD)
def test_password_from_a_file(ways, site, both_ways, tmp_path, way):
    secret = tmp_path / "egress.password"
    secret.write_text(PASSWORD + "\n")
    secret.chmod(0o600)
    both_ways(site(ways[way].url_with(USER), egress={
        "password_file": secret}))


def test_a_password_is_mended(ways, site, refused, both_ways, tmp_path):
    secret = tmp_path / "egress.password"
    secret.write_text("not-this-one\n")
    secret.chmod(0o600)
    here = site(ways["basic"].url_with(USER), egress={
        "password_file": secret})
    refused(here, "egress_auth")
    secret.write_text(PASSWORD + "\n")
    assert here.proxy.reload()["event"] == "reloaded"
    both_ways(here)


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_through_a_forwarded_port(site, both_ways, transport):
    """Then the host is not the cloud's, but its name is still known."""
    here = site("none", transport=transport, host="127.0.0.1",
                keys={"server_name": NAME})
    login = both_ways(here)
    assert login["sni"] == NAME
    if transport == "wss":
        assert login["host"] == f"{NAME}:{here.port}"


# What does not


@pytest.mark.parametrize("level", [3, 4, 5])
@pytest.mark.parametrize("way", WITH_PASSWORD)
def test_wrong_password(ways, site, refused, way, level):
    here = site(ways[way].url_with(USER, "not-this-one"))
    said = refused(here, "egress_auth", level=level)
    assert "127.0.0.1" in said and str(ways[way].port) in said
    assert "not-this-one" not in here.proxy.raw_log()


@pytest.mark.parametrize("way", ["basic", "digest", "socks5+password"])
def test_a_refused_password_is_tried_once(ways, site, refused, way):
    """Each device would try it again, until the account is locked."""
    here = site(ways[way].url_with(USER, "not-this-one"))
    assert "not asked again" not in refused(here, "egress_auth")
    here.since = here.proxy.mark()
    assert "not asked again" in refused(here, "egress_auth")


@pytest.mark.parametrize("way, word", [
    ("basic", "Basic"), ("digest", "Digest"), ("tinyproxy+basic", "Basic"),
    ("socks5+password", "SOCKS5")])
def test_no_password(ways, site, refused, way, word):
    here = site(ways[way].url_with())
    said = refused(here, "egress_auth")
    assert word in said and "[egress]" in said


def test_a_scheme_that_no_password_serves(ways, site, refused):
    """What people do then is to run a helper that speaks it."""
    said = refused(site(ways["negotiate"].url_with(USER, PASSWORD)),
                   "egress_auth")
    assert "Negotiate" in said and "cntlm" in said


@pytest.mark.parametrize("scheme", ["http", "https", "socks5"])
def test_proxy_is_down(site, refused, scheme):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))    # and no listen()
        port = taken.getsockname()[1]
        said = refused(site(f"{scheme}://127.0.0.1:{port}"),
                       "egress_unreachable")
        assert "127.0.0.1" in said and str(port) in said


def test_proxy_whose_name_is_not_found(site, refused):
    said = refused(site("http://proxy.invalid:3128", cloud=UNRESOLVED),
                   "egress_unreachable", "egress_timeout")
    assert "proxy.invalid" in said


def test_proxy_that_drops_silently(site, refused):
    with BlackHole() as nowhere:
        said = refused(site(f"http://127.0.0.1:{nowhere.port}",
                            cloud={"tcp_timeout": "400ms"}),
                       "egress_unreachable", "egress_timeout")
        assert "127.0.0.1" in said and str(nowhere.port) in said


@pytest.mark.parametrize("scheme", ["http", "socks5"])
def test_proxy_that_says_nothing(site, refused, scheme):
    with Hostile() as server:
        server.play(Peer.hold)
        said = refused(site(f"{scheme}://127.0.0.1:{server.port}",
                            egress={"timeout": "400ms"}), "egress_timeout")
        assert str(server.port) in said


@pytest.mark.parametrize("scheme", ["http", "socks5"])
def test_no_proxy_on_that_port(site, refused, scheme):
    def greets(peer):
        peer.receive()
        peer.send(b"SSH-2.0-OpenSSH_9.2\r\n")
        peer.hold()

    with Hostile() as server:
        server.play(greets)
        refused(site(f"{scheme}://127.0.0.1:{server.port}"),
                "egress_bad_answer")


@pytest.mark.parametrize("scheme", ["http", "socks5"])
def test_proxy_that_leaves(site, refused, scheme):
    with Hostile() as server:
        server.play(Peer.receive)
        refused(site(f"{scheme}://127.0.0.1:{server.port}"),
                "egress_bad_answer", "egress_unreachable")


def test_proxy_forbids(ways, site, refused):
    assert "403" in refused(site(ways["http"].url, host=FORBIDDEN),
                            "egress_refused")


@pytest.mark.parametrize("way", ["http", "socks5", "tinyproxy"])
def test_proxy_cannot_reach_the_cloud(ways, site, refused, way):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))    # and no listen()
        port = taken.getsockname()[1]
        said = refused(site(ways[way].url, port=port), "egress_cannot_reach",
                       # tinyproxy says 500
                       *(["egress_refused"] if way == "tinyproxy" else []))
        assert f"{NAME}:{port}" in said


def test_proxy_whose_certificate_is_not_trusted(ways, site, refused, certs):
    here = site(ways["https"].url,
                tls={"ca_file": certs / "other-root.pem"})
    said = refused(here, "cert_untrusted")
    assert "localhost" in said and str(ways["https"].port) in said


def test_certificate_of_the_cloud_behind_a_proxy(ways, site, refused, cloud,
                                                 certs):
    """is judged as ever: the tunnel does not make it good."""
    cloud.order("fault", chain=str(certs / "wrong-name.pem"))
    said = refused(site(ways["https"].url), "cert_wrong_name")
    assert NAME in said


# Silence


def test_proxy_cuts_silent_tunnels(ways, site, dial):
    here = site(ways["idle"].url, keys={"on_link_loss": "close"})
    device = dial(here.proxy)
    device.log_in(here.entry["label"])
    assert device.until_closed() == []
    here.end("cloud_closed", "cloud_reset")


def test_pings_keep_a_tunnel_open(ways, site, dial):
    interval_ms = IDLE_CUT_S * 250
    here = site(ways["idle"].url,
                cloud={"ping_interval": f"{interval_ms}ms"})
    device = dial(here.proxy)
    device.log_in(here.entry["label"])
    # Squid looks once a second, so that a cut may be late by that
    here.cloud.wait("ping", here.entry,
                    count=(2 * IDLE_CUT_S + 1) * 1000 // interval_ms)
    device.publish(topic_of(here.entry), "still here", qos=1)
    assert not here.proxy.logs("session_end")


# The environment


@pytest.mark.parametrize("variable", [
    "https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"])
@pytest.mark.parametrize("way", ["basic", "socks5"])
def test_environment(ways, site, both_ways, way, variable):
    before = len(ways[way].tunnels())
    here = site(None, env={variable: ways[way].url})
    both_ways(here)
    ways[way].wait_tunnel(here.target, before)


@pytest.mark.parametrize("variable", ["http_proxy", "all_proxy"])
def test_environment_without_tls(ways, site, both_ways, plain_cloud,
                                 variable):
    before = len(ways["http"].tunnels())
    here = site(None, at=plain_cloud, transport="ws",
                env={variable: ways["http"].url})
    both_ways(here)
    ways["http"].wait_tunnel(here.target, before)


@pytest.mark.parametrize("env, settings", [
    ({"http_proxy": "{url}"}, {}),              # for ws only
    ({"https_proxy": "{url}", "no_proxy": NAME}, {}),
    ({"https_proxy": "{url}", "NO_PROXY": "other.example, .test"}, {}),
    ({"https_proxy": "{url}", "no_proxy": "*"}, {}),
    ({"https_proxy": "{url}"}, {"proxy": "none"}),
    ({"https_proxy": "{url}"}, {"no_proxy": NAME}),
    ({}, {"proxy": "{url}", "no_proxy": NAME})],
    ids=lambda value: ",".join(f"{key}={text}"
                               for key, text in value.items()))
def test_dialled_directly(ways, site, refused, env, settings):
    """Then nobody knows the name."""
    url = ways["http"].url
    env, settings = ({key: text.format(url=url)
                      for key, text in each.items()}
                     for each in (env, settings))
    here = site(None, env=env, egress=settings, cloud=UNRESOLVED)
    assert NAME in refused(here, *NOT_FOUND)


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1"])
def test_loopback_needs_no_proxy(site, both_ways, host):
    nowhere = f"http://127.0.0.1:{free_port()}"
    both_ways(site(None, host=host, env={"https_proxy": nowhere,
                                         "all_proxy": nowhere}))


def test_environment_that_is_wrong(site, start):
    with pytest.raises(AssertionError):
        site(None, env={"https_proxy": f"ftp://{USER}:hush-hush@x:1"})
    proxy = start.proxies.pop()     # it has ended, and not in order
    proxy.kill()
    assert proxy.process.returncode == 3
    assert "https_proxy" in proxy.raw_log()
    assert "hush-hush" not in proxy.raw_log()


# The password, of which the log says nothing (see site)


@pytest.mark.parametrize("where", ["settings", "environment"])
def test_check_does_not_show_the_password(ways, site, where):
    url = ways["basic"].url
    env = {"https_proxy": url} if where == "environment" else {}
    here = site(None if env else url, env=env)
    check = subprocess.run(
        [program(), "check", "--config", here.proxy.folder / "proxy.ini"],
        capture_output=True, text=True, timeout=TIMEOUT, check=False,
        env={**environment(), **env})
    said = check.stdout + check.stderr
    assert check.returncode == 0, said
    for secret in SECRETS:
        assert secret not in said
    if where == "settings":
        assert f"{USER}:***@127.0.0.1:{ways['basic'].port}" in said
