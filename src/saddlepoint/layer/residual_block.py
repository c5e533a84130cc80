"""A pre-activation residual block, with its resolution doubled, halved or kept.  He et al. 2016 (arXiv:1603.05027).

    norm, ReLU, [up], 3 x 3, norm, ReLU, 3 x 3, [down]  +  shortcut [down], 1 x 1, [up]

as in SNGAN: Miyato et al. 2018 (arXiv:1802.05957). Up is nearest-neighbour, down the mean of 2 x 2. The
shortcut's convolution is at the lower resolution, which is the same function as at the higher one and cheaper.
"""

import math
from collections.abc import Callable
from typing import TypeVar

from torch import Tensor, nn

from saddlepoint.layer.conditional_sequential import ConditionalSequential, hidden_layer
from saddlepoint.turn import UNCONDITIONAL, Condition

Layer = TypeVar("Layer", bound=nn.Conv2d | nn.Linear)


class ResidualBlock(nn.Module):
    """[N, a, H, W] -> [N, b, H', W'], H' = 2 H with `up`, H / 2 with `down`, else H.

    hidden  channels between the two convolutions
    first   whether x is data: no norm and no ReLU before the first convolution
    If neither the channels nor the resolution change, the shortcut is the identity.
    """

    conditional = True

    def __init__(
        self,
        a: int,
        b: int,
        hidden: int,
        norm: Callable[[int], nn.Module] | None = None,
        up: bool = False,
        down: bool = False,
        first: bool = False,
    ) -> None:
        super().__init__()
        ups, downs = [nn.Upsample(scale_factor=2)] if up else [], [nn.AvgPool2d(2)] if down else []
        self.residual = ConditionalSequential(
            nn.Identity() if first else hidden_layer(nn.Identity(), a, norm, nn.ReLU()),
            *ups,
            convolution(a, hidden, 3, math.sqrt(2)),
            hidden_layer(nn.Identity(), hidden, norm, nn.ReLU()),
            convolution(hidden, b, 3, math.sqrt(2)),
            *downs,
        )
        learned = up or down or a != b
        self.shortcut = nn.Sequential(*downs, convolution(a, b, 1), *ups) if learned else nn.Identity()

    def forward(self, x: Tensor, condition: Condition = UNCONDITIONAL) -> Tensor:
        """Return the sum of the residual and the shortcut."""
        return self.residual(x, condition) + self.shortcut(x)


def convolution(a: int, b: int, size: int, gain: float = 1.0) -> nn.Conv2d:
    """Return a convolution that keeps the resolution, initialised."""
    return initialise(nn.Conv2d(a, b, size, padding=size // 2), gain)


def initialise(layer: Layer, gain: float = 1.0) -> Layer:
    """Return the layer with Glorot-uniform weights times `gain`, and biases 0."""
    nn.init.xavier_uniform_(layer.weight, gain)
    if layer.bias is not None:
        nn.init.zeros_(layer.bias)
    return layer
