"""What the comparison makes of figures, and that it runs at all."""
import os
import subprocess
import sys
from pathlib import Path

import pytest

from report import Range, Target, judge, number, ranges_of, table

HERE = Path(__file__).resolve().parent


def run(peer, disturbed=False, **figures):
    return dict(peer=peer, disturbed=disturbed, figures=figures)


def ranges(**figures):
    """Of haproxy_us=(1, 2) and so on."""
    return {tuple(key.rsplit("_", 1)): Range.of(values)
            for key, values in figures.items()}


def verdict(target, **figures):
    return judge(target, ranges(**figures))


BELOW = Target("us", 1.3, (("haproxy", "us"), ("nginx", "us")))
ABOVE = Target("us", 0.8, (("haproxy", "us"), ("nginx", "us")), at_least=True)


def test_the_better_of_two_is_the_one_to_reach():
    v = verdict(BELOW, ours_us=[12], haproxy_us=[20], nginx_us=[10])
    assert (v.other, v.ratio, v.missed_by) == ("nginx", 1.2, 0)
    v = verdict(ABOVE, ours_us=[12], haproxy_us=[20], nginx_us=[10])
    assert (v.other, v.ratio) == ("haproxy", 0.6)


def test_how_far_a_target_is_missed():
    v = verdict(BELOW, ours_us=[26], haproxy_us=[10])
    assert v.missed_by == pytest.approx(1.0)
    assert v.words() == "MISSED by 100 %"
    v = verdict(ABOVE, ours_us=[4], haproxy_us=[10])
    assert v.missed_by == pytest.approx(0.5)
    assert verdict(ABOVE, ours_us=[8], haproxy_us=[10]).words() == "met"


def test_ranges_that_overlap():
    """No difference is claimed then; what counts is the other's range times
    the limit."""
    trips = Target("us", 1, (("tcp", "us"),))
    v = verdict(trips, ours_us=[10, 12, 14], tcp_us=[9, 10, 11])
    assert (v.words(), v.ranges()) == ("within noise, 20.0 % off", "overlap")
    v = verdict(trips, ours_us=[12, 13, 14], tcp_us=[9, 10, 11])
    assert (v.words(), v.ranges()) == ("MISSED by 30.0 %", "disjoint")
    half = Target("us", 0.5, (("tcp", "us"),))
    v = verdict(half, ours_us=[6, 7, 10], tcp_us=[9, 10, 11])
    assert (v.words(), v.ranges()) == ("MISSED by 40.0 %", "disjoint")
    v = verdict(half, ours_us=[5, 6, 7], tcp_us=[9, 10, 11])
    assert (v.words(), v.ranges()) == ("within noise, 20.0 % off", "overlap")
    # one run has no range
    assert verdict(trips, ours_us=[12], tcp_us=[10]).ranges() == "-"


def test_a_target_without_others():
    resumed = Target("percent", 99, at_least=True)
    assert verdict(resumed, ours_percent=[99.5]).words() == "met"
    assert verdict(resumed, ours_percent=[49.5]).words() == "MISSED by 50.0 %"


def test_what_was_not_measured_is_not_judged():
    assert verdict(BELOW, ours_us=[1]) is None
    assert verdict(BELOW, nginx_us=[1]) is None
    assert verdict(BELOW, ours_us=[1], nginx_us=[0]) is None


def test_disturbed_runs_count_only_where_there_are_no_others():
    found = ranges_of([run("ours", us=1), run("ours", True, us=100),
                       run("ours", us=3), run("nginx", True, us=5),
                       run("ours", us=2)])
    assert found["ours", "us"] == Range(2, 1, 3, 3)
    assert found["nginx", "us"] == Range(5, 5, 5, 1)


def test_failed_runs_do_not_count():
    assert ranges_of([run("ours") | dict(failed="lost")]) == {}


def test_numbers():
    assert [number(x) for x in (0, 0.0123, 0.456, 7.891, 23.45, 12345.6)] == [
        "0", "0.0123", "0.46", "7.89", "23.4", "12,346"]
    assert table(["a", "b"], [["long", "1"]]).splitlines()[1] == (
        "| ---- | - |")


@pytest.mark.skipif(os.geteuid() != 0, reason="needs a network of its own")
def test_it_runs():
    build = Path(os.environ["MQTT_WSS_PROXY"]).parent
    out = subprocess.run(
        ["unshare", "--net", sys.executable, HERE / "compare.py", "--build",
         build, "--rows", "hot,storm", "--peers", "ours", "--repeat", "1",
         "--seconds", "0.2"], capture_output=True, text=True, check=False)
    assert out.returncode == 0, out.stdout + out.stderr
    assert "resumed_percent" in out.stdout
    assert "us_per_message" in out.stdout
