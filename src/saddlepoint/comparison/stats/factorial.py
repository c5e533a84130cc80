"""Effects in a balanced factorial design: how much a level of a factor changes the score, averaged over the others.

    main effect    mean(level) - mean(first level), over all levels of the other factors
    interaction    half of how much one factor's effect differs between a level and the first level of another
    in general     sum_i c_i y_i,   c_i = 2 s_i / sum_j |s_j|
                   s_i: the product, over the effect's factors, of 1 if run i has the level that is compared with the
                   first, -1 if it has the first level, and 0 otherwise
    error          sigma sqrt(sum_i c_i^2)
                   sigma^2: the variance within cells, N - cells degrees of freedom; with B blocks, B - 1 fewer

With two levels per factor that is 2 / N sum_i s_i y_i, with the error 2 sigma / sqrt(N). Yates 1937, The design and
analysis of factorial experiments; Box, Hunter & Hunter 2005, Statistics for Experimenters, chapter 5; Montgomery,
Design and Analysis of Experiments, chapters 5 and 6. Every run contributes to every effect: with 2^5
cells of 3 runs, every effect compares 48 runs with the other 48. The p-values come from Student's t and are not
corrected for the number of effects: the caller does that.

If values are imputed, use `rank_effects`: the same effects on ranks, without intervals. The p of a main effect is
exact: two levels are exchanged within each combination of the other factors, and p is the share of all exchanges whose
sum of ranks is as far from its mean as the observed one (the stratified Wilcoxon test of van Elteren 1960, Bull. Int.
Stat. Inst. 37: 351-361, with ranks over all runs). For an interaction no
exchange of levels keeps the other effects fixed, so it has no p.
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

Levels = Mapping[str, Sequence[Hashable]]  # of each factor; the other levels are compared with the first
Cells = Mapping[tuple[int, ...], list[int]]  # by level indices, the runs in each cell


@dataclass(frozen=True)
class Effect:
    """The effect of one factor (a main effect) or of several (an interaction)."""

    factors: tuple[str, ...]
    levels: tuple[Hashable, ...]  # of each factor, the level that is compared with its first
    effect: float
    interval: Interval | None  # None for ranks
    p: float | None  # None for an interaction of ranks
    n_low: int  # runs with the sign -1
    n_high: int


@dataclass(frozen=True)
class Design:
    """A full balanced design."""

    levels: Levels
    level_indices: np.ndarray  # [N, factors]: the level of each factor in each run
    cells: Cells

    @classmethod
    def from_settings(cls, settings: Sequence[Mapping[str, Hashable]], n: int, levels: Levels | None = None) -> Design:
        """Return the design of n runs. Raises Mistake if it is not full and balanced, as `factorial_effects` does."""
        levels = _levels_by_factor(settings, n, levels)
        indices = np.array([[list(levels[name]).index(run[name]) for name in levels] for run in settings])
        return cls(levels, indices, _runs_by_cell(levels, indices))

    def effect_indices(self, order: int) -> list[tuple[tuple[int, ...], tuple[int, ...]]]:
        """Return the factors, and the level of each, of every effect of up to `order` factors; main effects first."""
        sizes = [len(levels) for levels in self.levels.values()]
        return [
            (factors, levels)
            for size in range(1, min(order, len(sizes)) + 1)
            for factors in combinations(range(len(sizes)), size)
            for levels in product(*(range(1, sizes[factor]) for factor in factors))
        ]

    def signs(self, factors: Sequence[int], levels: Sequence[int]) -> np.ndarray:
        """Return the sign of each run in an effect: 1, -1, or 0 if it has another level of one of the factors."""
        indices = self.level_indices[:, list(factors)]
        return np.where(indices == np.array(levels), 1, np.where(indices == 0, -1, 0)).prod(1)

    def weights(self, factors: Sequence[int], levels: Sequence[int]) -> np.ndarray:
        """Return the weight of each run's score in the effect."""
        signs = self.signs(factors, levels)
        return 2 * signs / np.abs(signs).sum()

    def named_effect(
        self, factors: Sequence[int], levels: Sequence[int], effect: float, interval: Interval | None, p: float | None
    ) -> Effect:
        """Return the effect with the names of its factors and levels."""
        names, signs = tuple(list(self.levels)[i] for i in factors), self.signs(factors, levels)
        level_names = tuple(self.levels[name][k] for name, k in zip(names, levels, strict=True))
        return Effect(names, level_names, effect, interval, p, int((signs < 0).sum()), int((signs > 0).sum()))


