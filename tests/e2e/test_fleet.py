"""Many devices in one section of devices.ini, their secrets in a table."""

import re
import subprocess

import pytest

import mqtt_raw as mqtt
from cloud_process import PRODUCT, topic_of
from proxy import TIMEOUT, program

STRANGERS = 400  # rows of the table that no device of a test is


def part_of(entry):
    """What is the device's own of its name, and of its client id."""
    return entry["device_name"].removeprefix("pump_")


def client_id(entry):
    return f"PUMP{part_of(entry)}"


def label(entry):
    return f"pumps/{entry['device_name']}"


class Table:
    """The table, and the section that takes its devices from it."""

    def __init__(self, path, entries):
        self.path = path
        self.write(entries)

    def write(self, entries):
        rows = [("Device Name", "DeviceSecret", "ProductKey", "Note")]
        rows += [(f"pump_x{at}", f"{at:032}", PRODUCT, "")
                 for at in range(STRANGERS)]
        rows += [(entry["device_name"], entry["device_secret"],
                  entry["product_key"], 'the "new" one, in line 3')
                 for entry in entries]
        fresh = self.path.with_name(self.path.name + ".new")
        fresh.write_text("\ufeff" + "\r\n".join(
            ",".join('"' + field.replace('"', '""') + '"' for field in row)
            for row in rows), encoding="utf-8")
        fresh.chmod(0o600)
        fresh.replace(self.path)

    def section(self, **keys):
        return {"label": "pumps", "product_key": PRODUCT,
                "device_name": "pump_${1}", "host": "localhost",
                "device_secrets_file": self.path,
                "match_client_id": "PUMP*", **keys}


@pytest.fixture
def entries(cloud):
    return [cloud.device() for _ in range(3)]


@pytest.fixture
def table(tmp_path, entries):
    return Table(tmp_path / "secrets.csv", entries)


def heard(cloud, entry, device):
    """The device is on the connection it was on, and is heard."""
    device.publish(topic_of(entry), "x", qos=1)
    return len(cloud.decisions("login", entry)) == 1


def refused(proxy, dial, name):
    """Why a device is not let in."""
    device = dial(proxy)
    device.send_connect(name)
    assert device.connack().code == 5
    return proxy.wait_log("device_refused", client_id=name)["reason"]


@pytest.mark.parametrize("level", [3, 4, 5])
def test_each_is_a_device_of_its_own(cloud, start, dial, listen, entries,
                                     table, level):
    proxy = start(cloud, table.section())
    assert proxy.wait_log("ready")
    for entry in entries:
        app = listen(cloud, topic_of(entry))
        device = dial(proxy)
        device.log_in(client_id(entry), level)
        device.publish(topic_of(entry), label(entry), qos=1)
        assert label(entry).encode() in app.expect(mqtt.PUBLISH).body
        login = cloud.wait("login", entry)
        assert login["accepted"]
        assert login["client_id"].startswith(
            f"{PRODUCT}.{entry['device_name']}|")
        assert proxy.wait_log("session_up", label=label(entry))
    assert refused(proxy, dial, "PUMPnobody") == "unknown_device"
    assert refused(proxy, dial, "PUMP") == "unknown_device"
    assert refused(proxy, dial, entries[0]["device_name"]) == "unknown_device"
    for entry in entries:
        assert entry["device_secret"] not in proxy.raw_log()


def test_the_part_in_all_its_places(cloud, start, dial, entries, table):
    entry = entries[0]
    proxy = start(cloud, table.section(
        match_client_id="any", match_username="u-*-v", client_id="c.${1}",
        password="common"))
    device = dial(proxy)
    device.log_in("any", user_name=f"u-{part_of(entry)}-v", password="common")
    login = cloud.wait("login", entry)
    assert login["accepted"]
    assert login["client_id"].startswith(f"c.{part_of(entry)}|")


def test_one_is_disabled_by_its_own_section(cloud, start, dial, entries,
                                            table):
    """At a reload it is cut off; the fleet notices nothing, nor does one
    that now has its own section with the same login."""
    first, second, third = entries
    proxy = start(cloud, table.section())
    devices = [dial(proxy) for _ in entries]
    for entry, device in zip(entries, devices):
        device.log_in(client_id(entry))
    proxy.set_devices([
        table.section(),
        {**first, "label": "off", "match_client_id": client_id(first),
         "enabled": "no"},
        {"label": "own", "product_key": PRODUCT, "host": "localhost",
         "device_name": second["device_name"],
         "match_client_id": client_id(second),
         "device_secrets_file": table.path}])
    assert proxy.reload()["event"] == "reloaded"
    assert devices[0].until_closed() == []
    end = proxy.wait_log("session_end", reason="entry_disabled")
    assert end["label"] in (label(first), "off")
    assert refused(proxy, dial, client_id(first)) == "entry_disabled"
    assert heard(cloud, second, devices[1])
    assert heard(cloud, third, devices[2])


