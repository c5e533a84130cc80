"""Verdicts: met only by an interval inside the tolerance, undecided where it crosses, never by one lucky run."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from scipy import stats

from saddlepoint.comparison.reproduction import Tolerance, contrast_reproduced, reproduced
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
def test_the_verdict_is_where_the_interval_lies(target: float, tolerance: Tolerance, expected: str) -> None:
    found = reproduced(SCORES, target, tolerance)
    assert found.verdict == expected
    assert found.distance == pytest.approx(10 - target)
    theirs = stats.ttest_1samp(SCORES, 0).confidence_interval(0.9)
    assert found.interval is not None
    assert [found.interval.low, found.interval.high] == pytest.approx([theirs.low, theirs.high])


@pytest.mark.parametrize("shift", np.linspace(-4, 4, 17))
def test_met_is_what_two_one_sided_t_tests_at_five_percent_say(shift: float) -> None:
    values = [score + shift for score in SCORES]
    below: Any = stats.ttest_1samp(values, 10 - 3, alternative="greater")
    above: Any = stats.ttest_1samp(values, 10 + 3, alternative="less")
    assert (reproduced(values, 10.0, 3.0).verdict == "MET") == (max(below.pvalue, above.pvalue) <= 0.05)


def test_a_figure_at_the_very_bound_is_met_by_chance_at_most_once_in_twenty() -> None:
    rng = np.random.default_rng(0)
    met = sum(reproduced(rng.normal(3.0, 1.0, 5).tolist(), 0.0, 3.0).verdict == "MET" for _ in range(500))
    assert met <= stats.binom.ppf(0.999, 500, 0.05)


def test_one_run_decides_nothing_unless_nothing_is_left_to_chance() -> None:
    assert reproduced([10.0], 10.0, 1.0).verdict == "UNDECIDED"
    assert reproduced([10.0], 10.0, 1.0).interval is None
    assert reproduced([10.0], 10.0, 1.0, deterministic=True).verdict == "MET"
    assert reproduced([12.0], 10.0, 1.0, deterministic=True).verdict == "NOT MET"


def test_deterministic_runs_that_differ_are_not_met_and_it_is_said() -> None:
    found = reproduced([10.0, 10.1], 10.0, 1.0, deterministic=True)
    assert found.verdict == "NOT MET"
    assert "deterministic, and its runs differ" in found.why


def test_runs_that_agree_have_their_point_for_an_interval() -> None:
    assert reproduced([8.0, 8.0, 8.0], 8.0, 0.0).verdict == "MET"
    assert contrast_reproduced([8.0, 8.0], [5.0, 5.0], 3.0, 0.0).verdict == "MET"


@pytest.mark.parametrize(
    ("direction", "suspicious", "expected"),
    [("lower", 10.5, "NOT MET"), ("lower", 9.5, "MET"), ("higher", 9.5, "NOT MET"), ("higher", 10.5, "MET")],
)
def test_what_is_too_good_is_not_met_though_it_is_within_the_tolerance(direction, suspicious, expected) -> None:
    found = reproduced(SCORES, 10.0, 5.0, suspicious=suspicious, direction=direction)
    assert found.verdict == expected
    assert ("suspect a leak" in found.why) == (expected == "NOT MET")
    assert (
        contrast_reproduced(SCORES, [0.0, 0.1], 10.0, 5.0, suspicious=suspicious, direction=direction).verdict
        == expected
    )


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_a_score_that_is_no_number_is_not_met_and_it_is_said(value: float) -> None:
    for found in (
        reproduced([10.0, value], 10.0, 5.0),
        reproduced([value], 10.0, (None, 5.0), deterministic=True),
        contrast_reproduced(SCORES, [value, 1.0], 10.0, 5.0),
    ):
        assert found.verdict == "NOT MET"
        assert f"1 of {found.estimate.n} scores: {value}" in found.why


def test_a_contrast_has_welch_s_interval() -> None:
    a, b = [5.0, 6.0, 9.0, 4.0], [1.0, 1.1, 0.9]
    theirs = stats.ttest_ind(a, b, equal_var=False).confidence_interval(0.9)
    found = contrast_reproduced(a, b, 5.0, 3.0)
    assert found.interval is not None
    assert [found.interval.low, found.interval.high] == pytest.approx([theirs.low, theirs.high])
    assert (found.estimate.n, found.estimate.mean) == (7, pytest.approx(5.0))
    assert found.verdict == "MET"


def test_a_contrast_of_one_run_a_side_decides_nothing() -> None:
    assert contrast_reproduced([5.0], [1.0, 2.0], 4.0, 100.0).verdict == "UNDECIDED"


def test_a_tolerance_that_bounds_nothing_or_is_negative_is_refused() -> None:
    for tolerance in ((None, None), -1.0, (1.0, -0.1), math.nan):
        with pytest.raises(Mistake, match="tolerance"):
            reproduced(SCORES, 10.0, tolerance)


def test_an_unknown_direction_is_refused() -> None:
    with pytest.raises(Mistake, match="direction=up"):
        reproduced(SCORES, 10.0, 1.0, direction="up")  # pyright: ignore[reportArgumentType]
