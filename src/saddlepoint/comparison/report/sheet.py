"""What a comparison shows: sheets of cells, pictures, the report that holds them.  How it is drawn: elsewhere.

A number is a cell of four digits to read, and of the unrounded number to sort by.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import count, product
from string import ascii_lowercase
from typing import Any, Protocol


@dataclass(frozen=True)
class Cell:
    """One value of a sheet, as a person reads it."""

    text: str
    order: float | str | None = None  # what sorting uses, unrounded; None: the text
    best: bool = False
    note: str | None = None  # a sentence; stands below the sheet under a letter

    @property
    def number(self) -> float | None:
        """The order, where it is a number: NaN is none, infinity is one."""
        if isinstance(self.order, str) or self.order is None or math.isnan(self.order):
            return None
        return int(self.order) if isinstance(self.order, int) else float(self.order)


NOTHING = Cell("")


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
    def of(cls, title: str, columns: Mapping[str, Sequence[Cell]], notes: Sequence[str] = (), **flags: bool) -> Sheet:
        """The sheet of these columns, each of as many cells."""
        return cls(title, tuple(columns), tuple(zip(*columns.values(), strict=True)), tuple(notes), **flags)

    def __post_init__(self) -> None:
        for row in self.rows:
            if len(row) != len(self.columns):
                raise ValueError(f"{self.title}: a row of {len(row)} cells under {len(self.columns)} columns")

    @property
    def beside(self) -> bool:
        """Whether it stands beside what the comparison was made to find out."""
        return self.exploratory or self.wide

    @property
    def heading(self) -> str:
        """The title, and that it is exploratory where it is."""
        return f"{self.title} (exploratory)" if self.exploratory else self.title

    @property
    def marks(self) -> dict[str, str]:
        """The letter of each distinct note of a cell, in reading order: a, b, ..., z, aa, ab, ..."""
        letters = _letters()
        distinct = dict.fromkeys(cell.note for row in self.rows for cell in row if cell.note is not None)
        return {note: next(letters) for note in distinct}

    @cached_property
    def numeric(self) -> tuple[bool, ...]:
        """Of each column, whether it holds numbers: some cell of it does, and none is ordered by a text."""
        columns = [[row[i] for row in self.rows] for i in range(len(self.columns))]
        return tuple(
            any(cell.number is not None for cell in cells) and not any(isinstance(cell.order, str) for cell in cells)
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


def _letters() -> Iterator[str]:
    for length in count(1):
        yield from ("".join(letters) for letters in product(ascii_lowercase, repeat=length))


class Range(Protocol):
    """An interval."""

    @property
    def low(self) -> float: ...
    @property
    def high(self) -> float: ...


def number(value: float | None, digits: int = 4, best: bool = False) -> Cell:
    """A number, "" for None."""
    return NOTHING if value is None else Cell(written(value, digits), float(value), best)


def ranged(value: float | None, interval: Range | None, digits: int = 4, best: bool = False) -> Cell:
    """A number and its interval to as many decimals, "12.34 [11.10, 13.50]"; alone where there is none."""
    if value is None or interval is None or (math.isinf(value) and interval.low == interval.high):
        return number(value, digits, best)
    decimals = _decimals(value, digits)
    ends = ", ".join(_fixed(end, decimals) for end in (interval.low, interval.high))
    return Cell(f"{_fixed(value, decimals)} [{ends}]", float(value), best)


def bracketed(interval: Range, digits: int = 4) -> str:
    """An interval, "[11.1, 13.5]"."""
    return f"[{written(interval.low, digits)}, {written(interval.high, digits)}]"


def written(value: float, digits: int = 4) -> str:
    """A number to `digits` digits; thousands as they are."""
    if not math.isfinite(value):
        return "∞" if value > 0 else "-∞" if value < 0 else "nan"
    return f"{value:,.0f}" if abs(value) >= 10**digits else f"{value:.{digits}g}"


def _decimals(value: float, digits: int) -> int:
    """How many decimals show so many digits of a number."""
    if value == 0 or not math.isfinite(value):
        return digits - 1
    return min(max(digits - 1 - math.floor(math.log10(abs(value))), 0), 9)


def _fixed(value: float, decimals: int) -> str:
    return f"{value:,.{decimals}f}" if math.isfinite(value) else written(value)


def probability(p: float | None) -> Cell:
    """A p-value to two digits."""
    return NOTHING if p is None else Cell("<1e-4" if p < 1e-4 else f"{p:.2g}", p)
