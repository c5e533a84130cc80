"""Verdicts: MET only if the interval lies inside the tolerance, UNDECIDED if it crosses a bound."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from scipy import stats

from saddlepoint.comparison.stats.equivalence import Tolerance, equivalence_test
from saddlepoint.comparison.stats.interval import Interval, bounded_mean_interval
from saddlepoint.error import Mistake

SCORES = [9.0, 10.0, 11.0]  # 10 +- 2.920 / sqrt(3) = 1.686 at 90%


@pytest.mark.parametrize(
    ("target", "tolerance", "expected"),
    [
        (10.0, 2.0, "MET"),
        (10.0, 1.5, "UNDECIDED"),
        (9.0, (1.0, 3.0), "MET"),
        (9.0, (3.0, 1.0), "UNDECIDED"),
        (5.0, 3.0, "NOT MET"),
        (15.0, 3.0, "NOT MET"),
        (20.0, (None, 0.0), "MET"),
        (0.0, (0.0, None), "MET"),
        (20.0, (0.0, None), "NOT MET"),
    ],
)
def test_the_verdict_follows_from_where_the_interval_lies(target: float, tolerance: Tolerance, expected: str) -> None:
    result = equivalence_test(SCORES, target, tolerance)
    assert result.verdict == expected
    assert result.distance == pytest.approx(10 - target)
    scipy_interval = stats.ttest_1samp(SCORES, 0).confidence_interval(0.9)
    assert result.interval is not None
    assert [result.interval.low, result.interval.high] == pytest.approx([scipy_interval.low, scipy_interval.high])


@pytest.mark.parametrize("shift", np.linspace(-4, 4, 17))
def test_met_equals_two_one_sided_t_tests_at_five_percent(shift: float) -> None:
    values = [score + shift for score in SCORES]
    below: Any = stats.ttest_1samp(values, 10 - 3, alternative="greater")
    above: Any = stats.ttest_1samp(values, 10 + 3, alternative="less")
    assert (equivalence_test(values, 10.0, 3.0).verdict == "MET") == (max(below.pvalue, above.pvalue) <= 0.05)


def test_a_figure_at_the_bound_is_met_by_chance_at_most_once_in_twenty() -> None:
    rng = np.random.default_rng(0)
    met = sum(equivalence_test(rng.normal(3.0, 1.0, 5).tolist(), 0.0, 3.0).verdict == "MET" for _ in range(500))
    assert met <= stats.binom.ppf(0.999, 500, 0.05)


def test_one_run_is_undecided_unless_it_is_deterministic() -> None:
    assert equivalence_test([10.0], 10.0, 1.0).verdict == "UNDECIDED"
    assert equivalence_test([10.0], 10.0, 1.0).interval is None
    assert equivalence_test([10.0], 10.0, 1.0, deterministic=True).verdict == "MET"
    assert equivalence_test([12.0], 10.0, 1.0, deterministic=True).verdict == "NOT MET"


def test_deterministic_runs_that_differ_are_not_met() -> None:
    result = equivalence_test([10.0, 10.1], 10.0, 1.0, deterministic=True)
    assert result.verdict == "NOT MET"
    assert "deterministic, and its runs differ" in result.reason


MODES = Interval(0.0, 8.0)


def test_equal_runs_have_no_interval_and_are_undecided() -> None:
    for result in (
        equivalence_test([8.0, 8.0], 8.0, 0.0),
        equivalence_test([8.0] * 50, 8.0, 0.0),
        equivalence_test([8.0, 8.0], 3.0, 0.0, minus=[5.0, 5.0]),
        equivalence_test([8.0, 8.0], 3.0, 5.0, minus=[5.0, 6.0, 5.5]),
    ):
        assert (result.verdict, result.interval) == ("UNDECIDED", None)
    assert "all 2 runs have one score" in equivalence_test([8.0, 8.0], 8.0, 0.0).reason
    assert equivalence_test([8.0, 8.0], 8.0, 0.0, deterministic=True).verdict == "MET", (
        "a deterministic score cannot differ"
    )


@pytest.mark.parametrize("n", [2, 5, 22, 23, 60])
def test_a_count_at_its_maximum_has_the_clopper_pearson_bound(n: int) -> None:
    result = equivalence_test([8.0] * n, 8.0, (1.0, 0.0), score_range=MODES)
    share = stats.binomtest(n, n, alternative="greater").proportion_ci(0.95, method="exact").low
    assert result.interval is not None
    assert [result.interval.low, result.interval.high] == pytest.approx([8 * share, 8.0])
    assert result.verdict == ("MET" if n >= 23 else "UNDECIDED"), "7 of 8 modes on average: 0.05^(1/23) is 0.878"


def test_one_worse_run_does_not_improve_the_verdict() -> None:
    """Student's interval of 8, 8, 8, 8, 7 is [7.37, 8.23], while the one of five times 8 contains 4.4."""
    lows = [
        equivalence_test(values, 8.0, (1.0, 0.0), score_range=MODES).interval
        for values in ([8.0] * 5, [8.0] * 4 + [7.0])
    ]
    assert lows[0] is not None
    assert lows[1] is not None
    assert lows[1].low < lows[0].low
    assert 7.9 < lows[1].high <= 8.0


