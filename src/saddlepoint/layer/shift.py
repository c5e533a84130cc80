"""A learned shift per unit or channel: the bias of a batch norm without its gain."""

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
        """Return x with the bias of each channel added."""
        return x + self.bias.view(-1, *[1] * (x.ndim - 2))


def append_shift(norm: Callable[[int], nn.Module] | None) -> Callable[[int], nn.Module] | None:
    """Return `norm` followed by a shift unless it has a bias; None for None."""
    if norm is None:
        return None

    def build(features: int) -> nn.Module:
        module = norm(features)
        return module if getattr(module, "bias", None) is not None else ConditionalSequential(module, Shift(features))

    return build
