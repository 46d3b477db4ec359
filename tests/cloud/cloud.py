#!/usr/bin/python3
"""An emulated cloud for tests: a strict gate in front of Mosquitto.

See README.md beside this file.
"""

import argparse
import asyncio
import contextlib
import json
import logging
import os
import signal
import sys

import aliyun
from broker import Broker
from control import Control
from decisions import Decisions
from gate import Gate

PARENT_CHECK = 0.5


def read_arguments():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--devices", required=True, metavar="FILE",
                        help="the devices the platform knows (INI)")
    parser.add_argument("--host", default="127.0.0.1",
                        help="address to listen on (127.0.0.1)")
    parser.add_argument("--port", type=int, default=0,
                        help="port to listen on (0: a free one)")
    parser.add_argument("--cert", metavar="FILE",
                        help="chain of the server, PEM; without: plain ws")
    parser.add_argument("--key", metavar="FILE", help="its private key")
    parser.add_argument("--mqtts-port", type=int, default=0,
                        help="port for MQTT without WebSocket (0: a free one)")
    parser.add_argument("--mqtts-cert", metavar="FILE",
                        help="its chain; without: no such port")
    parser.add_argument("--mqtts-key", metavar="FILE",
                        help="its private key")
    parser.add_argument("--decisions", default="-", metavar="FILE",
                        help="where decisions are added (-: stdout)")
    parser.add_argument("--mosquitto-port", type=int, default=0,
                        help="port of the broker (0: a free one)")
    parser.add_argument("--control", metavar="PATH",
                        help="Unix socket that takes orders")
    parser.add_argument("--strict", action="store_true",
                        help="hold devices to every rule of the platform")
    parser.add_argument("--exit-with-parent", action="store_true",
                        help="end when the process that started this ends")
    arguments = parser.parse_args()
    if bool(arguments.cert) != bool(arguments.key):
        parser.error("--cert and --key go together")
    if bool(arguments.mqtts_cert) != bool(arguments.mqtts_key):
        parser.error("--mqtts-cert and --mqtts-key go together")
    return arguments


async def parent_gone(parent):
    while os.getppid() == parent:
        await asyncio.sleep(PARENT_CHECK)


async def run(arguments, out):
    parent = os.getppid()
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    devices = aliyun.read_devices(arguments.devices)

    async with contextlib.AsyncExitStack() as last:
        broker = Broker()
        last.push_async_callback(broker.stop)
        await broker.start(arguments.mosquitto_port)
        gate = Gate(devices, Decisions(out), broker.port,
                    arguments.strict)
        last.push_async_callback(gate.stop)
        port = await gate.start(arguments.host, arguments.port,
                                arguments.cert, arguments.key)
        mqtts_port = arguments.mqtts_cert and await gate.start_mqtts(
            arguments.host, arguments.mqtts_port, arguments.mqtts_cert,
            arguments.mqtts_key)
        if arguments.control:
            control = Control(gate)
            await control.start(arguments.control)
            last.callback(os.unlink, arguments.control)
            last.callback(control.stop)

        print(json.dumps({
            "event": "ready", "port": port, "tls": bool(arguments.cert),
            "mqtts_port": mqtts_port,
            "mosquitto_port": broker.port, "pid": os.getpid(),
            "mosquitto_pid": broker.pid, "control": arguments.control,
        }), flush=True)

        broken = asyncio.create_task(broker.wait())
        ends = [asyncio.create_task(stop.wait()), broken]
        if arguments.exit_with_parent:
            ends.append(asyncio.create_task(parent_gone(parent)))
        await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
        for task in ends:
            task.cancel()
        return 1 if broken.done() else 0


def main():
    arguments = read_arguments()
    # a client that breaks off a handshake is no news
    logging.getLogger("websockets").setLevel(logging.ERROR)
    with contextlib.ExitStack() as last:
        out = sys.stdout
        if arguments.decisions != "-":
            out = last.enter_context(
                open(arguments.decisions, "a", encoding="utf-8"))
        return asyncio.run(run(arguments, out))


if __name__ == "__main__":
    sys.exit(main())
