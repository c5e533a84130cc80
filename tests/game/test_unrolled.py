"""Unrolled play in closed form, for a linear D and the Wasserstein loss, at every number of steps.

    D(x) = w . x,   w_K = w - K eta (f - r),   L_G = -w_K . f,   dL_G/df = -w_K + K eta f

f and r are the means of fakes and reals; the second part of the gradient passes through the K steps.
"""

from functools import partial
from types import ModuleType

import play
import pytest
import torch
from torch import nn
from torch.nn.functional import softplus

from saddlepoint.game.player import Player
from saddlepoint.game.unrolled import Unrolled
from saddlepoint.objective import minimax, wasserstein, zero_sum
from saddlepoint.prior.normal import Normal
from saddlepoint.prior.prior import Prior

RATE = 0.3


class Shift(nn.Module):
    """A generator z + shift that keeps its output."""

    def __init__(self) -> None:
        super().__init__()
        self.shift = nn.Parameter(torch.tensor([0.5, -1.0]))

    def forward(self, latent, condition=None):
        self.output = latent["z"] + self.shift
        return self.output


def unrolled_game(steps: int, objective: ModuleType = wasserstein) -> Unrolled:
    torch.manual_seed(0)
    critic = play.Critic(nn.Identity(), nn.Linear(2, 1, bias=False))
    sgd = partial(torch.optim.SGD, lr=1.0)
    players = {
        "discriminator": Player(critic, sgd, objective.discriminator),
        "generator": Player(Shift(), sgd, objective.generator),
    }
    return Unrolled(players, Prior(z=Normal(2)), steps=steps, rate=RATE)


@pytest.mark.parametrize("steps", [0, 1, 2, 7])
def test_the_generator_moves_against_the_discriminator_after_k_steps_and_through_them(steps: int) -> None:
    game = unrolled_game(steps)
    before = game.discriminator.network.last.weight[0].detach().clone()
    shift = game.generator.network.shift.detach().clone()
    (batch,) = play.batches(1)
    means = []

    class Means:
        def before_turn(self, game, names, batch):
            pass

        def before_step(self, game, names):
            means.append(game.generator.network.output.mean(0).detach())

    game.observers.append(Means())
    play.fit(game, [batch])
    r, (f_of_d, f) = batch.x.mean(0), means
    w = before - (f_of_d - r)  # one step of D itself, of rate 1, whatever `steps` is
    assert torch.allclose(game.discriminator.network.last.weight[0], w, atol=1e-6)
    w_k = w - steps * RATE * (f - r)
    gradient = -w_k + steps * RATE * f
    assert torch.allclose(game.generator.network.shift, shift - gradient, atol=1e-5)


@pytest.mark.parametrize("objective", [zero_sum, minimax])
def test_the_zero_sum_loss_has_a_gradient_through_the_reals_and_minimax_has_none(objective: ModuleType) -> None:
    """The gradient of G by autograd from the equations alone: L_G = -L_D(w_2), or its second expectation alone."""
    game = unrolled_game(2, objective)
    shift = game.generator.network.shift.detach().clone()
    fakes = []

    class Fakes:
        def before_turn(self, game, names, batch):
            pass

        def before_step(self, game, names):
            fakes.append(
                (game.generator.network.output.detach(), game.discriminator.network.last.weight[0].detach().clone())
            )

    game.observers.append(Fakes())
    (batch,) = play.batches(1)
    play.fit(game, [batch])
    z, w = fakes[-1][0] - shift, fakes[-1][1]
    move = torch.zeros(2, requires_grad=True)

    def loss_of_discriminator(w: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        return softplus(-(batch.x @ w)).mean(), softplus((z + shift + move) @ w).mean()

    w = w.requires_grad_()
    for _ in range(2):
        (slope,) = torch.autograd.grad(sum(loss_of_discriminator(w)), w, create_graph=True)
        w = w - RATE * slope
    of_reals, of_fakes = loss_of_discriminator(w)
    losses = {zero_sum: -of_reals - of_fakes, minimax: -of_fakes}
    gradients = {name: torch.autograd.grad(loss, move, retain_graph=True)[0] for name, loss in losses.items()}
    assert not torch.allclose(gradients[zero_sum], gradients[minimax], atol=1e-2)
    assert torch.allclose(game.generator.network.shift, shift - gradients[objective], atol=1e-5)
