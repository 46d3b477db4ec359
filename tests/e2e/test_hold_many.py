"""Two hundred devices whose links are lost a hundred times, and that do not
notice. Each test prints what it has counted (pytest -s)."""

import concurrent.futures
import contextlib
import itertools
import os
import pathlib
import random

import pytest

import mqtt_raw as mqtt
from cloud_process import Cloud, topic_of
from held_site import (PATIENCE, HeldSite, check_arrivals, check_book,
                       check_confirmed, keys_of)
from kernel import (ESTABLISHED, connections, wait_until,
                    wait_until_unread)
from mqtt_raw import Client
from netns import Namespace, Unavailable
from proxy import FRUGAL, program

DEVICES = 200
DROPS = 100
PER_MINUTE = 20     # logins of a device
# a link that is lost is dialled as soon as the quota allows it
SWIFT = {"network_first": "50ms", "network_max": "1s",
         "kicked_first": "50ms", "kicked_max": "200ms",
         "per_device": PER_MINUTE, "wait_max": "30s"}
SLOW_SEGMENT, SLOW_BUFFER = 536, 4096


@pytest.fixture
def chance():
    """Random numbers; TEST_SEED makes them those of another run."""
    seed = int(os.environ.get("TEST_SEED", random.randrange(1 << 30)))
    print(f"TEST_SEED={seed}")
    return random.Random(seed)


def slow_or_not(role):
    """How a device of that role connects."""
    return ({"receive_buffer": SLOW_BUFFER, "segment": SLOW_SEGMENT}
            if role.is_slow else {})


@pytest.fixture
def site(cloud, start):
    """site(count, settings=...) -> proxy, HeldSite, all online."""
    with contextlib.ExitStack() as last:
        def build(count=DEVICES, keys=None, **settings):
            entries = [cloud.device(**keys_of(at), **(keys or {}))
                       for at in range(count)]
            proxy = start(cloud, *entries, env=FRUGAL,
                          **{"dial": SWIFT, **settings})
            return proxy, last.enter_context(HeldSite(
                entries,
                lambda at, role: Client(proxy.port, **slow_or_not(role)),
                lambda: Client(cloud.broker_port)))

        yield build


def check_logins(cloud, per_minute=PER_MINUTE):
    """Inside the quota, in every minute that ends with a login. Returns
    (logins, the most of one device in a minute)."""
    logins = cloud.decisions("login", accepted=True)
    assert cloud.decisions("login") == logins
    most = max(line["in_last_minute"] for line in logins)
    assert most <= per_minute, most
    return len(logins), most


def check_all(cloud, proxy, site):
    """Nobody was closed, nothing is missing; returns what was counted."""
    assert not proxy.logs("session_end")
    assert not proxy.logs("not_held")
    check_arrivals(site)
    check_book(site, cloud.decisions())
    logins, most = check_logins(cloud)
    return {**site.figures(), "held": len(proxy.logs("device_held")),
            "resumed": len(proxy.logs("device_resumed")),
            "had to wait for the quota": len(proxy.logs(
                "dial_failed", reason="dial_rate")),
            "logins": logins, "the most in a minute": most}


def drop(cloud, entries, how):
    """At once; returns how many links there were to drop."""
    with concurrent.futures.ThreadPoolExecutor(8) as at_once:
        return sum(at_once.map(
            lambda entry: cloud.order("drop", entry, how=how)["dropped"],
            entries))


def drop_some(cloud, site, chance):
    how = chance.choice(["close", "fin", "abort"])
    kind = chance.random()
    if kind < 0.07:
        return cloud.order("drop", how=how)["dropped"]
    count = 1 if kind < 0.6 else chance.randrange(2, 40)
    devices = chance.sample(site.devices, count)
    return drop(cloud, [device.entry for device in devices], how)


def test_links_that_are_dropped(cloud, site, chance):
    proxy, devices = site()
    dropped = drops = 0
    devices.hears(DEVICES)
    while drops < DROPS:
        found = drop_some(cloud, devices, chance)
        dropped += found
        drops += found > 0
        devices.hears(chance.randrange(100))
    devices.settle()
    counted = check_all(cloud, proxy, devices)
    print({"drops": drops, "links": dropped, **counted})
    assert counted["held"] > DROPS
    devices.leave()
    # some were slowed, for what the cloud takes and for what was held
    waited = [int(line["qos1_waited"]) for line in
              proxy.logs("device_slowed")]
    assert max(waited, default=0) > 0


