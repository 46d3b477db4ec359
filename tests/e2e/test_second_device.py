"""Two devices that show one identity: who goes, and what is seen of it when
they throw each other out again and again."""

import contextlib
import select
import tempfile
import time

import pytest

import mqtt_raw as mqtt
from cloud_process import topic_of
from test_admin import get_metrics

HERE, THERE = "127.0.0.1", "127.0.0.2"
LEVELS = [(3, 3), (4, 3), (5, 0x97)]     # what who is refused is told
PAUSE_S = 0.2     # of a device before it comes again
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
    _, inside = begin_loop(proxy, dial, entry)
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


def test_cloud_sees_no_more_than_its_quota(cloud, start, dial):
    """Two that come back again and again, until it has been told."""
    entry = cloud.device()
    cloud.fault(entry, logins_per_minute=5)
    proxy = start(cloud, entry, dial={"per_device": 5})
    with contextlib.ExitStack() as last:
        def come(source):
            device = last.enter_context(mqtt.Client(proxy.port,
                                                    source=source))
            device.send_connect(entry["label"])
            return device

        inside = {HERE: come(HERE), THERE: come(THERE)}
        while not proxy.logs("take_over_loop"):
            ready, _, _ = select.select(
                [device.socket for device in inside.values()], [], [],
                mqtt.TIMEOUT)
            for source, device in list(inside.items()):
                if device.socket in ready:
                    with contextlib.suppress(mqtt.Closed):
                        device.arrived()
                        continue
                    device.close()
                    time.sleep(PAUSE_S)
                    inside[source] = come(source)
    logins = cloud.decisions("login", entry)
    assert all(login["accepted"] for login in logins)
    assert len(logins) <= 5


# ---- somebody else, elsewhere

def test_cloud_that_kicks(cloud, start, dial, path):
    """Three times soon after the login: somebody else seems to be it."""
    entry = cloud.device()
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
    entry = cloud.device()
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
