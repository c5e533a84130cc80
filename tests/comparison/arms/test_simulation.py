"""Comparisons of runs whose truth is known, 500 each: no more false differences than claimed, and as many true ones.

What is expected is counted by another implementation: every relabelling by one matrix product, over far more draws.
Bands are the 99.9% ones of the binomial distribution of 500.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from itertools import combinations

import numpy as np
import pytest
from scipy import stats

from saddlepoint.comparison.stats.multiple_testing import holm_p_values
from saddlepoint.comparison.stats.permutation import permutation_p
from saddlepoint.comparison.stats.power import attainable_size, exact_power

SIMULATIONS, REFERENCE = 500, 6_000
UNTRAINED = 8.0  # standard deviations above a trained run's score
Scores = Callable[[np.random.Generator, tuple[int, ...]], np.ndarray]


def normal(rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    return rng.standard_normal(shape)


def exponential(rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    return rng.exponential(size=shape)  # its standard deviation is 1


def lognormal(rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    return rng.lognormal(size=shape) / stats.lognorm(1).std()


def drawn(scores: Scores, n: int, shift: float, sets: int, seed: int, failing: float = 0.0) -> np.ndarray:
    """[sets, 2 n]: arm a, which is worse by `shift` standard deviations, then b; failed runs count as untrained."""
    rng = np.random.default_rng(seed)
    found = scores(rng, (sets, 2 * n))
    found[:, :n] += shift
    return np.where(rng.uniform(size=found.shape) < failing, UNTRAINED, found)


@cache
def relabelled(n: int) -> np.ndarray:
    taken = np.zeros((len(ways := list(combinations(range(2 * n), n))), 2 * n))
    np.put_along_axis(taken, np.array(ways), 2 / n, axis=1)
    return (taken - 1 / n).T


def reference(sets: np.ndarray, level: float) -> float:
    """The share of sets in which the exact test rejects."""
    n, rejected = sets.shape[1] // 2, 0
    for part in np.array_split(sets, max(len(sets) * relabelled(n).shape[1] // 4_000_000, 1)):
        differences = np.abs(part @ relabelled(n))
        rejected += int(((differences >= differences[:, :1] - 1e-9).mean(1) <= level + 1e-12).sum())
    return rejected / len(sets)


def rejected(sets: np.ndarray, level: float) -> int:
    n = sets.shape[1] // 2
    return sum(permutation_p(one[:n], one[n:]) <= level + 1e-12 for one in sets)


def band(rate: float, draws: float = np.inf) -> tuple[float, float]:
    """99.9% of the counts of 500 lie within, for a rate that was itself measured by so many draws."""
    doubt = 3.3 * np.sqrt(rate * (1 - rate) / draws)
    low, high = max(rate - doubt, 0.0), min(rate + doubt, 1.0)
    return float(stats.binom.ppf(0.0005, SIMULATIONS, low)), float(stats.binom.ppf(0.9995, SIMULATIONS, high))


@pytest.mark.parametrize("scores", [normal, exponential, lognormal])
@pytest.mark.parametrize(("n", "level"), [(3, 0.05), (3, 0.1), (5, 0.05), (10, 0.05)])
def test_without_a_difference_the_test_errs_just_as_often_as_its_attainable_size(
    n: int, level: float, scores: Scores
) -> None:
    low, high = band(attainable_size(n, n, level))
    assert low <= rejected(drawn(scores, n, 0.0, SIMULATIONS, 1), level) <= high


@pytest.mark.parametrize(("n", "level"), [(3, 0.1), (5, 0.05), (10, 0.05)])
def test_failures_that_strike_both_arms_alike_make_no_false_differences(n: int, level: float) -> None:
    found = rejected(drawn(normal, n, 0.0, SIMULATIONS, 2, failing=0.2), level)
    assert found <= band(attainable_size(n, n, level))[1]  # ties only make it rarer


@pytest.mark.parametrize("shift", [1.0, 2.0, 3.0])
@pytest.mark.parametrize("failing", [0.0, 0.2])
@pytest.mark.parametrize("scores", [normal, exponential, lognormal])
@pytest.mark.parametrize(("n", "level"), [(3, 0.1), (5, 0.05)])
def test_planted_differences_are_shown_as_often_as_the_exact_test_can(
    n: int, level: float, scores: Scores, failing: float, shift: float
) -> None:
    power = reference(drawn(scores, n, shift, REFERENCE, 3, failing), level)
    low, high = band(power, REFERENCE)
    assert low <= rejected(drawn(scores, n, shift, SIMULATIONS, 4, failing), level) <= high


@pytest.mark.parametrize("shift", [1.0, 2.0, 3.0])
@pytest.mark.parametrize(("n", "level"), [(3, 0.1), (5, 0.05), (10, 0.05)])
def test_planted_differences_of_normal_scores_are_shown_as_often_as_promised(
    n: int, level: float, shift: float
) -> None:
    low, high = band(exact_power(n, n, shift, level), 4_000)
    assert low <= rejected(drawn(normal, n, shift, SIMULATIONS, 5), level) <= high


@pytest.mark.slow
@pytest.mark.parametrize("shift", [1.0, 2.0, 3.0])
@pytest.mark.parametrize("failing", [0.0, 0.2])
@pytest.mark.parametrize("scores", [normal, lognormal])
def test_ten_seeds_show_planted_differences_as_often_as_the_exact_test_can(
    scores: Scores, failing: float, shift: float
) -> None:
    power = reference(drawn(scores, 10, shift, 2_000, 6, failing), 0.05)
    low, high = band(power, 2_000)
    assert low <= rejected(drawn(scores, 10, shift, SIMULATIONS, 7, failing), 0.05) <= high


@pytest.mark.parametrize("scores", [normal, lognormal])
def test_five_comparisons_with_a_baseline_err_in_one_family_of_twenty_at_most(scores: Scores) -> None:
    """Six arms of five seeds: the baseline is common, so the five comparisons depend on each other."""
    families = scores(np.random.default_rng(8), (SIMULATIONS, 6, 5))
    wrong = 0
    for base, *others in families:
        adjusted = holm_p_values({str(i): permutation_p(arm, base) for i, arm in enumerate(others)})
        wrong += min(adjusted.values()) <= 0.05
    assert wrong <= stats.binom.ppf(0.999, SIMULATIONS, 0.05)
    assert wrong > 0
