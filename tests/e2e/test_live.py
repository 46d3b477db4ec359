"""Files that change while the proxy runs are taken up by themselves, as a
whole or not at all, whichever way they are changed."""

import os

import pytest

from bystander import limit_descriptors
from cloud_process import topic_of

# changes are heard of; looking in between would take too long for any test
HEARD = {"interval": "1h"}
# nothing is heard of what the proxy cannot watch
LOOKED_AT = {"interval": "50ms"}


def write(path, text):
    """In place, as "echo >" does it."""
    path.write_text(text)


def put(path, text):
    """A new file over the old one, as editors and careful programs do."""
    fresh = path.with_name(path.name + ".new")
    fresh.write_text(text)
    fresh.replace(path)


def map_of(*entries):
    return "\n".join(
        f"[device:{entry['label']}]\n" + "".join(
            f"{key} = {value}\n" for key, value in entry.items()
            if key != "label") for entry in entries)


@pytest.fixture
def site(cloud, start):
    """(proxy, its map, [entry, entry]); changes are heard of."""
    entries = [cloud.device(), cloud.device()]
    proxy = start(cloud, *entries, reload=HEARD)
    return proxy, proxy.folder / "devices.ini", entries


def refused(device, entry):
    device.send_connect(entry["label"])
    return device.connack().code == 5


@pytest.mark.parametrize("change", [write, put])
def test_the_map_changes(cloud, site, dial, change):
    """One device is new, one gone, and one notices nothing."""
    proxy, path, (stays, goes) = site
    staying, going = dial(proxy), dial(proxy)
    staying.log_in(stays["label"])
    going.log_in(goes["label"])
    comes = cloud.device()
    assert refused(dial(proxy), comes)
    change(path, map_of(stays, comes))
    assert proxy.wait_log("file_changed")["file"] == str(path)
    assert proxy.wait_log("reloaded")["devices"] == "2"
    assert going.until_closed() == []
    dial(proxy).log_in(comes["label"])
    staying.publish(topic_of(stays), "x", qos=1)
    assert len(cloud.decisions("login", stays)) == 1


def test_a_platform_swaps_its_link(cloud, site, dial):
    """As a mounted ConfigMap or Secret changes: the file is a link through a
    link to a folder, and that one is replaced."""
    other = cloud.device()
    proxy, path, entries = site
    for name, devices in ("one", entries), ("two", [*entries, other]):
        folder = proxy.folder / name
        folder.mkdir()
        (folder / "devices.ini").write_text(map_of(*devices))
    (proxy.folder / "..data").symlink_to("one")
    (proxy.folder / "link").symlink_to("..data/devices.ini")
    (proxy.folder / "link").replace(path)
    proxy.wait_log("reloaded")
    since = proxy.mark()
    (proxy.folder / "..data_tmp").symlink_to("two")
    (proxy.folder / "..data_tmp").replace(proxy.folder / "..data")
    assert proxy.wait_log("reloaded", since=since)["devices"] == "3"
    dial(proxy).log_in(other["label"])


def test_the_file_behind_a_link_changes(cloud, site, tmp_path):
    proxy, path, entries = site
    behind = tmp_path / "elsewhere" / "map"
    behind.parent.mkdir()
    behind.write_text(map_of(*entries))
    path.unlink()
    path.symlink_to(behind)
    proxy.wait_log("reloaded")
    since = proxy.mark()
    write(behind, map_of(entries[0]))
    assert proxy.wait_log("reloaded", since=since)["devices"] == "1"


def test_a_change_that_makes_no_sound(cloud, start, tmp_path):
    """A link in a folder that is neither the map's nor its target's: it is
    seen by looking, as all is where there is no inotify."""
    entries = [cloud.device(), cloud.device()]
    for name in "near", "far":
        (tmp_path / name).mkdir()
    (tmp_path / "far" / "one").write_text(map_of(*entries))
    (tmp_path / "far" / "two").write_text(map_of(entries[0]))
    middle = tmp_path / "near" / "middle"
    middle.symlink_to(tmp_path / "far" / "one")
    proxy = start(cloud, *entries, reload=LOOKED_AT)
    path = proxy.folder / "devices.ini"
    path.unlink()
    path.symlink_to(middle)
    proxy.wait_log("reloaded")
    since = proxy.mark()
    fresh = tmp_path / "near" / "fresh"
    fresh.symlink_to(tmp_path / "far" / "two")
    fresh.replace(middle)
    assert proxy.wait_log("reloaded", since=since)["devices"] == "1"


