"""Hedges' g: unbiased, and an interval that holds the true effect as often as it says."""

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
    """t and its p."""
    found: Any = stats.ttest_ind(a, b)
    return float(found.statistic), float(found.pvalue)


def test_g_is_the_t_of_the_t_test_scaled_and_corrected() -> None:
    t = student(A, B)[0]
    j = math.gamma(5 / 2) / (math.sqrt(5 / 2) * math.gamma(4 / 2))
    assert hedges_g(A, B) == pytest.approx(j * t * math.sqrt(1 / 4 + 1 / 3))
    assert hedges_g(B, A) == -hedges_g(A, B)


def test_g_is_unbiased_where_cohen_s_d_of_three_runs_is_a_quarter_too_large() -> None:
    rng = np.random.default_rng(0)
    found = [hedges_g(a + 1.5, b) for a, b in rng.normal(size=(2_000, 2, 3))]
    assert np.mean(found) == pytest.approx(1.5, abs=4 * float(np.std(found)) / math.sqrt(2_000))
    assert math.gamma(2) / (math.sqrt(2) * math.gamma(1.5)) == pytest.approx(0.7979, abs=1e-4)


def test_at_the_ends_of_the_interval_a_t_so_large_or_small_is_just_too_rare() -> None:
    t, scale = student(A, B)[0], math.sqrt(12 / 7)
    found = hedges_interval(A, B)
    assert stats.nct.sf(t, 5, found.low * scale) == pytest.approx(0.025)
    assert stats.nct.cdf(t, 5, found.high * scale) == pytest.approx(0.025)


def test_the_interval_leaves_out_zero_exactly_when_the_t_test_rejects() -> None:
    for a, b in np.random.default_rng(1).normal(size=(60, 2, 4)):
        found = hedges_interval(a + 1.5, b, 0.9)
        assert (found.low > 0 or found.high < 0) == (student(a + 1.5, b)[1] < 0.1)


def test_the_interval_holds_the_true_effect_as_often_as_it_says() -> None:
    rng, kept = np.random.default_rng(2), 0
    for a, b in rng.normal(size=(100, 2, 3)):
        found = hedges_interval(a + 2, b, 0.8)
        kept += found.low <= 2 <= found.high
    assert stats.binom.ppf(0.0005, 100, 0.8) <= kept <= stats.binom.ppf(0.9995, 100, 0.8)


def test_g_and_its_interval_do_not_feel_units() -> None:
    assert hedges_g([1e6 * x + 3 for x in A], [1e6 * x + 3 for x in B]) == pytest.approx(hedges_g(A, B))


@pytest.mark.parametrize("shift", [20.0, 800.0, 1e7])
def test_an_effect_however_large_has_a_finite_interval_around_it(shift: float) -> None:
    found = hedges_interval([shift, shift + 1, shift + 2], [0.0, 1, 2])
    assert 0 < found.low < shift < found.high < math.inf


def test_beyond_the_largest_t_the_interval_goes_on_where_it_was() -> None:
    near, far = (hedges_interval([s, s + 1, s + 2], [0.0, 1, 2]) for s in (810.0, 820.0))  # t = 992 and 1,004
    assert [far.low, far.high] == pytest.approx([near.low * 82 / 81, near.high * 82 / 81], rel=1e-4)


def test_without_any_spread_there_is_no_size_to_speak_of() -> None:
    assert hedges_g([0.1] * 3, [0.1] * 4) == 0
    assert hedges_g([2.0, 2.0], [1.0, 1.0]) == math.inf
    assert hedges_g([1.0, 1.0], [2.0, 2.0]) == -math.inf
    assert hedges_interval([0.1] * 3, [0.2] * 3) == hedges_interval([1, 1], [1, 1]) == Interval(-math.inf, math.inf)


def test_three_runs_in_all_have_no_unbiased_size() -> None:
    with pytest.raises(Mistake, match="takes 4 runs in all"):
        hedges_g([1.0, 2.0], [3.0])
