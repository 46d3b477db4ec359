"""The proxies that are compared: how each is configured and started.

Every one verifies the cloud's certificate. Those that speak no WebSocket get a
cloud that takes MQTT in TLS, tcp one that takes plain MQTT.
"""
import os
import shutil
import subprocess
from dataclasses import dataclass, field
from pathlib import Path
from string import Template

HERE = Path(__file__).resolve().parent
PORT, CLOUD = 1883, 9443
IDS = 20000  # client ids of tests/bench/load.c
WEBSOCKET, TLS, TCP = ["-w"], [], ["-n"]

PRODUCT = """[product:a1B2c3D4e5F]
host = 127.0.0.1
server_name = localhost
{rules}
"""
FLEET = """[device:load]
product_key = a1B2c3D4e5F
device_name = load_${1}
device_secrets_file = secrets.csv
match_client_id = load_*
"""
DEVICE = """[device:d{0}]
product_key = a1B2c3D4e5F
device_name = meter_{0}
device_secret = {0:032x}
match_client_id = METER-{0}
"""
RULES = """topic.1.lan = up/#
topic.1.cloud = /${pk}/${dn}/user/up/$#
topic.2.lan = down/#
topic.2.cloud = /${pk}/${dn}/user/down/$#"""


SEARCH = os.environ["PATH"] + ":/usr/sbin:/sbin"  # of daemons too
ENV = {**os.environ, "PATH": SEARCH, "NODE_PATH": "/usr/share/nodejs"}


@dataclass(frozen=True)
class Peer:
    """What a process needs to be one of the proxies. Both the command and the
    template of its configuration are filled in."""

    name: str
    cloud: list  # options of the sink it connects to
    command: tuple
    template: str = ""
    values: dict = field(default_factory=dict)
    is_ours: bool = False

    def missing(self):
        """Why it cannot run here, or None."""
        program = self.command[0]
        if not self.is_ours and shutil.which(program, path=SEARCH) is None:
            return f"there is no {program}"
        if program == "node" and subprocess.run(
                ["node", "-e", "require('ws')"], env=ENV,
                stderr=subprocess.DEVNULL, check=False).returncode != 0:
            return "node has no module ws (Debian: node-ws)"
        return None

    def configure(self, build, folder, ca, entries=None):
        """Writes its files into the folder; returns the command to start."""
        values = dict(build=build, here=HERE, folder=folder, ca=ca,
                      config=folder / "config", port=PORT, cloud=CLOUD,
                      **self.values)
        if self.template:
            text = (HERE / "peers" / self.template).read_text()
            values["config"].write_text(Template(text).substitute(values))
        if self.is_ours:
            write_map(folder, self.values["rules"], entries)
        return [Template(word).substitute(values) for word in self.command]


def write_map(folder, rules, entries=None):
    """The map of the load's ids, or one of so many sections."""
    product = PRODUCT.format(rules=rules)
    file = folder / "devices.ini"
    secrets = folder / "secrets.csv"
    for path in (file, secrets):
        path.touch(mode=0o600)
    if entries is not None:
        file.write_text(
            product + "".join(DEVICE.format(i) for i in range(entries)))
        return
    file.write_text(product + FLEET)
    secrets.write_text("DeviceName,DeviceSecret\n" + "".join(
        f"load_{i},{i:032x}\n" for i in range(IDS)))


def ours(name, **values):
    usual = dict(workers=1, contract="aliyun", rules="", qos0_per_second=0,
                 bytes_per_second=0)
    return Peer(name, WEBSOCKET,
                ("$build/mqtt-wss-proxy", "run", "--config", "$config"),
                "proxy.ini", {**usual, **values}, is_ours=True)


NGINX = ("nginx", "-p", "/usr/share/nginx", "-c", "$config")
PEERS = {p.name: p for p in (
    ours("ours"),
    ours("ours-2-workers", workers=2),
    ours("ours-no-contract", contract="none"),
    ours("ours-guarded", qos0_per_second=1000, bytes_per_second="1024M"),
    ours("ours-topic-rules", rules=RULES),
    Peer("haproxy", TLS, ("haproxy", "-db", "-f", "$config"), "haproxy.cfg"),
    Peer("nginx", TLS, NGINX, "nginx.conf", {"tls": "on"}),
    Peer("stunnel", TLS, ("stunnel4", "$config"), "stunnel.conf"),
    Peer("node-ws", WEBSOCKET, (
        "node", "$here/peers/node-ws.js", "$port",
        "wss://127.0.0.1:$cloud/mqtt", "$ca")),
    Peer("tcp", TCP, NGINX, "nginx.conf", {"tls": "off"}),
)}
