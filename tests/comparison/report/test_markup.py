"""Sheets as Markdown, LaTeX and CSV."""

from __future__ import annotations

import csv
import io
import re

import pytest

from saddlepoint.comparison.report.markup import to_csv, to_latex, to_markdown
from saddlepoint.comparison.report.sheet import Cell, Sheet

NASTY = 'a|b_c & 50% #1 {x} $y$ ~z ^w \\cmd <i> "q", [r1,r2]'


def sheet(*rows: tuple[Cell, ...], **more) -> Sheet:
    return Sheet("Scores", ("arm", "fid"), rows, **more)


def test_csv_preserves_every_cell_and_unrounded_numbers() -> None:
    rows = (
        (Cell(NASTY), Cell("12.3", 12.345678901234567)),
        (Cell("two\nlines"), Cell("5/5", 5)),
        (Cell("c", sort_key="z"), Cell("—", float("nan"))),
    )
    header, *cells = csv.reader(io.StringIO(to_csv(sheet(*rows)), newline=""))
    assert header == ["arm", "fid"]
    assert cells == [[NASTY, "12.345678901234567"], ["two\nlines", "5"], ["c", "—"]]
    assert float(cells[0][1]) == 12.345678901234567


def test_a_markdown_row_has_one_cell_per_column_for_any_text() -> None:
    table = to_markdown(sheet((Cell(NASTY + "\nnext"), Cell("1", 1.0)))).splitlines()
    lines = [line for line in table if line.startswith("|")]
    assert len(lines) == 3
    assert {len(re.findall(r"(?<!\\)\|", line)) for line in lines} == {3}
    assert "a\\|b\\_c &amp; 50% \\#1" in lines[2]
    assert "<i>" not in lines[2]


def test_markdown_aligns_numbers_right_and_makes_the_best_bold() -> None:
    text = to_markdown(sheet((Cell("a"), Cell("1.0", 1.0, best=True)), (Cell("b"), Cell("—"))))
    assert "| :--- | ---: |" in text
    assert "| a | **1.0** |" in text


@pytest.mark.parametrize("write", [to_markdown, to_latex])
def test_a_note_of_two_cells_is_printed_once_with_one_letter(write) -> None:
    rows = ((Cell("x"), Cell("1", note="Failed.")), (Cell("y", note="Other."), Cell("2", note="Failed.")))
    text = write(sheet(*rows, notes=("Closing.",)))
    assert text.count("Failed.") == text.count("Other.") == text.count("Closing.") == 1
    marks = re.findall(r"<sup>(.)</sup>|\$\^\{(.)\}\$", text)
    assert sorted("".join(pair) for pair in marks) == ["a", "a", "a", "b", "b"]


@pytest.mark.parametrize("write", [to_markdown, to_latex])
def test_an_exploratory_sheet_is_marked_in_its_heading(write) -> None:
    assert "(exploratory)" in write(sheet(exploratory=True))
    assert "exploratory" not in write(sheet())


@pytest.mark.parametrize(
    ("sign", "escaped"),
    [
        ("&", r"\&"),
        ("%", r"\%"),
        ("$", r"\$"),
        ("#", r"\#"),
        ("_", r"\_"),
        ("{", r"\{"),
        ("}", r"\}"),
        ("~", r"\textasciitilde{}"),
        ("^", r"\textasciicircum{}"),
        ("\\", r"\textbackslash{}"),
        ("<", r"\textless{}"),
        ("±", r"$\pm$"),
        ("\u2212", "$-$"),
        ("[", "{[}"),
        ("--", "-{}-"),
    ],
)
def test_latex_escapes_every_special_sign(sign: str, escaped: str) -> None:
    assert f"    p{escaped}q & 1 \\\\\n" in to_latex(sheet((Cell(f"p{sign}q"), Cell("1"))))


def test_a_latex_table_is_ruled_by_booktabs_and_balanced() -> None:
    text = to_latex(sheet((Cell(NASTY), Cell("1.0", 1.0, best=True)), (Cell("[r1]"), Cell("2.0", 2.0))))
    assert [text.count(rf"\{rule}rule") for rule in ("top", "mid", "bottom")] == [1, 1, 1]
    assert r"\begin{tabular}{lr}" in text
    assert r"\textbf{1.0}" in text
    unescaped = re.sub(r"\\[{}]", "", text)
    assert unescaped.count("{") == unescaped.count("}")
    assert re.findall(r"\\(begin|end)\{(\w+)\}", text) == [
        ("begin", "table"),
        ("begin", "tabular"),
        ("end", "tabular"),
        ("end", "table"),
    ]
    rows = text.split(r"\midrule")[1].split(r"\bottomrule")[0].strip().splitlines()
    assert [len(re.findall(r"(?<!\\)&", row)) for row in rows] == [1, 1]


def test_a_row_of_too_few_cells_is_refused() -> None:
    with pytest.raises(ValueError, match="1 cells under 2 columns"):
        sheet((Cell("a"),))


def test_letters_go_on_after_z() -> None:
    rows = tuple((Cell(str(i)), Cell("", note=f"note {i}")) for i in range(28))
    assert list(sheet(*rows).note_letters.values())[24:] == ["y", "z", "aa", "ab"]
