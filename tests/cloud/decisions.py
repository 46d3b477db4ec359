"""The gate's book: one JSON line for everything it saw and decided."""

import collections
import json
import time


class Decisions:
    """Writes to an open text file and counts lines by event."""

    def __init__(self, out):
        self._out = out
        self.counts = collections.Counter()

    def write(self, event, **fields):
        """Writes one line at once.  Fields have to be JSON values."""
        self.counts[event] += 1
        line = {"event": event, "t": round(time.time(), 3), **fields}
        self._out.write(json.dumps(line) + "\n")
        self._out.flush()
