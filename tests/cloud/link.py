"""One device's link: login, then packets both ways, judged in judge.py.

The gate starts a Link for every connection and waits for run().  A link ends
by a LinkEnd, whoever wants it, and run() alone carries that out.
"""

import asyncio
import contextlib
import socket
import struct

from websockets.exceptions import ConnectionClosed

import aliyun
import contract
import mqtt
from judge import Breach, Judge

CONNECT_TIMEOUT = 10
GOODBYE_TIMEOUT = 1
MERGE_SILENCE = 0.05
FRAGMENTS = 32

# CONNACK codes, (levels 3 and 4, level 5): what a throttled client gets
OVER_QUOTA = (3, 0x97)

# RFC 6455 7.4.1
NORMAL, GOING_AWAY, PROTOCOL_ERROR, UNSUPPORTED_DATA = 1000, 1001, 1002, 1003


class LinkEnd(Exception):
    """Why a link ends, by whom, and how its transport is left.

    how: "close" sends a close frame with ws_code, "fin" just closes the
    transport, "abort" resets it, "wait" lets the device close first.
    reason_code: what a level 5 device is told in a DISCONNECT, None for
    no such packet."""

    def __init__(self, by, reason, how="close", ws_code=NORMAL,
                 reason_code=None):
        super().__init__(reason)
        self.by, self.reason, self.how = by, reason, how
        self.ws_code, self.reason_code = ws_code, reason_code


