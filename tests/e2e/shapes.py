"""The shapes of what real devices send: a corpus.

Each is a conversation as a kind of firmware or library holds it, from its
documentation or its observable behaviour; the words above the steps say
where it comes from. What a shape needs of the proxy beyond carrying packets
(talk.NEEDS) is found from its steps.

Where a device can be told its topics, it has been told the platform's own;
where they are built in, they are what they are, and need a map.
"""

import dataclasses
import struct
from typing import Callable, Optional

import mqtt_raw as mqtt
from talk import (Talk, bytewise, cut, promising_nothing, rushed,
                  together)

SHAPES = {}


@dataclasses.dataclass(frozen=True)
class Shape:
    """name: of the firmware, and which of its ways; match: keys of
    devices.ini that know the device when its client identifier does not;
    rules: those that map its topics, where one rule for each does not."""
    name: str
    level: int
    match: dict
    make: Callable
    rules: Optional[dict] = None

    def steps(self, product_key, device_name):
        """The conversation of this device of the cloud, as Steps."""
        return self.make(Talk(product_key, device_name, self.level))

    @property
    def needs(self):
        return frozenset().union(*(
            step.needs for step in self.steps("pk", "dn")))

    def _talk(self):
        talk = Talk("pk", "dn", self.level)
        self.make(talk)
        return talk

    @property
    def keys(self):
        """What devices.ini has to say for the device to be known, and for
        its topics to be mapped."""
        keys = dict(self.match) or {
            "match_client_id": self._talk().client_ids[0]}
        if self.rules:
            return {**keys, **self.rules}
        # what stands for a long one meets all others: they go one way then
        one_way = any(map(_is_long, self.topics))
        for number, (lan, cloud) in enumerate(self.topics.items(), 1):
            keys[f"topic.{number}.lan"] = (
                "/".join("+" for _ in lan.split("/")) if _is_long(lan)
                else lan)
            keys[f"topic.{number}.cloud"] = "/${pk}/${dn}/user/" + cloud
            if one_way:
                keys[f"topic.{number}.way"] = "up"
        return keys

    @property
    def topics(self):
        """Each topic and filter that needs a map, and what its rule makes
        of it behind /PK/DN/user/."""
        return {topic: f"t{number}" + _captures(topic) for number, topic
                in enumerate(self._talk().foreign)}


def _is_long(topic):
    """For a line of devices.ini, so that wildcards stand for it."""
    return len(topic.encode()) > 180


def _captures(lan):
    """What stands for them in the cloud's topic."""
    levels = lan.split("/")
    ones = levels.count("+")
    return "".join(f"/${at}" for at in range(1, ones + 1)) + (
        "/$#" if levels[-1] == "#" else "")


def shape(name, level=4, rules=None, **match):
    def keep(make):
        assert name not in SHAPES, name
        SHAPES[name] = Shape(name, level, match, make, rules)
        return make
    return keep


ANYONE = "127.0.0.1"
MAC = "a8032ab1c4d8"

# --------------------------------------------------------------------------
# PubSubClient, the usual library of Arduino. It publishes at QoS 0 only, is
# always clean, has a keep-alive of 15 s, and counts its packet identifiers
# from 2.


@shape("pubsubclient: example basic")
def _pubsubclient_basic(d):
    return [d.login("arduinoClient", keep_alive=15),
            d.pub("outTopic", "hello world"), d.sub(2, "inTopic"),
            d.down("inTopic", "1"), d.ping(), d.lost()]


@shape("pubsubclient: own topics")
def _pubsubclient_own(d):
    return [d.login("arduinoClient", keep_alive=15),
            d.pub(d.own("out"), "hello world"), d.sub(2, d.own("in")),
            d.down(d.own("in"), "1"), d.ping(), d.lost()]


@shape("pubsubclient: built for 3.1", 3)
def _pubsubclient_31(d):
    # MQTT_VERSION is set at compile time
    return [d.login("arduinoClient", keep_alive=15),
            d.pub(d.own("out"), "hello world"), d.sub(2, d.own("in")),
            d.down(d.own("in"), "1"), d.bye()]


@shape("pubsubclient: example auth")
def _pubsubclient_auth(d):
    return [d.login("arduinoClient", keep_alive=15, user_name="testuser",
                    password="testpass"),
            d.pub(d.own("out"), "hello world"), d.lost()]


@shape("pubsubclient: user name alone", match_username="token-3f")
def _pubsubclient_user(d):
    # connect(id, user, NULL): a token and no password
    return [d.login("esp", keep_alive=15, user_name="token-3f"),
            d.pub(d.own("out"), "1"), d.bye()]


@shape("pubsubclient: random client id", match_address=ANYONE)
def _pubsubclient_random(d):
    # the reconnect() of its ESP8266 example draws a new one every time
    steps = []
    for client_id in ("ESP8266Client-3f9a", "ESP8266Client-e01"):
        steps += [d.login(client_id, keep_alive=15),
                  d.pub(d.own("out"), "hello world"), d.sub(2, d.own("in")),
                  d.lost()]
    return steps


@shape("pubsubclient: will")
def _pubsubclient_will(d):
    return [d.login("boiler", keep_alive=15,
                    will=(d.own("status"), "offline", 1, True)),
            d.pub(d.own("status"), "online", retain=True), d.lost()]


@shape("pubsubclient: will of nothing")
def _pubsubclient_empty_will(d):
    # the empty message takes back what is retained
    return [d.login("boiler", keep_alive=15,
                    will=(d.own("status"), "", 0, True)), d.lost()]


@shape("pubsubclient: messages bigger than the buffer")
def _pubsubclient_stream(d):
    # beginPublish() writes the head, write() and endPublish() the rest
    body = "x" * 1000
    publish = d.pub(d.own("log"), body)
    head = len(publish.segments[0]) - len(body)
    return [d.login("camera", keep_alive=15),
            cut(publish, head, 64, 64, 500), d.bye()]


@shape("pubsubclient: small transfers")
def _pubsubclient_transfer(d):
    # MQTT_MAX_TRANSFER_SIZE 80, for the WiFi shield
    return [cut(d.login("yun", keep_alive=15, user_name="u" * 60,
                        password="p" * 60), 80, 80),
            cut(d.pub(d.own("json"), '{"v":[' + "1," * 90 + "1]}"),
                80, 80, 80), d.bye()]


