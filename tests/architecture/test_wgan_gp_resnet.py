"""The residual networks of WGAN-GP: parameter counts by hand, shapes, the mean over positions, norms of the critic."""

from functools import partial

import pytest
import torch
from torch import nn
from torch.nn.functional import relu

from saddlepoint.architecture import sngan, wgan_gp_resnet
from saddlepoint.layer.layer_norm import LayerNorm


def size(network: nn.Module) -> int:
    return sum(p.numel() for p in network.parameters())


def convolution(a: int, b: int, side: int = 3) -> int:
    return a * b * side**2 + b


def test_parameter_counts_by_hand() -> None:
    """The sum over the layers that the authors' script builds without classes, for 128 latents."""
    with torch.device("meta"):
        generator = wgan_gp_resnet.Generator(128, [3, 32, 32], norm=nn.BatchNorm2d)
        plain, normed = (wgan_gp_resnet.Discriminator([3, 32, 32], norm=norm) for norm in (None, LayerNorm))
    same, pointwise, norm = convolution(128, 128), convolution(128, 128, 1), 2 * 128
    ups = 3 * (2 * same + pointwise + 2 * norm)
    assert size(generator) == 129 * 2048 + ups + norm + convolution(128, 3) == 1_204_483
    first = convolution(3, 128) + same + convolution(3, 128, 1)
    assert size(plain) == first + (2 * same + pointwise) + 4 * same + 129 == 1_053_825
    assert size(normed) == size(plain) + 6 * norm


@pytest.mark.parametrize("norm", [None, LayerNorm])
def test_shapes_at_any_width(norm: object) -> None:
    generator = wgan_gp_resnet.Generator(7, [1, 32, 32], width=2, norm=nn.BatchNorm2d)
    discriminator = wgan_gp_resnet.Discriminator([1, 32, 32], width=4, norm=norm, heads={"label": 3})
    x = generator({"z": torch.randn(2, 4), "code": torch.randn(2, 3)})
    assert x.shape == (2, 1, 32, 32)
    assert x.abs().max() <= 1
    output = discriminator(x)
    sides = [tuple(f.shape[1:]) for f in output.features.values()]
    assert sides == [(4, 16, 16), (4, 8, 8), (4, 8, 8), (4, 8, 8), (4,)]
    assert output.logits.shape == (2,)
    assert output.heads["label"].shape == (2, 3)


def test_d_is_sngans_with_the_mean_in_place_of_the_sum_and_so_are_its_initial_weights() -> None:
    networks = []
    for module in (wgan_gp_resnet, sngan):
        torch.manual_seed(0)
        networks.append(module.Discriminator([3, 32, 32], width=4))
    states = [network.state_dict() for network in networks]
    assert all(torch.equal(states[0][key], states[1][key]) for key in states[1])
    x = torch.randn(3, 3, 32, 32)
    ours, theirs = (network(x) for network in networks)
    assert torch.allclose(64 * ours.logits, theirs.logits, rtol=1e-4, atol=1e-4)  # biases start at 0
    assert torch.allclose(ours.features["mean"], relu(ours.features["block4"]).mean((2, 3)), atol=1e-6)


def test_with_layer_norm_the_logit_of_a_sample_does_not_depend_on_the_others() -> None:
    torch.manual_seed(0)
    discriminator = wgan_gp_resnet.Discriminator([3, 32, 32], width=4, norm=LayerNorm)
    x = torch.randn(4, 3, 32, 32)
    assert torch.allclose(discriminator(x).logits[:1], discriminator(x[:1]).logits, atol=1e-5)
    assert not any(isinstance(m, LayerNorm) for m in discriminator.trunk["block1"].modules())


def test_layer_norm_normalises_each_sample_over_all_its_features_and_positions() -> None:
    x = 3 * torch.randn(2, 5, 4, 4) + 1
    expected = (x - x.mean((1, 2, 3), keepdim=True)) / x.var((1, 2, 3), correction=0, keepdim=True).sqrt()
    assert torch.allclose(LayerNorm(5)(x), expected, atol=1e-4)
    vector = torch.randn(3, 6)
    assert torch.allclose(LayerNorm(6)(vector), nn.LayerNorm(6)(vector), atol=1e-6)


@pytest.mark.parametrize("shape", [[3, 28, 28], [3, 64, 64], [2]])
def test_an_unsupported_shape_is_refused_with_what_to_do(shape: list[int]) -> None:
    for make in (wgan_gp_resnet.Discriminator, partial(wgan_gp_resnet.Generator, 8)):
        with pytest.raises(ValueError, match="architecture=sngan for 64 x 64"):
            make(shape=shape)
