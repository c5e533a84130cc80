"""Closed forms of every objective."""

import math

import pytest
import torch
from torch.nn.functional import binary_cross_entropy_with_logits as bce
from torch.nn.functional import softplus

from saddlepoint.objective import hinge, least_squares, minimax, nonsaturating, relativistic, wasserstein, zero_sum

L = torch.linspace(-8, 8, 33, dtype=torch.float64)
ALL = {
    m.__name__.rsplit(".", 1)[1]: m for m in (hinge, least_squares, minimax, nonsaturating, relativistic, wasserstein)
}


def slope(loss, at):
    """Return d loss / d logit for single logits."""
    at = at.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(sum(loss(one) for one in at.unbind()), at)
    return gradient


@pytest.mark.parametrize("objective", [minimax, nonsaturating])
def test_at_logits_0_the_loss_of_the_discriminator_is_log_4(objective):
    zero = torch.zeros(7, dtype=torch.float64)
    assert objective.discriminator(zero, zero).item() == pytest.approx(math.log(4), abs=1e-12)


@pytest.mark.parametrize("objective", [minimax, nonsaturating])
@pytest.mark.parametrize("real_label", [1.0, 0.9, 0.7])
def test_the_loss_of_the_discriminator_is_the_sum_of_both_cross_entropies(objective, real_label):
    real, fake = torch.randn(2, 50, dtype=torch.float64)
    expected = bce(real, torch.full_like(real, real_label)) + bce(fake, torch.zeros_like(fake))
    assert objective.discriminator(real, fake, real_label=real_label).item() == pytest.approx(
        expected.item(), abs=1e-12
    )


@pytest.mark.parametrize("objective", [minimax, nonsaturating])
def test_with_real_label_0_9_the_minimum_is_1_3763_at_d_0_45_if_p_equals_q(objective):
    d = torch.linspace(0.3, 0.6, 300_001, dtype=torch.float64)
    logit = (d / (1 - d)).log()
    cost = 0.9 * softplus(-logit) + 1.1 * softplus(logit)
    assert d[cost.argmin()].item() == pytest.approx(0.45, abs=1e-5)
    best = torch.tensor([math.log(0.45 / 0.55)], dtype=torch.float64)
    assert objective.discriminator(best, best, real_label=0.9).item() == pytest.approx(1.3763, abs=5e-5)


@pytest.mark.parametrize("real_label", [1.0, 0.9, 0.6])
def test_the_best_discriminator_is_alpha_p_over_p_plus_q(real_label):
    p, q = torch.tensor([0.5, 0.3, 0.2], dtype=torch.float64), torch.tensor([0.1, 0.3, 0.6], dtype=torch.float64)
    best = real_label * p / (p + q)
    logits = (best / (1 - best)).log().requires_grad_()
    cost = sum(
        p[i] * (minimax.discriminator(logits[i : i + 1], L[:1] * 0, real_label) - math.log(2))
        + q[i] * (minimax.discriminator(L[:1] * 0, logits[i : i + 1]) - math.log(2))
        for i in range(3)
    )
    (gradient,) = torch.autograd.grad(cost, logits)
    assert gradient.abs().max() < 1e-12


def test_the_gradient_of_the_minimax_generator_is_minus_sigmoid_of_the_logit():
    assert torch.allclose(slope(minimax.generator, L), -L.sigmoid(), atol=1e-12)


def test_the_zero_sum_generator_is_minus_the_loss_of_the_discriminator_and_has_the_slope_of_minimax():
    real, fake = torch.randn(2, 7, dtype=torch.float64)
    assert zero_sum.generator(real, fake) == -minimax.discriminator(real, fake)
    assert torch.equal(slope(lambda fake: zero_sum.generator(real, fake), L), slope(minimax.generator, L))


def test_the_gradient_of_the_nonsaturating_generator_is_minus_sigmoid_of_minus_the_logit():
    assert torch.allclose(slope(nonsaturating.generator, L), -(-L).sigmoid(), atol=1e-12)


def test_the_generator_takes_no_real_label():
    import inspect

    for objective in (minimax, nonsaturating):
        assert list(inspect.signature(objective.generator).parameters) == ["fake"]


def test_least_squares_is_zero_exactly_on_its_targets():
    real, fake = torch.full((5,), 3.0), torch.full((5,), -2.0)
    assert least_squares.discriminator(real, fake, a=-2.0, b=3.0) == 0
    assert least_squares.discriminator(real + 1, fake - 2, a=-2.0, b=3.0).item() == pytest.approx((1 + 4) / 2)
    assert least_squares.generator(fake, c=-2.0) == 0
    assert least_squares.generator(fake, c=0.0).item() == pytest.approx(2.0)


def test_hinge_has_no_gradient_beyond_the_margin():
    assert torch.equal(slope(lambda t: hinge.discriminator(t[None], L[:1] * 0 - 5), L), -(L < 1).double())
    assert torch.equal(slope(lambda t: hinge.discriminator(L[:1] * 0 + 5, t[None]), L), (L > -1).double())
    assert torch.equal(slope(hinge.generator, L), -torch.ones_like(L))


def test_wasserstein_is_the_difference_of_means_and_zero_sum():
    real, fake = torch.randn(2, 9)
    assert wasserstein.discriminator(real, fake).item() == pytest.approx((fake.mean() - real.mean()).item())
    assert wasserstein.generator(fake).item() == pytest.approx(-fake.mean().item())


def test_relativistic_depends_on_differences_only_and_is_antisymmetric_in_the_sides():
    real, fake = torch.randn(2, 40, dtype=torch.float64)
    shifted = relativistic.discriminator(real + 3.7, fake + 3.7)
    assert relativistic.discriminator(real, fake).item() == pytest.approx(shifted.item(), abs=1e-12)
    assert relativistic.generator(real, fake).item() == relativistic.discriminator(fake, real).item()
    assert relativistic.discriminator(real, fake).item() == pytest.approx(-(real - fake).sigmoid().log().mean().item())


@pytest.mark.parametrize("name", ALL)
def test_losses_accept_patch_logits(name):
    real, fake = torch.randn(2, 6, 4, dtype=torch.float64)
    flat = ALL[name].discriminator(real.flatten(), fake.flatten())
    assert ALL[name].discriminator(real, fake).item() == pytest.approx(flat.item(), abs=1e-12)


@pytest.mark.parametrize("name", ALL)
def test_no_objective_overflows_on_large_logits(name):
    sure = torch.tensor([1e4, -1e4])
    assert torch.isfinite(ALL[name].discriminator(sure, sure))


@pytest.mark.parametrize("objective", [minimax, nonsaturating])
@pytest.mark.parametrize("real_label", [0.0, -0.1, 1.1])
def test_a_real_label_outside_0_1_is_refused(objective, real_label):
    with pytest.raises(ValueError, match=f"real_label={real_label}"):
        objective.discriminator(torch.zeros(2), torch.zeros(2), real_label=real_label)


def test_the_nonsaturating_loss_is_the_softplus_logistic_loss():
    real, fake = L, L.flip(0) + 0.3
    assert nonsaturating.discriminator(real, fake) == softplus(-real).mean() + softplus(fake).mean()
    assert nonsaturating.generator(fake) == softplus(-fake).mean()