@shape("pubsubclient: empty and binary payloads")
def _pubsubclient_payloads(d):
    return [d.login("meter", keep_alive=15), d.pub(d.own("tick")),
            d.pub(d.own("raw"), bytes(range(256))), d.bye()]


@shape("pubsubclient: subscribed at QoS 1")
def _pubsubclient_qos1(d):
    return [d.login("valve", keep_alive=15), d.sub(2, d.own("set"), qos=1),
            d.down(d.own("set"), "open", 1), d.down(d.own("set"), "shut", 0),
            d.unsub(3, d.own("set")), d.bye()]


# --------------------------------------------------------------------------
# Firmware for homes


@shape("tasmota: start", match_username="DVES_USER")
def _tasmota(d):
    # my_user_config.h and its MQTT page: QoS 0, keep-alive 30, LWT retained
    # at QoS 1; three subscriptions, each in a packet
    lwt, stat = "tele/tasmota_B1C4D8/LWT", "stat/tasmota_B1C4D8/"
    return [d.login("DVES_B1C4D8", keep_alive=30, user_name="DVES_USER",
                    password="DVES_PASS", will=(lwt, "Offline", 1, True)),
            d.pub(lwt, "Online", retain=True),
            d.pub("cmnd/tasmota_B1C4D8/POWER"),
            d.sub(2, "cmnd/tasmota_B1C4D8/#"), d.sub(3, "cmnd/tasmotas/#"),
            d.sub(4, "cmnd/DVES_B1C4D8_fb/#"),
            d.pub("tele/tasmota_B1C4D8/INFO1",
                  '{"Info1":{"Module":"Sonoff Basic"}}'),
            d.down("cmnd/tasmota_B1C4D8/POWER", "ON"),
            d.pub(stat + "RESULT", '{"POWER":"ON"}'),
            d.pub(stat + "POWER", "ON"), d.lost()]


@shape("tasmota: button retained and cleared")
def _tasmota_clear(d):
    # ButtonRetain 0 publishes an empty retained message
    return [d.login("DVES_00C4D8", keep_alive=30, user_name="DVES_USER",
                    password="DVES_PASS"),
            d.pub(d.own("POWER"), "TOGGLE", retain=True),
            d.pub(d.own("POWER"), retain=True), d.ping(), d.lost()]


@shape("tasmota: own topics without LWT")
def _tasmota_own(d):
    return [d.login("DVES_11C4D8", keep_alive=30, user_name="DVES_USER",
                    password="DVES_PASS"),
            d.sub(2, d.own("cmnd") + "/#"),
            d.pub(d.own("tele") + "/STATE",
                  '{"Time":"2024-01-01T00:00:00","Uptime":"0T00:00:12"}'),
            d.down(d.own("cmnd") + "/POWER", "ON"),
            d.pub(d.own("stat") + "/POWER", "ON"), d.lost()]


@shape("esphome: start", match_username="livingroom")
def _esphome(d):
    # its MQTT page: birth and will <prefix>/status, retained, keep-alive
    # 15 s, not clean; discovery retained
    status = "livingroom/status"
    return [d.login(f"livingroom-{MAC}", keep_alive=15, clean=False,
                    user_name="livingroom", password="secret",
                    will=(status, "offline", 0, True)),
            d.pub(status, "online", retain=True),
            d.pub("homeassistant/sensor/livingroom/t/config",
                  '{"name":"t","stat_t":"livingroom/sensor/t/state"}',
                  retain=True),
            d.sub(1, "livingroom/switch/relay/command"),
            d.pub("livingroom/sensor/t/state", "21.5", retain=True),
            d.down("livingroom/switch/relay/command", "ON"), d.lost()]


@shape("esphome: no birth, no will, own topics")
def _esphome_own(d):
    return [d.login(f"kitchen-{MAC}", keep_alive=15, clean=False),
            d.sub(1, d.own("command")), d.pub(d.own("state"), "ON"),
            d.down(d.own("command"), "OFF"), d.bye()]


@shape("shelly gen 1", match_client_id="shelly1-B1C4D8")
def _shelly1(d):
    # its API page: keep-alive 60, QoS 0, LWT "false" at .../online
    base = "shellies/shelly1-B1C4D8/"
    return [d.login("shelly1-B1C4D8", will=(base + "online", "false", 0,
                                            True)),
            d.sub(1, "shellies/command"), d.sub(2, base + "command"),
            d.sub(3, base + "relay/0/command"),
            d.pub(base + "online", "true", retain=True),
            d.pub("shellies/announce",
                  '{"id":"shelly1-B1C4D8","model":"SHSW-1"}'),
            d.pub(base + "relay/0", "off"),
            d.down(base + "relay/0/command", "on"),
            d.pub(base + "relay/0", "on"), d.lost()]


@shape("shelly gen 2: RPC")
def _shelly2(d):
    # RPC over MQTT at QoS 1, the answer goes to <src>/rpc
    me = f"shellyplus1-{MAC}"
    return [d.login(me, clean=False,
                    will=(me + "/online", "false", 0, True)),
            d.sub(1, me + "/rpc", me + "/command",
                  me + "/command/switch:0", qos=1),
            d.pub(me + "/online", "true", 1, 2, retain=True),
            d.down(me + "/rpc", '{"id":1,"src":"app",'
                   '"method":"Switch.GetStatus"}', 1),
            d.pub("app/rpc", f'{{"id":1,"src":"{me}"}}', 1, 3), d.lost()]


@shape("wled")
def _wled(d):
    # AsyncMqttClient; three filters for itself, three for its group
    base = f"wled/{MAC[-6:]}"
    return [d.login(f"WLED-{MAC[-6:]}", keep_alive=15,
                    will=(base + "/status", "offline", 0, True)),
            d.sub(1, base), d.sub(2, base + "/col"), d.sub(3, base + "/api"),
            d.sub(4, "wled/all"), d.sub(5, "wled/all/col"),
            d.sub(6, "wled/all/api"),
            d.pub(base + "/status", "online", retain=True),
            d.pub(base + "/g", "128", retain=True), d.lost()]


@shape("espurna")
def _espurna(d):
    # retains by default; LWT "0" at <root>/status, retained
    root = f"espurna-{MAC[-6:]}"
    return [d.login(root, keep_alive=120,
                    will=(root + "/status", "0", 0, True)),
            d.pub(root + "/status", "1", retain=True),
            d.sub(1, root + "/relay/+/set"), d.sub(2, root + "/led/+/set"),
            d.pub(root + "/app", "ESPURNA", retain=True), d.lost()]


