"""A sheet as Markdown (pipe tables), LaTeX (booktabs) and CSV (RFC 4180); a report as HTML.

The page is one self-contained file that works offline: style, script and pictures are inline, and a content security
policy forbids the browser to fetch anything else. Without scripts it is the same page, but its tables do not sort.
"""

import base64
import csv
import io
import math
import re
import struct
from collections.abc import Iterable
from itertools import chain
from typing import Any

from saddlepoint.comparison.report.sheet import Cell, Report, Sheet
from saddlepoint.template import render_template

POLICY = "default-src 'none'; img-src data:; media-src data:; style-src 'unsafe-inline'; script-src 'unsafe-inline'"
CSS_DPI = 96  # CSS pixels per inch
PICTURE_DPI = 150  # dots per inch of a picture
MATHEMATICS = {
    "\u2212": "-", "±": r"\pm", "×": r"\times", "·": r"\cdot", "²": "^{2}", "∞": r"\infty", "†": r"\dagger",
    "≤": r"\le", "≥": r"\ge", "≠": r"\ne", "≈": r"\approx",
    "→": r"\rightarrow", "←": r"\leftarrow", "↑": r"\uparrow", "↓": r"\downarrow",
    "Δ": r"\Delta", "α": r"\alpha", "β": r"\beta", "λ": r"\lambda", "μ": r"\mu", "σ": r"\sigma",
}  # fmt: skip
LATEX = {
    **{ord(sign): f"\\{sign}" for sign in "&%$#_{}"},
    ord("\\"): r"\textbackslash{}",
    ord("~"): r"\textasciitilde{}",
    ord("^"): r"\textasciicircum{}",
    ord("<"): r"\textless{}",
    ord(">"): r"\textgreater{}",
    ord("|"): r"\textbar{}",
    ord('"'): "''",  # \textquotedbl needs another font encoding
    ord("\u200b"): "{}",  # a zero-width space, which keeps two hyphens from becoming a dash
    # a bracket at the start of a row would be parsed as the argument of the \\ before it
    ord("["): "{[}",
    ord("]"): "{]}",
    ord("\u2013"): "--",
    ord("\u2014"): "---",
    ord("\u2026"): r"\ldots{}",
    **{ord(sign): f"${name}$" for sign, name in MATHEMATICS.items()},
}


def to_markdown(sheet: Sheet) -> str:
    """Return a heading, a pipe table and its notes; the best cells are bold."""
    return render_template("comparison/report/sheet.md.j2", sheet=sheet)


def to_latex(sheet: Sheet) -> str:
    r"""Return a table environment for `\usepackage{booktabs}`; the best cells are bold, notes are below the rule."""
    marks = sheet.note_letters
    alignment = "".join("r" if numeric else "l" for numeric in sheet.numeric_columns)
    notes = [f"$^{{{mark}}}$ {_escape_latex(note)}" for note, mark in marks.items()]
    notes += map(_escape_latex, sheet.notes)
    lines = [
        r"\begin{table}",
        r"  \centering\footnotesize\setlength{\tabcolsep}{4pt}",
        rf"  \caption{{{_escape_latex(sheet.heading)}}}",
        rf"  \begin{{tabular}}{{{alignment}}}",
        r"    \toprule",
        _latex_row(map(_escape_latex, sheet.columns)),
        r"    \midrule",
        *(_latex_row(_latex_cell(cell, marks) for cell in row) for row in sheet.rows),
        r"    \bottomrule",
        r"  \end{tabular}",
        *chain.from_iterable((r"  \par\smallskip", rf"  {{\footnotesize {note}}}") for note in notes),
        r"\end{table}",
    ]
    return "\n".join(lines) + "\n"


def to_csv(sheet: Sheet) -> str:
    """Return the column names, then a line per row: the unrounded number of a cell if it has one, else its text."""
    out = io.StringIO(newline="")
    writer = csv.writer(out)
    writer.writerow(sheet.columns)
    writer.writerows([cell.text if cell.number is None else repr(cell.number) for cell in row] for row in sheet.rows)
    return out.getvalue()


def _escape_latex(text: str) -> str:
    return re.sub(r"-(?=-)", "-\u200b", " ".join(text.split())).translate(LATEX)


def _latex_cell(cell: Cell, marks: dict[str, str]) -> str:
    text = _escape_latex(cell.text)
    bold = rf"\textbf{{{text}}}" if cell.best and text else text
    return bold if cell.note is None else f"{bold}$^{{{marks[cell.note]}}}$"


def _latex_row(cells: Iterable[str]) -> str:
    return "    " + " & ".join(cells) + r" \\"


def to_html(report: Report) -> str:
    """Return the report as one self-contained page; all text is escaped."""
    return render_template(
        "comparison/report/report.html.j2",
        report=report,
        parts=_page_parts(report),
        policy=POLICY,
        sort_key=javascript_sort_key,
        base64=lambda content: base64.b64encode(content).decode("ascii"),
        css_size=_css_size,
    )


def _page_parts(report: Report) -> list[tuple[str, str, Any]]:
    """Return the name, kind and content of each part that is not empty."""
    parts = [
        ("Pictures", "gallery", report.pictures),
        ("Sounds", "players", report.sounds),
        *((sheet.heading, "table", sheet) for sheet in report.sheets if not sheet.is_secondary),
        ("What was compared", "overview", report.overview),
        *((sheet.heading, "table", sheet) for sheet in report.sheets if sheet.is_secondary),
        (report.differences.heading, "table", report.differences if report.differences.rows else None),
        ("Details", "facts", report.details),
    ]
    return [part for part in parts if part[2]]


def javascript_sort_key(cell: Cell) -> str | None:
    """Return the sort key for the script, with numbers in JavaScript's notation; None if it is the cell's text.

    The script would read a note's letter as part of the text, so a cell with a note always has a sort key.
    """
    if (number := cell.number) is not None:
        return repr(number) if math.isfinite(number) else f"{'-' if number < 0 else ''}Infinity"
    if cell.sort_key is None:
        return None if cell.note is None else cell.text
    return cell.sort_key if isinstance(cell.sort_key, str) else "NaN"


def _css_size(png: bytes) -> dict[str, int]:
    """Return width and height in CSS pixels at the drawn size, from the PNG's first chunk; {} for other bytes."""
    if png[:8] != b"\x89PNG\r\n\x1a\n" or len(png) < 24:
        return {}
    width, height = (round(dots * CSS_DPI / PICTURE_DPI) for dots in struct.unpack(">II", png[16:24]))
    return {"width": width, "height": height}
