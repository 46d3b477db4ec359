"""A private Mosquitto on loopback: started, watched and ended."""

import asyncio
import contextlib
import ctypes
import os
import random
import shutil
import signal
import socket
import sys
import tempfile

ATTEMPTS = 5
START_TIMEOUT = 10
STOP_TIMEOUT = 5
PR_SET_PDEATHSIG = 1

# "user root" only matters to root: without it the broker would change its
# user, which clears the parent-death signal
CONFIG = """\
user root
listener {port} 127.0.0.1
allow_anonymous true
persistence false
max_queued_messages 10000
set_tcp_nodelay true
sys_interval 0
connection_messages false
log_dest stderr
log_type error
log_type warning
log_type information
"""

_libc = ctypes.CDLL(None)


def _die_with_parent(parent):
    _libc.prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
    if os.getppid() != parent:
        os._exit(1)


def _free_port():
    """Not one of those that connections are given: of these another may be
    taken at any moment."""
    while True:
        port = random.randrange(10000, 32000)
        with contextlib.suppress(OSError), socket.socket() as probe:
            probe.bind(("127.0.0.1", port))
            return port


class Broker:
    """One Mosquitto.  `port` is 0 until start() has returned."""

    def __init__(self):
        self.port = 0
        self._process = None
        self._log = None

    @property
    def pid(self):
        return self._process.pid

    async def start(self, port=0):
        """Starts on the port, or on a free one for 0, and returns once the
        broker listens."""
        for _ in range(1 if port else ATTEMPTS):
            # another process may take a free port before the broker does
            chosen = port or _free_port()
            if await self._spawn(chosen):
                self.port = chosen
                return
        raise SystemExit("mosquitto did not start; its words are above")

    async def _spawn(self, port):
        # read once at the start, so nothing is left behind later
        with tempfile.NamedTemporaryFile("w", suffix=".conf") as config:
            config.write(CONFIG.format(port=port))
            config.flush()
            return await self._run(config.name)

    async def _run(self, config):
        program = shutil.which(
            "mosquitto", path=os.environ.get("PATH", "") + ":/usr/sbin")
        if program is None:
            raise SystemExit("mosquitto is not installed")
        parent = os.getpid()
        self._process = await asyncio.create_subprocess_exec(
            program, "-c", config, stdin=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.PIPE, start_new_session=True,
            preexec_fn=lambda: _die_with_parent(parent))
        running = asyncio.get_running_loop().create_future()
        self._log = asyncio.create_task(self._read_log(running))
        try:
            return await asyncio.wait_for(running, START_TIMEOUT)
        except asyncio.TimeoutError:
            await self.stop()
            return False

    async def _read_log(self, running):
        """Passes on what the broker says, but for the usual start words."""
        while line := await self._process.stderr.readline():
            if not running.done():
                if line.rstrip().endswith(b" running"):
                    running.set_result(True)
                elif b"rror" not in line:
                    continue
            if b"rror" in line or b"arning" in line:
                sys.stderr.write("mosquitto: " + line.decode(errors="replace"))
        if not running.done():
            running.set_result(False)

    async def wait(self):
        """Returns when the broker ends, which it should not by itself."""
        return await self._process.wait()

    async def stop(self):
        """Ends the broker; may be called twice, and without a start."""
        if self._process is None:
            return
        with contextlib.suppress(ProcessLookupError):
            self._process.terminate()
        try:
            await asyncio.wait_for(self._process.wait(), STOP_TIMEOUT)
        except asyncio.TimeoutError:
            self._process.kill()
            await self._process.wait()
        await self._log
