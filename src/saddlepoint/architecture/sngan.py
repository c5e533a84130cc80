"""The residual networks of SNGAN.  Miyato et al. 2018 (arXiv:1802.05957), table 4; for 64 x 64 the authors' code.

    32 x 32   G: 4 x 4 x 256, three up blocks of 256;            D: two down blocks of 128, two blocks of 128
    64 x 64   G: 4 x 4 x 1024, up blocks of 512, 256, 128, 64;   D: down blocks of 64, 128, 256, 512, 1024

D ends in ReLU, a sum over positions and a linear map, here with a bias at both sizes; the authors' code has one for 64
x 64 only. A projection (game=projection) adds the class to it. Weights are Glorot-uniform, times sqrt 2 in 3 x 3
convolutions of blocks. Spectral normalisation of D is the layer spectral_norm.
"""

from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn

from saddlepoint.architecture import discriminator
from saddlepoint.layer.concatenation import NO_CONDITION, Concatenation
from saddlepoint.layer.conditional_sequential import ConditionalSequential, hidden_layer
from saddlepoint.layer.residual_block import ResidualBlock, convolution, initialise
from saddlepoint.turn import UNCONDITIONAL, Condition

GENERATOR = {32: (256, (1, 1, 1, 1)), 64: (64, (16, 8, 4, 2, 1))}  # side -> width, and its multiples per stage
DISCRIMINATOR = {32: (128, (1, 1, 1, 1)), 64: (64, (1, 2, 4, 8, 16))}
DOWN_BLOCKS = {32: 2, 64: 5}


class Generator(nn.Module):
    """latent -> 4 x 4 -> up blocks -> norm, ReLU, 3 x 3 to C channels, tanh.

    width      channels of the last block; None: 256 for 32 x 32, 64 for 64 x 64
    condition  width of each entry of the condition that is concatenated to the latent, by its name
    """

    def __init__(
        self,
        latent: int,
        shape: Sequence[int],
        width: int | None = None,
        norm: Callable[[int], nn.Module] | None = None,
        condition: Mapping[str, int] = NO_CONDITION,
    ) -> None:
        super().__init__()
        widths = _stage_channels(GENERATOR, shape, width)
        self.join = Concatenation(condition)
        self.layers = ConditionalSequential(
            initialise(nn.Linear(latent + self.join.width, widths[0] * 16)),
            nn.Unflatten(1, (widths[0], 4, 4)),
            *(ResidualBlock(a, b, b, norm, up=True) for a, b in pairwise(widths)),
            hidden_layer(nn.Identity(), widths[-1], norm, nn.ReLU()),
            convolution(widths[-1], shape[0], 3),
            nn.Tanh(),
        )

    def forward(self, latent: Mapping[str, Tensor], condition: Condition = UNCONDITIONAL) -> Tensor:
        """Return images [N, C, H, W] in [-1, 1] for latent parts [N, dim]."""
        return self.layers(self.join(torch.cat(list(latent.values()), 1), condition), condition)


class GlobalSum(nn.Module):
    """[N, C, H, W] -> [N, C]: the sum of ReLU(x) over positions."""

    def forward(self, x: Tensor) -> Tensor:
        return x.relu().sum((2, 3))


class Discriminator(discriminator.Discriminator):
    """Residual blocks -> sum over positions -> one logit. Hidden layers are named block1, block2, ..., sum.

    width      channels of the first block; None: 128 for 32 x 32, 64 for 64 x 64
    condition  channels of each entry of the condition that is concatenated to x, by its name
    """

    def __init__(
        self,
        shape: Sequence[int],
        width: int | None = None,
        condition: Mapping[str, int] = NO_CONDITION,
        **head: Any,
    ) -> None:
        join = Concatenation(condition)
        widths = [shape[0] + join.width, *_stage_channels(DISCRIMINATOR, shape, width)]
        trunk: dict[str, nn.Module] = {
            f"block{i}": ResidualBlock(a, b, b if i == 1 else a, down=i <= DOWN_BLOCKS[shape[1]], first=i == 1)
            for i, (a, b) in enumerate(pairwise(widths), 1)
        }
        if condition:
            trunk["block1"] = ConditionalSequential(join, trunk["block1"])
        super().__init__({**trunk, "sum": GlobalSum()}, widths[-1], **head)
        for layer in (*self.readout.modules(), *self.heads.modules()):
            if isinstance(layer, nn.Linear):
                initialise(layer)


def check_side_32(architecture: str, shape: Sequence[int]) -> None:
    """Raise ValueError unless images are 32 x 32, for the networks that were made from these for that size only."""
    if tuple(shape[1:]) != (32, 32):
        raise ValueError(
            f"{architecture} makes 32 x 32 images, but the data have shape {list(shape)}; try data.size=32 of images, "
            "or architecture=sngan for 64 x 64"
        )


def _stage_channels(
    table: Mapping[int, tuple[int, Sequence[int]]], shape: Sequence[int], width: int | None
) -> list[int]:
    """Return the channels per stage.  Raises ValueError unless H = W is 32 or 64."""
    if tuple(shape[1:]) not in [(side, side) for side in table]:
        raise ValueError(
            f"sngan makes 32 x 32 or 64 x 64 images, but the data have shape {list(shape)}; "
            "try data.size=32 or data.size=64 of images, or architecture=mlp"
        )
    default, multiples = table[shape[1]]
    return [(width or default) * multiple for multiple in multiples]
