"""Local passwords that devices.ini keeps as hashes: what a device shows, who
waits for whom, and what a wrong one costs."""

import base64
import contextlib
import hashlib
import os
import pathlib
import pty
import signal
import subprocess
import termios

import pytest

import mqtt_raw as mqtt
from cloud_process import topic_of
from mqtt_raw import Closed, Client
from proxy import TIMEOUT, program

LEVELS = [(3, 5), (4, 5), (5, 0x87)]
BUSY = {3: 3, 4: 3, 5: 0x89}
PASSWORD = "correct horse battery"
QUICK = 1000
# some seconds: what has to happen meanwhile happens
SLOW = 2_000_000
SOON = {"wrong_password_pause": 0}


def hashed(password=PASSWORD, iterations=QUICK):
    salt = os.urandom(16)
    found = hashlib.pbkdf2_hmac("sha256", password.encode(), salt, iterations)
    return "$".join(["", "pbkdf2-sha256", f"i={iterations}",
                     *(base64.b64encode(part).decode().rstrip("=")
                       for part in (salt, found))])


def come(dial, proxy, entry, password=PASSWORD, level=4, **options):
    """Sends its CONNECT."""
    device = dial(proxy, **options)
    device.send_connect(entry["label"], level, password=password,
                        user_name=None if password is None else "user")
    return device


def works(cloud, entry, device):
    device.publish(topic_of(entry), "x", qos=1)
    return len(cloud.decisions("login", entry)) == 1


def peer_of(device):
    host, port = device.socket.getsockname()
    return f"{host}:{port}"


def waits(proxy, device, **fields):
    """Until its password is being checked, or stands in the queue."""
    proxy.wait_log("password_waits", peer=peer_of(device), **fields)


@pytest.mark.parametrize("level", [3, 4, 5])
def test_right(cloud, start, dial, level):
    entry = cloud.device(password_hash=hashed())
    proxy = start(cloud, entry)
    device = come(dial, proxy, entry, level=level)
    assert device.connack().code == 0
    assert works(cloud, entry, device)
    proxy.wait_log("password_hashed")
    assert PASSWORD not in proxy.raw_log()


@pytest.mark.parametrize("level, code", LEVELS)
@pytest.mark.parametrize("shown", [None, "", PASSWORD[:-1], PASSWORD + "s",
                                   "x" * 128, "x" * 129, "x" * 60000])
def test_wrong(cloud, start, dial, level, code, shown):
    entry = cloud.device(password_hash=hashed())
    proxy = start(cloud, entry, limits=SOON)
    device = come(dial, proxy, entry, shown, level)
    assert device.connack().code == code
    assert device.until_closed() == []
    told = proxy.wait_log("device_refused")
    assert told["reason"] == "bad_password"
    assert entry["label"] in told["detail"]
    if shown:
        assert shown not in proxy.raw_log()
    assert entry["password_hash"] not in proxy.raw_log()
    assert not cloud.decisions("login", entry)


def test_what_came_behind_the_connect(cloud, start, dial):
    """Is not lost while the password is checked."""
    entry = cloud.device(password_hash=hashed())
    proxy = start(cloud, entry)
    device = dial(proxy)
    device.send(
        mqtt.connect(entry["label"], user_name="u", password=PASSWORD),
        mqtt.publish(topic_of(entry), "first", 1, 1))
    device.send(mqtt.publish(topic_of(entry), "second", 1, 2))
    assert device.connack().code == 0
    for number in (b"\0\1", b"\0\2"):
        assert device.expect(mqtt.PUBACK).body == number
    assert [line["payload"] for line in cloud.decisions("publish", entry)
            ] == ["first", "second"]


