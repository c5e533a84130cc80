"""The residual networks of SNGAN: parameter counts by hand, shapes, spectral norms, and the conditional form."""

import math
from functools import partial

import play
import pytest
import torch
from torch import nn
from torch.nn.functional import avg_pool2d, interpolate

from saddlepoint.architecture import sngan, sngan_cnn
from saddlepoint.game.dry_run import dry_run
from saddlepoint.game.game import Game
from saddlepoint.game.player import Player
from saddlepoint.layer.conditional_batch_norm import ConditionalBatchNorm
from saddlepoint.layer.projection import Projection
from saddlepoint.layer.residual_block import ResidualBlock
from saddlepoint.layer.spectral_norm import LINEAR, SpectralNorm
from saddlepoint.objective import hinge
from saddlepoint.prior.normal import Normal
from saddlepoint.prior.prior import Prior
from saddlepoint.turn import Batch


def size(network: nn.Module) -> int:
    return sum(p.numel() for p in network.parameters())


def convolution(a: int, b: int, side: int = 3) -> int:
    return a * b * side**2 + b


def up(a: int, b: int) -> int:  # two batch norms, two convolutions, the shortcut
    return 2 * a + convolution(a, b) + 2 * b + convolution(b, b) + convolution(a, b, 1)


def down(a: int, b: int) -> int:
    return convolution(a, a) + convolution(a, b) + convolution(a, b, 1)


def first(b: int) -> int:
    return convolution(3, b) + convolution(b, b) + convolution(3, b, 1)


def test_parameter_counts_by_hand() -> None:
    """128 latents; D's last map has a bias here."""
    with torch.device("meta"):
        g32, d32, g64, d64 = (
            network
            for side in (32, 64)
            for network in (
                sngan.Generator(128, [3, side, side], norm=nn.BatchNorm2d),
                sngan.Discriminator([3, side, side]),
            )
        )
    last = 2 * 256 + convolution(256, 3)
    assert size(g32) == (128 + 1) * 16 * 256 + 3 * up(256, 256) + last == 4_276_739
    assert size(d32) == first(128) + down(128, 128) + 4 * convolution(128, 128) + 129 == 1_053_825
    ups = up(1024, 512) + up(512, 256) + up(256, 128) + up(128, 64)
    assert size(g64) == (128 + 1) * 16 * 1024 + ups + 2 * 64 + convolution(64, 3)
    assert size(d64) == first(64) + sum(down(64 * k, 128 * k) for k in (1, 2, 4, 8)) + 1025


@pytest.mark.parametrize(
    ("side", "expected"),
    [
        (32, [(4, 16, 16), (4, 8, 8), (4, 8, 8), (4, 8, 8), (4,)]),
        (64, [(4, 32, 32), (8, 16, 16), (16, 8, 8), (32, 4, 4), (64, 2, 2), (64,)]),
    ],
)
@pytest.mark.parametrize("norm", [None, nn.BatchNorm2d])
def test_shapes_at_both_sizes_and_any_width(side: int, expected: list[tuple[int, ...]], norm: object) -> None:
    generator = sngan.Generator(7, [1, side, side], width=2, norm=norm)
    discriminator = sngan.Discriminator([1, side, side], width=4, heads={"label": 3})
    x = generator({"z": torch.randn(2, 4), "code": torch.randn(2, 3)})
    assert x.shape == (2, 1, side, side)
    assert x.abs().max() <= 1
    output = discriminator(x)
    assert [tuple(f.shape[1:]) for f in output.features.values()] == expected
    assert output.logits.shape == (2,)
    assert output.heads["label"].shape == (2, 3)


