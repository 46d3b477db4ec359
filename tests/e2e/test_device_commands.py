"""mqtt-wss-proxy device: the map as an administrator lists and changes it."""

import contextlib
import csv
import io
import json
import os
import pathlib
import pty
import re
import select
import shutil
import signal
import stat
import struct
import subprocess
import tempfile
import termios
import time

import pytest

from kernel import wait_until
from proxy import ROOT, TIMEOUT, environment, program

SECRET = "never-to-be-seen"
NEW_SECRET = "nor-is-this-one"
SAMPLE = (ROOT / "config" / "devices.ini.sample").read_bytes()

MAP = f"""\
; the map of the site

; what the pumps share
[product:a1B2c3D4e5F]
region = cn-shanghai

; in the cellar
[device:pump-7]
product_key = a1B2c3D4e5F
device_name = pump_7
device_secret = {SECRET}
match_client_id = PUMP7

; on the roof
[device:fan]
product_key=a1B2c3D4e5F
device_name=fan_1
device_secret_file = fan.secret
match_username = "fan", the old one
enabled = no
;port = 443

; free for later
"""


class Map:
    """A map in a folder of its own, and the commands on it. After each of
    them no secret was shown and nothing else is in the folder."""

    def __init__(self, folder, text=MAP):
        self.folder = folder
        self.path = folder / "devices.ini"
        (folder / "proxy.ini").write_text("")
        self._write("fan.secret", SECRET + "\n")
        self._write("devices.ini", text)

    def _write(self, name, text):
        path = self.folder / name
        path.write_text(text)
        path.chmod(0o600)

    @property
    def text(self):
        return self.path.read_bytes().decode()

    def argv(self, *arguments):
        return [program(), "device", *map(str, arguments),
                "--config", str(self.folder / "proxy.ini")]

    def run(self, *arguments, code=0, stdin="", before=()):
        names = set(os.listdir(self.folder))
        done = subprocess.run(
            [*before, *self.argv(*arguments)], input=stdin, text=True,
            capture_output=True, timeout=TIMEOUT, check=False,
            env=environment())
        assert done.returncode == code, done.stdout + done.stderr
        for secret in SECRET, NEW_SECRET:
            assert secret not in done.stdout + done.stderr
        assert set(os.listdir(self.folder)) == names
        return done

    def add(self, label, *arguments, **options):
        return self.run("add", label, "product_key=a1B2c3D4e5F",
                        f"device_name={label}_name", "--secret-stdin",
                        *arguments, stdin=NEW_SECRET, **options)

    def refuses(self, *arguments, code=1, **options):
        """The command fails and changes nothing; what it says."""
        before, was = self.path.read_bytes(), os.stat(self.path)
        done = self.run(*arguments, code=code, **options)
        assert self.path.read_bytes() == before
        assert os.stat(self.path).st_ino == was.st_ino
        return done.stderr


@pytest.fixture
def site(tmp_path):
    return Map(tmp_path)


# What is there


def test_list(site):
    lines = site.run("list").stdout.splitlines()
    assert len(lines) == 3
    assert lines[0].split()[:3] == ["LABEL", "PRODUCT", "DEVICE"]
    assert lines[1].split()[:6] == [
        "pump-7", "a1B2c3D4e5F", "pump_7",
        "a1B2c3D4e5F.iot-as-mqtt.cn-shanghai.aliyuncs.com", "yes",
        'client_id="PUMP7"']
    assert lines[1].endswith("(line 8)")
    assert len(site.run("list", "--product", "other").stdout.splitlines()) == 1


def test_list_as_csv(site):
    text = site.run("list", "--format", "csv").stdout
    rows = list(csv.DictReader(io.StringIO(text, newline=""), strict=True))
    assert [row["label"] for row in rows] == ["pump-7", "fan"]
    assert rows[0]["match_client_id"] == "PUMP7"
    assert rows[1]["match_username"] == '"fan", the old one'
    assert (rows[1]["enabled"], rows[1]["line"]) == ("no", "15")


def test_list_as_json(site):
    site.path.write_text(MAP.replace("PUMP7", "P\\u\tÄ\U0001f6b0\u0085"))
    rows = json.loads(site.run("list", "--format", "json").stdout)
    assert rows[0]["match_client_id"] == "P\\u\tÄ\U0001f6b0\u0085"
    assert rows[1] == {
        "label": "fan", "product_key": "a1B2c3D4e5F", "device_name": "fan_1",
        "host": "a1B2c3D4e5F.iot-as-mqtt.cn-shanghai.aliyuncs.com",
        "match_username": '"fan", the old one', "enabled": False, "line": 15}
    assert json.loads(site.run("list", "--format", "json", "--product",
                               "other").stdout) == []


def test_list_in_a_wrong_format(site):
    assert "yaml" in site.refuses("list", "--format", "yaml", code=2)


