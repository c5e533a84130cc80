"""Intervals: equal to those of scipy and of textbooks, and with the stated coverage."""

from __future__ import annotations

import math
import re

import numpy as np
import pytest
from scipy import stats

from saddlepoint.comparison.stats.interval import (
    BCA_COVERAGE,
    Interval,
    bootstrap_interval,
    estimate,
    interquartile_mean,
    proportion_interval,
    std_interval,
)
from saddlepoint.error import Mistake

SCORES = [12.3, 11.8, 13.1, 12.9, 11.5]
MANY = np.random.default_rng(3).lognormal(size=12)


def ends(interval: Interval | None) -> list[float]:
    assert interval is not None
    return [interval.low, interval.high]


def test_the_interval_of_a_mean_is_that_of_the_one_sample_t_test() -> None:
    result, expected = estimate(SCORES, 0.9), stats.ttest_1samp(SCORES, 0).confidence_interval(0.9)
    assert (result.n, result.mean) == (5, pytest.approx(12.32))
    assert ends(result.interval) == pytest.approx([expected.low, expected.high])


def test_student_s_t_of_two_runs_is_cauchy_s() -> None:
    interval = estimate([0.0, 2.0]).interval  # t(1) has the quantile tan(pi (p - 1/2)), and the error is 1
    assert interval is not None
    assert interval.high - 1 == pytest.approx(math.tan(math.pi * 0.475))


def test_the_interval_of_a_spread_of_three_runs_is_in_closed_form() -> None:
    result = std_interval(2.0, 2)  # chi2(2) is exponential: quantiles -2 log(1 - p)
    assert ends(result) == pytest.approx(
        [2 * math.sqrt(2 / (-2 * math.log(0.025))), 2 * math.sqrt(2 / (-2 * math.log(0.975)))]
    )


def test_intervals_of_normal_scores_have_the_stated_coverage() -> None:
    n_covered = np.zeros(2)
    for scores in np.random.default_rng(0).normal(4.0, 2.0, size=(500, 3)):
        result = estimate(scores)
        assert result.interval is not None
        assert result.std_interval is not None
        n_covered += [
            result.interval.low <= 4 <= result.interval.high,
            result.std_interval.low <= 2 <= result.std_interval.high,
        ]
    low, high = stats.binom.ppf([0.0005, 0.9995], 500, 0.95)
    assert ((low <= n_covered) & (n_covered <= high)).all()


def test_one_run_has_a_mean_and_no_interval() -> None:
    result = estimate([3.0])
    assert (result.n, result.mean, result.std, result.std_interval, result.interval) == (1, 3.0, None, None, None)


def test_equal_runs_have_a_mean_and_no_interval() -> None:
    result = estimate([8.0, 8.0])
    assert (result.n, result.mean, result.std, result.std_interval, result.interval) == (2, 8.0, 0.0, None, None)
    assert estimate([0.1] * 3).mean == 0.1, "rounding of the sum does not create a spread"


@pytest.mark.parametrize("values", [[], [1.0, math.nan], [math.inf, 1.0]])
def test_missing_and_infinite_scores_have_no_mean(values: list[float]) -> None:
    with pytest.raises(Mistake):
        estimate(values)


def test_a_spread_without_degrees_of_freedom_is_refused() -> None:
    with pytest.raises(Mistake, match="one run has no spread"):
        std_interval(1.0, 0)


def test_the_bootstrap_of_the_mean_equals_bca_by_hand() -> None:
    """An independent version of Efron's formula: quantiles of resampled means, corrected for bias and acceleration.

    Student's sqrt(n / (n - 1)) t(n - 1) replaces 1.96.
    """
    rng = np.random.default_rng(1)
    means = rng.choice(MANY, (200_000, MANY.size)).mean(1)
    bias = stats.norm.ppf(np.mean(means < MANY.mean()))
    left = np.array([np.delete(MANY, i).mean() for i in range(MANY.size)])
    influence = left.mean() - left
    a = (influence**3).sum() / (6 * (influence**2).sum() ** 1.5)
    z = bias + math.sqrt(12 / 11) * stats.t.ppf([0.025, 0.975], 11)
    expected = np.quantile(means, stats.norm.cdf(bias + z / (1 - a * z)))
    plain = np.quantile(means, [0.025, 0.975])
    assert (abs(plain / expected - 1) > 0.12).all()
    assert ends(bootstrap_interval(MANY)) == pytest.approx(expected.tolist(), rel=0.06)


