"""The drawings of a search: its history, what mattered, and every trial as a line through all dimensions.

Each function returns the bytes of a PNG at 150 dpi, drawn on a figure of its own, never on pyplot's. Parallel
coordinates: Inselberg 1985, The Plane with Parallel Coordinates.
"""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from math import log10
from typing import Any

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.colors import ListedColormap, LogNorm, Normalize
from matplotlib.ticker import MaxNLocator

from saddlepoint.comparison.report.canvas import (
    BLUE,
    INK,
    ORANGE,
    VERMILLION,
    bare,
    blank,
    folded,
    legend,
    plain,
    png,
    rows,
    scale,
)
from saddlepoint.sweep.plan import Plan
from saddlepoint.sweep.space import Dimension, Range, shown
from saddlepoint.sweep.study import FAILED, PRUNED, Standing, best_first

COLOURS = ListedColormap(colormaps["viridis"](np.linspace(0, 0.9, 256)))  # its last yellow is no line on white
WIDE = 5  # scores that span more than this are drawn on a log axis: what is near the best is what one looks at


def history(plan: Plan, trials: Sequence[Standing]) -> bytes:
    """The score of every trial in order, and the best so far; a pruned one where it was given up, failed ones below."""
    figure = blank(8.0, 4.4)
    axes = figure.add_subplot()
    bare(axes)
    finished = [(one.number, one.value) for one in trials if one.value is not None]
    pruned = [(one.number, one.curve[max(one.curve)]) for one in trials if one.state == PRUNED and one.curve]
    failed = [(one.number, 0.02) for one in trials if one.state == FAILED]  # a place on the axes, not a score
    _best_so_far(axes, plan, finished, len(trials) - 1)
    marks = {"markersize": 4.5, "linestyle": "none"}
    axes.plot(*_columns(finished), marker="o", color=BLUE, label="finished", **marks)
    if pruned:
        label = "pruned, its last score"
        axes.plot(*_columns(pruned), marker="o", markerfacecolor="white", color=ORANGE, label=label, **marks)
    if failed:
        below = axes.get_xaxis_transform()
        axes.plot(*_columns(failed), marker="x", color=VERMILLION, label="failed", transform=below, **marks)
    shown_values = [value for _, value in (*finished, *pruned)]
    scale(axes, "y", shown_values, log=_wide(shown_values))
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.set_xlabel("trial", fontsize=9)
    axes.set_ylabel(_worth(plan), fontsize=9)
    legend(figure, axes)
    return png(figure)


def _best_so_far(axes: Axes, plan: Plan, finished: Sequence[tuple[int, float]], last: int) -> None:
    """A line of steps, up to the last trial."""
    if finished:
        numbers, values = _columns(finished)
        best = (np.maximum if plan.objective.higher_is_better else np.minimum).accumulate(values)
        axes.step([*numbers, last], [*best, best[-1]], color=INK, where="post", linewidth=1.2, label="best so far")


def _columns(points: Sequence[tuple[int, float]]) -> tuple[list[int], list[float]]:
    return [number for number, _ in points], [value for _, value in points]


def importance(plan: Plan, shares: Mapping[str, float], finished: int) -> bytes:
    """A bar per dimension: its share of the spread of the scores of so many trials."""
    figure, axes, places = rows(list(shares), least=0.42)
    axes.barh(places, list(shares.values()), height=0.22, color=BLUE)
    for place, share in zip(places, shares.values(), strict=True):
        axes.text(share + 0.01, place, f"{share:.2f}", va="center", fontsize=8, color=INK)
    axes.set_xlim(0, max(1.0, *shares.values()) * 1.05)
    axes.set_xlabel(
        f"share of the variance of {plain(plan.objective.name)}, {finished} finished trials (fANOVA)", fontsize=9
    )
    return png(figure)


