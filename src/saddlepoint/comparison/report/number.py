"""Numbers as cells: four digits to read, the unrounded number to sort by."""

from __future__ import annotations

import math
from typing import Protocol

from saddlepoint.comparison.report.sheet import Cell

NOTHING = Cell("")


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
