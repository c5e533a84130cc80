"""Exact p: equal to that of scipy, and never below the smallest possible p, in spite of rounding."""

from __future__ import annotations

import math
import time
from itertools import combinations, product

import numpy as np
import pytest
from scipy import stats

from saddlepoint.comparison.stats import permutation
from saddlepoint.comparison.stats.permutation import (
    permutation_p,
    sign_flip_p,
    smallest_p,
    smallest_sign_flip_p,
    subset_sums,
)
from saddlepoint.error import Mistake

SIZES = [(1, 1), (2, 3), (3, 3), (5, 5), (4, 7), (7, 4), (1, 9), (6, 6)]


def scipy_p(a: np.ndarray, b: np.ndarray) -> float:
    def size(x: np.ndarray, y: np.ndarray, axis: int) -> np.ndarray:
        return abs(x.mean(axis=axis) - y.mean(axis=axis))

    return float(stats.permutation_test((a, b), size, alternative="greater", n_resamples=10**6).pvalue)


@pytest.mark.parametrize(("n", "m"), [size for size in SIZES if 1 not in size])  # scipy accepts no group of one
def test_p_is_that_of_scipy_s_exact_test(n: int, m: int) -> None:
    rng = np.random.default_rng(n * 100 + m)
    for shift in (0, 1, 3):
        a, b = rng.normal(shift, size=n), rng.normal(size=m)
        assert permutation_p(a, b) == pytest.approx(scipy_p(a, b), abs=1e-12)


@pytest.mark.parametrize(("n", "m"), SIZES)
def test_scores_that_are_tied_in_exact_arithmetic_count_as_tied(n: int, m: int) -> None:
    """Tenths are not exact in floating point; the same scores as integers have exact sums."""
    integers = np.random.default_rng(n + m).integers(0, 6, n + m)

    def distance(in_a: tuple[int, ...]) -> int:
        inside = int(integers[list(in_a)].sum())
        return abs(m * inside - n * (int(integers.sum()) - inside))

    ways = list(combinations(range(n + m), n))
    expected = sum(distance(way) >= distance(tuple(range(n))) for way in ways) / len(ways)
    for scores in (integers, integers / 10, 1e6 + integers / 10, integers * 1e-9):
        values = scores.tolist()
        assert permutation_p(values[:n], values[n:]) == pytest.approx(expected, abs=1e-12)


def test_p_does_not_depend_on_order_units_or_which_arm_is_first() -> None:
    rng = np.random.default_rng(4)
    a, b = rng.normal(size=4).tolist(), rng.normal(1, size=6).tolist()
    p = permutation_p(a, b)
    assert (
        p
        == permutation_p(b, a)
        == permutation_p(a[::-1], b)
        == permutation_p([7 - 3 * x for x in a], [7 - 3 * x for x in b])
    )


@pytest.mark.parametrize(
    ("n", "m", "expected"), [(3, 3, 0.1), (5, 5, 2 / 252), (10, 10, 2 / 184_756), (3, 5, 1 / 56), (1, 1, 1.0)]
)
def test_the_smallest_p_is_that_of_arms_that_do_not_overlap(n: int, m: int, expected: float) -> None:
    a, b = [100.0 + i for i in range(n)], [i / 7 for i in range(m)]
    assert permutation_p(a, b) == smallest_p(n, m) == pytest.approx(expected)


def test_three_seeds_reach_a_tenth_and_five_reach_a_hundredth() -> None:
    assert (round(smallest_p(3, 3), 2), round(smallest_p(5, 5), 4), smallest_sign_flip_p(5)) == (0.1, 0.0079, 0.0625)


def test_equal_scores_have_a_p_of_one() -> None:
    assert permutation_p([0.1] * 5, [0.1] * 5) == 1.0
    assert permutation_p([0.1, 0.2, 0.3], [0.3, 0.2, 0.1]) == 1.0
    assert sign_flip_p([0.0, 0.0, 0.0]) == 1.0


def test_ten_against_ten_takes_less_than_a_fifth_of_a_second() -> None:
    a, b = np.random.default_rng(5).normal(size=(2, 10))
    seconds = []
    for _ in range(5):
        start = time.perf_counter()
        permutation_p(a, b)
        seconds.append(time.perf_counter() - start)
    assert min(seconds) < 0.2


def test_subset_sums_are_complete_and_grouped_by_size() -> None:
    values = np.array([1.0, 10, 100, 1_000])
    for j, sums in enumerate(subset_sums(values, 3)):
        assert sorted(sums) == sorted(map(sum, combinations(values, j)))
    assert len(subset_sums(values, 3)) == 4


@pytest.mark.parametrize("n", [1, 2, 5, 8])
def test_the_sign_flip_p_is_counted_over_all_signs(n: int) -> None:
    differences = np.random.default_rng(n).normal(0.7, size=n)
    sums = [abs(sum(s * d for s, d in zip(signs, differences, strict=True))) for signs in product((1, -1), repeat=n)]
    expected = np.mean(np.array(sums) >= abs(differences.sum()) - 1e-9)
    assert sign_flip_p(differences) == pytest.approx(expected, abs=1e-12)
    assert sign_flip_p(abs(differences)) == smallest_sign_flip_p(n) == 2 / 2**n


def test_too_many_relabellings_are_sampled_and_p_is_nearly_exact(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(7)
    a, b = rng.normal(0.8, size=10), rng.normal(size=10)
    exact, exact_flip = permutation_p(a, b), sign_flip_p(a - b)
    monkeypatch.setattr(permutation, "MAX_SUMS", 0)
    monkeypatch.setattr(permutation, "RANDOM_DRAWS", 9_999)
    assert permutation_p(a, b) == pytest.approx(exact, abs=4 * math.sqrt(exact * (1 - exact) / 9_999) + 1e-4)
    assert permutation_p(a, b) != exact
    monkeypatch.setattr(permutation, "RANDOM_DRAWS", 999)  # below 2^10, else scipy enumerates them all
    assert sign_flip_p(a - b) == pytest.approx(
        exact_flip, abs=4 * math.sqrt(exact_flip * (1 - exact_flip) / 999) + 1e-3
    )
    monkeypatch.setattr(permutation, "RANDOM_DRAWS", 9_999)
    assert 1e-4 == smallest_p(10, 10) <= permutation_p(a + 100, b) < 1e-3


def test_an_arm_without_runs_is_refused() -> None:
    for call in (lambda: permutation_p([], [1.0]), lambda: smallest_p(0, 3), lambda: sign_flip_p([])):
        with pytest.raises(Mistake):
            call()


def test_a_score_of_nan_is_refused() -> None:
    with pytest.raises(Mistake, match="nan among 3 scores"):
        permutation_p([1.0, math.nan, 2.0], [1.0, 2.0])
