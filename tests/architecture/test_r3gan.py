"""The networks of R3GAN: parameter counts, shapes, initial weights, and what they imply before training."""

import math
from functools import partial

import pytest
import torch
from torch import nn
from torch.nn.functional import conv2d, leaky_relu

from saddlepoint.architecture import r3gan
from saddlepoint.config.check import check
from saddlepoint.config.compose import compose
from saddlepoint.config.instantiate import instantiate
from saddlepoint.layer.projection import Projection
from saddlepoint.schedule.schedule import value_at

LAST = "residual.4"  # the last convolution of a block


def size(network: nn.Module) -> int:
    return sum(p.numel() for p in network.parameters())


def block(width: int, group: int = 16) -> int:
    inside = 2 * width
    return (width + 1) * inside + (9 * group + 1) * inside + inside * width


def small(**settings):
    torch.manual_seed(0)
    settings = {"shape": [3, 32, 32], "widths": [8, 16, 16, 24], **settings}
    return r3gan.Generator(6, **settings), r3gan.Discriminator(**settings)


def test_parameter_counts_at_the_width_of_the_paper() -> None:
    """The authors' networks for CIFAR-10 have 20.8 million parameters (G) and 21.3 million (D).

    Their G embeds the class in 64 dimensions before its linear map, and their D's logit has no unconditional part.
    """
    config = compose(["experiment=cifar10_r3gan"]).architecture
    with torch.device("meta"):
        g, d = (instantiate(config[player], f"architecture.{player}") for player in ("generator", "discriminator"))
        plain = r3gan.Generator(64, [3, 32, 32]), r3gan.Discriminator([3, 32, 32])
    blocks, basis, rgb = 8 * block(768), 16 * 768, 3 * 768
    assert size(g) == blocks + basis + rgb + (64 + 10) * 768
    assert size(d) == blocks + basis + rgb + 768**2 + 10 * 768 + 769
    theirs = size(g) + (64 - 10) * 768 + 10 * 64, size(d) - 769
    assert [round(n / 1e6, 1) for n in theirs] == [20.8, 21.3]
    assert size(plain[0]) == blocks + basis + rgb + 64 * 768
    assert size(plain[1]) == blocks + basis + rgb + 769


@pytest.mark.parametrize("side", [8, 16, 32])
def test_shapes_at_any_size_with_one_width_per_side(side: int) -> None:
    widths = [16, 8, 24, 16][: int(math.log2(side)) - 1]
    generator, discriminator = small(shape=[1, side, side], widths=widths, blocks=1)
    x = generator({"z": torch.randn(3, 4), "code": torch.randn(3, 2)})
    assert x.shape == (3, 1, side, side)
    output = discriminator(x)
    sizes = {name: tuple(f.shape[1:]) for name, f in output.features.items()}
    assert sizes.pop("input") == (widths[-1], side, side)
    assert sizes.pop("flat") == (widths[0],)
    below = [widths[0], *widths]  # the width after a stage is that of the side below it
    assert list(sizes.values()) == [
        (below[k], 4 * 2 ** max(k - 1, 0), 4 * 2 ** max(k - 1, 0)) for k in range(len(widths) - 1, -1, -1)
    ]
    assert output.logits.shape == (3,)