@shape("homie")
def _homie(d):
    # Homie 4: all retained at QoS 1, sent in one go at the start; $state
    # with a will; properties that can be set are subscribed one by one
    base, number = "homie/thermostat/", 1
    told = [("$homie", "4.0"), ("$name", "Thermostat"), ("$nodes", "t"),
            ("$state", "init")] + [
                (f"t/p{at}/{name}", "x") for at in range(6)
                for name in ("$name", "$datatype", "$settable", "$unit")]
    publishes = []
    for number, (name, value) in enumerate(told, 1):
        publishes.append(d.pub(base + name, value, 1, number, retain=True))
    return [d.login("homie-thermostat", clean=False, keep_alive=15,
                    will=(base + "$state", "lost", 1, True)),
            rushed(*publishes), d.sub(number + 1, base + "t/+/set", qos=1),
            d.pub(base + "$state", "ready", 1, number + 2, retain=True),
            d.down(base + "t/p0/set", "21", 1), d.lost()]


@shape("zigbee2mqtt", match_client_id="mqttjs_9f21c0aa")
def _zigbee2mqtt(d):
    # its configuration page: keep-alive 60, bridge/state retained with a
    # will at QoS 1
    state = "zigbee2mqtt/bridge/state"
    return [d.login("mqttjs_9f21c0aa",
                    will=(state, '{"state":"offline"}', 1, True)),
            d.pub(state, '{"state":"online"}', retain=True),
            d.sub(1, "zigbee2mqtt/#"),
            d.pub("zigbee2mqtt/bridge/devices", "[" + "{}," * 3000 + "{}]",
                  retain=True), d.lost()]


@shape("adafruit library", match_username="shop")
def _adafruit(d):
    # keep-alive 300, an empty client identifier, one filter a packet, tells
    # everybody apart by the user name
    return [d.login("", keep_alive=300, user_name="shop", password="aio_key"),
            d.sub(0x1234, "shop/feeds/onoff", qos=1),
            d.pub("shop/feeds/photocell", "511"),
            d.down("shop/feeds/onoff", "ON", 1), d.ping(), d.lost()]


# --------------------------------------------------------------------------
# Libraries for small machines


@shape("esp-mqtt: example tcp")
def _esp_idf(d):
    # ESP-IDF examples/protocols/mqtt/tcp; keep-alive 120
    return [d.login("ESP32_B1C4D8", keep_alive=120),
            d.pub(d.own("qos1"), "data_3", 1, 21863),
            d.sub(4527, d.own("qos0")), d.sub(28441, d.own("qos1"), qos=1),
            d.unsub(17812, d.own("qos1")),
            d.pub(d.own("qos0"), "data", echo=True),
            d.down(d.own("qos0"), "x"), d.bye()]


@shape("esp-mqtt: example mqtt5", 5)
def _esp_idf_5(d):
    # ... /mqtt5: expiry, receive maximum, alias maximum, user properties, a
    # will with a delay; all three QoS; here without QoS 2
    connect = (mqtt.session_expiry(10) + b"\x27\0\0\4\0" + b"\x21\xff\xff"
               + b"\x22\0\2" + b"\x19\1" + b"\x17\1"
               + mqtt.user_property("board", "esp32"))
    will = (b"\x18\0\0\0\x0a" + b"\1\1" + b"\2\0\0\0\x0a"
            + mqtt.text_property(8, d.own("response"))
            + mqtt.text_property(9, "123456"))
    publish = (b"\1\1" + b"\2\0\0\3\xe8" + b"\x23\0\1"
               + mqtt.text_property(8, d.own("response"))
               + mqtt.text_property(9, "123456"))
    return [d.login("ESP32_5", keep_alive=120, properties=connect,
                    will=(d.own("will"), "i will leave", 1, True),
                    will_properties=will),
            d.pub(d.own("qos1"), "data_3", 1, 100, properties=publish,
                  retain=True),
            d.sub(101, d.own("qos0"), properties=b"\x0b\1"),
            d.sub(102, d.own("qos1"), qos=1, options=4,
                  waiting=[(d.own("qos1"), b"data_3", 1)],
                  properties=b"\x0b\2" + mqtt.user_property("u", "1")),
            d.unsub(103, d.own("qos1")),
            d.bye_for_reason(0, mqtt.session_expiry(10))]


@shape("async-mqtt-client: example")
def _async(d):
    # FullyFeatured-ESP8266: subscribes at QoS 2, publishes all three QoS
    # retained
    return [d.login("esp8266b1c4d8", keep_alive=15),
            d.sub(1, d.own("lol"), qos=2),
            d.pub(d.own("lol"), "test 1", retain=True, echo=True),
            d.pub(d.own("lol"), "test 2", 1, 2, retain=True, echo=True),
            d.pub(d.own("lol"), "test 3", 2, 3, retain=True),
            d.rel(3, echo=True), d.lost()]


@shape("lwip: example")
def _lwip(d):
    # apps/mqtt_example: keep-alive 100, at most 4 in flight; its ring buffer
    # of 256 bytes gives TCP what lies linear, so packets are cut anywhere
    return [d.login("test", keep_alive=100),
            cut(together(d.sub(1, d.own("qos1"), qos=1),
                         d.sub(2, d.own("qos0"))), 17),
            cut(d.pub(d.own("data"), "y" * 180, 1, 3), 100),
            d.down(d.own("qos1"), "on", 1), d.lost()]


@shape("lwip: will")
def _lwip_will(d):
    return [d.login("lwip", keep_alive=0, will=(d.own("gone"), "1", 0)),
            d.pub(d.own("data"), "1", 1, 1), d.lost()]


@shape("umqtt.simple: piecemeal")
def _umqtt(d):
    # MicroPython: keep-alive 0, and every field is a write() of its own
    login = d.login("umqtt_client", keep_alive=0)
    publish = d.pub(d.own("foo"), "hello", 1, 1)
    topic = 2 + len(d.own("foo"))
    return [cut(login, 2, 10, 2),
            cut(d.pub(d.own("foo"), "hello"), 2, 2, topic - 2),
            cut(publish, 2, 2, topic - 2, 2),
            cut(d.sub(2, d.own("cmd")), 4, 2, len(d.own("cmd"))),
            d.down(d.own("cmd"), "led"), d.ping(), d.bye()]


