"""Progressive growing: both networks start at a low resolution, and levels are added during training.

Level k has base * 2^k pixels per side. A level fades in with alpha from 0 to 1: G's image is (1 - alpha) times the
upsampled image of the level below plus alpha times that of the level, and D mixes the features of both sizes in the
same way (`layer.growth`). G upsamples its image to the full size and D average-pools its input down, so that data,
penalties and scores always have one size.
Karras et al. 2017 (arXiv:1710.10196), section 2 and figure 2. Equalized learning rate, minibatch deviation and pixel
norm are not included (`norm` takes a layer to replace the last).
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import avg_pool2d

from saddlepoint.architecture import discriminator
from saddlepoint.layer.concatenation import NO_CONDITION, Concatenation
from saddlepoint.layer.conditional_sequential import ConditionalSequential, hidden_layer
from saddlepoint.layer.growth import GrowingNetwork, upsample
from saddlepoint.turn import UNCONDITIONAL, Condition


class Generator(GrowingNetwork):
    """latent -> base x base -> [upsample -> conv 3 x 3] per level -> conv 1 x 1, tanh, upsample to shape [C, H, W]."""

    def __init__(
        self,
        latent: int,
        shape: Sequence[int],
        width: int = 64,
        levels: int = 2,
        period: int = 100_000,
        fade: int = 50_000,
        norm: Callable[[int], nn.Module] | None = None,
        condition: Mapping[str, int] = NO_CONDITION,
    ) -> None:
        super().__init__(levels, period, fade)
        height, breadth = _lowest_size(shape, levels)
        self.join = Concatenation(condition)
        dense = nn.Linear(latent + self.join.width, width * height * breadth)
        first = nn.Sequential(dense, nn.Unflatten(1, (width, height, breadth)))
        self.blocks.append(ConditionalSequential(hidden_layer(first, width, norm, nn.LeakyReLU(0.2))))
        self.blocks.extend(_convolution_block(width, norm) for _ in range(1, levels))
        self.edges.extend(nn.Conv2d(width, shape[0], 1) for _ in range(levels))
        self.at_images(0)

    def forward(self, latent: Mapping[str, Tensor], condition: Condition = UNCONDITIONAL) -> Tensor:
        """Return images [N, C, H, W] in [-1, 1] for latent parts [N, dim]."""
        h = below = self.blocks[0](self.join(torch.cat(list(latent.values()), 1), condition), condition)
        for block in self.blocks[1 : self.level + 1]:
            below, h = h, block(upsample(h), condition)
        x = self.edges[self.level](h).tanh()
        if self.alpha < 1:
            x = torch.lerp(upsample(self.edges[self.level - 1](below).tanh()), x, self.alpha)
        return upsample(x, self.levels - 1 - self.level)


class Trunk(GrowingNetwork):
    """[N, C, H, W] -> average pool -> conv 1 x 1 -> [conv 3 x 3, average pool] per level -> conv 3 x 3 -> features."""

    conditional = True

    def __init__(
        self, shape: Sequence[int], width: int, levels: int, period: int, fade: int, norm: Any, condition: Any
    ) -> None:
        super().__init__(levels, period, fade)
        height, breadth = _lowest_size(shape, levels)
        self.join = Concatenation(condition)
        channels = shape[0] + self.join.width
        self.blocks.append(_convolution_block(width, norm, nn.Flatten()))
        self.blocks.extend(_convolution_block(width, norm, nn.AvgPool2d(2)) for _ in range(1, levels))
        self.edges.extend(nn.Sequential(nn.Conv2d(channels, width, 1), nn.LeakyReLU(0.2)) for _ in range(levels))
        self.features = width * height * breadth
        self.at_images(0)

    def forward(self, x: Tensor, condition: Condition = UNCONDITIONAL) -> Tensor:
        x = avg_pool2d(self.join(x, condition), 2 ** (self.levels - 1 - self.level))
        h = self.edges[self.level](x)
        for k in range(self.level, 0, -1):
            h = self.blocks[k](h, condition)
            if k == self.level and self.alpha < 1:
                h = torch.lerp(self.edges[k - 1](avg_pool2d(x, 2)), h, self.alpha)
        return self.blocks[0](h, condition)


class Discriminator(discriminator.Discriminator):
    """Trunk -> one logit; the hidden layer is named flat."""

    def __init__(
        self,
        shape: Sequence[int],
        width: int = 64,
        levels: int = 2,
        period: int = 100_000,
        fade: int = 50_000,
        norm: Callable[[int], nn.Module] | None = None,
        condition: Mapping[str, int] = NO_CONDITION,
        **head: Any,
    ) -> None:
        trunk = Trunk(shape, width, levels, period, fade, norm, condition)
        super().__init__({"flat": trunk}, trunk.features, **head)


def _convolution_block(width: int, norm: Callable[[int], nn.Module] | None, *after: nn.Module) -> ConditionalSequential:
    return ConditionalSequential(
        hidden_layer(nn.Conv2d(width, width, 3, padding=1), width, norm, nn.LeakyReLU(0.2)), *after
    )


def _lowest_size(shape: Sequence[int], levels: int) -> tuple[int, int]:
    """Return height and width at level 0.  Raises ValueError if the shape cannot be halved levels - 1 times."""
    factor = 2 ** (levels - 1)
    if [side % factor for side in shape[1:]] != [0, 0]:
        raise ValueError(
            f"growing: levels={levels} needs an image height and width divisible by {factor}, not {list(shape)}"
        )
    return shape[1] // factor, shape[2] // factor
