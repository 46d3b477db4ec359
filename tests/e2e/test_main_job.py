"""What the proxy is for: a device that speaks plain MQTT reaches its own,
freshly signed session of the cloud."""

import subprocess

import pytest

from cloud_process import PRODUCT, topic_of
from proxy import TIMEOUT

LEVELS = {"mqttv31": 3, "mqttv311": 4, "mqttv5": 5}


def mosquitto(program, proxy, entry, version, *arguments):
    return [program, "-h", "127.0.0.1", "-p", str(proxy.port),
            "-i", entry["label"], "-k", "15", "-V", version, *arguments]


@pytest.mark.parametrize("qos", [0, 1])
@pytest.mark.parametrize("version", LEVELS)
def test_publish(cloud, start, listen, version, qos):
    entry = cloud.device()
    proxy = start(cloud, entry)
    app = listen(cloud, topic_of(entry))
    subprocess.run(
        mosquitto("mosquitto_pub", proxy, entry, version, "-q", str(qos),
                  "-t", topic_of(entry), "-m", "21.5"),
        check=True, timeout=TIMEOUT)

    message = app.receive()
    assert (message.topic, message.payload, message.qos) == (
        topic_of(entry), b"21.5", qos)

    login = cloud.wait("login", entry)
    assert login["accepted"] and login["level"] == LEVELS[version]
    assert login["client_id"].startswith(
        f"{PRODUCT}.{entry['device_name']}|securemode=2,")
    assert login["user_name"] == f"{entry['device_name']}&{PRODUCT}"
    assert login["sign_method"] == "hmacsha256"
    assert login["timestamp"].isdigit()
    assert login["keep_alive"] == 30        # the least the cloud takes
    assert login["path"] == "/mqtt" and login["subprotocol"] == "mqtt"
    assert login["host"] == f"localhost:{cloud.port}"
    assert login["sni"] == "localhost" and login["tls"] == "TLSv1.3"

    up = proxy.wait_log("session_up", label=entry["label"])
    assert up["mqtt_level"] == str(LEVELS[version])
    assert (up["device_keep_alive"], up["cloud_keep_alive"]) == ("15", "30")
    end = proxy.wait_log("session_end", label=entry["label"])
    assert end["reason"] == "device_left"
    assert cloud.wait("disconnect", entry)["clean"]


@pytest.mark.parametrize("qos", [0, 1])
@pytest.mark.parametrize("version", LEVELS)
def test_receive(cloud, start, dial, version, qos):
    entry = cloud.device()
    proxy = start(cloud, entry)
    topic = topic_of(entry, "get")
    with subprocess.Popen(
            ["stdbuf", "-oL", *mosquitto(
                "mosquitto_sub", proxy, entry, version, "-q", str(qos),
                "-t", topic, "-C", "1", "-W", str(TIMEOUT), "-d", "-F",
                "received %p")],
            stdout=subprocess.PIPE, text=True) as device:
        assert any("SUBACK" in line for line in device.stdout)
        app = dial(cloud)
        app.log_in("app")
        app.publish(topic, "on", qos)
        assert "received on\n" in device.stdout.readlines()
        assert device.wait(TIMEOUT) == 0
    assert cloud.wait("subscribe", entry)["granted"] == [qos]


def test_second_login_resumes_tls(cloud, start, dial):
    entry = cloud.device()
    proxy = start(cloud, entry)
    for count, resumed in enumerate(("no", "yes"), 1):
        with dial(proxy) as device:
            device.log_in(entry["label"])
            # the ticket comes with the first bytes of the cloud
            device.publish(topic_of(entry), "x", qos=1)
        up = proxy.wait_log("session_up", count=count)
        assert up["resumed"] == resumed
        login = cloud.wait("login", entry, count=count)
        assert login["resumed"] == (resumed == "yes")
        # only then there is room for the next session of this device
        proxy.wait_log("session_end", count=count)
