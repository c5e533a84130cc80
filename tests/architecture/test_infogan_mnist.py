"""InfoGAN's networks: sizes of the paper, one trunk for D and Q, and the range of pixels."""

import pytest
import torch
from torch import nn

from saddlepoint.architecture.infogan_mnist import Discriminator, Generator
from saddlepoint.error import Mistake
from saddlepoint.layer.conditional_batch_norm import BatchNorm

SHAPE = [1, 28, 28]
LATENT = {"z": torch.randn(3, 62), "category": torch.eye(10)[:3], "style": torch.rand(3, 2)}


def count(network: nn.Module) -> int:
    return sum(p.numel() for p in network.parameters())


def test_the_sizes_are_those_of_the_paper() -> None:
    generator = Generator(74, SHAPE, BatchNorm)
    discriminator = Discriminator(SHAPE, norm=BatchNorm, heads={"category": 10, "style": 2})
    norms = (1024, 7 * 7 * 128, 64)  # gain and bias each; a linear map with a norm has no bias
    weights = 74 * 1024 + 1024 * 7 * 7 * 128 + 128 * 64 * 4 * 4 + (64 * 4 * 4 + 1)
    assert count(generator) == weights + sum(2 * norm for norm in norms)
    trunk = (64 * 4 * 4 + 64) + 64 * 128 * 4 * 4 + 7 * 7 * 128 * 1024 + 2 * (128 + 1024)
    heads = (1024 + 1) + 1024 * 128 + 2 * 128 + (128 + 1) * (10 + 2)
    assert count(discriminator) == trunk + heads
    assert generator(LATENT).shape == (3, *SHAPE)
    output = discriminator(generator(LATENT))
    assert {name: tuple(head.shape) for name, head in output.heads.items()} == {"category": (3, 10), "style": (3, 2)}
    assert [tuple(x.shape[1:]) for x in output.features.values()] == [(64, 14, 14), (128, 7, 7), (1024,)]


def test_weights_start_with_deviation_002_and_pixels_are_between_minus_1_and_1() -> None:
    torch.manual_seed(0)
    generator = Generator(74, SHAPE, BatchNorm)
    for module in (*generator.modules(), *Discriminator(SHAPE, norm=BatchNorm, heads={"category": 10}).modules()):
        if isinstance(module, nn.Linear | nn.Conv2d | nn.ConvTranspose2d) and module.weight.numel() > 10_000:
            assert module.weight.std().item() == pytest.approx(0.02, rel=0.05)
    list(generator.parameters())[-2].data *= 1e4  # the weights of the last convolution
    x = generator(LATENT)
    assert -1 <= x.min() < -0.99
    assert 0.99 < x.max() <= 1


def test_q_shares_the_trunk_and_nothing_else_with_the_logit() -> None:
    discriminator = Discriminator(SHAPE, norm=BatchNorm, heads={"category": 10})
    output = discriminator(torch.rand(4, *SHAPE))
    weights = {name: p for name, p in discriminator.named_parameters() if p.ndim > 1}
    reached = [
        {name for name, grad in zip(weights, grads, strict=True) if grad is not None}
        for grads in (
            torch.autograd.grad(y.sum(), list(weights.values()), retain_graph=True, allow_unused=True)
            for y in (output.logits, output.heads["category"].square())
        )
    ]
    trunk = {name for name in weights if name.startswith("trunk.")}
    assert len(trunk) == 3
    assert reached[0] == trunk | {"readout.linear.weight"}
    assert reached[1] == trunk | {name for name in weights if name.startswith(("recognition.", "codes."))}


def test_another_shape_is_refused_with_the_architectures_for_it() -> None:
    with pytest.raises(Mistake, match="use architecture=dcgan or mlp"):
        Discriminator([3, 32, 32])
