"""From [-1, 1], the range of images here, to [0, 1], that of some authors' code: (x + 1) / 2."""

from torch import Tensor, nn


class UnitRange(nn.Module):
    """Any shape, in [-1, 1] -> the same shape, in [0, 1]."""

    def forward(self, x: Tensor) -> Tensor:
        return (x + 1) / 2
