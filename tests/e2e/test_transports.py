"""wss, mqtts, and what happens when one of them cannot be had."""

import contextlib
import socket

import pytest

import mqtt_raw as mqtt
from cloud_process import topic_of

ROOTS = "other-root.pem"        # of the cloud's mqtts port


@pytest.fixture
def nobody():
    """A port that refuses."""
    with contextlib.closing(socket.socket()) as taken:
        taken.bind(("127.0.0.1", 0))    # and no listen()
        yield taken.getsockname()[1]


@pytest.fixture
def site(cloud, certs, start):
    """site(entry, ..., transports=...) -> Proxy"""
    def build(*entries, transports="mqtts", **settings):
        return start(cloud, *entries, **{
            "tls_mqtts": {"ca_file": certs / ROOTS}, **settings,
            "cloud": {"transports": transports,
                      "mqtts_port": cloud.mqtts_port,
                      **settings.get("cloud", {})}})

    return build


def logins(cloud, entry, count=1):
    """By which transports so many logins came."""
    cloud.wait("login", entry, accepted=True, count=count)
    return [line["transport"]
            for line in cloud.decisions("login", entry, accepted=True)]


@pytest.mark.parametrize("level", [3, 4, 5])
def test_mqtts(cloud, site, dial, listen, level):
    """The same session without WebSocket: signed as over TLS."""
    entry = cloud.device()
    proxy = site(entry)
    app = listen(cloud, topic_of(entry))
    device = dial(proxy)
    device.log_in(entry["label"], level)
    device.subscribe(topic_of(entry, "get"))
    device.publish(topic_of(entry), "up", qos=1)
    assert app.receive().payload == b"up"
    app.publish(topic_of(entry, "get"), "down", qos=1)
    assert device.receive().payload == b"down"
    up = proxy.wait_log("session_up")
    assert (up["transport"], up["port"]) == ("mqtts", str(cloud.mqtts_port))
    login = cloud.wait("login", entry)
    assert (login["transport"], login["secure_mode"]) == ("mqtts", "2")


@pytest.mark.parametrize("size", [100_000, 300_000])
def test_big_messages_by_mqtts(cloud, site, dial, listen, size):
    """More than one TLS record, and than the proxy gathers."""
    entry = cloud.device()
    proxy = site(entry)
    payload = bytes(at % 251 for at in range(size))
    if size > 256 * 1024:       # the cloud takes no more
        app = dial(cloud)
        app.log_in("app")
    else:
        app = listen(cloud, topic_of(entry))
    device = dial(proxy)
    device.log_in(entry["label"])
    device.subscribe(topic_of(entry, "get"))
    if size <= 256 * 1024:
        device.publish(topic_of(entry), payload, qos=1)
        assert app.receive().payload == payload
    app.publish(topic_of(entry, "get"), payload, qos=1)
    assert device.receive().payload == payload


def test_the_cloud_is_pinged_by_mqtts(cloud, site, dial):
    entry = cloud.device()
    proxy = site(entry, cloud={"ping_interval": "200ms"})
    device = dial(proxy)
    device.log_in(entry["label"], keep_alive=0)
    cloud.wait("ping", entry, count=3)
    assert not proxy.logs("session_end")


def test_leaving_by_mqtts(cloud, site, dial):
    """DISCONNECT goes up when the device takes its leave, and only then."""
    polite, lost = cloud.device(), cloud.device()
    proxy = site(polite, lost)
    for entry, last in ((polite, [mqtt.DISCONNECT]), (lost, [])):
        device = dial(proxy)
        device.log_in(entry["label"])
        device.send(*(mqtt.publish(topic_of(entry), f"{at}")
                      for at in range(20)), *last)
        device.close()
        proxy.wait_log("session_end", label=entry["label"])
    assert cloud.wait("disconnect", polite)["clean"]
    assert not cloud.wait("disconnect", lost)["clean"]


