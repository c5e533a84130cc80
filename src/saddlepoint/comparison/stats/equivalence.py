"""Equivalence test: whether the mean, or the median, of several seeds reproduces a published figure.

    MET        its interval lies inside [target - below, target + above]
    NOT MET    it lies outside, or the figure is better than `suspicious`, or a score is not finite
    UNDECIDED  it crosses a bound, or there is no interval: train more seeds

A 90% interval inside the tolerance is two one-sided tests at 5% each (Schuirmann 1987, J. Pharmacokinet. Biopharm. 15
(6)). A mean near the target proves nothing by itself, and a wide interval around the target is not MET. A contrast has
Welch's interval (Welch 1947, Biometrika 34), which does not assume equal variances. A median has the interval between
two of the sorted scores, exact for any distribution; at 90% it takes five runs (Conover 1999, Practical Nonparametric
Statistics, 3.2).

Student's interval of equal scores has length 0: two runs with 8 modes of 8 would prove any claim. If the range of the
score is known (a count of 8 modes lies in [0, 8]) and most scores lie at one of its ends, or all are equal, the
interval is the one that holds for any distribution within the range; otherwise Student's interval is cut at the range.
If the range is unknown, equal scores have no interval.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal, get_args

import numpy as np
from scipy import stats

from saddlepoint.comparison.stats.interval import (
    Estimate,
    Interval,
    bounded_mean_interval,
    estimate,
    finite_array,
    has_spread,
    is_mostly_at_bound,
    median_interval,
)
from saddlepoint.error import Mistake

Verdict = Literal["MET", "NOT MET", "UNDECIDED"]
Statistic = Literal["mean", "median"]
Tolerance = float | tuple[float | None, float | None]  # below and above the target; None: unbounded


@dataclass(frozen=True)
class EquivalenceResult:
    """A verdict, the numbers behind it, and the reason."""

    verdict: Verdict
    n: int
    measured: float  # mean, median, or difference of two means; NaN if a score is not finite
    std: float | None
    interval: Interval | None  # of `measured`; None if the spread is unknown
    distance: float  # measured minus target
    reason: str


def equivalence_test(
    values: Sequence[float],
    target: float,
    tolerance: Tolerance,
    level: float = 0.90,
    suspicious: float | None = None,
    direction: Literal["lower", "higher"] = "lower",
    deterministic: bool = False,
    score_range: Interval | None = None,
    minus: Sequence[float] | None = None,
    statistic: Statistic = "mean",
) -> EquivalenceResult:
    """Test whether the mean of `values` meets the target; with `minus`, the mean of `values` minus that of `minus`.

    `direction` is the better one; a figure better than `suspicious` is not believed. `deterministic` scores are equal
    for all seeds: their interval is the point, even of one run, and scores that differ are NOT MET. `score_range` is
    the range of the score; None: unbounded or unknown. The n of a contrast counts the runs of both arms.
    `statistic="median"` tests the median of `values`. Raises Mistake for no values, for a tolerance that is negative or
    has no bound, for an unknown direction or statistic, for the median of a contrast, and for scores outside the range.
    """
    bounds = _target_bounds(target, tolerance)
    if direction not in ("lower", "higher"):
        raise Mistake(f"direction={direction}: write which scores are better, lower or higher")
    if statistic not in get_args(Statistic) or (statistic == "median" and minus is not None):
        raise Mistake(f"statistic={statistic}: write mean or median; two arms can be compared by their means only")
    scores = [*values, *(minus or ())]
    if not_finite := [score for score in scores if not math.isfinite(score)]:
        reason = f"{len(not_finite)} of {len(scores)} scores: {not_finite[0]}"
        return EquivalenceResult("NOT MET", len(scores), math.nan, None, None, math.nan, reason)
    estimate = (
        _estimate_difference(values, minus, level, score_range)
        if minus is not None
        else _estimate_mean(values, level, score_range)
    )
    n, measured, std, interval = estimate.n, estimate.mean, estimate.std, estimate.interval
    if statistic == "median":
        measured, interval = float(np.median(values)), median_interval(values, level)
    if deterministic:
        interval = Interval(min(values), max(values))
    verdict, reason = _verdict_and_reason(n, measured, std, interval, bounds, statistic)
    if suspicious is not None and (measured < suspicious if direction == "lower" else measured > suspicious):
        verdict, reason = "NOT MET", f"too good: {statistic} {measured:.6g} is beyond {suspicious:.6g}; suspect a leak"
    if deterministic and not math.isclose(min(values), max(values), rel_tol=1e-9, abs_tol=1e-12):
        reason = f"declared deterministic, and its runs differ: {min(values):.6g} to {max(values):.6g}"
        verdict = "NOT MET"
    return EquivalenceResult(verdict, n, measured, std, interval, measured - target, reason)


def _estimate_mean(values: Sequence[float], level: float, score_range: Interval | None) -> Estimate:
    """Return mean and spread; the interval is Student's cut at the range, or the one for any distribution within it."""
    mean = estimate(values, level)
    if score_range is None or mean.n == 1:
        return mean
    any_distribution = bounded_mean_interval(values, score_range, level)  # also raises for scores outside the range
    student = mean.interval
    if student is None or is_mostly_at_bound(values, score_range):
        return replace(mean, interval=any_distribution)
    return replace(mean, interval=Interval(max(student.low, score_range.low), min(student.high, score_range.high)))


