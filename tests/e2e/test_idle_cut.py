"""A site that cuts idle connections, and pings that become more frequent."""

import tempfile

import pytest

from cloud_process import topic_of
from idle_relay import IdleRelay
from test_admin import get_metrics

INTERVAL_MS = 1200
CUT_MS = 1050
PROOFS = 3


@pytest.fixture(params=["at_once", "reset", "silent"])
def relay(cloud, request):
    with IdleRelay(cloud.port, CUT_MS / 1000, request.param) as running:
        yield running


@pytest.fixture
def path():
    """Of the admin socket."""
    with tempfile.TemporaryDirectory(prefix="idle-") as folder:
        yield f"{folder}/admin.sock"


@pytest.fixture
def site(cloud, start, relay, path):
    """site(interval_min) -> (proxy, entry)"""
    def begin(interval_min):
        entry = cloud.device(port=relay.port, on_link_loss="close")
        return start(
            cloud, entry, admin={"socket": path},
            cloud={"ping_interval": f"{INTERVAL_MS}ms",
                   "ping_interval_min": interval_min, "ping_timeout": "1s"},
            # all these links are short
            dial={"per_device": 0, "stable_after": 0}), entry
    return begin


def log_in(dial, proxy, entry):
    device = dial(proxy)
    device.log_in(entry["label"])
    return device


def test_idle_cut_is_learned(cloud, site, dial, path):
    """and said, and from then on links live."""
    proxy, entry = site("200ms")
    for _ in range(PROOFS):
        assert log_in(dial, proxy, entry).until_closed() == []
    assert not proxy.logs("ping_interval_learned")
    assert get_metrics(path)["ping_intervals_learned_total"] == 0
    device = log_in(dial, proxy, entry)
    line = proxy.wait_log("ping_interval_learned")
    assert (line["level"], line["host"], line["port"], line["egress"]) == (
        "notice", "localhost", str(entry["port"]), "none")
    assert line["from"] == f"{INTERVAL_MS}ms" and "firewall" in line["hint"]
    learned_ms = int(line["to"].removesuffix("ms"))
    assert 0.7 * CUT_MS < learned_ms <= 0.75 * INTERVAL_MS
    assert get_metrics(path)["ping_intervals_learned_total"] == 1
    ends = len(proxy.logs("session_end"))
    cloud.wait("ping", entry, since=cloud.mark(), count=4)
    device.publish(topic_of(entry), "still here", qos=1)
    assert len(proxy.logs("session_end")) == ends


@pytest.mark.parametrize("relay", ["reset"], indirect=True)
def test_turned_off(site, dial):
    proxy, entry = site(f"{INTERVAL_MS}ms")
    for _ in range(PROOFS + 1):
        assert log_in(dial, proxy, entry).until_closed() == []
    assert not proxy.logs("ping_interval_learned")
