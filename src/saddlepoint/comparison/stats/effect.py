"""How large a difference is in standard deviations: Hedges' g, and the interval of what it estimates.

    d = (mean a - mean b) / s        s: pooled, f = n + m - 2
    g = J d                          J = Gamma(f / 2) / (sqrt(f / 2) Gamma((f - 1) / 2)): E[g] = delta
    sqrt(nm / (n + m)) d             is noncentral t with f degrees and centre sqrt(nm / (n + m)) delta

Hedges 1981, Distribution theory for Glass's estimator of effect size, J. Educ. Stat. 6 (2): 107-128.  The interval
holds every delta under which a t so large and a t so small are each not too rare: exact for normal scores of equal
spread, and wide for few runs.  It is of delta itself and needs no J.
"""

import math
from collections.abc import Sequence

import numpy as np
from scipy import optimize, special, stats

from saddlepoint.comparison.stats.interval import Array, Interval, finite_array
from saddlepoint.error import Mistake

LARGE = 1_000.0  # a t beyond which the scores' own scatter is nothing beside that of s: the interval grows with t


def hedges_g(a: Sequence[float] | Array, b: Sequence[float] | Array) -> float:
    """a minus b in pooled standard deviations, without bias.

    Without any spread: 0 where the means are equal, else infinite.  Raises Mistake below 4 runs in all.
    """
    d, freedom, _ = _standardised(a, b)
    log_j = special.gammaln(freedom / 2) - special.gammaln((freedom - 1) / 2) - math.log(freedom / 2) / 2
    return math.exp(log_j) * d


def hedges_interval(a: Sequence[float] | Array, b: Sequence[float] | Array, level: float = 0.95) -> Interval:
    """The interval of a minus b in standard deviations; the whole line where there is no spread to measure by."""
    d, freedom, scale = _standardised(a, b)
    if math.isinf(d) or not pooled_std(a, b):
        return Interval(-math.inf, math.inf)
    t = d * scale
    near = math.copysign(min(abs(t), LARGE), t)
    stretched = max(abs(t) / LARGE, 1.0) / scale
    low, high = (_centre(near, freedom, share) * stretched for share in ((1 + level) / 2, (1 - level) / 2))
    return Interval(low, high)


def _standardised(a: Sequence[float] | Array, b: Sequence[float] | Array) -> tuple[float, int, float]:
    """d, its degrees of freedom, and t / d."""
    first, second = finite_array(a), finite_array(b)
    n, m = first.size, second.size
    if n + m < 4:
        raise Mistake(f"an effect of {n} runs against {m} has no unbiased size: it takes 4 runs in all")
    std = pooled_std(first, second)
    difference = float(first.mean() - second.mean()) if std else float(first[0] - second[0])
    d = difference / std if std else 0.0 if difference == 0 else math.copysign(math.inf, difference)
    return d, n + m - 2, math.sqrt(n * m / (n + m))


def pooled_std(a: Sequence[float] | Array, b: Sequence[float] | Array) -> float:
    """The pooled standard deviation; exactly 0 where no score differs from its arm's others."""
    sides = finite_array(a), finite_array(b)
    if all(np.ptp(side) == 0 for side in sides):  # a mean of equal numbers may be off by its last digit
        return 0.0
    squares = sum(float(np.square(side - side.mean()).sum()) for side in sides)
    return math.sqrt(squares / (sides[0].size + sides[1].size - 2))


def _centre(t: float, freedom: int, share: float) -> float:
    """The centre of the noncentral t of which this share lies below t."""

    def excess(centre: float) -> float:
        return float(stats.nct.cdf(t, freedom, centre)) - share

    low = high = t
    step = 1.0 + abs(t)
    while excess(low) < 0:  # a lower centre has more of its share below t
        low -= step
    while excess(high) > 0:
        high += step
    return float(optimize.root_scalar(excess, bracket=(low, high), xtol=1e-10).root) if low < high else low
