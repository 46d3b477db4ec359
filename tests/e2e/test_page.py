"""The page for a browser, in Chromium, with the real proxy behind it."""

import base64
import hashlib
import json
import re
import socket
import tempfile

import pytest

import mqtt_raw as mqtt
from browser import Browser
from kernel import wait_until
from proxy import Proxy
from test_admin import get, talk
from test_control import TOKEN, ask
from test_hold import SWIFT, lose_link
from test_roster import knock

DEVICES = 500
HERE = 12       # of them
ROWS = 200      # shown at once
# as client id and as user name, and how it is shown
SCRIPT = "<script>alert(1)</script>"
IMAGE = '"><img src=x onerror=alert(2)>'
IMAGE_SHOWN = IMAGE.replace('"', "\\x22")


@pytest.fixture(scope="module")
def browser():
    # its last processes may still write there
    with tempfile.TemporaryDirectory(
            prefix="chromium-", ignore_cleanup_errors=True) as home:
        with Browser(home) as running:
            yield running


@pytest.fixture
def path():
    with tempfile.TemporaryDirectory(prefix="adm-") as folder:
        yield f"{folder}/a.sock"


@pytest.fixture
def admin(path, port, tmp_path):
    """The section; a browser cannot open a Unix socket."""
    (tmp_path / "token").write_text(TOKEN + "\n")
    return {"socket": path, "listen": f"127.0.0.1:{port}",
            "token_file": tmp_path / "token"}


@pytest.fixture
def show(browser, port):
    """show(...) -> a page that has got the token and shows devices. None of
    the test's pages may complain, or ask anybody else."""
    pages = []

    def open_one(token=TOKEN, **look):
        page = browser.open(f"http://127.0.0.1:{port}/", **look)
        pages.append(page)
        page.until("!document.querySelector('#login').hidden")
        if token:
            log_in(page, token)
            page.until("!document.querySelector('#all').hidden")
        return page

    yield open_one
    for page in pages:
        assert page.complaints() == []
        assert all(re.fullmatch(rf"http://127\.0\.0\.1:{port}/(status)?"
                                r"|data:image/svg\+xml.*", url)
                   for url in page.requests()), page.requests()
        page.call("Page.close")


def log_in(page, token):
    page.type("#token", token)
    page.key("Enter", 13, "\r")


def poke(page):
    """Has it ask at once, as when its tab is seen again."""
    page.run("document.dispatchEvent(new Event('visibilitychange'))")


def count_of(page, state):
    return int(page.text(f"#tiles [data-state={state}] b"))


def until_count(page, state, count):
    page.until(f"document.querySelector('#tiles [data-state={state}] b')"
               f".textContent === '{count}'")


def shown(page):
    """The labels in the table, in their order."""
    return page.run("[...document.querySelectorAll('#rows .label span')]"
                    ".map((node) => node.textContent)")


def row_of(page, label):
    """What the table says of that device, or null."""
    return page.run(
        "[...document.querySelectorAll('#rows tr')].filter((row) =>"
        f" row.querySelector('.label span').textContent === '{label}')"
        ".map((row) => row.innerText)[0] || null")


def invented(number):
    return {"label": f"many-{number}", "product_key": "a1B2c3D4e5F",
            "device_name": f"many-{number}", "region": "cn-shanghai",
            "device_secret": "0" * 32}


# ---- the HTTP side