# Nobody is told

SITE_AT = "10.9.3.1"
CLOUD_AT = [f"10.9.3.{at}" for at in range(2, 12)]
# what the proxy finds out by itself, it finds out soon
WAKEFUL = {"ping_interval": "500ms", "ping_interval_min": "500ms",
           "ping_timeout": "1s", "write_timeout": "2s",
           "tcp_timeout": "2s", "tls_timeout": "3s", "upgrade_timeout": "3s",
           "login_timeout": "3s"}


class Lab:
    """The site, and a cable to the cloud, which has many addresses."""

    def __init__(self, site, wan, cloud):
        self.cloud, self.site, self._wan = cloud, site, wan

    def to_proxy(self, proxy, role):
        with self.site.entered():
            return Client(proxy.port, **slow_or_not(role))

    def to_broker(self):
        with self._wan.entered():
            return Client(self.cloud.broker_port)

    def lose_only(self, addresses):
        self.site.drop_only(*addresses)
        self._wan.drop_only(*addresses)

    def audit(self):
        """As a cloud's own, but that a new login meets a session which the
        cloud has not missed, and dials are given up half-way: some before
        their CONNECT, which the cloud waits for in vain."""
        bad = [line for line in self.cloud.decisions()
               if line["event"] == "breach" and line["rule"] != "no CONNECT"
               or line["event"] == "unaligned"
               or line["event"] == "upgrade" and line["path"]]
        assert not bad, bad


@pytest.fixture
def lab(certs, tmp_path_factory):
    with contextlib.ExitStack() as last:
        try:
            site, wan = (last.enter_context(Namespace()) for _ in range(2))
            _, end = site.link(wan, f"{SITE_AT}/24", f"{CLOUD_AT[0]}/24")
            for address in CLOUD_AT[1:]:
                wan.address(end, f"{address}/24")
        except Unavailable as why:
            pytest.skip(f"no network namespaces: {why}")
        with wan.entered():
            cloud = last.enter_context(contextlib.closing(
                Cloud(tmp_path_factory.mktemp("cloud"), certs,
                      host="0.0.0.0")))
        cloud.begin()
        yield Lab(site, wan, cloud)


@pytest.fixture
def far_site(lab, start):
    """As site, in the lab."""
    with contextlib.ExitStack() as last:
        def build(**settings):
            entries = [
                lab.cloud.device(host=CLOUD_AT[at % len(CLOUD_AT)],
                                 server_name="localhost", **keys_of(at))
                for at in range(DEVICES)]
            with lab.site.entered():
                proxy = start(lab.cloud, *entries, env=FRUGAL, **settings)
            return proxy, last.enter_context(HeldSite(
                entries, lambda _, role: lab.to_proxy(proxy, role),
                lab.to_broker))

        yield build


def is_held(proxy, label):
    lines = proxy.logs(("device_held", "device_resumed"), label=label)
    return bool(lines) and lines[-1]["event"] == "device_held"


def test_links_that_are_black_holes(lab, far_site, chance):
    """All packets from an address of the cloud are lost, and all for it;
    sometimes for long enough that the proxy finds out."""
    proxy, devices = far_site(dial=SWIFT, cloud=WAKEFUL)
    dark, drops, found_out = set(), 0, 0
    devices.hears(DEVICES)
    while drops < DROPS:
        if len(dark) > 7:
            dark.clear()
        address = chance.choice(CLOUD_AT)
        since, witness = proxy.mark(), None
        if address in dark:
            dark.remove(address)
        else:
            dark |= set(CLOUD_AT) if chance.random() < 0.03 else {address}
            drops += 1
            label = chance.choice([
                device.entry["label"] for device in devices.devices
                if device.entry["host"] == address])
            witness = not is_held(proxy, label) and label
        lab.lose_only(dark)
        if witness and chance.random() < 0.15:
            proxy.wait_log("device_held", since=since, label=witness)
            found_out += 1
        elif len(dark) < len(CLOUD_AT):
            devices.hears(chance.randrange(
                1, 5 * (1 + len(CLOUD_AT) - len(dark))))
    lab.lose_only(())
    devices.settle()
    counted = check_all(lab.cloud, proxy, devices)
    print({"drops": drops, "found out before the next": found_out,
           **counted})
    assert counted["held"] > DROPS
    devices.leave()
    lab.audit()