def test_show(site):
    lines = site.run("show", "fan").stdout.splitlines()
    assert "device_secret = set, from the file fan.secret (line 18)" in lines
    assert "enabled = no (line 20)" in lines
    assert "port = 443 (default)" in lines
    assert ("host = a1B2c3D4e5F.iot-as-mqtt.cn-shanghai.aliyuncs.com"
            " ([product:a1B2c3D4e5F], line 5)") in lines
    assert "device_secret = set (line 11)" in site.run("show", "pump-7").stdout
    assert "log_level = info (default)" in lines
    assert "no [device:nobody]" in site.refuses("show", "nobody")


def test_show_of_the_level_of_proxy_ini(site):
    (site.folder / "proxy.ini").write_text("[log]\nlevel = warning\n")
    assert "log_level = warning (default)" in site.run(
        "show", "fan").stdout.splitlines()
    site.run("set", "fan", "log_level=debug")
    assert "log_level = debug (line 21)" in site.run("show", "fan").stdout


@pytest.mark.parametrize("words", [
    ("device", "--help"), ("help", "device"), ("device", "-h")])
def test_help(words):
    done = subprocess.run([program(), *words], capture_output=True, text=True,
                          timeout=TIMEOUT, check=True)
    for command in re.findall(r"^  (\w+)  ", done.stdout, re.M):
        for form in (("help", "device", command),
                     ("device", command, "--help")):
            text = subprocess.run([program(), *form], capture_output=True,
                                  text=True, timeout=TIMEOUT, check=True)
            assert f"Usage: mqtt-wss-proxy device {command}" in text.stdout
    assert not done.stderr


@pytest.mark.parametrize("words, told", [
    ([], "a command is missing"), (["lost"], "no command 'device lost'"),
    (["--lost"], "no option '--lost'"), (["add"], "is missing")])
def test_wrong_usage(words, told):
    done = subprocess.run([program(), "device", *words], capture_output=True,
                          text=True, timeout=TIMEOUT, check=False)
    assert done.returncode == 2 and told in done.stderr
    assert not done.stdout


# add, set, remove


def test_add(site):
    done = site.add("lamp", "match_client_id=LAMP")
    assert "takes it over by itself within 10s" in done.stderr
    assert site.text == MAP + f"""
[device:lamp]
product_key = a1B2c3D4e5F
device_name = lamp_name
match_client_id = LAMP
device_secret = {NEW_SECRET}
"""


@pytest.mark.parametrize("text", [
    MAP, MAP.replace("\n", "\r\n"), "\ufeff" + MAP, MAP.rstrip("\n"), "",
    MAP + "\n\n", SAMPLE.decode()],
    ids=["plain", "crlf", "mark", "no-end", "empty", "blanks", "sample"])
def test_add_and_remove_leave_no_trace(site, text):
    with open(site.path, "w", encoding="utf-8", newline="") as out:
        out.write(text)
    site.add("lamp", "host=h")
    assert site.path.read_bytes() != text.encode()
    assert f"device_secret = {NEW_SECRET}" in site.text
    site.run("remove", "lamp")
    assert site.path.read_bytes() == text.encode()


def test_add_makes_the_map(site):
    site.path.unlink()
    done = subprocess.run(
        site.argv("add", "lamp", "product_key=a1B2c3D4e5F",
                  "region=cn-shanghai", "device_name=lamp_1",
                  "--secret-stdin"), input=NEW_SECRET, text=True,
        capture_output=True, check=False, timeout=TIMEOUT, env=environment())
    assert done.returncode == 0
    assert f"{site.path} was not there and has been made" in done.stderr
    assert "mode 600" in done.stderr and NEW_SECRET not in done.stderr
    assert stat.S_IMODE(os.stat(site.path).st_mode) == 0o600
    assert site.text == f"""\
[device:lamp]
product_key = a1B2c3D4e5F
region = cn-shanghai
device_name = lamp_1
device_secret = {NEW_SECRET}
"""
    assert "made" not in site.add("lamp-2", "region=cn-shanghai").stderr


def test_a_map_that_cannot_be_made(site):
    """Nothing is left of it, nor is one made by the other commands."""
    site.path.unlink()
    site.run("add", "lamp", "product_key=a1B2c3D4e5F", "device_name=lamp_1",
             "device_secret_file=fan.secret", code=3)  # no region
    for words in ["set", "lamp", "port=1"], ["remove", "lamp"]:
        site.run(*words, code=1)
    site.path.symlink_to("nowhere")
    told = site.run("add", "lamp", "product_key=a1B2c3D4e5F",
                    "region=cn-shanghai", "device_name=lamp_1",
                    "device_secret_file=fan.secret", code=1).stderr
    assert "link" in told
    assert not site.path.exists()


