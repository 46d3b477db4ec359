"""Secrets of every kind stay inside: the log at its most talkative, what the
commands print, what /proc shows, files that are left, and memory when the map
that held them is gone."""

import base64
import contextlib
import itertools
import os
import pathlib
import re
import secrets
import socket
import subprocess
import tempfile
import urllib.parse

import pytest

import mqtt_raw as mqtt
from cloud_process import NAME
from egress import USER, Tinyproxy
from kernel import wait_until
from proxy import TIMEOUT, Proxy, environment, program

SANITIZER = re.compile(rb"lib(asan|tsan|ubsan)")


def mark(kind):
    """A secret that is found wherever it is."""
    return f"{kind}-{secrets.token_hex(10)}"


def in_base64(secret):
    """What every base64 text that holds the secret has in common with one of
    these, wherever the secret begins in it."""
    for before, cut in ((0, 0), (1, 2), (2, 3)):
        text = base64.b64encode(b"\0" * before + secret).rstrip(b"=")
        if (before + len(secret)) % 3:
            text = text[:-1]
        yield text[cut:]


def forms(secret):
    raw = secret.encode()
    yield raw
    yield raw.hex().encode()
    yield raw.hex().upper().encode()
    yield urllib.parse.quote(secret, safe="").encode()
    for text in in_base64(raw):
        yield text
        yield text.replace(b"+", b"-").replace(b"/", b"_")


def assert_clean(where, said, known):
    """known: {what it is: the secret}."""
    data = said if isinstance(said, bytes) else said.encode()
    for name, secret in known.items():
        for form in set(forms(secret)):
            at = data.find(form)
            assert at < 0, f"{where} shows {name}: {data[at - 80:at + 40]}"


def run(proxy, *arguments, given="", **more):
    """Output of a command, both streams, with those arguments."""
    done = subprocess.run(
        [program(), *arguments], input=given, capture_output=True, text=True,
        timeout=TIMEOUT, check=False, cwd=proxy.folder,
        env={**environment(), **more})
    return done.stdout + done.stderr


def write(folder, name, text):
    path = folder / name
    path.write_text(text)
    path.chmod(0o600)
    return str(path)


def of_process(pid):
    """What others on the machine see of a process."""
    proc = pathlib.Path(f"/proc/{pid}")
    for name in ("cmdline", "environ", "maps", "comm", "status"):
        yield name, (proc / name).read_bytes()
    for task in (proc / "task").iterdir():
        yield "comm of a thread", (task / "comm").read_bytes()
    for fd in (proc / "fd").iterdir():
        with contextlib.suppress(FileNotFoundError):
            yield "name of a descriptor", os.readlink(fd).encode()


def admin_pages(path):
    """What the admin socket tells whoever may ask it."""
    for page in ("/status", "/metrics"):
        with socket.socket(socket.AF_UNIX) as client:
            client.settimeout(TIMEOUT)
            client.connect(path)
            client.sendall(f"GET {page} HTTP/1.0\r\n\r\n".encode())
            answer = b"".join(iter(lambda: client.recv(4096), b""))
        assert b" 200 " in answer.splitlines()[0]
        yield page, answer


def in_tmp():
    return {path for path in pathlib.Path("/tmp").iterdir()
            if path.is_file() and not path.is_symlink()}


class Site:
    """A proxy with one device for each way in which a secret is given."""

    def __init__(self, cloud, start, folder):
        self.folder = folder
        self.known = {}
        self.key = secrets.token_hex(32)
        self.known["the key file"] = self.key
        self.key_file = write(folder, "sealing-key", self.key + "\n")
        self.plain = self.device(cloud, "plain", password=mark("plain"))
        self.filed = self.device(cloud, "filed", password=mark("filed"))
        for key in ("device_secret", "password"):
            self.filed[key + "_file"] = write(
                folder, "filed-" + key, self.filed.pop(key) + "\n")
        self.sealed = self.device(cloud, "sealed", password=mark("sealed"))
        # the cloud knows another one
        self.wrong = self.device(cloud, "wrong", device_secret=mark("wrong"))
        self.entries = [self.plain, self.filed, self.sealed, self.wrong]
        self.passwords = {name: secret for name, secret in self.known.items()
                          if name.startswith("password")}

    def device(self, cloud, kind, **keys):
        entry = cloud.device(**keys)
        for key in ("device_secret", "password"):
            if key in entry:
                self.known[f"{key} of {kind}"] = entry[key]
        return entry

    def seal(self, proxy):
        """As an administrator does it."""
        said = run(proxy, "device", "encrypt", self.sealed["label"],
                   "--config", "proxy.ini")
        text = (proxy.folder / "devices.ini").read_text()
        assert self.known["device_secret of sealed"] not in text, said
        assert self.known["password of sealed"] not in text
        assert text.count("sealed:1:") == 2
        return said