def test_the_table_changes(cloud, start, dial, entries, table):
    """It is watched as the map is: a row comes, a row goes."""
    stays, goes, comes = entries
    table.write([stays, goes])
    proxy = start(cloud, table.section(), reload={"interval": "1h"})
    staying, going = dial(proxy), dial(proxy)
    staying.log_in(client_id(stays))
    going.log_in(client_id(goes))
    assert refused(proxy, dial, client_id(comes)) == "unknown_device"
    table.write([stays, comes])
    assert proxy.wait_log("file_changed")["file"] == str(table.path)
    assert proxy.wait_log("reloaded")["devices"] == str(STRANGERS + 2)
    assert going.until_closed() == []
    dial(proxy).log_in(client_id(comes))
    assert heard(cloud, stays, staying)


def test_a_bad_table_changes_nothing(cloud, start, dial, entries, table):
    proxy = start(cloud, table.section())
    device = dial(proxy)
    device.log_in(client_id(entries[0]))
    table.write([*entries, {**entries[0], "device_secret": "hunter2"}])
    assert proxy.reload()["event"] == "reload_refused"
    line = STRANGERS + len(entries) + 2
    told = proxy.wait_log("config_complaint", file=table.path, line=line)
    assert told["text"] == (
        f"DeviceName {entries[0]['device_name']} comes twice, first in line"
        f" {STRANGERS + 2}")
    assert "hunter2" not in proxy.raw_log()
    assert heard(cloud, entries[0], device)


def run(proxy, command, *options):
    return subprocess.run(
        [program(), command, "--config", proxy.folder / "proxy.ini",
         *options],
        capture_output=True, text=True, timeout=TIMEOUT, check=False)


def test_commands(cloud, start, entries, table):
    """check, match, sign and doctor know the devices one by one."""
    first, second = entries[:2]
    proxy = start(cloud, table.section(), {
        **first, "label": "off", "match_client_id": client_id(first),
        "enabled": "no"})
    check = run(proxy, "check")
    assert (check.returncode, check.stderr) == (0, "")
    devices = re.findall(r"^device (\S+): (.*)$", check.stdout, re.M)
    assert len(devices) == STRANGERS + len(entries)
    devices = dict(devices)
    assert label(first) not in devices and "enabled = no" in devices["off"]
    assert devices[label(second)].startswith(
        f"{PRODUCT}/{second['device_name']} at wss://localhost:{cloud.port}")
    assert f'client_id="{client_id(second)}"' in devices[label(second)]
    assert second["device_secret"] not in check.stdout

    match = run(proxy, "match", "--client-id", client_id(second))
    assert (match.returncode, match.stderr) == (0, "")
    assert match.stdout == (
        f"device {label(second)} answers (line {STRANGERS + 3} of"
        f' {table.path}), by client_id="{client_id(second)}"\n')
    match = run(proxy, "match", "--client-id", client_id(first))
    assert match.stdout.startswith("device off answers (line ")

    sign = run(proxy, "sign", label(second))
    assert sign.returncode == 0
    assert f"username={second['device_name']}&{PRODUCT}\n" in sign.stdout
    sign = run(proxy, "sign", "pumps")
    assert sign.returncode == 1
    assert "is a fleet: name one of its devices" in sign.stderr

    doctor = run(proxy, "doctor", label(second))
    assert doctor.returncode == 0, doctor.stdout + doctor.stderr
    assert cloud.wait("login", second)["accepted"]


def test_check_names_the_table(cloud, start, entries, table):
    proxy = start(cloud, table.section())
    proxy.set_devices([table.section(device_name="pump_x${1}")])
    check = run(proxy, "check")
    assert check.returncode == 0
    assert check.stderr == (
        f"{table.path}:{STRANGERS + 2}: warning: {len(entries)} rows of this"
        " table fit no section that uses it, this one first\n")
    proxy.set_devices([table.section(device_name="door_${1}")])
    check = run(proxy, "check")
    assert check.returncode == 3
    assert re.search(r"devices\.ini:5: error: device_secrets_file: no row of"
                     r" the table fits", check.stderr)