def test_running_proxy_takes_a_device_over(cloud, start, dial):
    """By itself, and nobody else notices."""
    entry, added = cloud.device(), cloud.device()
    proxy = start(cloud, entry, reload={"interval": "1h"})  # it hears of it
    device = dial(proxy)
    device.log_in(entry["label"])

    def change(*arguments, stdin=""):
        since = proxy.mark()
        subprocess.run(
            [program(), "device", *arguments, "--config",
             proxy.folder / "proxy.ini"], input=stdin, text=True, check=True,
            timeout=TIMEOUT, capture_output=True)
        proxy.wait_log("reloaded", since=since)

    change("add", added["label"], "--secret-stdin",
           *(f"{key}={added[key]}"
             for key in ("product_key", "device_name", "host")),
           stdin=added["device_secret"])
    other = dial(proxy)
    other.log_in(added["label"])
    change("set", added["label"], "enabled=no")
    assert other.until_closed() == []
    assert proxy.wait_log("session_end")["reason"] == "entry_disabled"
    device.ping()


@pytest.mark.parametrize("secret", [NEW_SECRET, NEW_SECRET + "\n",
                                    NEW_SECRET + "\r\nmore"])
def test_secret_of_standard_input_and_file(site, secret):
    site.run("set", "pump-7", "--secret-stdin", stdin=secret)
    assert site.text == MAP.replace(SECRET, NEW_SECRET)
    (site.folder / "fan.secret").write_text(NEW_SECRET + "\n")
    site.run("set", "fan", "--secret-file", site.folder / "fan.secret")
    assert site.text == MAP.replace(SECRET, NEW_SECRET).replace(
        "device_secret_file = fan.secret\n", "").replace(
        "enabled = no\n", f"enabled = no\ndevice_secret = {NEW_SECRET}\n")


@pytest.mark.parametrize("pair", ["device_secret=", "password="])
@pytest.mark.parametrize("command", ["add", "set"])
def test_no_secret_from_an_argument(site, command, pair):
    told = site.refuses(command, "pump-7", pair + NEW_SECRET, code=2)
    assert "every user of this machine can see it" in told


def test_a_secret_in_the_wrong_place_is_not_shown(site):
    for argument in (NEW_SECRET, NEW_SECRET.replace("-", "1") + "=x"):
        told = site.refuses("set", "pump-7", argument, code=2)
        assert argument.partition("=")[0] not in told


@pytest.mark.parametrize("option", ["--device-secret", "--secret", "--help",
                                    "-s"])
def test_the_value_of_a_wrong_option_is_not_shown(site, option):
    told = site.refuses("add", "lamp", f"{option}={NEW_SECRET}", code=2)
    assert f"option '{option}' " in told


def test_set(site):
    site.run("set", "fan", "enabled=yes", "keep_alive=60s", "--unset",
             "match_username")
    assert site.text == MAP.replace(
        'match_username = "fan", the old one\nenabled = no\n',
        "enabled = yes\nkeep_alive = 60s\n")
    done = site.run("set", "fan", "enabled=yes")
    assert "nothing was changed" in done.stderr


@pytest.mark.parametrize("arguments, told", [
    (["set", "nobody", "port=1"], "has no [device:nobody]"),
    (["set", "pump-7\n[device:x]", "port=1"], "has no [device:pump-7\\x0a"),
    (["set", "pumps/pump_7", "port=1"], "has no [device:pumps/pump_7]"),
    (["remove", "fan", "nobody"], "has no [device:nobody]"),
    (["set", "fan", "match_username=a\nport = 1"], "control character"),
    (["set", "fan", "match_username= a"], "blank"),
    (["set", "fan", "match_username=a ; b"], "comment"),
    (["add", "fan", "device_secret_file=x"], "devices.ini:15: there is a"),
    (["add", "a b", "device_secret_file=x"], "'a b' cannot be a label"),
    (["set", "fan", "--secret-file", "/nowhere"], "/nowhere: No such file")])
def test_refused(site, arguments, told):
    assert told in site.refuses(*arguments)


@pytest.mark.parametrize("arguments, told", [
    (["set", "fan", "prot=1"], "no key prot"),
    (["set", "fan", "--unset", "prot"], "no key prot"),
    (["set", "fan"], "nothing to change"),
    (["set", "fan", "--secret"], "no terminal"),
    (["add", "new", "product_key=a"], "no terminal"),
    (["set", "fan", "--secret-stdin", "device_secret_file=x"], "one place"),
    (["set", "fan", "--secret-stdin", "--secret-file", "x"], "one place")])
def test_misused(site, arguments, told):
    assert told in site.refuses(*arguments, code=2)


@pytest.mark.parametrize("arguments, line, told", [
    (["set", "pump-7", "port=0"], 13, "1 to 65535"),
    (["set", "fan", "--unset", "device_secret_file"], 15, "no device_secret"),
    (["set", "fan", "device_secret_file=lost.secret"], 18, "the file it names"),
    (["add", "x", "device_secret_file=fan.secret"], 25, "no product_key"),
    (["set", "fan", "device_name=pump_7"], 15, "same product_key")])
