"""SRResNet without batch norm, for super-resolution.  Ledig et al. 2017 (arXiv:1609.04802), figure 4.

3 x 3, residual blocks, up-sampling by pixel shuffle (Shi et al. 2016, arXiv:1609.05158), 3 x 3 twice, plus the enlarged
input. Without batch norm, and with the enlarged input, it is the MSRResNet of BasicSR, with which ESRGAN (Wang et al.
2018, arXiv:1809.00219) is compared.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor, nn
from torch.nn.functional import interpolate

from saddlepoint.error import Mistake
from saddlepoint.layer.concatenation import NO_CONDITION
from saddlepoint.layer.condition_image import ConditionImage
from saddlepoint.turn import UNCONDITIONAL, Condition

SKIPS = ("bicubic", "bilinear", "nearest")
SCALE = 0.1  # of the Kaiming-normal weights of residual blocks at the start, as in BasicSR


class Generator(nn.Module):
    """Entries of the condition, images [N, c, H / scale, W / scale] -> [N, C, H, W], for shape = (C, H, W).

    scale      factor between the sides: a power of two, or 3
    width      channels
    blocks     residual blocks of two convolutions
    skip       how the first C channels of the input are enlarged for the sum: bicubic, bilinear (BasicSR) or nearest
    condition  channels of each input by its name; the first is the small image, with at least C channels
    Outputs are not bounded. Latents are not used.
    Raises ValueError without an input and for an unknown scale or skip, Mistake for inputs of another size.
    """

    def __init__(
        self,
        shape: Sequence[int],
        scale: int = 4,
        width: int = 64,
        blocks: int = 16,
        skip: str = "bilinear",
        condition: Mapping[str, int] = NO_CONDITION,
    ) -> None:
        super().__init__()
        self.input = ConditionImage(condition, "srresnet")
        factors = [3] if scale == 3 else [2] * round(math.log2(scale)) if scale > 0 else []
        if math.prod(factors) != scale or skip not in SKIPS:
            raise ValueError(
                f"srresnet: scale={scale} must be 1, 2, 3, 4, 8, ..., and skip={skip} one of {', '.join(SKIPS)}"
            )
        self.shape, self.scale, self.skip = tuple(shape), scale, skip
        up: list[nn.Module] = []
        for factor in factors:
            up += [_convolution(width, width * factor**2), nn.PixelShuffle(factor), nn.LeakyReLU(0.1)]
        self.layers = nn.Sequential(
            _convolution(self.input.width, width),
            nn.LeakyReLU(0.1),
            *(PlainBlock(width) for _ in range(blocks)),
            *up,
            _convolution(width, width),
            nn.LeakyReLU(0.1),
            _convolution(width, shape[0]),
        )

    def forward(self, latent: Any, condition: Condition = UNCONDITIONAL) -> Tensor:
        """Return images [N, C, H, W]."""
        small = self.input(latent, condition)
        expected = [side // self.scale for side in self.shape[1:]]
        if list(small.shape[2:]) != expected:
            raise Mistake(
                f"srresnet enlarges {expected[0]} x {expected[1]} images by {self.scale}, but {self.input.first} has "
                f"{small.shape[2]} x {small.shape[3]}: set architecture.generator.scale"
            )
        corners = None if self.skip == "nearest" else False
        enlarged = interpolate(
            small[:, : self.shape[0]], scale_factor=float(self.scale), mode=self.skip, align_corners=corners
        )
        return self.layers(small) + enlarged


class PlainBlock(nn.Module):
    """[N, width, H, W] -> the same shape: x + 3 x 3, ReLU, 3 x 3."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.residual = nn.Sequential(_convolution(width, width, SCALE), nn.ReLU(), _convolution(width, width, SCALE))

    def forward(self, x: Tensor) -> Tensor:
        """Return the sum."""
        return x + self.residual(x)


def _convolution(a: int, b: int, scale: float | None = None) -> nn.Conv2d:
    """Return a 3 x 3 convolution; with `scale`, its weights are Kaiming-normal times `scale`, and its biases 0."""
    layer = nn.Conv2d(a, b, 3, padding=1)
    if scale is not None:
        nn.init.kaiming_normal_(layer.weight).data.mul_(scale)
        nn.init.zeros_(layer.bias)  # pyright: ignore[reportArgumentType]
    return layer
