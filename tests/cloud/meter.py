"""How much came in sliding seconds, by the clock of the gate."""

import collections
import time

# a sender that uses up the jitter in every second is found in these
LONG_S = 10


class Meter:
    """Amounts and when they came; those of the last LONG_S are kept."""

    def __init__(self, clock=time.monotonic):
        self._clock = clock
        self._seen = collections.deque()    # (time, amount)

    def add(self, amount=1):
        now = self._clock()
        while self._seen and self._seen[0][0] <= now - LONG_S:
            self._seen.popleft()
        self._seen.append((now, amount))

    def sum(self, seconds=1):
        """What came in the seconds until now."""
        since = self._clock() - seconds
        return sum(amount for when, amount in self._seen if when > since)

    def rate_with(self, amount, jitter_s):
        """The amount a second that a sender must have sent, at the least,
        if this amount comes now.

        It keeps the rate in every second of its own; each packet may be up
        to jitter_s on its way.  So n seconds of it can arrive in n seconds
        less the jitter, and not in less."""
        return max((self.sum(seconds - jitter_s) + amount) / seconds
                   for seconds in (1, LONG_S))

    def wait_for(self, most):
        """Seconds until one more is within this many a second."""
        if self.sum() < most:
            return 0
        return max(self._seen[-most][0] + 1 - self._clock(), 0)


class DeviceMeters:
    """Of one identity, whatever its connection."""

    def __init__(self):
        self.publishes = Meter(), Meter()       # by QoS
        self.deliveries = Meter()
