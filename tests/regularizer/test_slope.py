"""Penalties of critics with a known slope."""

import play
import pytest
import torch
from play import Critic, Maker, batches, fit, game
from torch import nn

from saddlepoint.objective import wasserstein
from saddlepoint.regularizer.gradient_penalty import GradientPenalty
from saddlepoint.regularizer.r1 import R1
from saddlepoint.regularizer.r2 import R2
from saddlepoint.regularizer.slope import squared_slope
from saddlepoint.stream import Stream
from saddlepoint.turn import DiscriminatorOutput, Sample

PENALTY = {  # the penalty of a linear critic with slope s, and its derivative in s
    "gradient_penalty": (GradientPenalty, lambda s: (s - 1) ** 2, lambda s: 2 * (s - 1)),
    "r1": (R1, lambda s: s**2 / 2, lambda s: s),
    "r2": (R2, lambda s: s**2 / 2, lambda s: s),
}


def turn_of(discriminator, real, fake):
    return play.turn(
        drawn=Stream(0, "augment").uniform(len(real)),
        real=Sample(real.requires_grad_(), None, discriminator),
        fake=Sample(fake.requires_grad_(), None, discriminator),
    )


@pytest.mark.parametrize("shape", [(2,), (1, 3, 4)])
@pytest.mark.parametrize("n", [1, 4, 64])
@pytest.mark.parametrize("s", [0.25, 1.0, 3.0])
@pytest.mark.parametrize("name", PENALTY)
def test_the_penalty_of_a_linear_critic_depends_on_its_slope_but_not_on_the_batch_size(name, s, n, shape):
    piece, value, derivative = PENALTY[name]
    direction = torch.randn(shape, dtype=torch.float64)
    direction /= direction.norm()
    slope = torch.tensor(s, dtype=torch.float64, requires_grad=True)

    def critic(x, y=None):
        return DiscriminatorOutput((x * direction * slope).flatten(1).sum(1), {"x": x})

    paid = piece()(turn_of(critic, *torch.randn(2, n, *shape, dtype=torch.float64)))
    assert paid.item() == pytest.approx(value(s), abs=1e-9)
    (gradient,) = torch.autograd.grad(paid, slope)
    assert gradient.item() == pytest.approx(derivative(s), abs=1e-9)


@pytest.mark.parametrize("name", PENALTY)
def test_gradients_are_finite_for_a_constant_critic(name):
    weight = torch.zeros(2, requires_grad=True)
    paid = PENALTY[name][0]()(turn_of(lambda x, y=None: DiscriminatorOutput(x @ weight), *torch.randn(2, 5, 2)))
    (gradient,) = torch.autograd.grad(paid, weight)
    assert torch.isfinite(paid)
    assert torch.isfinite(gradient).all()


def test_the_squared_slope_of_a_curved_critic_is_per_sample():
    x = torch.randn(6, 3, dtype=torch.float64).requires_grad_()
    sample = Sample(x, None, lambda x, y=None: DiscriminatorOutput(x.square().sum(1)))
    assert torch.allclose(squared_slope(sample), 4 * x.square().sum(1))


def test_the_gradient_penalty_interpolates_between_the_sides_with_one_coefficient_per_sample():
    inputs = []

    def critic(x, y=None):
        inputs.append(x)
        return DiscriminatorOutput(x.flatten(1).sum(1))

    real, fake = torch.zeros(500, 1, 2, 2), torch.ones(500, 1, 2, 2)
    GradientPenalty()(turn_of(critic, real, fake))
    e = inputs[-1].flatten(1)
    assert torch.equal(e, e[:, :1].expand_as(e))  # one coefficient per sample, not per pixel
    assert e.min() > 0
    assert e.max() <= 1
    assert e[:, 0].mean().item() == pytest.approx(0.5, abs=0.05)
    assert e[:, 0].unique().numel() > 490


def test_r1_takes_the_slope_at_reals_and_r2_at_fakes():
    def critic(x, y=None):
        return DiscriminatorOutput(x.square().sum(1) / 2)  # slope at x is |x|

    turn = turn_of(critic, torch.full((4, 1), 2.0), torch.full((4, 1), 3.0))
    assert R1()(turn).item() == pytest.approx(2.0)
    assert R2()(turn).item() == pytest.approx(4.5)


def test_a_lazy_term_is_due_on_turns_0_k_2k_and_scaled_by_its_period():
    from play import Watch

    plays = game(wasserstein, {"r1": R1(weight=3.0, every=4)})
    eager = []

    def after(g, i):
        eager.append("r1" in g.last_losses["discriminator"][0])

    fit(plays, batches(9), [Watch(before=lambda g, i: g.last_losses.clear(), after=after)])
    assert eager == [True, False, False, False, True, False, False, False, True]
    slope = torch.tensor([[2.0, 0.0]])
    critic = Critic(nn.Identity(), nn.Linear(2, 1, bias=False))
    critic.last.weight.data.copy_(slope)
    lazy = game(wasserstein, {"r1": R1(weight=3.0, every=4)}, nets=(Maker(nn.Linear(3, 2)), critic))
    turn = turn_of(critic, *torch.randn(2, 8, 2))
    assert lazy.discriminator.losses(turn, 0)["r1"].item() == pytest.approx(3.0 * 4 * 4 / 2)
    assert "r1" not in lazy.discriminator.losses(turn, 1)


@pytest.mark.parametrize("every", [0, -1, 1.5])
def test_a_period_must_be_a_positive_integer(every):
    with pytest.raises(ValueError, match="every"):
        R1(every=every)
