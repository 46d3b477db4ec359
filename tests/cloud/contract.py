"""What the platform holds a device to: the limits, and one table of rules.

The table says of every rule what breaks it and what follows, usually and
when the gate is strict.  Nothing here acts: a Link asks first_broken() and
does what it is told.
"""

from typing import Callable, NamedTuple, Optional

import aliyun
import mqtt

LIMITS = {
    "keep_alive_min_s": 30,
    "keep_alive_max_s": 1200,
    "filters": 8,               # of one SUBSCRIBE or UNSUBSCRIBE
    "subscriptions": 100,       # of a device
    "topic_bytes": 128,
    "topic_slashes": 7,
    "payload_bytes": 256 * 1024,
    "qos0_per_s": 30,           # PUBLISH of a device
    "qos1_per_s": 10,
    "bytes_per_s": 1024 * 1024,     # of a connection, whole packets
    "unacknowledged": 100,      # PUBLISH at QoS 1 without a PUBACK
    "logins_per_minute": 5,
    "deliveries_per_s": 50,     # kept by the gate itself
    "jitter_s": 0.2,            # how much arrivals may bunch, see README
}

# What follows.  Only PASSED and ANSWERED are not written down as a breach.
PASSED = None           # the gate does not look
ANSWERED = "answered"   # refused in CONNACK or SUBACK, as the contract says
REFUSED = "refused"     # the same, but a device should know better
DROPPED = "dropped"     # the packet is lost
CLOSED = "closed"       # the link ends

PACKET, CONNECT, PUBLISH = "packet", "CONNECT", "PUBLISH"
SUBSCRIBE, UNSUBSCRIBE = "SUBSCRIBE", "UNSUBSCRIBE"

# what the platform's own log calls a refused topic and an illegal one
LOG_FOREIGN, LOG_ILLEGAL = 9236, 1903


class Rule(NamedTuple):
    """One rule for one packet; for each filter of one that has filters.

    fault(facts, limits) says what is wrong, or nothing.  codes are those of
    the answer, the PUBACK, or the DISCONNECT at levels (3 and 4, 5)."""
    where: str
    name: str
    fault: Callable
    usual: Optional[str]
    strict: Optional[str]
    codes: tuple = (None, None)
    log_code: Optional[int] = None


def most(name):
    """A fault: a number is over the limit of the same name."""
    def fault(facts, limits):
        if facts.get(name, 0) > limits[name]:
            return f"{name} {facts[name]:g}, {limits[name]} at most"
        return None
    return fault


def _kind(*kinds):
    def fault(facts, _limits):
        return facts["kind"] in kinds and mqtt.NAMES[facts["kind"]]
    return fault


def _keep_alive(facts, limits):
    low, high = limits["keep_alive_min_s"], limits["keep_alive_max_s"]
    if low <= facts["keep_alive"] <= high:
        return None
    return f"keep alive {facts['keep_alive']} is outside {low}..{high}"


def _will(facts, _limits):
    return (facts["will"] and facts["level"] < 5
            and "a will is not supported below MQTT 5.0")


def _will_qos(facts, _limits):
    return facts["will"] and facts["will"].qos == 2 and "will at QoS 2"


def _will_topic(facts, limits):
    will = facts["will"]
    if not will:
        return None
    named = {**facts, **topic_facts(will.topic)}
    return any(fault(named, limits) for fault in (
        most("topic_bytes"), most("topic_slashes"), _foreign_topic,
    )) and f"will topic {will.topic!r}"


def _will_characters(facts, limits):
    will = facts["will"]
    return will and _characters({**facts, "topic": will.topic}, limits)


def _qos_2(facts, _limits):
    return facts["qos"] == 2 and "QoS 2"


def _retain(facts, _limits):
    return (facts["retain"] and facts["level"] < 5
            and "retain is not supported below MQTT 5.0")


def _foreign_topic(facts, _limits):
    return (not aliyun.may_publish(facts["topic"], *facts["identity"])
            and "not a topic of the device")


def _foreign_filter(facts, _limits):
    return (not aliyun.may_subscribe(facts["topic"], *facts["identity"])
            and "not only topics of the device")


def _characters(facts, _limits):
    return aliyun.topic_characters_fault(facts["topic"], facts["identity"])


def _filter_characters(facts, _limits):
    return aliyun.topic_characters_fault(facts["topic"], facts["identity"],
                                         wildcards=True)


