"""A report as a person meets it: in Debian's Chromium, spoken to over its DevTools pipe (no dependency, no port)."""

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
    """A page of a headless Chromium; messages are JSON, each ended by a zero byte (Chrome DevTools Protocol)."""

    def __init__(self, profile: Path) -> None:
        (theirs_in, self.out), (self.into, theirs_out) = os.pipe(), os.pipe()
        # away from 3 and 4, which they will be in the browser
        high = [fcntl.fcntl(end, fcntl.F_DUPFD, 20) for end in (theirs_in, theirs_out)]
        shell = f'exec "$@" 3<&{high[0]} 4>&{high[1]}'
        command = ["bash", "-c", shell, "bash", str(CHROMIUM), *OPTIONS, f"--user-data-dir={profile}", "about:blank"]
        self.process = subprocess.Popen(command, pass_fds=high, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
        for end in (theirs_in, theirs_out, *high):
            os.close(end)
        self.events: list[dict[str, Any]] = []
        self.number, self.session, self.rest = 0, None, b""

    def call(self, method: str, **params: Any) -> dict[str, Any]:
        """The result of one command; what happened meanwhile is added to the events."""
        self.number += 1
        session = {} if self.session is None else {"sessionId": self.session}
        message = {"id": self.number, "method": method, "params": params, **session}
        os.write(self.out, json.dumps(message).encode() + b"\0")
        while (answer := self.read()).get("id") != self.number:
            self.events.append(answer)
        assert "error" not in answer, f"{method}: {answer['error']}"
        return answer["result"]

    def read(self, seconds: float = 60) -> dict[str, Any]:
        end = time.monotonic() + seconds
        while b"\0" not in self.rest:
            ready, _, _ = select.select([self.into], [], [], max(0, end - time.monotonic()))
            part = os.read(self.into, 1 << 20) if ready else b""
            if not part:
                raise TimeoutError(f"{CHROMIUM} does not answer")
            self.rest += part
        message, _, self.rest = self.rest.partition(b"\0")
        return json.loads(message)

    def open(self, page: Path) -> None:
        """Show a page, in a tab of its own, and wait until it is loaded."""
        self.session, self.events = None, []
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        self.session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Network", "Log", "Runtime"):
            self.call(f"{domain}.enable")
        self.call("Page.navigate", url=page.as_uri())
        while not any(event.get("method") == "Page.loadEventFired" for event in self.events):
            self.events.append(self.read())

    def ask(self, expression: str) -> Any:
        """What a JavaScript expression is worth on the page."""
        answer = self.call("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in answer, answer
        return answer["result"].get("value")

    def press(self, key: str, code: int, text: str = "") -> None:
        """A key goes down and up, as from a keyboard."""
        about = {"key": key, "code": key, "windowsVirtualKeyCode": code}
        self.call("Input.dispatchKeyEvent", type="keyDown", text=text, **about)
        self.call("Input.dispatchKeyEvent", type="keyUp", **about)

    def click(self, expression: str) -> None:
        """A mouse button goes down and up over the middle of the element that the expression names."""
        where = self.ask(
            f"(() => {{ const e = {expression}; e.scrollIntoView({{block: 'center'}}); const r ="
            " e.getBoundingClientRect(); return [r.x + r.width / 2, r.y + r.height / 2]; })()"
        )
        for kind in ("mousePressed", "mouseReleased"):
            self.call("Input.dispatchMouseEvent", type=kind, x=where[0], y=where[1], button="left", clickCount=1)

    def of(self, method: str) -> list[dict[str, Any]]:
        """What was told of one kind since the page was opened."""
        self.ask("new Promise((done) => setTimeout(done, 50))")
        return [event["params"] for event in self.events if event.get("method") == method]

    def column(self, index: int) -> list[str]:
        """The texts of a column of the first table, downwards."""
        return self.ask(f"[...document.querySelector('table').tBodies[0].rows].map(r => r.cells[{index}].textContent)")


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    browser = Browser(tmp_path_factory.mktemp("profile"))
    try:
        try:
            browser.call("Browser.getVersion")
        except (BrokenPipeError, TimeoutError) as error:  # some distributions leave a stub of that name
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


def test_a_report_shows_its_parts_and_runs_no_text_as_code(page: Browser) -> None:
    assert page.ask("document.querySelector('h1').textContent") == "Four arms"
    assert page.column(0)[3] == "<script>alert(1)</script>"
    assert page.ask("document.querySelector('img').naturalWidth") == 1
    assert page.ask("[...document.querySelectorAll('nav a')].every(a => document.querySelector(a.hash))")


def test_a_report_asks_nothing_of_the_net_and_says_nothing_on_the_console(page: Browser) -> None:
    page.click("document.querySelector('th button')")
    asked = [request["request"]["url"].split(":")[0] for request in page.of("Network.requestWillBeSent")]
    assert sorted(set(asked)) == ["data", "file"]
    assert asked.count("file") == 1
    for told in (
        "Log.entryAdded",
        "Runtime.exceptionThrown",
        "Runtime.consoleAPICalled",
        "Page.javascriptDialogOpening",
    ):
        assert page.of(told) == []


def test_the_policy_refuses_whatever_would_be_fetched(page: Browser) -> None:
    fetched = "fetch('http://127.0.0.1:9/').then(() => 'fetched', () => 'refused')"
    assert page.ask(fetched) == "refused"
    refusals = [entry["entry"]["text"] for entry in page.of("Log.entryAdded")]
    refusals += [str(call["args"]) for call in page.of("Runtime.consoleAPICalled")]
    assert any("Content Security Policy" in text for text in refusals)


def test_a_click_on_a_header_sorts_by_number_and_the_next_one_turns_it_round(page: Browser) -> None:
    head = "document.querySelectorAll('table')[0].tHead.rows[0].cells[1]"
    assert page.ask(f"{head}.getAttribute('aria-sort')") == "none"
    page.click(f"{head}.querySelector('button')")
    assert page.column(1) == ["9.50", "20.1", "100", "nonea"]
    assert page.ask(f"{head}.getAttribute('aria-sort')") == "ascending"
    page.click(f"{head}.querySelector('button')")
    assert page.column(1) == ["100", "20.1", "9.50", "nonea"], "what is no number stands last either way"
    assert page.ask(f"{head}.getAttribute('aria-sort')") == "descending"
    assert page.ask("document.querySelectorAll('[aria-sort=descending]').length") == 1


def test_ties_keep_the_order_that_an_earlier_sort_gave(page: Browser) -> None:
    page.click("document.querySelectorAll('th button')[0]")
    page.click("document.querySelectorAll('th button')[2]")
    assert page.column(0) == ["<script>alert(1)</script>", "minimax", "hinge", "least_squares"]


def test_the_keyboard_sorts_as_the_mouse_does(page: Browser) -> None:
    page.ask("document.querySelectorAll('th button')[1].focus()")
    page.press("Enter", 13, "\r")
    assert page.column(1) == ["9.50", "20.1", "100", "nonea"]
    page.press(" ", 32, " ")
    assert page.column(1) == ["100", "20.1", "9.50", "nonea"]


def test_a_picture_opens_at_full_size_by_a_click_and_closes_by_escape(page: Browser) -> None:
    assert not page.ask("document.querySelector('.zoom').open")
    page.click("document.querySelector('.zoom img')")
    assert page.ask("document.querySelector('.zoom').open")
    page.press("Escape", 27)
    assert not page.ask("document.querySelector('.zoom').open")


def test_both_colour_schemes_leave_text_legible(page: Browser) -> None:
    shade = "getComputedStyle(document.body)[name].match(/\\d+/g).slice(0, 3).reduce((a, b) => a + +b, 0)"
    for scheme, lighter in (("light", "backgroundColor"), ("dark", "color")):
        page.call("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])
        ink, paper = (page.ask(f"((name) => {shade})('{name}')") for name in ("color", "backgroundColor"))
        assert (paper > ink) == (lighter == "backgroundColor")
        assert abs(paper - ink) > 500
    page.call("Emulation.setEmulatedMedia", features=[])
