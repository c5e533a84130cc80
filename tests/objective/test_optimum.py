"""The optimal discriminator of every objective on a finite space, and its value there, against closed forms."""

from __future__ import annotations

import math
from collections.abc import Callable
from importlib import import_module

import pytest
import torch
from torch import Tensor

from saddlepoint.config import catalogue

P = torch.tensor([0.5, 0.3, 0.15, 0.05], dtype=torch.float64)  # of reals and of fakes, at the points 0, 1, 2, 3
Q = torch.tensor([0.1, 0.25, 0.25, 0.4], dtype=torch.float64)
U, M = P / Q, (P + Q) / 2
TRIANGULAR = ((P - Q).square() / (P + Q)).sum().item()
CDF_GAP = (P - Q).cumsum(0)[:-1]  # of reals and fakes, between the points


def kl(p: Tensor, q: Tensor) -> float:
    return (p * (p / q).log()).sum().item()


LOGISTIC = (U.log(), math.log(4) - kl(P, M) - kl(Q, M))
# objective -> optimal logits (up to a constant for relativistic ones), D's loss there
TABLE: dict[str, tuple[Tensor, float]] = {
    "minimax": LOGISTIC,  # log 4 - 2 JSD
    "nonsaturating": LOGISTIC,
    "zero_sum": LOGISTIC,
    "least_squares": (P / (P + Q), (P * Q / (P + Q)).sum().item() / 2),
    "hinge": ((P - Q).sign(), 2 - (P - Q).abs().sum().item()),  # 2 - 2 TV
    "wasserstein": (torch.cat([torch.zeros(1), -CDF_GAP.sign()]).cumsum(0), -CDF_GAP.abs().sum().item()),  # -W1
    "energy_based": (
        40 + (P < Q).double() * (-math.log(math.e - 1) - 40),
        torch.minimum(P, Q).sum().item(),
    ),  # m sum min
    "relativistic": (U.log(), (P[:, None] * Q * (1 + U / U[:, None]).log()).sum().item()),
    "relativistic_average_least_squares": (
        2 * (P - Q) / (P + Q) / (1 + 1.5 * TRIANGULAR),
        (1 - TRIANGULAR / 2) / (1 + 1.5 * TRIANGULAR),
    ),
    "f_gan_kl": (1 + U.log(), -kl(P, Q)),
    "f_gan_reverse_kl": (U.log(), -kl(Q, P)),
    "f_gan_pearson": (2 * (U - 1), -(Q * (U - 1).square()).sum().item()),
    "f_gan_squared_hellinger": (U.log() / 2, -(P.sqrt() - Q.sqrt()).square().sum().item()),
    "f_gan_jensen_shannon": (U.log(), -kl(P, M) - kl(Q, M)),
}
IMPLICIT = {"relativistic_average": math.log(2), "relativistic_average_hinge": 1.0}  # no closed form; value for P = Q


def loss_of(name: str) -> Callable[[Tensor, Tensor, Tensor], float]:
    """D's loss for logits at the points, exactly: all pairs of 20 reals and 20 fakes, in the proportions of p and q."""
    objective = import_module(f"saddlepoint.objective.{name}")

    def loss(logits: Tensor, p: Tensor, q: Tensor) -> float:
        real, fake = (logits.double().repeat_interleave((20 * share).round().long()) for share in (p, q))
        return objective.discriminator(real.repeat_interleave(20), fake.repeat(20)).item()

    return loss


@pytest.mark.parametrize("name", TABLE)
def test_the_loss_of_the_optimal_discriminator_is_its_closed_form_and_no_other_is_lower(name: str) -> None:
    logits, value = TABLE[name]
    loss, noise = loss_of(name), torch.Generator().manual_seed(0)
    assert loss(logits, P, Q) == pytest.approx(value, abs=1e-12)
    for scale in (1.0, 0.1, 0.01):
        for _ in range(20):
            other = logits + scale * torch.randn(4, generator=noise, dtype=torch.float64)
            if name == "wasserstein":  # over functions of slope at most 1
                other = (2 * torch.rand(4, generator=noise, dtype=torch.float64) - 1).cumsum(0)
            assert loss(other, P, Q) > value - 1e-12


@pytest.mark.parametrize("name", IMPLICIT)
def test_a_constant_is_an_optimal_discriminator_of_equal_distributions(name: str) -> None:
    loss, noise = loss_of(name), torch.Generator().manual_seed(0)
    assert loss(torch.full((4,), 0.7), P, P) == pytest.approx(IMPLICIT[name], abs=1e-12)
    for _ in range(20):
        assert loss(torch.randn(4, generator=noise), P, P) > IMPLICIT[name] - 1e-12


def test_the_tables_have_every_objective() -> None:
    assert {*TABLE, *IMPLICIT} == set(catalogue.option_names("objective"))