def test_map_that_could_not_be_loaded(site, arguments, line, told):
    """Told with the map's own name, and the line it would have."""
    said = site.refuses(*arguments, code=3)
    assert re.search(rf"^{re.escape(str(site.path))}:{line}: error: .*"
                     + re.escape(told), said, re.M), said
    assert "was not changed" in said and "before either" not in said


def test_map_that_had_errors_before(site):
    site.path.write_text(MAP.replace("region", "regoin"))
    said = site.refuses("set", "pump-7", "port=1", code=3)
    first, before, second = said.partition("could not be loaded before either")
    assert before
    for part in first, second:
        assert ":5: error: there is no key regoin" in part
    # one that mends it is taken
    site.path.write_text(MAP.replace("enabled = no", "enabled = nO"))
    site.run("set", "fan", "enabled=no")
    assert site.text == MAP


def test_last_device(site):
    done = site.run("remove", "pump-7", "fan")
    assert "no device left" in done.stderr
    assert site.text == """\
; the map of the site

; what the pumps share
[product:a1B2c3D4e5F]
region = cn-shanghai

; free for later
"""


def test_remove_several(site):
    """In any order, and if one is named twice."""
    for label in "lamp", "lamp-2", "lamp-3":
        site.add(label)
    site.run("remove", "lamp-3", "lamp", "lamp-3", "lamp-2")
    assert site.text == MAP


# The prompt


@contextlib.contextmanager
def terminal(argv):
    """Runs it on a terminal of its own; yields (process, descriptor of
    the other side, that of the terminal itself)."""
    ours, theirs = pty.openpty()
    with subprocess.Popen(argv, stdin=theirs, stdout=theirs, stderr=theirs,
                          start_new_session=True, env=environment()) as process:
        try:
            yield process, ours, theirs
        finally:
            process.kill()
            process.wait()
            os.close(ours)
            os.close(theirs)


def read_until(descriptor, text):
    seen = ""
    deadline = time.monotonic() + TIMEOUT
    while text not in seen:
        left = deadline - time.monotonic()
        assert select.select([descriptor], [], [], max(left, 0))[0], seen
        seen += os.read(descriptor, 4096).decode()
    return seen


def echoes(descriptor):
    return bool(termios.tcgetattr(descriptor)[3] & termios.ECHO)


def test_prompt_without_echo(site):
    argv = site.argv("set", "pump-7", "--secret")
    with terminal(argv) as (process, ours, theirs):
        seen = read_until(ours, "DeviceSecret of pump-7: ")
        assert not echoes(theirs)
        os.write(ours, NEW_SECRET.encode() + b"\n")
        seen += read_until(ours, "was changed")
        assert process.wait(TIMEOUT) == 0
        assert echoes(theirs)
    assert NEW_SECRET not in seen
    assert site.text == MAP.replace(SECRET, NEW_SECRET)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM,
                                    signal.SIGHUP, signal.SIGQUIT])
def test_signal_at_the_prompt(site, number):
    """The terminal echoes again, and the process ends as by the signal."""
    argv = site.argv("add", "new", "product_key=a1B2c3D4e5F",
                     "device_name=new_1")
    with terminal(argv) as (process, ours, theirs):
        read_until(ours, "DeviceSecret of new: ")
        assert not echoes(theirs)
        os.write(ours, b"half of it")
        process.send_signal(number)
        assert process.wait(TIMEOUT) == -number
        assert echoes(theirs)
    assert site.text == MAP


def test_nobody_reads_the_question(site):
    ours, theirs = pty.openpty()
    read, write = os.pipe()
    os.close(read)
    try:
        done = subprocess.run(
            site.argv("set", "pump-7", "--secret"), stdin=theirs, stderr=write,
            check=False, start_new_session=True, timeout=TIMEOUT,
            env=environment())
        assert done.returncode == -signal.SIGPIPE
        assert echoes(theirs)
    finally:
        for descriptor in ours, theirs, write:
            os.close(descriptor)


def test_stop_at_the_prompt(site):
    """As by Ctrl-Z: the shell has an echo, and the question comes again."""
    argv = site.argv("set", "pump-7", "--secret")
    with terminal(argv) as (process, ours, theirs):
        read_until(ours, "DeviceSecret of pump-7: ")
        process.send_signal(signal.SIGTSTP)
        # a session of its own has no shell, so the kernel does not stop it:
        # the question comes at once
        read_until(ours, "DeviceSecret of pump-7: ")
        os.write(ours, NEW_SECRET.encode() + b"\n")
        assert process.wait(TIMEOUT) == 0
        assert echoes(theirs)
    assert site.text == MAP.replace(SECRET, NEW_SECRET)


# The file


