"""Intervals: scipy's on the same numbers, textbook figures, and how often they hold what they are of."""

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
    found, theirs = estimate(SCORES, 0.9), stats.ttest_1samp(SCORES, 0).confidence_interval(0.9)
    assert (found.n, found.mean) == (5, pytest.approx(12.32))
    assert ends(found.interval) == pytest.approx([theirs.low, theirs.high])


def test_student_s_t_of_two_runs_is_cauchy_s() -> None:
    interval = estimate([0.0, 2.0]).interval  # t(1) has the quantile tan(pi (p - 1/2)), and the error is 1
    assert interval is not None
    assert interval.high - 1 == pytest.approx(math.tan(math.pi * 0.475))


def test_the_interval_of_a_spread_of_three_runs_is_in_closed_form() -> None:
    found = std_interval(2.0, 2)  # chi2(2) is exponential: quantiles -2 log(1 - p)
    assert ends(found) == pytest.approx(
        [2 * math.sqrt(2 / (-2 * math.log(0.025))), 2 * math.sqrt(2 / (-2 * math.log(0.975)))]
    )


def test_intervals_of_normal_scores_hold_their_mean_and_spread_as_often_as_they_say() -> None:
    kept = np.zeros(2)
    for scores in np.random.default_rng(0).normal(4.0, 2.0, size=(500, 3)):
        found = estimate(scores)
        assert found.interval is not None
        assert found.std_interval is not None
        kept += [found.interval.low <= 4 <= found.interval.high, found.std_interval.low <= 2 <= found.std_interval.high]
    low, high = stats.binom.ppf([0.0005, 0.9995], 500, 0.95)
    assert ((low <= kept) & (kept <= high)).all()


def test_one_run_has_a_mean_and_no_interval() -> None:
    found = estimate([3.0])
    assert (found.n, found.mean, found.std, found.std_interval, found.interval) == (1, 3.0, None, None, None)


def test_runs_that_are_all_equal_have_a_mean_and_no_interval() -> None:
    found = estimate([8.0, 8.0])
    assert (found.n, found.mean, found.std, found.std_interval, found.interval) == (2, 8.0, 0.0, None, None)
    assert estimate([0.1] * 3).mean == 0.1, "and no rounding of a sum makes a spread"


@pytest.mark.parametrize("values", [[], [1.0, math.nan], [math.inf, 1.0]])
def test_no_scores_and_no_numbers_have_no_mean(values: list[float]) -> None:
    with pytest.raises(Mistake):
        estimate(values)


def test_a_spread_of_no_degrees_of_freedom_is_refused() -> None:
    with pytest.raises(Mistake, match="one run has no spread"):
        std_interval(1.0, 0)


def test_the_bootstrap_of_the_mean_is_bca_by_hand() -> None:
    """Efron's formula, written again: the quantiles of resampled means, moved by bias and acceleration.

    They stand as far out as Student's t does, sqrt(n / (n - 1)) t(n - 1) in the place of 1.96.
    """
    rng = np.random.default_rng(1)
    means = rng.choice(MANY, (200_000, MANY.size)).mean(1)
    bias = stats.norm.ppf(np.mean(means < MANY.mean()))
    left = np.array([np.delete(MANY, i).mean() for i in range(MANY.size)])
    away = left.mean() - left
    a = (away**3).sum() / (6 * (away**2).sum() ** 1.5)
    z = bias + math.sqrt(12 / 11) * stats.t.ppf([0.025, 0.975], 11)
    expected = np.quantile(means, stats.norm.cdf(bias + z / (1 - a * z)))
    plain = np.quantile(means, [0.025, 0.975])
    assert (abs(plain / expected - 1) > 0.12).all()
    assert ends(bootstrap_interval(MANY)) == pytest.approx(expected.tolist(), rel=0.06)


def test_the_bootstrap_repeats_itself_and_follows_its_seed() -> None:
    assert (
        bootstrap_interval(MANY, "iqm", seed=1)
        == bootstrap_interval(MANY, "iqm", seed=1)
        != bootstrap_interval(MANY, "iqm", seed=2)
    )


def test_the_interquartile_mean_is_deaf_to_what_happens_outside() -> None:
    values = [0.0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11]
    assert interquartile_mean(values) == pytest.approx(np.mean([3, 4, 5, 6, 7, 8]))
    assert interquartile_mean([-1e6, *values[1:-1], 1e6]) == interquartile_mean(values)
    found = bootstrap_interval(values, "iqm")
    assert found.low < 5.5 < found.high


LAWS = {
    "normal": (stats.norm(), 0.0),
    "exponential": (stats.expon(), 1.0),
    "lognormal": (stats.lognorm(1), math.exp(0.5)),
}


@pytest.mark.slow
@pytest.mark.parametrize("n", [10, 20, 30])
@pytest.mark.parametrize("name", list(LAWS))
def test_bca_holds_the_mean_as_often_as_the_notes_say(name: str, n: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """4,000 arms of each law and size: what `COVERAGE` states, to three standard errors of such a share."""
    monkeypatch.setattr("saddlepoint.comparison.stats.interval.RESAMPLES", 1_999)
    law, mean = LAWS[name]
    held = [bootstrap_interval(x) for x in law.rvs((4_000, n), random_state=np.random.default_rng(0))]
    share = np.mean([one.low <= mean <= one.high for one in held])
    told = re.search(rf" {name} (\d+)%, (\d+)%, (\d+)%", BCA_COVERAGE)
    assert told is not None
    assert share == pytest.approx(int(told[n // 10]) / 100, abs=3 * math.sqrt(0.05 * 0.95 / 4_000) + 0.005)


def test_bca_of_ten_skewed_values_holds_the_mean_oftener_than_efron_s() -> None:
    """Efron's own level, 0.95 without the widening, held 87.5% of these means."""
    held = [bootstrap_interval(x) for x in np.random.default_rng(0).exponential(size=(400, 10))]
    assert np.mean([one.low <= 1 <= one.high for one in held]) > 0.90


@pytest.mark.parametrize("statistic", ["mean", "iqm"])
def test_runs_that_agree_have_a_bootstrap_interval_of_no_length(statistic: str) -> None:
    assert bootstrap_interval([2.0] * 10, statistic) == Interval(2.0, 2.0)  # pyright: ignore[reportArgumentType]


def test_a_statistic_that_no_single_run_moves_keeps_a_finite_interval() -> None:
    found = bootstrap_interval([0.0, *[1.0] * 10, 2.0], "iqm")
    assert 0 <= found.low <= 1 <= found.high <= 2


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


def test_at_the_ends_of_clopper_pearson_what_was_seen_is_just_too_rare() -> None:
    found = proportion_interval(2, 10)
    assert stats.binom.sf(1, 10, found.low) == pytest.approx(0.025)
    assert stats.binom.cdf(2, 10, found.high) == pytest.approx(0.025)


@pytest.mark.parametrize(("k", "n"), [(4, 3), (-1, 3), (0, 0)])
def test_a_share_of_more_than_all_is_refused(k: int, n: int) -> None:
    with pytest.raises(Mistake, match="is no share"):
        proportion_interval(k, n)