def test_what_a_browser_is_told(cloud, start, admin, path, port):
    proxy = start(cloud, cloud.device(), admin=admin)
    code, headers, body = get(path, "/")
    assert (code, headers["Content-Type"]) == (200, "text/html; charset=utf-8")
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["Referrer-Policy"] == "no-referrer"
    assert headers["Cache-Control"] == "no-store"
    policy = dict(part.split(" ", 1) for part in
                  headers["Content-Security-Policy"].split("; "))
    for kind in ("script", "style"):
        text, = re.findall(f"<{kind}>(.*?)</{kind}>", body, re.S)
        found = hashlib.sha256(text.encode()).digest()
        assert policy.pop(f"{kind}-src") == (
            f"'sha256-{base64.b64encode(found).decode()}'")
    assert policy == {
        "default-src": "'none'", "connect-src": "'self'", "img-src": "data:",
        "base-uri": "'none'", "form-action": "'none'",
        "frame-ancestors": "'none'"}
    code, head, nothing = get(path, "/", "HEAD")
    assert (code, head, nothing) == (200, headers, "")
    code, headers, _ = get(path, "/", "POST")
    assert (code, headers["Allow"]) == (405, "GET, HEAD")
    # by TCP too, without the token, which its data need
    assert ask(port, "/") == (200, body)
    assert ask(port, "/status")[0] == 401
    assert TOKEN not in body and str(proxy.folder) not in body


def test_name_that_was_made_to_lead_here(cloud, start, admin, path, port):
    """By the Unix socket, to which somebody may lead a port, nothing is read
    by a name; by TCP the token counts."""
    start(cloud, cloud.device(), admin=admin)
    for target in ("/", "/status", "/metrics", "/healthz"):
        for host, code in (("evil.example", 403), ("localhost:9441", 200),
                           ("127.0.0.1:9441", 200), ("[::1]:9441", 200)):
            answer = talk(path, f"GET {target} HTTP/1.1\r\nHost: {host}"
                                "\r\n\r\n".encode())
            assert int(answer.split()[1]) == code, (target, host)
    assert ask(port, "/", headers={"Host": "gateway"})[0] == 200
    right = f"Bearer {TOKEN}"
    assert ask(port, "/status", right, headers={"Host": "gateway"})[0] == 200


# ---- in a browser

def test_five_hundred_devices(cloud, start, dial, admin, show):
    """Shown, searched, sorted, and followed when one goes."""
    entries = [cloud.device() for _ in range(HERE)]
    proxy = start(cloud, *entries, *map(invented, range(DEVICES - HERE)),
                  admin=admin)
    devices = {entry["label"]: dial(proxy) for entry in entries}
    for label, device in devices.items():
        device.send_connect(label, keep_alive=300)
    for device in devices.values():
        assert device.connack().code == 0
    proxy.wait_log("session_up", count=HERE)
    page = show()
    assert (count_of(page, "online"), count_of(page, "offline")) == (
        HERE, DEVICES - HERE)
    assert page.text("#summary") == (
        f"{HERE} online, 0 waiting, 0 held, {DEVICES - HERE} offline")
    assert len(shown(page)) == ROWS
    assert set(shown(page)[:HERE]) == set(devices)
    page.click("#more")
    assert len(shown(page)) == DEVICES
    # found by what is in any column; all words count
    page.type("#search", "MANY-17 offline")
    assert shown(page) == ["many-17", *(f"many-{n}" for n in range(170, 180))]
    page.type("#search", "nothing like that")
    assert shown(page) == [] and "No device" in page.text("#none")
    page.type("#search", "")
    page.click("#tiles [data-state=online]")
    assert set(shown(page)) == set(devices)
    assert page.run("document.querySelector('#state').value") == "online"
    page.click("th[data-sort=label] button")
    ascending = shown(page)
    page.click("th[data-sort=label] button")
    assert shown(page) == ascending[::-1]
    assert page.run("document.querySelector('th[data-sort=label]')"
                    ".getAttribute('aria-sort')") == "descending"
    page.click("#tiles [data-state=online]")
    # one goes; the rows stay the ones they were
    gone = entries[0]["label"]
    row = row_of(page, gone)
    assert "online" in row and f"127.0.0.1:{devices[gone].port}" in row
    assert "localhost" in row and "MQTT 3.1.1" in row
    page.run("for (const row of document.querySelectorAll('#rows tr'))"
             " row.is_old = true")
    devices[gone].send(mqtt.DISCONNECT)
    proxy.wait_log("session_end")
    poke(page)
    until_count(page, "offline", DEVICES - HERE + 1)
    page.type("#search", gone)
    row = row_of(page, gone)
    assert "offline" in row and "device_left" in row
    assert "the device said DISCONNECT" in row
    page.type("#search", "")
    assert page.run("[...document.querySelectorAll('#rows tr')]"
                    ".every((row) => row.is_old)")


