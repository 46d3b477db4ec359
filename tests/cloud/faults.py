"""What the gate is told at run time to do wrong, per identity."""

import os

import contract
import mqtt

DOWNLINKS = ("whole", "bytes", "fragments", "pinged", "merged")
SUBPROTOCOLS = ("required", "ignored")
CONNACK_PROPERTIES = {
    "assigned_client_id": (mqtt.ASSIGNED_CLIENT_ID, mqtt.text),
    "server_keep_alive": (mqtt.SERVER_KEEP_ALIVE,
                          lambda value: value.to_bytes(2, "big")),
    "server_reference": (mqtt.SERVER_REFERENCE, mqtt.text),
}

NONE = {
    "downlink": "whole",        # how packets lie in WebSocket messages
    "connack_delay": 0,         # seconds
    "answer_pings": True,
    "answer_publishes": True,
    "connack_properties": {},   # level 5: extra properties of CONNACK
    "refuse": 0,                # CONNACK code for logins that are all right
    "refuse_count": None,       # how many of them, None for all
    "logins_per_minute": None,  # more of one identity are refused
    "kick_after": None,         # seconds from a login to its end
    "strict": False,            # which rules count, see contract.py
    "limits": {},               # those of contract.py that differ
    "subprotocol": "required",  # of the upgrade
    "upgrade_status": None,     # the answer to all upgrades
    "upgrade_headers": {},      # of that answer
    "date_offset": 0,           # seconds the date in answers is ahead
    "chain": None,              # the certificates shown, a file
}

# the identity is not known yet, or does not matter
FOR_ALL = {"subprotocol", "upgrade_status", "upgrade_headers", "date_offset",
           "chain"}

ALL = (None, None)


class Faults:
    """Settings of all identities, overlaid by those of one."""

    def __init__(self, strict=False):
        self._none = {**NONE, "strict": strict}
        self._set = {}

    def set(self, identity, changes):
        """Changes faults of (product key, device name) or ALL; raises
        ValueError on what is not a fault or not a value of it."""
        for name, value in changes.items():
            _check(name, value)
        if identity != ALL and None in identity:
            raise ValueError("product_key and device_name go together")
        if identity != ALL and (wrong := FOR_ALL & set(changes)):
            raise ValueError(f"{wrong}: for all identities only")
        self._set.setdefault(identity, {}).update(changes)

    def clear(self):
        self._set.clear()

    def get(self, identity, name):
        for key in (identity, ALL):
            if name in self._set.get(key, ()):
                return self._set[key][name]
        return self._none[name]

    def take_refusal(self, identity):
        """The code to refuse a login with, 0 for none; counts down."""
        for key in (identity, ALL):
            mine = self._set.get(key, {})
            code, count = mine.get("refuse", 0), mine.get("refuse_count")
            if not code or count == 0:
                continue
            if count is not None:
                mine["refuse_count"] = count - 1
            return code
        return 0

    def connack_properties(self, identity):
        """The extra properties as a raw block."""
        wanted = self.get(identity, "connack_properties")
        return b"".join(
            bytes([identifier]) + write(wanted[name])
            for name, (identifier, write) in CONNACK_PROPERTIES.items()
            if name in wanted)


def _check(name, value):
    if name not in NONE:
        raise ValueError(f"no fault is called {name!r}")
    bad = {
        "downlink": lambda: value not in DOWNLINKS,
        "subprotocol": lambda: value not in SUBPROTOCOLS,
        "connack_properties": lambda: set(value) - set(CONNACK_PROPERTIES),
        "answer_pings": lambda: not isinstance(value, bool),
        "answer_publishes": lambda: not isinstance(value, bool),
        "strict": lambda: not isinstance(value, bool),
        "limits": lambda: (set(value) - set(contract.LIMITS)
                           or not all(limit > 0
                                      for limit in value.values())),
        "connack_delay": lambda: value < 0,
        "refuse": lambda: not 0 <= value <= 255,
        "refuse_count": lambda: value is not None and value < 0,
        "logins_per_minute": lambda: value is not None and value < 1,
        "kick_after": lambda: value is not None and value < 0,
        "upgrade_status": lambda: (value is not None
                                   and not 200 <= value <= 599),
        "upgrade_headers": lambda: not all(
            isinstance(text, str) for pair in value.items()
            for text in pair),
        "date_offset": lambda: not isinstance(value, (int, float)),
        "chain": lambda: value is not None and not os.path.isfile(value),
    }
    try:
        if bad[name]():
            raise ValueError(f"{name}: {value!r} is out of range")
    except (TypeError, AttributeError):
        raise ValueError(f"{name}: {value!r} is of a wrong kind") from None