def factorial_effects(
    settings: Sequence[Mapping[str, Hashable]],
    values: Sequence[float],
    order: int = 2,
    level: float = 0.95,
    blocks: Sequence[int] | None = None,
    levels: Levels | None = None,
) -> list[Effect]:
    """Return every effect of up to `order` factors, main effects first.

    `settings` gives the level of each factor in each run (True and False for a factor that is on or off). `levels`
    gives their order; the others are compared with the first; None: sorted. `blocks` is the block of each run, for
    example its seed; the mean of each block is removed. With one run per cell, the effects above `order` estimate
    the noise. Raises Mistake if a cell is missing or has more runs than another, if a factor does not vary, if blocks
    do not contain every cell equally often, and if no run is left to estimate the noise.
    """
    y = finite_array(values)
    design = Design.from_settings(settings, y.size, levels)
    residual, freedom = _residual_and_freedom(y, design, order, None if blocks is None else np.asarray(blocks))
    noise = math.sqrt(float(residual @ residual) / freedom)
    if noise < 1e-12 * math.sqrt(y.size) * float(np.abs(y).mean()) / 2:  # rounding error, if runs of a cell are equal
        noise = 0.0
    effects = []
    for factors, indices in design.effect_indices(order):
        weights = design.weights(factors, indices)
        effect, error = float(weights @ y), noise * math.sqrt(float(weights @ weights))
        half = t_half_width(error, freedom, level)
        p = 2 * float(stats.t.sf(abs(effect) / error, freedom)) if error else float(effect == 0)
        interval = Interval(effect - half, effect + half)
        effects.append(design.named_effect(factors, indices, effect, interval, p))
    return effects


def rank_effects(
    settings: Sequence[Mapping[str, Hashable]], values: Sequence[float], order: int = 2, levels: Levels | None = None
) -> list[Effect]:
    """Return the effects on the rank of a run among all runs; 1 is the lowest value, ties have their mean rank.

    Values may be infinite. Raises Mistake if the design is not full and balanced, as `factorial_effects` does.
    """
    design = Design.from_settings(settings, len(values), levels)
    ranks = stats.rankdata(values)
    effects = []
    for factors, indices in design.effect_indices(order):
        signs, weights = design.signs(factors, indices), design.weights(factors, indices)
        p = stratified_rank_p(ranks, signs, _runs_by_other_factors(design, factors[0])) if len(factors) == 1 else None
        effects.append(design.named_effect(factors, indices, float(weights @ ranks), None, p))
    return effects


def stratified_rank_p(ranks: Sequence[float] | Array, signs: np.ndarray, strata: Sequence[Sequence[int]]) -> float:
    """Return the exact two-sided p of the sum of the ranks with sign 1, over all exchanges of 1 and -1 within strata.

    ranks [N] are whole or half numbers, as midranks are; signs [N] are 1, -1, and 0 for runs that are not exchanged.
    """
    doubled = np.rint(2 * np.asarray(ranks)).astype(int)
    observed, mean, distribution = 0, 0.0, np.ones(1)
    for members in strata:
        runs = [i for i in members if signs[i] != 0]
        high = [i for i in runs if signs[i] > 0]
        low = int(doubled[runs].min())  # ranks are counted from here, so that the distribution is short
        shifted = doubled[runs] - low
        distribution = np.convolve(distribution, _subset_sum_distribution(shifted, len(high)))
        observed += int((doubled[high] - low).sum())
        mean += len(high) * float(shifted.mean())
    distance = np.abs(np.arange(distribution.size) - mean)
    return min(1.0, float(distribution[distance >= abs(observed - mean) - 1e-6].sum()))


def _subset_sum_distribution(values: np.ndarray, size: int) -> np.ndarray:
    """Return the probability of each sum of `size` of these integers, drawn without replacement: [sum of all + 1]."""
    ways = np.zeros((size + 1, int(values.sum()) + 1))
    ways[0, 0] = 1
    for value in values.tolist():
        for k in range(size, 0, -1):
            ways[k, value:] += ways[k - 1, : ways.shape[1] - value]
    return ways[size] / ways[size].sum()


