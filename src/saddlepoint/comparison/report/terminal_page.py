"""A report on a terminal; a sheet that is too wide becomes several tables, each with the first column."""

from collections.abc import Iterator, Mapping, Sequence

from rich import box
from rich.table import Table
from rich.text import Text

from saddlepoint.comparison.report.sheet import Cell, Report, Sheet

GAP = 2  # spaces between columns
MIN_FIRST_WIDTH = 14  # characters of the first column
WRAP_WIDTH = 28  # characters of a text: longer texts are wrapped if there is no room


def terminal_page(report: Report, width: int) -> list[Table | str]:
    """Return the findings of the report, its overview, and its primary sheets."""
    main = [part for sheet in report.sheets if not sheet.is_secondary for part in ("", *terminal_tables(sheet, width))]
    return [*report.findings, *([""] if report.findings else []), *report.overview, *main]


def terminal_tables(sheet: Sheet, width: int) -> Iterator[Table | str]:
    """Yield the sheet's heading, its tables for `width` characters, and its notes; letters mark the notes of cells."""
    marks = sheet.note_letters
    widths = [_column_width(sheet, column, marks) for column in range(len(sheet.columns))]
    is_tight = sum(widths) + GAP * len(widths) > width + GAP
    yield sheet.heading
    for columns in _split_columns(widths, width):
        table = Table(box=box.SIMPLE_HEAD, pad_edge=False, collapse_padding=True, show_edge=False)
        for column in columns:
            numeric = sheet.numeric_columns[column]
            table.add_column(
                Text(sheet.columns[column]), justify="right" if numeric else "left", overflow="fold", no_wrap=numeric
            )
        for row in sheet.rows:
            cells = [Text(_format_cell(row[column], marks), "bold" if row[column].best else "") for column in columns]
            if is_tight:
                cells[0] = Text(_format_cell(row[0], marks).replace(", survivors only", ",\nsurvivors only"))
            table.add_row(*cells)
        yield table
    yield from (f"{mark}: {note}" for note, mark in marks.items())
    yield from sheet.notes


def _format_cell(cell: Cell, marks: Mapping[str, str]) -> str:
    return cell.text if cell.note is None else f"{cell.text} ({marks[cell.note]})"


def _split_columns(widths: Sequence[int], width: int) -> Iterator[Sequence[int]]:
    """Yield groups of columns that fit on a line together with the first one, in their order."""
    others = sum(column_width + GAP for column_width in widths[1:])
    # names are wrapped rather than the table split
    first = max(min(widths[0], WRAP_WIDTH, width - others), MIN_FIRST_WIDTH)
    group, used = [0], first
    for column in range(1, len(widths)):
        if used + widths[column] + GAP > width and len(group) > 1:
            yield group
            group, used = [0], first
        group.append(column)
        used += widths[column] + GAP
    yield group


def _column_width(sheet: Sheet, column: int, marks: Mapping[str, str]) -> int:
    longest = max((len(_format_cell(row[column], marks)) for row in sheet.rows), default=1)
    return max(len(sheet.columns[column]), longest if sheet.numeric_columns[column] else min(longest, WRAP_WIDTH))
