"""The context encoder: from an image with a hole to the content of the hole.  Pathak et al. 2016 (arXiv:1604.07379).

Figure 9 (a): 4 x 4 convolutions with stride 2 down to at most 4 x 4, a bottleneck, transposed convolutions up to half
the side of the image, tanh. The output is the centre of an image whose other pixels are 0; the maker `paste` replaces
them.
"""

from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import pad

from saddlepoint.architecture.dcgan import init_weights
from saddlepoint.architecture.unet import output_padding
from saddlepoint.error import Mistake
from saddlepoint.layer.concatenation import NO_CONDITION
from saddlepoint.layer.condition_image import ConditionImage
from saddlepoint.layer.conditional_sequential import ConditionalSequential, hidden_layer
from saddlepoint.turn import UNCONDITIONAL, Condition

SMALLEST = 4  # side of the last feature map before the bottleneck


class Generator(nn.Module):
    """Entries of the condition, images [N, c, H, W] -> [N, C, H, W], whose central half of each side is in [-1, 1].

    width       channels of the first two levels; each further level doubles them, up to 8 `width`
    bottleneck  channels of the bottleneck, which has a single position; 4000 in the paper
    condition   channels of each input by its name, in order: {known: 3}
    Latents are not used. The hole must be the centre, of half the side (prior box_mask, fraction 0.5, place centre).
    Raises ValueError without an input, and for images below 16 x 16 or with an odd side.
    """

    def __init__(
        self,
        shape: Sequence[int],
        width: int = 64,
        bottleneck: int = 4000,
        norm: Callable[[int], nn.Module] | None = None,
        condition: Mapping[str, int] = NO_CONDITION,
    ) -> None:
        super().__init__()
        self.input = ConditionImage(condition, "context_encoder")
        if min(shape[1:]) < 16 or any(side % 2 for side in shape[1:]):
            raise ValueError(
                f"context_encoder needs images of at least 16 x 16 with even sides, not {shape[1]} x {shape[2]}"
            )
        self.border = [(side - side // 2) // 2 for side in (shape[2], shape[1])]
        self.rest = [side - side // 2 - border for side, border in zip((shape[2], shape[1]), self.border, strict=True)]
        whole, hole = _halvings(shape[1:]), _halvings([side // 2 for side in shape[1:]])
        widths = [width * min(2**i, 8) for i in range(len(whole))]
        down = [self.input.width, width, *widths[: len(whole) - 2]]
        up = [*widths[: len(hole) - 1][::-1], shape[0]]
        bias = norm is None
        layers: list[nn.Module] = [
            hidden_layer(nn.Conv2d(a, b, 4, 2, 1, bias=bias or not i), b, norm if i else None, nn.LeakyReLU(0.2))
            for i, (a, b) in enumerate(pairwise(down))
        ]
        squeeze = nn.Conv2d(down[-1], bottleneck, (whole[-1][0], whole[-1][1]), bias=bias)
        expand = nn.ConvTranspose2d(bottleneck, up[0], (hole[-1][0], hole[-1][1]), bias=bias)
        layers += [
            hidden_layer(squeeze, bottleneck, norm, nn.LeakyReLU(0.2)),
            hidden_layer(expand, up[0], norm, nn.ReLU()),
        ]
        for i, (a, b) in enumerate(pairwise(up)):
            padding = output_padding(hole[-2 - i], hole[-1 - i])
            is_last = i == len(up) - 2
            layer = nn.ConvTranspose2d(a, b, 4, 2, 1, padding, bias=bias or is_last)
            layers.append(hidden_layer(layer, b, None if is_last else norm, nn.Tanh() if is_last else nn.ReLU()))
        self.layers = ConditionalSequential(*layers)
        self.apply(init_weights)

    def forward(self, latent: Any, condition: Condition = UNCONDITIONAL) -> Tensor:
        """Return images [N, C, H, W].  Raises Mistake for a mask that goes beyond the centre; checked only on a CPU."""
        hole = self.layers(self.input(latent, condition), condition)
        (left, top), (right, bottom) = self.border, self.rest
        border = (left, right, top, bottom)
        traced = torch.compiler.is_compiling() or torch.jit.is_tracing()  # pyright: ignore[reportPrivateImportUsage]
        mask = None if traced or hole.device.type != "cpu" else condition.get("mask")
        if mask is not None and bool((mask > pad(torch.ones_like(hole[:, :1]), border)).any()):
            raise Mistake(
                "context_encoder fills in the centre, with half of each side, and the mask goes beyond it: use "
                "box_mask with fraction=0.5 and place=centre, or architecture=unet"
            )
        return pad(hole, border)


def _halvings(size: Sequence[int]) -> list[list[int]]:
    """Return the size and its halves, rounded down, until the shorter side is at most 4."""
    sizes = [list(size)]
    while min(sizes[-1]) > SMALLEST:
        sizes.append([side // 2 for side in sizes[-1]])
    return sizes
