"""Expected modes and KL of n draws: compared with closed forms, all outcomes of few draws, and simulations."""

import itertools
import math

import pytest
import torch
from torch import Tensor

from saddlepoint.metric.occupancy import captured_modes, expected_captured_modes, expected_histogram_kl, histogram_kl


def uniform(k: int) -> Tensor:
    return torch.full((k,), 1 / k, dtype=torch.float64)


def simulated(p: Tensor, law: Tensor, n: int, times: int = 20) -> tuple[Tensor, Tensor]:
    """Return captured modes and KL of `times` histograms of n draws, [times] each."""
    draws = torch.Generator().manual_seed(0)
    counts = [torch.multinomial(p, n, True, generator=draws).bincount(minlength=len(p)) for _ in range(times)]
    return torch.stack([captured_modes(one) for one in counts]), torch.stack([histogram_kl(one, law) for one in counts])


def test_modes_and_kl_of_counts_match_values_by_hand() -> None:
    counts, law = torch.tensor([2, 0, 6, 0]), torch.tensor([0.25, 0.25, 0.5, 0])
    assert captured_modes(counts).item() == 2
    assert captured_modes(counts, least=3).item() == 1
    assert histogram_kl(counts, law).item() == pytest.approx(0.25 * math.log(1) + 0.75 * math.log(1.5))
    assert histogram_kl(torch.tensor([1, 1, 2, 0]), law).item() == 0
    assert histogram_kl(torch.tensor([1, 1, 2, 1]), law).item() == math.inf
    assert expected_histogram_kl(torch.tensor([1.0, 0, 0]), 9, torch.tensor([0.5, 0.5, 0])) == pytest.approx(
        math.log(2)
    )
    assert expected_captured_modes(uniform(1000), 10, least=11) == 0
    with pytest.raises(ValueError, match="no draw"):
        histogram_kl(torch.zeros(4), law)


@pytest.mark.parametrize("n", [1, 2, 5])
def test_expectations_are_sums_over_every_outcome(n: int) -> None:
    p, law = torch.tensor([0.5, 0.3, 0.2], dtype=torch.float64), torch.tensor([0.2, 0.4, 0.4], dtype=torch.float64)
    modes = twice = kl = 0.0
    for outcome in itertools.product(range(3), repeat=n):
        counts = torch.tensor(outcome).bincount(minlength=3)
        chance = math.prod(p[k].item() for k in outcome)
        modes += chance * captured_modes(counts).item()
        twice += chance * captured_modes(counts, least=2).item()
        kl += chance * histogram_kl(counts, law).item()
    assert expected_captured_modes(p, n) == pytest.approx(modes, abs=1e-9)
    assert expected_captured_modes(p, n, least=2) == pytest.approx(twice, abs=1e-9)
    assert expected_histogram_kl(p, n, law) == pytest.approx(kl, abs=1e-12)


@pytest.mark.parametrize(("k", "n"), [(8, 2500), (25, 2500), (1000, 26_000)])
def test_the_expected_kl_of_many_draws_is_k_minus_one_over_two_n(k: int, n: int) -> None:
    # the next term of the expansion is (k^2 - 1) / (12 n^2) for equal modes
    expected = (k - 1) / (2 * n) + (k**2 - 1) / (12 * n**2)
    assert expected_histogram_kl(uniform(k), n, uniform(k)) == pytest.approx(expected, rel=1e-3)
    assert expected_histogram_kl(uniform(k), n, uniform(k)) > (k - 1) / (2 * n)


@pytest.mark.parametrize(
    ("n", "modes", "kl"), [(2500, 916, 0.222), (10_000, 1000, 0.050), (25_600, 1000, 0.0197), (26_000, 1000, 0.0190)]
)
def test_perfect_samplers_of_a_thousand_classes_have_the_known_scores(n: int, modes: float, kl: float) -> None:
    expected = expected_captured_modes(uniform(1000), n), expected_histogram_kl(uniform(1000), n, uniform(1000))
    samples = simulated(uniform(1000), uniform(1000), n)
    for exact, known, sampled, digits in zip(expected, (modes, kl), samples, (0.5, 5e-4), strict=True):
        error = sampled.std().item() / 20**0.5  # of a mean of 20, as the known values are
        assert abs(exact - known) < 4 * error + digits
        assert abs(exact - sampled.mean().item()) < 4 * error + 1e-8


def test_a_sampler_of_another_distribution_adds_its_divergence_to_the_kl() -> None:
    p = uniform(1000) * torch.linspace(0.5, 1.5, 1000, dtype=torch.float64)
    p = p / p.sum()
    between = (p * (p * 1000).log()).sum().item()
    expected = expected_histogram_kl(p, 26_000, uniform(1000))
    assert expected == pytest.approx(between + 999 / 52_000, rel=0.02)
    assert abs(expected - simulated(p, uniform(1000), 26_000)[1].mean().item()) < 1e-3


def test_classifier_errors_add_modes() -> None:
    """With 0.75% of each digit misclassified, samples of one class reach 31 to 34 modes, 28 of them five times over."""
    digit = torch.full((10,), 0.0075 / 9, dtype=torch.float64)
    digit[3] = 1 - 0.0075
    p = torch.einsum("a,b,c->abc", digit, digit, digit).flatten()
    assert 31 <= expected_captured_modes(p, 26_000) <= 34
    assert expected_captured_modes(p, 26_000, least=5) == pytest.approx(28, abs=0.5)
    modes, _ = simulated(p, uniform(1000), 26_000)
    assert modes.mean().item() == pytest.approx(
        expected_captured_modes(p, 26_000), abs=4 * modes.std().item() / 20**0.5
    )
    assert expected_captured_modes(torch.tensor([1.0, 0, 0]), 26_000) == 1  # classified without error
