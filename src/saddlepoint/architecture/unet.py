"""The U-Net of pix2pix: an encoder and a decoder with skip connections.  Isola et al. 2017 (arXiv:1611.07004).

    down: leaky ReLU 0.2, 4 x 4 with stride 2, norm;    up: ReLU, transposed 4 x 4 with stride 2, norm, dropout

Level i of the decoder gets its own input and the output of level i of the encoder. Dropout in the first three levels of
the decoder is the only noise; game.dropout=true keeps it on in samples, as the paper does. Odd sizes are allowed.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from saddlepoint.architecture.dcgan import init_weights
from saddlepoint.layer.concatenation import NO_CONDITION
from saddlepoint.layer.condition_image import ConditionImage
from saddlepoint.layer.conditional_sequential import ConditionalSequential, hidden_layer
from saddlepoint.turn import UNCONDITIONAL, Condition

DROPOUT_LEVELS = 3


class Generator(nn.Module):
    """Entries of the condition, images [N, c, H, W] -> [N, C, H, W] in [-1, 1], for shape = (C, H, W).

    width      channels of the first level; each further level doubles them, up to 8 `width`
    levels     how often the resolution is halved; None: until the shorter side is 1
    dropout    probability of a zero
    condition  channels of each input by its name, in order: {source: 3}, {known: 1, mask: 1}
    Latents are not used.
    Raises ValueError without an input, and for more levels than the shorter side has halvings.
    """

    def __init__(
        self,
        shape: Sequence[int],
        width: int = 64,
        levels: int | None = None,
        norm: Callable[[int], nn.Module] | None = None,
        dropout: float = 0.5,
        condition: Mapping[str, int] = NO_CONDITION,
    ) -> None:
        super().__init__()
        self.input = ConditionImage(condition, "unet")
        most = int(math.log2(min(shape[1:])))
        levels = most if levels is None else levels
        if not 1 <= levels <= most:
            raise ValueError(f"unet: levels={levels} must be 1 to {most} for images of {shape[1]} x {shape[2]}")
        sizes = halvings(shape[1:], levels)
        widths = [width * min(2**i, 8) for i in range(levels)]
        bias = norm is None
        self.down, self.up = nn.ModuleList(), nn.ModuleList()
        for i, (a, b) in enumerate(zip([self.input.width, *widths[:-1]], widths, strict=True)):
            inner_norm = norm if 0 < i < levels - 1 else None  # none at full resolution, and none on 1 x 1
            layer = hidden_layer(nn.Conv2d(a, b, 4, 2, 1, bias=bias), b, inner_norm, nn.Identity())
            self.down.append(ConditionalSequential(*([nn.LeakyReLU(0.2)] if i else []), layer))
        for i in reversed(range(levels)):
            a, b = widths[i] * (1 if i == levels - 1 else 2), widths[i - 1] if i else shape[0]
            padding = output_padding(sizes[i], sizes[i + 1])
            layer = nn.ConvTranspose2d(a, b, 4, 2, 1, padding, bias=bias or i == 0)
            last = nn.Dropout(dropout) if i > 0 and levels - 1 - i < DROPOUT_LEVELS else nn.Identity()
            self.up.append(
                ConditionalSequential(nn.ReLU(), hidden_layer(layer, b, norm if i else None, last if i else nn.Tanh()))
            )
        self.apply(init_weights)

    def forward(self, latent: Any, condition: Condition = UNCONDITIONAL) -> Tensor:
        """Return images [N, C, H, W]."""
        x, skips = self.input(latent, condition), []
        for layer in self.down:
            x = layer(x, condition)
            skips.append(x)
        skips.pop()
        for layer in self.up[:-1]:
            x = torch.cat([skips.pop(), layer(x, condition)], 1)
        return self.up[-1](x, condition)


def halvings(size: Sequence[int], levels: int) -> list[list[int]]:
    """Return the size and its first `levels` halves, rounded down: [[28, 28], [14, 14], [7, 7], [3, 3]]."""
    return [[side >> level for side in size] for level in range(levels + 1)]


def output_padding(size: Sequence[int], half: Sequence[int], offset: int = 0) -> tuple[int, int]:
    """Return by how many rows and columns a transposed convolution must enlarge 2 `half` - offset to give `size`."""
    return size[0] - 2 * half[0] + offset, size[1] - 2 * half[1] + offset
