"""The networks of the toy game, and of PacGAN and the unrolled GAN for rings."""

import numpy as np
import pytest
import torch
from torch import nn

from saddlepoint.architecture import metz2016_toy, pacgan_toy, salimans2016_toy
from saddlepoint.config.compose import compose
from saddlepoint.experiment.build import build_game
from saddlepoint.objective import wasserstein


@pytest.mark.parametrize(("x", "f"), [(-2.0, -2.0), (-0.5, -0.5), (0.0, 0.0), (0.5, 0.25), (1.5, 2.25)])
def test_the_losses_of_the_toy_are_the_game_of_the_paper_and_its_negative(x, f):
    generator, discriminator = salimans2016_toy.Generator([1], x), salimans2016_toy.Discriminator([1], 3.0)
    fake = discriminator(generator({"z": torch.randn(4, 1)})).logits
    real = discriminator(torch.ones(4, 1)).logits
    assert real.eq(0).all()  # f(1) = 1, so the loss on reals is 0
    value = (f - 1) * (3.0 - 1)
    assert wasserstein.generator(fake).item() == pytest.approx(value)
    assert wasserstein.discriminator(real, fake).item() == pytest.approx(-value)


def test_the_toy_has_two_parameters_which_start_at_1_5():
    game = build_game(compose(["experiment=salimans2016_historical_averaging"]))
    assert [p.item() for p in game.parameters()] == [1.5, 1.5]


def test_pacgans_networks_have_the_layers_of_the_authors_code():
    game = build_game(compose(["experiment=lin2018_ring"]))
    generator, discriminator = game.generator.network, game.discriminator.network
    linear = [m for m in generator.modules() if isinstance(m, nn.Linear)]
    assert [(m.in_features, m.out_features, m.bias is None) for m in linear] == [
        (2, 400, True), *[(400, 400, True)] * 3, (400, 2, False),
    ]  # fmt: skip
    norms = [m for m in generator.modules() if isinstance(m, nn.BatchNorm1d)]
    assert [(m.num_features, m.momentum) for m in norms] == [(400, 0.05)] * 4
    assert sum(p.numel() for p in generator.parameters()) == 2 * 400 + 3 * 400**2 + 4 * 2 * 400 + 400 * 2 + 2
    pieces = 200 * 5
    expected = (2 + 1) * pieces + 2 * (200 + 1) * pieces + 201
    assert sum(p.numel() for p in discriminator.parameters()) == expected
    weights = torch.cat([m.weight.flatten() for m in [*linear, *discriminator.modules()] if isinstance(m, nn.Linear)])
    assert weights.std().item() == pytest.approx(0.02, rel=0.01)
    assert all(m.bias.eq(0).all() for m in discriminator.modules() if isinstance(m, nn.Linear))


def test_pacgans_discriminator_equals_nested_maxout():
    """Compare with numpy: three layers of the maximum of five pieces, and a linear layer."""
    discriminator = pacgan_toy.Discriminator([2], widths=[4, 3], pieces=5)
    x = torch.randn(6, 2)
    h = x.numpy()
    for name in ("hidden1", "hidden2"):
        line = next(m for m in discriminator.trunk[name].modules() if isinstance(m, nn.Linear))
        nn.init.normal_(line.bias)
        h = (h @ line.weight.detach().numpy().T + line.bias.detach().numpy()).reshape(6, -1, 5).max(2)
        assert np.allclose(discriminator(x).features[name].detach(), h, atol=1e-6)
    assert discriminator(x).logits.shape == (6,)


def test_the_unrolled_gans_networks_have_orthogonal_weights_of_gain_1_4_and_equal_nested_tanh():
    game = build_game(compose(["experiment=metz2016_ring"]))
    for network, sizes in (
        (game.generator.network, [256, 128, 128, 2]),
        (game.discriminator.network, [2, 128, 128, 1]),
    ):
        linear = [m for m in network.modules() if isinstance(m, nn.Linear)]
        assert [m.in_features for m in linear] + [linear[-1].out_features] == sizes
        for m in linear:
            rows = m.weight if m.out_features <= m.in_features else m.weight.T
            assert torch.allclose(rows @ rows.T, 1.4**2 * torch.eye(len(rows)), atol=1e-5)
            assert m.bias.eq(0).all()
    generator, discriminator = metz2016_toy.Generator(3, [2], [4, 5]), metz2016_toy.Discriminator([2], [4, 5])
    z = torch.randn(6, 3)
    lines = [[m for m in net.modules() if isinstance(m, nn.Linear)] for net in (generator, discriminator)]
    for line in (*lines[0], *lines[1]):
        nn.init.normal_(line.bias)
    x = lines[0][2](lines[0][1](lines[0][0](z).tanh()).tanh())
    assert torch.allclose(generator({"z": z}), x, atol=1e-6)
    logits = lines[1][2](lines[1][1](lines[1][0](x).tanh()).tanh())
    assert torch.allclose(discriminator(x).logits, logits[:, 0], atol=1e-5)
