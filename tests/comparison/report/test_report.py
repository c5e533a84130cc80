"""The HTML report is one well-formed file that fetches nothing and escapes all text."""

from __future__ import annotations

import base64
import re
from dataclasses import replace
from html.parser import HTMLParser

import pytest

from saddlepoint.comparison.report.markup import POLICY, to_html
from saddlepoint.comparison.report.sheet import Cell, Picture, Report, Sheet

EVIL = "</script></td><script>alert('x')</script>\"&'"
VOID = {"meta", "img"}


class Page(HTMLParser):
    """Collects every element with its attributes and every text; asserts that all tags are balanced."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.stack: list[str] = []
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.texts: dict[str, list[str]] = {}
        self.feed(text)
        self.close()
        assert self.stack == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert len(dict(attrs)) == len(attrs), f"{tag} repeats an attribute"
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self.stack.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.stack.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.stack and data.strip():
            self.texts.setdefault(self.stack[-1], []).append(data)

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.elements if name == tag]


def sheet(title: str = "Scores", **more) -> Sheet:
    rows = (
        (Cell("hinge"), Cell("9.50", 9.5, best=True)),
        (Cell("minimax"), Cell("none", float("nan"), note="Failed.")),
    )
    return Sheet(title, ("arm", "fid"), rows, **more)


def report() -> Report:
    picture = Picture("seeds", "Every seed.", b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR\0\0\x01\x2c\0\0\0\x96" + b"\0" * 9)
    details = {"contract": {"metric": "fid", "n": 10_000}, "commits": ["abc", "def"], "empty": {}}
    return Report("Two arms", ("One.", "Two."), (sheet(),), (picture,), sheet("Differences"), details)


def test_every_tag_is_closed_and_every_part_exists() -> None:
    page = Page(to_html(report()))
    assert page.texts["h1"] == page.texts["title"] == ["Two arms"]
    assert page.texts["p"] == ["One.", "Two."]
    assert page.texts["a"] == ["Pictures", "Scores", "What was compared", "Differences", "Details"]
    assert {f"#{section['id']}" for section in page.all("section")} == {link["href"] for link in page.all("a")}
    assert {"contract", "commits", "empty"} <= set(page.texts["dt"])
    assert {"abc", "def"} <= set(page.texts["li"])


def test_the_file_references_no_external_resource() -> None:
    text = to_html(report())
    assert not re.search(r"https?://|//\w|@import|url\(", re.sub(r"//.*", "", text[text.index("<script>") :]))
    assert not re.search(r"https?://|@import|url\(", text[: text.index("<script>")])
    page = Page(text)
    assert not page.all("link")
    assert not any("src" in script for script in page.all("script"))
    assert all((image["src"] or "").startswith("data:image/png;base64,") for image in page.all("img"))
    assert page.all("meta")[1] == {"http-equiv": "Content-Security-Policy", "content": POLICY}
    assert POLICY.startswith("default-src 'none';")


def test_every_text_is_escaped() -> None:
    cell = Cell(EVIL, EVIL, note=EVIL)
    evil = Sheet(EVIL, (EVIL,), ((cell,),), notes=(EVIL,), exploratory=True)
    page = Page(to_html(Report(EVIL, (EVIL,), (evil,), (Picture(EVIL, EVIL, b""),), evil, {EVIL: {EVIL: [EVIL]}})))
    assert len(page.all("script")) == 1
    for tag in ("title", "h1", "p", "a", "h2", "th", "li", "figcaption", "dt"):
        assert any(EVIL in text for text in page.texts[tag]), tag
    assert page.all("img")[0]["alt"] == EVIL
    assert page.all("th")[1]["data-order"] == EVIL


@pytest.mark.parametrize(
    ("cell", "order"),
    [
        (Cell("9.50", 9.5), "9.5"),
        (Cell("5/5", 5), "5"),
        (Cell("diverged", float("inf")), "Infinity"),
        (Cell("best", float("-inf")), "-Infinity"),
        (Cell("?", float("nan")), "NaN"),
        (Cell("March", "03"), "03"),
        (Cell("plain"), None),
        (Cell("plain", note="a note"), "plain"),
    ],
)
def test_a_cell_has_its_sort_key_in_javascript_notation(cell: Cell, order: str | None) -> None:
    one = Sheet("One", ("arm", "value"), ((Cell("a"), cell),))
    assert Page(to_html(replace(report(), sheets=(one,)))).all("td")[0].get("data-order") == order


def test_headers_have_scopes_and_pictures_have_texts_and_sizes() -> None:
    page = Page(to_html(report()))
    assert [head["scope"] for head in page.all("th")] == ["col", "col", "row", "row"] * 2
    picture = page.all("img")[0]
    assert picture["alt"] == "Every seed."
    assert (picture["width"], picture["height"]) == ("192", "96"), (
        "300 x 150 dots at 150 dpi, in CSS pixels of 1/96 inch"
    )
    assert base64.b64decode((picture["src"] or "").split(",")[1]) == report().pictures[0].png


def test_empty_parts_are_left_out() -> None:
    empty = Report("None", (), (), (), Sheet("Differences", ("key",), ()))
    page = Page(to_html(empty))
    assert not page.all("table")
    assert not page.all("section")


def test_an_exploratory_sheet_is_marked() -> None:
    assert Page(to_html(replace(report(), sheets=(sheet(exploratory=True),)))).texts["em"] == ["exploratory"]
    assert "em" not in Page(to_html(report())).texts
