"""Two devices that show one identity: who goes, and what is seen of it when
they throw each other out again and again."""

import contextlib
import datetime
import tempfile

import paho.mqtt.client as paho
import pytest

import mqtt_raw as mqtt
from cloud_process import topic_of
from test_admin import get_metrics

HERE, THERE = "127.0.0.1", "127.0.0.2"
LEVELS = [(3, 3), (4, 3), (5, 0x97)]     # what who is refused is told
LOOPS = "take_over_loops_total{{where={}}}"


@pytest.fixture
def path():
    """Of an admin socket."""
    with tempfile.TemporaryDirectory(prefix="adm-") as folder:
        yield f"{folder}/a.sock"


def knock(proxy, dial, entry, source, level=4):
    """Connects; the CONNACK is device.answer."""
    device = dial(proxy, source=source)
    device.peer = f"{source}:{device.port}"
    device.send_connect(entry["label"], level)
    device.answer = device.connack().code
    return device


def let_in(proxy, dial, entry, source, level=4):
    device = knock(proxy, dial, entry, source, level)
    assert device.answer == 0
    return device


def begin_loop(proxy, dial, entry, level=4):
    """Three take-overs; returns (who was thrown out, who is in)."""
    devices = [let_in(proxy, dial, entry, source, level)
               for source in (HERE, THERE, HERE, THERE)]
    return devices[-2], devices[-1]


def until_refused(proxy, dial, entry, inside):
    """The other one comes, and has to wait; returns (who is in, it). Where
    all is so slow that its wait is over, the next one is twice as long."""
    while True:
        other = HERE if inside.peer.startswith(THERE) else THERE
        device = knock(proxy, dial, entry, other, inside.level)
        if device.answer:
            return inside, device
        inside = device


# ---- second_device = refuse

@pytest.mark.parametrize("level, code", LEVELS)
def test_refuse(cloud, start, dial, level, code):
    """The first one stays and notices nothing, wherever the second comes
    from; both are named."""
    entry = cloud.device(second_device="refuse")
    proxy = start(cloud, entry)
    first = let_in(proxy, dial, entry, HERE, level)
    for source in THERE, HERE:
        second = knock(proxy, dial, entry, source, level)
        assert second.answer == code
        assert second.until_closed() == []
        line = proxy.wait_log("device_refused", peer=second.peer)
        assert line["reason"] == "second_device"
        assert (line["label"], line["other"]) == (entry["label"], first.peer)
    assert [line["level"] for line in proxy.logs("device_refused")] == [
        "notice", "debug"]
    first.publish(topic_of(entry), "x", qos=1)
    assert len(cloud.decisions("login", entry)) == 1
    assert not proxy.logs("take_over_loop")


def test_refuse_until_the_first_has_left(cloud, start, dial):
    """In any way, and at once."""
    entry = cloud.device(second_device="refuse")
    proxy = start(cloud, entry)
    for turn, leave in enumerate((
            lambda device: device.send(mqtt.DISCONNECT),
            lambda device: device.close(), lambda device: device.reset())):
        device = let_in(proxy, dial, entry, HERE)
        leave(device)
        proxy.wait_log("session_end", count=turn + 1)
    let_in(proxy, dial, entry, THERE).publish(topic_of(entry), "x", qos=1)


def test_refuse_does_not_wait_for_a_dead_link(cloud, start, dial):
    """The first has gone, its link is closing: that is nobody's place."""
    entry = cloud.device(second_device="refuse")
    proxy = start(cloud, entry, cloud={"close_timeout": "200ms"})
    first, second = (dial(proxy, source=source) for source in (HERE, THERE))
    first.log_in(entry["label"])
    with cloud.halted():
        first.close()
        proxy.wait_log("session_end", reason="device_closed")
        second.send_connect(entry["label"])
    assert second.connack().code == 0


def test_refuse_ends_with_the_keep_alive(cloud, start, dial):
    """A device that lost its power comes in when its old connection has been
    found dead."""
    entry = cloud.device(second_device="refuse")
    proxy = start(cloud, entry)
    dead = dial(proxy)
    dead.log_in(entry["label"], keep_alive=1)
    assert knock(proxy, dial, entry, HERE).answer == 3
    proxy.wait_log("session_end", reason="device_silent")
    let_in(proxy, dial, entry, HERE)