def test_is_remembered(cloud, start, dial):
    """Of each password once; until the hash is another."""
    entry = cloud.device(password_hash=hashed())
    proxy = start(cloud, entry, limits=SOON)
    for _ in range(3):
        device = come(dial, proxy, entry)
        assert device.connack().code == 0
        device.send(mqtt.DISCONNECT)
        device.until_closed()
        assert come(dial, proxy, entry, "wrong").connack().code == 5
    proxy.wait_log("device_refused", count=3)
    assert len(proxy.logs("password_hashed")) == 2
    assert len(proxy.logs("password_remembered")) == 4
    proxy.set_devices([{**entry, "password_hash": hashed("another")}])
    assert proxy.reload()["event"] == "reloaded"
    assert come(dial, proxy, entry).connack().code == 5
    assert come(dial, proxy, entry, "another").connack().code == 0
    proxy.wait_log("password_hashed", count=4)


def test_pause(cloud, start, dial):
    """A wrong one is logged at once and told later; the connection is still
    there meanwhile, and counts; others do not wait."""
    entry = cloud.device(password_hash=hashed())
    plain = cloud.device(password="local-password")
    signed = cloud.device(verify_login="yes")
    proxy = start(cloud, entry, plain, signed, limits={
        "wrong_password_pause": "60s", "devices_per_address": 3})
    wrong = [come(dial, proxy, entry, "wrong", source="127.0.0.5"),
             come(dial, proxy, plain, "wrong", source="127.0.0.5"),
             come(dial, proxy, signed, "wrong", source="127.0.0.5")]
    for device, reason in zip(wrong, ("bad_password", "bad_password",
                                      "bad_signature")):
        proxy.wait_log("device_refused", reason=reason, peer=peer_of(device))
    more = come(dial, proxy, plain, "local-password", source="127.0.0.5")
    assert more.connack().code == 3
    proxy.wait_log("device_refused", reason="too_many_from_address")
    device = come(dial, proxy, plain, "local-password")
    assert device.connack().code == 0
    assert works(cloud, plain, device)
    for device in wrong:
        device.socket.setblocking(False)
        with pytest.raises(BlockingIOError):
            device.socket.recv(1)
        device.socket.settimeout(TIMEOUT)
    # the end does not wait for them
    proxy.stop()
    for device in wrong:
        assert device.connack().code == 5


def test_pause_is_live(cloud, start, dial):
    entry = cloud.device(password_hash=hashed())
    proxy = start(cloud, entry, limits={"wrong_password_pause": "60s"})
    proxy.set_settings(start.settings(
        cloud, {"limits": {"wrong_password_pause": "50ms"}}))
    assert proxy.reload()["event"] == "reloaded"
    device = come(dial, proxy, entry, "wrong")
    assert device.connack().code == 5
    assert device.until_closed() == []


def test_reset_while_paused(cloud, start, dial):
    entry = cloud.device(password="local-password")
    proxy = start(cloud, entry, limits={"wrong_password_pause": "50ms"})
    for _ in range(20):
        device = come(dial, proxy, entry, "wrong")
        proxy.wait_log("device_refused", peer=peer_of(device))
        device.reset()
    assert come(dial, proxy, entry, "local-password").connack().code == 0


def test_guessing_hurts_nobody_else(cloud, start, dial):
    """20 devices that hammer wrong passwords, 20 right ones that come
    meanwhile, and one that is there and loses no message."""
    entries = [cloud.device(password_hash=hashed(iterations=20_000))
               for _ in range(20)]
    there = cloud.device()
    proxy = start(cloud, there, *entries, limits={
        "wrong_password_pause": "10ms", "connect_timeout": "30s"})
    bystander = dial(proxy)
    bystander.log_in(there["label"])
    tries = [0] * 20

    with contextlib.ExitStack() as last:
        def guess(at):
            """One more connection of this attacker, from its own address."""
            tries[at] += 1
            device = last.enter_context(
                Client(proxy.port, source=f"127.0.1.{at + 1}"))
            device.send_connect(entries[at]["label"], user_name="u",
                                password=f"guess {tries[at]}")
            return device

        attackers = [guess(at) for at in range(20)]
        proxy.wait_log("device_refused", reason="bad_password", count=5)
        good, numbers = [], []
        for at, entry in enumerate(entries):
            good.append(come(dial, proxy, entry, source=f"127.0.2.{at + 1}"))
            for attacker in range(20):
                with contextlib.suppress(BlockingIOError, ConnectionError,
                                         Closed):
                    attackers[attacker].socket.setblocking(False)
                    attackers[attacker].until_closed()
                    attackers[attacker] = guess(attacker)
            number = len(numbers) + 1
            numbers.append(number)
            bystander.send(mqtt.publish(
                topic_of(there), f"{number}", 1, number))
        for entry, device in zip(entries, good):
            assert device.connack().code == 0
            assert works(cloud, entry, device)
        for number in numbers:
            answer = bystander.expect(mqtt.PUBACK)
            assert answer.body == number.to_bytes(2, "big")
        arrived = [line["payload"]
                   for line in cloud.decisions("publish", there)]
        assert arrived == [f"{number}" for number in numbers]
    assert not proxy.logs("session_end")


