"""A sheet on a terminal: in as many tables as it is too wide for one, each with the first column."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from rich import box
from rich.table import Table
from rich.text import Text

from saddlepoint.comparison.sheet import Sheet

GAP = 3  # blanks that a column costs beside its text
NARROW = 28  # characters of a text: longer ones are folded where there is no room for them


def tables(sheet: Sheet, width: int) -> Iterator[Table | str]:
    """The sheet for `width` characters, and its notes."""
    for i, columns in enumerate(_parts(sheet, width)):
        table = Table(box=box.SIMPLE_HEAD, title=None if i else Text(sheet.heading), title_justify="left")
        for column in columns:
            numeric = sheet.numeric(column)
            table.add_column(
                Text(sheet.columns[column]), justify="right" if numeric else "left", overflow="fold", no_wrap=numeric
            )
        for row in sheet.rows:
            table.add_row(*(Text(row[column].text, "bold" if row[column].best else "") for column in columns))
        yield table
    marks = sheet.marks
    yield from (f"{mark}: {note}" for note, mark in marks.items())
    yield from sheet.notes


def _parts(sheet: Sheet, width: int) -> Iterator[Sequence[int]]:
    """Columns that fit beside the first one, in their order."""
    if not sheet.columns:
        return
    sizes = [_width(sheet, column) for column in range(len(sheet.columns))]
    first = min(sizes[0], NARROW) + GAP
    taken, used = [0], first
    for column in range(1, len(sizes)):
        if used + sizes[column] + GAP > width and len(taken) > 1:
            yield taken
            taken, used = [0], first
        taken.append(column)
        used += sizes[column] + GAP
    yield taken


def _width(sheet: Sheet, column: int) -> int:
    longest = max((len(row[column].text) for row in sheet.rows), default=1)
    return max(len(sheet.columns[column]), longest if sheet.numeric(column) else min(longest, NARROW))
