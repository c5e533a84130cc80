"""What a comparison shows: sheets of cells, pictures, the report that holds them.  How it is drawn: elsewhere.

A number is a cell of four digits to read, and of the unrounded number to sort by.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import count, product
from string import ascii_lowercase
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:  # scipy takes half a second, and who only writes numbers needs none of it
    from saddlepoint.comparison.stats.interval import Interval


@dataclass(frozen=True)
class Cell:
    """One value of a sheet, as a person reads it."""

    text: str
    sort_key: float | str | None = None  # what sorting uses, unrounded; None: the text
    best: bool = False
    note: str | None = None  # a sentence; stands below the sheet under a letter

    @property
    def number(self) -> float | None:
        """The order, where it is a number: NaN is none, infinity is one."""
        if isinstance(self.sort_key, str) or self.sort_key is None or math.isnan(self.sort_key):
            return None
        return self.sort_key


EMPTY = Cell("")


@dataclass(frozen=True)
class Sheet:
    """A table: rows of as many cells as it has columns.  Raises ValueError for a row that has more or fewer."""

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]
    notes: tuple[str, ...] = ()
    wide: bool = False  # all numbers: for the report, too many columns for a terminal or a column of a paper
    exploratory: bool = False  # not what the comparison was made to find out: a reader is told

    @classmethod
    def from_columns(
        cls, title: str, columns: Mapping[str, Sequence[Cell]], notes: Sequence[str] = (), **flags: bool
    ) -> Sheet:
        """The sheet of these columns, each of as many cells."""
        return cls(title, tuple(columns), tuple(zip(*columns.values(), strict=True)), tuple(notes), **flags)

    def __post_init__(self) -> None:
        for row in self.rows:
            if len(row) != len(self.columns):
                raise ValueError(f"{self.title}: a row of {len(row)} cells under {len(self.columns)} columns")

    @property
    def is_secondary(self) -> bool:
        """Whether it stands beside what the comparison was made to find out."""
        return self.exploratory or self.wide

    @property
    def heading(self) -> str:
        """The title, and that it is exploratory where it is."""
        return f"{self.title} (exploratory)" if self.exploratory else self.title

    @property
    def marks(self) -> dict[str, str]:
        """The letter of each distinct note of a cell, in reading order: a, b, ..., z, aa, ab, ..."""
        letters = ("".join(some) for length in count(1) for some in product(ascii_lowercase, repeat=length))
        distinct = dict.fromkeys(cell.note for row in self.rows for cell in row if cell.note is not None)
        return dict(zip(distinct, letters, strict=False))

    @cached_property
    def numeric(self) -> tuple[bool, ...]:
        """Of each column, whether it holds numbers: some cell of it does, and none is ordered by a text."""
        columns = [[row[i] for row in self.rows] for i in range(len(self.columns))]
        return tuple(
            any(cell.number is not None for cell in cells) and not any(isinstance(cell.sort_key, str) for cell in cells)
            for cells in columns
        )


@dataclass(frozen=True)
class Picture:
    """A drawing and what it shows."""

    name: str  # file stem
    caption: str
    png: bytes


@dataclass(frozen=True)
class Report:
    """Everything that a comparison has to say."""

    title: str
    lead: tuple[str, ...]  # what was compared, by what contract; primary metric, baseline; what is missing or failed
    sheets: tuple[Sheet, ...]
    pictures: tuple[Picture, ...]
    differences: Sheet  # a row per config key in which arms differ, a column per arm
    details: Mapping[str, Any] = field(default_factory=dict)  # contract, command, commits, versions; may nest
    answers: tuple[str, ...] = ()  # a sentence per arm, before everything else


def number_cell(value: float | None, digits: int = 4) -> Cell:
    """A number, "" for None."""
    return EMPTY if value is None else Cell(format_number(value, digits), float(value))


def interval_cell(value: float | None, interval: Interval | None, digits: int = 4) -> Cell:
    """A number and its interval to as many decimals, "12.34 [11.10, 13.50]"; alone where there is none."""
    if value is None or interval is None or (math.isinf(value) and interval.low == interval.high):
        return number_cell(value, digits)
    decimals = digits - 1
    if value != 0 and math.isfinite(value):
        decimals = min(max(decimals - math.floor(math.log10(abs(value))), 0), 9)
    ends = ", ".join(_fixed(end, decimals) for end in (interval.low, interval.high))
    return Cell(f"{_fixed(value, decimals)} [{ends}]", float(value))


def format_number(value: float, digits: int = 4) -> str:
    """A number to `digits` digits; thousands as they are."""
    if not math.isfinite(value):
        return "∞" if value > 0 else "-∞" if value < 0 else "nan"
    return f"{value:,.0f}" if abs(value) >= 10**digits else f"{value:.{digits}g}"


def _fixed(value: float, decimals: int) -> str:
    return f"{value:,.{decimals}f}" if math.isfinite(value) else format_number(value)


def p_value_cell(p: float | None) -> Cell:
    """A p-value to two digits."""
    return EMPTY if p is None else Cell("<1e-4" if p < 1e-4 else f"{p:.2g}", p)