@shape("umqtt.robust: comes back")
def _umqtt_robust(d):
    # clean_session=False, and reconnect() does not subscribe again
    return [d.login("umqtt_robust", keep_alive=0, clean=False),
            d.sub(1, d.own("cmd"), qos=1), d.lost(),
            d.down(d.own("cmd"), "while away", 1, away=True),
            d.login("umqtt_robust", session=True, keep_alive=0, clean=False,
                    waiting=[(d.own("cmd"), b"while away", 1)]),
            d.down(d.own("cmd"), "now", 1), d.lost()]


@shape("mqtt-c")
def _mqtt_c(d):
    # its examples: keep-alive 400; packet identifiers from an LFSR that
    # starts at 163
    return [d.login("mqtt-c", keep_alive=400),
            d.pub(d.own("datetime"), "The time is 2024-01-01 00:00:00"),
            d.sub(163, d.own("datetime") + "/x"),
            d.pub(d.own("datetime"), "later", 1, 46161), d.bye()]


@shape("mqtt-c: no client id", match_address=ANYONE)
def _mqtt_c_empty(d):
    # its simple_publisher says NULL, which is an empty one, and is clean
    return [d.login("", keep_alive=400),
            d.pub(d.own("datetime"), "The time is 2024-01-01 00:00:00"),
            d.bye()]


@shape("wolfmqtt: example client")
def _wolf(d):
    # examples/mqttclient: a will when asked for, testTopic, then all of it
    # back again
    base = "wolfMQTT/example/"
    return [d.login("WolfMQTTClient",
                    will=(base + "lwttopic", "lost", 0, False)),
            d.sub(2, base + "testTopic"),
            d.pub(base + "testTopic", "test", echo=True),
            d.unsub(4, base + "testTopic"), d.bye()]


@shape("wolfmqtt: MQTT 5", 5)
def _wolf_5(d):
    # request response information, topic alias maximum; subscription
    # identifier; aliases
    alias = b"\x23\0\1"
    return [d.login("WolfMQTTClient5", properties=b"\x19\1" + b"\x22\0\1"
                    + b"\x27\0\x10\0\0"),
            d.sub(2, d.own("in"), properties=b"\x0b\1"),
            d.pub(d.own("out"), "one", properties=alias + b"\1\1"),
            d.pub("", "two", properties=alias, as_=d.own("out")),
            d.unsub(4, d.own("in")), d.bye_for_reason(0)]


@shape("paho embedded: pub0sub1")
def _paho_embedded(d):
    # MQTTPacket/samples: keep-alive 20; waits for nothing between
    # SUBSCRIBE and SUBACK
    return [d.login("me", keep_alive=20, user_name="testuser",
                    password="testpassword"),
            together(d.sub(1, d.own("substopic")),
                     d.pub(d.own("pubtopic"), "mypayload")), d.bye()]


@shape("paho embedded: qos0pub, all at once")
def _paho_embedded_once(d):
    # CONNECT, PUBLISH and DISCONNECT in one buffer and one write
    return [together(d.login("myclientid", keep_alive=20),
                     d.pub(d.own("mytopic"), "mypayload"), d.bye())]


@shape("paho embedded: keep-alive 10, level 3", 3)
def _paho_embedded_31(d):
    # MQTTClient-C of the first years
    return [d.login("arduino_sub", keep_alive=10),
            d.sub(1, d.own("sub"), qos=1), d.down(d.own("sub"), "x", 1),
            d.ping(), d.bye()]


@shape("lwmqtt (arduino-mqtt)")
def _lwmqtt(d):
    # keep-alive 10, clean
    return [d.login("arduino", keep_alive=10, user_name="public",
                    password="public"),
            d.sub(1, d.own("hello")), d.pub(d.own("hello") + "/y", "world"),
            d.pub(d.own("hello") + "/y", "world", 1, 2), d.ping(), d.bye()]


@shape("arduinomqttclient: will")
def _arduino_client(d):
    # Arduino's own library: keep-alive 60 s, PUBLISH at any QoS
    return [d.login("Arduino-B1C4", user_name="u", password="p",
                    will=(d.own("will"), "oh no!", 2, True)),
            d.sub(1, d.own("in"), qos=1),
            d.pub(d.own("out"), "hello", 2, 2), d.rel(2), d.lost()]


@shape("zephyr: sample")
def _zephyr(d):
    # samples/net/mqtt_publisher: keep-alive 60, QoS 0 to 2 in turn
    return [d.login("zephyr_publisher"), d.ping(),
            d.pub(d.own("sensors"), "OK0"),
            d.pub(d.own("sensors"), "OK1", 1, 53310),
            d.pub(d.own("sensors"), "OK2", 2, 9), d.rel(9), d.bye()]


@shape("espruino tinyMQTT")
def _espruino(d):
    return [d.login("espruino"), d.pub(d.own("t"), "22"),
            d.sub(1, d.own("c")), d.down(d.own("c"), "1"), d.bye()]


# --------------------------------------------------------------------------
# Modems and controllers


@shape("quectel: AT+QMT, 3.1 by default", 3)
def _quectel(d):
    # AT+QMTCFG: version 3 (3.1) and keep-alive 120 when not told otherwise;
    # AT+QMTPUB numbers by hand
    return [d.login("clientExample", keep_alive=120, user_name="quectel",
                    password="12345678"),
            d.sub(1, d.own("topic"), qos=1),
            d.pub(d.own("pub"), "This is test data", 1, 1),
            d.down(d.own("topic"), "x", 1), d.unsub(2, d.own("topic")),
            d.bye()]


@shape("quectel: sends again")
def _quectel_again(d):
    # packet timeout 5 s, 3 retries: a lost PUBACK brings a second one
    return [d.login("bg96", keep_alive=120),
            d.pub(d.own("pub"), "count 7", 1, 7),
            d.pub(d.own("pub"), "count 7", 1, 7, again=True), d.bye()]


@shape("quectel: QoS 2 with a will")
def _quectel_will(d):
    return [d.login("bg95", keep_alive=120, clean=False,
                    will=(d.own("will"), "gone", 2, False)),
            d.sub(1, d.own("topic"), qos=2),
            d.pub(d.own("pub"), "data", 2, 5), d.rel(5), d.lost()]


