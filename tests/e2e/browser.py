"""Headless Chromium, driven over the pipe of its DevTools protocol: no port, no
driver beside it."""

import base64
import contextlib
import json
import os
import shutil
import subprocess
import threading
import time

from proxy import TIMEOUT, environment

# it starts many processes, and reads much, before it does anything
_PATIENCE = 2 * TIMEOUT
_FLAGS = ["--headless=new", "--remote-debugging-pipe", "--no-first-run",
          "--disable-gpu", "--disable-dev-shm-usage", "--disable-extensions",
          "--disable-background-networking", "--disable-component-update",
          "--disable-sync", "--hide-scrollbars", "--lang=en-GB",
          "--force-color-profile=srgb"]


class Browser:
    """One process; a context manager. What pages say waits in their lists."""

    def __init__(self, folder):
        program = shutil.which("chromium")
        assert program, "no chromium: scripts/test installs it"
        # as root it cannot make its sandbox
        flags = _FLAGS + (["--no-sandbox"] if os.geteuid() == 0 else [])
        their_in, self._out = os.pipe()
        self._in, their_out = os.pipe()
        # where the pipes have to be
        self._process = subprocess.Popen(
            ["bash", "-c", f"exec 50<&{their_in} 51>&{their_out}"
             ' 3<&50 4>&51 50<&- 51>&-; exec setpriv --pdeathsig KILL "$@"',
             "bash", program, *flags, f"--user-data-dir={folder}",
             "about:blank"],
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL, pass_fds=(their_in, their_out),
            # it keeps caches of its own beside what it is told
            env={**environment(), "HOME": str(folder), "LANGUAGE": "en"})
        os.close(their_in)
        os.close(their_out)
        self._last = 0
        self._answers = {}
        self._pages = {}
        self._ended = False
        self._news = threading.Condition()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        with contextlib.suppress(OSError, AssertionError):
            self.call("Browser.close")
        try:
            self._process.wait(TIMEOUT)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._reader.join(TIMEOUT)
        os.close(self._in)
        os.close(self._out)

    def call(self, method, session=None, **params):
        """The result; a method that fails is an AssertionError."""
        with self._news:
            self._last += 1
            number = self._last
        message = {"id": number, "method": method, "params": params}
        if session:
            message["sessionId"] = session
        data = json.dumps(message).encode() + b"\0"
        while data:
            data = data[os.write(self._out, data):]
        with self._news:
            assert self._news.wait_for(
                lambda: self._ended or number in self._answers,
                _PATIENCE), \
                f"no answer to {method}"
            assert number in self._answers, "chromium has ended"
            answer = self._answers.pop(number)
        assert "error" not in answer, f"{method}: {answer['error']}"
        return answer["result"]

    def _read(self):
        left = b""
        while more := os.read(self._in, 1 << 20):
            *whole, left = (left + more).split(b"\0")
            for message in map(json.loads, whole):
                self._take(message)
        with self._news:
            self._ended = True
            self._news.notify_all()

    def _take(self, message):
        with self._news:
            if "id" in message:
                self._answers[message["id"]] = message
            elif message.get("sessionId") in self._pages:
                self._pages[message["sessionId"]].events.append(message)
            self._news.notify_all()

    def open(self, url, width=1280, height=900, dark=False):
        """A new tab that has loaded <url>."""
        target = self.call("Target.createTarget", url="about:blank")
        session = self.call("Target.attachToTarget", flatten=True,
                            targetId=target["targetId"])["sessionId"]
        page = self._pages[session] = Page(self, session)
        for domain in ("Page", "Runtime", "Log", "Network", "Audits"):
            page.call(f"{domain}.enable")
        page.look(width, height, dark)
        page.call("Emulation.setLocaleOverride", locale="en-GB")
        page.load(url)
        return page


class Page:
    def __init__(self, browser, session):
        self._browser = browser
        self._session = session
        self.events = []

    def call(self, method, **params):
        return self._browser.call(method, self._session, **params)

    def load(self, url):
        self.call("Page.navigate", url=url)
        self.until(f"location.href === {json.dumps(url)}"
                   " && document.readyState === 'complete'")

    def look(self, width, height=900, dark=False, scale=1):
        self.call("Emulation.setDeviceMetricsOverride", width=width,
                  height=height, deviceScaleFactor=scale,
                  mobile=width < 600)
        self.call("Emulation.setEmulatedMedia", features=[
            {"name": "prefers-color-scheme",
             "value": "dark" if dark else "light"}])

    def run(self, script):
        """The value of an expression, which may be a promise."""
        answer = self.call("Runtime.evaluate", expression=script,
                           returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in answer, answer
        return answer["result"].get("value")

    def until(self, script, timeout=_PATIENCE):
        """Waits until an expression is true; returns its value."""
        deadline = time.monotonic() + timeout
        while not (value := self.run(script)):
            assert time.monotonic() < deadline, \
                f"not so: {script}\n" + self.run("document.body.innerText")
            time.sleep(0.05)
        return value

    def text(self, selector):
        """Of the first element, as it is shown."""
        return self.run(f"document.querySelector({json.dumps(selector)})"
                        ".innerText")

    def type(self, selector, text):
        """Puts the focus there and types, instead of what was there."""
        self.run(f"document.querySelector({json.dumps(selector)}).select()")
        self.call("Input.insertText", text=text)

    def click(self, selector):
        self.run(f"document.querySelector({json.dumps(selector)}).click()")

    def key(self, key, code, text=""):
        for kind in ("keyDown", "keyUp"):
            self.call("Input.dispatchKeyEvent", type=kind, key=key, code=key,
                      windowsVirtualKeyCode=code,
                      **({"text": text} if text and kind == "keyDown"
                         else {}))

    def screenshot(self, path, whole=False):
        shot = self.call("Page.captureScreenshot", format="png",
                         captureBeyondViewport=whole)
        with open(path, "wb") as file:
            file.write(base64.b64decode(shot["data"]))

    def said(self, method):
        """The parameters of the events of that name."""
        return [event["params"] for event in list(self.events)
                if event["method"] == method]

    def requests(self):
        return [params["request"]["url"]
                for params in self.said("Network.requestWillBeSent")]

    def complaints(self):
        """What a page must not have: exceptions, dialogs, violations of its
        policy, console errors. A request that failed is none."""
        return (self.said("Runtime.exceptionThrown")
                + self.said("Page.javascriptDialogOpening")
                + [issue for issue in self.said("Audits.issueAdded")
                   if issue["issue"]["code"] == "ContentSecurityPolicyIssue"]
                + self.said("Runtime.consoleAPICalled")
                + [entry for entry in self.said("Log.entryAdded")
                   if entry["entry"]["source"] != "network"])
