"""The gate: TLS and WebSocket in front, one Link per connection."""

import asyncio
import collections
import http
import ssl

import websockets
from websockets.legacy.server import WebSocketServerProtocol

import faults
from link import GOING_AWAY, Link, LinkEnd

# MQTT 3.1.1 section 6 wants "mqtt"; clients of MQTT 3.1 say "mqttv3.1"
SUBPROTOCOLS = ("mqtt", "mqttv3.1")
MESSAGE_MAX = 4 * 1024 * 1024
CLOSE_TIMEOUT = 1
BACKLOG = 1024


class _Upgrade(WebSocketServerProtocol):
    """Writes down upgrades that fail."""
    gate = None

    def write_http_response(self, status, headers, body=None):
        if status != http.HTTPStatus.SWITCHING_PROTOCOLS:
            self.gate.decisions.write(
                "upgrade", status=int(status), path=getattr(self, "path", ""),
                detail=(body or b"").decode().strip())
        super().write_http_response(status, headers, body)


class Gate:
    """Devices known, links open, subscriptions held, faults ordered."""

    def __init__(self, devices, decisions, broker_port, tls):
        self.devices = devices
        self.decisions = decisions
        self.broker_port = broker_port
        self.tls = tls              # an ssl.SSLContext, None for plain ws
        self.faults = faults.Faults()
        self.subscriptions = collections.defaultdict(set)
        self.port = 0
        self._links = {}            # Link -> the task that runs it
        self._count = 0
        self._server = None

    async def start(self, host, port):
        """Listens; self.port is then the real port."""
        self._server = await websockets.serve(
            self._handle, host, port, ssl=self.tls,
            subprotocols=SUBPROTOCOLS, select_subprotocol=self._select,
            process_request=self._check_upgrade, create_protocol=self._create,
            compression=None, ping_interval=None, max_size=MESSAGE_MAX,
            close_timeout=CLOSE_TIMEOUT, backlog=BACKLOG,
            **({"ssl_shutdown_timeout": CLOSE_TIMEOUT} if self.tls else {}))
        self.port = self._server.sockets[0].getsockname()[1]

    async def stop(self):
        await self.drop(faults.ALL, LinkEnd(
            "gate", "the gate ends", ws_code=GOING_AWAY, reason_code=0x8B))
        self._server.close()
        await self._server.wait_closed()

    def open_links(self, identity=faults.ALL):
        """Links with an open session; None stands for any name."""
        return [link for link in self._links
                if link.alive and _fits(identity, link.identity)]

    async def drop(self, identity, end):
        """Ends open links; returns how many once nothing is left of them,
        nor of those that were ending already."""
        links = self.open_links(identity)
        for link in links:
            link.stop(end)
        tasks = [task for link, task in self._links.items()
                 if link.identity and _fits(identity, link.identity)]
        if tasks:
            await asyncio.wait(tasks)
        return len(links)

    def tls_of(self, ws):
        """What is known of a link's TLS, for its login line."""
        tls = ws.transport.get_extra_info("ssl_object")
        if tls is None:
            return {"tls": None}
        return {"tls": tls.version(), "resumed": tls.session_reused,
                "sni": getattr(tls, "asked_name", None)}

    async def _handle(self, ws):
        self._count += 1
        link = Link(self, ws, self._count)
        self._links[link] = run = asyncio.create_task(link.run())
        try:
            await run
        finally:
            link.ended.set()
            del self._links[link]

    def _create(self, *args, **options):
        protocol = _Upgrade(*args, **options)
        protocol.gate = self
        return protocol

    def _wants_subprotocol(self):
        return self.faults.get(faults.ALL, "subprotocol") == "required"

    def _select(self, offered, known):
        if not self._wants_subprotocol():
            return None
        return next(name for name in known if name in offered)

    async def _check_upgrade(self, path, headers):
        offered = [name.strip()
                   for value in headers.get_all("Sec-WebSocket-Protocol")
                   for name in value.split(",")]
        if self._wants_subprotocol() and not set(offered) & set(SUBPROTOCOLS):
            return (http.HTTPStatus.BAD_REQUEST, {},
                    b"subprotocol mqtt is required\n")
        return None


def _fits(pattern, identity):
    return all(wanted in (None, name)
               for wanted, name in zip(pattern, identity))


def tls_context(cert, key):
    """A server's context that remembers the name a client asks for."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(cert, key)

    def remember(tls, name, _context):
        tls.asked_name = name

    context.sni_callback = remember
    return context
