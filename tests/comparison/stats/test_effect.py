"""Hedges' g: it is unbiased, and its interval has the stated coverage."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from scipy import stats

from saddlepoint.comparison.stats.effect import hedges_g, hedges_interval
from saddlepoint.comparison.stats.interval import Interval
from saddlepoint.error import Mistake

A, B = [5.1, 4.7, 5.6, 5.0], [3.9, 4.4, 4.1]


def student(a: Any, b: Any) -> tuple[float, float]:
    """Return t and its p."""
    result: Any = stats.ttest_ind(a, b)
    return float(result.statistic), float(result.pvalue)


def test_g_is_the_t_of_the_t_test_scaled_and_corrected() -> None:
    t = student(A, B)[0]
    j = math.gamma(5 / 2) / (math.sqrt(5 / 2) * math.gamma(4 / 2))
    assert hedges_g(A, B) == pytest.approx(j * t * math.sqrt(1 / 4 + 1 / 3))
    assert hedges_g(B, A) == -hedges_g(A, B)


def test_g_is_unbiased_while_cohen_s_d_of_three_runs_is_a_quarter_too_large() -> None:
    rng = np.random.default_rng(0)
    estimates = [hedges_g(a + 1.5, b) for a, b in rng.normal(size=(2_000, 2, 3))]
    assert np.mean(estimates) == pytest.approx(1.5, abs=4 * float(np.std(estimates)) / math.sqrt(2_000))
    assert math.gamma(2) / (math.sqrt(2) * math.gamma(1.5)) == pytest.approx(0.7979, abs=1e-4)


def test_at_the_ends_of_the_interval_the_observed_t_is_in_the_tail() -> None:
    t, scale = student(A, B)[0], math.sqrt(12 / 7)
    interval = hedges_interval(A, B)
    assert stats.nct.sf(t, 5, interval.low * scale) == pytest.approx(0.025)
    assert stats.nct.cdf(t, 5, interval.high * scale) == pytest.approx(0.025)


def test_the_interval_excludes_zero_exactly_if_the_t_test_rejects() -> None:
    for a, b in np.random.default_rng(1).normal(size=(60, 2, 4)):
        interval = hedges_interval(a + 1.5, b, 0.9)
        assert (interval.low > 0 or interval.high < 0) == (student(a + 1.5, b)[1] < 0.1)


def test_the_interval_has_the_stated_coverage() -> None:
    rng, n_covered = np.random.default_rng(2), 0
    for a, b in rng.normal(size=(100, 2, 3)):
        interval = hedges_interval(a + 2, b, 0.8)
        n_covered += interval.low <= 2 <= interval.high
    assert stats.binom.ppf(0.0005, 100, 0.8) <= n_covered <= stats.binom.ppf(0.9995, 100, 0.8)


def test_g_does_not_depend_on_units() -> None:
    assert hedges_g([1e6 * x + 3 for x in A], [1e6 * x + 3 for x in B]) == pytest.approx(hedges_g(A, B))


@pytest.mark.parametrize("shift", [20.0, 800.0, 1e7])
def test_a_very_large_effect_has_a_finite_interval(shift: float) -> None:
    interval = hedges_interval([shift, shift + 1, shift + 2], [0.0, 1, 2])
    assert 0 < interval.low < shift < interval.high < math.inf


def test_the_interval_is_continuous_at_the_largest_t() -> None:
    near, far = (hedges_interval([s, s + 1, s + 2], [0.0, 1, 2]) for s in (810.0, 820.0))  # t = 992 and 1,004
    assert [far.low, far.high] == pytest.approx([near.low * 82 / 81, near.high * 82 / 81], rel=1e-4)


def test_without_any_spread_g_is_zero_or_infinite() -> None:
    assert hedges_g([0.1] * 3, [0.1] * 4) == 0
    assert hedges_g([2.0, 2.0], [1.0, 1.0]) == math.inf
    assert hedges_g([1.0, 1.0], [2.0, 2.0]) == -math.inf
    assert hedges_interval([0.1] * 3, [0.2] * 3) == hedges_interval([1, 1], [1, 1]) == Interval(-math.inf, math.inf)


def test_three_runs_in_all_have_no_unbiased_size() -> None:
    with pytest.raises(Mistake, match="takes 4 runs in all"):
        hedges_g([1.0, 2.0], [3.0])
