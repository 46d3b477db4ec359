"""Whether and when a device is dialled: the cloud's own limits are kept, a
cloud that comes back is not overrun, and whoever has failed has patience."""

import socket
import time

import pytest

import mqtt_raw as mqtt
from cloud_process import topic_of

LEVELS = [(3, 3, 3), (4, 3, 3), (5, 0x97, 0x88)]  # too many; has failed
# the steps at which a device that is new to the proxy gets its dials
STEP = 61 / 60
# by the name of the settings; and what the device is told
KINDS = {"network": "could not be connected to the cloud, 1 in a row",
         "refused": "was refused by the cloud, 1 in a row",
         "kicked": "was accepted and soon lost again, 1 in a row"}


def knock(proxy, dial, entry, level=4):
    """Connects; returns the device, and the log line about it when it was
    turned away. Its CONNACK is device.answer."""
    since = proxy.mark()
    device = dial(proxy)
    peer = f"127.0.0.1:{device.port}"
    device.send_connect(entry["label"], level)
    device.answer = device.connack().code
    if device.answer == 0:
        return device, None
    assert device.until_closed() == []
    device.close()
    return device, proxy.wait_log("session_end", since=since, peer=peer)


def let_in(proxy, dial, entry, level=4):
    device, _ = knock(proxy, dial, entry, level)
    assert device.answer == 0
    return device


def turned_away(proxy, dial, entry, code, reason, level=4):
    """Returns what the log says about it."""
    device, line = knock(proxy, dial, entry, level)
    assert device.answer == code
    assert (line["label"], line["reason"]) == (entry["label"], reason)
    return line["detail"]


def so_far(cloud, event, entry=None):
    """The decisions until now, all of them."""
    since = cloud.mark()
    cloud.order("note", text="so far")
    cloud.wait("note", since=since)
    return cloud.decisions(event, entry)


def patience(**first):
    """Settings: no other back-offs than these."""
    return {"per_device": 0, "network_max": "1h", "refused_max": "1h",
            "kicked_max": "1h", "network_first": 0, "refused_first": 0,
            "kicked_first": 0, **{f"{kind}_first": wait
                                  for kind, wait in first.items()}}


# ---- a device's own rate ----

def test_tight_loop(cloud, start, dial):
    """A device that comes and goes as fast as it can."""
    entry = cloud.device()
    began = time.time()
    proxy = start(cloud, entry, dial={"per_device": 60})
    inside = outside = 0
    while inside < 4:
        device, line = knock(proxy, dial, entry)
        if line:
            assert (device.answer, line["reason"]) == (3, "dial_rate")
            outside += 1
            continue
        inside += 1
        device.send(mqtt.DISCONNECT)
        assert device.until_closed() == []
    assert outside > 0
    logins = so_far(cloud, "login", entry)
    assert len(logins) == inside
    for at, login in enumerate(logins):
        assert login["accepted"]
        assert login["t"] > began + at * STEP - 0.02


def test_process_that_begins_again_and_again(cloud, start, dial):
    """Each time the device has one dial, not those of a whole minute."""
    entry = cloud.device()
    cloud.fault(entry, logins_per_minute=5)
    for _ in range(3):
        proxy = start(cloud, entry, dial={"per_device": 5})
        let_in(proxy, dial, entry).close()
        for _ in range(3):
            turned_away(proxy, dial, entry, 3, "dial_rate")
        proxy.stop()
    logins = so_far(cloud, "login", entry)
    assert [login["accepted"] for login in logins] == [True] * 3


@pytest.mark.parametrize("level, code, _", LEVELS)
def test_rate_as_told(cloud, start, dial, level, code, _):
    entry = cloud.device()
    proxy = start(cloud, entry, dial={"per_device": 1})
    let_in(proxy, dial, entry, level).close()
    detail = turned_away(proxy, dial, entry, code, "dial_rate", level)
    assert "1 times a minute" in detail
    assert len(so_far(cloud, "login", entry)) == 1


def test_reload_does_not_end_the_rate(cloud, start, dial):
    entry = cloud.device()
    proxy = start(cloud, entry, dial={"per_device": 1})
    let_in(proxy, dial, entry).close()
    assert proxy.reload()["event"] == "reloaded"
    turned_away(proxy, dial, entry, 3, "dial_rate")


# ---- the rate of all ----

@pytest.mark.parametrize("level, code, _", LEVELS)
def test_queue_as_told(cloud, start, dial, level, code, _):
    one, other = cloud.device(), cloud.device()
    proxy = start(cloud, one, other, dial={"per_second": 1, "wait_max": 0})
    let_in(proxy, dial, one)
    turned_away(proxy, dial, other, code, "dial_queue", level)
    assert not so_far(cloud, "login", other)


