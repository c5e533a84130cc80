"""What a comparison shows: sheets of cells, pictures, the report that holds them.  How it is drawn: elsewhere."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from itertools import count, product
from string import ascii_lowercase
from typing import Any


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


@dataclass(frozen=True)
class Sheet:
    """A table: rows of as many cells as it has columns.  Raises ValueError for a row that has more or fewer."""

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]
    notes: tuple[str, ...] = ()
    wide: bool = False  # all numbers: for the report, too many columns for a terminal or a column of a paper
    exploratory: bool = False  # not what the comparison was made to find out: a reader is told

    def __post_init__(self) -> None:
        for row in self.rows:
            if len(row) != len(self.columns):
                raise ValueError(f"{self.title}: a row of {len(row)} cells under {len(self.columns)} columns")

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

    def numeric(self, column: int) -> bool:
        """Whether a column holds numbers: some cell of it does, and none is ordered by a text."""
        cells = [row[column] for row in self.rows]
        return any(cell.number is not None for cell in cells) and not any(isinstance(c.order, str) for c in cells)


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
