"""The networks of R3GAN: residual blocks without normalisation.  Huang et al. 2024 (arXiv:2501.05441), section 3.

    G       a learned 4 x 4 basis, scaled per channel by a linear map of the latent -> stages -> 1 x 1 convolution
    D       1 x 1 convolution -> stages in reverse order -> depthwise 4 x 4 convolution -> logit
    stage   [1 x 1 if the width changes], bilinear up (all but the first), blocks; in D blocks, down, [1 x 1];
            taps 1, 3, 3, 1: the authors' code convolves its filter 1, 2, 1 with 1, 1
    block   x + conv 1 x 1 (act(grouped conv 3 x 3 (act(conv 1 x 1 (x))))); act: leaky ReLU 0.2, on twice the channels

Initialisation (Zhang et al. 2019, arXiv:1901.09321): weights are N(0, gain^2 / fan-in), with gain 0 for the last
convolution of a block, sqrt(2 / 1.04) L^(-1/4) for its first two, where L is the number of blocks of the network and
-1/4 = -1/(2 m - 2) for m = 3 convolutions per block, F^(-1/2) for D's embeddings of classes in F numbers, and gain 1
elsewhere. So at the start blocks are the identity, G is linear in the latent and D in x. Only convolutions before an
activation have a bias. G's range is not bounded.
"""

import math
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn

from saddlepoint.architecture import discriminator
from saddlepoint.layer.concatenation import NO_CONDITION, Concatenation
from saddlepoint.layer.conditional_sequential import ConditionalSequential
from saddlepoint.layer.resample import Downsample, Upsample
from saddlepoint.layer.residual_block import Layer
from saddlepoint.turn import UNCONDITIONAL, Condition

WIDTHS = (768, 768, 768, 768)  # of the paper's network for CIFAR-10


class Block(nn.Module):
    """[N, width, H, W] -> the same shape.

    group     channels per group of the 3 x 3 convolution, a divisor of 2 width
    branches  the number of blocks of the network, which scales the initial weights
    """

    def __init__(self, width: int, group: int, branches: int) -> None:
        super().__init__()
        if 2 * width % group:
            raise ValueError(f"r3gan: twice each width must be a multiple of group={group}, and a width is {width}")
        gain = nn.init.calculate_gain("leaky_relu", 0.2) * branches**-0.25
        inside = 2 * width
        self.residual = nn.Sequential(
            _initialise(nn.Conv2d(width, inside, 1), gain),
            nn.LeakyReLU(0.2),
            _initialise(nn.Conv2d(inside, inside, 3, padding=1, groups=inside // group), gain),
            nn.LeakyReLU(0.2),
            _initialise(nn.Conv2d(inside, width, 1, bias=False), 0.0),
        )

    def forward(self, x: Tensor) -> Tensor:
        return x + self.residual(x)


class Generator(nn.Module):
    """latent -> basis [widths[0], 4, 4] -> stages, each twice the side of the one before -> C, without tanh.

    widths     channels per stage, from 4 x 4 up
    blocks     residual blocks per stage
    group      channels per group of their 3 x 3 convolutions
    condition  width of each entry of the condition that is concatenated to the latent, by its name
    Raises ValueError if the shape is not square with a side of 4 * 2^(stages - 1), or a width does not fit `group`.
    """

    def __init__(
        self,
        latent: int,
        shape: Sequence[int],
        widths: Sequence[int] = WIDTHS,
        blocks: int = 2,
        group: int = 16,
        condition: Mapping[str, int] = NO_CONDITION,
    ) -> None:
        super().__init__()
        _check(shape, widths)
        self.join = Concatenation(condition)
        self.scale = _initialise(nn.Linear(latent + self.join.width, widths[0], bias=False))
        self.basis = nn.Parameter(torch.randn(widths[0], 4, 4))
        stages = [_blocks(width, blocks, group, blocks * len(widths)) for width in widths]
        for stage, (a, b) in zip(stages[1:], pairwise(widths), strict=True):
            stage[:0] = [*_change_width(a, b), Upsample()]
        self.stages = nn.Sequential(*(nn.Sequential(*stage) for stage in stages))
        self.output = _initialise(nn.Conv2d(widths[-1], shape[0], 1, bias=False))

    def forward(self, latent: Mapping[str, Tensor], condition: Condition = UNCONDITIONAL) -> Tensor:
        """Return images [N, C, H, W] for latent parts [N, dim]."""
        scale = self.scale(self.join(torch.cat(list(latent.values()), 1), condition))
        return self.output(self.stages(self.basis * scale[:, :, None, None]))


class Discriminator(discriminator.Discriminator):
    """1 x 1 convolution -> stages -> depthwise 4 x 4 convolution -> one logit.

    Hidden layers are named input, stage1 (the largest side), stage2, ..., flat. Arguments and errors are those of
    `Generator`. For classes the paper has a linear layer, here the `neck`, and the readout `projection`.

    condition  channels of each entry of the condition that is concatenated to x, by its name
    """

    def __init__(
        self,
        shape: Sequence[int],
        widths: Sequence[int] = WIDTHS,
        blocks: int = 2,
        group: int = 16,
        condition: Mapping[str, int] = NO_CONDITION,
        **head: Any,
    ) -> None:
        _check(shape, widths)
        join = Concatenation(condition)
        downwards = list(reversed(widths))
        stages = [_blocks(width, blocks, group, blocks * len(widths)) for width in downwards]
        for stage, (a, b) in zip(stages, pairwise(downwards), strict=False):
            stage += [Downsample(), *_change_width(a, b)]
        channels = shape[0] + join.width
        trunk: dict[str, nn.Module] = {"input": _initialise(nn.Conv2d(channels, downwards[0], 1, bias=False))}
        if condition:
            trunk["input"] = ConditionalSequential(join, trunk["input"])
        trunk |= {f"stage{i}": nn.Sequential(*stage) for i, stage in enumerate(stages, 1)}
        last = widths[0]
        basis = _initialise(nn.Conv2d(last, last, 4, groups=last, bias=False))
        super().__init__({**trunk, "flat": nn.Sequential(basis, nn.Flatten())}, last, **head)
        for layer in (*self.neck.modules(), *self.readout.modules(), *self.heads.modules()):
            if isinstance(layer, nn.Linear):
                _initialise(layer)
            elif isinstance(layer, nn.Embedding):  # a linear map of one-hot vectors
                nn.init.normal_(layer.weight, std=layer.weight.numel() ** -0.5)


def _initialise(layer: Layer, gain: float = 1.0) -> Layer:
    """Return the layer with weights N(0, gain^2 / fan-in), and biases 0."""
    nn.init.normal_(layer.weight, std=gain / math.sqrt(layer.weight[0].numel()))
    if layer.bias is not None:
        nn.init.zeros_(layer.bias)
    return layer


def _blocks(width: int, blocks: int, group: int, branches: int) -> list[nn.Module]:
    return [Block(width, group, branches) for _ in range(blocks)]


def _change_width(a: int, b: int) -> list[nn.Module]:
    return [] if a == b else [_initialise(nn.Conv2d(a, b, 1, bias=False))]


def _check(shape: Sequence[int], widths: Sequence[int]) -> None:
    side = 4 * 2 ** (len(widths) - 1)
    if tuple(shape[1:]) != (side, side):
        raise ValueError(
            f"r3gan with {len(widths)} widths makes {side} x {side} images, but the data have shape {list(shape)}; "
            "give one width per side from 4 up, doubling (architecture.*.widths), or set data.size of images"
        )