def test_turns(cloud, start, dial):
    """Devices that come together are let in one by one, each at its first
    try."""
    entries = [cloud.device() for _ in range(10)]
    proxy = start(cloud, *entries, dial={"per_second": 5})
    devices = [dial(proxy) for _ in entries]
    for device, entry in zip(devices, entries):
        device.send_connect(entry["label"])
    for device in devices:
        assert device.connack().code == 0
    times = [login["t"] for login in so_far(cloud, "login")]
    assert len(times) == len(entries)
    # the first two could come at once; the first may have been late
    assert max(times) - min(times) > 8 / 5 - 1


def test_leaves_while_it_waits(cloud, start, dial):
    """That costs no login, and it has its turn still when it is back."""
    one, other = cloud.device(), cloud.device()
    proxy = start(cloud, one, other, dial={
        "per_second": 1, "per_device": 1, "wait_max": "10s"})
    let_in(proxy, dial, one)
    for turn in range(1, 4):
        device = dial(proxy)
        device.send_connect(other["label"])
        device.close()
        proxy.wait_log("session_end", label=other["label"], count=turn)
    let_in(proxy, dial, other)
    assert len(so_far(cloud, "login", other)) == 1


def test_drain_while_it_waits(cloud, start, dial):
    one, other = cloud.device(), cloud.device()
    proxy = start(cloud, one, other, dial={
        "per_second": 1, "wait_max": "10m"},
        limits={"drain_timeout": "10m"})
    let_in(proxy, dial, one)
    device = dial(proxy)
    device.send_connect(other["label"])
    proxy.stop()
    assert device.connack().code == 3
    assert proxy.logs("session_end", label=other["label"],
                      reason="draining")
    assert not so_far(cloud, "login", other)


# ---- an outage ----

def knock_all(proxy, dial, entries):
    """All at once; returns those that are in."""
    devices = [(entry, dial(proxy)) for entry in entries]
    for entry, device in devices:
        device.send_connect(entry["label"])
    inside = []
    for entry, device in devices:
        code = device.connack().code
        assert code in (0, 3)
        if code == 0:
            inside.append(entry)
        else:
            device.close()
    return inside


def assert_rate(times, per_second):
    """In no second are there many more; how long one takes from the dial to
    the login is not always the same."""
    times = sorted(times)
    for at, begin in enumerate(times):
        inside = sum(begin <= other < begin + 1 for other in times[at:])
        assert inside <= 2.1 * per_second + 1, (at, inside)


def test_outage(cloud, start, dial):
    """A thousand have lost the cloud and knock again and again; then it is
    back."""
    rate = 100
    entries = [cloud.device() for _ in range(1000)]
    proxy = start(cloud, *entries, dial={
        "per_second": rate, "per_device": 60, "network_first": "200ms",
        "network_max": "1s"})
    cloud.fault(None, upgrade_status=503)
    assert knock_all(proxy, dial, entries) == []
    tried = so_far(cloud, "upgrade")
    assert len(tried) >= len(entries)
    assert_rate([upgrade["t"] for upgrade in tried], rate)
    assert not so_far(cloud, "login")

    cloud.fault(None, upgrade_status=None)
    outside = entries
    while outside:
        inside = knock_all(proxy, dial, outside)
        outside = [entry for entry in outside if entry not in inside]
    logins = so_far(cloud, "login")
    assert_rate([login["t"] for login in logins], rate)
    assert len(logins) == len(entries)
    assert all(login["accepted"] for login in logins)
    reasons = {line["reason"] for line in proxy.logs("session_end")}
    assert reasons <= {"upgrade_refused", "dial_backoff", "dial_rate",
                       "dial_queue"}


# ---- failures ----

@pytest.fixture
def site(cloud, start, dial):
    """site(**settings) -> proxy, with .entries by the kind of failure."""
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))   # and no listen()

        def start_site(**settings):
            entries = {
                "network": cloud.device(port=nobody.getsockname()[1]),
                "refused": cloud.device(device_secret="not-this-one"),
                "kicked": cloud.device(on_link_loss="close")}
            cloud.fault(entries["kicked"], kick_after=0)
            proxy = start(cloud, *entries.values(), dial=settings)
            proxy.entries = entries
            return proxy

        yield start_site


def fail(proxy, dial, kind, level=4):
    """Has a device fail in this way; returns its entry."""
    entry = proxy.entries[kind]
    if kind == "network":
        turned_away(proxy, dial, entry, 0x88 if level == 5 else 3,
                    "cloud_refused", level)
    elif kind == "refused":
        turned_away(proxy, dial, entry, 0x86 if level == 5 else 4,
                    "login_refused", level)
    else:
        since = proxy.mark()
        let_in(proxy, dial, entry, level).until_closed()
        proxy.wait_log("session_end", since=since, label=entry["label"])
    return entry