def test_reload_changes_the_policy(cloud, start, dial):
    """For who knocks next; who is in stays in."""
    entry = cloud.device()
    proxy = start(cloud, entry)
    first = let_in(proxy, dial, entry, HERE)
    proxy.set_devices([{**entry, "second_device": "refuse"}])
    assert proxy.reload()["event"] == "reloaded"
    assert knock(proxy, dial, entry, THERE).answer == 3
    proxy.set_devices([entry])
    assert proxy.reload()["event"] == "reloaded"
    let_in(proxy, dial, entry, THERE)
    first.until_closed()


# ---- two that throw each other out

@pytest.mark.parametrize("level, code", LEVELS)
def test_loop_is_told_and_held_back(cloud, start, dial, path, level, code):
    """The third take-over in a minute is one too many: both are named, and
    who is in stays for a while."""
    entry = cloud.device()
    proxy = start(cloud, entry, admin={"socket": path})
    assert get_metrics(path)[LOOPS.format("lan")] == 0
    out, inside = begin_loop(proxy, dial, entry, level)
    line = proxy.wait_log("take_over_loop")
    assert (line["level"], line["label"]) == ("warning", entry["label"])
    assert (line["peer"], line["other"]) == (inside.peer, out.peer)
    assert line["wait_ms"] == "1000"
    inside, refused = until_refused(proxy, dial, entry, inside)
    assert refused.answer == code
    assert refused.until_closed() == []
    line = proxy.wait_log("device_refused", peer=refused.peer)
    assert (line["reason"], line["other"]) == ("take_over_loop", inside.peer)
    inside.ping()
    # the patience ends; the line is not repeated
    while refused.answer:
        refused = knock(proxy, dial, entry, HERE, level)
    until_refused(proxy, dial, entry, refused)
    assert len(proxy.logs("take_over_loop")) == 1
    assert get_metrics(path)[LOOPS.format("lan")] == 1
    assert get_metrics(path)[LOOPS.format("cloud")] == 0


def test_who_is_in_may_come_back(cloud, start, dial):
    """From where it was: it is the same device, and does not wait."""
    entry = cloud.device()
    proxy = start(cloud, entry)
    out, inside = begin_loop(proxy, dial, entry)
    out.until_closed()
    out.close()     # in order, which says nothing of the other address
    again = let_in(proxy, dial, entry, THERE)
    inside.until_closed()
    again, _ = until_refused(proxy, dial, entry, again)
    # when it has left, its place is free
    again.send(mqtt.DISCONNECT)
    proxy.wait_log("session_end", reason="device_left")
    let_in(proxy, dial, entry, HERE)


def test_one_that_reconnects_is_no_loop(cloud, start, dial):
    entry = cloud.device()
    proxy = start(cloud, entry)
    for _ in range(10):
        device = let_in(proxy, dial, entry, HERE)
    device.publish(topic_of(entry), "x", qos=1)
    assert len(proxy.logs("session_end", reason="taken_over")) == 9
    assert not proxy.logs("take_over_loop")
    assert not proxy.logs("device_refused")


def test_two_that_leave_in_order_are_no_loop(cloud, start, dial):
    """They take turns, and nobody is thrown out."""
    entry = cloud.device()
    proxy = start(cloud, entry)
    for turn in range(8):
        device = let_in(proxy, dial, entry, (HERE, THERE)[turn % 2])
        device.send(mqtt.DISCONNECT)
        assert device.until_closed() == []
        proxy.wait_log("session_end", count=turn + 1)
    assert not proxy.logs("take_over_loop")


def test_others_are_not_held_back(cloud, start, dial):
    entry, other = cloud.device(), cloud.device()
    proxy = start(cloud, entry, other)
    _, inside = begin_loop(proxy, dial, entry)
    until_refused(proxy, dial, entry, inside)
    for source in HERE, THERE, HERE:
        let_in(proxy, dial, other, source)


def seconds(line):
    """The time of a log line."""
    when = line["time"].rstrip("Z")
    return datetime.datetime.fromisoformat(when).timestamp()


def quota_of(cloud, logins_per_minute, **keys):
    """A device for which the cloud counts them, strictly."""
    entry = cloud.device(**keys)
    cloud.fault(entry, strict=True, logins_per_minute=logins_per_minute,
                limits={"logins_per_minute": logins_per_minute})
    return entry


