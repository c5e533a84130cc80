"""Effects in a balanced factorial design: how much a level of a factor moves the score, averaged over the others.

    main effect    mean(level) - mean(first level), over all levels of the other factors
    interaction    half of how much one factor's effect differs between a level and the first level of another
    in general     sum_i c_i y_i,   c_i = 2 s_i / sum_j |s_j|
                   s: the product, over the effect's factors, of 1 (its level), -1 (the first) and 0 (another one)
    error          s sqrt(sum_i c_i^2)
                   s^2: within cells, N - cells degrees of freedom; less the blocks' B - 1 where there are blocks

Of two levels each that is 2 / N sum_i s_i y_i, with the error 2 s / sqrt(N).  Yates 1937, The design and analysis of
factorial experiments; Box, Hunter & Hunter 2005, Statistics for Experimenters, chapter 5; Montgomery, Design and
Analysis of Experiments, chapters 5 and 6.  Every run tells of every effect: 2^5 cells of 3 compare 48 with 48.  The p
are of Student's t, each for itself: correcting them is the caller's.

Where values are imputed, `rank_contrasts`: the same effects of ranks, without intervals.  The p of a main effect is
exact: two levels are exchanged within each combination of the other factors, and the share of all ways is counted whose
sum of ranks is as far from its mean as the one observed (the stratified Wilcoxon test of van Elteren 1960, Bull. Int.
Stat. Inst. 37: 351-361, with ranks over all runs).  No exchange leaves an interaction as it was, so it has no p.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations, product

import numpy as np
from scipy import stats

from saddlepoint.comparison.stats.interval import Array, Interval, finite_array, t_half_width
from saddlepoint.error import Mistake

Levels = Mapping[str, Sequence[Hashable]]  # of each factor, the first one being what the others are held against
Cells = Mapping[tuple[int, ...], list[int]]  # which runs are in each cell, by the places of its levels


@dataclass(frozen=True)
class Effect:
    """One effect: a main one has one factor, an interaction several."""

    factors: tuple[str, ...]  # its factors
    levels: tuple[Hashable, ...]  # of each, the level that is held against its first
    effect: float
    interval: Interval | None  # None of ranks
    p: float | None  # None of an interaction of ranks
    n_low: int  # runs that count with -1
    n_high: int


@dataclass(frozen=True)
class Design:
    """A full balanced design."""

    levels: Levels
    level_indices: np.ndarray  # [N, factors]: which level of each factor a run has
    cells: Cells

    @classmethod
    def from_settings(cls, settings: Sequence[Mapping[str, Hashable]], n: int, levels: Levels | None = None) -> Design:
        """The design of n runs.  Raises Mistake where it is none: see `contrasts`."""
        known = _levels(settings, n, levels)
        places = np.array([[list(known[name]).index(one[name]) for name in known] for one in settings])
        return cls(known, places, _cells(known, places))

    def effects(self, order: int) -> list[tuple[tuple[int, ...], tuple[int, ...]]]:
        """The factors, and the level of each, of every effect of up to `order` factors; main effects first."""
        sizes = [len(own) for own in self.levels.values()]
        return [
            (part, at)
            for size in range(1, min(order, len(sizes)) + 1)
            for part in combinations(range(len(sizes)), size)
            for at in product(*(range(1, sizes[factor]) for factor in part))
        ]

    def signs(self, part: Sequence[int], at: Sequence[int]) -> np.ndarray:
        """How each run counts in an effect: 1, -1, or 0 where it has another level of one of its factors."""
        own = self.level_indices[:, list(part)]
        return np.where(own == np.array(at), 1, np.where(own == 0, -1, 0)).prod(1)

    def weights(self, part: Sequence[int], at: Sequence[int]) -> np.ndarray:
        """What the effect multiplies each run's score by."""
        signs = self.signs(part, at)
        return 2 * signs / np.abs(signs).sum()

    def named_effect(
        self, part: Sequence[int], at: Sequence[int], effect: float, interval: Interval | None, p: float | None
    ) -> Effect:
        """The effect under its names."""
        names, signs = [list(self.levels)[i] for i in part], self.signs(part, at)
        levels = tuple(self.levels[name][k] for name, k in zip(names, at, strict=True))
        return Effect(tuple(names), levels, effect, interval, p, int((signs < 0).sum()), int((signs > 0).sum()))


