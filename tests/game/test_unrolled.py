"""Unrolled play in closed form, for a linear D and the Wasserstein loss, at every number of steps.

    D(x) = w . x,   w_K = w - K eta (f - r),   L_G = -w_K . f,   dL_G/df = -w_K + K eta f

f and r are the means of fakes and reals; the second part of the gradient passes through the K steps.
"""

from functools import partial

import play
import pytest
import torch
from torch import nn

from saddlepoint.game.player import Player
from saddlepoint.game.unrolled import Unrolled
from saddlepoint.objective import wasserstein
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


def unrolled_game(steps: int) -> Unrolled:
    torch.manual_seed(0)
    critic = play.Critic(nn.Identity(), nn.Linear(2, 1, bias=False))
    sgd = partial(torch.optim.SGD, lr=1.0)
    players = {
        "discriminator": Player(critic, sgd, wasserstein.discriminator),
        "generator": Player(Shift(), sgd, wasserstein.generator),
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