@pytest.mark.parametrize("level, _, code", LEVELS)
@pytest.mark.parametrize("kind", KINDS)
def test_patience(cloud, site, dial, kind, level, _, code):
    """Who has failed is told so at once, and nothing is dialled."""
    proxy = site(**patience(**{kind: "1h"}))
    entry = fail(proxy, dial, kind, level)
    logins = len(so_far(cloud, "login", entry))
    for _ in range(3):
        detail = turned_away(
            proxy, dial, entry, code, "dial_backoff", level)
        assert KINDS[kind] in detail
    assert len(so_far(cloud, "login", entry)) == logins
    assert logins == (kind != "network")


def test_kicked_with_a_word(cloud, start, dial):
    """By DISCONNECT, as when another machine has the same credentials."""
    entry = cloud.device()
    proxy = start(cloud, entry, dial=patience(kicked="1h"))
    device = let_in(proxy, dial, entry, level=5)
    cloud.order("drop", entry, reason_code=0x8E)
    device.until_closed()
    proxy.wait_log("session_end", label=entry["label"])
    detail = turned_away(proxy, dial, entry, 0x88, "dial_backoff", level=5)
    assert KINDS["kicked"] in detail


@pytest.mark.parametrize("kind", KINDS)
def test_patience_of_its_own(site, dial, kind):
    """The back-offs of the other kinds do not matter."""
    proxy = site(**patience(**{other: "1h" for other in KINDS
                               if other != kind}))
    for _ in range(3):
        fail(proxy, dial, kind)
    assert not proxy.logs(reason="dial_backoff")


def test_patience_grows(cloud, site, dial):
    proxy = site(**patience(refused="400ms"))
    entry = proxy.entries["refused"]
    details = []
    while len(so_far(cloud, "login", entry)) < 4:
        _, line = knock(proxy, dial, entry)
        assert line["reason"] in ("login_refused", "dial_backoff")
        details.append(line["detail"])
    times = [login["t"] for login in so_far(cloud, "login", entry)]
    gaps = [after - before for before, after in zip(times, times[1:])]
    # 400 ms, 800 ms, 1600 ms, each down to its half; a clock is not exact
    assert all(gap > least - 0.02
               for gap, least in zip(gaps, (0.2, 0.4, 0.8))), gaps
    assert any("3 in a row" in detail for detail in details)


def test_stable_link(cloud, site, dial):
    """A link that is lost after a good while is no failure."""
    proxy = site(**patience(kicked="1h"), stable_after="100ms")
    entry = proxy.entries["kicked"]
    cloud.fault(entry, kick_after=1)
    for _ in range(2):
        fail(proxy, dial, "kicked")
    assert len(so_far(cloud, "login", entry)) == 2


def test_stable_link_ends_the_row(cloud, site, dial):
    proxy = site(**patience(kicked="2s"), stable_after="100ms")
    entry = proxy.entries["kicked"]
    for kick_after, in_a_row in ((0, 1), (0, 2), (1, None), (0, 1)):
        cloud.fault(entry, kick_after=kick_after)
        line = True
        while line:
            since = proxy.mark()
            device, line = knock(proxy, dial, entry)
        device.until_closed()
        proxy.wait_log("session_end", since=since, label=entry["label"],
                       reason="cloud_closed")
        if in_a_row:
            assert f"{in_a_row} in a row" in turned_away(
                proxy, dial, entry, 3, "dial_backoff")


def test_ends_that_are_no_failures(cloud, site, dial):
    """Leaving, closing, being taken over; and leaving while the cloud has
    not answered yet."""
    proxy = site(**patience(network="1h", refused="1h", kicked="1h"))
    entry = proxy.entries["kicked"]
    cloud.order("clear")
    device = let_in(proxy, dial, entry)
    device.send(mqtt.DISCONNECT)
    device.until_closed()
    let_in(proxy, dial, entry).close()
    older = let_in(proxy, dial, entry)
    newer = let_in(proxy, dial, entry)
    older.until_closed()
    newer.close()
    cloud.fault(entry, connack_delay=0.5)
    early = dial(proxy)
    early.send_connect(entry["label"])
    cloud.wait("login", entry, count=5)
    early.reset()
    cloud.order("clear")
    let_in(proxy, dial, entry).publish(topic_of(entry), "x", qos=1)


def test_mended_secret(cloud, start, dial):
    """A reload ends all back-offs."""
    entry = cloud.device()
    proxy = start(cloud, {**entry, "device_secret": "not-this-one"},
                  dial=patience(refused="1h"))
    turned_away(proxy, dial, entry, 4, "login_refused")
    turned_away(proxy, dial, entry, 3, "dial_backoff")
    proxy.set_devices([entry])
    assert proxy.reload()["event"] == "reloaded"
    let_in(proxy, dial, entry)
    assert len(so_far(cloud, "login", entry)) == 2