def test_symbolic_link(site):
    """The link stays, what it points to is replaced, and the names in the
    map are relative to the link, as they are for the proxy."""
    elsewhere = site.folder / "elsewhere"
    elsewhere.mkdir()
    site.path.rename(elsewhere / "map.ini")
    site.path.symlink_to("elsewhere/map.ini")
    site.run("set", "pump-7", "port=1")
    assert site.path.is_symlink() and "port = 1\n" in site.text
    assert os.listdir(elsewhere) == ["map.ini"]


def test_owner_and_mode_stay(site):
    os.chown(site.path, 12345, 23456)
    site.path.chmod(0o640)
    site.run("set", "pump-7", "port=1")
    now = os.stat(site.path)
    assert (now.st_uid, now.st_gid) == (12345, 23456)
    assert stat.S_IMODE(now.st_mode) == 0o640


ACCESS, DEFAULT = "system.posix_acl_access", "system.posix_acl_default"


def set_access_list(path, name):
    """One that lets user 12345 read."""
    entries = [(1, 6, -1), (2, 4, 12345), (4, 4, -1), (16, 4, -1), (32, 0, -1)]
    acl = struct.pack("<I", 2) + b"".join(
        struct.pack("<HHi", *entry) for entry in entries)
    try:
        os.setxattr(path, name, acl)
    except OSError as why:
        pytest.skip(f"no access lists here: {why}")
    return acl


def test_access_list_stays(site):
    acl = set_access_list(site.path, ACCESS)
    site.run("set", "pump-7", "port=1")
    assert "port = 1" in site.text
    assert os.getxattr(site.path, ACCESS) == acl


def test_no_access_list_comes_from_the_folder(site):
    """Its new files let another user read; the map has not, and does not."""
    set_access_list(site.folder, DEFAULT)
    site.path.chmod(0o640)
    site.run("set", "pump-7", "port=1")
    assert "port = 1" in site.text
    assert ACCESS not in os.listxattr(site.path)
    assert stat.S_IMODE(os.stat(site.path).st_mode) == 0o640


@pytest.fixture
def outside():
    """A site that other users can get to."""
    with tempfile.TemporaryDirectory(prefix="device-", dir="/tmp") as folder:
        path = pathlib.Path(folder)
        path.chmod(0o777)
        own = path / "program"
        shutil.copy(program(), own)
        own.chmod(0o755)
        yield Map(path), own


def as_nobody(site, own, *arguments):
    argv = site.argv(*arguments)
    # what they name for a sanitizer may be out of that user's reach
    env = {name: value for name, value in environment().items()
           if not name.endswith("SAN_OPTIONS")}
    return subprocess.run(
        ["setpriv", "--reuid", "65534", "--regid", "65534", "--clear-groups",
         own, *argv[1:]], stdin=subprocess.DEVNULL, capture_output=True,
        text=True, timeout=TIMEOUT, check=False, env=env)


def test_owner_that_cannot_be_kept(outside):
    site, own = outside
    for name in "devices.ini", "fan.secret":
        (site.folder / name).chmod(0o644)
    done = as_nobody(site, own, "set", "pump-7", "port=1")
    assert done.returncode == 1
    assert "belongs to user 0" in done.stderr and "root" in done.stderr
    assert site.text == MAP
    assert ".devices.ini.edit" not in os.listdir(site.folder)


def test_folder_that_may_not_be_written(outside):
    site, own = outside
    site.folder.chmod(0o755)
    for name in "devices.ini", "fan.secret":
        os.chown(site.folder / name, 65534, 65534)
    done = as_nobody(site, own, "set", "pump-7", "port=1")
    assert done.returncode == 1
    assert "Permission denied" in done.stderr
    assert site.text == MAP


def mounted(script):
    """Something to run a command in, in a mount namespace of its own."""
    before = ["unshare", "--mount", "sh", "-ec", script + '\nexec "$0" "$@"']
    if subprocess.run([*before, "true"], check=False,
                      capture_output=True).returncode != 0:
        pytest.skip("no mount namespaces: unshare --mount fails")
    return before


def test_map_that_is_a_mount_itself(site):
    told = site.refuses("set", "pump-7", "port=1", before=mounted(
        f'mount --bind "{site.path}" "{site.path}"'))
    assert "mounted by itself" in told and "mount its folder" in told


def test_mounted_map_that_was_replaced_outside(site):
    """What a container has that was given the file, not its folder."""
    outside = site.folder.parent / (site.folder.name + "-outside.ini")
    mount = f'cp -p "{site.path}" "{outside}"; ' \
            f'mount --bind "{outside}" "{site.path}"'
    assert site.run("list", before=mounted(mount)).stderr == ""
    done = site.run("list", before=mounted(f'{mount}\nrm "{outside}"'))
    assert f"{site.path}: warning: is mounted by itself, and" in done.stderr


def test_read_only_file_system(site):
    folder = site.folder
    told = site.refuses("set", "pump-7", "port=1", before=mounted(
        f'mount --bind "{folder}" "{folder}"\n'
        f'mount -o remount,bind,ro "{folder}"'))
    assert "read-only file system" in told