def test_a_block_equals_its_equation() -> None:
    torch.manual_seed(0)
    block, x = r3gan.Block(6, 4, branches=1), torch.randn(2, 6, 5, 5)
    for parameter in block.parameters():
        parameter.data.normal_()
    first, grouped, last = (layer for layer in block.residual if isinstance(layer, nn.Conv2d))
    h = leaky_relu(conv2d(x, first.weight, first.bias), 0.2)
    h = leaky_relu(conv2d(h, grouped.weight, grouped.bias, padding=1, groups=12 // 4), 0.2)
    assert torch.allclose(block(x), x + conv2d(h, last.weight), atol=1e-4)


def test_initial_weights_have_the_deviations_of_fixup_initialisation() -> None:
    torch.manual_seed(0)
    networks = r3gan.Generator(64, [3, 16, 16], [256] * 3), r3gan.Discriminator([3, 16, 16], [256] * 3)
    inside = math.sqrt(2 / 1.04) * 6 ** (-1 / 4)  # of 3 stages of 2 blocks
    for network in networks:
        for name, layer in network.named_modules():
            if isinstance(layer, nn.Conv2d | nn.Linear):
                gain = 0 if name.endswith(LAST) else inside if "residual" in name else 1
                expected = gain / math.sqrt(layer.weight[0].numel())
                five_deviations = 5 / math.sqrt(2 * layer.weight.numel())  # relative, of the deviation of a sample
                assert layer.weight.std().item() == pytest.approx(expected, rel=five_deviations), name
                assert layer.bias is None or not layer.bias.any()


def test_at_the_start_g_is_linear_in_the_latent_and_d_has_one_slope_everywhere() -> None:
    generator, discriminator = small()
    one, two = torch.randn(2, 5, 6)
    total = generator({"z": one}) + 2 * generator({"z": two})
    assert torch.allclose(generator({"z": one + 2 * two}), total, atol=1e-4)
    x = torch.randn(5, 3, 32, 32, requires_grad=True)
    (slope,) = torch.autograd.grad(discriminator(x).logits.sum(), x)
    assert torch.allclose(slope, slope[:1].expand_as(slope), atol=1e-6)
    with torch.no_grad():  # after a change of the last convolutions it is no longer so
        for name, p in discriminator.named_parameters():
            if f"{LAST}.weight" in name:
                p.normal_(std=0.1)
    (slope,) = torch.autograd.grad(discriminator(x).logits.sum(), x)
    assert not torch.allclose(slope, slope[:1].expand_as(slope), atol=1e-3)


def test_the_class_embedding_starts_as_a_linear_map_of_one_hot_vectors_with_gain_1_over_root_f() -> None:
    torch.manual_seed(0)
    discriminator = r3gan.Discriminator([3, 16, 16], [256] * 3, blocks=1, readout=partial(Projection, classes=50))
    embedding = discriminator.readout.embedding.weight
    assert embedding.std().item() == pytest.approx(1 / math.sqrt(50 * 256), rel=0.05)


def test_resampling_does_not_move_images() -> None:
    """At the start, where blocks are the identity, mirrored maps of 4 x 4 give G's image and D's input mirrored."""
    generator, discriminator = small()
    z, images = {"z": torch.randn(2, 6)}, torch.randn(2, 3, 32, 32)
    x, logits = generator(z), discriminator(images).logits
    for basis in (generator.basis, discriminator.trunk["flat"][0].weight):
        basis.data = basis.data.flip(-2, -1)
    assert torch.allclose(generator(z), x.flip(2, 3), atol=1e-5)
    assert torch.allclose(discriminator(images.flip(2, 3)).logits, logits, atol=1e-5)


def test_the_signal_keeps_its_scale_through_g_at_the_start() -> None:
    """Each map has gain 1, and bilinear up-sampling averages neighbours: pixels start with a deviation just below 1."""
    torch.manual_seed(0)
    x = r3gan.Generator(64, [3, 32, 32], [64] * 4)({"z": torch.randn(16, 64)})
    assert 0.4 < x.std().item() < 1.1


def test_convolutions_of_blocks_have_groups_of_16_channels_and_a_width_that_does_not_fit_is_refused() -> None:
    generator, discriminator = small()
    for network in (generator, discriminator):
        grouped = [m for m in network.modules() if isinstance(m, nn.Conv2d) and m.kernel_size == (3, 3)]
        assert len(grouped) == 8
        assert {m.in_channels // m.groups for m in grouped} == {16}
    with pytest.raises(ValueError, match="group=16"):
        small(widths=[8, 8, 8, 12])


@pytest.mark.parametrize("shape", [[3, 28, 28], [3, 64, 64], [3, 32, 16], [2]])
def test_an_unsupported_shape_is_refused_with_the_supported_one(shape: list[int]) -> None:
    for make in (r3gan.Discriminator, partial(r3gan.Generator, 8)):
        with pytest.raises(ValueError, match="makes 32 x 32 images"):
            make(shape=shape)


def test_the_experiment_anneals_its_settings_over_20_million_images_as_in_the_paper() -> None:
    widths = [f"architecture.{player}.widths=[8,8,8,8]" for player in ("discriminator", "generator")]
    game = instantiate(check(compose(["experiment=cifar10_r3gan", *widths])).game, "game")
    d, g = game.player("discriminator"), game.player("generator")
    augment = game.makers["augment"]
    half_way = [(a + b) / 2 for a, b in [(2e-4, 5e-5), (0.9, 0.99), (0.05, 0.005), (0, 5e6), (0, 0.55)]]
    for images, expected in [
        (0, [2e-4, 0.9, 0.05, 0, 0]),
        (10_000_000, half_way),
        (20_000_000, [5e-5, 0.99, 0.005, 5e6, 0.55]),
        (250_000_000, [5e-5, 0.99, 0.005, 5e6, 0.55]),
    ]:
        augment.at_images(images)
        for player in (d, g):
            optimizer = player.build_optimizer()
            player.apply_schedules(optimizer, images)
            (group,) = optimizer.param_groups
            assert group["betas"][0] == 0
            assert [group["lr"], group["betas"][1]] == pytest.approx(expected[:2])
        for term in d.terms.values():
            assert value_at(term.weight, images) == pytest.approx(expected[2])
        assert value_at(g.average.half_life, images) == pytest.approx(expected[3])
        assert augment.p.item() == pytest.approx(expected[4])
    assert list(d.terms) == ["r1", "r2"]
    assert g.average.warm_up is None
