"""Exact permutation tests of a difference of means: two groups, and pairs.

    two groups:  p = share of the C(n + m, n) ways to label n runs a, with |mean a - mean b| >= the observed one
    pairs:       p = share of the 2^n ways to set the differences' signs, with |sum| >= the observed one

Fisher 1935, The Design of Experiments; Pitman 1937, JRSS Suppl. 4. Both are two-sided in the size of the difference.
They are exact under the hypothesis that the labels carry no information, for any distribution. A p is never 0, since
the observed labels are one of the ways. The scores are split into two halves, the sums of each half are enumerated
once and matched by bisection (Horowitz & Sahni 1974), so that 10 against 10, 184,756 ways, takes a millisecond. If a
half has more than 2^20 sums (21 against 21), 99,999 ways are drawn at random and p = (1 + as large) / (1 + drawn),
which is valid too (Phipson & Smyth 2010).

Pairing gains power only from what the runs of a seed share: var(a - b) = var a + var b - 2 r sd a sd b. If r, the
`correlation`, is near 0, pairing halves the degrees of freedom for nothing.
"""

import math
from collections.abc import Callable, Sequence
from itertools import accumulate
from typing import Literal

import numpy as np
from scipy import stats

from saddlepoint.comparison.stats.interval import Array, finite_array
from saddlepoint.error import Mistake

MAX_SUMS = 2**20  # sums of one half that are enumerated
RANDOM_DRAWS = 99_999
ROUNDING = 64 * np.finfo(np.float64).eps  # relative to the sum of absolute values: closer sums are tied


def permutation_p(a: Sequence[float] | Array, b: Sequence[float] | Array) -> float:
    """Return the two-sided p of the difference of means, in [smallest_p(n, m), 1]."""
    few, many = sorted((finite_array(a), finite_array(b)), key=len)
    pooled = np.concatenate([few, many])
    if not _is_enumerable(few.size, many.size):
        return _drawn_p((few, many), "independent", lambda x, y, axis: abs(x.mean(axis) - y.mean(axis)))
    # about the pooled mean, the sums of the two groups are opposite: that of the smaller group is enough
    centred, tie = pooled - pooled.mean(), ROUNDING * float(np.abs(pooled).sum())
    observed = abs(float(centred[: few.size].sum())) - tie
    left, right = (subset_sums(half, few.size) for half in np.split(centred, [pooled.size // 2]))
    matches = ((left[j], right[few.size - j]) for j in range(len(left)) if few.size - j < len(right))
    return sum(_count_beyond(*match, observed) for match in matches) / math.comb(pooled.size, few.size)


def smallest_p(n: int, m: int) -> float:
    """Return the smallest p that n against m can reach: 2 / C(2n, n), or 1 / C(n + m, n) if n differs from m.

    With equal groups, exchanging all labels gives the opposite difference, which is as large. With unequal groups that
    is not a relabelling, and the observed one may be the only one of its size.
    """
    _check_sizes(n, m)
    return (2 if n == m else 1) / math.comb(n + m, n) if _is_enumerable(n, m) else 1 / (1 + RANDOM_DRAWS)


def sign_flip_p(differences: Sequence[float] | Array) -> float:
    """Return the two-sided p of a mean difference of pairs, in [smallest_sign_flip_p(n), 1]."""
    array = finite_array(differences)
    if not _are_pairs_enumerable(array.size):
        return _drawn_p((array,), "samples", lambda x, axis: abs(x.mean(axis)))
    observed = abs(float(array.sum())) - ROUNDING * float(np.abs(array).sum())
    left, right = (_signed_sums(half) for half in np.split(array, [array.size // 2]))
    return _count_beyond(left, right, observed) / 2**array.size


def smallest_sign_flip_p(n: int) -> float:
    """Return the smallest p that n pairs can reach: 2 / 2^n, since flipping all signs gives a sum as large."""
    _check_sizes(n)
    return 2 / 2**n if _are_pairs_enumerable(n) else 1 / (1 + RANDOM_DRAWS)


def correlation(a: Sequence[float] | Array, b: Sequence[float] | Array) -> float | None:
    """Return Pearson's r between the runs of equal seeds, in [-1, 1].

    None below 3 pairs and if one arm does not vary. Raises Mistake if the arms differ in size.
    """
    first, second = finite_array(a), finite_array(b)
    if first.size != second.size:
        raise Mistake(f"{first.size} scores cannot be paired with {second.size}: pass the seeds that both arms have")
    if first.size < 3 or np.ptp(first) == 0 or np.ptp(second) == 0:
        return None
    return float(np.corrcoef(first, second)[0, 1])


def subset_sums(values: Array, most: int) -> list[Array]:
    """Return the sums of all subsets of 0, 1, ... `most` values (at most all of them), by size."""
    sums = [np.zeros(1)]
    for value in values:
        sums = [
            np.concatenate([*([sums[j]] if j < len(sums) else []), *([sums[j - 1] + value] if j else [])])
            for j in range(min(len(sums), most) + 1)
        ]
    return sums


def _signed_sums(values: Array) -> Array:
    sums = np.zeros(1)
    for value in values:
        sums = np.concatenate([sums + value, sums - value])
    return sums


def _count_beyond(left: Array, right: Array, bound: float) -> int:
    """Count the pairs of a left and a right sum whose total is at least `bound` in absolute value."""
    if bound <= 0:
        return left.size * right.size
    left, right = np.sort(left), np.sort(right)  # left too: sorted queries are faster
    above = right.size - np.searchsorted(right, bound - left, side="left")
    return int(above.sum() + np.searchsorted(right, -bound - left, side="right").sum())


def _is_enumerable(n: int, m: int) -> bool:
    larger_half = (n + m + 1) // 2
    sums = accumulate(math.comb(larger_half, j) for j in range(min(n, m) + 1))
    return all(count <= MAX_SUMS for count in sums)


def _are_pairs_enumerable(n: int) -> bool:
    return 2 ** ((n + 1) // 2) <= MAX_SUMS


def _drawn_p(data: tuple[Array, ...], kind: Literal["independent", "samples"], size: Callable[..., Array]) -> float:
    result = stats.permutation_test(
        data, size, permutation_type=kind, vectorized=True, n_resamples=RANDOM_DRAWS, batch=10_000,
        alternative="greater", rng=np.random.default_rng(0),
    )  # fmt: skip
    return float(result.pvalue)


def _check_sizes(*sizes: int) -> None:
    if min(sizes) < 1:
        raise Mistake("an arm without runs cannot be compared")
