#!/usr/bin/python3
"""Makes docs/page.png and docs/page-phone.png again: the page of the admin
endpoint as its sources have it, with an invented site, in headless Chromium
(packages: chromium, fonts-noto-core, pngquant).
"""

import argparse
import datetime
import http.server
import json
import pathlib
import subprocess
import sys
import tempfile
import threading

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests/e2e"))

from browser import Browser  # noqa: E402

KEY = "a1B2c3D4e5F"
HOST = f"{KEY}.iot-as-mqtt.cn-shanghai.aliyuncs.com"
HINTS = {
    "cloud_silent": "the cloud did not answer a ping; the link is dead",
    "device_silent": "nothing came from the device for 1.5 times its "
                     "keep-alive",
    "device_left": "the device said DISCONNECT",
    "device_lost": "the connection to the device broke",
    "login_refused": "the cloud refused this device's login; compare "
                     "its entry with the cloud's console",
    "tls_timeout": "the TLS handshake stalled; a firewall may inspect or "
                   "drop it",
    "unknown_device": "add an entry that matches its client id, user name or "
                      "address",
    "bad_password": "the device's password is not the one of its entry in "
                    "devices.ini",
}
# label, address, seconds, packets up and down, or (state, reason)
SITE = [
    ("press-1", 21, 812345, 40211, 388), ("press-2", 22, 812339, 39870, 371),
    ("press-3", 23, 41, "held", "cloud_silent"),
    ("press-4", 24, 203991, 9912, 90),
    ("kiln-north", 31, 812340, 120433, 1204),
    ("kiln-south", 32, 7203, 1066, 12),
    ("pump-7", 41, 812338, 27121, 410), ("pump-8", 42, 812338, 27007, 409),
    ("pump-9", 43, 2710, "offline", "login_refused"),
    ("pump-10", 44, 612030, 20455, 318),
    ("tank-level-east", 51, 812329, 13532, 0),
    ("tank-level-west", 52, 812331, 13541, 0),
    ("compressor-1", 61, 93110, 30991, 77),
    ("compressor-2", 62, 93104, 30870, 75),
    ("conveyor-a", 71, 812330, 81220, 2044),
    ("conveyor-b", 72, 812330, 81199, 2039),
    ("conveyor-c", 73, 3, "dialling", "none"),
    ("scale-intake", 81, 38012, 633, 20),
    ("scale-dispatch", 82, 25404, "offline", "device_silent"),
    ("meter-hall-1", 91, 812335, 54110, 6), ("meter-hall-2", 92, 812335,
                                             54092, 6),
    ("meter-hall-3", 93, 172800, 11520, 2),
    ("gate-camera", 101, 61, "offline", "device_left"),
    ("spare-press", 0, 0, "offline", "none"),
]


def ago(seconds):
    moment = (datetime.datetime.now(datetime.timezone.utc)
              - datetime.timedelta(seconds=seconds))
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")


def device(label, number, seconds, up, down):
    state, reason = (up, down) if isinstance(up, str) else ("online", "none")
    seen = number > 0
    row = {"label": label, "product_key": KEY,
           "device_name": label.replace("-", "_"), "state": state,
           "since": ago(seconds) if seen else None,
           "peer": f"192.168.10.{number % 250}:{40000 + 7 * number % 20000}"
                   if seen else "",
           "reason": reason, "detail": "", "host": HOST}
    if seen:
        row["seconds"] = seconds
    if state != "offline":
        row.update(link="UP" if state == "online" else "TLS",
                   transport="wss", port=443, level=4,
                   up_packets=up if state == "online" else 0,
                   down_packets=down if state == "online" else 0)
    return row


def knock(client_id, username, number, why, times, last, entry=""):
    return {"client_id": client_id, "username": username,
            "match_client_id": client_id, "match_username": username or None,
            "address": f"192.168.10.{number}", "entry": entry, "why": why,
            "times": times, "first": ago(last + 9 * times),
            "last": ago(last)}