def knock(proxy, dial, entry, *codes, password=None, level=4):
    device = dial(proxy)
    device.send_connect(entry["label"], level,
                        user_name="a-user" if password else None,
                        password=password)
    answer = device.connack()
    assert answer.code in codes, answer
    return device


def leave(cloud, device, entry, since):
    """The cloud must not see a second session of the device."""
    device.send(mqtt.DISCONNECT)
    device.until_closed()
    cloud.wait("disconnect", entry, since=since)


def with_key(entry, value, key="device_secret"):
    return {**{name: old for name, old in entry.items()
               if not name.startswith(key)}, key: value}


def broken_maps(folder, entry, secret):
    """Maps with something wrong; the secret is in each."""
    label, own = f"[device:{entry['label']}]\n", dict(entry)
    own.pop("label")
    text = label + "".join(f"{k} = {v}\n" for k, v in own.items())
    for line in (f"{secret} = x", f"{secret}", f"device_secret: {secret}",
                 f"devicesecret = {secret}", f"password = {secret} ; old",
                 f" password = {secret}", f"password = {secret * 9}",
                 f"device_secret = {secret}",
                 f"password = sealed:1:{secret}",
                 f"password = {secret}\x01"):
        yield f"{text}{line}\n"
    for value in (f"{secret} {secret}", f"'{secret}'", f"ä{secret}",
                  secret * 3, f"sealed:{secret}"):
        yield device_text(with_key(entry, value))
    yield device_text(with_key(entry, secret + "-and-more", "product_key"))
    without = {key: value for key, value in entry.items()
               if key != "password"}
    yield device_text({**without, "password_file": secret})
    yield device_text(with_key(entry, write(folder, "two-lines",
                                            f"{secret}\n{secret}\n"),
                               "device_secret_file"))
    yield device_text(with_key(entry, write(folder, "long", secret * 9),
                               "device_secret_file"))


def device_text(entry):
    return f"[device:{entry['label']}]\n" + "".join(
        f"{key} = {value}\n" for key, value in entry.items()
        if key != "label")


def broken_settings(folder, secret):
    yield {"egress": {"proxy": f"http://user:{secret}@no host"}}
    yield {"egress": {"proxy": f"ftp://user:{secret}@proxy"}}
    yield {"egress": {"proxy": f"http://user:%{secret}@proxy"}}
    yield {"egress": {"proxy": f"http://user:{secret}@proxy",
                      "password_file": write(folder, "one", secret)}}
    yield {"egress": {"proxy": "http://user@proxy",
                      "password_file": write(folder, "two",
                                             f"{secret}\n{secret}")}}
    yield {"egress": {"proxy": "http://user@proxy", "password_file": secret}}
    yield {"egress": {"proxy": "http://user@proxy", secret: "x"}}
    yield {"egress": {"proxy": "http://user@proxy", "passwort": secret}}
    yield {"secrets": {"key_file": secret}}
    yield {"secrets": {"key_file": write(folder, "short", secret[:11])}}
    yield {"secrets": {"key_file": write(folder, "long-key", secret * 9)}}


COMMANDS = [["check"], ["sign"], ["match", "--client-id"], ["doctor"]]


@pytest.fixture
def site(cloud, start, tmp_path):
    folder = tmp_path / "secrets"
    folder.mkdir(mode=0o700)
    return Site(cloud, start, folder)


def settings_of(site, **more):
    return {"secrets": {"key_file": site.key_file}, **more}


def begin(site, cloud, start, **more):
    """The proxy, with what was to be sealed sealed."""
    proxy = start(cloud, *site.entries, **settings_of(site, **more))
    said = site.seal(proxy)
    assert proxy.reload()["event"] == "reloaded"
    return proxy, said


