"""The standard CNN of SNGAN for 32 x 32.  Miyato et al. 2018 (arXiv:1802.05957), table 3.

G: dense 4 x 4 x 512, transposed 4 x 4 with stride 2 to 256, 128, 64, each norm and ReLU, then 3 x 3, tanh.  D: 3 x 3
to 64, 4 x 4 with stride 2 to 64; the same with 128 and 256; 3 x 3 to 512; one logit from all positions; leaky ReLU 0.1.
Spectral normalisation of D is the layer spectral_norm.
"""

from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn

from saddlepoint.architecture import discriminator
from saddlepoint.architecture.sngan import check_side_32
from saddlepoint.layer.concatenation import NO_CONDITION, Concatenation
from saddlepoint.layer.conditional_sequential import ConditionalSequential, hidden_layer
from saddlepoint.turn import UNCONDITIONAL, Condition


class Generator(nn.Module):
    """latent -> 4 x 4 -> three transposed convolutions, halving the channels down to `width` -> C, tanh.

    condition  width of each entry of the condition that is concatenated to the latent, by its name
    """

    def __init__(
        self,
        latent: int,
        shape: Sequence[int],
        width: int = 64,
        norm: Callable[[int], nn.Module] | None = None,
        condition: Mapping[str, int] = NO_CONDITION,
    ) -> None:
        super().__init__()
        check_side_32("sngan_cnn", shape)
        self.join = Concatenation(condition)
        widths = [8 * width, 4 * width, 2 * width, width]
        self.layers = ConditionalSequential(
            nn.Linear(latent + self.join.width, widths[0] * 16),
            nn.Unflatten(1, (widths[0], 4, 4)),
            *(hidden_layer(nn.ConvTranspose2d(a, b, 4, 2, 1), b, norm, nn.ReLU()) for a, b in pairwise(widths)),
            nn.Conv2d(width, shape[0], 3, padding=1),
            nn.Tanh(),
        )

    def forward(self, latent: Mapping[str, Tensor], condition: Condition = UNCONDITIONAL) -> Tensor:
        """Return images [N, C, 32, 32] in [-1, 1] for latent parts [N, dim]."""
        return self.layers(self.join(torch.cat(list(latent.values()), 1), condition), condition)


class Discriminator(discriminator.Discriminator):
    """Seven convolutions, from `width` channels to eight times as many -> one logit; conv1, ..., conv7, flat.

    condition  channels of each entry of the condition that is concatenated to x, by its name
    """

    def __init__(
        self,
        shape: Sequence[int],
        width: int = 64,
        norm: Callable[[int], nn.Module] | None = None,
        condition: Mapping[str, int] = NO_CONDITION,
        **head: Any,
    ) -> None:
        check_side_32("sngan_cnn", shape)
        join = Concatenation(condition)
        widths = [shape[0] + join.width, *(width * multiple for multiple in (1, 1, 2, 2, 4, 4, 8))]
        trunk: dict[str, nn.Module] = {}
        for i, (a, b) in enumerate(pairwise(widths), 1):
            layer = nn.Conv2d(a, b, 4, 2, 1) if i % 2 == 0 else nn.Conv2d(a, b, 3, 1, 1)
            trunk[f"conv{i}"] = hidden_layer(layer, b, norm if i > 1 else None, nn.LeakyReLU(0.1))
        if condition:
            trunk["conv1"] = ConditionalSequential(join, trunk["conv1"])
        super().__init__({**trunk, "flat": nn.Flatten()}, widths[-1] * 16, **head)