def test_held_and_the_way_to_the_cloud(cloud, start, dial, admin, show):
    entry = cloud.device()
    proxy = start(cloud, entry, admin=admin, dial=SWIFT)
    page = show()
    assert page.text("#cloud-word") == "No device has dialled yet."
    dial(proxy).log_in(entry["label"])
    poke(page)
    page.until("document.querySelector('#cloud-word').className"
               " === 'state ok'")
    assert "certificate until" in page.text("#cloud-counts")
    cloud.fault(entry, refuse=100)
    lose_link(cloud, proxy, entry)
    poke(page)
    until_count(page, "held", 1)
    assert "held" in row_of(page, entry["label"])
    assert page.run("document.title").startswith("1 held")
    # it asks by itself
    page.until("document.querySelector('#cloud-word').className"
               " === 'state bad'")
    assert "The last dial failed" in page.text("#cloud-word")
    assert page.text("#cloud-hint").startswith(
        "the cloud refused this device's login; ")
    assert "login_refused" in page.text("#cloud-counts")
    cloud.fault(entry, refuse=0)


def test_warnings(cloud, start, admin, show, tmp_path):
    """Of files that were refused, with their line, until they are mended."""
    proxy = start(cloud, cloud.device(), admin=admin)
    good = (proxy.folder / "devices.ini").read_text()
    page = show()
    assert page.text("#warnings") == ""
    proxy.set_devices(good + "[device:<i>x\n")
    assert proxy.reload()["event"] == "reload_refused"
    poke(page)
    page.until("document.querySelector('#warnings li.bad') !== null")
    line = good.count("\n") + 1
    assert f"devices.ini:{line}: the ']' is missing" in page.text("#warnings")
    proxy.set_devices(good)
    assert proxy.reload()["event"] == "reloaded"
    poke(page)
    page.until("document.querySelector('#warnings').children.length === 0")


def test_without_a_map(cloud, start, admin, show, tmp_path):
    proxy = Proxy(tmp_path / "bare", [cloud.device()],
                  start.settings(cloud, {"admin": admin}))
    (proxy.folder / "devices.ini").unlink()
    with proxy:
        page = show()
        assert "there is no devices.ini yet" in page.text("#warnings")


@pytest.mark.parametrize("days, kind", [(400, None), (9, ""), (1, "bad")])
def test_certificate_that_ends(cloud, start, admin, show, days, kind):
    """What the page makes of a date."""
    start(cloud, cloud.device(), admin=admin)
    page = show()
    status = json.dumps(page.run("fetch('status', {headers: {Authorization:"
                                 f" 'Bearer {TOKEN}'}}}}).then("
                                 "(answer) => answer.json())"))
    page.run("window.fetch = async () => { const status = " + status + ";"
             " status.cloud.certificate_expires = new Date(Date.parse("
             f"status.now) + {days} * 86400000).toISOString();"
             " return {ok: true, json: async () => status}; }")
    poke(page)
    page.until("document.querySelector('#cloud-counts').textContent"
               ".includes('certificate until')")
    warning = page.run("document.querySelector('#warnings li')?.className")
    assert warning == kind
    if kind is not None:
        assert "The cloud's certificate ends in" in page.text("#warnings")


def unfold(page):
    """The map's lines of everybody who was not let in."""
    page.run("for (const node of document.querySelectorAll('details'))"
             " node.open = true")
    return page.run("[...document.querySelectorAll('#knock-list li')].map("
                    "(item) => [item.querySelector('.who').innerText,"
                    " item.querySelector('details').hidden ? null :"
                    " item.querySelector('pre').textContent])")


