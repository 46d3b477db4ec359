"""One device's link: login, then packets both ways, each one judged.

The gate starts a Link for every connection and waits for run().  A link ends
by a LinkEnd, whoever wants it, and run() alone carries that out.
"""

import asyncio
import contextlib
import hashlib
import socket
import struct

from websockets.exceptions import ConnectionClosed

import aliyun
import mqtt

CONNECT_TIMEOUT = 10
GOODBYE_TIMEOUT = 1
MERGE_SILENCE = 0.05
PAYLOAD_SHOWN = 256
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
        self._aliases = {}          # level 5, of the device
        self._subacks = {}          # packet identifier -> codes

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
            self._note("breach", rule="no CONNECT", action="closed")
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
                self._breach("text frame", ws_code=UNSUPPORTED_DATA)
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
        self.level = connect.level
        if self.level != 3 and self.ws.subprotocol == "mqttv3.1":
            self._breach("subprotocol", detail="mqttv3.1 is for level 3")

        login = aliyun.audit_login(connect, self.transport != "ws",
                                   self.gate.devices)
        code, recent = 0, self.gate.count_login(login.identity)
        limit = self.gate.faults.get(login.identity, "logins_per_minute")
        if login.codes:
            code = login.codes[self.level > 4]
        elif limit and recent > limit:
            code, login.reason = OVER_QUOTA[self.level > 4], "over quota"
        elif code := self.gate.faults.take_refusal(login.identity):
            login.reason = "refused by order"
        others = [link for link in self.gate.open_links()
                  if link.identity == login.identity]
        self._note("login", **self._describe(connect, login, code),
                   in_last_minute=recent, open_before=len(others))
        if code:
            await self._send([mqtt.write_connack(self.level, code)])
            raise LinkEnd("gate", login.reason)

        # one session per identity, whatever its client id
        self.identity = login.identity
        for other in others:
            other.stop(LinkEnd("gate", "taken over", how="fin",
                               reason_code=0x8E))
        for other in others:
            await other.ended.wait()
        await self._dial_broker(connect)

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
        up = asyncio.create_task(self._up(packets))
        down = asyncio.create_task(self._down())
        await asyncio.wait((up, down, self._stop),
                           return_when=asyncio.FIRST_COMPLETED)
        stopped = self._stop.done()
        # noted now, so that alive is false before anything is waited for
        self.stop(None)
        for task in (up, down):
            task.cancel()
        results = await asyncio.gather(up, down, return_exceptions=True)
        if stopped:
            raise self._stop.result()
        raise next(result for result in results
                   if not isinstance(result, asyncio.CancelledError))

    async def _up(self, packets):
        await self._admitted.wait()
        async for packet in packets:
            onward = await self._judge(packet)
            if onward:
                self._writer.write(onward)
                await self._writer.drain()
            if packet.kind == mqtt.DISCONNECT:
                self.over = True
                raise LinkEnd("device", "DISCONNECT", how="wait")

    async def _judge(self, packet):
        """Returns what the broker gets of a packet, None for nothing."""
        mqtt.check_header(packet, self.level)
        kind = packet.kind
        if kind == mqtt.PUBLISH:
            return await self._judge_publish(packet)
        if kind == mqtt.SUBSCRIBE:
            return await self._judge_subscribe(packet)
        if kind == mqtt.CONNECT:
            self._breach("second CONNECT", reason_code=0x82)
        if kind in (mqtt.PUBREC, mqtt.PUBREL, mqtt.PUBCOMP):
            self._breach("QoS 2", detail=mqtt.NAMES[kind], reason_code=0x9B)
        if kind == mqtt.UNSUBSCRIBE:
            filters = mqtt.read_unsubscribe(packet, self.level)
            self._subscriptions.difference_update(filters)
            self._note("unsubscribe", filters=filters)
        if kind == mqtt.PINGREQ:
            self._note("ping")
        return packet.raw

    async def _judge_publish(self, packet):
        publish = mqtt.read_publish(packet, self.level)
        topic = publish.topic
        if publish.alias and not topic:
            if publish.alias not in self._aliases:
                raise mqtt.Malformed(f"topic alias {publish.alias} not set")
            topic = self._aliases[publish.alias]
        elif publish.alias:
            self._aliases[publish.alias] = topic

        detail = {"topic": topic, "qos": publish.qos}
        if publish.qos == 2:
            self._breach("QoS 2", **detail, reason_code=0x9B)
        if publish.retain and self.level < 5:
            self._breach("retain", **detail)
        if fault := aliyun.topic_fault(topic):
            return await self._drop(publish, 0x90, "topic", **detail,
                                    detail=fault,
                                    code=aliyun.LOG_TOPIC_ILLEGAL)
        if not aliyun.may_publish(topic, *self.identity):
            return await self._drop(publish, 0x87, "foreign topic", **detail,
                                    code=aliyun.LOG_TOPIC_FOREIGN)
        if len(publish.payload) > aliyun.PAYLOAD_MAX:
            return await self._drop(publish, 0x97, "payload", **detail,
                                    bytes=len(publish.payload))
        self._note("publish", **detail, retain=publish.retain,
                   duplicate=publish.duplicate, packet_id=publish.packet_id,
                   **_show(publish.payload))
        return packet.raw

    async def _drop(self, publish, reason_code, rule, **detail):
        """Loses a PUBLISH: without a word below level 5, as the platform
        does with what it throttles."""
        self._note("breach", rule=rule, action="dropped", **detail)
        if self.level == 5 and publish.qos == 1:
            await self._send([mqtt.write_puback(publish.packet_id,
                                                reason_code)])

    async def _judge_subscribe(self, packet):
        subscribe = mqtt.read_subscribe(packet, self.level)
        requests = subscribe.requests
        if subscribe.packet_id in self._subacks:
            raise mqtt.Malformed(f"packet identifier {subscribe.packet_id}"
                                 " is in use [MQTT-2.3.1-2]")
        # a code from 0x80 on stands; one below is what to grant at most
        codes = [self._subscribe_code(wanted, options, len(requests))
                 for wanted, options in requests]
        self._note("subscribe", filters=[wanted for wanted, _ in requests],
                   requested=[options & 3 for _, options in requests],
                   granted=codes)
        # the QoS of a delivery is the publisher's, not the subscriber's
        subscribe.requests = [
            (wanted, options & ~3 | 1)
            for (wanted, options), code in zip(requests, codes)
            if code < 0x80]
        if not subscribe.requests:
            await self._send([mqtt.write_suback(
                self.level, subscribe.packet_id, codes)])
            return None
        self._subacks[subscribe.packet_id] = codes
        return mqtt.write_subscribe(subscribe, self.level)

    def _subscribe_code(self, wanted, options, count):
        """The code for one filter; writes down why it is refused."""
        mine, detail = self._subscriptions, {}
        if count > aliyun.FILTERS_PER_SUBSCRIBE:
            rule, code, detail = "filters", 0x97, {"filters": count}
        elif fault := aliyun.topic_fault(wanted):
            rule, code = "topic", 0x8F
            detail = {"detail": fault, "code": aliyun.LOG_TOPIC_ILLEGAL}
        elif not aliyun.may_subscribe(wanted, *self.identity):
            rule, code = "foreign topic", 0x87
            detail = {"code": aliyun.LOG_TOPIC_FOREIGN}
        elif wanted not in mine and len(mine) >= aliyun.SUBSCRIPTIONS_MAX:
            rule, code = "subscriptions", 0x97
        else:
            mine.add(wanted)
            return min(options & 3, 1)
        self._note("breach", rule=rule, action="refused", topic=wanted,
                   **detail)
        return code if self.level == 5 else 0x80

    @property
    def _subscriptions(self):
        return self.gate.subscriptions[self.identity]

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
            number, properties, found = mqtt.read_suback(packet, self.level)
            answers = iter(found)
            codes = [code if code >= 0x80 else max(code, next(answers) & 0x80)
                     for code in self._subacks.pop(number)]
            return [mqtt.write_suback(self.level, number, codes, properties)]
        if packet.kind == mqtt.PINGRESP and not self._fault("answer_pings"):
            return []
        return [packet.raw]

    async def _welcome(self, packet):
        present, code, properties = mqtt.read_connack(packet, self.level)
        if not present:
            self._subscriptions.clear()
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
                           action="dropped")
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

    def _breach(self, rule, ws_code=PROTOCOL_ERROR, reason_code=None,
                **detail):
        """Writes down a breach the link does not outlive and raises."""
        self._note("breach", rule=rule, action="closed", **detail)
        raise LinkEnd("gate", rule, ws_code=ws_code, reason_code=reason_code)


def _show(payload):
    """A short payload as text, of a long one its digest."""
    shown = {"bytes": len(payload)}
    if len(payload) <= PAYLOAD_SHOWN:
        shown["payload"] = payload.decode("utf-8", "backslashreplace")
    else:
        shown["sha256"] = hashlib.sha256(payload).hexdigest()
    return shown