def test_the_logit_is_a_linear_map_of_the_sum_over_positions() -> None:
    discriminator = sngan.Discriminator([3, 32, 32], width=4)
    output = discriminator(torch.randn(3, 3, 32, 32))
    pooled = output.features["block4"].clamp(min=0).sum((2, 3))
    weight, bias = discriminator.readout.linear.weight[0], discriminator.readout.linear.bias
    assert torch.allclose(output.logits, pooled @ weight + bias, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("first", [False, True])
@pytest.mark.parametrize("change", ["up", "down", "wider", "none"])
def test_a_block_equals_the_authors_order_with_the_shortcut_at_the_higher_resolution(change: str, first: bool) -> None:
    torch.manual_seed(0)
    changes = {change: True} if change in ("up", "down") else {}
    block = ResidualBlock(3, 3 if change == "none" else 5, 4, first=first, **changes)
    x = torch.randn(2, 3, 6, 6)
    one, two = (m for m in block.residual if isinstance(m, nn.Conv2d))
    h = x if first else x.relu()
    h = two(one(interpolate(h, scale_factor=2) if change == "up" else h).relu())
    shortcut = next((m for m in block.shortcut.modules() if isinstance(m, nn.Conv2d)), nn.Identity())
    if change == "up":
        expected = h + shortcut(interpolate(x, scale_factor=2))
    else:
        expected = h + shortcut(x)
        expected = avg_pool2d(expected, 2) if change == "down" else expected
    assert torch.allclose(block(x), expected, atol=1e-5)


def test_weights_start_glorot_uniform_with_gain_sqrt_2_in_blocks_and_biases_at_0() -> None:
    torch.manual_seed(0)
    discriminator = sngan.Discriminator([3, 32, 32], width=32, heads={"label": 64})
    for name, layer in discriminator.named_modules():
        if isinstance(layer, nn.Conv2d | nn.Linear):
            field = layer.weight[0][0].numel()
            bound = math.sqrt(6 / (field * (layer.weight.shape[0] + layer.weight.shape[1])))
            bound *= math.sqrt(2) if ".residual." in name else 1
            assert layer.weight.abs().max().item() == pytest.approx(bound, rel=0.1)
            assert layer.weight.abs().max() <= bound
            assert not layer.bias.any()


def test_with_spectral_norm_every_weight_of_d_has_largest_singular_value_1() -> None:
    torch.manual_seed(0)
    wrapped = SpectralNorm(sngan.Discriminator([3, 32, 32], width=4, readout=partial(Projection, classes=3)))
    label = {"label": torch.tensor([0, 2])}
    with torch.no_grad():
        for _ in range(150):
            wrapped(torch.zeros(2, 3, 32, 32), label)
    maps = [module for module in wrapped.modules() if isinstance(module, (*LINEAR, nn.Embedding))]
    assert len(maps) == 4 * 2 + 2 + 2  # convolutions of blocks and shortcuts, the linear map, the embedding
    for module in maps:
        assert torch.linalg.svdvals(module.weight.detach().flatten(1))[0].item() == pytest.approx(1, rel=0.02)


def test_the_conditional_form_plays_a_round_and_samples_by_class() -> None:
    torch.manual_seed(0)
    norm, readout = partial(ConditionalBatchNorm, classes=3), partial(Projection, classes=3)
    players = {
        "discriminator": Player(
            SpectralNorm(sngan.Discriminator([3, 32, 32], width=4, readout=readout)),
            partial(torch.optim.Adam, lr=1e-3),
            hinge.discriminator,
        ),
        "generator": Player(
            sngan.Generator(5, [3, 32, 32], width=4, norm=norm), partial(torch.optim.Adam, lr=1e-3), hinge.generator
        ),
    }
    game = Game(players, Prior(z=Normal(5)), sides=play.BY_CLASS, conditions="labels", classes={"y": 3})
    batch = Batch(torch.randn(8, 3, 32, 32).clamp(-1, 1), torch.arange(8) % 3)
    assert dry_run(game, batch) == []
    before = {name: p.detach().clone() for name, p in game.named_parameters()}
    play.fit(game, [batch])
    assert all(not torch.equal(p, before[name]) for name, p in game.named_parameters() if name.endswith("gain"))
    one, other = (game.sample(2, {"label": torch.full((2,), c)}) for c in (0, 1))
    assert one.shape == (2, 3, 32, 32)
    assert not torch.equal(one, other)


@pytest.mark.parametrize("shape", [[3, 28, 28], [3, 32, 64], [2]])
def test_an_unsupported_shape_is_refused_with_the_supported_ones(shape: list[int]) -> None:
    for make in (sngan.Discriminator, partial(sngan.Generator, 8)):
        with pytest.raises(ValueError, match="32 x 32 or 64 x 64"):
            make(shape=shape)


def test_the_standard_cnn_has_the_layers_of_table_3() -> None:
    with torch.device("meta"):
        g = sngan_cnn.Generator(128, [3, 32, 32], norm=nn.BatchNorm2d)
        d = sngan_cnn.Discriminator([3, 32, 32])
    ups = [16 * a * b + b + 2 * b for a, b in [(512, 256), (256, 128), (128, 64)]]
    assert size(g) == 129 * 8192 + sum(ups) + convolution(64, 3)
    downs = [convolution(c, c, 4) for c in (64, 128, 256)]
    keeps = [convolution(a, b) for a, b in [(3, 64), (64, 128), (128, 256), (256, 512)]]
    assert size(d) == sum(downs) + sum(keeps) + 16 * 512 + 1
    small = sngan_cnn.Discriminator([1, 32, 32], width=2)
    x = sngan_cnn.Generator(4, [1, 32, 32], width=2, norm=nn.BatchNorm2d)({"z": torch.randn(3, 4)})
    features = small(x).features.values()
    assert [f.shape[2] for f in list(features)[:-1]] == [32, 16, 16, 8, 8, 4, 4]
    assert all(m.negative_slope == 0.1 for m in small.modules() if isinstance(m, nn.LeakyReLU))
    with pytest.raises(ValueError, match="architecture=sngan"):
        sngan_cnn.Discriminator([3, 64, 64])