def factorial_effects(
    settings: Sequence[Mapping[str, Hashable]],
    values: Sequence[float],
    order: int = 2,
    level: float = 0.95,
    blocks: Sequence[int] | None = None,
    levels: Levels | None = None,
) -> list[Effect]:
    """Every effect of up to `order` factors, main effects first.

    `settings` says of each run which level each factor has (True and False, where a factor is on or off); `levels`, in
    which order, the others being held against the first; None: sorted.  `blocks` says what a run shares with others
    (its seed), which is taken out as a shift common to them.  With one run a cell, the effects above `order` are taken
    for nothing but noise.  Raises Mistake where a cell is missing or has more runs than another, where a factor does
    not vary, where blocks do not hold every cell equally often, and where no run is left to measure noise by.
    """
    y = finite_array(values)
    design = Design.from_settings(settings, y.size, levels)
    residual, freedom = _noise(y, design, order, None if blocks is None else np.asarray(blocks))
    noise = math.sqrt(float(residual @ residual) / freedom)
    if noise < 1e-12 * math.sqrt(y.size) * float(np.abs(y).mean()) / 2:  # rounding, where runs of a cell are equal
        noise = 0.0
    found = []
    for part, at in design.effects(order):
        weights = design.weights(part, at)
        effect, error = float(weights @ y), noise * math.sqrt(float(weights @ weights))
        half = t_half_width(error, freedom, level)
        p = 2 * float(stats.t.sf(abs(effect) / error, freedom)) if error else float(effect == 0)
        ends = Interval(effect - half, effect + half)
        found.append(design.named_effect(part, at, effect, ends, p))
    return found


def rank_effects(
    settings: Sequence[Mapping[str, Hashable]], values: Sequence[float], order: int = 2, levels: Levels | None = None
) -> list[Effect]:
    """The effects on the rank of a run among all, 1 the lowest value, ties at their mean; values may be infinite.

    Raises Mistake for what is no full balanced design, as `contrasts` does.
    """
    design = Design.from_settings(settings, len(values), levels)
    ranks = stats.rankdata(values)
    found = []
    for part, at in design.effects(order):
        signs, weights = design.signs(part, at), design.weights(part, at)
        p = stratified_rank_p(ranks, signs, _strata(design, part[0])) if len(part) == 1 else None
        found.append(design.named_effect(part, at, float(weights @ ranks), None, p))
    return found


def stratified_rank_p(ranks: Sequence[float] | Array, signs: np.ndarray, strata: Sequence[Sequence[int]]) -> float:
    """The exact two-sided p of the sum of the ranks that count with 1, of all exchanges of 1 and -1 within strata.

    ranks [N] are whole or half numbers, as midranks are; signs [N] of 1, -1, and 0 for runs that are left alone.
    """
    doubled = np.rint(2 * np.asarray(ranks)).astype(int)
    observed, mean, law = 0, 0.0, np.ones(1)
    for members in strata:
        own = [i for i in members if signs[i] != 0]
        taken = [i for i in own if signs[i] > 0]
        low = int(doubled[own].min())  # from the lowest rank of the stratum: shorter sums
        shifted = doubled[own] - low
        law = np.convolve(law, _subset_law(shifted, len(taken)))
        observed += int((doubled[taken] - low).sum())
        mean += len(taken) * float(shifted.mean())
    away = np.abs(np.arange(law.size) - mean)
    return min(1.0, float(law[away >= abs(observed - mean) - 1e-6].sum()))