def test_what_devices_call_themselves(cloud, start, dial, admin, show):
    """Shown as it is, and nothing of it runs."""
    entry = cloud.device()
    proxy = start(cloud, entry, admin=admin)
    device = dial(proxy)
    device.send(mqtt.connect(SCRIPT, user_name=IMAGE))
    assert device.connack().code != 0
    proxy.wait_log("device_refused")
    page = show()
    (who, lines), = unfold(page)
    assert who == SCRIPT
    text = page.text("#knock-list")
    assert f"user {IMAGE_SHOWN}" in text and "from 127.0.0.1" in text
    assert "once" in text and "unknown_device: add an entry" in text
    assert f"match_client_id = {SCRIPT}" in lines.splitlines()
    assert page.run("document.querySelectorAll('img, #all script').length"
                    ) == 0
    # it comes again: the list is the same one, unfolded
    knock(dial(proxy), SCRIPT)
    proxy.wait_log("device_refused", count=2)
    poke(page)
    page.until("document.querySelector('#knock-list .when').textContent"
               ".startsWith('2 times')")
    assert page.run("document.querySelector('#knock-list details').open")


def test_lines_let_them_in(cloud, start, dial, admin, show):
    """Each line goes into devices.ini as it is shown, the blanks filled in;
    with a blank left the file is refused."""
    first = cloud.device()
    # client id, user name, what they are found by
    strangers = [("METER 3", "", "match_client_id = METER 3"),
                 (SCRIPT, "", f"match_client_id = {SCRIPT}"),
                 ("caf\u00e9 = [1]", "", "match_client_id = caf\u00e9 = [1]"),
                 ("st*r", "plant", "match_username = plant"),
                 ("comment #1", IMAGE, f"match_username = {IMAGE}"),
                 ("\x07 ", "", "match_address = 127.0.0.1")]
    proxy = start(cloud, first, admin=admin)

    def come(client_id, username):
        device = dial(proxy)
        device.send(mqtt.connect(client_id, user_name=username or None))
        return device.connack().code

    for client_id, username, _ in strangers:
        assert come(client_id, username) != 0
    proxy.wait_log("device_refused", count=len(strangers))
    page = show()
    page.click("#knocks-more")
    found = [lines for _, lines in unfold(page)]
    good = (proxy.folder / "devices.ini").read_text()
    text = ""
    for _, _, match in strangers:
        lines, = [one for one in found if match in one.splitlines()]
        proxy.set_devices(f"{good}\n{lines}")
        assert proxy.reload()["event"] == "reload_refused"
        entry = cloud.device()
        text += (lines.replace("<ProductKey>", entry["product_key"])
                 .replace("<DeviceName>", entry["device_name"])
                 .replace("<DeviceSecret>", entry["device_secret"])
                 + "host = localhost\n\n")
    proxy.set_devices(f"{good}\n{text}")
    assert proxy.reload()["event"] == "reloaded", proxy.raw_log()[-2000:]
    for client_id, username, _ in strangers:
        assert come(client_id, username) == 0


def test_one_that_signs_for_itself(cloud, start, dial, admin, show):
    """Its names stand in its login: they are filled in."""
    proxy = start(cloud, cloud.device(), admin=admin)
    device = dial(proxy)
    device.send(mqtt.connect("me|securemode=3,signmethod=hmacsha256|",
                             user_name="meter_9&a1B2c3D4e5F"))
    assert device.connack().code != 0
    proxy.wait_log("device_refused")
    (_, lines), = unfold(show())
    assert lines.splitlines()[1:] == [
        "product_key = a1B2c3D4e5F", "device_name = meter_9",
        "device_secret = <DeviceSecret>"]


