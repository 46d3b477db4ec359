"""Clouds for the tests of this folder."""

import subprocess

import pytest

from cloud_rig import HERE, Cloud


@pytest.fixture(scope="session", name="certs")
def fixture_certs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("certs")
    subprocess.run([HERE / "make-certs.sh", folder], check=True)
    return folder


@pytest.fixture(scope="session", name="shared")
def fixture_shared(tmp_path_factory, certs):
    cloud = Cloud(tmp_path_factory.mktemp("cloud"),
                  "--cert", certs / "server.pem",
                  "--key", certs / "server.key",
                  "--mqtts-cert", certs / "untrusted.pem",
                  "--mqtts-key", certs / "server.key")
    cloud.root = str(certs / "root.pem")
    cloud.mqtts_root = str(certs / "other-root.pem")
    yield cloud
    assert cloud.stop() == 0
    cloud.tidy()


@pytest.fixture(name="cloud")
def fixture_cloud(shared):
    assert shared.order(cmd="clear")["ok"]
    shared.order(cmd="note", text="test")
    shared.wait("note")
    shared.seen.clear()
    yield shared
    # answers when the last line about these links is written
    shared.order(cmd="drop", how="abort")


@pytest.fixture(name="start")
def fixture_start(tmp_path):
    """Starts clouds for one test."""
    clouds = []

    def start(*options):
        folder = tmp_path / str(len(clouds))
        folder.mkdir()
        clouds.append(Cloud(folder, *options))
        return clouds[-1]

    yield start
    for cloud in clouds:
        cloud.tidy()
