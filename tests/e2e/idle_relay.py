"""A firewall that forgets connections which are idle.

    with IdleRelay(cloud.port, 1.5, "reset") as relay:
        ... make the proxy dial relay.port ...
"""

import contextlib
import select
import socket
import struct
import threading
import time


class IdleRelay:
    """Passes TCP on to <port> of the loopback. A connection on which nothing
    has passed for <idle_s> is cut. how: "at_once", with a reset; "reset", by
    a reset that answers the next packet; "silent": nothing passes any more,
    and nobody is told."""

    def __init__(self, port, idle_s, how):
        self._target = port
        self._idle_s = idle_s
        self._how = how
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self._sockets = []
        self._threads = []
        self._run(self._accept)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for one in [self._listener, *self._sockets]:
            with contextlib.suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join()
        self._listener.close()

    def _run(self, what, *arguments):
        thread = threading.Thread(target=what, args=arguments, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _accept(self):
        with contextlib.suppress(OSError):
            while True:
                near, _ = self._listener.accept()
                far = socket.create_connection(("127.0.0.1", self._target))
                self._sockets += [near, far]
                self._run(self._carry, near, far)

    def _carry(self, near, far):
        with near, contextlib.suppress(ConnectionError):
            with far:
                if not self._pass(near, far):
                    return
            if self._how == "reset":
                near.recv(65536)
            while self._how == "silent" and near.recv(65536):
                pass
            near.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER,
                            struct.pack("ii", 1, 0))

    def _pass(self, near, far):
        """Until it is idle; False: until one side has ended it."""
        while True:
            begin = time.monotonic()
            ready = select.select([near, far], [], [], self._idle_s)[0]
            # whoever looks late finds a packet that came too late, too
            if time.monotonic() - begin >= self._idle_s:
                return True
            for one in ready:
                data = one.recv(65536)
                if not data:
                    return False
                (far if one is near else near).sendall(data)
