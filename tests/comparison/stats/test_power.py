"""The power of few runs: closed forms, and rejections counted by another implementation."""

from __future__ import annotations

import math
from functools import cache
from itertools import combinations, pairwise

import numpy as np
import pytest
from scipy import integrate, stats

from saddlepoint.comparison.stats.interval import Interval
from saddlepoint.comparison.stats.power import (
    attainable_error_rate,
    detectable_difference,
    detectable_difference_interval,
    exact_power,
)


@cache
def relabelling_weights(n: int, m: int) -> np.ndarray:
    """Return each relabelling's weights of the difference of means, [n + m, C(n + m, n)]; the observed one is first."""
    ways = list(combinations(range(n + m), n))
    weights = np.full((n + m, len(ways)), -1 / m)
    for i, way in enumerate(ways):
        weights[list(way), i] = 1 / n
    return weights


def rejections(scores: np.ndarray, n: int, level: float) -> np.ndarray:
    """Whether the exact test rejects, for each row of a's n scores and then b's, by enumeration."""
    differences = np.abs(scores @ relabelling_weights(n, scores.shape[1] - n))
    p = (differences >= differences[:, :1] - 1e-9).mean(1)
    return p <= level + 1e-12


@pytest.mark.parametrize(
    ("n", "m", "level", "expected"),
    [
        (3, 3, 0.05, 0.0),
        (3, 3, 0.1, 0.1),
        (3, 3, 0.19, 0.1),
        (3, 3, 0.2, 0.2),
        (5, 5, 0.05, 12 / 252),
        (5, 5, 0.01, 2 / 252),
        (3, 5, 0.05, 2 / 56),
        (2, 2, 0.3, 0.0),
    ],
)
def test_the_size_is_the_largest_number_of_whole_relabellings(n: int, m: int, level: float, expected: float) -> None:
    assert attainable_error_rate(n, m, level) == pytest.approx(expected)


def test_a_level_that_is_a_size_is_attained_in_spite_of_rounding() -> None:
    for k in range(2, 20, 2):
        assert attainable_error_rate(3, 3, k / 20) == pytest.approx(k / 20)


@pytest.mark.parametrize("shift", [0.5, 2.0, 3.5])
def test_the_power_of_three_against_three_is_the_probability_of_no_overlap(shift: float) -> None:
    def density(y: float) -> float:  # y: the largest of b's
        return float(3 * stats.norm.pdf(y) * stats.norm.cdf(y) ** 2 * stats.norm.sf(y - shift) ** 3)

    exact = integrate.quad(density, -10, 10)[0]
    assert exact_power(3, 3, shift, 0.1) == pytest.approx(exact, abs=4 * math.sqrt(exact * (1 - exact) / 4_000))


@pytest.mark.parametrize(("n", "m", "level"), [(3, 3, 0.1), (5, 5, 0.05), (5, 5, 0.01), (3, 6, 0.05), (7, 4, 0.05)])
def test_the_detectable_difference_is_shown_with_power_0_8(n: int, m: int, level: float) -> None:
    shift = detectable_difference(n, m, 2.0, level) / 2
    scores = np.random.default_rng(17).standard_normal((20_000, n + m))
    scores[:, :n] += shift
    assert rejections(scores, n, level).mean() == pytest.approx(0.8, abs=0.025)
    assert exact_power(n, m, shift, level) == pytest.approx(0.8, abs=1e-3)


@pytest.mark.slow
@pytest.mark.parametrize(("n", "m", "level"), [(8, 8, 0.05), (10, 10, 0.05), (10, 10, 0.01)])
def test_without_enumeration_the_noncentral_t_is_close(n: int, m: int, level: float) -> None:
    shift = detectable_difference(n, m, 1.0, level)
    scores = np.random.default_rng(18).standard_normal((2_000, n + m))
    scores[:, :n] += shift
    power = np.concatenate([rejections(chunk, n, level) for chunk in np.array_split(scores, 40)]).mean()
    assert power == pytest.approx(0.8, abs=0.03)


def test_the_detectable_difference_is_smooth_where_enumeration_ends() -> None:
    differences = [detectable_difference(n, n, 1.0, 0.05) for n in range(5, 13)]
    ratios = [b / a for a, b in pairwise(differences)]
    assert all(0.85 < ratio < 0.97 for ratio in ratios)
    assert np.abs(np.diff(ratios)).max() < 0.05


def test_three_seeds_have_no_power_although_a_t_test_would() -> None:
    assert detectable_difference(3, 3, 1.0, 0.05) == math.inf
    assert exact_power(3, 3, 100.0, 0.05) == 0.0


def test_the_power_grows_from_half_the_size_to_one() -> None:
    """Without a difference, half of the false ones are in a's favour."""
    powers = [exact_power(5, 5, shift, 0.05) for shift in (0.0, 1.0, 2.0, 3.0, 8.0)]
    assert powers[0] == pytest.approx(6 / 252, abs=0.01)
    assert powers == sorted(powers)
    assert powers[-1] == 1.0
    assert exact_power(5, 5, -2.0, 0.05) == powers[2]


def test_the_detectable_difference_has_the_scores_unit_and_the_interval_of_their_spread() -> None:
    one = detectable_difference(5, 5, 1.0, 0.05)
    assert detectable_difference(5, 5, 3.0, 0.05) == pytest.approx(3 * one)
    interval = detectable_difference_interval(5, 5, Interval(0.5, 4.0), 0.05)
    assert [interval.low, interval.high] == pytest.approx([one / 2, 4 * one])
    assert detectable_difference_interval(3, 3, Interval(0.0, 4.0), 0.05) == Interval(math.inf, math.inf)