def test_full_file_system(site):
    """Nothing of a map that does not fit is left."""
    folder, small = site.folder, site.folder / "small"
    small.mkdir()
    site.path.write_text(MAP + ";" * 65000 + "\n")
    done = subprocess.run(
        [*mounted(f'mount -t tmpfs -o size=96k none "{small}"\n'
                  f'cp -p "{folder}"/*.* "{small}"\n'
                  f'echo "$@" >"{folder}/argv"'),
         "sh", "-c", '"$@"; code=$?; ls -A "$0"; exit $code', small,
         program(), "device", "set", "pump-7", "port=1",
         "--config", small / "proxy.ini"],
        capture_output=True, text=True, timeout=TIMEOUT, check=False)
    assert done.returncode == 1 and "No space left" in done.stderr
    assert done.stdout.split() == ["devices.ini", "fan.secret", "proxy.ini"]


def test_limit_of_file_sizes(site):
    """It does not end the command: nothing of the new map is left."""
    site.path.write_text(MAP + ";" * 2000 + "\n")
    told = site.refuses("set", "pump-7", "port=1", before=[
        "sh", "-c", 'ulimit -f 1; exec "$0" "$@"'])
    assert "File too large" in told


def test_immutable_map(site):
    if subprocess.run(["chattr", "+i", site.path], check=False,
                      capture_output=True).returncode != 0:
        pytest.skip("no immutable files here: chattr +i fails")
    try:
        told = site.refuses("set", "pump-7", "port=1")
    finally:
        subprocess.run(["chattr", "-i", site.path], check=True)
    assert "chattr -i" in told


