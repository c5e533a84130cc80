"""Relativistic average losses: equal to the authors' definitions, symmetric under swapping the sides."""

import pytest
import torch
from torch.nn.functional import binary_cross_entropy_with_logits as bce

from saddlepoint.objective import (
    relativistic_average,
    relativistic_average_hinge,
    relativistic_average_least_squares,
)

OBJECTIVES = [relativistic_average, relativistic_average_least_squares, relativistic_average_hinge]


@pytest.fixture
def logits() -> torch.Tensor:
    return torch.randn(2, 40, dtype=torch.float64, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("objective", OBJECTIVES)
def test_the_generator_plays_the_discriminators_game_with_the_sides_swapped(objective, logits: torch.Tensor) -> None:
    real, fake = logits
    assert torch.equal(objective.generator(real, fake), objective.discriminator(fake, real))


@pytest.mark.parametrize("objective", OBJECTIVES)
def test_swapping_the_sides_and_the_sign_of_d_changes_nothing(objective, logits: torch.Tensor) -> None:
    """a becomes b and b becomes a, with the other sign: a D that rates fakes against reals is the same D."""
    real, fake = logits
    for player in (objective.discriminator, objective.generator):
        assert player(-fake, -real).item() == pytest.approx(player(real, fake).item(), abs=1e-12)


def test_the_generators_losses_are_the_authors(logits: torch.Tensor) -> None:
    real, fake = logits
    a, b = real - fake.mean(), fake - real.mean()
    expected = {
        relativistic_average: bce(a, torch.zeros_like(a)) + bce(b, torch.ones_like(b)),
        relativistic_average_least_squares: (a + 1).square().mean() + (b - 1).square().mean(),
        relativistic_average_hinge: (1 + a).clamp(min=0).mean() + (1 - b).clamp(min=0).mean(),
    }
    for objective, loss in expected.items():
        assert objective.generator(real, fake).item() == pytest.approx(loss.item() / 2, abs=1e-12)


@pytest.mark.parametrize("objective", OBJECTIVES)
def test_adding_a_constant_to_all_logits_changes_nothing(objective, logits: torch.Tensor) -> None:
    real, fake = (row.clone().requires_grad_() for row in logits)
    for player in (objective.discriminator, objective.generator):
        loss = player(real, fake)
        assert player(real + 3, fake + 3).item() == pytest.approx(loss.item(), abs=1e-12)
        gradients = torch.autograd.grad(loss, (real, fake))  # also through both means
        assert sum(gradient.sum().item() for gradient in gradients) == pytest.approx(0, abs=1e-12)


def test_the_logistic_form_is_two_cross_entropies(logits: torch.Tensor) -> None:
    real, fake = logits
    a, b = real - fake.mean(), fake - real.mean()
    expected = (bce(a, torch.ones_like(a)) + bce(b, torch.zeros_like(b))) / 2
    assert relativistic_average.discriminator(real, fake).item() == pytest.approx(expected.item(), abs=1e-12)


def test_least_squares_and_hinge_are_zero_at_their_targets() -> None:
    real, fake = torch.full((4,), 0.5), torch.full((7,), -0.5)  # a = 1, b = -1
    assert relativistic_average_least_squares.discriminator(real, fake) == 0
    assert relativistic_average_hinge.discriminator(real, fake) == 0
    assert relativistic_average_least_squares.generator(real, fake) == 4
    assert relativistic_average_hinge.generator(real, fake) == 2


@pytest.mark.parametrize("objective", OBJECTIVES)
def test_both_sides_receive_a_gradient(objective, logits: torch.Tensor) -> None:
    real, fake = (row.clone().requires_grad_() for row in logits)
    gradients = torch.autograd.grad(objective.discriminator(real, fake), (real, fake))
    assert all(gradient.abs().sum() > 0 for gradient in gradients)
