"""Whether a published figure was met: an equivalence test of the mean of several seeds.

    MET        the interval of the mean lies inside [target - below, target + above]
    NOT MET    it lies outside, or the mean is better than `suspicious`, or a score is no number
    UNDECIDED  it crosses a bound, or there is none: more seeds would tell

The 90% interval inside is two one-sided tests at 5% each (Schuirmann 1987, J. Pharmacokinet. Biopharm. 15 (6)); a mean
near the target proves nothing by itself, and a wide interval around it is not "met".  A contrast has Welch's interval
(Welch 1947, Biometrika 34), which does not ask for equal spreads.

Runs that all have one score say nothing of their spread, and Student's interval of them would have no length: two runs
of 8 modes of 8 would prove any claim.  Where the score's range is known (a count of 8 modes lies in [0, 8]) and most of
the runs are at one end of it, or all are equal, the interval is the one that holds for any law within the range; else
Student's is cut at the range.  Where the range is not known, equal scores have no interval.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

from scipy import stats

from saddlepoint.comparison.stats.interval import (
    Estimate,
    Interval,
    bounded_mean_interval,
    estimate,
    finite_array,
    has_spread,
    is_mostly_at_bound,
)
from saddlepoint.error import Mistake

Word = Literal["MET", "NOT MET", "UNDECIDED"]
Tolerance = float | tuple[float | None, float | None]  # below and above the target; None: as far as it likes


@dataclass(frozen=True)
class EquivalenceResult:
    """The word, what it stands on, and the reason."""

    verdict: Word
    estimate: Estimate
    interval: Interval | None  # of the mean, or of the difference; None where a spread is unknown
    distance: float  # mean less target
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
) -> EquivalenceResult:
    """Whether the mean of `values`, or the contrast of it less the mean of `minus`, meets the target.

    `direction` is the better one, in which `suspicious` bounds what can be believed.  `deterministic` scores are the
    same for every seed: their interval is the point, even of one run, and scores that differ are NOT MET.  `within` is
    the range that a score can lie in; None: unbounded, or nobody knows.  The n of a contrast counts the runs of both.
    Raises Mistake for no values, for a tolerance that is negative or no bound at all, for an unknown direction, and for
    scores outside the range.
    """
    bounds = _bounds(target, tolerance)
    if direction not in ("lower", "higher"):
        raise Mistake(f"direction={direction} says what is better: lower or higher")
    scores = [*values, *(minus or ())]
    if wrong := [score for score in scores if not math.isfinite(score)]:
        nothing = Estimate(len(scores), math.nan, None, None, None)
        return EquivalenceResult(
            "NOT MET", nothing, None, math.nan, f"{len(wrong)} of {len(scores)} scores: {wrong[0]}"
        )
    found = _estimate(values, level, score_range) if minus is None else _difference(values, minus, level, score_range)
    if deterministic:
        found = Estimate(found.n, found.mean, found.std, None, Interval(min(values), max(values)))
        if not math.isclose(min(values), max(values), rel_tol=1e-9, abs_tol=1e-12):
            why = f"said to be deterministic, and its runs differ: {min(values):.6g} to {max(values):.6g}"
            return EquivalenceResult("NOT MET", found, found.interval, found.mean - target, why)
    word, why = _word(found, bounds)
    if suspicious is not None and (found.mean < suspicious if direction == "lower" else found.mean > suspicious):
        word, why = "NOT MET", f"too good: mean {found.mean:.6g} is beyond {suspicious:.6g}; suspect a leak"
    return EquivalenceResult(word, found, found.interval, found.mean - target, why)


def _estimate(values: Sequence[float], level: float, within: Interval | None) -> Estimate:
    """Mean and spread; the interval is Student's, cut at the range, or where he has none that of any law within it."""
    found = estimate(values, level)
    if within is None or found.n == 1:
        return found
    any_law = bounded_mean_interval(values, within, level)  # it also refuses what lies outside
    own = found.interval
    if own is None or is_mostly_at_bound(values, within):
        return replace(found, interval=any_law)
    return replace(found, interval=Interval(max(own.low, within.low), min(own.high, within.high)))


def _difference(a: Sequence[float], b: Sequence[float], level: float, within: Interval | None) -> Estimate:
    first, second = finite_array(a), finite_array(b)
    n, mean = first.size + second.size, float(first.mean() - second.mean())
    if min(first.size, second.size) < 2:
        return Estimate(n, mean, None, None, None)
    if any(
        not has_spread(side) or (within is not None and is_mostly_at_bound(side, within)) for side in (first, second)
    ):
        # each interval at half the error, so that both hold at once (Bonferroni); none where a side has none: it would
        # count as known without error
        one, two = (_estimate(side.tolist(), (1 + level) / 2, within).interval for side in (first, second))
        ends = None if one is None or two is None else Interval(one.low - two.high, one.high - two.low)
        return Estimate(n, mean, None, None, ends)
    ends = stats.ttest_ind(first, second, equal_var=False).confidence_interval(level)
    return Estimate(n, mean, None, None, Interval(float(ends.low), float(ends.high)))


def _word(found: Estimate, bounds: Interval) -> tuple[Word, str]:
    allowed = f"[{bounds.low:.6g}, {bounds.high:.6g}]"
    own = found.interval
    if own is None:
        reason = "one run, or an arm without any spread, has no interval"
        if found.std == 0:
            reason = (
                f"all {found.n} runs have one score, which says nothing of its spread (range: [least, most] of the "
                "score gives a bound that needs none; deterministic: true says that it cannot differ)"
            )
        return "UNDECIDED", f"{reason}, so {found.mean:.6g} has no interval to hold against {allowed}"
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