def parallel(plan: Plan, trials: Sequence[Standing]) -> bytes:
    """An axis per dimension and one of the score; a line per finished trial, darker where better, the best one red."""
    finished = best_first(plan, trials)[::-1]  # the best on top
    figure = blank(max(6.0, 1.9 * (len(plan.space) + 1)), 4.6)
    axes = figure.add_subplot()
    axes.axis("off")
    norm, heights = _scored([one.value or 0.0 for one in finished])
    for one, height in zip(finished, heights, strict=True):
        last = one is finished[-1]
        points = [*(_place(each, one.params[each.key]) for each in plan.space), height]
        colour = VERMILLION if last else _colour(norm, one.value or 0.0, plan.objective.higher_is_better)
        axes.plot(range(len(points)), points, color=colour, linewidth=2.2 if last else 0.9, alpha=1 if last else 0.75,
                  label=f"best, trial {one.number}" if last else None)  # fmt: skip
    for x, each in enumerate(plan.space):
        _axis(axes, x, _marks(each), _name(each.key))
    _axis(axes, len(plan.space), _score_marks(norm), folded(_worth(plan), 16))
    axes.set_xlim(-0.35, len(plan.space) + 0.45)
    axes.set_ylim(-0.05, 1.16)
    legend(figure, axes)
    return png(figure)


def _name(key: str) -> str:
    """A key over several lines, broken behind its dots."""
    return plain(textwrap.fill(key.replace(".", ". "), 24).replace(". ", "."))


def _worth(plan: Plan) -> str:
    return plain(f"{plan.objective.name} on validation, {plan.objective.way}")


def _scored(values: Sequence[float]) -> tuple[Normalize, list[float]]:
    """The scale of the scores, log where they span much, and each one's height on it."""
    low, high = min(values), max(values)
    norm = (LogNorm if _wide(values) else Normalize)(low, high if high > low else low + (abs(low) or 1.0))
    return norm, [float(norm(value)) for value in values]


def _colour(norm: Normalize, value: float, higher_is_better: bool) -> Any:
    share = float(norm(value))
    return COLOURS(1 - share if higher_is_better else share)


def _wide(values: Sequence[float]) -> bool:
    return min(values, default=0.0) > 0 and max(values) > WIDE * min(values)


def _score_marks(norm: Normalize) -> list[tuple[float, str]]:
    return [(share, shown(float(norm.inverse(share)))) for share in (0.0, 0.25, 0.5, 0.75, 1.0)]


def _place(dimension: Dimension, value: Any) -> float:
    """Where on its axis a value stands, 0 to 1."""
    if not isinstance(dimension, Range):
        labels = list(dimension.levels)
        return labels.index(str(value)) / max(1, len(labels) - 1)
    low, high, at = (log10(x) if dimension.log else float(x) for x in (dimension.low, dimension.high, value))
    return (at - low) / (high - low) if high > low else 0.5


def _marks(dimension: Dimension) -> list[tuple[float, str]]:
    """Ticks of an axis: (place, text)."""
    if not isinstance(dimension, Range):
        return [(_place(dimension, label), folded(label, 18)) for label in dimension.levels]
    if dimension.log:
        first, last = np.ceil(log10(dimension.low) - 1e-9), np.floor(log10(dimension.high) + 1e-9)
        ticks = [10.0**k for k in np.arange(first, last + 1)]
        ticks = ticks if len(ticks) > 1 else [dimension.low, dimension.high]
    else:
        inside = MaxNLocator(5, integer=dimension.whole).tick_values(dimension.low, dimension.high)
        ticks = [tick for tick in inside if dimension.low <= tick <= dimension.high]
    return [(_place(dimension, tick), f"{tick:g}") for tick in ticks]


def _axis(axes: Axes, x: int, marks: Sequence[tuple[float, str]], name: str) -> None:
    axes.plot([x, x], [0, 1], color=INK, linewidth=1, zorder=3)
    for place, text in marks:
        axes.plot([x, x + 0.03], [place, place], color=INK, linewidth=0.8, zorder=3)
        axes.text(x + 0.05, place, text, fontsize=7, va="center", color=INK, zorder=4,
                  bbox={"facecolor": "white", "edgecolor": "none", "alpha": 0.7, "pad": 0.5})  # fmt: skip
    axes.text(x, 1.06, name, fontsize=8, ha="center", va="bottom", color=INK)
