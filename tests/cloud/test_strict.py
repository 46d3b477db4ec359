"""Tests of the strict gate: every rule, and what it just still takes."""

import itertools
import os
import struct

import pytest

import mini_client
from cloud_rig import (KEY, ODD_NAME, credentials, knock, login, payload_of,
                       send_down)
from meter import LONG_S, Meter
from mini_client import (DISCONNECT, PINGREQ, packet, publish, subscribe,
                         text)

_unused = itertools.count()


def unsubscribe(*filters, number=1, level=4):
    return packet(0xA2, struct.pack("!H", number)
                  + (b"\0" if level == 5 else b"")
                  + b"".join(text(name) for name in filters))


@pytest.fixture(name="strict")
def fixture_strict(cloud):
    assert cloud.order(cmd="fault", strict=True)["ok"]
    return cloud


@pytest.fixture(name="name")
def fixture_name():
    """A device that has not logged in yet."""
    return f"valve_{next(_unused)}"


def limit(cloud, **limits):
    assert cloud.order(cmd="fault", limits=limits)["ok"]


def breaches(cloud):
    return [line["rule"] for line in cloud.seen if line["event"] == "breach"]


def is_alive(client, cloud, name):
    """No breach until now."""
    client.send(PINGREQ)
    while client.packet()[0] != 0xD0:
        pass
    cloud.wait("ping", device_name=name)
    return not breaches(cloud)


# One packet: what is too much, and the neighbour that is not. {own} is the
# beginning of a topic of the device


def _topic_of_bytes(count):
    return lambda own: own + "x" * (count - len(own))


def _up(**options):
    return lambda topic, level: publish(topic, b"x", level=level, **options)


def _payload(size):
    return lambda topic, level: publish(topic, bytes(size), level=level)


def _sub(count=1, **options):
    return lambda topic, level: subscribe(
        *[topic] * count, level=level, **options)


def _unsub(count=1):
    return lambda topic, level: unsubscribe(*[topic] * count, level=level)


ALL, OLD = (3, 4, 5), (3, 4)
X = "{own}x"
TOO_MUCH = [
    # rule, levels, topic and packet that break it, those that do not
    ("QoS 2", ALL, X, _up(qos=2), X, _up(qos=1)),
    ("QoS 2", ALL, X, _sub(qos=2), X, _sub(qos=1)),
    ("retain", OLD, X, _up(retain=True), X, _up()),
    ("topic", ALL, _topic_of_bytes(129), _up(), _topic_of_bytes(128), _up()),
    ("topic", ALL, _topic_of_bytes(129), _sub(), _topic_of_bytes(128),
     _sub()),
    ("topic", ALL, _topic_of_bytes(129), _unsub(), _topic_of_bytes(128),
     _unsub()),
    ("topic", ALL, "{own}1/2/3/4/5", _up(), "{own}1/2/3/4", _up()),
    ("topic", ALL, "{own}1/2/3/4/#", _sub(), "{own}1/2/3/#", _sub()),
    ("topic", ALL, "{own}1/2/3/4/5", _unsub(), "{own}1/2/3/4", _unsub()),
    ("payload", ALL, X, _payload(256 * 1024 + 1), X, _payload(256 * 1024)),
    ("filters", ALL, X, _sub(9), X, _sub(8)),
    ("filters", ALL, X, _unsub(9), X, _unsub(8)),
    ("characters", OLD, "{own}a b", _up(), "{own}a_b", _up()),
    ("characters", OLD, "{own}a-b", _sub(), "{own}+/#", _sub()),
    ("characters", OLD, "{own}a.b", _unsub(), "{own}aB9_", _unsub()),
    ("characters", OLD, "{own}é", _up(), "{own}e", _up()),
    ("characters", OLD, "{own}a//b", _up(), "{own}a/b", _up()),
    ("characters", OLD, "{own}a/", _sub(), "{own}a", _sub()),
    ("foreign topic", ALL, "/{key}/other/user/x", _up(), X, _up()),
    ("foreign topic", ALL, "home/kitchen", _up(),
     "/sys/{key}/{name}/thing/event/property/post", _up()),
    ("foreign topic", ALL, "/ota/device/inform/{key}/other", _up(),
     "/ota/device/inform/{key}/{name}", _up()),
    ("foreign topic", ALL, "/shadow/update/{key}/other", _up(),
     "/shadow/update/{key}/{name}", _up()),
    ("foreign topic", ALL, "/{key}/+/user/x", _sub(),
     "/shadow/get/{key}/{name}", _sub()),
    ("foreign topic", ALL, "#", _sub(), "/broadcast/{key}/x", _sub()),
    ("foreign topic", ALL, "a", _unsub(), "/sys/{key}/{name}/#", _unsub()),
    ("second CONNECT", ALL, X, lambda topic, level: mini_client.connect(
        *credentials(), level=level), X, _up()),
    ("QoS 2", ALL, X, lambda topic, level: packet(0x62, b"\0\1"), X, _up()),
    ("QoS 2", ALL, X, lambda topic, level: packet(0x50, b"\0\1"), X, _up()),
    ("QoS 2", ALL, X, lambda topic, level: packet(0x70, b"\0\1"), X, _up()),
]