def test_every_width_and_both_schemes(cloud, start, dial, admin, show):
    """Nothing sticks out, whatever devices call themselves."""
    entry = cloud.device()
    proxy = start(cloud, entry, *map(invented, range(20)),
                  {**invented(20), "label": "l" * 40}, admin=admin)
    dial(proxy).log_in(entry["label"])
    knock(dial(proxy), "x" * 128)
    proxy.wait_log("device_refused")
    page = show()
    unfold(page)
    backs = set()
    for dark in (False, True):
        for width in (320, 390, 768, 821, 1280):
            page.look(width, dark=dark)
            assert page.run("document.documentElement.scrollWidth"
                            " <= innerWidth"), width
            assert page.run(CONTRAST) == [], (width, dark)
        backs.add(page.run("getComputedStyle(document.body)"
                           ".backgroundColor"))
    assert len(backs) == 2
    page.look(390)
    assert page.run("document.querySelector('thead').offsetHeight") == 0
    assert "Address" in page.run(
        "getComputedStyle(document.querySelector('#rows .peer'),"
        " '::before').content + document.querySelector('#rows .peer')"
        ".dataset.label")


# Texts under 4.5 to 1 against what is behind them (WCAG 2.1, 1.4.3)
CONTRAST = r"""(() => {
    const numbers = (text) => text.match(/[\d.]+/g).map(Number);
    const light = (rgb) => rgb.slice(0, 3).map((c) => (c /= 255) <= 0.03928
        ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4).reduce(
        (sum, c, i) => sum + c * [0.2126, 0.7152, 0.0722][i], 0);
    const back = (node) => {
        for (; node; node = node.parentElement) {
            const rgb = numbers(getComputedStyle(node).backgroundColor);
            if (rgb.length < 4 || rgb[3] === 1)
                return rgb;
        }
        return [255, 255, 255];
    };
    return [...document.querySelectorAll('body *')].filter((node) =>
        node.offsetParent && [...node.childNodes].some((child) =>
            child.nodeType === 3 && child.data.trim())).filter((node) => {
        const [a, b] = [light(numbers(getComputedStyle(node).color)),
            light(back(node))].sort((x, y) => y - x);
        return (a + 0.05) / (b + 0.05) < 4.5;
    }).map((node) => node.outerHTML.slice(0, 200));
})()"""


def test_by_keyboard(cloud, start, admin, show):
    """Everything can be reached, and is seen to be."""
    start(cloud, cloud.device(), cloud.device(), admin=admin)
    page = show()
    page.load(page.run("location.href"))
    page.until("!document.querySelector('#all').hidden")
    reached = []
    for _ in range(40):
        page.key("Tab", 9)
        # behind the last one comes what is around the page
        if page.run("document.activeElement === document.body"):
            continue
        name, outline = page.run(
            "[document.activeElement.id || document.activeElement"
            ".dataset.state || document.activeElement.textContent,"
            " getComputedStyle(document.activeElement).outlineStyle]")
        if name in reached:
            break
        reached.append(name)
        assert outline != "none", name
    assert [name for name in reached if name in (
        "To the devices", "online", "held", "search", "state", "sort",
        "Device", "Cloud", "forget")] == [
            "To the devices", "online", "held", "search", "state", "sort",
            "Device", "Cloud", "forget"]


def test_token(cloud, start, admin, show):
    """Asked for; kept for the tab, not for the next one; forgotten."""
    start(cloud, cloud.device(), admin=admin)
    page = show(token=None)
    assert page.run("document.querySelector('#all').hidden")
    for wrong in ("not-the-token-of-it", "no token\u20ac"):
        log_in(page, wrong)
        page.until("document.querySelector('#login-wrong').textContent")
        assert page.run("sessionStorage.length") == 0
        page.run("document.querySelector('#login-wrong').textContent = ''")
    log_in(page, TOKEN)
    page.until("!document.querySelector('#all').hidden")
    assert page.run("document.querySelector('#login').hidden")
    page.load(page.run("location.href"))
    page.until("!document.querySelector('#all').hidden")
    assert page.run("localStorage.length + document.cookie.length") == 0
    show(token=None)
    page.click("#forget")
    page.until("document.querySelector('#login')?.hidden === false")
    assert page.run("document.querySelector('#all').hidden")
    assert page.run("sessionStorage.length") == 0