# The first one broken counts.
RULES = (
    Rule(PACKET, "second CONNECT", _kind(mqtt.CONNECT), CLOSED, CLOSED,
         (None, 0x82)),
    Rule(PACKET, "QoS 2", _kind(mqtt.PUBREC, mqtt.PUBREL, mqtt.PUBCOMP),
         CLOSED, CLOSED, (None, 0x9B)),

    Rule(CONNECT, "keep alive", _keep_alive, ANSWERED, REFUSED, (2, 0x85)),
    Rule(CONNECT, "will", _will, ANSWERED, REFUSED, (2, 0x85)),
    Rule(CONNECT, "QoS 2", _will_qos, ANSWERED, REFUSED, (2, 0x9B)),
    Rule(CONNECT, "will", _will_topic, ANSWERED, REFUSED, (5, 0x87)),
    Rule(CONNECT, "will", _will_characters, PASSED, REFUSED, (2, 0x90)),
    Rule(CONNECT, "logins", most("logins_per_minute"), PASSED, REFUSED,
         (3, 0x97)),

    Rule(PUBLISH, "QoS 2", _qos_2, CLOSED, CLOSED, (None, 0x9B)),
    Rule(PUBLISH, "retain", _retain, CLOSED, CLOSED, (None, 0x9A)),
    Rule(PUBLISH, "topic", most("topic_bytes"), DROPPED, CLOSED,
         (None, 0x90), LOG_ILLEGAL),
    Rule(PUBLISH, "topic", most("topic_slashes"), DROPPED, CLOSED,
         (None, 0x90), LOG_ILLEGAL),
    Rule(PUBLISH, "foreign topic", _foreign_topic, DROPPED, CLOSED,
         (None, 0x87), LOG_FOREIGN),
    Rule(PUBLISH, "characters", _characters, PASSED, CLOSED,
         (None, 0x90), LOG_ILLEGAL),
    Rule(PUBLISH, "payload", most("payload_bytes"), DROPPED, CLOSED,
         (None, 0x97)),
    # what is too much is lost without a word, at any level
    Rule(PUBLISH, "rate", most("qos0_per_s"), PASSED, DROPPED),
    Rule(PUBLISH, "rate", most("qos1_per_s"), PASSED, DROPPED),
    Rule(PUBLISH, "bytes", most("bytes_per_s"), PASSED, DROPPED),
    Rule(PUBLISH, "unacknowledged", most("unacknowledged"), PASSED, DROPPED),

    Rule(SUBSCRIBE, "QoS 2", _qos_2, PASSED, CLOSED, (0x80, 0x9B)),
    Rule(SUBSCRIBE, "filters", most("filters"), REFUSED, CLOSED,
         (0x80, 0x97)),
    Rule(SUBSCRIBE, "topic", most("topic_bytes"), REFUSED, CLOSED,
         (0x80, 0x8F), LOG_ILLEGAL),
    Rule(SUBSCRIBE, "topic", most("topic_slashes"), REFUSED, CLOSED,
         (0x80, 0x8F), LOG_ILLEGAL),
    Rule(SUBSCRIBE, "foreign topic", _foreign_filter, REFUSED, CLOSED,
         (0x80, 0x87), LOG_FOREIGN),
    Rule(SUBSCRIBE, "characters", _filter_characters, PASSED, CLOSED,
         (0x80, 0x8F), LOG_ILLEGAL),
    # a device cannot know what it held before, so strictly this is no breach
    Rule(SUBSCRIBE, "subscriptions", most("subscriptions"), REFUSED,
         ANSWERED, (0x80, 0x97)),

    Rule(UNSUBSCRIBE, "filters", most("filters"), PASSED, CLOSED,
         (None, 0x97)),
    Rule(UNSUBSCRIBE, "topic", most("topic_bytes"), PASSED, CLOSED,
         (None, 0x8F), LOG_ILLEGAL),
    Rule(UNSUBSCRIBE, "topic", most("topic_slashes"), PASSED, CLOSED,
         (None, 0x8F), LOG_ILLEGAL),
    Rule(UNSUBSCRIBE, "foreign topic", _foreign_filter, PASSED, CLOSED,
         (None, 0x87), LOG_FOREIGN),
    Rule(UNSUBSCRIBE, "characters", _filter_characters, PASSED, CLOSED,
         (None, 0x8F), LOG_ILLEGAL),
)


class Verdict(NamedTuple):
    """A rule that was broken; code is that of the device's level."""
    rule: Rule
    action: str
    detail: str
    code: Optional[int]

    @property
    def is_breach(self):
        return self.action != ANSWERED


def topic_facts(topic):
    """What rules want to know of a topic or filter."""
    return {"topic": topic, "topic_bytes": len(topic.encode("utf-8")),
            "topic_slashes": topic.count("/")}


def first_broken(where, strict, limits, facts):
    """The Verdict on a packet, None when there is nothing against it.
    limits: those that differ from LIMITS; facts: "level" and what the rules
    of the packet look at."""
    limits = {**LIMITS, **limits}
    for rule in RULES:
        action = rule.strict if strict else rule.usual
        if rule.where != where or action is PASSED:
            continue
        if detail := rule.fault(facts, limits):
            return Verdict(rule, action, detail, rule.codes[
                facts["level"] > 4])
    return None