@contextlib.contextmanager
def persistent(proxy, entry, *sources):
    """A device at each of these addresses, that comes back by itself."""
    devices = [paho.Client(entry["label"]) for _ in sources]
    try:
        for device, source in zip(devices, sources):
            device.reconnect_delay_set(1, 1)
            device.connect_async("127.0.0.1", proxy.port, bind_address=source)
            device.loop_start()
        yield
    finally:
        for device in devices:
            device.disconnect()
            device.loop_stop()


@pytest.mark.parametrize("sources", [(HERE, THERE), (HERE, HERE)],
                         ids=["two addresses", "one address"])
def test_two_that_come_back_by_themselves(cloud, start, path, sources):
    """Within half a minute both are named, once; the cloud has had no more
    logins than it allows, and gets none for who is refused."""
    # behind one address only those that get in are told apart, and soon after
    # the proxy's start they are few: one more each fifth of a minute
    quota = 5 if len(set(sources)) > 1 else 60
    entry = quota_of(cloud, quota)
    proxy = start(cloud, entry, dial={"per_device": quota},
                  admin={"socket": path})
    with persistent(proxy, entry, *sources):
        line = proxy.wait_log("take_over_loop")
        first = proxy.logs("session_up")[0]
        assert seconds(line) - seconds(first) < 30
        assert {line[who].rpartition(":")[0] for who in ("peer", "other")
                } == set(sources)
        assert line["peer"] != line["other"]
        proxy.wait_log("device_refused", reason="take_over_loop", count=3)
    assert len(proxy.logs("take_over_loop")) == 1
    assert get_metrics(path)[LOOPS.format("lan")] == 1
    logins = cloud.decisions("login", entry)
    assert all(login["accepted"] for login in logins)
    assert len(logins) <= quota


# ---- two behind one address

def test_loop_behind_one_address(cloud, start, dial):
    """Who is thrown out ends its connection in order: it was well."""
    entry = cloud.device()
    proxy = start(cloud, entry)
    inside = let_in(proxy, dial, entry, HERE)
    for _ in range(4):
        assert not proxy.logs("take_over_loop")
        other, inside = inside, let_in(proxy, dial, entry, HERE)
        other.until_closed()
        other.close()
    line = proxy.wait_log("take_over_loop")
    assert (line["peer"], line["other"]) == (inside.peer, other.peer)
    while True:
        newer = knock(proxy, dial, entry, HERE)
        if newer.answer:
            break
        inside.until_closed()
        inside.close()
        inside = newer
    assert newer.answer == 3
    proxy.wait_log("device_refused", reason="take_over_loop",
                   peer=newer.peer, other=inside.peer)
    inside.ping()


def test_bad_radio_is_no_loop(cloud, start, dial):
    """It knows nothing of its old connection, and says so."""
    entry = cloud.device()
    proxy = start(cloud, entry)
    device = let_in(proxy, dial, entry, HERE)
    for _ in range(10):
        old, device = device, let_in(proxy, dial, entry, HERE)
        old.until_closed()
        old.reset()
    assert len(proxy.logs("session_end", reason="taken_over")) == 10
    assert not proxy.logs("take_over_loop")
    device.publish(topic_of(entry), "x", qos=1)


# ---- no dial for who would come in

@pytest.mark.parametrize("source", [HERE, THERE])
@pytest.mark.parametrize("level, code", LEVELS)
def test_who_is_in_stays_when_nobody_else_may(cloud, start, dial, level, code,
                                              source):
    entry = cloud.device()
    proxy = start(cloud, entry, dial={"per_device": 1})
    first = let_in(proxy, dial, entry, HERE, level)
    for word in "notice", "debug":
        second = knock(proxy, dial, entry, source, level)
        assert second.answer == code
        assert second.until_closed() == []
        line = proxy.wait_log("device_refused", peer=second.peer)
        assert (line["reason"], line["level"]) == ("dial_rate", word)
        assert (line["label"], line["other"]) == (entry["label"], first.peer)
        assert "1 times a minute" in line["detail"]
    first.publish(topic_of(entry), "x", qos=1)
    assert len(cloud.decisions("login", entry)) == 1
    assert not proxy.logs("session_end")


