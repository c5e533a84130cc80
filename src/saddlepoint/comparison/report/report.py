"""The report of a comparison: one HTML file that opens anywhere, offline, and asks nothing of the net.

Style, script and pictures are inside; a content security policy forbids the browser to fetch what is not.  Without
scripts it is the same page, but its tables do not sort.
"""

from __future__ import annotations

import base64
import math
import struct
from typing import Any

from saddlepoint.comparison.report.sheet import Cell, Report
from saddlepoint.template import render

POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src 'unsafe-inline'"
SCREEN = 96  # CSS pixels per inch
DRAWN = 150  # dots per inch of a picture


def html(report: Report) -> str:
    """The report as one self-contained page; every text in it is shown as it stands, never read as markup."""
    return render(
        "comparison/report/report.html.j2",
        report=report,
        parts=_parts(report),
        policy=POLICY,
        ordered=_order,
        encoded=lambda png: base64.b64encode(png).decode("ascii"),
        sides=_sides,
    )


def _parts(report: Report) -> list[tuple[str, str, Any]]:
    """The name, the kind and the content of each part that has something to show."""
    parts = [
        ("Pictures", "gallery", report.pictures),
        *((sheet.heading, "table", sheet) for sheet in report.sheets if not sheet.beside),
        ("What was compared", "lead", report.lead),
        *((sheet.heading, "table", sheet) for sheet in report.sheets if sheet.beside),
        (report.differences.heading, "table", report.differences if report.differences.rows else None),
        ("Details", "facts", report.details),
    ]
    return [part for part in parts if part[2]]


def _order(cell: Cell) -> str | None:
    """What the script sorts by, in JavaScript's spelling of numbers; None where the cell's text serves.

    A note's letter is part of the text that a script sees, so a cell with a note always says its order.
    """
    if (number := cell.number) is not None:
        return repr(number) if math.isfinite(number) else f"{'-' if number < 0 else ''}Infinity"
    if cell.order is None:
        return None if cell.note is None else cell.text
    return cell.order if isinstance(cell.order, str) else "NaN"


def _sides(png: bytes) -> dict[str, int]:
    """Width and height in CSS pixels, as drawn on paper, from the PNG's first chunk; nothing for other bytes."""
    if png[:8] != b"\x89PNG\r\n\x1a\n" or len(png) < 24:
        return {}
    width, height = (round(side * SCREEN / DRAWN) for side in struct.unpack(">II", png[16:24]))
    return {"width": width, "height": height}