def _runs_by_other_factors(design: Design, factor: int) -> list[list[int]]:
    """Return the runs of each combination of the other factors."""
    strata: dict[tuple[int, ...], list[int]] = {}
    for cell, members in design.cells.items():
        strata.setdefault(cell[:factor] + cell[factor + 1 :], []).extend(members)
    return list(strata.values())


def _residual_and_freedom(y: Array, design: Design, order: int, blocks: np.ndarray | None) -> tuple[Array, int]:
    """Return the part of each score that the design does not explain, and its degrees of freedom."""
    order = len(design.levels) if y.size > len(design.cells) else order  # all factors: one mean per cell
    # a column is 1 if a run has these levels: together they span what effects of these factors can explain
    indices = design.level_indices
    columns = [(indices[:, list(i)] == np.array(levels)).all(1) for i, levels in design.effect_indices(order)]
    model = np.column_stack([np.ones(y.size), *columns])
    residual, freedom = y - model @ np.linalg.lstsq(model, y, rcond=None)[0], y.size - model.shape[1]
    if blocks is not None:
        for members in _runs_by_block(blocks, design.cells):
            residual[members] -= y[members].mean() - y.mean()
        freedom -= len(set(blocks.tolist())) - 1
    if freedom < 1:
        raise Mistake(
            f"{y.size} runs in {len(design.cells)} cells leave no degree of freedom to estimate the noise: "
            "train another seed of every cell, or request effects of a lower order"
        )
    return residual, freedom


def _levels_by_factor(settings: Sequence[Mapping[str, Hashable]], n: int, levels: Levels | None) -> Levels:
    """Return the levels of each factor, factors in the order in which they first occur."""
    if len(settings) != n:
        raise Mistake(f"there are {len(settings)} settings, but {n} scores")
    names = list(dict.fromkeys(name for run in settings for name in run))
    known: dict[str, Sequence[Hashable]] = {}
    for name in names:
        if not all(name in run for run in settings):
            raise Mistake(f"not every run has {name}: give each run all of {', '.join(names)}")
        values = {run[name] for run in settings}
        if len(values) < 2:
            raise Mistake(f"{name} is {_format_level(next(iter(values)))} in every run, so it has no effect to measure")
        known[name] = sorted(values, key=lambda value: (str(type(value)), value)) if levels is None else levels[name]  # pyright: ignore[reportCallIssue, reportArgumentType]
        if unknown := values - set(known[name]):
            value, listed = _format_level(next(iter(unknown))), ", ".join(map(_format_level, known[name]))
            raise Mistake(f"{name} is {value} in a run, and its levels are {listed}")
    return known


def _runs_by_cell(levels: Levels, level_indices: np.ndarray) -> Cells:
    """Return the runs of each cell. Raises Mistake unless all cells exist and have equally many runs."""
    cells: dict[tuple[int, ...], list[int]] = {
        indices: [] for indices in product(*(range(len(values)) for values in levels.values()))
    }
    for i, row in enumerate(level_indices.tolist()):
        cells[tuple(row)].append(i)
    most = max(map(len, cells.values()))
    if short := [cell for cell, members in cells.items() if len(members) < most]:
        described = "; ".join(f"{_format_cell(levels, cell)} has {len(cells[cell])}" for cell in short)
        raise Mistake(f"effects need equally many runs in every cell, {most} here: {described}")
    return cells


def _format_cell(levels: Levels, cell: tuple[int, ...]) -> str:
    return " ".join(f"{name}={_format_level(levels[name][k])}" for name, k in zip(levels, cell, strict=True))


def _format_level(level: Hashable) -> str:
    return {True: "on", False: "off"}[level] if isinstance(level, bool) else str(level)


def _runs_by_block(blocks: np.ndarray, cells: Cells) -> Iterator[list[int]]:
    """Yield the runs of each block. Raises Mistake if a block holds one cell more often than another."""
    if len(blocks) != sum(map(len, cells.values())):
        raise Mistake(f"there are {len(blocks)} blocks, but {sum(map(len, cells.values()))} scores")
    for block in np.unique(blocks):
        if len({int((blocks[members] == block).sum()) for members in cells.values()}) > 1:
            raise Mistake(
                f"block {block} must contain every cell equally often: its mean cannot be separated from the effects"
            )
        yield np.flatnonzero(blocks == block).tolist()