class Link:
    """A WebSocket, or a Stream, and, once logged in, its connection to the
    broker.  transport: wss, ws or mqtts."""

    def __init__(self, gate, ws, transport, number):
        self.gate, self.ws, self.number = gate, ws, number
        self.transport = transport
        self.level = 4
        self.identity = None        # set by an accepted login
        self.over = False           # the device said DISCONNECT
        self.ended = asyncio.Event()    # the broker's side is closed
        self._stop = asyncio.get_running_loop().create_future()
        self._admitted = asyncio.Event()
        self._sending = asyncio.Lock()
        self._from_device = mqtt.Splitter()
        self._from_broker = mqtt.Splitter()
        self._reader = self._writer = None
        self._judge = Judge(gate, self._note,
                            lambda packet: self._send([packet]))
        self._deliveries = asyncio.Queue()  # that wait for their turn

    @property
    def alive(self):
        """Whether this is an open session of its identity."""
        return self.identity is not None and self.ws.open and not (
            self.over or self._stop.done())

    def stop(self, end):
        """Asks the link to end; the first wish counts."""
        if not self._stop.done():
            self._stop.set_result(end)

    async def run(self):
        packets = self._packets()
        try:
            first = await asyncio.wait_for(anext(packets), CONNECT_TIMEOUT)
            await self._login(first)
            await self._relay(packets)
        except LinkEnd as wish:
            end = wish
        except Breach as breach:
            end = LinkEnd("gate", breach.rule, ws_code=PROTOCOL_ERROR,
                          reason_code=breach.code)
        except ConnectionClosed as closed:
            end = LinkEnd("device", "link closed")
            if closed.sent and not closed.rcvd:
                self._note("breach", rule="websocket", action="closed",
                           detail=closed.sent.reason,
                           ws_close=closed.sent.code)
        except mqtt.Malformed as why:
            self._note("breach", rule="malformed", action="closed",
                       detail=str(why))
            end = LinkEnd("gate", str(why), ws_code=PROTOCOL_ERROR,
                          reason_code=0x81)
        except asyncio.TimeoutError:
            self._note("breach", rule="no CONNECT", action="closed",
                       detail=f"none in {CONNECT_TIMEOUT} s")
            end = LinkEnd("gate", "no CONNECT in time")
        except OSError as why:
            end = LinkEnd("broker", f"broker not reachable: {why}")
        await self._finish(end)

    # The way up

    async def _packets(self):
        """Yields what the device sends, packet by packet."""
        while True:
            message = await self.ws.recv()
            if isinstance(message, str):
                self._breach("text frame", "a WebSocket message of text",
                             UNSUPPORTED_DATA)
            began = self._from_device.partial
            packets = self._from_device.feed(message)
            if self.transport != "mqtts" and (
                    began or self._from_device.partial or len(packets) != 1):
                self._note("unaligned", bytes=len(message),
                           packets=len(packets))
            for packet in packets:
                yield packet

    async def _login(self, packet):
        """Judges CONNECT; dials the broker, or answers and raises."""
        connect = mqtt.read_connect(packet)
        self.level = self._judge.level = connect.level
        if self.level != 3 and self.ws.subprotocol == "mqttv3.1":
            self._breach("subprotocol", "mqttv3.1 is for level 3",
                         PROTOCOL_ERROR)

        login = aliyun.audit_login(connect, self.transport != "ws",
                                   self.gate.devices)
        recent = self.gate.count_login(login.identity)
        code = self._login_code(connect, login, recent)
        others = [link for link in self.gate.open_links()
                  if link.identity == login.identity]
        self._note("login", **self._describe(connect, login, code),
                   in_last_minute=recent, open_before=len(others))
        if code:
            await self._send([mqtt.write_connack(self.level, code)])
            raise LinkEnd("gate", login.reason)

        # one session per identity, whatever its client id
        self.identity = self._judge.identity = login.identity
        for other in others:
            other.stop(LinkEnd("gate", "taken over", how="fin",
                               reason_code=0x8E))
        for other in others:
            await other.ended.wait()
        await self._dial_broker(connect)

    def _login_code(self, connect, login, recent):
        """The code of the CONNACK; says in login why it is refused."""
        if login.codes:
            return login.codes[self.level > 4]
        if verdict := self._judge.connect(connect, login.identity, recent):
            login.reason = verdict.detail
            return verdict.code
        faults = self.gate.faults
        limit = faults.get(login.identity, "logins_per_minute")
        if limit and recent > limit:
            login.reason = "over quota"
            return OVER_QUOTA[self.level > 4]
        if code := faults.take_refusal(login.identity):
            login.reason = "refused by order"
        return code

    def _describe(self, connect, login, code):
        upgrade, tls = self.ws.request_headers, self.gate.tls_of(self.ws)
        return {
            "accepted": code == 0, "code": code, "reason": login.reason,
            "product_key": login.product_key,
            "device_name": login.device_name,
            "client_id": connect.client_id, "user_name": connect.user_name,
            "sign_method": login.sign_method,
            "secure_mode": login.secure_mode, "timestamp": login.timestamp,
            "extra": login.extra, "keep_alive": connect.keep_alive,
            "level": connect.level, "clean": connect.clean,
            "will": connect.will is not None,
            "transport": self.transport, "path": self.ws.path,
            "subprotocol": self.ws.subprotocol,
            "host": upgrade.get("Host"),
            "extensions": upgrade.get("Sec-WebSocket-Extensions"), **tls,
        }

    async def _dial_broker(self, connect):
        """The broker sees one client id per identity, so a session outlives
        client ids that hold a timestamp."""
        try:
            self._reader, self._writer = await asyncio.open_connection(
                "127.0.0.1", self.gate.broker_port)
        except OSError:
            code = 0x88 if self.level == 5 else 3
            await self._send([mqtt.write_connack(self.level, code)])
            raise
        connect.client_id = "&".join(self.identity)
        self._writer.write(mqtt.write_connect(connect))

    async def _relay(self, packets):
        """Both ways until one ends; never returns."""
        tasks = [asyncio.create_task(way) for way in (
            self._up(packets), self._down(), self._deliver())]
        await asyncio.wait((*tasks, self._stop),
                           return_when=asyncio.FIRST_COMPLETED)
        stopped = self._stop.done()
        # noted now, so that alive is false before anything is waited for
        self.stop(None)
        for task in tasks:
            task.cancel()
        results = await asyncio.gather(*tasks, return_exceptions=True)
        if stopped:
            raise self._stop.result()
        raise next(result for result in results
                   if not isinstance(result, asyncio.CancelledError))

    async def _up(self, packets):
        await self._admitted.wait()
        async for packet in packets:
            onward = await self._judge.packet(packet)
            if onward:
                self._writer.write(onward)
                await self._writer.drain()
            if packet.kind == mqtt.DISCONNECT:
                self.over = True
                raise LinkEnd("device", "DISCONNECT", how="wait")

    # The way down

    async def _down(self):
        while data := await self._reader.read(1 << 16):
            packets = self._from_broker.feed(data)
            if self._fault("downlink") == "merged":
                packets += await self._more_from_broker()
            wanted = []
            for packet in packets:
                wanted += await self._judge_down(packet)
            await self._send(wanted)
        raise LinkEnd("broker", "broker closed the link")

    async def _more_from_broker(self):
        packets = []
        with contextlib.suppress(asyncio.TimeoutError):
            while data := await asyncio.wait_for(
                    self._reader.read(1 << 16), MERGE_SILENCE):
                packets += self._from_broker.feed(data)
        return packets

    async def _judge_down(self, packet):
        """Returns a list of what the device gets of a broker's packet."""
        if packet.kind == mqtt.CONNACK:
            return [await self._welcome(packet)]
        if packet.kind == mqtt.SUBACK:
            return [self._judge.suback(packet)]
        if packet.kind == mqtt.PINGRESP and not self._fault("answer_pings"):
            return []
        if packet.kind == mqtt.PUBACK:
            if not self._fault("answer_publishes"):
                return []
            self._judge.puback(packet)
        if packet.kind == mqtt.PUBLISH and self._fault("strict"):
            self._deliveries.put_nowait(packet)
            return []
        return [packet.raw]

    async def _deliver(self):
        """What the platform sends down of its own, no faster than it does;
        answers to the device do not wait behind it."""
        meter = self.gate.meters[self.identity].deliveries
        while packet := await self._deliveries.get():
            most = {**contract.LIMITS, **self._fault("limits")}
            while wait := meter.wait_for(most["deliveries_per_s"]):
                await asyncio.sleep(wait)
            meter.add()
            publish = mqtt.read_publish(packet, self.level)
            self._note("delivery", topic=publish.topic, qos=publish.qos,
                       in_last_second=meter.sum())
            await self._send([packet.raw])

    async def _welcome(self, packet):
        present, code, properties = mqtt.read_connack(packet, self.level)
        self._judge.welcome(present)
        if self.level == 5:
            # MQTT-3.2.2-9: who does not support QoS 2 has to say so
            properties += bytes([mqtt.MAXIMUM_QOS, 1])
            properties += self.gate.faults.connack_properties(self.identity)
        self._admitted.set()
        await asyncio.sleep(self._fault("connack_delay"))
        kick_after = self._fault("kick_after")
        if kick_after is not None:
            asyncio.get_running_loop().call_later(
                kick_after, self.stop,
                LinkEnd("gate", "kicked by order", how="fin"))
        return mqtt.write_connack(self.level, code, present, properties)

    async def _send(self, packets):
        """Sends packets down, in messages as the fault "downlink" says."""
        if not packets:
            return
        how = self._fault("downlink") if self.identity else "whole"
        if how == "pinged" and self.transport == "mqtts":
            how = "fragments"
        async with self._sending:
            if how == "merged":
                # many in one message, and the last one not whole
                joined = b"".join(packets)
                await self.ws.send(joined[:-1])
                await self.ws.send(joined[-1:])
                return
            for packet in packets:
                if how == "bytes":
                    for byte in packet:
                        await self.ws.send(bytes([byte]))
                elif how == "whole":
                    await self.ws.send(packet)
                else:
                    await self.ws.send(
                        self._fragments(packet, pings=how == "pinged"))

    async def _fragments(self, packet, pings):
        """Yields single bytes first, then the rest at once."""
        for at in range(min(len(packet), FRAGMENTS)):
            yield packet[at:at + 1]
            if pings:
                pong = await self.ws.ping()
                # a link that ends fails its pings, which is no news
                pong.add_done_callback(
                    lambda done: done.cancelled() or done.exception())
        yield packet[FRAGMENTS:]

    # The end

    async def _finish(self, end):
        if self._writer:
            self._writer.close()
        self.ended.set()
        with contextlib.suppress(ConnectionClosed, asyncio.TimeoutError):
            if self.level == 5 and end.reason_code is not None:
                await self._send([mqtt.write_disconnect(end.reason_code)])
            await self._leave(end)
        if self.identity:
            self._note("disconnect", clean=self.over, by=end.by,
                       reason=end.reason, ws_close=self.ws.close_code)

    async def _leave(self, end):
        ws = self.ws
        if end.how == "wait":
            with contextlib.suppress(asyncio.TimeoutError):
                await asyncio.wait_for(ws.recv(), GOODBYE_TIMEOUT)
                self._note("breach", rule="packet after DISCONNECT",
                           action="dropped", detail="of any kind")
        if end.how == "abort":
            ws.transport.get_extra_info("socket").setsockopt(
                socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            ws.transport.abort()
        if end.how == "fin":
            ws.transport.close()
        if end.how in ("fin", "abort"):
            await asyncio.wait_for(ws.wait_closed(), 2 * GOODBYE_TIMEOUT)
        else:
            await ws.close(end.ws_code)

    def _fault(self, name):
        return self.gate.faults.get(self.identity, name)

    def _note(self, event, **fields):
        if self.identity:
            fields = {"product_key": self.identity[0],
                      "device_name": self.identity[1], **fields}
        self.gate.decisions.write(event, link=self.number, **fields)

    def _breach(self, rule, detail, ws_code):
        """Writes down a breach of what carries MQTT and ends the link."""
        self._note("breach", rule=rule, action="closed", detail=detail)
        raise LinkEnd("gate", rule, ws_code=ws_code)
