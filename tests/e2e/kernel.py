"""What the kernel knows of TCP connections, and waiting for a state."""

import time

from proxy import TIMEOUT

ESTABLISHED, LISTEN = 1, 10


def connections(local=None, remote=None):
    """Connections of this machine over IPv4 as (state, unread bytes), by
    the port of either side."""
    return [row[1:] for row in _rows(local, remote)]


def ports_to(remote):
    """The near ports of the open connections to that port: who waits for a
    new one must not be misled by an old one that goes."""
    return {port for port, state, _ in _rows(None, remote)
            if state == ESTABLISHED}


def unread(local=None, remote=None):
    """Bytes that have arrived there and that nobody has read yet."""
    return sum(bytes_ for state, bytes_ in connections(local, remote)
               if state == ESTABLISHED)


def wait_until(condition, timeout=TIMEOUT):
    """Returns what the condition gives once that is true."""
    deadline = time.monotonic() + timeout
    while not (found := condition()):
        assert time.monotonic() < deadline, "the state never came"
        time.sleep(0.005)
    return found


def wait_until_unread(**ends):
    """Waits until somebody has stopped to read: bytes lie there, and as many
    at each of the next looks."""
    looks = [0] * 20

    def stands():
        looks.append(unread(**ends))
        looks.pop(0)
        return min(looks) and len(set(looks)) == 1

    wait_until(stands)


def _rows(local, remote):
    found = []
    with open("/proc/net/tcp", encoding="ascii") as rows:
        next(rows)
        for row in rows:
            here, there, state, queues = row.split()[1:5]
            if (local in (None, _port(here))
                    and remote in (None, _port(there))):
                found.append((_port(here), int(state, 16),
                              int(queues.split(":")[1], 16)))
    return found


def _port(end):
    return int(end.partition(":")[2], 16)
