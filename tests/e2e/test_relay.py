"""Packets arrive as they were sent: all of them, once, in order, whole;
however the bytes are cut on the way."""

import hashlib
import random

import pytest

import mqtt_raw as mqtt
from cloud_process import topic_of

PAYLOAD_MAX = 256 * 1024    # the cloud's bound


def seen(payload):
    """What the cloud's decision says of a payload."""
    if len(payload) > 256:
        return {"bytes": len(payload),
                "sha256": hashlib.sha256(payload).hexdigest()}
    return {"bytes": len(payload), "payload": payload.decode()}


def letters(random_, count):
    return bytes(random_.choices(b"abcdefghijklmnopqrstuvwxyz", k=min(
        count, 512))) * (count // 512 + 1)


def payloads_of(random_, sizes):
    """Different ones: each begins with its number."""
    return [(b"%d " % at + letters(random_, size))[:max(size, 8)]
            for at, size in enumerate(sizes)]


@pytest.mark.parametrize("level", [3, 4, 5])
@pytest.mark.parametrize("size", [64 * 1024, PAYLOAD_MAX])
def test_big_payload(cloud, start, dial, listen, level, size):
    entry = cloud.device()
    payload = random.Random(size).randbytes(size)
    app = listen(cloud, topic_of(entry))
    device = dial(start(cloud, entry))
    device.log_in(entry["label"], level)
    device.subscribe(topic_of(entry, "get"))
    device.publish(topic_of(entry), payload, qos=1)
    assert app.receive().payload == payload
    app.publish(topic_of(entry, "get"), payload, qos=1)
    assert device.receive().payload == payload
    device.publish(topic_of(entry), payload)
    assert app.receive().payload == payload


@pytest.mark.parametrize("seed", range(3))
def test_up_in_random_segments(cloud, start, dial, seed):
    """Segment bounds anywhere; sizes from the smallest packet to the
    biggest payload, and all that is around a read, a record, a length
    byte more."""
    random_ = random.Random(seed)
    entry = cloud.device(contract="none")
    device = dial(start(cloud, entry, limits={
        "session_buffer": random_.choice(["64K", "512K"])}))
    device.log_in(entry["label"])
    sizes = [1, 90, 91, 125, 126, 127, 128, 16383, 16384, 16385, 65535,
             65536, 131072, PAYLOAD_MAX - 1, PAYLOAD_MAX]
    sizes += [random_.randrange(int(2 ** random_.uniform(0, 18)) + 1)
              for _ in range(150)]
    random_.shuffle(sizes)
    payloads = payloads_of(random_, sizes)
    stream, pings, acks = bytearray(), 0, 0
    for number, payload in enumerate(payloads, 1):
        qos = random_.randrange(2)
        acks += qos
        stream += mqtt.publish(topic_of(entry), payload, qos, number)
        while random_.random() < 0.3:
            stream += mqtt.PINGREQ
            pings += 1
    at = 0
    while at < len(stream):
        size = int(2 ** random_.uniform(0, 17))
        device.send(stream[at:at + size])
        at += size

    kinds = [device.packet().kind for _ in range(pings + acks)]
    assert kinds.count(mqtt.PINGRESP) == pings
    assert kinds.count(mqtt.PUBACK) == acks
    cloud.wait("publish", entry, count=len(payloads))
    arrived = cloud.decisions("publish", entry)
    assert [{key: line[key] for key in seen(payload)}
            for line, payload in zip(arrived, payloads)] == [
                seen(payload) for payload in payloads]
    assert len(arrived) == len(payloads)
    assert not any(line["duplicate"] for line in arrived)


@pytest.mark.parametrize("level", [4, 5])
@pytest.mark.parametrize("how, count, largest", [
    ("whole", 3000, 20000), ("fragments", 1000, 20000),
    ("pinged", 300, 20000), ("merged", 3000, 20000), ("bytes", 100, 300)])
def test_down(cloud, start, dial, how, count, largest, level):
    """However the cloud lays packets into messages and frames."""
    random_ = random.Random(how)
    entry = cloud.device()
    cloud.fault(entry, downlink=how)
    device = dial(start(cloud, entry))
    device.log_in(entry["label"], level)
    device.subscribe(topic_of(entry, "get"))
    payloads = payloads_of(random_, [
        int(largest ** random_.random()) for _ in range(count)])
    app = dial(cloud)
    app.log_in("app")
    app.send(*(mqtt.publish(topic_of(entry, "get"), payload)
               for payload in payloads))
    for at, payload in enumerate(payloads):
        assert device.receive().payload == payload, at
    device.ping()


@pytest.mark.parametrize("how", ["whole", "fragments", "merged"])
def test_both_ways_at_once(cloud, start, dial, how):
    """The device hears itself through the cloud."""
    entry = cloud.device(contract="none")
    cloud.fault(entry, downlink=how)
    device = dial(start(cloud, entry))
    device.log_in(entry["label"])
    device.subscribe(topic_of(entry), qos=1)
    payloads = payloads_of(random.Random(how), [
        size for size in (1, 100, 5000, 40000) for _ in range(50)])
    echoes, acks, number = [], 0, 0
    while len(echoes) < len(payloads) or acks < len(payloads):
        # no more than a window ahead, so that neither side has to wait
        while number < len(payloads) and number - len(echoes) < 20:
            device.send(mqtt.publish(
                topic_of(entry), payloads[number], 1, number + 1))
            number += 1
        packet = device.packet()
        if packet.kind == mqtt.PUBACK:
            acks += 1
        else:
            topic = 2 + len(topic_of(entry))
            device.send(mqtt.puback(
                int.from_bytes(packet.body[topic:topic + 2], "big")))
            echoes.append(packet.body[topic + 2:])
    assert echoes == payloads