def test_each_product_has_its_own(cloud, site, dial):
    one, other = cloud.device(), cloud.device(transports="wss")
    proxy = site(one, other)
    for entry in (one, other):
        dial(proxy).log_in(entry["label"])
    assert logins(cloud, one) == ["mqtts"]
    assert logins(cloud, other) == ["wss"]


def test_the_roots_of_one_are_not_those_of_the_other(cloud, certs, start,
                                                     dial):
    entry = cloud.device(transports="mqtts", mqtts_port=cloud.mqtts_port)
    proxy = start(cloud, entry)
    device = dial(proxy)
    device.send_connect(entry["label"])
    assert device.connack().code == 3
    end = proxy.wait_log("session_end")
    assert end["reason"] == "cert_untrusted"
    assert "tls_mqtts" in end["hint"]


def test_the_second_is_tried(cloud, site, dial, nobody):
    """and then goes first: the first costs nothing any more."""
    entry, other = cloud.device(), cloud.device()
    proxy = site(entry, other, transports="wss, mqtts",
                 cloud={"port": nobody}, limits={"workers": 1})
    dial(proxy).log_in(entry["label"])
    failed = proxy.wait_log("transport_failed")
    assert (failed["transport"], failed["next"]) == ("wss", "mqtts")
    assert failed["reason"] == "cloud_refused"
    assert str(nobody) in failed["detail"]
    assert failed["label"] == entry["label"]
    dial(proxy).log_in(other["label"])
    assert logins(cloud, entry) == logins(cloud, other) == ["mqtts"]
    assert len(proxy.logs("transport_failed")) == 1
    assert not proxy.logs("session_end")


def test_what_worked_is_given_up_when_it_fails(cloud, site, dial, nobody):
    entry = cloud.device()
    places = {"port": nobody, "mqtts_port": cloud.mqtts_port}
    proxy = site(entry, transports="wss, mqtts", cloud=places,
                 limits={"workers": 1})
    with dial(proxy) as device:
        device.log_in(entry["label"])
    proxy.wait_log("session_end", label=entry["label"])
    text = (proxy.folder / "proxy.ini").read_text()
    (proxy.folder / "proxy.ini").write_text(
        text.replace(f"= {cloud.mqtts_port}\n", "= swap\n")
            .replace(f"= {nobody}\n", f"= {cloud.port}\n")
            .replace("= swap\n", f"= {nobody}\n"))
    proxy.reload()
    dial(proxy).log_in(entry["label"])
    assert logins(cloud, entry, 2) == ["mqtts", "wss"]
    assert proxy.logs("transport_failed")[-1]["transport"] == "mqtts"


def test_the_upgrade_may_fail_too(cloud, site, dial):
    """A portal in the way of wss, and none in the way of mqtts."""
    entry = cloud.device()
    proxy = site(entry, transports="wss, mqtts")
    cloud.order("fault", upgrade_status=302, upgrade_headers={
        "Location": "http://hotel.example/login"})
    dial(proxy).log_in(entry["label"])
    assert proxy.wait_log("transport_failed")["reason"] == \
        "upgrade_redirected"
    assert logins(cloud, entry) == ["mqtts"]


def test_neither_can_be_had(cloud, site, dial, nobody):
    """The device is told once; the log tells of both."""
    entry = cloud.device()
    proxy = site(entry, transports="wss, mqtts",
                 cloud={"port": nobody, "mqtts_port": nobody})
    device = dial(proxy)
    device.send_connect(entry["label"])
    assert device.connack().code == 3
    assert proxy.wait_log("transport_failed")["transport"] == "wss"
    end = proxy.wait_log("session_end")
    assert (end["reason"], end["port"]) == ("cloud_refused", str(nobody))


def test_a_refused_login_is_not_tried_elsewhere(cloud, site, dial):
    """It would be refused there too, and costs a login."""
    entry = cloud.device(device_secret="not-this-one")
    proxy = site(entry, transports="wss, mqtts")
    device = dial(proxy)
    device.send_connect(entry["label"])
    assert device.connack().code == 4
    cloud.wait("login", entry, accepted=False)
    assert not proxy.logs("transport_failed")
