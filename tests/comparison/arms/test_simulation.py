"""Simulated comparisons with a known truth, 500 each: the rates of false and of true differences are as stated.

The expected rates come from another implementation: every relabelling by one matrix product, over far more draws.
The bands hold 99.9% of the binomial distribution of 500.
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
from saddlepoint.comparison.stats.power import attainable_error_rate, exact_power

SIMULATIONS, REFERENCE = 500, 6_000
UNTRAINED = 8.0  # standard deviations above a trained run's score
Scores = Callable[[np.random.Generator, tuple[int, ...]], np.ndarray]


def normal(rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    return rng.standard_normal(shape)


def exponential(rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    return rng.exponential(size=shape)  # its standard deviation is 1


def lognormal(rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    return rng.lognormal(size=shape) / stats.lognorm(1).std()


def draw_scores(scores: Scores, n: int, shift: float, sets: int, seed: int, failing: float = 0.0) -> np.ndarray:
    """[sets, 2 n]: arm a, which is worse by `shift` standard deviations, then b; failed runs count as untrained."""
    rng = np.random.default_rng(seed)
    sample = scores(rng, (sets, 2 * n))
    sample[:, :n] += shift
    return np.where(rng.uniform(size=sample.shape) < failing, UNTRAINED, sample)


@cache
def relabellings(n: int) -> np.ndarray:
    ways = list(combinations(range(2 * n), n))
    weights = np.zeros((len(ways), 2 * n))
    np.put_along_axis(weights, np.array(ways), 2 / n, axis=1)
    return (weights - 1 / n).T


def reference_rate(sets: np.ndarray, level: float) -> float:
    """The share of sets in which the exact test rejects."""
    n, rejected = sets.shape[1] // 2, 0
    for chunk in np.array_split(sets, max(len(sets) * relabellings(n).shape[1] // 4_000_000, 1)):
        differences = np.abs(chunk @ relabellings(n))
        rejected += int(((differences >= differences[:, :1] - 1e-9).mean(1) <= level + 1e-12).sum())
    return rejected / len(sets)


def count_rejected(sets: np.ndarray, level: float) -> int:
    n = sets.shape[1] // 2
    return sum(permutation_p(scores[:n], scores[n:]) <= level + 1e-12 for scores in sets)


def band(rate: float, draws: float = np.inf) -> tuple[float, float]:
    """Return the band that holds 99.9% of the counts of 500, for a rate measured with so many draws."""
    margin = 3.3 * np.sqrt(rate * (1 - rate) / draws)
    low, high = max(rate - margin, 0.0), min(rate + margin, 1.0)
    return float(stats.binom.ppf(0.0005, SIMULATIONS, low)), float(stats.binom.ppf(0.9995, SIMULATIONS, high))


@pytest.mark.parametrize("scores", [normal, exponential, lognormal])
@pytest.mark.parametrize(("n", "level"), [(3, 0.05), (3, 0.1), (5, 0.05), (10, 0.05)])
def test_without_a_difference_the_error_rate_is_the_attainable_size(n: int, level: float, scores: Scores) -> None:
    low, high = band(attainable_error_rate(n, n, level))
    assert low <= count_rejected(draw_scores(scores, n, 0.0, SIMULATIONS, 1), level) <= high


@pytest.mark.parametrize(("n", "level"), [(3, 0.1), (5, 0.05), (10, 0.05)])
def test_failures_at_equal_rates_in_both_arms_cause_no_false_differences(n: int, level: float) -> None:
    n_rejected = count_rejected(draw_scores(normal, n, 0.0, SIMULATIONS, 2, failing=0.2), level)
    assert n_rejected <= band(attainable_error_rate(n, n, level))[1]  # ties only make it rarer


@pytest.mark.parametrize("shift", [1.0, 2.0, 3.0])
@pytest.mark.parametrize("failing", [0.0, 0.2])
@pytest.mark.parametrize("scores", [normal, exponential, lognormal])
@pytest.mark.parametrize(("n", "level"), [(3, 0.1), (5, 0.05)])
def test_simulated_differences_are_shown_at_the_rate_of_the_exact_test(
    n: int, level: float, scores: Scores, failing: float, shift: float
) -> None:
    power = reference_rate(draw_scores(scores, n, shift, REFERENCE, 3, failing), level)
    low, high = band(power, REFERENCE)
    assert low <= count_rejected(draw_scores(scores, n, shift, SIMULATIONS, 4, failing), level) <= high


@pytest.mark.parametrize("shift", [1.0, 2.0, 3.0])
@pytest.mark.parametrize(("n", "level"), [(3, 0.1), (5, 0.05), (10, 0.05)])
def test_simulated_differences_of_normal_scores_are_shown_at_the_stated_power(
    n: int, level: float, shift: float
) -> None:
    low, high = band(exact_power(n, n, shift, level), 4_000)
    assert low <= count_rejected(draw_scores(normal, n, shift, SIMULATIONS, 5), level) <= high


@pytest.mark.slow
@pytest.mark.parametrize("shift", [1.0, 2.0, 3.0])
@pytest.mark.parametrize("failing", [0.0, 0.2])
@pytest.mark.parametrize("scores", [normal, lognormal])
def test_ten_seeds_show_simulated_differences_at_the_rate_of_the_exact_test(
    scores: Scores, failing: float, shift: float
) -> None:
    power = reference_rate(draw_scores(scores, 10, shift, 2_000, 6, failing), 0.05)
    low, high = band(power, 2_000)
    assert low <= count_rejected(draw_scores(scores, 10, shift, SIMULATIONS, 7, failing), 0.05) <= high


@pytest.mark.parametrize("scores", [normal, lognormal])
def test_five_comparisons_with_a_baseline_err_in_at_most_one_family_of_twenty(scores: Scores) -> None:
    """Six arms of five seeds: they share the baseline, so the five comparisons are dependent."""
    families = scores(np.random.default_rng(8), (SIMULATIONS, 6, 5))
    wrong = 0
    for base, *arms in families:
        adjusted = holm_p_values({str(i): permutation_p(arm, base) for i, arm in enumerate(arms)})
        wrong += min(adjusted.values()) <= 0.05
    assert wrong <= stats.binom.ppf(0.999, SIMULATIONS, 0.05)
    assert wrong > 0
