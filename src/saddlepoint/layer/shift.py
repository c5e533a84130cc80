"""A learned shift per unit or channel: what is left of batch norm's gain and bias where the gain is left out."""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from saddlepoint.layer.conditional_sequential import ConditionalSequential


class Shift(nn.Module):
    """x + bias, [N, features, ...]; the bias starts at 0."""

    def __init__(self, features: int) -> None:
        super().__init__()
        self.bias = nn.Parameter(torch.zeros(features))

    def forward(self, x: Tensor) -> Tensor:
        """x, each channel shifted by its own number."""
        return x + self.bias.view(-1, *[1] * (x.ndim - 2))


def append_shift(norm: Callable[[int], nn.Module] | None) -> Callable[[int], nn.Module] | None:
    """`norm` with a shift behind it, where it has no bias of its own; None stays None."""
    if norm is None:
        return None

    def made(features: int) -> nn.Module:
        module = norm(features)
        return module if getattr(module, "bias", None) is not None else ConditionalSequential(module, Shift(features))

    return made