def test_suspects_wait_behind_others(cloud, start, dial):
    """While one is computed, whose sender is known for wrong ones, another
    of that kind is overtaken by all others."""
    slow = cloud.device(password_hash=hashed(iterations=SLOW))
    quick = [cloud.device(password_hash=hashed()) for _ in range(5)]
    proxy = start(cloud, slow, *quick,
                  limits={**SOON, "connect_timeout": "60s"})
    assert come(dial, proxy, quick[0], "wrong",
                source="127.0.0.9").connack().code == 5
    first = come(dial, proxy, slow)
    waits(proxy, first, suspect="no")
    suspect = come(dial, proxy, quick[0], source="127.0.0.9")
    waits(proxy, suspect, suspect="yes")
    others = [come(dial, proxy, entry) for entry in quick[1:]]
    for device in (first, suspect, *others):
        assert device.connack().code == 0
    proxy.wait_log("password_hashed", peer=peer_of(suspect))
    order = [line["peer"] for line in proxy.logs("password_hashed")][1:]
    assert order == [peer_of(device) for device in (first, *others, suspect)]


def test_many_guesses_at_once(cloud, start, dial):
    """The first wrong one puts all that wait from there behind the others,
    whoever was first."""
    entries = [cloud.device(password_hash=hashed(iterations=100_000))
               for _ in range(3)]
    proxy = start(cloud, *entries, limits={**SOON, "connect_timeout": "60s"})
    guesses = [come(dial, proxy, entries[0], f"guess {at}",
                    source="127.0.0.9") for at in range(40)]
    proxy.wait_log("password_waits", count=40)
    good = [come(dial, proxy, entry) for entry in entries]
    for device in good:
        assert device.connack().code == 0
    for device in guesses:
        assert device.connack().code == 5
    proxy.wait_log("password_hashed", count=43)
    bad = {peer_of(device) for device in guesses}
    for device in good:
        came, = proxy.logs("password_waits", peer=peer_of(device))
        lines = proxy.logs(("password_waits", "password_hashed"))
        between = [line["peer"] for line in lines[lines.index(came):]
                   if line["event"] == "password_hashed"]
        ahead = between[:between.index(peer_of(device))]
        # but the one that was being computed
        assert len(bad & set(ahead)) <= 1


@pytest.mark.parametrize("level", [3, 4, 5])
def test_not_checked_in_time(cloud, start, dial, level):
    entry = cloud.device(password_hash=hashed(iterations=SLOW))
    proxy = start(cloud, entry, limits={"connect_timeout": "100ms"})
    device = come(dial, proxy, entry, level=level)
    assert device.connack().code == BUSY[level]
    assert device.until_closed() == []
    assert proxy.wait_log("device_refused")["reason"] == "server_busy"


def test_leaves_while_it_is_checked(cloud, start, dial):
    entry = cloud.device(password_hash=hashed(iterations=SLOW))
    other = cloud.device()
    proxy = start(cloud, entry, other)
    device = come(dial, proxy, entry)
    waits(proxy, device)
    device.reset()
    there = dial(proxy)
    there.log_in(other["label"])
    assert works(cloud, other, there)