def test_proxy_that_is_gone(cloud, start, admin, show):
    """Seen at once; what it said last stays, and it is live again when the
    proxy is."""
    entry = cloud.device()
    proxy = start(cloud, entry, admin=admin)
    page = show()
    assert page.run("document.querySelector('#silent').hidden")
    proxy.kill()
    start.proxies.remove(proxy)
    poke(page)
    page.until("!document.querySelector('#silent').hidden")
    assert "does not answer" in page.text("#silent-why")
    assert re.match(r"Since \d\d:\d\d:\d\d \(\d+ s\); what stands below",
                    page.text("#silent-since"))
    assert page.text("#live") == "no answer"
    assert shown(page) == [entry["label"]]
    start(cloud, entry, admin=admin)
    poke(page)
    page.until("document.querySelector('#silent').hidden")
    assert page.text("#live").startswith("live")


def pass_time(page, milliseconds):
    """By the page's own clock, which then runs as fast as it can."""
    done = len(page.said("Emulation.virtualTimeBudgetExpired"))
    page.call("Emulation.setVirtualTimePolicy", budget=milliseconds,
              policy="pauseIfNetworkFetchesPending")
    wait_until(lambda: len(page.said("Emulation.virtualTimeBudgetExpired"))
               > done)


def hide(page):
    """With a question under way."""
    page.run("ask(); Object.defineProperty(document, 'hidden', {"
             "configurable: true, value: true});"
             " document.dispatchEvent(new Event('visibilitychange'))")
    page.until("asking === null")


def test_tab_that_is_not_seen(cloud, start, admin, show):
    """It does not ask until it is seen again; one that is seen does."""
    start(cloud, cloud.device(), admin=admin)
    page = show()
    asked = len(page.requests())
    pass_time(page, 20000)
    assert asked + 2 <= len(page.requests()) <= asked + 8
    hide(page)
    asked = len(page.requests())
    pass_time(page, 120000)
    assert len(page.requests()) == asked
    page.run("delete document.hidden")
    poke(page)
    wait_until(lambda: len(page.requests()) > asked)


def test_policy_holds(cloud, start, admin, browser, port):
    """What somebody might get into the page does not run, and reaches
    nobody."""
    start(cloud, cloud.device(), admin=admin)
    page = browser.open(f"http://127.0.0.1:{port}/")
    page.until("!document.querySelector('#login').hidden")
    with socket.create_server(("127.0.0.1", 0)) as outside:
        there = f"http://127.0.0.1:{outside.getsockname()[1]}/"
        page.run("addEventListener('securitypolicyviolation', (event) =>"
                 " (window.stopped ??= []).push(event.effectiveDirective))")
        page.run(f"fetch('{there}').catch(() => 0)")
        page.run(f"navigator.sendBeacon('{there}') && 0")
        page.run(f"""document.body.append(
            Object.assign(new Image(), {{src: '{there}'}}),
            Object.assign(document.createElement('script'),
                {{textContent: 'window.has_run = true'}}),
            Object.assign(document.createElement('iframe'), {{src: '/'}}),
            Object.assign(document.createElement('base'), {{href: '{there}'}}))
            """)
        page.run("document.body.insertAdjacentHTML('beforeend',"
                 " '<img src=x onerror=\"window.has_run = true\">')")
        page.until("['connect-src', 'img-src', 'script-src-elem',"
                   " 'script-src-attr', 'frame-src', 'base-uri'].every("
                   "(name) => window.stopped?.includes(name))")
        assert not page.run("window.has_run")
        outside.setblocking(False)
        with pytest.raises(BlockingIOError):
            outside.accept()
    # such as would be seen in every other test
    assert page.complaints()
    page.call("Page.close")