@shape("simcom: AT+CMQTT")
def _simcom(d):
    # AT+CMQTTCONNECT="...",60,1 ; topic and payload as separate commands
    return [d.login("client test0", keep_alive=60),
            d.sub(1, d.own("sub"), qos=1),
            d.pub(d.own("pub"), "0123456789" * 12, 1, 2), d.lost()]


@shape("siemens s7: LMQTT_Client")
def _siemens_s7(d):
    # the block's manual: one packet at a time, a keep-alive of its own
    # choice, will and QoS up to 2
    return [d.login("S7-1500 Halle 2", keep_alive=300, user_name="plc",
                    password="plc", will=(d.own("state"), "0", 1, True)),
            d.pub(d.own("value"), "1", 2, 1), d.rel(1),
            d.sub(2, d.own("set"), qos=2), d.lost()]


@shape("siemens s7: publisher only")
def _siemens_s7_publisher(d):
    return [d.login("PLC_1", keep_alive=0),
            *(d.pub(d.own("DB10"), f"{at}.0") for at in range(5)), d.bye()]


@shape("siemens logo: shadow of a thing")
def _siemens_logo(d):
    # LOGO! 8.3 speaks to a cloud it knows by the topics of things
    base = "$aws/things/LOGO8/shadow/"
    return [d.login("LOGO8", keep_alive=60), d.sub(1, base + "update/delta"),
            d.pub(base + "update",
                  '{"state":{"reported":{"LOGO":{"V..1:0":{"value":[1]}}}}}'),
            d.pub(base + "get"), d.ping(), d.lost()]


@shape("advantech wise-4000")
def _wise(d):
    # its manual: Advantech/<MAC>/..., a status that is retained, with a will
    base = "Advantech/74FE48112233/"
    return [d.login("WISE-4012_112233", keep_alive=60, user_name="admin",
                    password="admin",
                    will=(base + "Device_Status", '{"status":"disconnect"}',
                          0, True)),
            d.pub(base + "Device_Status", '{"status":"connect"}',
                  retain=True),
            d.sub(1, base + "ctl/+"), d.pub(base + "data", '{"s":1,"di1":0}'),
            d.lost()]


@shape("victron venus: keepalive requests")
def _victron(d):
    # N/, R/ and W/ with the portal id; a device that reads asks for it
    return [d.login("display"), d.sub(1, "N/c0619ab1c4d8/#"),
            d.pub("R/c0619ab1c4d8/keepalive", ""),
            d.down("N/c0619ab1c4d8/battery/0/Soc", '{"value":87}'),
            d.lost()]


@shape("ia92 java client of 3.1", 3)
def _ia92(d):
    # MQIsdp: identifiers of 1 to 23 characters, keep-alive 30, user name
    # and password have come in with 3.1
    return [d.login("ia92_" + "x" * 18, keep_alive=30, clean=False),
            d.sub(1, d.own("a"), d.own("b"), qos=1),
            d.pub(d.own("c"), "x", 1, 2), d.ping(), d.bye()]


@shape("mqisdp: SUBSCRIBE sent again", 3)
def _mqisdp_again(d):
    # 3.1 has DUP for SUBSCRIBE and UNSUBSCRIBE too
    again = d.sub(1, d.own("a"), qos=1)
    again = dataclasses.replace(again, segments=(
        b"\x8a" + again.segments[0][1:],))
    return [d.login("meter-31", keep_alive=10),
            d.sub(1, d.own("a"), qos=1), again, d.bye()]


@shape("mqisdp: will of its day", 3)
def _mqisdp_will(d):
    return [d.login("telemetry", keep_alive=10,
                    will=(d.own("died"), "1", 1, False)),
            d.pub(d.own("level"), "3.5", 2, 1), d.rel(1), d.lost()]


# --------------------------------------------------------------------------
# Clients of bigger machines


@shape("mosquitto_pub")
def _mosquitto_pub(d):
    return [d.login("sensor", keep_alive=60), d.pub(d.own("t"), "21.5"),
            d.bye()]


@shape("mosquitto_pub: identifier of 1.x")
def _mosquitto_pub_1(d):
    # mosqpub|<pid>-<host>, cut to 23 bytes
    return [d.login("mosqpub|12345-gateway01"),
            d.pub(d.own("t"), "21.5", 1, 1), d.bye()]


@shape("mosquitto_pub: -V mqttv31", 3)
def _mosquitto_pub_31(d):
    return [d.login("mosqpub|999-pi"), d.pub(d.own("t"), "21.5"), d.bye()]


@shape("mosquitto_pub: no -i", match_address=ANYONE)
def _mosquitto_pub_empty(d):
    # 2.x leaves the choice to the broker
    return [d.login(""), d.pub(d.own("t"), "x", 1, 1), d.bye()]


@shape("mosquitto_pub: -r -n")
def _mosquitto_pub_clear(d):
    return [d.login("janitor"), d.pub(d.own("old"), retain=True), d.bye()]


@shape("mosquitto_pub: -l, a file line by line")
def _mosquitto_pub_lines(d):
    return [d.login("logger"),
            rushed(*(d.pub(d.own("log"), f"line {at}", 1, at)
                     for at in range(1, 41))), d.bye()]


@shape("mosquitto_pub: -f, as big as may be")
def _mosquitto_pub_file(d):
    return [d.login("camera-2"),
            d.pub(d.own("jpeg"), b"\xff\xd8" + bytes(256 * 1024 - 2), 1, 1),
            d.bye()]


@shape("mosquitto_sub: eight -t")
def _mosquitto_sub(d):
    # all -t go into one SUBSCRIBE
    return [d.login("reader"),
            d.sub(1, *(d.own(f"t{at}") for at in range(8)), qos=1),
            d.down(d.own("t7"), "x", 1), d.bye()]


@shape("mosquitto_sub: twenty -t")
def _mosquitto_sub_20(d):
    return [d.login("reader"),
            d.sub(1, *(d.own(f"t{at}") for at in range(20)), qos=1),
            d.down(d.own("t19"), "x", 1),
            d.unsub(2, *(d.own(f"t{at}") for at in range(20))), d.bye()]


@shape("mosquitto_sub: a ninth -t")
def _mosquitto_sub_9(d):
    return [d.login("reader"),
            d.sub(1, *(d.own(f"t{at}") for at in range(9))),
            d.down(d.own("t8"), "x"), d.bye()]


