"""Effects in a balanced two-level factorial design: how much a factor moves the score, averaged over the others.

    effect = 2 / N sum_i s_i y_i       s_i: the product of +1 (on) and -1 (off) over the factors of the effect
           = mean(on) - mean(off)      for one factor; half the difference of two simple effects, for two
    error  = 2 s / sqrt(N)             s^2: within cells, N - 2^k degrees; less the blocks' B - 1 where there are blocks

Yates 1937, The design and analysis of factorial experiments; Box, Hunter & Hunter 2005, Statistics for Experimenters,
chapter 5; Montgomery, Design and Analysis of Experiments, chapter 6.  Every run tells of every effect: 2^5 cells of 3
compare 48 with 48.  The p are of Student's t, each for itself: correcting them is the caller's.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations, product

import numpy as np
from scipy import stats

from saddlepoint.comparison.interval import Interval, t_half_width
from saddlepoint.comparison.sample import Array, sample
from saddlepoint.error import Mistake

Cells = Mapping[tuple[int, ...], list[int]]  # which runs are in each cell, by the signs of its factors


@dataclass(frozen=True)
class Contrast:
    """One effect: a main one has one name, an interaction several."""

    name: tuple[str, ...]
    effect: float
    interval: Interval
    p: float
    n_low: int  # runs that count with -1
    n_high: int


def contrasts(
    settings: Sequence[Mapping[str, bool]],
    values: Sequence[float],
    order: int = 2,
    level: float = 0.95,
    blocks: Sequence[int] | None = None,
) -> list[Contrast]:
    """Every effect of up to `order` factors, main effects first.

    `settings` says of each run which factors are on; `blocks`, what it shares with others (its seed), which is taken
    out as a shift common to them.  With one run a cell, the effects above `order` are taken for nothing but noise.
    Raises Mistake where a cell is missing or has more runs than another, where a factor does not vary, where blocks do
    not hold every cell equally often, and where no run is left to measure noise by.
    """
    y = sample(values)
    names = _factors(settings, y.size)
    signs = np.array([[1 if one[name] else -1 for name in names] for one in settings])
    cells = _cells(names, signs)
    parts = [part for size in range(1, min(order, len(names)) + 1) for part in combinations(range(len(names)), size)]
    columns = {part: signs[:, list(part)].prod(1) for part in parts}
    effects = {part: float(2 * column @ y / y.size) for part, column in columns.items()}
    residual, freedom = _noise(y, cells, columns, effects, None if blocks is None else np.asarray(blocks))
    error = 2 * math.sqrt(float(residual @ residual) / freedom / y.size)
    if error < 1e-12 * float(np.abs(y).mean()):  # rounding, where runs of a cell are equal
        error = 0.0
    return [
        _contrast(tuple(names[i] for i in part), effects[part], error, freedom, level, column)
        for part, column in columns.items()
    ]


def _contrast(
    name: tuple[str, ...], effect: float, error: float, freedom: int, level: float, column: np.ndarray
) -> Contrast:
    half = t_half_width(error, freedom, level)
    p = 2 * float(stats.t.sf(abs(effect) / error, freedom)) if error else float(effect == 0)
    ends = Interval(effect - half, effect + half)
    return Contrast(name, effect, ends, p, int((column < 0).sum()), int((column > 0).sum()))


def _noise(
    y: Array,
    cells: Cells,
    columns: Mapping[tuple[int, ...], np.ndarray],
    effects: Mapping[tuple[int, ...], float],
    blocks: np.ndarray | None,
) -> tuple[Array, int]:
    """What the design leaves unexplained of each run, and its degrees of freedom."""
    replicated = y.size > len(cells)
    if replicated:
        residual, freedom = y.copy(), y.size - len(cells)
        for members in cells.values():
            residual[members] -= y[members].mean()
    else:
        residual = y - y.mean() - sum(column * effects[part] / 2 for part, column in columns.items())
        freedom = y.size - 1 - len(columns)
    if blocks is not None:
        for members in _blocks(blocks, cells):
            residual[members] -= y[members].mean() - y.mean()
        freedom -= len(set(blocks.tolist())) - 1
    if freedom < 1:
        raise Mistake(
            f"{y.size} runs of {len(cells)} cells leave none to measure noise by: train another seed of every cell, "
            "or ask for effects of a lower order"
        )
    return residual, freedom


def _factors(settings: Sequence[Mapping[str, bool]], n: int) -> list[str]:
    """The names of the factors, in the order in which they first occur."""
    if len(settings) != n:
        raise Mistake(f"{len(settings)} settings cannot belong to {n} scores")
    names = list(dict.fromkeys(name for one in settings for name in one))
    for name in names:
        seen = {bool(one[name]) for one in settings if name in one}
        if not all(name in one for one in settings):
            raise Mistake(f"not every run says whether {name} is on: give each run all of {', '.join(names)}")
        if len(seen) < 2:
            raise Mistake(f"{name} is {'on' if seen == {True} else 'off'} in every run, so it has no effect to measure")
    return names


def _cells(names: Sequence[str], signs: np.ndarray) -> Cells:
    """The runs of each cell.  Raises Mistake unless all cells are there, equally often."""
    cells: dict[tuple[int, ...], list[int]] = {signs: [] for signs in product((-1, 1), repeat=len(names))}
    for i, row in enumerate(signs.tolist()):
        cells[tuple(row)].append(i)
    most = max(map(len, cells.values()))
    if short := [cell for cell, members in cells.items() if len(members) < most]:
        told = "; ".join(
            " ".join(f"{name}={'on' if sign > 0 else 'off'}" for name, sign in zip(names, cell, strict=True))
            + f" has {len(cells[cell])}"
            for cell in short
        )
        raise Mistake(f"effects need equally many runs in every cell, {most} here: {told}")
    return cells


def _blocks(blocks: np.ndarray, cells: Cells) -> Iterator[list[int]]:
    """The runs of each block.  Raises Mistake where a block holds one cell oftener than another."""
    if len(blocks) != sum(map(len, cells.values())):
        raise Mistake(f"{len(blocks)} blocks cannot belong to {sum(map(len, cells.values()))} scores")
    for block in np.unique(blocks):
        if len({int((blocks[members] == block).sum()) for members in cells.values()}) > 1:
            raise Mistake(
                f"block {block} does not hold every cell equally often: its shift is mixed up with the effects"
            )
        yield np.flatnonzero(blocks == block).tolist()