def status(more):
    devices = [device(*row) for row in SITE]
    devices += [device(f"sensor-{n}", n, n, n, 0)
                for n in range(1, more + 1)]
    counts = {state: sum(row["state"] == state for row in devices)
              for state in ("dialling", "online", "held", "leaving",
                            "offline")}
    return {
        "version": "0.1.0", "pid": 1187, "started": ago(812400),
        "now": ago(0), "uptime_seconds": 812400, "workers": 2,
        "connections": len(devices) - counts["offline"], "unready": None,
        "map": {"file": "/etc/mqtt-wss-proxy/devices.ini",
                "devices": len(devices), "loaded": ago(203992), "reloads": 6,
                "reloads_refused": 1, "refused": True, "refusal": {
                    "since": ago(252), "errors": 1,
                    "file": "/etc/mqtt-wss-proxy/devices.ini", "line": 118,
                    "text": "[device:pump-11] device_secret is missing"}},
        "sessions": {key: n for key, n in counts.items() if key != "offline"},
        "offline": counts["offline"], "devices": devices,
        "turned_away": [
            knock("METER3", "", 117, "unknown_device", 14, 4),
            knock("pump-8", "plant", 58, "bad_password", 3, 1260, "pump-8")],
        "cloud": {
            "dials_accepted": 47, "last_accepted": ago(2710 + 4493),
            "dials_failed": {"tls_timeout": 3, "login_refused": 2},
            "last_failed": ago(9),
            "last_failed_why": "tls_timeout", "is_failing": True,
            "links_lost": {"cloud_silent": 3, "cloud_closed": 1},
            "certificate_expires": ago(-171 * 86400),
            "root_expires": ago(-900 * 86400)},
        "hints": HINTS}


def document():
    """As web_page.c puts it together."""
    def part(name):
        return (ROOT / f"proxy/server/web_page{name}").read_text()

    script = "".join(map(part, ("_base.js", "_knocks.js", "_devices.js",
                                ".js")))
    return ("<!doctype html>\n<html lang=en>\n<meta charset=utf-8>\n"
            f"<style>{part('.css')}</style>\n{part('.html')}"
            f"<script>{script}</script>\n")


def handler(more):
    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            is_page = self.path == "/"
            body = (document() if is_page
                    else json.dumps(status(more))).encode()
            self.send_response(200)
            self.send_header("Content-Type", "text/html; charset=utf-8"
                             if is_page else "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_):
            pass

    return Handler


def shoot(url, folder):
    """The pictures; a phone's is of its first screen."""
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as home, \
            Browser(home) as browser:
        for name, size in (("page", {"width": 1280, "height": 1180}),
                           ("page-phone", {"width": 390, "height": 844,
                                           "dark": True})):
            page = browser.open(url, **size)
            page.until("document.querySelectorAll('#rows tr').length > 20")
            page.run("document.querySelector('details')?.setAttribute("
                     "'open', '')" if name == "page" else "0")
            picture = folder / f"{name}.png"
            page.screenshot(picture)
            subprocess.run(["pngquant", "--force", "--speed=1", "--output",
                            picture, picture], check=True)


def main():
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--serve", type=int, metavar="PORT", help="leave the"
                         " site open for a browser of one's own instead")
    options.add_argument("--devices", type=int, default=0, metavar="N",
                         help="so many more")
    options.add_argument("--folder", type=pathlib.Path, default=ROOT / "docs",
                         help="for the pictures")
    given = options.parse_args()
    server = http.server.ThreadingHTTPServer(
        ("127.0.0.1", given.serve or 0), handler(given.devices))
    if given.serve:
        server.serve_forever()
    threading.Thread(target=server.serve_forever, daemon=True).start()
    shoot(f"http://127.0.0.1:{server.server_port}/", given.folder)
    server.shutdown()


if __name__ == "__main__":
    main()
