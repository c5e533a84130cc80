"""Laws of noise on hidden units."""

import pytest
import torch
from play import Maker, batches, fit, game
from torch import nn

from saddlepoint.architecture import mlp
from saddlepoint.layer.gaussian_noise import GaussianNoise
from saddlepoint.objective import nonsaturating


def test_noise_has_standard_deviation_sigma_and_is_fresh_each_time():
    torch.manual_seed(0)
    layer, x = GaussianNoise(1, sigma=0.3), torch.full((200, 500), 2.0)
    first, again = layer(x) - x, layer(x) - x
    for noise in (first, again):
        assert noise.mean().item() == pytest.approx(0, abs=4 * 0.3 / 100_000**0.5)
        assert noise.std().item() == pytest.approx(0.3, rel=0.01)
    assert (first * again).mean().item() == pytest.approx(0, abs=0.002)


def test_in_evaluation_mode_and_at_sigma_zero_x_is_unchanged():
    x = torch.randn(4, 3)
    before = torch.get_rng_state()
    assert GaussianNoise(3).eval()(x) is x
    assert GaussianNoise(3, sigma=0.0)(x) is x
    assert torch.equal(torch.get_rng_state(), before)


def test_noise_is_drawn_from_the_global_generator():
    layer, x = GaussianNoise(3), torch.zeros(4, 3)
    torch.manual_seed(3)
    first = layer(x)
    torch.manual_seed(3)
    assert torch.equal(layer(x), first)


def test_as_a_neck_it_leaves_the_features_without_noise():
    network = mlp.Discriminator([2], [5], neck=GaussianNoise)
    x = torch.randn(6, 2)
    first, again = network(x), network(x)
    assert not torch.equal(first.logits, again.logits)
    assert torch.equal(first.features["hidden1"], again.features["hidden1"])
    plays = game(nonsaturating, nets=(Maker(nn.Linear(3, 2)), network))
    fit(plays, batches(2))
    assert all(torch.isfinite(p).all() for p in plays.parameters())


def test_a_negative_sigma_is_refused():
    with pytest.raises(ValueError, match="sigma=-1 must not be negative"):
        GaussianNoise(3, sigma=-1)