def test_who_is_in_does_not_stay_half_dead(cloud, start, dial):
    """It takes nothing any more: then its end comes earlier."""
    entry = cloud.device()
    proxy = start(cloud, entry, dial={"per_device": 1})
    first = dial(proxy, receive_buffer=4096)
    first.log_in(entry["label"])
    first.subscribe(topic_of(entry, "get"))
    app = dial(cloud)
    app.log_in("app")
    for _ in range(40):
        app.publish(topic_of(entry, "get"), bytes(200 * 1024), qos=1)
    # until all of it has come as far as it can, the device seems to be there
    while not proxy.logs("session_end"):
        assert knock(proxy, dial, entry, HERE).answer == 3
    lines = [proxy.wait_log("session_end", count=at + 1) for at in range(2)]
    assert [line["reason"] for line in lines] == ["taken_over", "dial_rate"]


# ---- somebody else, elsewhere

def test_cloud_that_kicks(cloud, start, dial, path):
    """Three times soon after the login: somebody else seems to be it."""
    entry = cloud.device(on_link_loss="close")
    cloud.fault(entry, kick_after=0)
    proxy = start(cloud, entry, admin={"socket": path})
    for turn in range(5):
        assert len(proxy.logs("identity_in_use")) == (turn > 2)
        let_in(proxy, dial, entry, HERE).until_closed()
        proxy.wait_log("session_end", count=turn + 1)
    line, = proxy.logs("identity_in_use")
    assert (line["level"], line["label"]) == ("warning", entry["label"])
    assert line["device_name"] == entry["device_name"]
    assert line["times"] == "3"
    assert get_metrics(path)[LOOPS.format("cloud")] == 1
    assert get_metrics(path)[LOOPS.format("lan")] == 0


def test_cloud_that_kicks_a_device_that_is_held(cloud, start, dial, path):
    """The same is told, and its quota kept."""
    entry = quota_of(cloud, 5)
    cloud.fault(entry, kick_after=0)
    proxy = start(cloud, entry, admin={"socket": path},
                  dial={"per_device": 5, "kicked_first": "10ms"})
    device = let_in(proxy, dial, entry, HERE)
    # a proxy that has just begun lends a device one login in 12 s
    line = proxy.wait_log("identity_in_use", timeout=60)
    assert line["times"] == "3"
    device.ping()
    assert not proxy.logs("session_end")
    assert get_metrics(path)[LOOPS.format("cloud")] == 1
    assert all(login["accepted"] for login in cloud.decisions("login", entry))


def test_device_that_comes_back_to_a_cloud_that_kicks(cloud, start, path):
    """By itself, and again and again: it is told once, counted once, and the
    cloud has had no more logins than it allows."""
    entry = quota_of(cloud, 60, on_link_loss="close")
    cloud.fault(entry, kick_after=0)
    proxy = start(cloud, entry, admin={"socket": path},
                  dial={"per_device": 60, "kicked_first": "100ms"})
    with persistent(proxy, entry, HERE):
        line = proxy.wait_log("identity_in_use")
        proxy.wait_log("session_end", reason="cloud_closed", count=4)
    assert seconds(line) - seconds(proxy.logs("session_up")[0]) < 30
    assert line["device_name"] == entry["device_name"]
    assert len(proxy.logs("identity_in_use")) == 1
    assert get_metrics(path)[LOOPS.format("cloud")] == 1
    assert get_metrics(path)[LOOPS.format("lan")] == 0
    assert all(login["accepted"] for login in cloud.decisions("login", entry))


def test_cloud_that_kicks_with_a_disconnect(cloud, start, dial):
    """Level 5 can say so: Session taken over."""
    entry = cloud.device()
    proxy = start(cloud, entry)
    for turn in range(3):
        device = let_in(proxy, dial, entry, HERE, 5)
        cloud.order("drop", entry, reason_code=0x8E)
        device.until_closed()
        proxy.wait_log("session_end", count=turn + 1)
    assert len(proxy.logs("identity_in_use")) == 1


def test_stable_links_are_no_kicks(cloud, start, dial):
    entry = cloud.device(on_link_loss="close")
    cloud.fault(entry, kick_after=0)
    proxy = start(cloud, entry, dial={"stable_after": 0})
    for turn in range(4):
        let_in(proxy, dial, entry, HERE).until_closed()
        proxy.wait_log("session_end", count=turn + 1)
    assert not proxy.logs("identity_in_use")


def test_device_that_leaves_is_not_kicked(cloud, start, dial):
    entry = cloud.device()
    proxy = start(cloud, entry)
    for turn in range(4):
        device = let_in(proxy, dial, entry, HERE)
        device.send(mqtt.DISCONNECT)
        proxy.wait_log("session_end", count=turn + 1)
    assert not proxy.logs("identity_in_use")
