"""The dashboard for Grafana: in a form that it takes, and about what the
proxy's /metrics really has."""

import itertools
import json
import re
import shutil
import subprocess
import tempfile

import pytest

from proxy import ROOT
from test_admin import get
from test_hold import SWIFT, lose_link
from test_metrics import knock

DASHBOARD = json.loads(
    (ROOT / "config" / "grafana-dashboard.json").read_text())
PANELS = DASHBOARD["panels"]
# what Grafana puts in, with values that stand for any
VARIABLES = {"$__rate_interval": "5m", "$instance": ".*"}


def expressions():
    """(panel, the expression as Prometheus gets it) each."""
    for panel in PANELS:
        for target in panel.get("targets", ()):
            text = target["expr"]
            for name, value in VARIABLES.items():
                text = text.replace(name, value)
            assert "$" not in text, (panel["title"], text)
            yield panel, text


def test_form():
    assert DASHBOARD["schemaVersion"] >= 36
    assert "id" not in DASHBOARD        # Grafana gives it one
    numbers = [panel["id"] for panel in PANELS]
    assert len(set(numbers)) == len(numbers) > 20
    titles = [panel["title"] for panel in PANELS]
    assert len(set(titles)) == len(titles)
    for panel in PANELS:
        assert panel["type"] in ("row", "stat", "timeseries", "table")
        if panel["type"] == "row":
            continue
        marks = [target["refId"] for target in panel["targets"]]
        assert marks and len(set(marks)) == len(marks)


def test_places():
    """Inside the grid of 24 columns, and none on another."""
    def cells(panel):
        at = panel["gridPos"]
        assert at["w"] > 0 and at["h"] > 0 and at["x"] + at["w"] <= 24
        return set(itertools.product(
            range(at["x"], at["x"] + at["w"]),
            range(at["y"], at["y"] + at["h"])))

    taken = set()
    for panel in PANELS:
        own = cells(panel)
        assert not own & taken, panel["title"]
        taken |= own


def test_variables():
    """Any data source and any instances: nothing of one site is in it."""
    kinds = {each["name"]: each["type"]
             for each in DASHBOARD["templating"]["list"]}
    assert kinds == {"DS_PROMETHEUS": "datasource", "instance": "query"}
    wanted = {"type": "prometheus", "uid": "${DS_PROMETHEUS}"}
    for panel in PANELS:
        if panel["type"] != "row":
            assert panel["datasource"] == wanted
            assert all(each["datasource"] == wanted
                       for each in panel["targets"])
    for panel, text in expressions():
        assert text.count("mqtt_wss_proxy_") == text.count(
            'instance=~".*"'), (panel["title"], text)


def test_names(cloud, start, dial):
    """Each one is in /metrics of a proxy on which each thing has happened."""
    entry, other = cloud.device(), cloud.device()
    with tempfile.TemporaryDirectory(prefix="adm-") as folder:
        path = f"{folder}/a.sock"
        proxy = start(cloud, entry, other, admin={"socket": path},
                      dial=SWIFT)
        knock(dial(proxy), "nobody")
        dial(proxy).log_in(other["label"])
        device = dial(proxy)
        device.log_in(entry["label"])
        # its link is lost, and the next dial fails, which ends its session
        cloud.fault(entry, refuse=1)
        lose_link(cloud, proxy, entry)
        proxy.wait_log("session_end")
        page = get(path, "/metrics")[2]
    families = dict(re.findall(r"^# TYPE (\S+) (\S+)$", page, re.M))
    known = set()
    for name, kind in families.items():
        known |= ({name} if kind != "histogram" else
                  {f"{name}_{part}" for part in ("bucket", "sum", "count")})
    used = set()
    for panel, text in expressions():
        for name, labels in re.findall(r"(mqtt_wss_proxy_\w+)\{([^}]*)\}",
                                       text):
            assert name in known, (panel["title"], name)
            used.add(name)
            for label, value in re.findall(r'(\w+)="(\w+)"', labels):
                assert re.search(
                    f'^{name}{{.*{label}="{value}".*}} ', page, re.M), (
                    panel["title"], name, label, value)
    assert len(used) > 20


@pytest.mark.skipif(shutil.which("promtool") is None, reason="no promtool")
def test_promtool(tmp_path):
    """Prometheus can read each expression."""
    rules = tmp_path / "rules.yml"
    rules.write_text(json.dumps({"groups": [{"name": "dashboard", "rules": [
        {"record": f"dashboard:expression:{at}", "expr": text}
        for at, (_, text) in enumerate(expressions())]}]}))
    done = subprocess.run(["promtool", "check", "rules", rules],
                          capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
