"""Optimizers for games: closed forms on the bilinear game, and an independent implementation on the Dirac-GAN.

With the Wasserstein losses the Dirac-GAN is bilinear: as z = theta + i psi, a step of both players at once is
z <- (1 - i h) z. Its length grows by sqrt(1 + h^2): plain gradient descent never converges.
"""

import io
from functools import partial

import numpy as np
import pytest
import torch
from play import Watch, batches, fit, game
from torch import nn

from saddlepoint.architecture import dirac
from saddlepoint.game.average import Average
from saddlepoint.objective import nonsaturating, wasserstein
from saddlepoint.optimizer.extragradient import ExtraAdam, ExtraSGD
from saddlepoint.optimizer.lookahead import LookaheadAdam, LookaheadSGD
from saddlepoint.optimizer.optimistic_adam import OptimisticAdam, OptimisticSGD
from saddlepoint.schedule.linear import Linear
from saddlepoint.turn import Batch

H = 0.3
START = 0.6 + 0.8j  # theta + i psi


def played(objective, optimizer, rule, rounds):
    """The points (theta + i psi) of the Dirac-GAN, before the first round and after each one, in float64."""
    torch.set_default_dtype(torch.float64)
    try:
        nets = dirac.Generator([1], START.real), dirac.Discriminator([1], START.imag)
        points = [START]

        def after(game, i):
            points.append(complex(nets[0].theta.item(), nets[1].psi.item()))

        plays = game(objective, rule=rule, optimizer=optimizer, nets=nets)
        fit(plays, [Batch(torch.zeros(3, 1))] * rounds, [Watch(after=after)])
    finally:
        torch.set_default_dtype(torch.float32)
    return np.array(points)


# ------------------------------------------------------------------------------------------------------ closed forms


def test_extragradient_contracts_the_bilinear_game_by_its_eigenvalue():
    """z <- z - i h (1 - i h) z: the length shrinks by sqrt(1 - h^2 + h^4) per update, which takes two rounds."""
    points = played(wasserstein, partial(ExtraSGD, lr=H), "simultaneous", 12)
    eigenvalue = 1 - 1j * H - H**2
    assert np.allclose(points[::2], START * eigenvalue ** np.arange(7), rtol=0, atol=1e-12)
    assert np.allclose(points[1::2], points[:-1:2] * (1 - 1j * H), rtol=0, atol=1e-12)  # the extrapolated points
    assert abs(eigenvalue) == pytest.approx(np.sqrt(1 - H**2 + H**4))
    assert abs(eigenvalue) < 1


def test_optimistic_descent_follows_its_two_eigenvalues():
    """z_{t+1} = (1 - 2 i h) z_t + i h z_{t-1}: a combination of powers of the roots of l^2 = (1 - 2 i h) l + i h."""
    points = played(wasserstein, partial(OptimisticSGD, lr=H), "simultaneous", 40)
    roots = np.roots([1, -(1 - 2j * H), -1j * H])
    weights = np.linalg.solve(np.stack([np.ones(2), roots]), points[:2])
    assert np.allclose(points, (weights * roots ** np.arange(41)[:, None]).sum(1), rtol=0, atol=1e-12)
    assert points[1] == pytest.approx((1 - 2j * H) * START)
    assert np.abs(roots).max() < 1
    assert abs(points[-1]) < 0.25 < 1 < abs(START * (1 - 1j * H) ** 40)


def test_optimistic_descent_is_extrapolation_from_the_past():
    """Gidel et al. 2018: theta' = theta - h g', with g' the previous extrapolated gradient."""
    points = played(wasserstein, partial(OptimisticSGD, lr=H), "simultaneous", 10)
    z, gradient, extrapolated = START, 0, []
    for _ in range(11):
        ahead = z - H * gradient
        gradient = 1j * ahead
        extrapolated.append(ahead)
        z = z - H * gradient
    assert np.allclose(points, extrapolated, rtol=0, atol=1e-12)


@pytest.mark.parametrize(("steps", "alpha"), [(5, 0.5), (3, 0.2), (4, 1.0)])
def test_lookahead_multiplies_the_slow_weights_by_a_mean_of_1_and_the_inner_rotation(steps, alpha):
    points = played(wasserstein, partial(LookaheadSGD, lr=H, steps=steps, alpha=alpha), "simultaneous", 4 * steps)
    eigenvalue = (1 - alpha) + alpha * (1 - 1j * H) ** steps
    assert np.allclose(points[::steps], START * eigenvalue ** np.arange(5), rtol=0, atol=1e-12)
    assert (abs(eigenvalue) < 1) == (alpha < 1)  # alpha = 1 is plain descent


# ------------------------------------------------------------------------------------------- independent implementation


class Adam:
    """The recursion for one number; subclasses add what the optimizer under test adds."""

    def __init__(self, lr, b1, b2, eps):
        self.lr, self.b1, self.b2, self.eps = lr, b1, b2, eps
        self.t, self.m, self.v = 0, 0.0, 0.0

    def update(self, g):
        self.t += 1
        self.m = self.b1 * self.m + (1 - self.b1) * g
        self.v = self.b2 * self.v + (1 - self.b2) * g * g
        m, v = self.m / (1 - self.b1**self.t), self.v / (1 - self.b2**self.t)
        return self.lr * m / (np.sqrt(v) + self.eps)


class Extra(Adam):
    kept = None

    def step(self, x, g):
        if self.kept is None:
            self.kept = x
            return x - self.update(g)
        start, self.kept = self.kept, None
        return start - self.update(g)


