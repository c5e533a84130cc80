"""f-GAN: on a finite space, the bound is below the divergence for every D, and equal to it at the optimal one."""

import math

import pytest
import torch

from saddlepoint.objective import (
    f_gan_jensen_shannon,
    f_gan_kl,
    f_gan_pearson,
    f_gan_reverse_kl,
    f_gan_squared_hellinger,
    minimax,
)

P = torch.tensor([0.5, 0.3, 0.15, 0.05], dtype=torch.float64)
Q = torch.tensor([0.1, 0.2, 0.3, 0.4], dtype=torch.float64)
M = (P + Q) / 2


def kl(p: torch.Tensor, q: torch.Tensor) -> float:
    return (p * (p / q).log()).sum().item()


# objective, the divergence of P from Q, the optimal output of D at density ratio u = p / q, and f'(1)
CASES = {
    "kl": (f_gan_kl, kl(P, Q), lambda u: 1 + u.log(), 1),
    "reverse_kl": (f_gan_reverse_kl, kl(Q, P), lambda u: u.log(), -1),
    "pearson": (f_gan_pearson, (Q * (P / Q - 1).square()).sum().item(), lambda u: 2 * (u - 1), 0),
    "squared_hellinger": (
        f_gan_squared_hellinger, (P.sqrt() - Q.sqrt()).square().sum().item(), lambda u: u.log() / 2, 0,
    ),
    "jensen_shannon": (f_gan_jensen_shannon, kl(P, M) + kl(Q, M), lambda u: u.log(), 0),
}  # fmt: skip


def bound(objective, logits: torch.Tensor) -> torch.Tensor:
    """E_P[T] - E_Q[f*(T)] exactly: rows weighted by repetition, P and Q are multiples of 1 / 20."""
    real = logits.repeat_interleave((20 * P).round().long())
    fake = logits.repeat_interleave((20 * Q).round().long())
    return -objective.discriminator(real, fake)


@pytest.mark.parametrize("name", CASES)
def test_the_bound_is_tight_at_the_optimal_discriminator(name: str) -> None:
    objective, divergence, optimal, _ = CASES[name]
    logits = optimal(P / Q).requires_grad_()
    value = bound(objective, logits)
    assert value.item() == pytest.approx(divergence, abs=1e-12)
    (gradient,) = torch.autograd.grad(value, logits)
    assert gradient.abs().max() < 1e-12


@pytest.mark.parametrize("name", CASES)
def test_the_bound_is_below_the_divergence_everywhere_else(name: str) -> None:
    objective, divergence, optimal, _ = CASES[name]
    noise = torch.Generator().manual_seed(0)
    for _ in range(50):
        logits = optimal(P / Q) + torch.randn(4, generator=noise, dtype=torch.float64)
        assert bound(objective, logits).item() < divergence


@pytest.mark.parametrize("name", CASES)
def test_equal_distributions_have_divergence_zero_and_the_generator_descends_the_bound(name: str) -> None:
    objective, _, optimal, slope = CASES[name]
    same = optimal(torch.ones(5, dtype=torch.float64))
    assert objective.discriminator(same, same).item() == pytest.approx(0, abs=1e-12)
    assert objective.generator(same).item() == pytest.approx(-slope, abs=1e-12)  # -E f*(T), and T = f'(1)
    real, fake = torch.randn(2, 9, dtype=torch.float64)
    fake.requires_grad_()
    (of_bound,) = torch.autograd.grad(-objective.discriminator(real, fake), fake)
    (of_generator,) = torch.autograd.grad(objective.generator(fake), fake)
    assert torch.allclose(of_bound, of_generator, atol=1e-12)


def test_jensen_shannon_is_minimax_plus_log_four() -> None:
    real, fake = torch.randn(2, 9, dtype=torch.float64)
    shifted = minimax.discriminator(real, fake) - math.log(4)
    assert f_gan_jensen_shannon.discriminator(real, fake).item() == pytest.approx(shifted.item(), abs=1e-12)
