"""The parts of a report: sheets of cells, pictures, and the report that holds them. Other modules render them.

The text of a number has four digits; its sort key is the unrounded number.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import count, product
from string import ascii_lowercase
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:  # scipy takes half a second to import, and a caller that only writes numbers does not need it
    from saddlepoint.comparison.stats.interval import Interval


@dataclass(frozen=True)
class Cell:
    """One cell of a sheet."""

    text: str
    sort_key: float | str | None = None  # unrounded; None: the text
    best: bool = False
    note: str | None = None  # a sentence; printed below the sheet under a letter

    @property
    def number(self) -> float | None:
        """The sort key if it is a number, which infinity is and NaN is not; else None."""
        if isinstance(self.sort_key, str) or self.sort_key is None or math.isnan(self.sort_key):
            return None
        return self.sort_key


EMPTY = Cell("")


@dataclass(frozen=True)
class Sheet:
    """A table: rows of as many cells as it has columns. Raises ValueError for a row that has more or fewer."""

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]
    notes: tuple[str, ...] = ()
    wide: bool = False  # too many columns for a terminal or a paper: only for the report
    exploratory: bool = False  # not what the comparison was designed to test; marked in the heading

    @classmethod
    def from_columns(
        cls, title: str, columns: Mapping[str, Sequence[Cell]], notes: Sequence[str] = (), **flags: bool
    ) -> Sheet:
        """Return the sheet of these columns, which have equally many cells."""
        return cls(title, tuple(columns), tuple(zip(*columns.values(), strict=True)), tuple(notes), **flags)

    def __post_init__(self) -> None:
        for row in self.rows:
            if len(row) != len(self.columns):
                raise ValueError(f"{self.title}: a row of {len(row)} cells under {len(self.columns)} columns")

    @property
    def is_secondary(self) -> bool:
        """Whether it is exploratory or too wide, and therefore follows the primary sheets."""
        return self.exploratory or self.wide

    @property
    def heading(self) -> str:
        """The title, marked if the sheet is exploratory."""
        return f"{self.title} (exploratory)" if self.exploratory else self.title

    @property
    def note_letters(self) -> dict[str, str]:
        """The letter of each distinct note of a cell, in reading order: a, b, ..., z, aa, ab, ..."""
        letters = ("".join(word) for length in count(1) for word in product(ascii_lowercase, repeat=length))
        distinct = dict.fromkeys(cell.note for row in self.rows for cell in row if cell.note is not None)
        return dict(zip(distinct, letters, strict=False))

    @cached_property
    def numeric_columns(self) -> tuple[bool, ...]:
        """Whether each column holds numbers: some cell has one, and none is sorted by a text."""
        columns = [[row[i] for row in self.rows] for i in range(len(self.columns))]
        return tuple(
            any(cell.number is not None for cell in cells) and not any(isinstance(cell.sort_key, str) for cell in cells)
            for cells in columns
        )


@dataclass(frozen=True)
class Picture:
    """A figure and its caption."""

    name: str  # file stem
    caption: str
    png: bytes


@dataclass(frozen=True)
class Recording:
    """A wav file and its caption."""

    name: str  # file stem
    caption: str
    wav: bytes


@dataclass(frozen=True)
class Report:
    """The full report of a comparison."""

    title: str
    overview: tuple[str, ...]  # sentences: what was compared, contract, primary score, baseline, what failed
    sheets: tuple[Sheet, ...]
    pictures: tuple[Picture, ...]
    differences: Sheet  # a row per config key in which arms differ, a column per arm
    details: Mapping[str, Any] = field(default_factory=dict)  # contract, command, commits, versions; may be nested
    sounds: tuple[Recording, ...] = ()  # of the median run of each arm
    findings: tuple[str, ...] = ()  # a sentence per arm, before everything else


def number_cell(value: float | None, digits: int = 4) -> Cell:
    """Return a cell with the number, or EMPTY for None."""
    return EMPTY if value is None else Cell(format_number(value, digits), float(value))


def interval_cell(value: float | None, interval: Interval | None, digits: int = 4) -> Cell:
    """Return a cell with a number and its interval to equal decimals, "12.34 [11.10, 13.50]"."""
    if value is None or interval is None or (math.isinf(value) and interval.low == interval.high):
        return number_cell(value, digits)
    decimals = digits - 1
    if value != 0 and math.isfinite(value):
        decimals = min(max(decimals - math.floor(math.log10(abs(value))), 0), 9)
    ends = ", ".join(_format_fixed(end, decimals) for end in (interval.low, interval.high))
    return Cell(f"{_format_fixed(value, decimals)} [{ends}]", float(value))


def format_number(value: float, digits: int = 4) -> str:
    """Format a number to `digits` significant digits; larger numbers as integers."""
    if not math.isfinite(value):
        return "∞" if value > 0 else "-∞" if value < 0 else "nan"
    return f"{value:,.0f}" if abs(value) >= 10**digits else f"{value:.{digits}g}"


def _format_fixed(value: float, decimals: int) -> str:
    return f"{value:,.{decimals}f}" if math.isfinite(value) else format_number(value)


def p_value_cell(p: float | None) -> Cell:
    """Return a cell with a p-value to two digits, or EMPTY for None."""
    return EMPTY if p is None else Cell("<1e-4" if p < 1e-4 else f"{p:.2g}", p)