@shape("panel: one SUBSCRIBE, a QoS for each")
def _panel(d):
    # operator panels subscribe to a whole page at once, and give it back
    page = [(d.own(f"tag{at}"), at % 2) for at in range(6)]
    return [d.login("panel-1"), d.sub(1, *page),
            d.down(d.own("tag3"), "7", 1), d.down(d.own("tag2"), "7", 0),
            d.unsub(2, *(name for name, _ in page)), d.bye()]


@shape("panel: a page of sixteen with QoS 2 in it")
def _panel_16(d):
    page = [(d.own(f"tag{at}"), at % 3) for at in range(16)]
    return [d.login("panel-2", clean=False), d.sub(1, *page),
            d.down(d.own("tag2"), "7", 1),
            d.unsub(2, *(name for name, _ in page)), d.bye()]


@shape("mosquitto_sub: -c -q 1")
def _mosquitto_sub_keep(d):
    return [d.login("keeper", clean=False), d.sub(1, d.own("#"), qos=1),
            d.bye(), d.down(d.own("a"), "kept", 1, away=True),
            d.login("keeper", clean=False, session=True,
                    waiting=[(d.own("a"), b"kept", 1)]),
            d.sub(1, d.own("#"), qos=1), d.bye(),
            d.login("keeper", clean=True, session=False), d.bye()]


@shape("mosquitto_sub: wildcards in the middle")
def _mosquitto_sub_wild(d):
    return [d.login("watcher"),
            d.sub(1, d.own("+") + "/state", d.own("room") + "/#"),
            d.down(d.own("lamp") + "/state", "on"),
            d.down(d.own("room"), "parent too"), d.bye()]


@shape("mosquitto bridge")
def _mosquitto_bridge(d):
    # try_private: the highest bit of the level is a question; who refuses
    # with 1 gets the level as it is. It takes back what it might have
    # subscribed, and comes with notifications off
    first = d.login("site-1.cloud", clean=False, refused=1)
    first = dataclasses.replace(first, segments=(
        first.segments[0].replace(b"MQTT\4", b"MQTT\x84", 1),), ends="lost")
    return [first, d.login("site-1.cloud", clean=False),
            d.unsub(1, d.own("out") + "/#"),
            d.sub(2, d.own("in") + "/#", qos=1),
            d.pub(d.own("out") + "/t", "21.5", 1, 3),
            d.down(d.own("in") + "/set", "22", 1), d.lost()]


@shape("mosquitto bridge: notifications")
def _mosquitto_bridge_state(d):
    state = "$SYS/broker/connection/site-1.cloud/state"
    return [d.login("site-2.cloud", clean=False, will=(state, "0", 1, True)),
            d.pub(state, "1", 1, 1, retain=True), d.lost()]


@shape("paho c: sync publish sample")
def _paho_c(d):
    return [d.login("ExampleClientPub", keep_alive=20),
            d.pub(d.own("MQTT_Examples"), "Hello World!", 1, 1), d.bye()]


@shape("paho c: its default topic")
def _paho_c_topic(d):
    return [d.login("ExampleClientSub", keep_alive=20),
            d.sub(1, "MQTT Examples", qos=1),
            d.down("MQTT Examples", "Hello World!", 1),
            d.unsub(2, "MQTT Examples"), d.bye()]


@shape("paho c: QoS 2, not clean")
def _paho_c_2(d):
    return [d.login("ExampleClientAsync", keep_alive=20, clean=False),
            d.pub(d.own("a"), "1", 2, 1), d.pub(d.own("a"), "2", 2, 2),
            d.rel(1), d.rel(2), d.lost()]


@shape("paho python", match_username="py")
def _paho_python(d):
    # no client_id: empty at 3.1.1; a subscription in on_connect
    return [d.login("", user_name="py", password="pw"),
            d.sub(1, d.own("SYS") + "/#"),
            d.pub(d.own("x"), "1", 1, 2), d.pub(d.own("x"), "2", 1, 3),
            d.ping(), d.bye()]


@shape("paho python: 3.1 and no client_id", 3, match_username="py31")
def _paho_python_31(d):
    # 3.1 has no empty ones: 22 characters at random
    return [d.login("3Fb0vA9CqGdJx7KtLmN1pQ", user_name="py31",
                    password="pw"), d.pub(d.own("x"), "1"), d.bye()]


@shape("paho python: keep-alive as long as can be")
def _paho_python_long(d):
    return [d.login("sleeper", keep_alive=65535), d.pub(d.own("x"), "1"),
            d.lost()]


@shape("mqtt.js", match_username="js")
def _mqtt_js(d):
    # mqttjs_ and eight hex digits at random; keep-alive 60; packets that
    # were called for before CONNACK come right behind it
    return [d.login("mqttjs_3d09a1f2", user_name="js", password="pw"),
            together(d.sub(53681, d.own("presence")),
                     d.pub(d.own("presence") + "/x", "Hello mqtt")),
            d.ping(), d.bye()]


@shape("mqtt.js: MQTT 5", 5)
def _mqtt_js_5(d):
    return [d.login("mqttjs_5", properties=b"\x17\0" + b"\x21\0\x14"
                    + mqtt.user_property("test", "test")),
            d.sub(2, d.own("a"), qos=1, options=0x0c,
                  properties=b"\x0b\x64"),
            d.pub(d.own("a"), "self", properties=mqtt.user_property("k", "")),
            d.down(d.own("a"), "other", 1),
            d.bye_for_reason(0, mqtt.text_property(0x1F, "done"))]


@shape("node-red", match_client_id="nodered_1f2e3d4c5b6a7988")
def _node_red(d):
    # birth, close and will messages; "mqtt in" asks for QoS 2 unless told
    birth = "factory/line 1/node-red"
    return [d.login("nodered_1f2e3d4c5b6a7988",
                    will=(birth, "unexpected", 1, True)),
            d.pub(birth, "online", 1, 1, retain=True),
            d.sub(2, "factory/line 1/+/state", qos=2),
            d.sub(3, "factory/line 1/cmd", qos=2),
            d.pub(birth, "closed", 1, 4, retain=True), d.bye()]


@shape("node-red: own topics")
def _node_red_own(d):
    return [d.login("nodered_own"), d.sub(1, d.own("+") + "/state", qos=1),
            d.pub(d.own("line1"), '{"payload":1}'),
            d.down(d.own("line2") + "/state", "run", 1), d.bye()]