def _topic(form, name):
    own = f"/{KEY}/{name}/user/"
    if callable(form):
        return form(own)
    return form.format(own=own, key=KEY, name=name)


@pytest.mark.parametrize(
    "rule, levels, bad_topic, bad, good_topic, good", TOO_MUCH)
def test_what_is_too_much_ends_the_link(strict, name, rule, levels,
                                        bad_topic, bad, good_topic, good):
    # the rule is the same code at any level, so one each will do
    for level in levels[::2]:
        with login(strict, name, level) as client:
            client.send(good(_topic(good_topic, name), level))
            assert is_alive(client, strict, name)
            client.send(bad(_topic(bad_topic, name), level))
            client.closed()
        line = strict.wait("breach", device_name=name)
        assert line["rule"] == rule and line["action"] == "closed"
        assert line["detail"] and line["product_key"] == KEY
        strict.wait("disconnect", device_name=name, by="gate")
        strict.seen.clear()


def test_level_five_is_told_the_code(strict, name):
    for data, code in (
            (publish("/not/mine", b"", level=5), 0x87),
            (subscribe(f"/{KEY}/{name}/user/a b", level=5), 0x8F)):
        with login(strict, name, 5) as client:
            client.send(data)
            assert client.packet() == (0xE0, bytes([code]))


def test_level_five_may_retain_and_have_a_will(strict, name):
    topic = f"/{KEY}/{name}/user/x"
    client, body = knock(strict, mini_client.connect(
        *credentials(name), level=5, will=(topic, "x", 1, True)))
    with client:
        assert body[1] == 0
        client.send(publish(topic, b"", retain=True, level=5))
        assert is_alive(client, strict, name)


def test_the_name_of_a_device_is_what_it_is(strict):
    topic = f"/{KEY}/{ODD_NAME}/user/x"
    with login(strict, ODD_NAME) as client:
        client.send(publish(topic, b"x"))
        client.send(subscribe(topic, f"$share/a b/{topic}",
                              f"/sys/{KEY}/{ODD_NAME}/#"))
        assert is_alive(client, strict, ODD_NAME)
        client.send(publish(topic + ODD_NAME, b"x"))
        client.closed()
    strict.wait("breach", rule="characters")


# Logins


