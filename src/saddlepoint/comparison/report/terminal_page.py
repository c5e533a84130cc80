"""A report on a terminal; a sheet in as many tables as it is too wide for one, each with the first column."""

from collections.abc import Iterator, Mapping, Sequence

from rich import box
from rich.table import Table
from rich.text import Text

from saddlepoint.comparison.report.sheet import Cell, Report, Sheet

GAP = 2  # blanks that a column costs beside its text
LEAST = 14  # characters of the first column
NARROW = 28  # characters of a text: longer ones are folded where there is no room for them


def terminal_page(report: Report, width: int) -> list[Table | str]:
    """What the report answers, what was compared, and the sheets that it was made for."""
    main = [part for sheet in report.sheets if not sheet.is_secondary for part in ("", *terminal_tables(sheet, width))]
    return [*report.answers, *([""] if report.answers else []), *report.lead, *main]


def terminal_tables(sheet: Sheet, width: int) -> Iterator[Table | str]:
    """The sheet for `width` characters, and its notes; a cell's own behind a letter in it."""
    marks = sheet.marks
    sizes = [_width(sheet, column, marks) for column in range(len(sheet.columns))]
    tight = sum(sizes) + GAP * len(sizes) > width + GAP
    yield sheet.heading
    for columns in _parts(sizes, width):
        table = Table(box=box.SIMPLE_HEAD, pad_edge=False, collapse_padding=True, show_edge=False)
        for column in columns:
            numeric = sheet.numeric[column]
            table.add_column(
                Text(sheet.columns[column]), justify="right" if numeric else "left", overflow="fold", no_wrap=numeric
            )
        for row in sheet.rows:
            cells = [Text(_text(row[column], marks), "bold" if row[column].best else "") for column in columns]
            if tight:
                cells[0] = Text(_text(row[0], marks).replace(", survivors only", ",\nsurvivors only"))
            table.add_row(*cells)
        yield table
    yield from (f"{mark}: {note}" for note, mark in marks.items())
    yield from sheet.notes


def _text(cell: Cell, marks: Mapping[str, str]) -> str:
    return cell.text if cell.note is None else f"{cell.text} ({marks[cell.note]})"


def _parts(sizes: Sequence[int], width: int) -> Iterator[Sequence[int]]:
    """Columns that fit beside the first one, in their order."""
    rest = sum(size + GAP for size in sizes[1:])
    # rather than in two tables the names stand over several lines
    first = max(min(sizes[0], NARROW, width - rest), LEAST)
    taken, used = [0], first
    for column in range(1, len(sizes)):
        if used + sizes[column] + GAP > width and len(taken) > 1:
            yield taken
            taken, used = [0], first
        taken.append(column)
        used += sizes[column] + GAP
    yield taken


def _width(sheet: Sheet, column: int, marks: Mapping[str, str]) -> int:
    longest = max((len(_text(row[column], marks)) for row in sheet.rows), default=1)
    return max(len(sheet.columns[column]), longest if sheet.numeric[column] else min(longest, NARROW))