def test_devices_and_commands(cloud, start, dial, site):
    before = in_tmp()
    proxy, said = begin(site, cloud, start)
    assert_clean("device encrypt", said, site.known)
    shown = {f"shown {at}": mark("shown") for at in range(3)}
    since = cloud.mark()
    online = [(entry, knock(proxy, dial, entry, 0, level=level,
                            password=site.known[f"password of {kind}"]))
              for kind, entry, level in (("plain", site.plain, 4),
                                         ("filed", site.filed, 5),
                                         ("sealed", site.sealed, 3))]
    knock(proxy, dial, site.plain, 4, 5, password=shown["shown 0"])
    knock(proxy, dial, site.filed, 0x86, 0x87, level=5,
          password=shown["shown 1"])
    knock(proxy, dial, site.wrong, 4, 5)
    knock(proxy, dial, {"label": "nobody"}, 5, password=shown["shown 2"])
    known = {**site.known, **shown}
    assert_clean("the log", proxy.raw_log(), known)
    for where, found in of_process(proxy.pid):
        assert_clean(where, found, known)

    for entry, device in online:
        leave(cloud, device, entry, since)
    labels = [entry["label"] for entry in site.entries]
    for label in labels:
        for command in COMMANDS[1:]:
            said = run(proxy, *command, label, "--config", "proxy.ini")
            assert said
            assert_clean(f"{command[0]} {label}", said, known)
    for command in (["check"], ["doctor"], ["device", "list"],
                    ["device", "show", labels[0]],
                    ["device", "show", labels[2]],
                    ["device", "diff", "devices.ini"],
                    ["device", "remove", "nobody"]):
        said = run(proxy, *command, "--config", "proxy.ini")
        assert said or command[1:2] == ["diff"]
        assert_clean(" ".join(command), said, known)
    for command in ([], ["help"], ["version"],
                    *(["help", name] for name in
                      ("run", "check", "match", "sign", "doctor", "device",
                       "status")),
                    ["device", "encrypt", "--help"]):
        assert_clean("help", run(proxy, *command), known)
    # a secret where a label or an option belongs is the caller's own word,
    # which is on his screen; what was in files is not
    said = run(proxy, "device", "decrypt", labels[2],
               "--config", "proxy.ini")
    assert_clean("device decrypt", said, known)
    assert site.known["password of sealed"] in (
        proxy.folder / "devices.ini").read_text()

    proxy.stop()
    assert_clean("the log", proxy.raw_log(), known)
    assert {path.name for path in proxy.folder.iterdir()} == {
        "proxy.ini", "devices.ini"}
    for path in in_tmp() - before:
        with contextlib.suppress(OSError):
            assert_clean(path, path.read_bytes(), known)


@pytest.fixture
def admin():
    """A short path: an address of a Unix socket has room for 107 bytes."""
    with tempfile.TemporaryDirectory(prefix="adm-") as folder:
        yield f"{folder}/a.sock"


def test_broken_files(cloud, start, dial, site, admin):
    """What is wrong is told, by the log, by check and by the admin socket,
    without the value."""
    proxy, _ = begin(site, cloud, start, admin={"socket": admin})
    good = (proxy.folder / "devices.ini").read_text()
    secret = mark("broken")
    known = {"the broken one": secret, **site.known}
    # a sealed value that is damaged, and one under another key's name
    value = re.search(r"device_secret = (sealed:\S+)", good)[1]
    damaged = [good.replace(value, value[:-3] + "AAA"),
               good.replace(value, value[:60]),
               re.sub(r"password = sealed:\S+", f"password = {value}", good)]
    for text in itertools.chain(
            broken_maps(site.folder, site.plain, secret), damaged):
        proxy.set_devices(text)
        assert proxy.reload()["event"] == "reload_refused", text
        said = run(proxy, "check", "--config", "proxy.ini")
        assert "devices.ini:" in said and "error: " in said, said
        assert_clean("check", said, known)
        for page, answer in admin_pages(admin):
            assert_clean(page, answer, known)
    said = run(proxy, "status", "--config", "proxy.ini")
    assert "devices.ini:" in said, said
    assert_clean("status", said, known)
    proxy.set_devices(good)
    for settings in broken_settings(site.folder, secret):
        proxy.set_settings({**start.settings(cloud, settings_of(site)),
                            **settings})
        assert proxy.reload()["event"] == "reload_refused", settings
        said = run(proxy, "check", "--config", "proxy.ini")
        assert ".ini:" in said and "error: " in said, said
        assert_clean("check", said, known)
    # the key is another one, or a passphrase
    for key in (secrets.token_hex(32), secret):
        proxy.set_settings(start.settings(cloud, {"secrets": {
            "key_file": write(site.folder, "other-key", key)}}))
        assert proxy.reload()["event"] == "reload_refused"
        said = run(proxy, "check", "--config", "proxy.ini")
        assert "does not open" in said
        assert_clean("check", said, {**known, "the other key": key})
    assert_clean("the log", proxy.raw_log(), known)
    # all this has changed nothing
    knock(proxy, dial, site.sealed, 0,
          password=site.known["password of sealed"])


def test_at_the_start(cloud, site, tmp_path):
    """The same, when there is no log yet."""
    secret = mark("start")
    for at, text in enumerate(
            broken_maps(site.folder, site.plain, secret)):
        proxy = Proxy(tmp_path / f"start-{at}", text, settings_of(site))
        try:
            assert proxy.start().wait() == 3
            assert "devices.ini:" in proxy.raw_log()
            assert_clean("run", proxy.raw_log(),
                         {"the broken one": secret, **site.known})
        finally:
            proxy.kill()