def _subset_law(values: np.ndarray, size: int) -> np.ndarray:
    """The chance of each sum of `size` of these whole numbers, drawn without replacement: [sum of all + 1]."""
    ways = np.zeros((size + 1, int(values.sum()) + 1))
    ways[0, 0] = 1
    for value in values.tolist():
        for k in range(size, 0, -1):
            ways[k, value:] += ways[k - 1, : ways.shape[1] - value]
    return ways[size] / ways[size].sum()


def _strata(design: Design, factor: int) -> list[list[int]]:
    """The runs of each combination of the other factors."""
    found: dict[tuple[int, ...], list[int]] = {}
    for cell, members in design.cells.items():
        found.setdefault(cell[:factor] + cell[factor + 1 :], []).extend(members)
    return list(found.values())


def _noise(y: Array, design: Design, order: int, blocks: np.ndarray | None) -> tuple[Array, int]:
    """What the design leaves unexplained of each run, and its degrees of freedom."""
    order = len(design.levels) if y.size > len(design.cells) else order  # of all factors: a mean for each cell
    # a column is 1 where a run has these levels: together they span what effects of these factors can explain
    columns = [(design.level_indices[:, list(part)] == np.array(at)).all(1) for part, at in design.effects(order)]
    model = np.column_stack([np.ones(y.size), *columns])
    residual, freedom = y - model @ np.linalg.lstsq(model, y, rcond=None)[0], y.size - model.shape[1]
    if blocks is not None:
        for members in _blocks(blocks, design.cells):
            residual[members] -= y[members].mean() - y.mean()
        freedom -= len(set(blocks.tolist())) - 1
    if freedom < 1:
        raise Mistake(
            f"{y.size} runs of {len(design.cells)} cells leave none to measure noise by: train another seed of every "
            "cell, or ask for effects of a lower order"
        )
    return residual, freedom


def _levels(settings: Sequence[Mapping[str, Hashable]], n: int, levels: Levels | None) -> Levels:
    """The levels of each factor, factors in the order in which they first occur."""
    if len(settings) != n:
        raise Mistake(f"{len(settings)} settings cannot belong to {n} scores")
    names = list(dict.fromkeys(name for one in settings for name in one))
    found: dict[str, Sequence[Hashable]] = {}
    for name in names:
        if not all(name in one for one in settings):
            raise Mistake(f"not every run says {name}: give each run all of {', '.join(names)}")
        seen = {one[name] for one in settings}
        if len(seen) < 2:
            raise Mistake(f"{name} is {_word(next(iter(seen)))} in every run, so it has no effect to measure")
        found[name] = sorted(seen, key=lambda value: (str(type(value)), value)) if levels is None else levels[name]  # pyright: ignore[reportCallIssue, reportArgumentType]
        if unknown := seen - set(found[name]):
            there = ", ".join(map(_word, found[name]))
            raise Mistake(f"{name} is {_word(next(iter(unknown)))} in a run, and its levels are {there}")
    return found


def _cells(levels: Levels, places: np.ndarray) -> Cells:
    """The runs of each cell.  Raises Mistake unless all cells are there, equally often."""
    cells: dict[tuple[int, ...], list[int]] = {at: [] for at in product(*(range(len(own)) for own in levels.values()))}
    for i, row in enumerate(places.tolist()):
        cells[tuple(row)].append(i)
    most = max(map(len, cells.values()))
    if short := [cell for cell, members in cells.items() if len(members) < most]:
        described = "; ".join(
            " ".join(f"{name}={_word(own[k])}" for (name, own), k in zip(levels.items(), cell, strict=True))
            + f" has {len(cells[cell])}"
            for cell in short
        )
        raise Mistake(f"effects need equally many runs in every cell, {most} here: {described}")
    return cells


def _word(level: Hashable) -> str:
    return {True: "on", False: "off"}[level] if isinstance(level, bool) else str(level)


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
