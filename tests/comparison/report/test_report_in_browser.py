"""The HTML report in Debian's Chromium, controlled over its DevTools pipe (no dependency, no port)."""

from __future__ import annotations

import fcntl
import json
import os
import select
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from saddlepoint.comparison.report.markup import to_html
from saddlepoint.comparison.report.sheet import Cell, Picture, Report, Sheet

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no chromium, chromium-browser or google-chrome on PATH")
OPTIONS = ("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--remote-debugging-pipe")
PIXEL = bytes.fromhex(
    "89504e470d0a1a0a0000000d4948445200000001000000010806000000"
    "1f15c4890000000d49444154789c6360606060000000050001a5f645400000000049454e44ae426082"
)


class Browser:
    """A page of a headless Chromium; messages are JSON terminated by a zero byte (Chrome DevTools Protocol)."""

    def __init__(self, profile: Path) -> None:
        (browser_in, self.out), (self.into, browser_out) = os.pipe(), os.pipe()
        # not 3 and 4, which they become in the browser
        high = [fcntl.fcntl(end, fcntl.F_DUPFD, 20) for end in (browser_in, browser_out)]
        shell = f'exec "$@" 3<&{high[0]} 4>&{high[1]}'
        command = ["bash", "-c", shell, "bash", str(CHROMIUM), *OPTIONS, f"--user-data-dir={profile}", "about:blank"]
        self.process = subprocess.Popen(command, pass_fds=high, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
        for end in (browser_in, browser_out, *high):
            os.close(end)
        self.events: list[dict[str, Any]] = []
        self.number, self.session, self.buffer = 0, None, b""

    def call(self, method: str, **params: Any) -> dict[str, Any]:
        """Return the result of one command; other messages are appended to the events."""
        self.number += 1
        session = {} if self.session is None else {"sessionId": self.session}
        message = {"id": self.number, "method": method, "params": params, **session}
        os.write(self.out, json.dumps(message).encode() + b"\0")
        while (reply := self.read()).get("id") != self.number:
            self.events.append(reply)
        assert "error" not in reply, f"{method}: {reply['error']}"
        return reply["result"]

    def read(self, seconds: float = 60) -> dict[str, Any]:
        end = time.monotonic() + seconds
        while b"\0" not in self.buffer:
            ready, _, _ = select.select([self.into], [], [], max(0, end - time.monotonic()))
            chunk = os.read(self.into, 1 << 20) if ready else b""
            if not chunk:
                raise TimeoutError(f"{CHROMIUM} does not respond")
            self.buffer += chunk
        message, _, self.buffer = self.buffer.partition(b"\0")
        return json.loads(message)

    def open(self, page: Path) -> None:
        """Open a page in a new tab, and wait until it is loaded."""
        self.session, self.events = None, []
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        self.session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Network", "Log", "Runtime"):
            self.call(f"{domain}.enable")
        self.call("Page.navigate", url=page.as_uri())
        while not any(event.get("method") == "Page.loadEventFired" for event in self.events):
            self.events.append(self.read())

    def evaluate(self, expression: str) -> Any:
        """Return the value of a JavaScript expression on the page."""
        reply = self.call("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in reply, reply
        return reply["result"].get("value")

    def press(self, key: str, code: int, text: str = "") -> None:
        """Press and release a key."""
        event = {"key": key, "code": key, "windowsVirtualKeyCode": code}
        self.call("Input.dispatchKeyEvent", type="keyDown", text=text, **event)
        self.call("Input.dispatchKeyEvent", type="keyUp", **event)

    def click(self, expression: str) -> None:
        """Click the centre of the element that the expression returns."""
        position = self.evaluate(
            f"(() => {{ const e = {expression}; e.scrollIntoView({{block: 'center'}}); const r ="
            " e.getBoundingClientRect(); return [r.x + r.width / 2, r.y + r.height / 2]; })()"
        )
        for kind in ("mousePressed", "mouseReleased"):
            self.call("Input.dispatchMouseEvent", type=kind, x=position[0], y=position[1], button="left", clickCount=1)

    def events_of(self, method: str) -> list[dict[str, Any]]:
        """Return the events of one kind since the page was opened."""
        self.evaluate("new Promise((done) => setTimeout(done, 50))")
        return [event["params"] for event in self.events if event.get("method") == method]

    def column(self, index: int) -> list[str]:
        """Return the texts of a column of the first table, from the top."""
        return self.evaluate(
            f"[...document.querySelector('table').tBodies[0].rows].map(r => r.cells[{index}].textContent)"
        )


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    browser = Browser(tmp_path_factory.mktemp("profile"))
    try:
        try:
            browser.call("Browser.getVersion")
        except (BrokenPipeError, TimeoutError) as error:  # some distributions ship a stub of that name
            pytest.skip(f"{CHROMIUM} does not start: {error}")
        yield browser
    finally:
        browser.process.terminate()
        browser.process.wait(30)


@pytest.fixture
def page(browser: Browser, tmp_path: Path) -> Browser:
    """The report of four arms, open in the browser."""
    rows = (
        (Cell("hinge"), Cell("9.50", 9.5, best=True), Cell("5")),
        (Cell("minimax"), Cell("100", 100.0), Cell("3")),
        (Cell("least_squares"), Cell("none", float("nan"), note="Every run failed."), Cell("5")),
        (Cell("<script>alert(1)</script>"), Cell("20.1", 20.1), Cell("3")),
    )
    sheet = Sheet("Scores", ("arm", "fid_10k_train", "seeds"), rows)
    differences = Sheet("Differences", ("key", "hinge", "minimax"), ((Cell("a.b"), Cell("1"), Cell("2")),))
    report = Report("Four arms", ("Lead.",), (sheet,), (Picture("p", "A pixel.", PIXEL),), differences, {"a": "b"})
    path = tmp_path / "report.html"
    path.write_text(to_html(report), encoding="utf-8")
    browser.open(path)
    return browser


def test_a_report_shows_its_parts_and_executes_no_text(page: Browser) -> None:
    assert page.evaluate("document.querySelector('h1').textContent") == "Four arms"
    assert page.column(0)[3] == "<script>alert(1)</script>"
    assert page.evaluate("document.querySelector('img').naturalWidth") == 1
    assert page.evaluate("[...document.querySelectorAll('nav a')].every(a => document.querySelector(a.hash))")


def test_a_report_sends_no_request_and_logs_nothing_to_the_console(page: Browser) -> None:
    page.click("document.querySelector('th button')")
    schemes = [request["request"]["url"].split(":")[0] for request in page.events_of("Network.requestWillBeSent")]
    assert sorted(set(schemes)) == ["data", "file"]
    assert schemes.count("file") == 1
    for method in (
        "Log.entryAdded",
        "Runtime.exceptionThrown",
        "Runtime.consoleAPICalled",
        "Page.javascriptDialogOpening",
    ):
        assert page.events_of(method) == []


def test_the_policy_blocks_every_fetch(page: Browser) -> None:
    fetched = "fetch('http://127.0.0.1:9/').then(() => 'fetched', () => 'refused')"
    assert page.evaluate(fetched) == "refused"
    refusals = [entry["entry"]["text"] for entry in page.events_of("Log.entryAdded")]
    refusals += [str(call["args"]) for call in page.events_of("Runtime.consoleAPICalled")]
    assert any("Content Security Policy" in text for text in refusals)


def test_a_click_on_a_header_sorts_by_number_and_a_second_one_reverses(page: Browser) -> None:
    head = "document.querySelectorAll('table')[0].tHead.rows[0].cells[1]"
    assert page.evaluate(f"{head}.getAttribute('aria-sort')") == "none"
    page.click(f"{head}.querySelector('button')")
    assert page.column(1) == ["9.50", "20.1", "100", "nonea"]
    assert page.evaluate(f"{head}.getAttribute('aria-sort')") == "ascending"
    page.click(f"{head}.querySelector('button')")
    assert page.column(1) == ["100", "20.1", "9.50", "nonea"], "a cell without a number is last in both directions"
    assert page.evaluate(f"{head}.getAttribute('aria-sort')") == "descending"
    assert page.evaluate("document.querySelectorAll('[aria-sort=descending]').length") == 1


def test_ties_keep_the_order_of_the_previous_sort(page: Browser) -> None:
    page.click("document.querySelectorAll('th button')[0]")
    page.click("document.querySelectorAll('th button')[2]")
    assert page.column(0) == ["<script>alert(1)</script>", "minimax", "hinge", "least_squares"]


def test_the_keyboard_sorts_as_the_mouse_does(page: Browser) -> None:
    page.evaluate("document.querySelectorAll('th button')[1].focus()")
    page.press("Enter", 13, "\r")
    assert page.column(1) == ["9.50", "20.1", "100", "nonea"]
    page.press(" ", 32, " ")
    assert page.column(1) == ["100", "20.1", "9.50", "nonea"]


def test_a_picture_opens_at_full_size_by_a_click_and_closes_by_escape(page: Browser) -> None:
    assert not page.evaluate("document.querySelector('.zoom').open")
    page.click("document.querySelector('.zoom img')")
    assert page.evaluate("document.querySelector('.zoom').open")
    page.press("Escape", 27)
    assert not page.evaluate("document.querySelector('.zoom').open")


def test_text_is_legible_in_both_colour_schemes(page: Browser) -> None:
    shade = "getComputedStyle(document.body)[name].match(/\\d+/g).slice(0, 3).reduce((a, b) => a + +b, 0)"
    for scheme, lighter in (("light", "backgroundColor"), ("dark", "color")):
        page.call("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])
        ink, paper = (page.evaluate(f"((name) => {shade})('{name}')") for name in ("color", "backgroundColor"))
        assert (paper > ink) == (lighter == "backgroundColor")
        assert abs(paper - ink) > 500
    page.call("Emulation.setEmulatedMedia", features=[])