@pytest.mark.parametrize("options, level, rule, code", [
    ({"keep_alive": 29}, 4, "keep alive", 2),
    ({"keep_alive": 30}, 4, None, 0),
    ({"keep_alive": 1200}, 4, None, 0),
    ({"keep_alive": 1201}, 4, "keep alive", 2),
    ({"keep_alive": 0}, 5, "keep alive", 0x85),
    ({"will": ("{own}x", "x", 0, False)}, 3, "will", 2),
    ({"will": ("{own}x", "x", 0, False)}, 4, "will", 2),
    ({"will": ("{own}x", "x", 1, False)}, 5, None, 0),
    ({"will": ("{own}x", "x", 2, False)}, 5, "QoS 2", 0x9B),
    ({"will": ("/not/mine", "x", 0, False)}, 5, "will", 0x87),
    ({"will": ("{own}a b", "x", 0, False)}, 5, "will", 0x90),
], ids=str)
def test_logins(strict, name, options, level, rule, code):
    if "will" in options:
        topic, *more = options["will"]
        options = {"will": (_topic(topic, name), *more)}
    client, body = knock(strict, mini_client.connect(
        *credentials(name), level=level, **options))
    with client:
        assert body[1] == code
        if rule:
            line = strict.wait("breach", rule=rule, action="refused")
            assert line["device_name"] == name and line["product_key"] == KEY
            client.closed()
        else:
            assert is_alive(client, strict, name)


def test_five_logins_a_minute(strict, name):
    connect = mini_client.connect(*credentials(name))
    for code in (0, 0, 0, 0, 0, 3):
        assert not breaches(strict)
        with knock(strict, connect)[0]:
            strict.wait("login", code=code)
    assert breaches(strict) == ["logins"]


def test_a_second_login_cuts_the_first_and_is_no_breach(strict, name):
    with login(strict, name) as first, login(strict, name) as second:
        assert first.closed() == 1006
        assert is_alive(second, strict, name)


# What is refused by contract


@pytest.mark.parametrize("level, code", [(4, 0x80), (5, 0x97)])
def test_too_many_subscriptions_are_refused(strict, name, level, code):
    """which is no breach."""
    own = f"/{KEY}/{name}/user/"
    with login(strict, name, level) as client:
        for start in range(0, 104, 8):
            client.send(subscribe(*(f"{own}{at}" for at in range(
                start, start + 8)), level=level))
            wanted = [1] * 8 if start < 96 else [1] * 4 + [code] * 4
            assert list(client.packet()[1][-8:]) == wanted
        # one that is held is no more; one that is given back makes room
        client.send(subscribe(own + "0", level=level))
        assert client.packet()[1][-1] == 1
        client.send(unsubscribe(own + "0", level=level))
        assert client.packet()[0] == 0xB0
        client.send(subscribe(own + "new", level=level))
        assert client.packet()[1][-1] == 1
        assert is_alive(client, strict, name)


# How much at a time


class Clock:
    def __init__(self):
        self.now = 1000.0

    def __call__(self):
        return self.now


@pytest.fixture(name="clock")
def fixture_clock():
    return Clock()


def test_a_meter_knows_the_last_second(clock):
    meter = Meter(clock)
    for _ in range(3):
        meter.add(2)
        clock.now += 0.4
    assert meter.sum() == 4 and meter.sum(0.3) == 0
    clock.now += LONG_S
    meter.add()
    assert meter.sum(1000) == 1


@pytest.mark.parametrize("gap, rate", [(0.79, 11), (0.81, 1.1)])
def test_a_meter_allows_for_jitter(clock, gap, rate):
    """Ten, and one more that may have been sent a second later."""
    meter = Meter(clock)
    for _ in range(10):
        meter.add()
    clock.now += gap
    assert meter.rate_with(1, 0.2) == rate


def test_jitter_is_no_higher_rate(clock):
    """Who sends ten every 0.9 seconds is found in the long run."""
    meter = Meter(clock)
    for burst in itertools.count():
        rates = []
        for _ in range(10):
            rates.append(meter.rate_with(1, 0.2))
            meter.add()
        if max(rates) > 10:
            break
        clock.now += 0.9
    assert 8 <= burst <= LONG_S


def test_a_meter_never_blames_who_keeps_the_rate(clock):
    """Ten at every full second, each as late as may be, or not."""
    meter = Meter(clock)
    for second in range(40):
        clock.now = max(clock.now, 1000 + second + 0.199 * (second % 2 == 0))
        for _ in range(10):
            assert meter.rate_with(1, 0.2) <= 10
            meter.add()


