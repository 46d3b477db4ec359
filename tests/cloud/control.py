"""The control channel: JSON lines on a Unix socket, an answer to each."""

import asyncio
import json

from link import GOING_AWAY, LinkEnd


class Control:
    """Serves orders of tests to a Gate."""

    def __init__(self, gate):
        self._gate = gate
        self._server = None
        self._orders = {"drop": self._drop, "fault": self._fault,
                        "clear": self._clear, "note": self._note,
                        "stats": self._stats}

    async def start(self, path):
        self._server = await asyncio.start_unix_server(self._serve, path)

    def stop(self):
        if self._server:
            self._server.close()

    async def _serve(self, reader, writer):
        while line := await reader.readline():
            writer.write(json.dumps(await self._obey(line)).encode() + b"\n")
            await writer.drain()
        writer.close()

    async def _obey(self, line):
        try:
            order = json.loads(line)
            command = self._orders[order.pop("cmd")]
            identity = (order.pop("product_key", None),
                        order.pop("device_name", None))
            return {"ok": True, **await command(identity, **order)}
        except (ValueError, TypeError, KeyError, AttributeError) as why:
            return {"ok": False, "error": f"{type(why).__name__}: {why}"}

    async def _drop(self, identity, how="close", ws_code=GOING_AWAY,
                    reason_code=None):
        if how not in ("close", "fin", "abort"):
            raise ValueError(f"how: {how!r}")
        return {"dropped": await self._gate.drop(identity, LinkEnd(
            "gate", "dropped by order", how, ws_code, reason_code))}

    async def _fault(self, identity, **changes):
        self._gate.faults.set(identity, changes)
        return {}

    async def _clear(self, _identity):
        self._gate.faults.clear()
        return {}

    async def _note(self, _identity, text):
        self._gate.decisions.write("note", text=text)
        return {}

    async def _stats(self, identity):
        return {"open": [list(link.identity)
                         for link in self._gate.open_links(identity)],
                "events": dict(self._gate.decisions.counts)}
