"""Pairs of runs: the correlation between the runs of equal seeds."""

from __future__ import annotations

from typing import Any

import pytest
from scipy import stats

from saddlepoint.comparison.stats.permutation import correlation
from saddlepoint.error import Mistake

A, B = [3.1, 2.7, 4.0, 3.5, 2.9], [2.0, 1.9, 3.3, 2.1, 2.2]


def test_the_correlation_is_pearson_s() -> None:
    expected: Any = stats.pearsonr(A, B)
    assert correlation(A, B) == pytest.approx(expected.statistic)
    assert correlation(A, [2 * a - 1 for a in A]) == pytest.approx(1)
    assert correlation(A, [-a for a in A]) == pytest.approx(-1)


@pytest.mark.parametrize(("a", "b"), [([1.0, 2.0], [3.0, 5.0]), ([1.0, 1.0, 1.0], [1.0, 2.0, 3.0])])
def test_two_pairs_and_an_arm_that_does_not_vary_have_no_correlation(a: list[float], b: list[float]) -> None:
    assert correlation(a, b) is None
    assert correlation(b, a) is None


def test_arms_of_unequal_length_are_refused() -> None:
    with pytest.raises(Mistake, match="5 scores cannot be paired with 4"):
        correlation(A, B[1:])