def test_a_meter_says_when_the_next_may_go(clock):
    meter = Meter(clock)
    assert meter.wait_for(2) == 0
    meter.add()
    clock.now += 0.25
    meter.add()
    assert meter.wait_for(2) == 0.75
    clock.now += 0.75
    assert meter.wait_for(2) == 0


@pytest.mark.parametrize("qos, most", [(0, 30), (1, 10)])
def test_a_rate_is_kept(strict, name, qos, most):
    """What is too much is lost, without a PUBACK."""
    topic = f"/{KEY}/{name}/user/x"
    with login(strict, name) as client:
        for number in range(1, most + 2):
            client.send(publish(topic, b"", qos, number=number))
        line = strict.wait("breach", device_name=name)
        assert line["rule"] == "rate" and line["action"] == "dropped"
        assert line["in_last_second"] == most + 1 and line["qos"] == qos
        counts = [line["in_last_second"] for line in strict.seen
                  if line["event"] == "publish"]
        assert counts == list(range(1, most + 1))
        client.send(PINGREQ)
        acks = list(iter(lambda: client.packet()[0], 0xD0))
        assert acks == [0x40] * (most if qos else 0)


def test_a_rate_is_kept_at_level_five_without_a_word(strict, name):
    limit(strict, qos1_per_s=1)
    topic = f"/{KEY}/{name}/user/x"
    with login(strict, name, 5) as client:
        client.send(publish(topic, b"", 1, number=1, level=5))
        client.send(publish(topic, b"", 1, number=2, level=5))
        strict.wait("breach", rule="rate")
        client.send(PINGREQ)
        assert [client.packet()[0] for _ in range(2)] == [0x40, 0xD0]


def test_a_rate_is_of_the_device_not_of_its_link(strict, name):
    limit(strict, qos0_per_s=2)
    topic = f"/{KEY}/{name}/user/x"
    for number in (1, 2):
        with login(strict, name) as client:
            client.send(publish(topic, b""))
            strict.wait("publish", in_last_second=number)
    with login(strict, name) as client:
        client.send(publish(topic, b""))
        strict.wait("breach", rule="rate")
    other = f"valve_{next(_unused)}"
    with login(strict, other) as client:
        client.send(publish(f"/{KEY}/{other}/user/x", b""))
        strict.wait("publish", device_name=other, in_last_second=1)


def test_after_a_while_there_is_room_again(strict, name):
    limit(strict, qos0_per_s=1, jitter_s=0.9)
    topic = f"/{KEY}/{name}/user/x"
    with login(strict, name) as client:
        client.send(publish(topic, b""))
        strict.wait("publish")
        while sum(line["event"] == "publish" for line in strict.seen) < 2:
            client.send(publish(topic, b"") + PINGREQ)
            client.packet()
            strict.wait("ping")


def test_bytes_a_second(strict, name):
    limit(strict, bytes_per_s=1000)
    topic = f"/{KEY}/{name}/user/x"
    head = len(publish(topic, bytes(500))) - 500
    with login(strict, name) as client:
        client.send(publish(topic, bytes(500)))
        client.send(publish(topic, bytes(500 - 2 * head)))
        strict.wait("publish", bytes=500 - 2 * head)
        client.send(publish(topic, b""))
        strict.wait("breach", rule="bytes", action="dropped")
    # of a connection, not of the device
    with login(strict, name) as client:
        client.send(publish(topic, bytes(1000 - head)))
        strict.wait("publish", bytes=1000 - head)


def test_a_mebibyte_a_second(strict, name):
    topic = f"/{KEY}/{name}/user/x"
    head = len(publish(topic, bytes(1 << 18))) - (1 << 18)
    with login(strict, name) as client:
        for _ in range(4):
            client.send(publish(topic, os.urandom((1 << 18) - head)))
        strict.wait("publish", in_last_second=4)
        assert is_alive(client, strict, name)
        client.send(publish(topic, b""))
        strict.wait("breach", rule="bytes")


