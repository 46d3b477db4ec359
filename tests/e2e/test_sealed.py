"""Secrets that stand encrypted in devices.ini: device encrypt, device decrypt,
and a proxy that opens them."""

import contextlib
import os
import pty
import re
import secrets
import subprocess

import pytest

from proxy import TIMEOUT, Proxy, environment, program

PASSPHRASE = "correct horse battery"


def run(proxy, *arguments, stdin=subprocess.DEVNULL, given=None, **env):
    """(exit code, standard output, standard error)"""
    source = {"input": given} if given is not None else {"stdin": stdin}
    done = subprocess.run(
        [program(), *arguments, "--config", proxy.folder / "proxy.ini"],
        **source, capture_output=True, text=True, timeout=TIMEOUT,
        check=False, env={**environment(), **env})
    return done.returncode, done.stdout, done.stderr


def type_in(proxy, words, *arguments):
    """The same, with each word typed when it is asked for. Also what the
    terminal has shown."""
    ours, theirs = pty.openpty()
    with contextlib.ExitStack() as last:
        last.callback(os.close, ours)
        command = subprocess.Popen(
            [program(), *arguments, "--config", proxy.folder / "proxy.ini"],
            stdin=theirs, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
            env=environment(), start_new_session=True)
        last.callback(command.wait)
        last.callback(command.kill)
        last.callback(command.stdout.close)
        last.callback(command.stderr.close)
        os.close(theirs)
        said = b""
        for prompt, word in words:
            while not said.endswith(prompt.encode()):
                more = command.stderr.read1(200)
                assert more, said
                said += more
            os.write(ours, word.encode() + b"\n")
        said += command.stderr.read()
        out = command.stdout.read()
        code = command.wait(TIMEOUT)
        shown = b""
        os.set_blocking(ours, False)
        with contextlib.suppress(OSError):
            shown = os.read(ours, 4096)
    return code, out.decode(), said.decode(), shown.decode()


@pytest.fixture
def key_file(tmp_path):
    path = tmp_path / "key"
    path.write_text(secrets.token_hex(32) + "\n")
    path.chmod(0o600)
    return path


def text_of(proxy):
    return (proxy.folder / "devices.ini").read_text()


def as_sealed(entry, text):
    """The entry as it stands in the map."""
    value = re.search(r"^device_secret = (sealed:.*)$", text, re.M)[1]
    return {**entry, "device_secret": value}


def stopped(folder, entries, **settings):
    """The files of a proxy that does not run."""
    return Proxy(folder, entries, settings)


def test_there_and_back(cloud, start, dial, key_file):
    """Who is connected notices neither."""
    entry = cloud.device(password="local-password")
    other = cloud.device()
    proxy = start(cloud, entry, other, secrets={"key_file": key_file})
    device = dial(proxy)
    device.log_in(entry["label"], user_name="x", password="local-password")
    path = proxy.folder / "devices.ini"
    path.write_text("; a comment\n\n" + path.read_text()
                    + "; password = 123 in a comment\n")
    os.chmod(path, 0o640)
    before = text_of(proxy)

    code, said, _ = run(proxy, "device", "encrypt")
    assert (code, said) == (0, "3 sealed, 0 sealed already\n")
    sealed = text_of(proxy)
    for secret in (entry["device_secret"], other["device_secret"],
                   entry["password"]):
        assert secret not in sealed
    salts = re.findall(r" = sealed:1:([\w+/]{22}):[\w+/]+$", sealed, re.M)
    assert len(salts) == 3 and len(set(salts)) == 1
    assert os.stat(path).st_mode & 0o777 == 0o640
    assert proxy.reload()["event"] == "reloaded"
    device.ping()
    assert not proxy.logs("session_end")
    fresh = dial(proxy)
    fresh.log_in(other["label"])
    wrong = dial(proxy)
    wrong.send_connect(entry["label"], user_name="x", password="another")
    assert wrong.connack().code in (4, 5)

    code, said, told = run(proxy, "device", "encrypt")
    assert (code, said) == (0, "0 sealed, 3 sealed already\n")
    assert text_of(proxy) == sealed

    code, said, _ = run(proxy, "device", "decrypt")
    assert (code, said) == (0, "3 opened, 0 plain already\n")
    assert text_of(proxy) == before
    assert proxy.reload()["event"] == "reloaded"
    device.ping()
    assert not proxy.logs("session_end")


def test_some_devices(cloud, tmp_path, key_file):
    entries = [cloud.device() for _ in range(3)]
    proxy = stopped(tmp_path / "p", entries, secrets={"key_file": key_file})
    one, two, three = (entry["label"] for entry in entries)
    assert run(proxy, "device", "encrypt", one, three)[:2] == (
        0, "2 sealed, 0 sealed already\n")
    text = text_of(proxy)
    assert entries[1]["device_secret"] in text
    assert run(proxy, "device", "encrypt", one, two)[1] == (
        "1 sealed, 1 sealed already\n")
    assert len(set(re.findall(r"sealed:1:([\w+/]{22})", text_of(proxy)))) == 1
    before = text_of(proxy)
    code, _, told = run(proxy, "device", "encrypt", one, "nobody")
    assert code == 1 and "has no [device:nobody]" in told
    assert text_of(proxy) == before
    assert run(proxy, "device", "decrypt", two)[1] == (
        "1 opened, 0 plain already\n")
    assert entries[1]["device_secret"] in text_of(proxy)
    assert text_of(proxy).count("sealed:1:") == 2


