"""The platform's rules, judged from what a device sent and nothing else.

Written from Alibaba Cloud's documentation, apart from the proxy's own
signer on purpose: it is the second opinion.  Where the documentation is
silent, the choice made here is named in the README.
"""

import configparser
import hmac
import re
from dataclasses import dataclass, field
from typing import Optional

CLIENT_ID_MAX = 64

# the key that is missing from a client identifier means hmacmd5
SIGN_METHODS = {"hmacmd5": "md5", "hmacsha1": "sha1", "hmacsha256": "sha256"}

_LEVEL = re.compile("[A-Za-z0-9_]+", re.ASCII)

# CONNACK codes, (levels 3 and 4, level 5)
BAD_LEVEL = (1, 0x84)
BAD_IDENTIFIER = (2, 0x85)
BAD_CREDENTIALS = (4, 0x86)
NOT_AUTHORISED = (5, 0x87)


@dataclass(frozen=True)
class Device:
    """One device the platform knows."""
    product_key: str
    device_name: str
    device_secret: str = field(repr=False)
    enabled: bool = True


def read_devices(path):
    """Reads the gate's own device file: an INI section per device, its
    name is free; product_key, device_name, device_secret, enabled (yes).
    Returns {(product key, device name): Device}."""
    ini = configparser.ConfigParser(interpolation=None)
    with open(path, encoding="utf-8") as lines:
        ini.read_file(lines)
    devices = {}
    for name in ini.sections():
        entry = ini[name]
        try:
            device = Device(entry["product_key"], entry["device_name"],
                            entry["device_secret"],
                            entry.getboolean("enabled", True))
        except KeyError as missing:
            raise SystemExit(f"{path}: [{name}] lacks {missing}") from None
        devices[device.product_key, device.device_name] = device
    return devices


class _Refusal(Exception):
    pass


@dataclass
class Login:
    """What was found in a CONNECT.  codes is None when all is well, else
    the CONNACK codes of a refusal and reason says why."""
    client_id: Optional[str] = None
    product_key: Optional[str] = None
    device_name: Optional[str] = None
    sign_method: Optional[str] = None
    secure_mode: Optional[str] = None
    timestamp: Optional[str] = None
    extra: dict = field(default_factory=dict)
    codes: Optional[tuple] = None
    reason: str = "accepted"

    @property
    def identity(self):
        return self.product_key, self.device_name


def audit_login(connect, tls, devices):
    """Judges an mqtt.Connect; always returns a Login, as far as it got."""
    login = Login()
    try:
        _audit(login, connect, tls, devices)
    except _Refusal as refusal:
        login.codes, login.reason = refusal.args
    return login


def _audit(login, connect, tls, devices):
    if connect.level not in (3, 4, 5):
        raise _Refusal(BAD_LEVEL, f"protocol level {connect.level}")
    _read_user_name(login, connect.user_name)
    _read_client_id(login, connect.client_id)
    expected = "2" if tls else "3"
    if login.secure_mode != expected:
        raise _Refusal(BAD_IDENTIFIER, f"securemode is {login.secure_mode},"
                       f" not {expected} as this transport asks")
    if login.sign_method not in SIGN_METHODS:
        raise _Refusal(BAD_IDENTIFIER,
                       f"signmethod {login.sign_method!r} is unknown")
    device = devices.get(login.identity)
    if device is None:
        raise _Refusal(NOT_AUTHORISED, "unknown device")
    sent = (connect.password or b"").lower()
    if not hmac.compare_digest(sent, _sign(login, device).encode("ascii")):
        raise _Refusal(BAD_CREDENTIALS, "wrong signature")
    if not device.enabled:
        raise _Refusal(NOT_AUTHORISED, "device is disabled")


def _read_user_name(login, user_name):
    # neither name can hold '&', so there is one way to split
    name, bar, key = (user_name or "").partition("&")
    if not (name and bar and key) or "&" in key:
        raise _Refusal(BAD_CREDENTIALS,
                       "user name is not <deviceName>&<productKey>")
    login.device_name, login.product_key = name, key


def _read_client_id(login, client_id):
    # a value may hold a bar ("lan=JS|Ali"), the bare identifier may not
    login.client_id, bar, tail = client_id.partition("|")
    if not bar or not tail.endswith("|"):
        raise _Refusal(BAD_IDENTIFIER, "client id is not <id>|k=v,...|")
    if len(login.client_id) > CLIENT_ID_MAX:
        raise _Refusal(BAD_IDENTIFIER, "client id of more than"
                       f" {CLIENT_ID_MAX} characters")
    # official C clients end the list with a comma
    for pair in tail[:-1].removesuffix(",").split(","):
        key, equals, value = pair.partition("=")
        if not key or not equals or key != key.strip():
            raise _Refusal(BAD_IDENTIFIER, f"client id: {pair!r} is not k=v")
        if key in login.extra:
            raise _Refusal(BAD_IDENTIFIER, f"client id: {key} twice")
        login.extra[key] = value
    login.secure_mode = login.extra.pop("securemode", None)
    login.sign_method = login.extra.pop("signmethod", "hmacmd5")
    login.timestamp = login.extra.pop("timestamp", None)
    if login.timestamp is not None and not (
            login.timestamp.isascii() and login.timestamp.isdigit()):
        raise _Refusal(BAD_IDENTIFIER, "timestamp is not a number")


def _sign(login, device):
    """Lower-case hex over what was sent: names sorted, values appended, no
    separator; an empty client id stays in with an empty value."""
    signed = {"clientId": login.client_id, "deviceName": login.device_name,
              "productKey": login.product_key}
    if login.timestamp is not None:
        signed["timestamp"] = login.timestamp
    content = "".join(name + signed[name] for name in sorted(signed))
    return hmac.new(device.device_secret.encode(), content.encode(),
                    SIGN_METHODS[login.sign_method]).hexdigest()


def topic_characters_fault(topic, identity, wildcards=False):
    """Says which level of a topic, or with wildcards of a filter, is not of
    letters, digits and underscores, or None.  The device's own names are
    what they are."""
    if wildcards:
        topic = _without_share(topic)
    fine = {*identity, *("+#" if wildcards else "")}
    for level in topic.removeprefix("/").split("/"):
        if level not in fine and not _LEVEL.fullmatch(level):
            return f"level {level!r} holds more than letters, digits and _"
    return None


def may_publish(topic, product_key, device_name):
    """Whether the topic is the device's own.  In filters the two names
    have to be literal, so this serves for subscriptions too."""
    levels = topic.split("/")
    if levels[0] or len(levels) < 3:
        return False
    mine = [product_key, device_name]
    holds_both = any(levels[at:at + 2] == mine for at in range(2, len(levels)))
    if levels[1] == "sys":
        return levels[2:4] == mine and len(levels) > 4
    if levels[1] in ("ota", "shadow"):
        return holds_both
    if levels[1] == "ext":
        return (holds_both or levels[2] in ("rrpc", "register")
                or levels[2:] == ["auth", "identity", "response"])
    return levels[1:3] == mine and len(levels) > 3


def may_subscribe(topic_filter, product_key, device_name):
    """Whether the filter matches the device's own topics only."""
    topic_filter = _without_share(topic_filter)
    return (topic_filter.startswith(f"/broadcast/{product_key}/")
            or may_publish(topic_filter, product_key, device_name))


def _without_share(topic_filter):
    """The filter of a shared subscription; of any other all of it."""
    if topic_filter.startswith("$share/"):
        return topic_filter[len("$share/"):].partition("/")[2]
    return topic_filter