def test_a_hundred_may_be_unacknowledged(strict, name):
    limit(strict, qos1_per_s=1000)
    strict.order(cmd="fault", answer_publishes=False)
    topic = f"/{KEY}/{name}/user/x"
    with login(strict, name) as client:
        for number in range(1, 101):
            client.send(publish(topic, b"", 1, number=number))
        # sent again it is not one more
        client.send(publish(topic, b"", 1, number=1))
        strict.wait("publish", packet_id=100)
        assert is_alive(client, strict, name)
        client.send(publish(topic, b"", 1, number=101))
        strict.wait("breach", rule="unacknowledged", action="dropped")


def test_an_acknowledgement_makes_room(strict, name):
    limit(strict, qos1_per_s=1000)
    topic = f"/{KEY}/{name}/user/x"
    with login(strict, name) as client:
        for number in range(1, 202):
            client.send(publish(topic, b"", 1, number=number))
            assert client.packet()[0] == 0x40
        assert is_alive(client, strict, name)


# Down


def test_deliveries_are_paced(strict, name):
    limit(strict, deliveries_per_s=3)
    topic = f"/{KEY}/{name}/user/down"
    with login(strict, name) as client:
        client.send(subscribe(topic))
        client.packet()
        send_down(strict, topic, *map(str, range(7)), qos=1)
        for number in range(7):
            first, body = client.packet()
            assert payload_of(body) == (topic, str(number).encode())
            assert first == 0x32
            strict.wait("delivery", topic=topic, qos=1)
        counts = [line["in_last_second"] for line in strict.seen
                  if line["event"] == "delivery"]
        assert max(counts) <= 3 and len(counts) == 7


def test_answers_do_not_wait_for_deliveries(strict, name):
    limit(strict, deliveries_per_s=1)
    topic = f"/{KEY}/{name}/user/down"
    with login(strict, name) as client:
        client.send(subscribe(topic))
        client.packet()
        send_down(strict, topic, *map(str, range(30)), qos=0)
        client.send(PINGREQ)
        kinds = [client.packet()[0] for _ in range(3)]
        assert 0xD0 in kinds
        client.send(DISCONNECT)


# The switch


def test_strictness_is_off_until_asked_for(cloud, name):
    with login(cloud, name) as client:
        client.send(subscribe(f"/{KEY}/{name}/user/a b", qos=2))
        assert client.packet()[0] == 0x90
        assert is_alive(client, cloud, name)


def test_strictness_can_be_for_one_device(cloud, name):
    other = f"valve_{next(_unused)}"
    cloud.order(cmd="fault", product_key=KEY, device_name=name, strict=True)
    with login(cloud, name) as one, login(cloud, other) as two:
        for client, whose in ((one, name), (two, other)):
            client.send(subscribe(f"/{KEY}/{whose}/user/a b"))
        assert two.packet()[0] == 0x90
        one.closed()
    cloud.wait("breach", device_name=name, rule="characters")


def test_strictness_can_be_an_option(start):
    cloud = start("--strict")
    with login(cloud, "valve_0", mode=3) as client:
        client.send(publish("/not/mine", b""))
        client.closed()
    cloud.wait("breach", rule="foreign topic", action="closed")
    cloud.order(cmd="fault", strict=False)
    with login(cloud, "valve_0", mode=3) as client:
        client.send(publish("/not/mine", b"") + PINGREQ)
        assert client.packet()[0] == 0xD0
    cloud.wait("breach", rule="foreign topic", action="dropped")


@pytest.mark.parametrize("order", [
    {"strict": "yes"}, {"limits": {"no_such": 1}}, {"limits": {"filters": 0}},
    {"limits": {"filters": "x"}}, {"limits": 3}, {"answer_publishes": 0}],
    ids=str)
def test_orders_are_checked(cloud, order):
    answer = cloud.order(cmd="fault", **order)
    assert not answer["ok"] and answer["error"]