def test_with_a_file_given(cloud, tmp_path, key_file):
    """What the proxy has to know is said; with another key nothing is
    changed."""
    entry = cloud.device()
    proxy = stopped(tmp_path / "p", [entry])
    code, _, told = run(proxy, "device", "encrypt")
    assert code == 1 and "[secrets] key_file" in told, told
    assert entry["device_secret"] in text_of(proxy)
    code, _, told = run(proxy, "device", "encrypt", "--key-file", key_file)
    assert code == 0 and "[secrets] key_file" in told
    sealed = text_of(proxy)
    code, _, told = run(proxy, "check")
    assert code == 3
    assert "devices.ini:4: error: device_secret: it is sealed, and" in told
    other = tmp_path / "other"
    other.write_text(secrets.token_hex(32))
    for command in ("encrypt", "decrypt"):
        code, _, told = run(proxy, "device", command, "--key-file", other)
        assert text_of(proxy) == sealed
    assert code == 3 and "devices.ini:4: error: device_secret: " in told
    assert run(proxy, "device", "decrypt", "--key-file", key_file)[0] == 0
    assert entry["device_secret"] in text_of(proxy)
    code, _, told = run(proxy, "device", "encrypt", "--key-file",
                        tmp_path / "none")
    assert code == 1 and "No such file" in told


def test_passphrase(cloud, start, dial, tmp_path):
    """Typed at a terminal, which does not show it; the proxy has it in a
    file, with a line end or without."""
    entry = cloud.device()
    proxy = stopped(tmp_path / "p", [entry])
    for words in ([("Passphrase: ", "too short"), ("Once more: ", "too short")],
                  [("Passphrase: ", PASSPHRASE), ("Once more: ", "another")]):
        code, _, said, shown = type_in(proxy, words, "device", "encrypt")
        assert code == 1, said
        assert ("12 bytes" if words[0][1] == words[1][1]
                else "not the same") in said
        assert entry["device_secret"] in text_of(proxy)
    code, out, said, shown = type_in(
        proxy, [("Passphrase: ", PASSPHRASE), ("Once more: ", PASSPHRASE)],
        "device", "encrypt")
    assert (code, out) == (0, "1 sealed, 0 sealed already\n"), said
    assert "[secrets] key_file" in said
    assert PASSPHRASE not in shown + said
    sealed = text_of(proxy)
    code, _, said, _ = type_in(
        proxy, [("Passphrase: ", PASSPHRASE + "!")], "device", "decrypt")
    assert code == 3 and "does not open" in said
    assert text_of(proxy) == sealed

    for end in ("", "\r\n"):
        key = tmp_path / "passphrase"
        key.write_bytes((PASSPHRASE + end).encode())
        running = start(cloud, as_sealed(entry, sealed),
                        secrets={"key_file": key})
        running.stop()
    running = start(cloud, as_sealed(entry, sealed),
                        secrets={"key_file": key})
    dial(running).log_in(entry["label"])
    code, _, said, _ = type_in(
        proxy, [("Passphrase: ", PASSPHRASE)], "device", "decrypt")
    assert code == 0
    assert entry["device_secret"] in text_of(proxy)


def test_key_among_the_services_credentials(cloud, start, dial, tmp_path,
                                            key_file):
    entry = cloud.device()
    proxy = stopped(tmp_path / "p", [entry])
    assert run(proxy, "device", "encrypt", "--key-file", key_file)[0] == 0
    running = start(
        cloud, as_sealed(entry, text_of(proxy)),
        secrets={"key_file": "${CREDENTIALS_DIRECTORY}/key"},
        env={"CREDENTIALS_DIRECTORY": str(key_file.parent)})
    dial(running).log_in(entry["label"])


def test_changed_secrets_are_sealed_like_the_others(cloud, tmp_path,
                                                    key_file):
    entry, fresh = cloud.device(), cloud.device()
    proxy = stopped(tmp_path / "p", [entry], secrets={"key_file": key_file})
    add = ["device", "add", fresh["label"], "--secret-stdin",
           *(f"{key}={value}" for key, value in fresh.items()
             if key not in ("label", "device_secret"))]
    # nothing is sealed yet
    code, _, told = run(proxy, *add, given=fresh["device_secret"] + "\n")
    assert code == 0, told
    assert fresh["device_secret"] in text_of(proxy)
    assert run(proxy, "device", "remove", fresh["label"])[0] == 0
    assert run(proxy, "device", "encrypt")[0] == 0
    code, _, told = run(proxy, *add, given=fresh["device_secret"] + "\n")
    assert code == 0, told
    code, _, told = run(proxy, "device", "set", entry["label"],
                        "--secret-stdin", given="another-secret\n")
    assert code == 0, told
    text = text_of(proxy)
    assert fresh["device_secret"] not in text
    assert "another-secret" not in text
    assert len(set(re.findall(r"sealed:1:([\w+/]{22})", text))) == 1
    assert run(proxy, "device", "decrypt")[1] == (
        "2 opened, 0 plain already\n")
    text = text_of(proxy)
    assert fresh["device_secret"] in text
    assert "device_secret = another-secret\n" in text


def test_no_plain_secret_among_sealed_ones(cloud, tmp_path, key_file):
    """Without the key a new one is not written in plain text, even in the
    place of the only sealed one."""
    entry = cloud.device()
    proxy = stopped(tmp_path / "p", [entry], secrets={"key_file": key_file})
    assert run(proxy, "device", "encrypt")[0] == 0
    text = text_of(proxy)
    key_file.write_text("no key\n")
    change = ["device", "set", entry["label"], "--secret-stdin"]
    code, _, told = run(proxy, *change, given="another-secret\n")
    assert code == 1 and "are sealed" in told and "key_file" in told
    assert text_of(proxy) == text
    # unless that is what is wanted
    code, _, told = run(proxy, *change, "--unset", "device_secret",
                        given="another-secret\n")
    assert code == 0, told
    assert "device_secret = another-secret\n" in text_of(proxy)
