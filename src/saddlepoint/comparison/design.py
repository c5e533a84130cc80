"""Arms as a two-level factorial design: how much each factor moves the score, over all levels of the others.

Every run tells of every factor, so an effect is read off all runs at once; cells are not compared with each other.
The main effects are the family that Holm's correction counts; interactions are exploratory.
"""

from __future__ import annotations

from collections.abc import Sequence

from saddlepoint.comparison.comparison import Comparison
from saddlepoint.comparison.factorial import Contrast, contrasts
from saddlepoint.comparison.grouping import told
from saddlepoint.comparison.multiple import holm
from saddlepoint.comparison.number import probability, ranged
from saddlepoint.comparison.sheet import Cell, Sheet
from saddlepoint.error import Mistake

OFF = ("none", "null", "false", "off", "no", "0", "[]")  # values that say that something is not there


def effects(comparison: Comparison) -> list[Contrast]:
    """Main effects and two-factor interactions of the keys of `by`.  Raises Mistake for what is no full design."""
    levels = _levels(comparison)
    entries = [(arm, entry) for arm in comparison.arms for entry in arm.entries]
    settings = [{key: told(arm.settings[key]) == levels[key][1] for key in levels} for arm, _ in entries]
    crossed = len({tuple(entry.seed for entry in arm.entries) for arm in comparison.arms}) == 1
    blocks = [entry.seed for _, entry in entries] if comparison.shared and crossed else None
    return contrasts(settings, [entry.value for _, entry in entries], level=1 - comparison.asked.level, blocks=blocks)


def effects_sheet(comparison: Comparison, found: Sequence[Contrast]) -> Sheet:
    """Every effect with its interval; Holm's p of the main ones."""
    levels = _levels(comparison)
    adjusted = holm({one.name[0]: one.p for one in found if len(one.name) == 1})
    better = "higher" if comparison.primary.higher_is_better else "lower"
    columns = {
        "effect of": [Cell(spoken(one, levels)) for one in found],
        "on the score": [ranged(one.effect, one.interval) for one in found],
        "runs": [Cell(f"{one.n_high} against {one.n_low}") for one in found],
        "p": [probability(one.p) for one in found],
        "Holm p": [probability(adjusted[one.name[0]]) if len(one.name) == 1 else Cell("exploratory") for one in found],
    }
    notes = [
        f"{better.capitalize()} scores are better. An effect is the mean score at the second level less that at the "
        "first, over all levels of the other factors; an interaction (x) half of how much one factor's effect changes "
        f"with the other. {100 * (1 - comparison.asked.level):g}% t-intervals from the spread between runs of one "
        f"cell; Holm's p over the {len(adjusted)} main effects.",
        "Cells are not compared with each other: every run tells of every factor.",
    ]
    rows = tuple(zip(*columns.values(), strict=True))
    return Sheet(f"effects on {comparison.primary.key}", tuple(columns), rows, tuple(notes))


def spoken(contrast: Contrast, levels: dict[str, tuple[str, str]]) -> str:
    """ "smoothing: off -> on", "smoothing x averaging"."""
    first, *more = contrast.name
    return " x ".join(contrast.name) if more else f"{first}: {' → '.join(levels[first])}"


def pictured(comparison: Comparison, found: Sequence[Contrast]) -> list[tuple[str, float, float, float]]:
    """The effects as the drawing takes them."""
    levels = _levels(comparison)
    return [(spoken(one, levels), one.effect, one.interval.low, one.interval.high) for one in found]


def _levels(comparison: Comparison) -> dict[str, tuple[str, str]]:
    """Of each key, its first and second level: the baseline's first where one was named, else what says off."""
    return {key: _ordered(key, comparison) for key in comparison.by}


def _ordered(key: str, comparison: Comparison) -> tuple[str, str]:
    values = list(dict.fromkeys(told(arm.settings[key]) for arm in comparison.arms))
    if len(values) != 2:
        raise Mistake(
            f"factorial=true takes keys of two values each; {key} has {len(values)}: {', '.join(values)}. "
            "factorial=false compares the arms with the baseline"
        )
    if comparison.asked.baseline is None:
        values.sort(key=lambda value: (value.lower() not in OFF, value))
    return values[0], values[1]