# The whole cloud is down

HOLD_S = 5


@pytest.fixture
def own_cloud(certs, tmp_path_factory):
    """One that can be taken down."""
    with contextlib.closing(
            Cloud(tmp_path_factory.mktemp("cloud"), certs)) as cloud:
        cloud.begin()
        yield cloud
        cloud.audit()


def most_within(seconds, lines):
    """How many of them are of the same span of time, at most."""
    times = sorted(line["t"] for line in lines)
    return max(sum(time - seconds < other <= time for other in times)
               for time in times)


def test_cloud_that_is_down_for_longer(own_cloud, start):
    """than the devices are held."""
    cloud, per_minute = own_cloud, 4
    entries = [cloud.device(hold_time=f"{HOLD_S}s", **keys_of(at))
               for at in range(DEVICES)]
    proxy = start(cloud, *entries, env=FRUGAL,
                  dial={**SWIFT, "per_device": per_minute})

    def to_proxy(role):
        return Client(proxy.port, **slow_or_not(role))

    def to_broker():
        return Client(cloud.broker_port)

    with HeldSite(entries, lambda _, role: to_proxy(role),
                  to_broker) as site:
        site.hears(2 * DEVICES)
        site.expect_ends()
        with cloud.down():
            site.lose_all()
            for device in site.devices:
                assert device.farewell == (
                    0x89 if device.role.level == 5 else None), device
            ends = proxy.logs("session_end")
            assert {line["label"] for line in ends} == {
                entry["label"] for entry in entries}
            assert {line["reason"] for line in ends} == {"hold_over"}
            assert len(proxy.logs("device_held")) == len(ends) == DEVICES
            # whoever asks is told that it is down
            for device in site.devices[:10]:
                with to_proxy(device.role) as client:
                    client.send_connect(device.entry["label"],
                                        device.role.level)
                    assert client.connack().code in (3, 0x88, 0x97), device
        sweeps = itertools.count(1)
        wait_until(lambda: next(sweeps) and site.come_back(
            to_proxy, to_broker) == DEVICES)
        site.hears(DEVICES)
        site.settle()
        check_confirmed(site, cloud.decisions())
        logins = cloud.decisions("login")
        most = max(most_within(60, [
            line for line in logins
            if line["device_name"] == entry["device_name"]])
            for entry in entries)
        print({"devices": len(ends), "logins": len(logins),
               "the most in a minute": most,
               "attempts of all to come back": next(sweeps) - 1,
               **site.figures()})
        assert all(line["accepted"] for line in logins)
        assert most <= per_minute
        site.leave()


# What is kept

PIECE = 4000            # bytes of a payload
ONES, ZEROS = 40, 200    # messages of each device, far more than is kept
HOLD_QUEUE, QOS0_QUEUE, BUFFER = 64 << 10, 32 << 10, 64 << 10
TOTAL = 4 << 20
# AddressSanitizer gives a block as much as a quarter more, and a guard;
# ThreadSanitizer keeps several bytes of its own for each
IS_TSAN = b"__tsan_init" in pathlib.Path(program()).read_bytes()
OVERHEAD, SLACK = 6 if IS_TSAN else 1.4, 4 << 20


def fill(proxy, devices):
    """Until none of them is read any more."""
    for entry, device in devices:
        topic = topic_of(entry)
        device.send(*(mqtt.publish(topic, bytes(PIECE), level=device.level)
                      for _ in range(ZEROS)),
                    *(mqtt.publish(topic, bytes(PIECE), 1, number,
                                   device.level)
                      for number in range(1, ONES + 1)))
    wait_until(lambda: sum(
        state == ESTABLISHED and unread > 0 for state, unread in
        connections(local=proxy.port)) == len(devices))
    wait_until_unread(local=proxy.port)


