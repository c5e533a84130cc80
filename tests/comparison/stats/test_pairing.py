"""Pairs of runs: the correlation that seeds make, and the paired t-test's interval."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from scipy import stats

from saddlepoint.comparison.stats.pairing import correlation, paired_estimate
from saddlepoint.error import Mistake

A, B = [3.1, 2.7, 4.0, 3.5, 2.9], [2.0, 1.9, 3.3, 2.1, 2.2]


def test_the_correlation_is_pearson_s() -> None:
    theirs: Any = stats.pearsonr(A, B)
    assert correlation(A, B) == pytest.approx(theirs.statistic)
    assert correlation(A, [2 * a - 1 for a in A]) == pytest.approx(1)
    assert correlation(A, [-a for a in A]) == pytest.approx(-1)


@pytest.mark.parametrize(("a", "b"), [([1.0, 2.0], [3.0, 5.0]), ([1.0, 1.0, 1.0], [1.0, 2.0, 3.0])])
def test_two_pairs_and_a_side_that_does_not_vary_have_no_correlation(a: list[float], b: list[float]) -> None:
    assert correlation(a, b) is None
    assert correlation(b, a) is None


def test_differences_of_pairs_have_the_paired_t_test_s_interval() -> None:
    theirs, found = stats.ttest_rel(A, B).confidence_interval(0.95), paired_estimate(A, B)
    assert found.interval is not None
    assert [found.interval.low, found.interval.high] == pytest.approx([theirs.low, theirs.high])


def test_what_pairs_share_leaves_their_differences() -> None:
    shared = np.random.default_rng(0).normal(0, 100, size=5)
    plain, moved = paired_estimate(A, B), paired_estimate(A + shared, B + shared)
    assert plain.std == pytest.approx(moved.std)


def test_sides_of_unequal_length_are_no_pairs() -> None:
    for paired in (correlation, paired_estimate):
        with pytest.raises(Mistake, match="5 scores cannot be paired with 4"):
            paired(A, B[1:])