def test_a_count_away_from_its_ends_has_student_s_interval_cut_at_the_range() -> None:
    values = [8.0, 6.0, 7.0, 7.5]
    scipy_interval = stats.ttest_1samp(values, 0).confidence_interval(0.9)
    result = equivalence_test(values, 7.0, 2.0, score_range=MODES)
    assert result.interval is not None
    assert [result.interval.low, result.interval.high] == pytest.approx(
        [scipy_interval.low, min(scipy_interval.high, 8.0)]
    )


def test_a_contrast_with_a_count_at_its_maximum_adds_both_errors() -> None:
    other = [5.0, 6.0, 5.5]
    result = equivalence_test([8.0] * 40, 2.5, 1.5, score_range=MODES, minus=other)
    t = stats.ttest_1samp(other, 0).confidence_interval(0.95)
    assert result.interval is not None
    assert [result.interval.low, result.interval.high] == pytest.approx([8 * 0.025 ** (1 / 40) - t.high, 8 - t.low])


@pytest.mark.parametrize(
    "probabilities", [[0, 0, 0, 0, 0, 0, 0, 0.2, 0.8], [0.15, 0, 0, 0, 0, 0, 0, 0, 0.85], [0.5] + [0] * 7 + [0.5]]
)
@pytest.mark.parametrize("n", [2, 5, 12])
def test_the_bound_fails_at_most_at_the_level_for_any_distribution_in_the_range(
    probabilities: list[float], n: int
) -> None:
    rng = np.random.default_rng(0)
    mean = float(np.arange(9) @ probabilities)
    low = [bounded_mean_interval(rng.choice(9, n, p=probabilities), MODES, 0.9, draws=2_000).low for _ in range(400)]
    assert np.mean(np.array(low) > mean + 1e-9) <= stats.binom.ppf(0.999, 400, 0.05) / 400


def test_a_score_outside_its_range_is_refused() -> None:
    with pytest.raises(Mistake, match=r"do not lie within the range \[0, 8\]"):
        equivalence_test([8.0, 9.0], 8.0, 1.0, score_range=MODES)


@pytest.mark.parametrize(
    ("direction", "suspicious", "expected"),
    [("lower", 10.5, "NOT MET"), ("lower", 9.5, "MET"), ("higher", 9.5, "NOT MET"), ("higher", 10.5, "MET")],
)
def test_a_mean_that_is_too_good_is_not_met_even_inside_the_tolerance(direction, suspicious, expected) -> None:
    result = equivalence_test(SCORES, 10.0, 5.0, suspicious=suspicious, direction=direction)
    assert result.verdict == expected
    assert ("suspect a leak" in result.reason) == (expected == "NOT MET")
    assert (
        equivalence_test(SCORES, 10.0, 5.0, suspicious=suspicious, direction=direction, minus=[0.0, 0.1]).verdict
        == expected
    )


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_a_score_that_is_not_finite_is_not_met(value: float) -> None:
    for result in (
        equivalence_test([10.0, value], 10.0, 5.0),
        equivalence_test([value], 10.0, (None, 5.0), deterministic=True),
        equivalence_test(SCORES, 10.0, 5.0, minus=[value, 1.0]),
    ):
        assert result.verdict == "NOT MET"
        assert f"1 of {result.n} scores: {value}" in result.reason


