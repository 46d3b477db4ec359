"""Certificates, roots and pins that change while the proxy runs are taken up
without a restart."""

import re
import shutil

from cloud_process import topic_of

SOON = {"interval": "50ms"}


def put(path, text):
    """A new file in one step."""
    fresh = path.with_name(path.name + ".new")
    fresh.write_text(text)
    fresh.replace(path)


def refused(device, entry):
    device.send_connect(entry["label"])
    return device.connack().code == 3


def test_the_right_root_comes_late(cloud, certs, start, dial, tmp_path):
    roots = tmp_path / "roots.pem"
    shutil.copy(certs / "other-root.pem", roots)
    entry = cloud.device()
    proxy = start(cloud, entry, tls={"ca_file": roots}, reload=SOON)
    assert refused(dial(proxy), entry)
    proxy.wait_log("session_end", reason="cert_untrusted")
    put(roots, (certs / "root.pem").read_text())
    assert proxy.wait_log("file_changed")["file"] == str(roots)
    proxy.wait_log("reloaded")
    dial(proxy).log_in(entry["label"])


def test_who_is_connected_stays_so(cloud, certs, start, dial, tmp_path):
    """A root is exchanged for one that is not the cloud's: that counts for
    the next handshake only."""
    roots = tmp_path / "roots.pem"
    shutil.copy(certs / "root.pem", roots)
    early, late = cloud.device(), cloud.device()
    proxy = start(cloud, early, late, tls={"ca_file": roots}, reload=SOON)
    device = dial(proxy)
    device.log_in(early["label"])
    put(roots, (certs / "other-root.pem").read_text())
    proxy.wait_log("reloaded")
    assert refused(dial(proxy), late)
    proxy.wait_log("session_end", reason="cert_untrusted")
    device.publish(topic_of(early), "x", qos=1)
    assert len(cloud.decisions("login", early)) == 1


def test_a_half_written_file_changes_nothing(cloud, certs, start, dial,
                                             tmp_path):
    """It is refused, once, and taken up when it is whole."""
    roots = tmp_path / "roots.pem"
    whole = (certs / "root.pem").read_text()
    roots.write_text(whole)
    entry = cloud.device()
    proxy = start(cloud, entry, tls={"ca_file": roots}, reload=SOON)
    put(roots, whole[:len(whole) // 2])
    proxy.wait_log("reload_refused")
    dial(proxy).log_in(entry["label"])
    since = proxy.mark()
    put(roots, whole)
    proxy.wait_log("reloaded", since=since)
    for _ in range(2):  # the looks in between find nothing
        proxy.reload()
    assert len(proxy.logs("file_changed")) == 2


def test_the_interval_changes(cloud, certs, start, tmp_path):
    """0: never; what has changed meanwhile is seen by a reload. Then again."""
    roots = tmp_path / "roots.pem"
    shutil.copy(certs / "root.pem", roots)
    proxy = start(cloud, cloud.device(), tls={"ca_file": roots},
                  reload={"interval": 0})
    text = (proxy.folder / "proxy.ini").read_text()
    put(roots, (certs / "other-root.pem").read_text())
    proxy.reload()
    assert not proxy.logs("file_changed")
    proxy.set_settings(text.replace("interval = 0", "interval = 50ms"))
    proxy.reload()
    put(roots, (certs / "root.pem").read_text())
    proxy.wait_log("file_changed")


def test_the_pin_is_in_the_log(cloud, start, dial, tmp_path):
    """What the line of a refused chain shows, the file takes."""
    pins = tmp_path / "pins"
    pins.write_text("sha256/" + 43 * "A" + "=\n")
    entry = cloud.device()
    proxy = start(cloud, entry, tls={"pin_file": pins}, reload=SOON)
    assert refused(dial(proxy), entry)
    end = proxy.wait_log("session_end", reason="cert_not_pinned")
    leaf, issuer = re.findall(r"sha256/\S{43}=", end["detail"])
    assert leaf != issuer
    cloud.wait("upgrade", status=400)  # it was left without a request
    cloud.begin()
    put(pins, f"; the cloud's intermediate\n{issuer}\n")
    proxy.wait_log("reloaded")
    dial(proxy).log_in(entry["label"])