@pytest.mark.parametrize("folder", ["", "secrets/"])
def test_a_secret_changes_in_its_file(cloud, start, dial, folder):
    """That device logs in anew, the other one notices nothing."""
    entry, other = cloud.device(on_link_loss="close"), cloud.device()
    secret = entry.pop("device_secret")
    proxy = start(cloud, other, reload=HEARD)
    (proxy.folder / "secrets").mkdir()
    path = proxy.folder / folder / "pump"
    path.write_text("not-the-secret\n")
    entry["device_secret_file"] = folder + "pump"
    put(proxy.folder / "devices.ini", map_of(entry, other))
    proxy.wait_log("reloaded")
    bystander = dial(proxy)
    bystander.log_in(other["label"])
    device = dial(proxy)
    device.send_connect(entry["label"])
    assert device.connack().code == 4
    since = proxy.mark()
    put(path, secret)
    proxy.wait_log("reloaded", since=since)
    device = dial(proxy)
    device.log_in(entry["label"])
    put(path, "another-secret")
    assert device.until_closed() == []
    end = proxy.wait_log("session_end", label=entry["label"],
                         reason="login_refused")
    assert end
    bystander.publish(topic_of(other), "x", qos=1)
    assert len(cloud.decisions("login", other)) == 1


def test_a_file_that_was_missing_comes(cloud, site, dial):
    """A map that names it is refused until then, and not read again in
    vain."""
    proxy, path, (entry, other) = site
    secret = entry.pop("device_secret")
    entry["device_secret_file"] = "late"
    put(path, map_of(entry, other))
    proxy.wait_log("reload_refused")
    told, = proxy.logs("config_complaint", level="error")
    assert "late" in told["text"] or "device_secret_file" in told["text"]
    write(proxy.folder / "late", secret)
    proxy.wait_log("reloaded")
    dial(proxy).log_in(entry["label"])
    assert len(proxy.logs("reload_refused")) == 1


def test_a_broken_map_is_told_with_its_line(cloud, site, dial):
    """The old one stays in use until it is mended."""
    proxy, path, entries = site
    good = path.read_text()
    put(path, good + "\n[device:broken]\ndevice_nmae = x\n")
    proxy.wait_log("reload_refused")
    told = proxy.logs("config_complaint", level="error")[0]
    assert told["file"] == str(path)
    assert told["line"] == str(good.count("\n") + 3)
    for entry in entries:
        dial(proxy).log_in(entry["label"])
    put(path, good)
    proxy.wait_log("reloaded")
    assert not proxy.logs("session_end")


def test_the_map_is_away_for_a_while(cloud, site, dial):
    proxy, path, entries = site
    device = dial(proxy)
    device.log_in(entries[0]["label"])
    away = path.with_name("away")
    path.rename(away)
    proxy.wait_log("reload_refused")
    away.rename(path)
    proxy.wait_log("reloaded")
    device.publish(topic_of(entries[0]), "x", qos=1)
    assert len(cloud.decisions("login", entries[0])) == 1


def test_only_rights_change(cloud, site):
    """A file that could not be read may have been mended so."""
    proxy, path, _ = site
    since = proxy.mark()
    os.chmod(path, 0o640)
    proxy.wait_log("file_changed", since=since)
    assert proxy.wait_log("reloaded", since=since)["devices"] == "2"


def test_the_settings_change(cloud, site):
    proxy, _, _ = site
    path = proxy.folder / "proxy.ini"
    put(path, path.read_text().replace("level = debug", "level = notice"))
    assert proxy.wait_log("file_changed")["file"] == str(path)
    proxy.wait_log("reloaded")


def test_without_descriptors(cloud, start, dial):
    """A change that could not be read for the lack of them is taken up when
    there are some again."""
    entry, comes = cloud.device(), cloud.device()
    proxy = start(cloud, entry, reload={"interval": "100ms"})
    limit_descriptors(proxy.pid, 0)
    write(proxy.folder / "devices.ini", map_of(entry, comes))
    proxy.wait_log("reload_refused")
    limit_descriptors(proxy.pid, None)
    assert proxy.wait_log("reloaded")["devices"] == "2"
    dial(proxy).log_in(comes["label"])


def test_many_changes_in_a_row(cloud, site, dial):
    """However they fall together: what counts is the last one."""
    proxy, path, entries = site
    comes = [cloud.device() for _ in range(50)]
    for upto in range(1, 51):
        (write if upto % 2 else put)(path, map_of(*entries, *comes[:upto]))
    proxy.wait_log("reloaded", devices=52)
    dial(proxy).log_in(comes[-1]["label"])


def test_a_change_at_the_end(cloud, start):
    """A reload that is under way when the proxy ends."""
    entry = cloud.device()
    more = [{**entry, "label": f"more-{at}", "device_name": f"more_{at}"}
            for at in range(5000)]
    proxy = start(cloud, entry, reload=HEARD)
    put(proxy.folder / "devices.ini", map_of(entry, *more))
    proxy.wait_log("file_changed")
    proxy.stop()