@pytest.mark.parametrize("limits, most", [
    ({}, DEVICES * (HOLD_QUEUE + QOS0_QUEUE + BUFFER)),
    # a packet that has begun is read to its end all the same
    ({"total_buffer": TOTAL}, TOTAL + DEVICES * BUFFER // 2)],
    ids=["of each", "of all"])
def test_memory(cloud, start, dial, limits, most):
    """Of what is kept while all are held: within the bounds, twice."""
    entries = [cloud.device(hold_queue=HOLD_QUEUE, qos0_queue=QOS0_QUEUE)
               for _ in range(DEVICES)]
    proxy = start(cloud, *entries, env=FRUGAL, limits={
        "session_buffer": BUFFER, **limits}, dial={
        **SWIFT, "network_first": "2s", "network_max": "4s"})
    devices = [(entry, dial(proxy)) for entry in entries]
    for at, (entry, device) in enumerate(devices):
        device.send_connect(entry["label"], 3 + at % 3, keep_alive=1200)
    for entry, device in devices:
        assert device.connack().code == 0
        device.publish(topic_of(entry), bytes(PIECE), qos=1)
    full = []
    for kept in (False, True, True):
        since = proxy.mark()
        cloud.order("fault", upgrade_status=503)
        cloud.order("drop", how="abort")
        proxy.wait_log("device_held", since=since, count=DEVICES)
        if not kept:    # what it costs to hold, to dial and to come back
            proxy.wait_log("dial_failed", since=since, count=DEVICES)
        else:
            fill(proxy, devices)
            full.append(proxy.memory())
        cloud.order("fault", upgrade_status=None)
        proxy.wait_log("device_resumed", since=since, count=DEVICES,
                       timeout=PATIENCE)
        if not kept:
            before = proxy.memory("VmHWM")
            continue
        for _, device in devices:
            numbers = [device.expect(mqtt.PUBACK).body[:2]
                       for _ in range(ONES)]
            assert numbers == [number.to_bytes(2, "big")
                               for number in range(1, ONES + 1)]
    peak = proxy.memory("VmHWM")
    print({"before": before, "full": full, "peak": peak,
           "growth": peak - before, "bound": most,
           "would be without": DEVICES * PIECE * (ONES + ZEROS)})
    assert not proxy.logs("session_end")
    assert peak - before < most * OVERHEAD + SLACK
    check_logins(cloud)


# The device's side of it

FLOOD, WINDOW, EVERY, RATE = 300, 100, 10, 50
FAT = 1000      # bytes, more in all than is read at a time


@pytest.mark.parametrize("level", [3, 4, 5])
def test_flood_of_a_held_device(cloud, start, dial, listen, level):
    """It is read, and its pings are answered, until the window is full; then
    it goes on as fast as the cloud allows."""
    entry = cloud.device(qos1_per_second=RATE, inflight_max=WINDOW)
    cloud.fault(entry, strict=True, limits={
        "qos1_per_s": RATE, "unacknowledged": WINDOW,
        "logins_per_minute": PER_MINUTE})
    proxy = start(cloud, entry, dial=SWIFT)
    app = listen(cloud, topic_of(entry))
    device = dial(proxy)
    device.log_in(entry["label"], level)
    cloud.order("fault", upgrade_status=503)
    cloud.order("drop", entry, how="abort")
    proxy.wait_log("device_held")
    for number in range(1, FLOOD + 1):
        device.send(mqtt.publish(topic_of(entry), f"{number:{FAT}}", 1,
                                 number, level))
        if number % EVERY == 0:
            device.send(mqtt.PINGREQ)
    for _ in range(WINDOW // EVERY):
        device.expect(mqtt.PINGRESP)
    wait_until_unread(local=proxy.port)
    # with the last of those everything had been read that ever was
    device.socket.setblocking(False)
    with pytest.raises(BlockingIOError):
        device.packet()
    device.socket.settimeout(mqtt.TIMEOUT)
    cloud.order("fault", upgrade_status=None)
    acknowledged, pongs = [], 0
    while len(acknowledged) < FLOOD or pongs < (FLOOD - WINDOW) // EVERY:
        packet = device.packet()
        pongs += packet.kind == mqtt.PINGRESP
        if packet.kind == mqtt.PUBACK:
            acknowledged.append(int.from_bytes(packet.body[:2], "big"))
    assert acknowledged == list(range(1, FLOOD + 1))
    assert [int(app.receive().payload) for _ in range(FLOOD)] == acknowledged
    rates = [line["in_last_second"]
             for line in cloud.decisions("publish", entry)]
    print({"messages": len(rates), "the most in a second": max(rates)})
    assert not proxy.logs("session_end")