@shape("go paho")
def _go_paho(d):
    # keep-alive 30, order matters, resumes subscriptions in one packet
    return [d.login("go-simple", keep_alive=30),
            d.sub(1, d.own("sample")), d.pub(d.own("sample") + "/0", "msg 0"),
            d.unsub(2, d.own("sample")), d.bye()]


@shape("m2mqtt (.NET)")
def _m2mqtt(d):
    # a GUID of 36 characters; QoS 2 as its examples have it
    return [d.login("0f8fad5b-d9cb-469f-a165-70867728950e"),
            d.sub(1, d.own("home"), qos=2),
            d.pub(d.own("home"), "25.5", 2, 2), d.rel(2, echo=True), d.bye()]


@shape("mqttnet: keep-alive 15")
def _mqttnet(d):
    return [d.login("7f3c0a6e9d5b4f0f8a1e", keep_alive=15),
            together(d.pub(d.own("a"), "1", 1, 1), d.pub(d.own("a"), "2", 1,
                                                         2)),
            d.ping(), d.bye()]


@shape("hivemq client: MQTT 5", 5, match_username="hive")
def _hivemq(d):
    # no identifier: one is assigned; receive maximum 65535 is left out,
    # session for ever, problem information off
    return [d.login("", user_name="hive", password="mq",
                    properties=mqtt.session_expiry(0xFFFFFFFF) + b"\x17\0"
                    + b"\x21\0\x0a"),
            d.sub(1, d.own("a"), qos=1, options=0x14,
                  properties=b"\x0b\x80\1"),
            d.pub(d.own("b"), "x", 1, 2, properties=b"\1\1"
                  + mqtt.text_property(3, "text/plain")
                  + mqtt.user_property("a", "1")
                  + mqtt.user_property("a", "2")),
            d.down(d.own("a"), "y", 1),
            d.bye_for_reason(0, mqtt.session_expiry(0))]


@shape("hivemq client: will of MQTT 5 after DISCONNECT 4", 5)
def _hivemq_will(d):
    # "disconnect with will message"
    return [d.login("hmq-will", will=(d.own("will"), "bye", 1, False)),
            d.bye_for_reason(4)]


@shape("rumqttc: MQTT 5, will when lost", 5)
def _rumqttc(d):
    return [d.login("rumqtt-sync", keep_alive=5,
                    will=(d.own("hello"), "good bye", 1, True)),
            d.pub(d.own("hello"), "hello", 1, 1, retain=True), d.lost()]


@shape("mqtt 5: session for a while", 5)
def _five_session(d):
    return [d.login("five-keep", clean=True, session=False,
                    properties=mqtt.session_expiry(300)),
            d.sub(1, d.own("a"), qos=1), d.lost(),
            d.down(d.own("a"), "kept", 1, away=True),
            d.login("five-keep", clean=False, session=True,
                    properties=mqtt.session_expiry(300),
                    waiting=[(d.own("a"), b"kept", 1)]),
            d.bye_for_reason(0, mqtt.session_expiry(0))]


@shape("mqtt 5: request and response", 5)
def _five_request(d):
    return [d.login("five-ask", properties=b"\x19\1"),
            d.sub(1, d.own("answers"), qos=1),
            d.pub(d.own("ask"), "?", 1, 2,
                  properties=mqtt.text_property(8, d.own("answers"))
                  + mqtt.text_property(9, b"\0\1\xff")
                  + struct.pack("!BI", 2, 30)),
            d.down(d.own("answers"), "!", 1), d.bye_for_reason(0)]


@shape("aws iot sdk: shadow", match_username="?SDK=C&Version=3.0.1")
def _aws(d):
    # keep-alive 600; its metrics string is the user name; no QoS 2 there
    base = "$aws/things/AWS-IoT-C-SDK/shadow/"
    return [d.login("c-sdk-client-id", keep_alive=600,
                    user_name="?SDK=C&Version=3.0.1"),
            d.sub(1, base + "get/accepted", base + "get/rejected", qos=1),
            d.pub(base + "get"), d.sub(3, base + "update/accepted", qos=1),
            d.pub(base + "update", '{"state":{"reported":{"t":1}},'
                  '"clientToken":"c-0"}'), d.lost()]


@shape("aws iot sdk: own topics")
def _aws_own(d):
    return [d.login("c-sdk", keep_alive=1200),
            d.sub(1, d.own("sdk") + "/test/cpp", qos=1),
            d.pub(d.own("sdk") + "/test", "hello from SDK QOS1 : 0", 1, 2),
            d.down(d.own("sdk") + "/test/cpp", "x", 1), d.lost()]


@shape("azure iot device sdk")
def _azure(d):
    # keep-alive 240, properties in the topic, $iothub filters, QoS 1
    return [d.login("device7", keep_alive=240, clean=False,
                    user_name="hub.azure-devices.net/device7/"
                    "?api-version=2020-09-30",
                    password="SharedAccessSignature sr=hub&sig=x&se=1"),
            d.sub(1, "devices/device7/messages/devicebound/#", qos=1),
            d.sub(2, "$iothub/twin/res/#"), d.sub(3, "$iothub/methods/POST/#"),
            d.pub("devices/device7/messages/events/$.ct=application%2Fjson&"
                  "$.ce=utf-8", '{"t":21}', 1, 4), d.bye()]


@shape("thingsboard device", match_username="A1_TEST_TOKEN")
def _thingsboard(d):
    # an access token as user name, no password; built-in topics
    return [d.login("", user_name="A1_TEST_TOKEN"),
            d.sub(1, "v1/devices/me/rpc/request/+"),
            d.pub("v1/devices/me/telemetry", '{"temperature":42}', 1, 2),
            d.pub("v1/devices/me/attributes", '{"fw":"1.2"}', 1, 3),
            d.lost()]