@pytest.mark.parametrize("change, reason, code", [
    ({}, None, 0),
    (None, "unknown_device", 5),
    ({"enabled": "no"}, "entry_disabled", 5),
    ({"password_hash": hashed("another")}, "bad_password", 5),
    ({"password_hash": None, "password": "another"}, "bad_password", 5),
    ({"password_hash": None}, None, 0),
    ({"password_hash": hashed()}, None, 0),
    ({"verify_login": "yes", "password_hash": None}, "bad_signature", 5)],
    ids=["as before", "removed", "disabled", "other hash", "plain", "none",
         "other salt", "signed"])
def test_reload_while_it_is_checked(cloud, start, dial, change, reason, code):
    """It is judged by the new map."""
    entry, other = cloud.device(
        password_hash=hashed(iterations=SLOW)), cloud.device()
    proxy = start(cloud, entry, other,
                  limits={**SOON, "connect_timeout": "60s"})
    device = come(dial, proxy, entry)
    waits(proxy, device)
    if change is not None:
        change = {key: value for key, value in {**entry, **change}.items()
                  if value is not None}
    proxy.set_devices([other] if change is None else [change, other])
    assert proxy.reload()["event"] == "reloaded"
    assert device.connack().code == code
    if reason:
        assert proxy.wait_log("device_refused")["reason"] == reason


def test_messages_go_first(cloud, start, dial):
    """Hashing has a lower priority than all that carries messages, as the
    reading of files has."""
    entry = cloud.device(password_hash=hashed())
    proxy = start(cloud, entry)
    assert proxy.reload()["event"] == "reloaded"
    assert come(dial, proxy, entry).connack().code == 0
    nice = [int(path.read_text().rpartition(")")[2].split()[16])
            for path in pathlib.Path(f"/proc/{proxy.pid}/task").glob("*/stat")]
    assert len([n for n in nice if n > min(nice)]) == 2


def test_reload_keeps_the_turn(cloud, start, dial):
    """Who has waited longest is still the next one."""
    slow, *others = [cloud.device(password_hash=hashed(iterations=SLOW))] + [
        cloud.device(password_hash=hashed()) for _ in range(5)]
    proxy = start(cloud, slow, *others, limits={"connect_timeout": "60s"})
    devices = []
    for entry in (slow, *others):
        devices.append(come(dial, proxy, entry))
        waits(proxy, devices[-1])
    assert proxy.reload()["event"] == "reloaded"
    for device in devices:
        assert device.connack().code == 0
    hashes = proxy.logs("password_hashed")
    assert [line["peer"] for line in hashes] == list(map(peer_of, devices))


@pytest.mark.parametrize("level, code", [(3, 3), (4, 3), (5, 0x88)])
def test_end_while_it_is_checked(cloud, start, dial, level, code):
    entry = cloud.device(password_hash=hashed(iterations=SLOW))
    proxy = start(cloud, entry)
    device = come(dial, proxy, entry, level=level)
    waits(proxy, device)
    proxy.stop()
    assert device.connack().code == code
    assert proxy.logs("device_refused", reason="draining")


@pytest.mark.parametrize("after, code", [
    ({}, 0), ({"password_hash": hashed("another")}, 3), ({"enabled": "no"}, 5),
    ({"label": "renamed"}, 0)],
    ids=["as before", "changed", "disabled", "renamed"])
def test_reload_while_it_waits_for_its_turn(cloud, start, dial, after, code):
    """The older link is still closing: nothing is hashed again for one whose
    password is as it was, and who has another one has to come again."""
    entry, other = cloud.device(password_hash=hashed()), cloud.device()
    entry["match_client_id"] = entry["label"]
    proxy = start(cloud, entry, other, cloud={"close_timeout": "30s"})
    old = come(dial, proxy, entry)
    assert old.connack().code == 0
    with cloud.halted():
        new = come(dial, proxy, entry)
        assert old.until_closed() == []
        proxy.set_devices([other, {**entry, **after}])
        assert proxy.reload()["event"] == "reloaded"
    assert new.connack().code == code