def test_egress_password(cloud, start, dial, site):
    entry = cloud.device(host=NAME)
    right, wrong = mark("right"), mark("wrong")
    known = {"right": right, "wrong": wrong,
             "right login": f"{USER}:{right}",
             "wrong login": f"{USER}:{wrong}"}

    class Way(Tinyproxy):
        password = right

    with Way(login="basic") as way:
        place = f"{way.host}:{way.port}"
        by_file = {"egress": {
            "proxy": f"http://{USER}@{place}",
            "password_file": write(site.folder, "egress", right)}}
        refused = {"egress": {"proxy": f"http://{USER}:{wrong}@{place}"}}
        by_url = {"egress": {"proxy": f"http://{USER}:{right}@{place}"}}
        proxy = start(cloud, entry, **by_file)
        said = []
        for settings, codes in ((by_file, [0]), (refused, [3]),
                                (by_url, [0])):
            proxy.set_settings(start.settings(cloud, settings))
            assert proxy.reload()["event"] == "reloaded"
            since = cloud.mark()
            device = knock(proxy, dial, entry, *codes)
            if codes == [0]:
                leave(cloud, device, entry, since)
            said += [run(proxy, command, *operands, "--config", "proxy.ini")
                     for command, *operands in
                     (["check"], ["doctor"], ["doctor", entry["label"]])]
        assert way.tunnels()
        assert proxy.logs("session_end", reason="egress_auth")
        assert_clean("commands", "\n".join(said), known)
        for where, found in of_process(proxy.pid):
            assert_clean(where, found, known)
        # and by the environment, which is the caller's
        said = run(proxy, "check", "--config", "proxy.ini",
                   https_proxy=f"http://{USER}:{wrong}@{place}")
        assert_clean("check", said, known)
        proxy.stop()
        assert_clean("the log", proxy.raw_log(), known)


def test_no_core_file(cloud, start, site):
    proxy, _ = begin(site, cloud, start)
    limits = pathlib.Path(f"/proc/{proxy.pid}/limits").read_text()
    core = re.search(r"^Max core file size +(\S+) +(\S+)", limits, re.M)
    assert {core[1], core[2]} <= {"0", "1"}
    # and what holds secrets would not be in one
    flags = re.findall(r"^VmFlags:(.*)$", pathlib.Path(
        f"/proc/{proxy.pid}/smaps").read_text(), re.M)
    assert any(" dd " in line for line in flags)


def writable_memory(pid):
    """Yields it, a mapping at a time."""
    with open(f"/proc/{pid}/maps", encoding="ascii") as lines:
        places = [line.split()[:2] for line in lines]
    with open(f"/proc/{pid}/mem", "rb", buffering=0) as memory:
        for place, mode in places:
            if not mode.startswith("rw"):
                continue
            start, end = (int(edge, 16) for edge in place.split("-"))
            try:
                memory.seek(start)
                yield memory.read(end - start)
            except OSError:     # it has gone meanwhile
                continue


def found_in_memory(proxy, known):
    return {name for part in writable_memory(proxy.pid)
            for name, secret in known.items() if secret.encode() in part}


def test_memory(cloud, start, dial, site):
    """A secret whose entry is gone is in no memory of the process any more,
    whatever its device had done; nor is the key, at any time. (A program
    linked without -z now fails here: when a function is called for the first
    time, the dynamic linker saves registers on the stack, and what memcpy()
    has left in them.)"""
    stays = cloud.device(password=mark("stays"))
    site.entries.append(stays)
    proxy, _ = begin(site, cloud, start)
    maps = pathlib.Path(f"/proc/{proxy.pid}/maps").read_bytes()
    if SANITIZER.search(maps):
        pytest.skip("a sanitizer keeps what was freed")
    shown = mark("shown")
    for kind in ("plain", "filed", "sealed"):
        device = knock(proxy, dial, getattr(site, kind), 0,
                       password=site.known[f"password of {kind}"])
        device.ping()
    knock(proxy, dial, site.wrong, 4, 5)
    knock(proxy, dial, site.plain, 4, 5, password=shown)
    knock(proxy, dial, stays, 0, password=stays["password"]).ping()
    key = {"the key": site.key}
    raw = bytes.fromhex(site.key)
    here = {"secret": stays["device_secret"], "password": stays["password"]}
    dropped = {name: secret for name, secret in site.known.items()
               if name != "the key file"}
    # who looks finds what is in use
    assert found_in_memory(proxy, {**here, **dropped}) == {*here, *dropped}
    assert not found_in_memory(proxy, key)
    assert not any(raw in part for part in writable_memory(proxy.pid))

    proxy.set_devices([stays])
    assert proxy.reload()["event"] == "reloaded"
    gone = {**dropped, "a wrong password": shown}
    wait_until(lambda: not found_in_memory(proxy, gone))
    assert found_in_memory(proxy, here) == set(here)