@shape("sparkplug b edge node")
def _sparkplug(d):
    # Sparkplug 3.0: NDEATH is the will at QoS 1, not retained; subscribes
    # to commands and STATE at QoS 1, then NBIRTH at QoS 0
    base = "spBv1.0/Plant/"
    return [d.login("edge-1", keep_alive=30,
                    will=(base + "NDEATH/Edge1", b"\x12\x0a\n\x05bdSeq", 1)),
            d.sub(1, base + "NCMD/Edge1/#", qos=1),
            d.sub(2, base + "DCMD/Edge1/#", qos=1),
            d.sub(3, "spBv1.0/STATE/host", qos=1),
            d.pub(base + "NBIRTH/Edge1", b"\x08\x80\xe8\x01"),
            d.pub(base + "DBIRTH/Edge1/Motor 1", b"\x08\x81\xe8\x01"),
            d.down(base + "NCMD/Edge1", b"\x08\x82", 0), d.lost()]


@shape("aliyun: the platform's own alink", match_address=ANYONE)
def _alink(d):
    # a device that was built for the platform and lost its TLS
    return [d.login("12345|securemode=3,signmethod=hmacsha1|",
                    user_name="dn&pk", password="A" * 40),
            d.sub(1, d.thing("event/property/post_reply"), qos=1),
            d.sub(2, d.thing("service/property/set"), qos=1),
            d.pub(d.thing("event/property/post"),
                  '{"id":"1","version":"1.0","params":{"t":21},'
                  '"method":"thing.event.property.post"}', 1, 3),
            d.down(d.thing("service/property/set"),
                   '{"id":"2","params":{"led":1}}', 1), d.ping(), d.lost()]


# --------------------------------------------------------------------------
# Odd, and seen


@shape("odd: PINGREQ right behind CONNECT")
def _odd_ping(d):
    return [together(d.login("hasty"), d.ping()), d.bye()]


@shape("odd: everything before CONNACK")
def _odd_all(d):
    return [together(d.login("hurried"), d.sub(1, d.own("a"), qos=1),
                     d.pub(d.own("b"), "1", 1, 2), d.pub(d.own("b"), "2"),
                     d.ping()), d.down(d.own("a"), "x", 1), d.bye()]


@shape("odd: one byte a segment")
def _odd_bytes(d):
    # a serial bridge with a short timer
    return [bytewise(d.login("serial")), bytewise(d.sub(1, d.own("a"))),
            bytewise(d.pub(d.own("b"), "12", 1, 2)), bytewise(d.ping()),
            d.bye()]


@shape("odd: a segment ends inside the next packet")
def _odd_segments(d):
    both = together(d.pub(d.own("b"), "x" * 300, 1, 1),
                    d.pub(d.own("b"), "y" * 300, 1, 2))
    return [d.login("mss-536"), cut(both, 340, 1, 200), d.bye()]


@shape("odd: spaces, umlauts and signs in the identifier")
def _odd_id(d):
    return [d.login("Pumpe 7/Süd größer+#3"), d.pub(d.own("x"), "1"),
            d.bye()]


@shape("odd: an identifier of other scripts", match_username="水泵")
def _odd_script(d):
    return [d.login("泵房一号🚰", user_name="水泵", password="密码"),
            d.pub(d.own("x"), "值", 1, 1), d.bye()]


@shape("odd: a long identifier")
def _odd_long_id(d):
    # over the 64 characters of the platform, over the 23 of the standard
    return [d.login("urn:dev:mac:" + "0024befffe804ff1" * 6),
            d.pub(d.own("x"), "1"), d.bye()]


@shape("odd: keep-alive 5")
def _odd_keep_alive(d):
    return [d.login("nervous", keep_alive=5), d.ping(), d.ping(), d.ping(),
            d.bye()]


@shape("odd: comes again without leaving")
def _odd_again(d):
    # a reset device does not know that it is still connected
    return [d.login("rebooter"), d.pub(d.own("boot"), "1"),
            d.login("rebooter"), d.pub(d.own("boot"), "2"), d.bye()]


@shape("odd: a packet identifier for every message is the same")
def _odd_number(d):
    return [d.login("constant"), *(d.pub(d.own("x"), f"{at}", 1, 1)
                                   for at in range(4)), d.bye()]


@shape("odd: identifier 65535, then 1")
def _odd_wrap(d):
    return [d.login("wrapper"), d.pub(d.own("x"), "a", 1, 65535),
            d.pub(d.own("x"), "b", 1, 1), d.bye()]


@shape("odd: a filter again, and one that was never there")
def _odd_filters(d):
    return [d.login("forgetful"), d.sub(1, d.own("a")),
            d.sub(2, d.own("a"), qos=1), d.unsub(3, d.own("never")),
            d.down(d.own("a"), "once", 1), d.bye()]


@shape("odd: topics of every kind")
def _odd_topics(d):
    return [d.login("poet"),
            *(d.pub(topic, "x") for topic in (
                "T", "/", "/lead", "trail/", "a//b", "Living Room/Temp °C",
                "a/b/c/d/e/f/g/h/i/j/k", "x" * 200, "tem.pe-ra:ture",
                "温度", "node=1;s=2|3&4")), d.bye()]


# which of "+/+/state" and "/#" is more specific nobody can say, so that they
# cannot each have a rule; one that takes every topic makes filters of all
EVERY_TOPIC = {"topic.1.lan": "#", "topic.1.escape": "yes",
               "topic.1.cloud": "/${pk}/${dn}/user/$#"}


@shape("odd: filters of every kind", rules=EVERY_TOPIC)
def _odd_wild(d):
    return [d.login("curious"), d.sub(1, "#"), d.sub(2, "+/+/state", "/#"),
            d.sub(3, "cmd/+/Living Room/#", qos=1), d.unsub(4, "#"), d.bye()]


@shape("odd: retained and gone at once")
def _odd_sleepy(d):
    # a battery sensor that wakes once an hour
    return [together(d.login("battery", keep_alive=0),
                     promising_nothing(d.pub(d.own("t"), "3.2 V", 1, 1,
                                             retain=True)), d.bye())]


@shape("odd: QoS 2 sent again")
def _odd_qos2(d):
    # exactly once: the application sees one, though two come
    return [d.login("twice", clean=False), d.pub(d.own("x"), "once", 2, 1),
            d.lost(), d.login("twice", clean=False, session=True),
            d.pub(d.own("x"), "once", 2, 1, again=True), d.rel(1), d.bye()]


@shape("odd: will that must not come")
def _odd_no_will(d):
    return [d.login("polite", will=(d.own("gone"), "1", 1, True)),
            d.pub(d.own("here"), "1", 1, 1), d.bye(),
            d.login("polite"), d.pub(d.own("here"), "2", 1, 1), d.bye()]
