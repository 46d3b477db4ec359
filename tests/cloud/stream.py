"""MQTT on a bare stream, with the face that a Link knows of a WebSocket.

There are no messages here, no upgrade and no close code: what is asked of
them is None.
"""

import contextlib

from websockets.exceptions import ConnectionClosedError

READ_MAX = 1 << 16


class Stream:
    """An asyncio stream; errors of the transport are ConnectionClosed."""

    subprotocol = path = close_code = None
    request_headers = {}

    def __init__(self, reader, writer):
        self._reader, self._writer = reader, writer
        self.transport = writer.transport

    @property
    def open(self):
        return not (self._writer.is_closing() or self._reader.at_eof())

    async def recv(self):
        """Bytes as they come: any part of a packet, or many packets."""
        with _closed_on_error():
            if data := await self._reader.read(READ_MAX):
                return data
        raise ConnectionClosedError(None, None)

    async def send(self, message):
        """Bytes, or an asynchronous iterator of them."""
        with _closed_on_error():
            if isinstance(message, bytes):
                self._writer.write(message)
            else:
                async for piece in message:
                    self._writer.write(piece)
            await self._writer.drain()

    async def close(self, _code=None):
        self.transport.close()
        await self.wait_closed()

    async def wait_closed(self):
        with contextlib.suppress(OSError):
            await self._writer.wait_closed()


@contextlib.contextmanager
def _closed_on_error():
    try:
        yield
    except OSError:
        raise ConnectionClosedError(None, None) from None