def check(tmp_path, value, **more):
    entry = {"product_key": "pk", "device_name": "devi",
             "device_secret": "x", "host": "h", "password_hash": value,
             **more}
    path = tmp_path / "devices.ini"
    path.write_text("[device:a]\n" + "".join(
        f"{key} = {text}\n" for key, text in entry.items()))
    path.chmod(0o600)
    (tmp_path / "proxy.ini").write_text("")
    return subprocess.run(
        [program(), "check", "--config", tmp_path / "proxy.ini"],
        capture_output=True, text=True, timeout=TIMEOUT, check=False)


def test_check(tmp_path):
    good = hashed()
    done = check(tmp_path, good)
    assert done.returncode == 0, done
    assert "with its password" in done.stdout
    assert good not in done.stdout + done.stderr
    for wrong in (good[:-1], good + "=", hashed(iterations=999), "secret"):
        done = check(tmp_path, wrong)
        assert done.returncode == 3
        assert "devices.ini:6: error: password_hash: " in done.stderr
        assert wrong not in done.stderr
    for rival in ("password", "password_file"):
        done = check(tmp_path, good, **{rival: "/x"})
        assert f"{rival} and password_hash (line 6) exclude" in done.stderr


# passwd


def passwd(*arguments, **options):
    return subprocess.run([program(), "passwd", *arguments], text=True,
                          capture_output=True, timeout=TIMEOUT, check=False,
                          **options)


def test_passwd_from_a_pipe(cloud, start, dial):
    done = passwd("--iterations", "1000", input=f"{PASSWORD}\nmore\n")
    assert (done.returncode, done.stderr) == (0, "")
    key, equals, value = done.stdout.strip().partition(" = ")
    assert (key, equals) == ("password_hash", " = ")
    assert value.startswith("$pbkdf2-sha256$i=1000$")
    assert PASSWORD not in done.stdout
    entry = cloud.device(password_hash=value)
    proxy = start(cloud, entry)
    assert come(dial, proxy, entry).connack().code == 0


def test_passwd_default():
    assert "$i=600000$" in passwd(input="x").stdout


@pytest.mark.parametrize("text", ["", "\n", "x" * 129])
def test_passwd_refuses(text):
    done = passwd("--iterations", "1000", input=text)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr


@pytest.mark.parametrize("iterations", ["999", "10000001", "x", "-1", ""])
def test_passwd_iterations(iterations):
    done = passwd("--iterations", iterations, input="x")
    assert (done.returncode, done.stdout) == (2, "")


@contextlib.contextmanager
def asked():
    """passwd at a terminal: (process, terminal, what was seen until)."""
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [program(), "passwd", "--iterations", "1000"], stdin=theirs,
        stdout=subprocess.PIPE, stderr=theirs, start_new_session=True)
    seen = bytearray()

    def until(text):
        while text not in seen:
            seen.extend(os.read(ours, 1000))
        return bytes(seen)

    try:
        yield process, ours, theirs, until
    finally:
        process.kill()
        process.wait()
        process.stdout.close()
        os.close(ours)
        os.close(theirs)


def echoes(terminal):
    return bool(termios.tcgetattr(terminal)[3] & termios.ECHO)


@pytest.mark.parametrize("again, code", [("typed twice", 0), ("another", 1)])
def test_passwd_at_a_terminal(again, code):
    with asked() as (process, ours, theirs, until):
        until(b"Password: ")
        assert not echoes(theirs)
        os.write(ours, b"typed twice\n")
        until(b"again: ")
        assert not echoes(theirs)
        os.write(ours, again.encode() + b"\n")
        out = process.stdout.read().decode()
        assert process.wait(TIMEOUT) == code
        assert echoes(theirs)
        assert out.startswith("password_hash = ") == (code == 0)
        if code:
            until(b"two different passwords")
        assert b"typed" not in until(b"")


def test_passwd_interrupted():
    with asked() as (process, _, theirs, until):
        until(b"Password: ")
        assert not echoes(theirs)
        process.send_signal(signal.SIGINT)
        assert process.wait(TIMEOUT) == -signal.SIGINT
        assert echoes(theirs)
