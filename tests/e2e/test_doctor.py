"""mqtt-wss-proxy doctor, where all is well; test_faults.py has the rest."""

import subprocess

import pytest

from mqtt_raw import session_expiry
from proxy import TIMEOUT, environment, program


@pytest.fixture
def doctor(cloud, start, certs):
    """doctor(entry, ..., operands=[...], **settings) -> (exit code, lines)"""
    def consult(*entries, operands=(), **settings):
        proxy = start(cloud, *entries, **settings)
        done = subprocess.run(
            [program(), "doctor", *operands,
             "--config", proxy.folder / "proxy.ini"],
            capture_output=True, text=True, timeout=TIMEOUT, check=False,
            env=environment())
        assert not done.stderr
        for entry in entries:
            assert entry["device_secret"] not in done.stdout
        return done.returncode, done.stdout.splitlines()

    return consult


def outcomes(lines):
    """The steps and how they went."""
    return [tuple(line.split()[:2]) for line in lines
            if line[0] != " " and not line.startswith("way")]


REACHED = [("settings", "ok"), ("clock", "ok"), ("entry", "ok"),
           ("names", "ok"), ("tcp", "ok"), ("egress", "ok"), ("tls", "ok"),
           ("upgrade", "ok")]


@pytest.mark.parametrize("level", ["3", "4", "5"])
def test_all_is_well(cloud, doctor, level):
    entry = cloud.device()
    code, lines = doctor(entry,
                         operands=[entry["label"], "--level", level])
    assert code == 0
    assert outcomes(lines) == REACHED + [
        ("login", "ok"), ("stay", "ok"), ("resumption", "ok")]
    text = "\n".join(lines)
    assert "TLSv1.3" in text and "CN=localhost" in text
    assert "the next handshake was a short one" in text
    assert "ahead of the server's" in text
    login = cloud.wait("login", entry, accepted=True)
    # nothing that the cloud keeps for the device may be lost
    assert (login["level"], login["clean"]) == (int(level), False)
    assert cloud.wait("disconnect", entry)["clean"]
    assert len(cloud.decisions("login", entry)) == 1


@pytest.mark.parametrize("level", [4, 5])
def test_the_session_is_kept(cloud, start, dial, doctor, level):
    """What the cloud keeps for a device outlives the doctor's visit."""
    entry = cloud.device()
    proxy = start(cloud, entry)
    options = {"level": level, "clean": False,
               "properties": session_expiry(300) if level == 5 else b""}
    device = dial(proxy)
    assert not device.log_in(entry["label"], **options).session_present
    device.close()
    proxy.wait_log("session_end", label=entry["label"])
    code, _ = doctor(entry, operands=[entry["label"], "--level", str(level)])
    assert code == 0
    assert dial(proxy).log_in(entry["label"], **options).session_present


def test_without_a_label_nobody_logs_in(cloud, doctor):
    """Each place is visited once, however many devices are there."""
    entries = [cloud.device() for _ in range(3)]
    entries.append(cloud.device(host="127.0.0.1"))
    code, lines = doctor(*entries)
    assert code == 0
    once = REACHED[2:] + [("resumption", "ok")]
    assert outcomes(lines) == REACHED[:2] + 2 * once
    assert not cloud.decisions("login")


def test_a_device_that_is_not_there(cloud, doctor):
    code, lines = doctor(cloud.device(), operands=["pump-none"])
    assert code == 10
    assert outcomes(lines)[-1] == ("entry", "FAILED")
    assert "pump-none" in lines[-3]


def test_a_disabled_device(cloud, doctor):
    """It is not logged in, and its place is not visited for its sake."""
    entry = cloud.device(enabled="no")
    code, lines = doctor(entry, operands=[entry["label"]])
    assert code == 10
    assert outcomes(lines)[-1] == ("entry", "FAILED")
    assert "entry_disabled" in lines[-2]
    code, lines = doctor(cloud.device(enabled="no"))
    assert (code, outcomes(lines)) == (0, REACHED[:2])
    assert not cloud.decisions("login")


def test_another_transport_will_do(cloud, certs, doctor):
    """What failed is told, but all in all it works."""
    entry = cloud.device(port=1, transports="wss, mqtts",
                         mqtts_port=cloud.mqtts_port)
    code, lines = doctor(entry, operands=[entry["label"]],
                         tls_mqtts={"ca_file": certs / "other-root.pem"})
    assert code == 0
    assert ("tcp", "FAILED") in outcomes(lines)
    assert ("login", "ok") in outcomes(lines)


@pytest.mark.parametrize("transport", ["wss", "mqtts"])
def test_by_an_egress_proxy(cloud, certs, ways, doctor, transport):
    entry = cloud.device(host="cloud.test", transports=transport,
                         mqtts_port=cloud.mqtts_port)
    way = ways["digest"]
    code, lines = doctor(entry, operands=[entry["label"]],
                         egress={"proxy": way.url},
                         tls_mqtts={"ca_file": certs / "other-root.pem"})
    assert code == 0
    assert outcomes(lines)[-1] == ("resumption", "ok")
    assert any(line.startswith("egress") and "tunnel by 127.0.0.1" in line
               for line in lines)
    assert way.password not in "\n".join(lines)


@pytest.mark.parametrize("wrong", ["2", "6", "x", "", "44"])
def test_levels_that_are_none(wrong):
    done = subprocess.run([program(), "doctor", "--level", wrong],
                          capture_output=True, text=True, timeout=TIMEOUT,
                          check=False, env=environment())
    assert done.returncode == 2
    assert "is none of 3, 4 and 5" in done.stderr
