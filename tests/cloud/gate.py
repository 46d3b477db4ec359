"""The gate: TLS and WebSocket, or TLS alone, in front; one Link per
connection."""

import asyncio
import collections
import email.utils
import http
import ssl
import time

import websockets
from websockets.legacy.server import WebSocketServerProtocol

import faults
from link import GOING_AWAY, Link, LinkEnd
from meter import DeviceMeters
from stream import Stream

# MQTT 3.1.1 section 6 wants "mqtt"; clients of MQTT 3.1 say "mqttv3.1"
SUBPROTOCOLS = ("mqtt", "mqttv3.1")
MESSAGE_MAX = 4 * 1024 * 1024
CLOSE_TIMEOUT = 1
BACKLOG = 1024
ORDERED = b"by order\n"


class _Upgrade(WebSocketServerProtocol):
    """Writes down upgrades that fail."""
    gate = None

    def write_http_response(self, status, headers, body=None):
        if status != http.HTTPStatus.SWITCHING_PROTOCOLS:
            self.gate.decisions.write(
                "upgrade", status=int(status), path=getattr(self, "path", ""),
                detail=(body or b"").decode().strip(),
                ordered=body == ORDERED)
        super().write_http_response(status, headers, body)


class Gate:
    """Devices known, links open, subscriptions held, faults ordered; strict:
    whether devices are held to every rule, unless a fault says otherwise."""

    def __init__(self, devices, decisions, broker_port, strict=False):
        self.devices = devices
        self.decisions = decisions
        self.broker_port = broker_port
        self.faults = faults.Faults(strict)
        self.subscriptions = collections.defaultdict(set)
        self.meters = collections.defaultdict(DeviceMeters)
        self._links = {}            # Link -> the task that runs it
        self._count = 0
        self._logins = collections.defaultdict(collections.deque)
        self._servers = []

    async def start(self, host, port, cert=None, key=None):
        """Listens for WebSockets, with a certificate in TLS; returns the
        real port."""
        tls = self._tls_context(cert, key) if cert else None

        async def handle(ws):
            await self._run(ws, "wss" if tls else "ws")

        return self._listens(await websockets.serve(
            handle, host, port, ssl=tls,
            subprotocols=SUBPROTOCOLS, select_subprotocol=self._select,
            process_request=self._check_upgrade, create_protocol=self._create,
            extra_headers=lambda *_: {"Date": self._date()},
            compression=None, ping_interval=None, max_size=MESSAGE_MAX,
            close_timeout=CLOSE_TIMEOUT, backlog=BACKLOG,
            **({"ssl_shutdown_timeout": CLOSE_TIMEOUT} if tls else {})))

    async def start_mqtts(self, host, port, cert, key):
        """Listens for MQTT in TLS; returns the real port."""
        async def handle(reader, writer):
            await self._run(Stream(reader, writer), "mqtts")

        return self._listens(await asyncio.start_server(
            handle, host, port, ssl=self._tls_context(cert, key),
            ssl_shutdown_timeout=CLOSE_TIMEOUT, backlog=BACKLOG))

    async def stop(self):
        await self.drop(faults.ALL, LinkEnd(
            "gate", "the gate ends", ws_code=GOING_AWAY, reason_code=0x8B))
        for server in self._servers:
            server.close()
        # asyncio leaves those alone that have not logged in
        for link in self._links:
            if link.transport == "mqtts":
                link.ws.transport.abort()
        if self._links:
            await asyncio.wait(self._links.values())
        for server in self._servers:
            await server.wait_closed()

    def _listens(self, server):
        self._servers.append(server)
        return server.sockets[0].getsockname()[1]

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

    def count_login(self, identity):
        """Logins of it in the last minute, with this one."""
        recent, now = self._logins[identity], time.monotonic()
        while recent and recent[0] <= now - 60:
            recent.popleft()
        recent.append(now)
        return len(recent)

    def _tls_context(self, cert, key):
        """A server's context that remembers the name a client asks for, and
        shows another chain when told to."""
        context = _context(cert, key)

        def on_name(tls, name, _context_):
            tls.asked_name = name
            if chain := self.faults.get(faults.ALL, "chain"):
                tls.context = _context(chain, key)

        context.sni_callback = on_name
        return context

    async def _run(self, ws, transport):
        self._count += 1
        link = Link(self, ws, transport, self._count)
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

    def _date(self):
        return email.utils.formatdate(
            time.time() + self.faults.get(faults.ALL, "date_offset"),
            usegmt=True)

    async def _check_upgrade(self, _path, headers):
        if status := self.faults.get(faults.ALL, "upgrade_status"):
            more = self.faults.get(faults.ALL, "upgrade_headers")
            return (http.HTTPStatus(status),
                    {"Date": self._date(), **more}, ORDERED)
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


def _context(cert, key):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(cert, key)
    return context
