"""The faults that sites have, one after the other: what the log says of each,
so that it can be mended from there. A table of it is printed at the end."""

import contextlib
import dataclasses
import socket
import subprocess
from typing import Callable

import pytest

from cloud_process import NAME, PRODUCT
from egress import faketime
from hostile import BlackHole
from proxy import TIMEOUT, environment, program

# the doctor's exit codes, by the step that fails first
STEPS = {"clock": 11, "names": 12, "tcp": 13, "egress": 14, "tls": 15,
         "upgrade": 16, "login": 17, "stay": 18}


@dataclasses.dataclass(frozen=True)
class Fault:
    """arrange(lab) -> what differs: keys of the device's entry, and
    "settings" and "env" of the proxy. word: of the log's text and of what
    the doctor says; step: where the doctor finds it; codes: the CONNACKs that
    the device gets, one a login."""
    name: str
    arrange: Callable
    reasons: tuple
    word: str
    step: str
    codes: tuple


FAULTS = []


def fault(*reasons, word, step, codes=(3,)):
    def add(arrange):
        FAULTS.append(Fault(arrange.__name__.replace("_", " "), arrange,
                            reasons, word, step, codes))
        return arrange

    return add


class Lab:
    """What a fault is made with; taken down after the test."""

    def __init__(self, cloud, certs, ways, last):
        self.cloud, self.certs, self.ways = cloud, certs, ways
        self.last = last        # an ExitStack

    def chain(self, name):
        self.cloud.order("fault", chain=str(self.certs / f"{name}.pem"))
        return {}


@fault("login_refused", word="device_secret", step="login", codes=(4,))
def wrong_secret(_lab):
    return {"device_secret": "not-this-one"}


@fault("login_refused", word="not of this instance", step="login", codes=(5,))
def wrong_product_key(_lab):
    return {"product_key": "z9Y8x7W6v5U"}


@fault("cert_wrong_name", word="cn-nowhere", step="tls")
def wrong_region(_lab):
    """The name of one region, the server of another."""
    return {"server_name":
            f"{PRODUCT}.iot-as-mqtt.cn-nowhere.aliyuncs.com"}


@fault("resolve_failed", "resolve_timeout", word="does-not-exist.invalid", step="names")
def unknown_host(_lab):
    return {"host": "does-not-exist.invalid",
            "settings": {"cloud": {"resolve_timeout": "400ms"}}}


@fault("cloud_refused", word="nothing listens", step="tcp")
def refused_port(lab):
    taken = lab.last.enter_context(socket.socket())
    taken.bind(("127.0.0.1", 0))    # and no listen()
    return {"port": taken.getsockname()[1]}


@fault("tcp_timeout", word="firewall", step="tcp")
def silent_drop(lab):
    return {"port": lab.last.enter_context(BlackHole()).port,
            "host": "127.0.0.1",
            "settings": {"cloud": {"tcp_timeout": "400ms"}}}


@fault("egress_auth", word="wants a login", step="egress")
def egress_proxy_wants_a_password(lab):
    return {"host": NAME, "settings": {
        "egress": {"proxy": lab.ways["basic"].url_with()}}}


@fault("upgrade_redirected", word="portal", step="upgrade")
def captive_portal(lab):
    lab.cloud.order("fault", upgrade_status=302, upgrade_headers={
        "Location": "http://hotel.example/login"})
    return {}


@fault("cert_untrusted", word="ca_file", step="tls")
def untrusted_root(lab):
    return lab.chain("untrusted")


@fault("cert_expired", word="expired", step="tls")
def expired_certificate(lab):
    return lab.chain("expired")


@fault("cert_wrong_name", word="wrong.example", step="tls")
def wrong_name(lab):
    return lab.chain("wrong-name")


@fault("clock_wrong", word="1970", step="clock")
def clock_in_1970(_lab):
    return {"env": faketime("1970-01-02 00:00:00")}


@fault("upgrade_refused", word="404", step="upgrade")
def upgrade_not_found(lab):
    lab.cloud.order("fault", upgrade_status=404)
    return {}


@fault("cloud_closed", word="ended the connection", step="stay", codes=(0,))
def kicked(lab):
    lab.cloud.order("fault", kick_after=0)
    return {"on_link_loss": "close"}


@fault("login_refused", word="CONNACK 3", step="login", codes=(0, 3))
def over_quota(lab):
    lab.cloud.order("fault", logins_per_minute=1)
    # the proxy itself would keep the quota
    return {"settings": {"dial": {"per_device": 0}}}


@pytest.fixture(scope="module")
def table(request):
    """Rows (fault, log says, doctor says), shown when all have run."""
    rows = [("FAULT", "THE LOG SAYS", "THE DOCTOR SAYS")]
    yield rows
    width = max(len(name) for name, *_ in rows)
    capture = request.config.pluginmanager.getplugin("capturemanager")
    with capture.global_and_fixture_disabled():
        print()
        for name, *said in rows:
            for text in filter(None, said):
                print(name.ljust(width), text, sep="  ")
                name = ""


def consult(proxy, label, env):
    """The doctor: (exit code, the lines about the step that failed first)."""
    done = subprocess.run(
        [program(), "doctor", label, "--config", proxy.folder / "proxy.ini"],
        capture_output=True, text=True, timeout=TIMEOUT, check=False,
        env={**environment(), **env})
    assert not done.stderr, done.stderr
    lines = done.stdout.splitlines()
    failed = [at for at, line in enumerate(lines) if " FAILED " in line]
    assert failed, done.stdout
    said = lines[failed[0]:failed[0] + 3]   # the step, its reason, the cure
    return done.returncode, " ".join(" ".join(said).split())


@pytest.mark.parametrize("seeded", FAULTS, ids=lambda seeded: seeded.name)
def test_fault(cloud, certs, ways, start, dial, table, seeded):
    with contextlib.ExitStack() as last:
        keys = seeded.arrange(Lab(cloud, certs, ways, last))
        settings, env = keys.pop("settings", {}), keys.pop("env", {})
        entry = cloud.device(**{"port": cloud.port, **keys})
        proxy = start(cloud, entry, env=env, **settings)
        for count, code in enumerate(seeded.codes, 1):
            device = dial(proxy)
            device.send_connect(entry["label"])
            assert device.connack().code == code
            if code or count == len(seeded.codes):
                assert device.until_closed() == []
            device.close()
            line = proxy.wait_log("session_end", count=count,
                                  label=entry["label"])
        said = f"{line['reason']}: {line['detail']} ({line['hint']})"
        row = [seeded.name, said, ""]
        status, row[2] = consult(proxy, entry["label"], env)
        table.append(tuple(row))
        assert line["reason"] in seeded.reasons, said
        assert seeded.word in said
        assert row[2].startswith(f"{seeded.step} FAILED"), row[2]
        assert status == STEPS[seeded.step]
        assert line["reason"] in row[2] and seeded.word in row[2], row[2]
        assert entry["device_secret"] not in row[2]
