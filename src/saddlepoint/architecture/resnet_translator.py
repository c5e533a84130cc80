"""The ResNet generator of CycleGAN.  Zhu et al. 2017 (arXiv:1703.10593), appendix 7.2, after Johnson et al. 2016.

7 x 7, two 3 x 3 with stride 2, residual blocks at a quarter of the resolution, two transposed 3 x 3, 7 x 7, tanh. The
paddings of 7 x 7 and of blocks are reflections. Convolutions before a norm have no bias: the paper's instance norm
subtracts it.
"""

from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise
from typing import Any

from torch import Tensor, nn

from saddlepoint.architecture.dcgan import init_weights
from saddlepoint.architecture.unet import output_padding
from saddlepoint.layer.concatenation import NO_CONDITION
from saddlepoint.layer.condition_image import ConditionImage
from saddlepoint.layer.conditional_sequential import ConditionalSequential, hidden_layer
from saddlepoint.turn import UNCONDITIONAL, Condition

Norm = Callable[[int], nn.Module] | None


class Generator(nn.Module):
    """Entries of the condition, images [N, c, H, W] -> [N, C, H, W] in [-1, 1], for shape = (C, H, W).

    width      channels at full resolution
    blocks     residual blocks of two convolutions: 6 for 128 x 128 images in the paper, 9 for 256 x 256
    condition  channels of each input by its name, in order: {source: 3}
    Latents are not used.
    Raises ValueError without an input, and for images below 8 x 8, which have too few pixels to reflect.
    """

    def __init__(
        self,
        shape: Sequence[int],
        width: int = 64,
        blocks: int = 9,
        norm: Norm = None,
        condition: Mapping[str, int] = NO_CONDITION,
    ) -> None:
        super().__init__()
        if min(shape[1:]) < 8:
            raise ValueError(f"resnet_translator needs images of at least 8 x 8, not {shape[1]} x {shape[2]}")
        self.input = ConditionImage(condition, "resnet_translator")
        bias, widths = norm is None, [width, 2 * width, 4 * width]
        sizes = [list(shape[1:])]
        for _ in range(2):
            sizes.append([-(-side // 2) for side in sizes[-1]])
        down = [hidden_layer(nn.Conv2d(a, b, 3, 2, 1, bias=bias), b, norm, nn.ReLU()) for a, b in pairwise(widths)]
        up = []
        for i in (1, 0):
            padding = output_padding(sizes[i], sizes[i + 1], 1)
            layer = nn.ConvTranspose2d(widths[i + 1], widths[i], 3, 2, 1, padding, bias=bias)
            up.append(hidden_layer(layer, widths[i], norm, nn.ReLU()))
        self.layers = ConditionalSequential(
            nn.ReflectionPad2d(3),
            hidden_layer(nn.Conv2d(self.input.width, width, 7, bias=bias), width, norm, nn.ReLU()),
            *down,
            *(ReflectedBlock(4 * width, norm) for _ in range(blocks)),
            *up,
            nn.ReflectionPad2d(3),
            nn.Conv2d(width, shape[0], 7),
            nn.Tanh(),
        )
        self.apply(init_weights)

    def forward(self, latent: Any, condition: Condition = UNCONDITIONAL) -> Tensor:
        """Return images [N, C, H, W]."""
        return self.layers(self.input(latent, condition), condition)


class ReflectedBlock(nn.Module):
    """[N, width, H, W] -> the same shape: x + two convolutions of x, without an activation after the sum."""

    conditional = True

    def __init__(self, width: int, norm: Norm) -> None:
        super().__init__()
        bias = norm is None
        self.residual = ConditionalSequential(
            nn.ReflectionPad2d(1),
            hidden_layer(nn.Conv2d(width, width, 3, bias=bias), width, norm, nn.ReLU()),
            nn.ReflectionPad2d(1),
            hidden_layer(nn.Conv2d(width, width, 3, bias=bias), width, norm, nn.Identity()),
        )

    def forward(self, x: Tensor, condition: Condition = UNCONDITIONAL) -> Tensor:
        """Return the sum."""
        return x + self.residual(x, condition)
