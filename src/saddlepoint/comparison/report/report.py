"""The report of a comparison: one HTML file that opens anywhere, offline, and asks nothing of the net.

Style, script and pictures are inside; a content security policy forbids the browser to fetch what is not.  Without
scripts it is the same page, but its tables do not sort.
"""

from __future__ import annotations

import base64
import math
import struct
from collections.abc import Mapping, Sequence
from html import escape
from importlib.resources import files
from string import Template
from typing import Any

from saddlepoint.comparison.report.sheet import Cell, Picture, Report, Sheet

POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src 'unsafe-inline'"
SCREEN = 96  # CSS pixels per inch
COMPARED = "What was compared"
DRAWN = 150  # dots per inch of a picture

PAGE = Template("""\
<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="$policy">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>$title</title>
<style>
$style</style>
</head>
<body>
<header>
<h1>$title</h1>
$answers
<nav aria-label="Parts of this report">
$contents
</nav>
</header>
<main>
$body
</main>
<script>
$script</script>
</body>
</html>
""")


def html(report: Report) -> str:
    """The report as one self-contained page; every text in it is shown as it stands, never read as markup."""
    parts = _parts(report)
    answers = "".join(f"<li>{escape(sentence)}</li>" for sentence in report.answers)
    return PAGE.substitute(
        policy=escape(POLICY),
        title=escape(report.title),
        style=_resource("report.css"),
        script=_resource("report.js"),
        answers=f'<ul class="answers">{answers}</ul>' if answers else "",
        contents="\n".join(f'<a href="#part{i}">{escape(name)}</a>' for i, (name, _) in enumerate(parts, 1)),
        body="\n".join(f'<section id="part{i}">\n{part}\n</section>' for i, (_, part) in enumerate(parts, 1)),
    )


def _parts(report: Report) -> list[tuple[str, str]]:
    """The name and the markup of each part that has something to show."""
    parts = [("Pictures", _gallery(report.pictures))] if report.pictures else []
    parts += [(sheet.heading, _sheet(sheet)) for sheet in report.sheets if not (sheet.wide or sheet.exploratory)]
    if report.lead:
        parts.append((COMPARED, _lead(report.lead)))
    parts += [(sheet.heading, _sheet(sheet)) for sheet in report.sheets if sheet.wide or sheet.exploratory]
    if report.differences.rows:
        parts.append((report.differences.heading, _sheet(report.differences)))
    if report.details:
        parts.append(("Details", _details(report.details)))
    return parts


def _lead(sentences: Sequence[str]) -> str:
    said = "\n".join(f"<p>{escape(sentence)}</p>" for sentence in sentences)
    return f'<h2>{COMPARED}</h2>\n<div class="lead">\n{said}\n</div>'


def _resource(name: str) -> str:
    return files("saddlepoint.comparison.report").joinpath(name).read_text(encoding="utf-8")


def _sheet(sheet: Sheet) -> str:
    marks = sheet.marks
    kinds = [' class="number"' if sheet.numeric(column) else "" for column in range(len(sheet.columns))]
    heads = [f'<th scope="col"{kind}>{escape(name)}</th>' for name, kind in zip(sheet.columns, kinds, strict=True)]
    rows = [f"<tr>{_row(row, kinds, marks)}</tr>" for row in sheet.rows]
    told = " <em>exploratory</em>" if sheet.exploratory else ""
    notes = [f"<sup>{mark}</sup> {escape(note)}" for note, mark in marks.items()] + [*map(escape, sheet.notes)]
    lines = [
        # what scrolls must be within reach of the keyboard
        f'<div class="wide" role="region" tabindex="0" aria-label="{escape(sheet.heading)}">',
        "<table>",
        f"<caption><h2>{escape(sheet.title)}{told}</h2></caption>",
        f"<thead><tr>{''.join(heads)}</tr></thead>",
        "<tbody>",
        *rows,
        "</tbody>",
        "</table>",
        "</div>",
        *([f'<ul class="notes">{"".join(f"<li>{note}</li>" for note in notes)}</ul>'] if notes else []),
    ]
    return "\n".join(lines)


def _row(row: Sequence[Cell], kinds: Sequence[str], marks: Mapping[str, str]) -> str:
    """The cells of a row; the first one names it."""
    tags = ['th scope="row"', *["td"] * (len(row) - 1)]
    return "".join(
        f"<{tag}{kind}{_order(cell)}>{_shown(cell, marks)}</{tag[:2]}>"
        for tag, kind, cell in zip(tags, kinds, row, strict=True)
    )


def _shown(cell: Cell, marks: Mapping[str, str]) -> str:
    text = f"<strong>{escape(cell.text)}</strong>" if cell.best else escape(cell.text)
    return text if cell.note is None else f"{text}<sup>{marks[cell.note]}</sup>"


def _order(cell: Cell) -> str:
    """The attribute that the script sorts by, in JavaScript's spelling of numbers; the text serves where it is absent.

    A note's letter is part of the text that a script sees, so a cell with a note always says its order.
    """
    if cell.number is not None:
        number = cell.number
        spelt = repr(number) if math.isfinite(number) else f"{'-' if number < 0 else ''}Infinity"
        return f' data-order="{spelt}"'
    if cell.order is None and cell.note is None:
        return ""
    if cell.order is None:
        return f' data-order="{escape(cell.text)}"'
    return f' data-order="{escape(cell.order)}"' if isinstance(cell.order, str) else ' data-order="NaN"'


def _gallery(pictures: Sequence[Picture]) -> str:
    """Every picture with its caption; a click, or Enter, shows it at its full size."""
    figures = "\n".join(_figure(picture) for picture in pictures)
    return f'<h2>Pictures</h2>\n<div class="gallery">\n{figures}\n</div>'


def _figure(picture: Picture) -> str:
    data = base64.b64encode(picture.png).decode("ascii")
    image = f'<img alt="{escape(picture.caption)}"{_size(picture.png)} src="data:image/png;base64,{data}">'
    zoom = f'<details class="zoom" data-name="{escape(picture.name)}"><summary>{image}</summary></details>'
    return f"<figure>\n{zoom}\n<figcaption>{escape(picture.caption)}</figcaption>\n</figure>"


def _size(png: bytes) -> str:
    """Width and height in CSS pixels, as drawn on paper, from the PNG's first chunk; nothing for other bytes."""
    if png[:8] != b"\x89PNG\r\n\x1a\n" or len(png) < 24:
        return ""
    width, height = (round(side * SCREEN / DRAWN) for side in struct.unpack(">II", png[16:24]))
    return f' width="{width}" height="{height}"'


def _details(details: Mapping[str, Any]) -> str:
    return f'<details class="facts"><summary>Details</summary>\n{_fact(details)}\n</details>'


def _fact(value: Any) -> str:
    """A mapping as a list of terms, a sequence as a list, anything else as its text; to any depth."""
    if isinstance(value, Mapping) and value:
        terms = "".join(f"<dt>{escape(str(key))}</dt><dd>{_fact(part)}</dd>" for key, part in value.items())
        return f"<dl>{terms}</dl>"
    if isinstance(value, (list, tuple)) and value:
        return f"<ul>{''.join(f'<li>{_fact(part)}</li>' for part in value)}</ul>"
    return escape(str(value))
