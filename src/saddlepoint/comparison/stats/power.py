"""The power of the exact permutation test, for normal scores: the differences that so many runs can show.

The test rejects if at most c = floor(level C(n + m, n)) relabellings give a difference as large as the observed one.
Its size is therefore c / C and not the level: 3 against 3 never reject at 0.05, although a t-test would promise some
power. Shift a's scores up by d standard deviations: the difference becomes D + d, and a relabelling that keeps a net
share k of a's runs, -1 <= k <= 1, gives D' + k d. That is as large as the observed difference if

    d <= max((D' - D) / (1 - k), -(D' + D) / (1 + k))

Each draw of scores thus has one critical shift above which the test rejects: the (c + 1)-th largest of these bounds.
The share of draws whose critical shift is below d is the power at d; the 80% quantile of the critical shifts is the
difference that is shown with power 0.8. Above 3,432 relabellings (7 against 7) the bounds are too many, and the
noncentral t of size c / C approximates the test (Hoeffding 1952, The large-sample power of tests based on
permutations: their powers agree in the limit).
"""

import math
from functools import lru_cache
from itertools import combinations

import numpy as np
from scipy import optimize, stats

from saddlepoint.comparison.stats.interval import Array, Interval
from saddlepoint.comparison.stats.permutation import smallest_p

MAX_RELABELLINGS = 3_432  # relabellings that are enumerated
POWER = 0.8
DRAWS = 4_000
CHUNK = 500  # draws at once
ROUNDING = 1e-9  # 0.15 * 20 is not always 3


def attainable_error_rate(n: int, m: int, level: float) -> float:
    """Return the probability of a false difference: the largest p of untied scores up to `level`; 0 if none is."""
    step = smallest_p(n, m)
    return math.floor(level / step + ROUNDING) * step


def exact_power(n: int, m: int, shift: float, level: float) -> float:
    """Return the probability of showing a difference of `shift` standard deviations, with the right sign."""
    size = attainable_error_rate(n, m, level)
    if size == 0:
        return 0.0
    if math.comb(n + m, n) > MAX_RELABELLINGS:
        return _t_power(n, m, abs(shift), _critical_t(n, m, size))
    return float(np.mean(_critical_shifts(n, m, size) < abs(shift)))


def detectable_difference(n: int, m: int, std: float, level: float) -> float:
    """Return the difference of means that is shown with power 0.8 if both arms have the standard deviation `std`.

    Infinite if the test can never reject.
    """
    shift = _detectable_shift(n, m, level)
    return shift if math.isinf(shift) else shift * std


def detectable_difference_interval(n: int, m: int, std_interval: Interval, level: float) -> Interval:
    """Return the detectable difference at both ends of the interval of the standard deviation."""
    low, high = (detectable_difference(n, m, std, level) for std in (std_interval.low, std_interval.high))
    return Interval(low, high)


@lru_cache(maxsize=4_096)  # compare asks for up to 1,000 sizes
def _detectable_shift(n: int, m: int, level: float) -> float:
    size = attainable_error_rate(n, m, level)
    if size == 0:
        return math.inf
    if math.comb(n + m, n) <= MAX_RELABELLINGS:
        return float(np.quantile(_critical_shifts(n, m, size), POWER))
    t = _critical_t(n, m, size)
    return float(optimize.root_scalar(lambda shift: _t_power(n, m, shift, t) - POWER, bracket=(0.0, 1_000.0)).root)


def _critical_t(n: int, m: int, size: float) -> float:
    """Return the t that is exceeded with probability size / 2 if there is no difference."""
    return float(stats.t.isf(size / 2, n + m - 2))


def _t_power(n: int, m: int, shift: float, t: float) -> float:
    """Return the probability that t is exceeded if the difference is `shift` standard deviations."""
    return float(stats.nct.sf(t, n + m - 2, shift * math.sqrt(n * m / (n + m))))


@lru_cache(maxsize=64)
def _critical_shifts(n: int, m: int, size: float) -> Array:
    """Return the shift above which the test rejects, for each of 4,000 draws of standard normal scores."""
    indices = np.array(list(combinations(range(n + m), n)))
    in_a = np.zeros((len(indices), n + m), dtype=bool)  # [relabellings, n + m]: which runs are labelled a
    np.put_along_axis(in_a, indices, True, axis=1)
    allowed = round(size * len(in_a))
    weights = np.where(in_a, 1 / n, -1 / m)
    net_share = weights[:, :n].sum(1)  # how much of a shift of a's scores remains in the relabelled difference
    proper = np.abs(net_share) < 1 - ROUNDING  # neither the observed labels nor their mirror, which are always as large
    above = allowed - int((~proper).sum())  # so many bounds may lie above the critical shift
    shifts = []
    scores = np.random.default_rng(0).standard_normal((DRAWS, n + m))
    for chunk in np.split(scores, range(CHUNK, DRAWS, CHUNK)):
        observed = (chunk[:, :n].mean(1) - chunk[:, n:].mean(1))[:, None]
        relabelled, k = chunk @ weights[proper].T, net_share[proper]
        bounds = np.maximum((relabelled - observed) / (1 - k), -(relabelled + observed) / (1 + k))
        index = bounds.shape[1] - 1 - above
        critical = np.partition(bounds, index, axis=1)[:, index] if index >= 0 else np.full(len(chunk), -np.inf)
        shifts.append(np.maximum(critical, -observed[:, 0]))  # the difference also has to be in a's favour
    return np.concatenate(shifts)
