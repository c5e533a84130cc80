"""DCGAN.  Radford et al. 2015 (arXiv:1511.06434), section 3; layer sizes as in its code for 64 x 64 faces.

For 32 x 32 the stage with the most channels is dropped (the paper has no 32 x 32 model). All weights are initialised
from N(0, 0.02^2), batch-norm gains from N(1, 0.02^2).
"""

from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn

from saddlepoint.architecture import discriminator
from saddlepoint.layer.concatenation import NO_CONDITION, Concatenation
from saddlepoint.layer.conditional_sequential import ConditionalSequential, hidden_layer
from saddlepoint.turn import UNCONDITIONAL, Condition


class Generator(nn.Module):
    """latent -> 4 x 4 -> transposed 5 x 5, stride 2, halving the channels down to `width` -> C, tanh.

    condition  width of each entry of the condition that is concatenated to the latent, by its name
    """

    def __init__(
        self,
        latent: int,
        shape: Sequence[int],
        width: int = 128,
        norm: Callable[[int], nn.Module] | None = None,
        condition: Mapping[str, int] = NO_CONDITION,
    ) -> None:
        super().__init__()
        self.join = Concatenation(condition)
        latent += self.join.width
        widths = _stage_channels(shape, width)[::-1]

        def up(a: int, b: int, bias: bool) -> nn.Module:
            return nn.ConvTranspose2d(a, b, 5, stride=2, padding=2, output_padding=1, bias=bias)

        dense = nn.Sequential(nn.Linear(latent, widths[0] * 16, bias=norm is None), nn.Unflatten(1, (widths[0], 4, 4)))
        stages = [hidden_layer(up(a, b, norm is None), b, norm, nn.ReLU()) for a, b in pairwise(widths)]
        self.layers = ConditionalSequential(
            hidden_layer(dense, widths[0], norm, nn.ReLU()), *stages, up(widths[-1], shape[0], True), nn.Tanh()
        )
        self.apply(init_weights)

    def forward(self, latent: Mapping[str, Tensor], condition: Condition = UNCONDITIONAL) -> Tensor:
        """Return images [N, C, H, W] in [-1, 1] for latent parts [N, dim]."""
        return self.layers(self.join(torch.cat(list(latent.values()), 1), condition), condition)


class Discriminator(discriminator.Discriminator):
    """5 x 5 convolutions, stride 2, doubling the channels from `width` down to 4 x 4 -> one logit.

    The first convolution has no norm. Hidden layers are named conv1, conv2, ..., flat.
    condition  channels of each entry of the condition that is concatenated to x, by its name
    """

    def __init__(
        self,
        shape: Sequence[int],
        width: int = 128,
        norm: Callable[[int], nn.Module] | None = None,
        condition: Mapping[str, int] = NO_CONDITION,
        **head: Any,
    ) -> None:
        join = Concatenation(condition)
        widths = [shape[0] + join.width, *_stage_channels(shape, width)]
        trunk: dict[str, nn.Module] = {
            f"conv{i}": hidden_layer(nn.Conv2d(a, b, 5, 2, 2), b, norm if i > 1 else None, nn.LeakyReLU(0.2))
            for i, (a, b) in enumerate(pairwise(widths), 1)
        }
        if condition:
            trunk["conv1"] = ConditionalSequential(join, trunk["conv1"])
        super().__init__({**trunk, "flat": nn.Flatten()}, widths[-1] * 16, **head)
        self.apply(init_weights)


def _stage_channels(shape: Sequence[int], width: int) -> list[int]:
    """Return the channels per stage, highest resolution first.  Raises ValueError unless H = W is 32 or 64."""
    stages = {32: 3, 64: 4}
    if tuple(shape[1:]) not in [(side, side) for side in stages]:
        raise ValueError(
            f"dcgan makes 32 x 32 or 64 x 64 images, but the data have shape {list(shape)}; "
            "try data.size=32 of images, or architecture=mlp"
        )
    return [width * 2**i for i in range(stages[shape[1]])]


def init_weights(module: nn.Module) -> None:
    """Draw the weights of one module from N(0, 0.02^2), and gains of batch norm from N(1, 0.02^2); biases are 0."""
    if isinstance(module, nn.Linear | nn.Conv2d | nn.ConvTranspose2d):
        nn.init.normal_(module.weight, 0.0, 0.02)
        if module.bias is not None:
            nn.init.zeros_(module.bias)
    elif isinstance(module, nn.BatchNorm2d) and module.affine:
        nn.init.normal_(module.weight, 1.0, 0.02)