def test_the_bootstrap_is_determined_by_its_seed() -> None:
    assert (
        bootstrap_interval(MANY, "iqm", seed=1)
        == bootstrap_interval(MANY, "iqm", seed=1)
        != bootstrap_interval(MANY, "iqm", seed=2)
    )


def test_the_interquartile_mean_ignores_outliers() -> None:
    values = [0.0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11]
    assert interquartile_mean(values) == pytest.approx(np.mean([3, 4, 5, 6, 7, 8]))
    assert interquartile_mean([-1e6, *values[1:-1], 1e6]) == interquartile_mean(values)
    result = bootstrap_interval(values, "iqm")
    assert result.low < 5.5 < result.high


DISTRIBUTIONS = {
    "normal": (stats.norm(), 0.0),
    "exponential": (stats.expon(), 1.0),
    "lognormal": (stats.lognorm(1), math.exp(0.5)),
}


@pytest.mark.slow
@pytest.mark.parametrize("n", [10, 20, 30])
@pytest.mark.parametrize("name", list(DISTRIBUTIONS))
def test_bca_holds_the_mean_as_often_as_the_notes_state(name: str, n: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """4,000 arms of each distribution and size: `BCA_COVERAGE` is right to three standard errors."""
    monkeypatch.setattr("saddlepoint.comparison.stats.interval.RESAMPLES", 1_999)
    distribution, mean = DISTRIBUTIONS[name]
    intervals = [bootstrap_interval(x) for x in distribution.rvs((4_000, n), random_state=np.random.default_rng(0))]
    share = np.mean([one.low <= mean <= one.high for one in intervals])
    stated = re.search(rf" {name} (\d+)%, (\d+)%, (\d+)%", BCA_COVERAGE)
    assert stated is not None
    assert share == pytest.approx(int(stated[n // 10]) / 100, abs=3 * math.sqrt(0.05 * 0.95 / 4_000) + 0.005)


def test_bca_of_ten_skewed_values_covers_the_mean_more_often_than_efron_s() -> None:
    """Efron's level of 0.95, without the widening, covered 87.5% of these means."""
    intervals = [bootstrap_interval(x) for x in np.random.default_rng(0).exponential(size=(400, 10))]
    assert np.mean([one.low <= 1 <= one.high for one in intervals]) > 0.90


@pytest.mark.parametrize("statistic", ["mean", "iqm"])
def test_equal_runs_have_a_bootstrap_interval_of_length_zero(statistic: str) -> None:
    assert bootstrap_interval([2.0] * 10, statistic) == Interval(2.0, 2.0)  # pyright: ignore[reportArgumentType]


def test_a_statistic_that_no_single_run_changes_has_a_finite_interval() -> None:
    result = bootstrap_interval([0.0, *[1.0] * 10, 2.0], "iqm")
    assert 0 <= result.low <= 1 <= result.high <= 2


@pytest.mark.parametrize("few", [bootstrap_interval, interquartile_mean])
def test_nine_runs_are_too_few_and_the_reason_is_given(few) -> None:
    few(range(10))
    with pytest.raises(Mistake, match="9 runs are too few for"):
        few(range(9))


def test_an_unknown_statistic_is_named() -> None:
    with pytest.raises(Mistake, match="no such statistic: median"):
        bootstrap_interval(MANY, "median")  # pyright: ignore[reportArgumentType]


def test_clopper_pearson_of_no_failure_is_in_closed_form() -> None:
    assert ends(proportion_interval(0, 3)) == pytest.approx([0.0, 1 - 0.025 ** (1 / 3)])
    assert ends(proportion_interval(3, 3)) == pytest.approx([0.025 ** (1 / 3), 1.0])


def test_at_the_ends_of_clopper_pearson_the_observed_count_is_in_the_tail() -> None:
    result = proportion_interval(2, 10)
    assert stats.binom.sf(1, 10, result.low) == pytest.approx(0.025)
    assert stats.binom.cdf(2, 10, result.high) == pytest.approx(0.025)


@pytest.mark.parametrize(("k", "n"), [(4, 3), (-1, 3), (0, 0)])
def test_an_impossible_proportion_is_refused(k: int, n: int) -> None:
    with pytest.raises(Mistake, match="is not a proportion"):
        proportion_interval(k, n)
