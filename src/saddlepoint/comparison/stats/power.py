"""What a comparison of so many runs could have shown: the power of the exact permutation test, for normal scores.

The test rejects where no more than c = floor(level C(n + m, n)) relabellings are as large as what was observed, so its
size is c / C and not the level: 3 against 3 at 0.05 never reject, and a t-test's power would promise what cannot be.
With a's scores moved up by d standard deviations, the difference is D + d, and a relabelling that keeps a net share k
of a's runs, -1 <= k <= 1, has D' + k d.  It is as large as long as

    d <= max((D' - D) / (1 - k), -(D' + D) / (1 + k))

Hence each draw of scores has one shift from which on the test rejects: the (c + 1)-th largest of these bounds.  The
share of draws whose shift is below d is the power at d, and its 80% quantile what is seen four times in five.  Beyond
3,432 relabellings (7 against 7) the bounds are too many; the noncentral t of size c / C then stands for the test
(Hoeffding 1952, The large-sample power of tests based on permutations: their powers agree in the limit).
"""

import math
from functools import lru_cache
from itertools import combinations

import numpy as np
from scipy import optimize, stats

from saddlepoint.comparison.stats.interval import Array, Interval
from saddlepoint.comparison.stats.permutation import smallest_p

MOST = 3_432  # relabellings whose bounds are taken one by one
POWER = 0.8
DRAWS = 4_000
AT_ONCE = 500
ROUNDING = 1e-9  # 0.15 * 20 is not always 3


def attainable_size(n: int, m: int, level: float) -> float:
    """The chance of a false difference: the largest p not above `level` that untied scores can have; 0 where none."""
    step = smallest_p(n, m)
    return math.floor(level / step + ROUNDING) * step


def exact_power(n: int, m: int, shift: float, level: float) -> float:
    """The chance to see a difference of means of `shift` standard deviations, and the right way round."""
    size = attainable_size(n, m, level)
    if size == 0:
        return 0.0
    if math.comb(n + m, n) > MOST:
        return _t_power(n, m, abs(shift), size)
    return float(np.mean(_critical_shifts(n, m, size) < abs(shift)))


def detectable_difference(n: int, m: int, std: float, level: float) -> float:
    """The difference of means that is shown four times in five where the scores of both arms spread by `std`.

    Infinite where the test can never reject.
    """
    shift = _detectable_shift(n, m, level)
    return shift if math.isinf(shift) else shift * std


def detectable_difference_interval(n: int, m: int, std_interval: Interval, level: float) -> Interval:
    """The detectable difference at both ends of what the standard deviation may be."""
    low, high = (detectable_difference(n, m, std, level) for std in (std_interval.low, std_interval.high))
    return Interval(low, high)


@lru_cache(maxsize=256)
def _detectable_shift(n: int, m: int, level: float) -> float:
    size = attainable_size(n, m, level)
    if size == 0:
        return math.inf
    if math.comb(n + m, n) <= MOST:
        return float(np.quantile(_critical_shifts(n, m, size), POWER))
    return float(optimize.root_scalar(lambda shift: _t_power(n, m, shift, size) - POWER, bracket=(0.0, 1_000.0)).root)


def _t_power(n: int, m: int, shift: float, size: float) -> float:
    freedom, centre = n + m - 2, shift * math.sqrt(n * m / (n + m))
    return float(stats.nct.sf(stats.t.isf(size / 2, freedom), freedom, centre))


@lru_cache(maxsize=64)
def _critical_shifts(n: int, m: int, size: float) -> Array:
    """The shift from which on the test rejects, for each of 4,000 draws of standard normal scores."""
    places = np.array(list(combinations(range(n + m), n)))
    taken = np.zeros((len(places), n + m), dtype=bool)  # every way to say which of n + m runs are a's
    np.put_along_axis(taken, places, True, axis=1)
    allowed = round(size * len(taken))
    weights = np.where(taken, 1 / n, -1 / m)
    kept = weights[:, :n].sum(1)  # of a shift of a's scores, how much is left in the relabelled difference
    other = np.abs(kept) < 1 - ROUNDING  # neither as observed nor its mirror: those are always as large
    rank = allowed - int((~other).sum())  # so many bounds may lie above
    shifts = []
    scores = np.random.default_rng(0).standard_normal((DRAWS, n + m))
    for part in np.split(scores, range(AT_ONCE, DRAWS, AT_ONCE)):
        observed = (part[:, :n].mean(1) - part[:, n:].mean(1))[:, None]
        relabelled, k = part @ weights[other].T, kept[other]
        bounds = np.maximum((relabelled - observed) / (1 - k), -(relabelled + observed) / (1 + k))
        at = bounds.shape[1] - 1 - rank
        reached = np.partition(bounds, at, axis=1)[:, at] if at >= 0 else np.full(len(part), -np.inf)
        shifts.append(np.maximum(reached, -observed[:, 0]))  # and the difference has to be a's way
    return np.concatenate(shifts)
