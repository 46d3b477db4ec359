"""What every test of bad peers has beside it: a good session, which must not
notice, and a count of descriptors, which have to come back."""

import contextlib
import itertools
import os
import pathlib
import resource
import signal

from cloud_process import topic_of
from kernel import wait_until
from mqtt_raw import CONNACK, DISCONNECT_KIND, Client, Packet


def descriptors(pid):
    return {int(name) for name in os.listdir(f"/proc/{pid}/fd")}


def limit_descriptors(pid, free):
    """Lets the process open so many more; None: as many as it likes."""
    _, hard = resource.prlimit(pid, resource.RLIMIT_NOFILE)
    soft = hard
    if free is not None:
        taken = descriptors(pid)
        free_ones = (at for at in itertools.count() if at not in taken)
        soft = next(itertools.islice(free_ones, free, None))
    resource.prlimit(pid, resource.RLIMIT_NOFILE, (soft, hard))


def stopped(pid):
    """Whether all threads are."""
    states = [pathlib.Path(f"/proc/{pid}/task/{task}/stat").read_text()
              .rpartition(")")[2].split()[0]
              for task in os.listdir(f"/proc/{pid}/task")]
    return set(states) == {"T"}


def connack(level, code3, code5):
    """What a device gets that is refused."""
    return [Packet(CONNACK, 0, bytes([0, code5, 0]) if level >= 5
                   else bytes([0, code3]))]


def disconnect(level, code5):
    """What a device gets that was online: below level 5 just the end."""
    return [Packet(DISCONNECT_KIND, 0, bytes([code5]))] if level >= 5 else []


class Bystander:
    """A session through the emulated cloud, and the proxy it lives in."""

    def __init__(self, proxy, entry):
        self.proxy = proxy
        self._topic = topic_of(entry)
        self._last = contextlib.ExitStack()
        self._client = Client(proxy.port)
        self._client.log_in(entry["label"])
        self.works()
        self.at_rest = len(descriptors(proxy.pid))

    def works(self):
        """Through to the cloud's broker and back."""
        self._client.publish(self._topic, "as ever", qos=1)

    def device(self, **options):
        """A device that may misbehave."""
        return self._last.enter_context(Client(self.proxy.port, **options))

    def alone(self):
        """Waits until the proxy has nothing else any more."""
        wait_until(lambda: len(descriptors(self.proxy.pid)) == self.at_rest)

    def limit_descriptors(self, free):
        limit_descriptors(self.proxy.pid, free)

    @contextlib.contextmanager
    def halted(self, really=True):
        """What reaches the proxy meanwhile reaches it all at once."""
        if not really:
            yield
            return
        self.proxy.signal(signal.SIGSTOP)
        try:
            wait_until(lambda: stopped(self.proxy.pid))
            yield
        finally:
            self.proxy.signal(signal.SIGCONT)

    def end(self):
        """The devices of the test go; nothing may be left of them."""
        self._last.close()
        self.works()
        self.alone()
        self._client.close()

    def give_up(self):
        self._last.close()
        self._client.close()
