"""The cloud says no: the device is told so, the log says what to mend."""

import pytest

import mqtt_raw as mqtt
from cloud_process import topic_of


def refusal(proxy, dial, entry, level):
    """The CONNACK code the device gets, and the log line of the end."""
    device = dial(proxy)
    device.send_connect(entry["label"], level)
    answer = device.connack()
    assert not answer.session_present
    assert device.until_closed() == []
    end = proxy.wait_log("session_end")
    assert end["label"] == entry["label"]
    assert end["reason"] == "login_refused"
    return answer.code, end


@pytest.mark.parametrize("level, code", [(3, 4), (4, 4), (5, 0x86)])
def test_wrong_secret(cloud, start, dial, level, code):
    entry = cloud.device(device_secret="not-this-one")
    proxy = start(cloud, entry)
    given, end = refusal(proxy, dial, entry, level)
    assert given == code
    assert "signature" in end["detail"] and "device_secret" in end["detail"]
    login = cloud.wait("login", entry)
    assert not login["accepted"] and login["reason"] == "wrong signature"


@pytest.mark.parametrize("level, code", [(4, 5), (5, 0x87)])
def test_device_the_cloud_does_not_know(cloud, start, dial, level, code):
    entry = cloud.device(device_name="nobody")
    proxy = start(cloud, entry)
    given, end = refusal(proxy, dial, entry, level)
    assert given == code
    assert "not of this instance" in end["detail"]


@pytest.mark.parametrize("level, code", [
    (4, 2), (4, 3), (4, 5), (5, 0x85), (5, 0x87), (5, 0x89), (5, 0x97),
    (5, 0x9F)])
def test_code_is_passed_on(cloud, start, dial, level, code):
    entry = cloud.device()
    cloud.fault(entry, refuse=code)
    given, end = refusal(start(cloud, entry), dial, entry, level)
    assert given == code
    assert f"CONNACK {code} " in end["detail"]


def test_next_try_may_succeed(cloud, start, dial):
    entry = cloud.device()
    cloud.fault(entry, refuse=3, refuse_count=2)
    proxy = start(cloud, entry)
    for expected in (3, 3, 0):
        device = dial(proxy)
        device.send_connect(entry["label"])
        assert device.connack().code == expected
    device.publish(topic_of(entry), "x", qos=1)


def test_what_came_behind_the_connect(cloud, start, dial):
    """is never sent to a cloud that has refused."""
    entry = cloud.device(device_secret="not-this-one")
    device = dial(start(cloud, entry))
    device.send(mqtt.connect(entry["label"]),
                mqtt.publish(topic_of(entry), "x" * 2000))
    assert device.connack().code == 4
    assert device.until_closed() == []
    cloud.wait("login", entry, accepted=False)
    assert not cloud.decisions("publish", entry)
