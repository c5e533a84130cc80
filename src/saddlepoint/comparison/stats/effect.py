"""Hedges' g, a difference of means in standard deviations, and its interval.

    d = (mean a - mean b) / s        s: pooled, f = n + m - 2
    g = J d                          J = Gamma(f / 2) / (sqrt(f / 2) Gamma((f - 1) / 2)): E[g] = delta
    sqrt(nm / (n + m)) d             is noncentral t with f degrees of freedom and centre sqrt(nm / (n + m)) delta

Hedges 1981, Distribution theory for Glass's estimator of effect size, J. Educ. Stat. 6 (2): 107-128. The interval holds
every delta under which neither tail beyond the observed t is too rare. It is exact for normal scores of equal variance,
and wide for few runs. It is an interval of delta itself and needs no J.
"""

import math
from collections.abc import Sequence

import numpy as np
from scipy import optimize, special, stats

from saddlepoint.comparison.stats.interval import Array, Interval, finite_array
from saddlepoint.error import Mistake

MAX_T = 1_000.0  # beyond this t the sampling error of the means is negligible: the interval grows in proportion to t


def hedges_g(a: Sequence[float] | Array, b: Sequence[float] | Array) -> float:
    """Return the unbiased effect size: mean a minus mean b in pooled standard deviations.

    Without any spread: 0 if the means are equal, else infinite. Raises Mistake below 4 runs in total.
    """
    d, freedom, _ = _standardised_difference(a, b)
    log_j = special.gammaln(freedom / 2) - special.gammaln((freedom - 1) / 2) - math.log(freedom / 2) / 2
    return math.exp(log_j) * d


def hedges_interval(a: Sequence[float] | Array, b: Sequence[float] | Array, level: float = 0.95) -> Interval:
    """Return the interval of the effect size of a minus b; (-inf, inf) if the scores have no spread."""
    d, freedom, scale = _standardised_difference(a, b)
    if math.isinf(d) or not pooled_std(a, b):
        return Interval(-math.inf, math.inf)
    t = d * scale
    clipped = math.copysign(min(abs(t), MAX_T), t)
    stretch = max(abs(t) / MAX_T, 1.0) / scale
    low, high = (_noncentrality(clipped, freedom, q) * stretch for q in ((1 + level) / 2, (1 - level) / 2))
    return Interval(low, high)


def _standardised_difference(a: Sequence[float] | Array, b: Sequence[float] | Array) -> tuple[float, int, float]:
    """Return d, its degrees of freedom, and t / d."""
    first, second = finite_array(a), finite_array(b)
    n, m = first.size, second.size
    if n + m < 4:
        raise Mistake(f"an effect of {n} runs against {m} has no unbiased size: it takes 4 runs in all")
    std = pooled_std(first, second)
    difference = float(first.mean() - second.mean()) if std else float(first[0] - second[0])
    d = difference / std if std else 0.0 if difference == 0 else math.copysign(math.inf, difference)
    return d, n + m - 2, math.sqrt(n * m / (n + m))


def pooled_std(a: Sequence[float] | Array, b: Sequence[float] | Array) -> float:
    """Return the pooled standard deviation; exactly 0 if all scores within each arm are equal."""
    arms = finite_array(a), finite_array(b)
    if all(np.ptp(arm) == 0 for arm in arms):  # the mean of equal numbers may differ from them in its last digit
        return 0.0
    squares = sum(float(np.square(arm - arm.mean()).sum()) for arm in arms)
    return math.sqrt(squares / (arms[0].size + arms[1].size - 2))


def _noncentrality(t: float, freedom: int, probability: float) -> float:
    """Return the centre at which a noncentral t lies below `t` with this probability."""

    def excess(centre: float) -> float:
        return float(stats.nct.cdf(t, freedom, centre)) - probability

    low = high = t
    step = 1.0 + abs(t)
    while excess(low) < 0:  # a lower centre puts more probability below t
        low -= step
    while excess(high) > 0:
        high += step
    return float(optimize.root_scalar(excess, bracket=(low, high), xtol=1e-10).root) if low < high else low