def test_a_contrast_has_welch_s_interval() -> None:
    a, b = [5.0, 6.0, 9.0, 4.0], [1.0, 1.1, 0.9]
    scipy_interval = stats.ttest_ind(a, b, equal_var=False).confidence_interval(0.9)
    result = equivalence_test(a, 5.0, 3.0, minus=b)
    assert result.interval is not None
    assert [result.interval.low, result.interval.high] == pytest.approx([scipy_interval.low, scipy_interval.high])
    assert (result.n, result.measured) == (7, pytest.approx(5.0))
    assert result.verdict == "MET"


def test_a_contrast_with_one_run_per_arm_is_undecided() -> None:
    assert equivalence_test([5.0], 4.0, 100.0, minus=[1.0, 2.0]).verdict == "UNDECIDED"


def test_a_tolerance_that_has_no_bound_or_is_negative_is_refused() -> None:
    for tolerance in ((None, None), -1.0, (1.0, -0.1), math.nan):
        with pytest.raises(Mistake, match="tolerance"):
            equivalence_test(SCORES, 10.0, tolerance)


def test_an_unknown_direction_is_refused() -> None:
    with pytest.raises(Mistake, match="direction=up"):
        equivalence_test(SCORES, 10.0, 1.0, direction="up")  # pyright: ignore[reportArgumentType]


def test_the_median_has_the_binomial_interval_of_the_sorted_scores() -> None:
    scores = [0.04, 0.30, 0.10, 0.06, 0.05, 0.08, 0.07, 0.09, 0.20, 0.11]
    result = equivalence_test(scores, 0.05, (None, 0.16), statistic="median")
    assert result.measured == pytest.approx(0.085)  # the mean is 0.11
    assert result.interval == Interval(0.05, 0.20)  # the second and the ninth: P(at most 1 of 10 below) = 11 / 1024
    assert stats.binom.cdf(1, 10, 0.5) <= 0.05 < stats.binom.cdf(2, 10, 0.5)
    assert result.verdict == "MET"
    assert equivalence_test(scores, 0.05, (None, 0.16)).verdict == "MET"
    with_outlier = [9.0 if score == 0.30 else score for score in scores]
    assert equivalence_test(with_outlier, 0.05, (None, 0.16), statistic="median").verdict == "MET"
    assert equivalence_test(with_outlier, 0.05, (None, 0.16)).verdict == "UNDECIDED"


def test_the_median_needs_five_runs_for_a_90_percent_interval() -> None:
    four, five = ([0.1] * n for n in (4, 5))
    result = equivalence_test(four, 0.1, 0.05, statistic="median")
    assert (result.verdict, result.interval) == ("UNDECIDED", None)
    assert "4 runs are too few for an interval of their median" in result.reason
    result = equivalence_test(five, 0.1, 0.05, statistic="median")  # equal scores too: it holds for any distribution
    assert (result.verdict, result.interval) == ("MET", Interval(0.1, 0.1))


def test_a_median_at_the_bound_is_met_by_chance_at_most_once_in_twenty() -> None:
    rng = np.random.default_rng(0)
    verdicts = [
        equivalence_test(rng.lognormal(0.0, 1.0, 6).tolist(), 0.5, (None, 0.5), statistic="median").verdict
        for _ in range(500)
    ]
    assert verdicts.count("MET") <= stats.binom.ppf(0.999, 500, 0.05)
    assert verdicts.count("NOT MET") <= stats.binom.ppf(0.999, 500, 0.05)
    assert min(verdicts.count("MET"), verdicts.count("NOT MET")) > 0


def test_the_median_of_a_contrast_is_refused() -> None:
    with pytest.raises(Mistake, match="statistic=median: write mean or median; two arms"):
        equivalence_test(SCORES, 10.0, 1.0, minus=SCORES, statistic="median")
