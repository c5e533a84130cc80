"""A sheet as text for other programs: Markdown (pipe tables), LaTeX (booktabs) and CSV (RFC 4180)."""

from __future__ import annotations

import csv as comma_separated
import io
import re
from collections.abc import Iterable
from itertools import chain

from saddlepoint.comparison.report.sheet import Cell, Sheet
from saddlepoint.template import render

LATEX = {
    **{ord(sign): f"\\{sign}" for sign in "&%$#_{}"},
    ord("\\"): r"\textbackslash{}",
    ord("~"): r"\textasciitilde{}",
    ord("^"): r"\textasciicircum{}",
    ord("<"): r"\textless{}",
    ord(">"): r"\textgreater{}",
    ord("|"): r"\textbar{}",
    ord('"'): "''",  # \textquotedbl asks for another font encoding
    ord("\u200b"): "{}",  # a space of no width: keeps two hyphens from becoming a dash
    # a bracket at the start of a row would be read as the argument of the \\ before it
    ord("["): "{[}",
    ord("]"): "{]}",
    ord("\u2013"): "--",
    ord("\u2014"): "---",
    ord("\u2026"): r"\ldots{}",
    **{
        ord(sign): f"${name}$"
        for sign, name in {
            "±": r"\pm",
            "\u2212": "-",
            "×": r"\times",
            "·": r"\cdot",
            "≤": r"\le",
            "≥": r"\ge",
            "≠": r"\ne",
            "≈": r"\approx",
            "∞": r"\infty",
            "→": r"\rightarrow",
            "←": r"\leftarrow",
            "↑": r"\uparrow",
            "↓": r"\downarrow",
            "²": "^{2}",
            "Δ": r"\Delta",
            "α": r"\alpha",
            "β": r"\beta",
            "λ": r"\lambda",
            "μ": r"\mu",
            "σ": r"\sigma",
            "†": r"\dagger",
        }.items()
    },
}


def markdown(sheet: Sheet) -> str:
    """A heading, a pipe table and its notes; the best cells are bold."""
    return render("comparison/report/sheet.md.j2", sheet=sheet)


def latex(sheet: Sheet) -> str:
    r"""A table environment for `\usepackage{booktabs}`; the best cells are bold, notes stand below the rule."""
    marks = sheet.marks
    alignment = "".join("r" if numeric else "l" for numeric in sheet.numeric)
    notes = [f"$^{{{mark}}}$ {_latex(note)}" for note, mark in marks.items()] + [*map(_latex, sheet.notes)]
    lines = [
        r"\begin{table}",
        r"  \centering\footnotesize\setlength{\tabcolsep}{4pt}",
        rf"  \caption{{{_latex(sheet.heading)}}}",
        rf"  \begin{{tabular}}{{{alignment}}}",
        r"    \toprule",
        _latex_row(map(_latex, sheet.columns)),
        r"    \midrule",
        *(_latex_row(_latex_cell(cell, marks) for cell in row) for row in sheet.rows),
        r"    \bottomrule",
        r"  \end{tabular}",
        *chain.from_iterable((r"  \par\smallskip", rf"  {{\footnotesize {note}}}") for note in notes),
        r"\end{table}",
    ]
    return "\n".join(lines) + "\n"


def csv(sheet: Sheet) -> str:
    """Column names, then a line per row: a number unrounded where a cell is ordered by one, else its text."""
    out = io.StringIO(newline="")
    writer = comma_separated.writer(out)
    writer.writerow(sheet.columns)
    writer.writerows([cell.text if cell.number is None else repr(cell.number) for cell in row] for row in sheet.rows)
    return out.getvalue()


def _latex(text: str) -> str:
    return re.sub(r"-(?=-)", "-\u200b", " ".join(text.split())).translate(LATEX)


def _latex_cell(cell: Cell, marks: dict[str, str]) -> str:
    text = _latex(cell.text)
    bold = rf"\textbf{{{text}}}" if cell.best and text else text
    return bold if cell.note is None else f"{bold}$^{{{marks[cell.note]}}}$"


def _latex_row(cells: Iterable[str]) -> str:
    return "    " + " & ".join(cells) + r" \\"
