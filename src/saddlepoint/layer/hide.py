"""Hiding what is to be filled in: x outside of the mask, a constant inside.

Pathak et al. 2016 (arXiv:1604.07379), section 3.3; their constant is the mean of the data.
"""

import torch
from torch import Tensor, nn

from saddlepoint.layer.condition_entry import condition_entry
from saddlepoint.turn import Condition


class Hide(nn.Module):
    """A maker of a side: x [N, C, *space] with `value` where the entry `mask` [N, 1, *space] of the condition is 1."""

    conditional = True

    def __init__(self, mask: str = "mask", value: float = 0.0) -> None:
        super().__init__()
        self.mask, self.value = mask, value

    def forward(self, x: Tensor, condition: Condition) -> Tensor:
        """x, bit for bit, outside of the mask.  Raises Mistake where the condition has no mask."""
        return torch.where(condition_entry(condition, self.mask, "hide") > 0, self.value, x)

    def extra_repr(self) -> str:
        return f"mask={self.mask}, value={self.value}"
