"""Phase shuffle: shifts features of a discriminator in time by a few positions, reflected at the ends.

    y[c, t] = x[c, t + s],    s uniform on {-radius, ..., radius}, one for each sample

Donahue et al. 2018 (WaveGAN, arXiv:1802.04208), section 3.3: transposed convolutions leave artifacts at fixed phases,
by which D could tell fakes from reals. In the authors' code one shift is drawn for a batch, here one for each sample.
"""

import torch
from torch import Tensor, nn

from saddlepoint.error import Mistake
from saddlepoint.layer.condition_entry import augmentation_numbers
from saddlepoint.turn import Condition

ENTRY = "numbers"  # of the condition


class PhaseShuffle(nn.Module):
    """x [N, C, T] -> the same shape; in evaluation mode x itself.

    radius  largest shift, in positions; 0: none
    column  the column of the condition's entry `numbers`, uniform on [0, 1), that the shift is computed from
    The numbers are a named draw (game=phase_shuffle), so that they do not depend on the number of ranks, and a term
    that calls D twice on one sample uses them twice.
    Raises ValueError for a negative radius, and Mistake for features that are too short to be reflected.
    """

    conditional = True

    def __init__(self, radius: int = 2, column: int = 0) -> None:
        super().__init__()
        if radius < 0:
            raise ValueError(f"phase shuffle: radius={radius} must be at least 0")
        self.radius, self.column = radius, column

    def forward(self, x: Tensor, condition: Condition) -> Tensor:
        if not self.training or self.radius == 0:
            return x
        if (length := x.shape[2]) <= self.radius:
            raise Mistake(f"phase shuffle: {length} positions cannot be shifted by radius={self.radius}")
        u = augmentation_numbers(condition, x, self.column + 1, "phase shuffle")[:, self.column]
        shift = (u * (2 * self.radius + 1)).floor().to(torch.int64) - self.radius
        position = (torch.arange(length, device=x.device) + shift[:, None]).abs()
        position = torch.where(position >= length, 2 * (length - 1) - position, position)
        return x.gather(2, position[:, None].expand_as(x))

    def extra_repr(self) -> str:
        return f"radius={self.radius}, column={self.column}"
