"""SAGAN for 32 x 32: parameter counts by hand, SNGAN's networks without attention, place and start of attention."""

import math
from functools import partial

import pytest
import torch
from torch import nn

from saddlepoint.architecture import sagan, sngan
from saddlepoint.layer.conditional_batch_norm import ConditionalBatchNorm
from saddlepoint.layer.projection import Projection
from saddlepoint.layer.self_attention import SelfAttention
from saddlepoint.layer.spectral_norm import LINEAR, SpectralNorm


def size(network: nn.Module) -> int:
    return sum(p.numel() for p in network.parameters())


def convolution(a: int, b: int, side: int = 3) -> int:
    return a * b * side**2 + b


def attention(c: int) -> int:  # queries, keys, values, output, gamma
    return 2 * c * (c // 8) + 2 * c * (c // 2) + 1


def test_parameter_counts_by_hand() -> None:
    """128 latents, 10 classes; a gain and a bias per class and channel in each norm of a block."""
    with torch.device("meta"):
        g = sagan.Generator(128, [3, 32, 32], norm=partial(ConditionalBatchNorm, classes=10), last_norm=nn.BatchNorm2d)
        d = sagan.Discriminator([3, 32, 32], readout=partial(Projection, classes=10))
    up = 2 * convolution(256, 256) + convolution(256, 256, 1) + 2 * 2 * 10 * 256
    ends = (128 + 1) * 16 * 256 + 2 * 256 + convolution(256, 3)
    assert size(g) == 3 * up + ends + attention(256) == 4_386_308
    first = convolution(3, 128) + convolution(128, 128) + convolution(3, 128, 1)
    rest = 3 * 2 * convolution(128, 128) + convolution(128, 128, 1)
    assert size(d) == first + rest + attention(128) + 129 + 10 * 128 == 1_075_586


def test_attention_starts_as_the_identity_so_that_the_networks_are_sngans() -> None:
    torch.manual_seed(0)
    ours = sagan.Discriminator([3, 32, 32], width=8), sagan.Generator(5, [3, 32, 32], 8, nn.BatchNorm2d, nn.BatchNorm2d)
    plain = sngan.Discriminator([3, 32, 32], width=8), sngan.Generator(5, [3, 32, 32], 8, nn.BatchNorm2d)
    latent = {"z": torch.randn(3, 5)}
    for network, reference in zip(ours, plain, strict=True):
        attended = {id(p) for m in network.modules() if isinstance(m, SelfAttention) for p in m.parameters()}
        shared = [p for p in network.parameters() if id(p) not in attended]
        for p, value in zip(reference.parameters(), shared, strict=True):
            p.data.copy_(value)
    x = ours[1](latent)
    assert torch.allclose(x, plain[1](latent), atol=1e-6)
    logits = ours[0](x).logits
    assert torch.allclose(logits, plain[0](x).logits, atol=1e-5)
    for module in ours[0].modules():
        if isinstance(module, SelfAttention):
            module.gamma.data.fill_(1.0)
    assert not torch.allclose(logits, ours[0](x).logits, atol=1e-3)


@pytest.mark.parametrize("side", [8, 16, 32, None])
def test_attention_is_applied_to_the_maps_of_its_side(side: int | None) -> None:
    seen = []
    g = sagan.Generator(5, [1, 32, 32], width=8, attention=side)
    d = sagan.Discriminator([1, 32, 32], width=8, attention=side if side != 32 else None)
    for module in (*g.modules(), *d.modules()):
        if isinstance(module, SelfAttention):
            module.register_forward_hook(lambda _, inputs, __: seen.append(tuple(inputs[0].shape[2:])))
    x = g({"z": torch.randn(2, 4), "code": torch.randn(2, 1)})
    assert x.shape == (2, 1, 32, 32)
    assert x.abs().max() <= 1
    output = d(x)
    assert output.logits.shape == (2,)
    assert seen == {None: [], 32: [(32, 32)]}.get(side, [(side, side)] * 2)
    names = {16: ["block1", "attention", "block2"], 8: ["block1", "block2", "attention"]}.get(
        side or 0, ["block1", "block2"]
    )
    assert [*output.features] == [*names, "block3", "block4", "sum"]
    assert [f.shape[2] for f in list(output.features.values())[:-1]] == [
        {"block1": 16, "attention": side}.get(name, 8) for name in output.features if name != "sum"
    ]


def test_weights_start_glorot_uniform_and_biases_at_0() -> None:
    torch.manual_seed(0)
    networks = sagan.Generator(64, [3, 32, 32], 32), sagan.Discriminator([3, 32, 32], 32, heads={"label": 64})
    for layer in (module for network in networks for module in network.modules()):
        if isinstance(layer, nn.Conv2d | nn.Linear):
            field = layer.weight[0][0].numel()
            bound = math.sqrt(6 / (field * (layer.weight.shape[0] + layer.weight.shape[1])))
            assert layer.weight.abs().max().item() == pytest.approx(bound, rel=0.1)
            assert layer.weight.abs().max() <= bound
            assert layer.bias is None or not layer.bias.any()


def test_with_spectral_norm_every_weight_of_both_has_largest_singular_value_1() -> None:
    torch.manual_seed(0)
    g = SpectralNorm(sagan.Generator(5, [3, 32, 32], 8, nn.BatchNorm2d, nn.BatchNorm2d))
    d = SpectralNorm(sagan.Discriminator([3, 32, 32], 8, readout=partial(Projection, classes=3)))
    with torch.no_grad():
        for _ in range(80):
            d(g({"z": torch.zeros(2, 5)}), {"label": torch.tensor([0, 2])})
    for network, count in ((g, 1 + 3 * 3 + 4 + 1), (d, 4 * 2 + 2 + 4 + 2)):  # 4 of attention
        maps = [module for module in network.modules() if isinstance(module, (*LINEAR, nn.Embedding))]
        assert len(maps) == count
        for module in maps:
            assert torch.linalg.svdvals(module.weight.detach().flatten(1))[0].item() == pytest.approx(1, rel=0.03)


def test_other_sizes_are_refused() -> None:
    for make in (sagan.Discriminator, partial(sagan.Generator, 8)):
        with pytest.raises(ValueError, match="sagan makes 32 x 32"):
            make(shape=[3, 64, 64])
        with pytest.raises(ValueError, match="attention=4 must be one of"):
            make(shape=[3, 32, 32], attention=4)
