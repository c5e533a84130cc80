"""Arms as a factorial design: how much each level of a factor changes the score, over all levels of the others.

Every run contributes to every factor, so an effect uses all runs at once; cells are not compared with each other.
Holm's correction counts the main effects; interactions are exploratory.
"""

from collections.abc import Sequence

from saddlepoint.comparison.arms.comparison import Comparison, short_settings
from saddlepoint.comparison.arms.grouping import format_setting
from saddlepoint.comparison.report.sheet import Cell, Sheet, interval_cell, p_value_cell
from saddlepoint.comparison.report.table import failure_note
from saddlepoint.comparison.stats.factorial import Effect, factorial_effects, rank_effects
from saddlepoint.comparison.stats.multiple_testing import holm_p_values
from saddlepoint.error import Mistake

OFF = ("none", "null", "false", "off", "no", "0", "[]")  # values for something that is switched off


def design_effects(comparison: Comparison) -> list[Effect]:
    """Return main effects and two-factor interactions of the keys of `by`; of ranks if a value is imputed.

    Raises Mistake if the arms are not a full balanced design.
    """
    levels = {key: _ordered_levels(key, comparison) for key in comparison.by}
    runs = [(arm, run) for arm in comparison.arms for run in arm.runs]
    settings = [{key: format_setting(arm.settings[key]) for key in levels} for arm, _ in runs]
    values = [run.value for _, run in runs]
    if uses_ranks(comparison):
        return rank_effects(settings, values, levels=levels)
    same_seeds = len({tuple(run.seed for run in arm.runs) for arm in comparison.arms}) == 1
    blocks = [run.seed for _, run in runs] if comparison.shared_per_seed and same_seeds else None
    return factorial_effects(settings, values, level=1 - comparison.options.level, blocks=blocks, levels=levels)


def uses_ranks(comparison: Comparison) -> bool:
    """Whether effects are of ranks: imputed values have no mean."""
    return any(arm.has_imputed for arm in comparison.arms)


def effects_sheet(comparison: Comparison, effects: Sequence[Effect]) -> Sheet:
    """Return the table of all effects with intervals, and Holm's p of the main effects."""
    names = [effect_name(comparison, effect) for effect in effects]
    p_values = {name: e.p for name, e in zip(names, effects, strict=True) if len(e.factors) == 1 and e.p is not None}
    adjusted = holm_p_values(p_values)
    columns = {
        "effect of": [Cell(name) for name in names],
        "on the rank" if uses_ranks(comparison) else "on the score": [
            interval_cell(effect.effect, effect.interval) for effect in effects
        ],
        "runs": [Cell(f"{effect.n_high} against {effect.n_low}") for effect in effects],
        "p": [p_value_cell(effect.p) for effect in effects],
        "Holm p": [
            p_value_cell(adjusted[name]) if len(effect.factors) == 1 else Cell("exploratory")
            for name, effect in zip(names, effects, strict=True)
        ],
    }
    notes = [
        _effects_note(comparison, len(adjusted)),
        "Cells are not compared with each other: every run contributes to every factor.",
    ]
    return Sheet.from_columns(f"effects on {comparison.primary.key}", columns, notes)


def _effects_note(comparison: Comparison, family: int) -> str:
    better = "higher" if comparison.primary.higher_is_better else "lower"
    definition = (
        f"{better.capitalize()} scores are better. An effect is the mean {{}} at a level minus that at the factor's "
        "first level, over all levels of the other factors; an interaction (x) is half of how much one factor's effect "
        "changes with the other. "
    )
    holm = f"Holm's p over the {family} main effects."
    if not uses_ranks(comparison):
        level = 100 * (1 - comparison.options.level)
        return f"{definition.format('score')}{level:g}% t-intervals from the spread between runs of one cell; {holm}"
    n = sum(len(arm.values) for arm in comparison.arms)
    return (
        f"{failure_note(comparison)} The effects are therefore of ranks, from 1, the lowest score, to {n}, and have no "
        f"t-interval. {definition.format('rank')}p of a main effect: exact, by exchanging its two levels within each "
        f"combination of the others; {holm} An interaction of ranks has no exact test."
    )


def effect_name(comparison: Comparison, effect: Effect) -> str:
    """Return "smoothing: off → on", or "smoothing x averaging" with the level of factors of more than two levels."""
    levels, short = {key: _ordered_levels(key, comparison) for key in effect.factors}, short_settings(comparison)
    first, *others = effect.factors
    if not others:
        return f"{first}: {levels[first][0]} → {effect.levels[0]}"
    return " x ".join(
        key if len(levels[key]) == 2 else short[f"{key}={level}"]
        for key, level in zip(effect.factors, effect.levels, strict=True)
    )


def _ordered_levels(key: str, comparison: Comparison) -> tuple[str, ...]:
    """Return a factor's levels: the requested baseline's first, else an OFF value; then in the order of the arms."""
    values = list(dict.fromkeys(format_setting(arm.settings[key]) for arm in comparison.arms))
    if len(values) < 2:
        raise Mistake(f"factorial=true: {key} is {values[0]} in every arm, so it has no effect to measure")
    if comparison.options.baseline is None:
        values.sort(key=lambda value: (value.lower() not in OFF, value))
    return tuple(values)
