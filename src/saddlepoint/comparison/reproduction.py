"""Whether a published figure was met: an equivalence test of the mean of several seeds.

    MET        the interval of the mean lies inside [target - below, target + above]
    NOT MET    it lies outside, or the mean is better than `suspicious`, or a score is no number
    UNDECIDED  it crosses a bound: more seeds would tell

The 90% interval inside is two one-sided tests at 5% each (Schuirmann 1987, J. Pharmacokinet. Biopharm. 15 (6)); a mean
near the target proves nothing by itself, and a wide interval around it is not "met".  A contrast has Welch's interval
(Welch 1947, Biometrika 34), which does not ask for equal spreads.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from scipy import stats

from saddlepoint.comparison.interval import Estimate, Interval, estimate
from saddlepoint.comparison.sample import sample
from saddlepoint.error import Mistake

Word = Literal["MET", "NOT MET", "UNDECIDED"]
Tolerance = float | tuple[float | None, float | None]  # below and above the target; None: as far as it likes


@dataclass(frozen=True)
class Verdict:
    """The word, what it stands on, and the reason."""

    verdict: Word
    estimate: Estimate
    interval: Interval | None  # of the mean, or of the difference; None where a spread is unknown
    distance: float  # mean less target
    why: str


def reproduced(
    values: Sequence[float],
    target: float,
    tolerance: Tolerance,
    level: float = 0.90,
    suspicious: float | None = None,
    direction: Literal["lower", "higher"] = "lower",
    deterministic: bool = False,
) -> Verdict:
    """Whether the mean of `values` meets the target.

    `direction` is the better one, in which `suspicious` bounds what can be believed.  `deterministic` scores are the
    same for every seed: their interval is the point, even of one run, and scores that differ are NOT MET.
    Raises Mistake for no values, and for a tolerance that is negative or no bound at all.
    """
    bounds = _bounds(target, tolerance)
    if (wrong := _unmeasured(values)) is not None:
        return wrong
    found = estimate(values, level)
    if deterministic:
        found = Estimate(found.n, found.mean, found.std, None, Interval(min(values), max(values)))
        if not math.isclose(min(values), max(values), rel_tol=1e-9, abs_tol=1e-12):
            why = f"said to be deterministic, and its runs differ: {min(values):.6g} to {max(values):.6g}"
            return Verdict("NOT MET", found, found.interval, found.mean - target, why)
    return _judged(found, target, bounds, suspicious, direction)


def contrast_reproduced(
    a: Sequence[float],
    b: Sequence[float],
    target: float,
    tolerance: Tolerance,
    level: float = 0.90,
    suspicious: float | None = None,
    direction: Literal["lower", "higher"] = "lower",
) -> Verdict:
    """Whether the mean of a minus that of b meets the target; the estimate's n counts the runs of both."""
    bounds = _bounds(target, tolerance)
    if (wrong := _unmeasured([*a, *b])) is not None:
        return wrong
    return _judged(_difference(a, b, level), target, bounds, suspicious, direction)


def _difference(a: Sequence[float], b: Sequence[float], level: float) -> Estimate:
    first, second = sample(a), sample(b)
    n, mean = first.size + second.size, float(first.mean() - second.mean())
    if min(first.size, second.size) < 2:
        return Estimate(n, mean, None, None, None)
    if np.ptp(first) == 0 and np.ptp(second) == 0:  # Welch's degrees of freedom would be 0 / 0
        return Estimate(n, mean, None, None, Interval(mean, mean))
    ends = stats.ttest_ind(first, second, equal_var=False).confidence_interval(level)
    return Estimate(n, mean, None, None, Interval(float(ends.low), float(ends.high)))


def _judged(
    found: Estimate, target: float, bounds: Interval, suspicious: float | None, direction: Literal["lower", "higher"]
) -> Verdict:
    if direction not in ("lower", "higher"):
        raise Mistake(f"direction={direction} says what is better: lower or higher")
    word, why = _word(found, bounds)
    if suspicious is not None and (found.mean < suspicious if direction == "lower" else found.mean > suspicious):
        word, why = "NOT MET", f"too good: mean {found.mean:.6g} is beyond {suspicious:.6g}; suspect a leak"
    return Verdict(word, found, found.interval, found.mean - target, why)


def _word(found: Estimate, bounds: Interval) -> tuple[Word, str]:
    allowed = f"[{bounds.low:.6g}, {bounds.high:.6g}]"
    own = found.interval
    if own is None:
        return "UNDECIDED", f"one run has no spread, so {found.mean:.6g} has no interval to hold against {allowed}"
    said = f"the interval [{own.low:.6g}, {own.high:.6g}]"
    if bounds.low <= own.low and own.high <= bounds.high:
        return "MET", f"{said} lies inside {allowed}"
    if own.high < bounds.low or bounds.high < own.low:
        return "NOT MET", f"{said} lies outside {allowed}"
    return "UNDECIDED", f"{said} crosses a bound of {allowed}: train more seeds"


def _bounds(target: float, tolerance: Tolerance) -> Interval:
    below, above = tolerance if isinstance(tolerance, tuple) else (tolerance, tolerance)
    if below is None and above is None:
        raise Mistake("a tolerance without a bound is met by anything: give how far below, how far above, or both")
    if any(side is not None and not side >= 0 for side in (below, above)):
        raise Mistake(f"tolerance={tolerance} is how far from the target is near enough: 0 or more")
    return Interval(-math.inf if below is None else target - below, math.inf if above is None else target + above)


def _unmeasured(values: Sequence[float]) -> Verdict | None:
    """The verdict on scores of which one is no number; None where all are."""
    wrong = [value for value in values if not math.isfinite(value)]
    if not wrong:
        return None
    nothing = Estimate(len(values), math.nan, None, None, None)
    return Verdict("NOT MET", nothing, None, math.nan, f"{len(wrong)} of {len(values)} scores: {wrong[0]}")
