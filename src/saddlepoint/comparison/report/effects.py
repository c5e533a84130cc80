"""Arms as a factorial design: how much each level of a factor moves the score, over all levels of the other factors.

Every run tells of every factor, so an effect is read off all runs at once; cells are not compared with each other.
The main effects are the family that Holm's correction counts; interactions are exploratory.
"""

from collections.abc import Sequence

from saddlepoint.comparison.arms.comparison import Comparison, short_settings
from saddlepoint.comparison.arms.grouping import format_setting
from saddlepoint.comparison.report.sheet import Cell, Sheet, interval_cell, p_value_cell
from saddlepoint.comparison.report.table import failure_note
from saddlepoint.comparison.stats.factorial import Effect, factorial_effects, rank_effects
from saddlepoint.comparison.stats.multiple_testing import holm_p_values
from saddlepoint.error import Mistake

OFF = ("none", "null", "false", "off", "no", "0", "[]")  # values that say that something is not there


def design_effects(comparison: Comparison) -> list[Effect]:
    """Main effects and two-factor interactions of the keys of `by`; of ranks where the value of some run is imputed.

    Raises Mistake for what is no full design.
    """
    levels = {key: _ordered(key, comparison) for key in comparison.by}
    entries = [(arm, entry) for arm in comparison.arms for entry in arm.entries]
    settings = [{key: format_setting(arm.settings[key]) for key in levels} for arm, _ in entries]
    values = [entry.value for _, entry in entries]
    if uses_ranks(comparison):
        return rank_effects(settings, values, levels=levels)
    crossed = len({tuple(entry.seed for entry in arm.entries) for arm in comparison.arms}) == 1
    blocks = [entry.seed for _, entry in entries] if comparison.shared_per_seed and crossed else None
    return factorial_effects(settings, values, level=1 - comparison.asked.level, blocks=blocks, levels=levels)


def uses_ranks(comparison: Comparison) -> bool:
    """Whether the effects are of ranks: where the value of some run is imputed, a mean of scores is none."""
    return any(arm.has_imputed for arm in comparison.arms)


def effects_sheet(comparison: Comparison, found: Sequence[Effect]) -> Sheet:
    """Every effect with its interval; Holm's p of the main ones."""
    ranks = uses_ranks(comparison)
    adjusted = holm_p_values(
        {effect_name(comparison, one): one.p for one in found if len(one.factors) == 1 and one.p is not None}
    )
    columns = {
        "effect of": [Cell(effect_name(comparison, one)) for one in found],
        "on the rank" if ranks else "on the score": [interval_cell(one.effect, one.interval) for one in found],
        "runs": [Cell(f"{one.n_high} against {one.n_low}") for one in found],
        "p": [p_value_cell(one.p) for one in found],
        "Holm p": [
            p_value_cell(adjusted[effect_name(comparison, one)]) if len(one.factors) == 1 else Cell("exploratory")
            for one in found
        ],
    }
    notes = [
        _reading(comparison, len(adjusted)),
        "Cells are not compared with each other: every run tells of every factor.",
    ]
    return Sheet.from_columns(f"effects on {comparison.primary.key}", columns, notes)


def _reading(comparison: Comparison, family: int) -> str:
    better = "higher" if comparison.primary.higher_is_better else "lower"
    what = (
        f"{better.capitalize()} scores are better. An effect is the mean {{}} at a level less that at the factor's "
        "first level, over all levels of the other factors; an interaction (x) half of how much one factor's effect "
        "changes with the other. "
    )
    holms = f"Holm's p over the {family} main effects."
    if not uses_ranks(comparison):
        level = 100 * (1 - comparison.asked.level)
        return f"{what.format('score')}{level:g}% t-intervals from the spread between runs of one cell; {holms}"
    n = sum(len(arm.values) for arm in comparison.arms)
    return (
        f"{failure_note(comparison)} So the effects are of ranks, from 1, the lowest score, to {n}, and have no "
        f"t-interval. {what.format('rank')}p of a main effect: exact, by exchanging its two levels within each "
        f"combination of the others; {holms} An interaction of ranks has no exact test."
    )


def effect_name(comparison: Comparison, contrast: Effect) -> str:
    """ "smoothing: off → on", "smoothing x averaging"; the level too where a factor has more than two."""
    levels, short = {key: _ordered(key, comparison) for key in contrast.factors}, short_settings(comparison)
    first, *more = contrast.factors
    if not more:
        return f"{first}: {levels[first][0]} → {contrast.levels[0]}"
    return " x ".join(
        key if len(levels[key]) == 2 else short[f"{key}={level}"]
        for key, level in zip(contrast.factors, contrast.levels, strict=True)
    )


def _ordered(key: str, comparison: Comparison) -> tuple[str, ...]:
    """A factor's levels: the baseline's first where one was named, else what says off; then as the arms have them."""
    values = list(dict.fromkeys(format_setting(arm.settings[key]) for arm in comparison.arms))
    if len(values) < 2:
        raise Mistake(f"factorial=true: {key} is {values[0]} in every arm, so it has no effect to measure")
    if comparison.asked.baseline is None:
        values.sort(key=lambda value: (value.lower() not in OFF, value))
    return tuple(values)