def _estimate_difference(
    a: Sequence[float], b: Sequence[float], level: float, score_range: Interval | None
) -> Estimate:
    arms = finite_array(a), finite_array(b)
    n, mean = arms[0].size + arms[1].size, float(arms[0].mean() - arms[1].mean())
    if min(arms[0].size, arms[1].size) < 2:
        return Estimate(n, mean, None, None, None)
    if any(not has_spread(arm) or (score_range and is_mostly_at_bound(arm, score_range)) for arm in arms):
        # Bonferroni: each interval at half the error. None if an arm has no interval: it would count as known exactly
        first, second = (_estimate_mean(arm.tolist(), (1 + level) / 2, score_range).interval for arm in arms)
        interval = first and second and Interval(first.low - second.high, first.high - second.low)
        return Estimate(n, mean, None, None, interval)
    welch = stats.ttest_ind(*arms, equal_var=False).confidence_interval(level)
    return Estimate(n, mean, None, None, Interval(float(welch.low), float(welch.high)))


def _verdict_and_reason(
    n: int, measured: float, std: float | None, interval: Interval | None, bounds: Interval, statistic: Statistic
) -> tuple[Verdict, str]:
    tolerance = f"[{bounds.low:.6g}, {bounds.high:.6g}]"
    if interval is None:
        reason = "one run, or an arm without any spread, has no interval"
        if statistic == "median":
            reason = f"{n} runs are too few for an interval of their median"
        elif std == 0:
            reason = (
                f"all {n} runs have one score, so their spread is unknown (range: [least, most] of the score "
                "gives a bound without it; deterministic: true states that the score cannot differ)"
            )
        return "UNDECIDED", f"{reason}, so {measured:.6g} has no interval to compare with {tolerance}"
    subject = f"the interval [{interval.low:.6g}, {interval.high:.6g}]"
    if bounds.low <= interval.low and interval.high <= bounds.high:
        return "MET", f"{subject} lies inside {tolerance}"
    if interval.high < bounds.low or bounds.high < interval.low:
        return "NOT MET", f"{subject} lies outside {tolerance}"
    return "UNDECIDED", f"{subject} crosses a bound of {tolerance}: train more seeds"


def _target_bounds(target: float, tolerance: Tolerance) -> Interval:
    below, above = tolerance if isinstance(tolerance, tuple) else (tolerance, tolerance)
    if below is None and above is None:
        raise Mistake("a tolerance without a bound is met by any score: state how far below, how far above, or both")
    if any(side is not None and not side >= 0 for side in (below, above)):
        raise Mistake(f"tolerance={tolerance}: a tolerance is a distance from the target, 0 or more")
    return Interval(-math.inf if below is None else target - below, math.inf if above is None else target + above)
