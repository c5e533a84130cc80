"""What so few runs can show: closed forms where there are some, and a count of rejections by another implementation."""

from __future__ import annotations

import math
from functools import cache
from itertools import combinations, pairwise

import numpy as np
import pytest
from scipy import integrate, stats

from saddlepoint.comparison.stats.interval import Interval
from saddlepoint.comparison.stats.power import (
    attainable_size,
    detectable_difference,
    detectable_difference_interval,
    exact_power,
)


@cache
def relabelled(n: int, m: int) -> np.ndarray:
    """Each relabelling's weights of the difference of means, [n + m, C(n + m, n)]; the first is as observed."""
    ways = list(combinations(range(n + m), n))
    weights = np.full((n + m, len(ways)), -1 / m)
    for i, way in enumerate(ways):
        weights[list(way), i] = 1 / n
    return weights


def rejections(scores: np.ndarray, n: int, level: float) -> np.ndarray:
    """Whether the exact test rejects, for each row of a's n scores and then b's: every relabelling, no shortcut."""
    differences = np.abs(scores @ relabelled(n, scores.shape[1] - n))
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
    assert attainable_size(n, m, level) == pytest.approx(expected)


def test_a_level_that_is_a_size_is_attained_whatever_its_last_digit() -> None:
    for k in range(2, 20, 2):
        assert attainable_size(3, 3, k / 20) == pytest.approx(k / 20)


@pytest.mark.parametrize("shift", [0.5, 2.0, 3.5])
def test_the_power_of_three_against_three_is_the_chance_that_they_do_not_overlap(shift: float) -> None:
    def density(y: float) -> float:  # y: the largest of b's
        return float(3 * stats.norm.pdf(y) * stats.norm.cdf(y) ** 2 * stats.norm.sf(y - shift) ** 3)

    exact = integrate.quad(density, -10, 10)[0]
    assert exact_power(3, 3, shift, 0.1) == pytest.approx(exact, abs=4 * math.sqrt(exact * (1 - exact) / 4_000))


@pytest.mark.parametrize(("n", "m", "level"), [(3, 3, 0.1), (5, 5, 0.05), (5, 5, 0.01), (3, 6, 0.05), (7, 4, 0.05)])
def test_the_detectable_difference_is_shown_four_times_in_five(n: int, m: int, level: float) -> None:
    shift = detectable_difference(n, m, 2.0, level) / 2
    scores = np.random.default_rng(17).standard_normal((20_000, n + m))
    scores[:, :n] += shift
    assert rejections(scores, n, level).mean() == pytest.approx(0.8, abs=0.025)
    assert exact_power(n, m, shift, level) == pytest.approx(0.8, abs=1e-3)


@pytest.mark.slow
@pytest.mark.parametrize(("n", "m", "level"), [(8, 8, 0.05), (10, 10, 0.05), (10, 10, 0.01)])
def test_beyond_what_is_enumerated_the_noncentral_t_is_near_enough(n: int, m: int, level: float) -> None:
    shift = detectable_difference(n, m, 1.0, level)
    scores = np.random.default_rng(18).standard_normal((2_000, n + m))
    scores[:, :n] += shift
    found = np.concatenate([rejections(part, n, level) for part in np.array_split(scores, 40)]).mean()
    assert found == pytest.approx(0.8, abs=0.03)


def test_where_enumeration_ends_the_detectable_difference_makes_no_step() -> None:
    seen = [detectable_difference(n, n, 1.0, 0.05) for n in range(5, 13)]
    ratios = [b / a for a, b in pairwise(seen)]
    assert all(0.85 < ratio < 0.97 for ratio in ratios)
    assert np.abs(np.diff(ratios)).max() < 0.05


def test_the_t_test_promises_three_seeds_what_they_cannot_do() -> None:
    assert detectable_difference(3, 3, 1.0, 0.05) == math.inf
    assert exact_power(3, 3, 100.0, 0.05) == 0.0


def test_the_power_grows_from_half_the_size_to_one() -> None:
    """Without a difference half of the false ones go a's way."""
    found = [exact_power(5, 5, shift, 0.05) for shift in (0.0, 1.0, 2.0, 3.0, 8.0)]
    assert found[0] == pytest.approx(6 / 252, abs=0.01)
    assert found == sorted(found)
    assert found[-1] == 1.0
    assert exact_power(5, 5, -2.0, 0.05) == found[2]


def test_the_detectable_difference_is_in_the_scores_units_and_carries_the_doubt_of_their_spread() -> None:
    one = detectable_difference(5, 5, 1.0, 0.05)
    assert detectable_difference(5, 5, 3.0, 0.05) == pytest.approx(3 * one)
    found = detectable_difference_interval(5, 5, Interval(0.5, 4.0), 0.05)
    assert [found.low, found.high] == pytest.approx([one / 2, 4 * one])
    assert detectable_difference_interval(3, 3, Interval(0.0, 4.0), 0.05) == Interval(math.inf, math.inf)