class Optimistic(Adam):
    last = 0.0

    def step(self, x, g):
        before, self.last = self.last, self.update(g)
        return x - 2 * self.last + before


class Look(Adam):
    slow = None

    def step(self, x, g):
        self.slow = x if self.slow is None else self.slow
        x = x - self.update(g)
        if self.t % 3 == 0:
            x = self.slow = 0.3 * self.slow + 0.7 * x
        return x


ADAM = {"lr": 0.1, "betas": (0.5, 0.9), "eps": 1e-3}
PAIRS = {
    "extragradient": (ExtraAdam, Extra),
    "optimistic": (OptimisticAdam, Optimistic),
    "lookahead": (partial(LookaheadAdam, steps=3, alpha=0.7), Look),
}


@pytest.mark.parametrize("fused", [False, True])
@pytest.mark.parametrize("rule", ["alternating", "simultaneous"])
@pytest.mark.parametrize("name", PAIRS)
def test_ten_rounds_equal_an_independent_implementation(name, rule, fused):
    ours, theirs = PAIRS[name]
    points = played(nonsaturating, partial(ours, **ADAM, fused=fused), rule, 10)
    d, g = (theirs(ADAM["lr"], *ADAM["betas"], ADAM["eps"]) for _ in range(2))
    theta, psi, expected = START.real, START.imag, [START]
    for _ in range(10):
        moved = d.step(psi, theta / (1 + np.exp(-psi * theta)))
        slope = psi if rule == "simultaneous" else moved
        theta = g.step(theta, -slope / (1 + np.exp(slope * theta)))
        psi = moved
        expected.append(complex(theta, psi))
    assert np.allclose(points, expected, rtol=0, atol=1e-12)


# ----------------------------------------------------------------------------------------------------- state, schedules


OPTIMIZERS = {name: partial(ours, lr=0.1, betas=(0.5, 0.9)) for name, (ours, _) in PAIRS.items()}
OPTIMIZERS["extragradient, sgd"] = partial(ExtraSGD, lr=0.1, momentum=0.9)


@pytest.mark.parametrize("done", [1, 2, 4])
@pytest.mark.parametrize("name", OPTIMIZERS)
def test_saving_and_resuming_is_exact_between_an_extrapolation_and_its_update_too(name, done):
    """The state survives a file, and a resumed run writes the settings of a new optimizer over the loaded ones."""

    def start():
        torch.manual_seed(0)
        return [nn.Parameter(torch.randn(4, 3)), nn.Parameter(torch.randn(3))]

    def descend(parameters, optimizer, first, last):
        for i in range(first, last):
            for j, p in enumerate(parameters):
                p.grad = p.detach().sin() + i if (i, j) != (0, 1) else None  # its first gradient is late
            optimizer.step()

    uninterrupted = start()
    descend(uninterrupted, OPTIMIZERS[name](uninterrupted), 0, 9)
    stopped = start()
    first = OPTIMIZERS[name](stopped)
    descend(stopped, first, 0, done)
    file = io.BytesIO()
    torch.save(first.state_dict(), file)
    file.seek(0)
    resumed = [nn.Parameter(p.detach().clone()) for p in stopped]
    restored = OPTIMIZERS[name](resumed)
    settings = {key: value for key, value in restored.param_groups[0].items() if key != "params"}
    restored.load_state_dict(torch.load(file, weights_only=True))
    restored.param_groups[0] |= settings
    descend(resumed, restored, done, 9)
    assert all(torch.equal(a, b) for a, b in zip(resumed, uninterrupted, strict=True))


@pytest.mark.parametrize("name", PAIRS)
def test_learning_rate_schedules_and_averages_follow_the_weights(name):
    optimizer = partial(PAIRS[name][0], lr=Linear(1e-2, 0.0, images=64), betas=(0.5, 0.9))
    plays = game(nonsaturating, optimizer=optimizer, g={"average": partial(Average, half_life=16, warm_up=None)})
    weight = plays.generator.network.network[0].weight
    mean, seen = weight.detach().clone(), []

    def after(game, i):
        seen.append(game.optimizer("generator").param_groups[0]["lr"])
        mean.lerp_(weight.detach(), 0.5)  # 16 images per round: half of what is left

    fit(plays, batches(4), [Watch(after=after)])
    assert seen == pytest.approx([1e-2 * (1 - i / 4) for i in range(4)])
    averaged = plays.generator.average.network.network[0].weight
    assert torch.allclose(averaged, mean, atol=1e-6)
    assert not torch.equal(averaged, weight)


@pytest.mark.parametrize("wrong", [{"steps": 0}, {"alpha": 0.0}, {"alpha": 1.1}])
def test_invalid_lookahead_is_refused(wrong):
    with pytest.raises(ValueError, match="lookahead"):
        LookaheadAdam([nn.Parameter(torch.zeros(1))], **wrong)


@pytest.mark.parametrize("name", PAIRS)
def test_a_closure_computes_the_gradients_at_the_current_weights(name):
    p = nn.Parameter(torch.ones(1))
    optimizer, seen = OPTIMIZERS[name]([p]), []

    def closure():
        seen.append(p.item())
        optimizer.zero_grad()
        (loss := p.square().sum()).backward()
        return loss

    for _ in range(3):
        before = p.item()
        assert optimizer.step(closure).item() == pytest.approx(before**2)
        assert seen[-1] == before