def test_many_at_once(site):
    """No change is lost."""
    labels = [f"lamp-{n}" for n in range(8)]
    running = [subprocess.Popen(
        site.argv("add", label, "product_key=a1B2c3D4e5F",
                  f"device_name={label}", "device_secret_file=fan.secret"),
        stdin=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
        for label in labels]
    for process in running:
        said = process.communicate(timeout=TIMEOUT)[1]
        assert process.returncode == 0, said
    rows = json.loads(site.run("list", "--format", "json").stdout)
    assert {row["label"] for row in rows} == {"pump-7", "fan", *labels}
    assert len(os.listdir(site.folder)) == 3


def test_killed(site):
    """As soon as the new text is beside the map. There is the old or the
    new one, and the next command takes away what is left."""
    big = MAP + "".join(
        f"[device:d{n}]\nproduct_key = a1B2c3D4e5F\ndevice_name = dev_{n}\n"
        "device_secret = x\n\n" for n in range(3000))
    site.path.write_text(big)
    changed = big.replace("match_client_id = PUMP7\n",
                          "match_client_id = PUMP7\nport = 1\n")
    beside = site.folder / ".devices.ini.edit"
    with subprocess.Popen(site.argv("set", "pump-7", "port=1"),
                          stderr=subprocess.DEVNULL) as process:
        wait_until(lambda: beside.exists() or process.poll() is not None)
        process.kill()
    assert site.text in (big, changed)
    subprocess.run(site.argv("set", "pump-7", "port=1"), check=True,
                   capture_output=True, timeout=TIMEOUT)
    assert site.text == changed
    assert not beside.exists()


# A fleet


@pytest.fixture
def fleet(site):
    site.path.write_text(MAP + """
[device:meters]
product_key = a1B2c3D4e5F
device_secrets_file = meters.csv
""")
    table(site, f"DeviceName,DeviceSecret\nmeter_1,{SECRET}\n"
          f"meter_2,{SECRET}\n", "meters.csv")
    return site


def test_fleet(fleet):
    rows = json.loads(fleet.run("list", "--format", "json").stdout)
    assert [row["label"] for row in rows] == [
        "pump-7", "fan", "meters/meter_1", "meters/meter_2"]
    assert rows[3]["line"] == 3
    assert pathlib.Path(rows[3]["table"]).name == "meters.csv"
    assert fleet.run("list").stdout.splitlines()[-1].endswith("meters.csv)")
    shown = fleet.run("show", "meters/meter_2").stdout
    assert "device_secret = set, from the file meters.csv (line 27)" in shown
    told = fleet.refuses("show", "meters")
    assert "is a fleet" in told and "such as meters/meter_1" in told
    # a part of the label is no label
    assert "has no [device:meter]" in fleet.refuses("show", "meter")
    fleet.run("set", "meters", "enabled=no")
    fleet.run("set", "meters", "--unset", "enabled")
    fleet.run("remove", "meters")
    assert fleet.text == MAP


def test_encrypt_says_that_tables_stay_plain(fleet):
    key = fleet.folder / "key"
    key.write_text("a" * 64)
    key.chmod(0o600)
    table = (fleet.folder / "meters.csv").read_bytes()
    words = "encrypt", "--key-file", key
    assert "meters.csv are left as they are" in fleet.run(*words).stderr
    assert (fleet.folder / "meters.csv").read_bytes() == table
    assert SECRET not in fleet.text
    (fleet.folder / "proxy.ini").write_text("[secrets]\nkey_file = key\n")
    fleet.run("remove", "meters")
    assert "left as they are" not in fleet.run("encrypt").stderr


@pytest.mark.parametrize("arguments", [
    ("set", "meters/meter_2", "enabled=no"), ("remove", "meters/meter_2")])
def test_one_of_a_fleet_is_not_changed(fleet, arguments):
    told = fleet.refuses(*arguments)
    assert "devices.ini:25: meters/meter_2 is one of the fleet" in told
    assert "[device:meters]" in told and "meters.csv" in told
    # what it says to do
    fleet.run("add", "second", "product_key=a1B2c3D4e5F",
              "device_name=meter_2", "device_secrets_file=meters.csv",
              "enabled=no")
    rows = json.loads(fleet.run("list", "--format", "json").stdout)
    assert {"second", "meters/meter_1"} < {row["label"] for row in rows}
    assert "meters/meter_2" not in {row["label"] for row in rows}


def test_import_of_one_of_a_fleet(fleet):
    path = table(fleet, "ProductKey,DeviceName,DeviceSecret\n"
                 f"a1B2c3D4e5F,meter_1,{SECRET}\n"
                 f"a1B2c3D4e5F,meters,{NEW_SECRET}\n")
    assert fleet.run("import", path, "--dry-run").stdout.splitlines()[:2] == [
        f"{path}:2: unchanged meters/meter_1", f"{path}:3: added meters-2"]
    table(fleet, f"ProductKey,DeviceName,DeviceSecret\n"
          f"a1B2c3D4e5F,meter_1,{NEW_SECRET}\n")
    done = fleet.run("import", path, code=3)
    assert "refused: its secret stands in the table of a fleet" in done.stdout


# import


def table(site, text, name="new.csv"):
    path = site.folder / name
    with open(path, "w", encoding="utf-8", newline="") as out:
        out.write(text)
    path.chmod(0o600)
    return path


@pytest.mark.parametrize("text", [
    "DeviceName,DeviceSecret,ProductKey\n{}",
    "device name;x;PRODUCT_KEY;Device_Secret\r\n{}",
    "\ufeff\"ProductKey\"\t\"DeviceName\"\t\"DeviceSecret\"\n{}"])
def test_import(site, text):
    head = text[:text.index("{")]
    sign = re.search("[,;\t]", head)[0]
    names = [re.sub("[^a-z]", "", name.lower()) for name in head.split(sign)]
    rows = [("pump_7", NEW_SECRET), ("fan_1", SECRET), ("lamp_1", NEW_SECRET),
            ("pump-7", NEW_SECRET)]
    path = table(site, text.format("".join(
        sign.join({"devicename": f'"{name}"', "devicesecret": secret,
                   "productkey": "a1B2c3D4e5F"}.get(column, "")
                  for column in names) + "\n" for name, secret in rows)))
    dry = site.run("import", path, "--dry-run")
    assert site.text == MAP
    done = site.run("import", path)
    assert done.stdout == dry.stdout
    assert done.stdout.splitlines() == [
        f"{path}:2: secret changed pump-7", f"{path}:3: unchanged fan",
        f"{path}:4: added lamp_1", f"{path}:5: added pump-7-2",
        "2 added, 1 changed, 1 unchanged, 0 refused"]
    assert site.text == MAP.replace(SECRET, NEW_SECRET) + "".join(
        f"\n[device:{label}]\nproduct_key = a1B2c3D4e5F\n"
        f"device_name = {name}\ndevice_secret = {NEW_SECRET}\n"
        for label, name in (("lamp_1", "lamp_1"), ("pump-7-2", "pump-7")))
    again = site.run("import", path)
    assert again.stdout.splitlines()[-1] == (
        "0 added, 0 changed, 4 unchanged, 0 refused")


@pytest.mark.parametrize("row, told", [
    (f"a b,lamp,{NEW_SECRET}", "refused: its ProductKey"),
    (f"a1B2c3D4e5F,la,{NEW_SECRET}", "refused: its DeviceName"),
    ("a1B2c3D4e5F,lamp,", "refused: its DeviceSecret"),
    ("a1B2c3D4e5F,lamp,a b", "refused: its DeviceSecret"),
    ("a1B2c3D4e5F,lamp,#b", "refused: its DeviceSecret"),
    (f"a1B2c3D4e5F,lamp,{'x' * 65}", "refused: its DeviceSecret"),
    (f"a1B2c3D4e5F,fan_1,{NEW_SECRET}", "refused: its secret stands in a"),
    (f"a1B2c3D4e5F,other,{NEW_SECRET}", "refused: the device of line 2")])
def test_import_of_a_bad_row(site, row, told):
    """Then nothing is changed."""
    path = table(site, "ProductKey,DeviceName,DeviceSecret\n"
                 f"a1B2c3D4e5F,other,{NEW_SECRET}\n{row}\n")
    was = site.path.read_bytes()
    done = site.run("import", path, code=3)
    assert site.path.read_bytes() == was
    assert done.stdout.splitlines()[1].startswith(f"{path}:3: {told}")
    assert "1 refused" in done.stdout
    assert "was not changed" in done.stderr


def test_import_without_product_keys(site):
    path = table(site, f"DeviceName,DeviceSecret\npump_7,{NEW_SECRET}\n")
    assert "--product" in site.run("import", path, code=3).stdout
    assert site.text == MAP
    site.run("import", path, "--product", "a1B2c3D4e5F")
    assert site.text == MAP.replace(SECRET, NEW_SECRET)
    other = table(site, "ProductKey,DeviceName,DeviceSecret\n"
                  f"a1B2c3D4e5F,pump_7,{NEW_SECRET}\n", "other.csv")
    assert "not that of --product" in site.run(
        "import", other, "--product", "b", code=3).stdout


def test_import_of_what_is_no_table(site):
    assert "error" in site.refuses("import", table(site, "a,b\n"), code=3)
    assert "No such file" in site.refuses("import", "/nowhere.csv")
    # a product that has no place
    path = table(site, "ProductKey,DeviceName,DeviceSecret\nb,lamp,x\n")
    assert "no region" in site.refuses("import", path, code=3)


# diff


def test_diff(site):
    text = MAP.replace("PUMP7", "PUMP8").replace("[device:fan]", "[device:f]")
    text = text.replace("enabled = no", "enabled = no\nport = 444")
    done = site.run("diff", table(
        site, text + "[device:lamp]\nproduct_key = a1B2c3D4e5F\n"
        f"device_name = lamp_1\ndevice_secret = {NEW_SECRET}\n", "new.ini"))
    assert done.stdout.splitlines() == [
        "changed pump-7 a1B2c3D4e5F/pump_7 (line 8): match_client_id;"
        " stays connected",
        "changed fan to f a1B2c3D4e5F/fan_1 (line 15): label, port",
        "added lamp a1B2c3D4e5F/lamp_1 (line 25)",
        "1 added, 0 removed, 0 disabled, 2 changed, 0 renamed;"
        " a reload disconnects up to 0 of 2"]
    done = site.run("diff", table(
        site, MAP.replace(SECRET, NEW_SECRET), "new.ini"))
    assert done.stdout.splitlines()[0].endswith(
        ": device_secret; disconnected")
    done = site.run("diff", table(
        site, MAP[:MAP.index("; in the")] + MAP[MAP.index("; on the"):],
        "new.ini"))
    assert done.stdout.splitlines()[0] == (
        "removed pump-7 a1B2c3D4e5F/pump_7 (line 8); disconnected")
    assert site.run("diff", site.path).stdout.startswith("0 added, 0 removed")


def test_diff_of_a_bad_map(site):
    """Its errors are told with its name, and its files are looked for where
    the map is."""
    other = site.folder / "other"
    other.mkdir()
    path = other / "new.ini"
    path.write_text(MAP)
    assert "0 added" in site.run("diff", path).stdout
    path.write_text(MAP.replace("region", "regoin"))
    assert f"{path}:5: error: " in site.refuses("diff", path, code=3)
    assert "No such file" in site.refuses("diff", "/nowhere.ini", code=3)


# check


def test_check_warns_of_secrets_that_all_may_read(site):
    """Once for each file."""
    def check():
        return subprocess.run(
            [program(), "check", "--config", site.folder / "proxy.ini"],
            capture_output=True, text=True, timeout=TIMEOUT, check=True,
            env=environment()).stderr

    rows = table(site, "DeviceName,DeviceSecret\r\nlamp_1,x1\r\n")
    site.path.write_text(MAP + """
[device:lamps]
product_key = a1B2c3D4e5F
device_secrets_file = new.csv
""")
    rows.chmod(0o600)
    assert not check()
    for path in site.path, site.folder / "fan.secret", rows:
        path.chmod(0o644)
        told = check()
        assert f"{path}: warning: holds " in told
        assert len(told.splitlines()) == 1
        path.chmod(0o600)


def test_diff_warns_of_the_new_map(site):
    """What others may read of the one that is there is not its fault."""
    path = site.folder / "new.ini"
    path.write_text(MAP)
    for mode, warned in (0o600, False), (0o644, True):
        path.chmod(mode)
        site.path.chmod(0o600 if warned else 0o644)
        told = site.run("diff", path).stderr
        assert (f"{path}: warning: " in told) == warned, told
        assert (f"{site.path}: warning: " in told) != warned, told
