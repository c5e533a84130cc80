"""The accountant against closed forms, numerical integration of the divergence, and published figures."""

import math
from itertools import pairwise

import numpy as np
import pytest
from scipy.integrate import quad
from scipy.special import log_ndtr

from saddlepoint.privacy.accountant import (
    ORDERS,
    affordable_steps,
    renyi_divergence,
    required_noise,
    spent_epsilon,
)

MNIST = 60_000


def integrated_divergence(q: float, sigma: float, alpha: float) -> float:
    """The divergence of (1 - q) N(0, sigma^2) + q N(1, sigma^2) from N(0, sigma^2), from its definition."""

    def integrand(z: float) -> float:
        ratio = 1 - q + q * math.exp((2 * z - 1) / (2 * sigma**2))
        return math.exp(-(z**2) / (2 * sigma**2) + alpha * math.log(ratio)) / (sigma * math.sqrt(2 * math.pi))

    moment, _ = quad(integrand, -30 * sigma, alpha + 30 * sigma, points=[0, 1, alpha], limit=2000, epsabs=0)
    return math.log(moment) / (alpha - 1)


@pytest.mark.parametrize("alpha", [1.25, 2.0, 3.75, 17.0])
@pytest.mark.parametrize("sigma", [0.5, 1.0, 7.0])
def test_without_sampling_the_divergence_is_that_of_two_gaussians(alpha: float, sigma: float) -> None:
    assert renyi_divergence(1, sigma, alpha) == pytest.approx(alpha / (2 * sigma**2), rel=1e-12)


@pytest.mark.parametrize("alpha", [1.25, 1.5, 2, 3.25, 7.75, 20])
@pytest.mark.parametrize(("q", "sigma"), [(0.001, 0.7), (0.01, 1.0), (0.1, 2.0), (0.5, 1.0), (0.9, 3.0)])
def test_the_series_equals_the_integral(q: float, sigma: float, alpha: float) -> None:
    assert renyi_divergence(q, sigma, alpha) == pytest.approx(integrated_divergence(q, sigma, alpha), rel=1e-5)


def test_the_divergence_grows_with_the_order_and_the_rate_and_falls_with_the_noise() -> None:
    by_order = [renyi_divergence(0.02, 1.1, float(order)) for order in ORDERS]
    assert all(a < b for a, b in pairwise(by_order))
    assert renyi_divergence(0.01, 1.1, 3.5) < renyi_divergence(0.02, 1.1, 3.5) < renyi_divergence(0.02, 1.0, 3.5)


# google/differential-privacy, rdp_privacy_accountant_test.py: 50 steps with q = 0.01 and sigma = 2.5, to its tolerance
@pytest.mark.parametrize(
    ("order", "published"), [(2.5, 1.08548710e-03), (5, 2.18075656e-03), (50, 2.38460375e-02), (100, 1.67416308e02)]
)
def test_the_divergence_equals_the_published_one(order: float, published: float) -> None:
    assert 50 * renyi_divergence(0.01, 2.5, order) == pytest.approx(published, rel=1e-4)


# tensorflow/privacy, compute_dp_sgd_privacy_test.py: n, batch, noise, epochs, delta, epsilon
@pytest.mark.parametrize(
    ("n", "batch", "noise", "epochs", "delta", "published"),
    [(60_000, 150, 1.3, 15, 1e-5, 0.7242234026109595), (100_000, 100, 1.0, 30, 1e-7, 1.4154988495444845)],
)
def test_epsilon_equals_that_of_tensorflow_privacy(n, batch, noise, epochs, delta, published) -> None:
    assert spent_epsilon(batch / n, noise, epochs * n // batch, delta) == pytest.approx(published, rel=1e-9)


# by the conversion of Mironov 2017 (arXiv:1702.07476), proposition 3, which all of these used: Abadi et al. 2016
# (arXiv:1607.00133); Bu et al. 2020 (Harvard Data Science Review), figure 4; tutorials/README.md of tensorflow/privacy
@pytest.mark.parametrize(
    ("rate", "noise", "steps", "published"),
    [
        (0.01, 4.0, 10_000, 1.26),
        (256 / MNIST, 0.7, 70 * MNIST // 256, 8.68),
        (256 / MNIST, 1.12, 60 * MNIST // 256, 2.92),
        (256 / MNIST, 1.2, 10 * MNIST // 256, 1.20),
    ],
)
def test_the_former_conversion_gives_the_former_figures_and_ours_is_smaller(rate, noise, steps, published) -> None:
    rdp = np.array([renyi_divergence(rate, noise, float(order)) for order in ORDERS])
    former = np.min(steps * rdp - math.log(1e-5) / (ORDERS - 1))
    assert former == pytest.approx(published, abs=0.006)
    assert spent_epsilon(rate, noise, steps, 1e-5) < former


@pytest.mark.parametrize("sigma", [0.8, 2.0, 4.530877117])
def test_the_epsilon_of_one_gaussian_step_is_at_least_the_exact_one_and_close(sigma: float) -> None:
    def exact_delta(epsilon: float) -> float:  # Balle & Wang 2018 (arXiv:1805.06530), theorem 8
        a, b = 1 / (2 * sigma), epsilon * sigma
        return math.exp(log_ndtr(a - b)) - math.exp(epsilon + log_ndtr(-a - b))

    epsilon = spent_epsilon(1.0, sigma, 1, 1e-6)
    assert exact_delta(epsilon) <= 1e-6 <= exact_delta(0.9 * epsilon)


def test_no_step_costs_nothing_and_no_noise_everything() -> None:
    assert spent_epsilon(0.01, 1.0, 0, 1e-5) == spent_epsilon(0.0, 1.0, 10, 1e-5) == 0
    assert spent_epsilon(0.01, 0.0, 1, 1e-5) == math.inf


@pytest.mark.parametrize("epsilon", [0.5, 10.0])
def test_the_inverses_are_the_last_noise_and_step_within_the_budget(epsilon: float) -> None:
    rate, delta, steps = 512 / MNIST, 1e-5, 700
    noise = required_noise(rate, steps, epsilon, delta)
    assert spent_epsilon(rate, noise, steps, delta) <= epsilon < spent_epsilon(rate, noise - 2e-4, steps, delta)
    most = affordable_steps(rate, noise, epsilon, delta)
    assert most >= steps
    assert spent_epsilon(rate, noise, most, delta) <= epsilon < spent_epsilon(rate, noise, most + 1, delta)
