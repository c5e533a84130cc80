"""The perceptrons of the first GAN on MNIST, and its schedules of learning rate and momentum."""

import math

import numpy as np
import pytest
import torch
from torch import nn

from saddlepoint.architecture.goodfellow2014_mnist import Discriminator, Generator
from saddlepoint.config.compose import compose
from saddlepoint.experiment.build import build_game

SHAPE = (1, 28, 28)


def test_sizes_and_initial_values_are_those_of_the_authors_code() -> None:
    generator, discriminator = Generator(100, SHAPE), Discriminator(SHAPE)
    linear = {net: [m for m in net.modules() if isinstance(m, nn.Linear)] for net in (generator, discriminator)}
    assert [(m.in_features, m.out_features) for m in linear[generator]] == [(100, 1200), (1200, 1200), (1200, 784)]
    assert [(m.in_features, m.out_features) for m in linear[discriminator]] == [(784, 1200), (240, 1200), (240, 1)]
    assert [m.p for m in discriminator.modules() if isinstance(m, nn.Dropout)] == [0.2, 0.5, 0.5]
    for net, span in ((generator, 0.05), (discriminator, 0.005)):
        weights = torch.cat([m.weight.flatten() for m in linear[net]])
        assert span * 0.99 < weights.abs().max() <= span
        assert weights.std().item() == pytest.approx(span / math.sqrt(3), rel=0.01)
        assert all(m.bias.eq(0).all() for m in linear[net] if m.out_features != 784)


def test_for_a_latent_of_zeros_the_generator_starts_at_the_mean_pixel() -> None:
    x = Generator(100, SHAPE, mean_pixel=0.2)({"z": torch.zeros(2, 100)})
    assert x.shape == (2, *SHAPE)
    assert torch.allclose((x + 1) / 2, torch.tensor(0.2))
    with pytest.raises(ValueError, match=r"mean_pixel=1 must lie in \(0, 1\)"):
        Generator(100, SHAPE, mean_pixel=1)


def test_without_dropout_the_discriminator_equals_nested_maxout_of_pixels_in_0_to_1() -> None:
    discriminator = Discriminator([1, 2, 2], widths=[4, 3], pieces=5, span=1.0).eval()
    x = torch.rand(6, 1, 2, 2) * 2 - 1
    h = ((x + 1) / 2).flatten(1).numpy()
    for name in ("hidden1", "hidden2"):
        line = next(m for m in discriminator.trunk[name].modules() if isinstance(m, nn.Linear))
        nn.init.normal_(line.bias)
        h = (h @ line.weight.detach().numpy().T + line.bias.detach().numpy()).reshape(6, -1, 5).max(2)
    assert np.allclose(discriminator(x).features["hidden2"].detach(), h, atol=1e-6)


def test_learning_rate_and_momentum_after_every_update_are_those_of_the_authors_code() -> None:
    """lr / 1.000004 after each of 500 updates of 100 per epoch; momentum 0.5 to 0.7 between epochs 1 and 250."""
    game = build_game(compose(["experiment=goodfellow2014_mnist"]))
    for name in game.players:
        player = game.player(name)
        optimizer = player.build_optimizer()
        for update, momentum in ((0, 0.5), (500, 0.5), (62_750, 0.6), (125_000, 0.7)):
            player.apply_schedules(optimizer, update * 100)
            (group,) = optimizer.param_groups
            assert group["lr"] == pytest.approx(0.1 / 1.000004**update, rel=1e-6)
            assert group["momentum"] == pytest.approx(momentum, abs=1e-9)
            assert not group["nesterov"]


def test_both_players_compute_their_gradients_before_either_steps() -> None:
    game = build_game(compose(["experiment=goodfellow2014_mnist"]))
    assert [list(group) for group in game.order] == [["discriminator", "generator"]]
    assert (game.player("discriminator").weight, game.player("generator").weight) == (0.5, 1.0)
