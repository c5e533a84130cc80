"""Hide the region to be inpainted: a constant inside the mask, x outside.

Pathak et al. 2016 (arXiv:1604.07379), section 3.3; there the constant is the mean of the data.
"""

import torch
from torch import Tensor, nn

from saddlepoint.layer.condition_entry import condition_entry
from saddlepoint.turn import Condition


class Hide(nn.Module):
    """A maker that sets x [N, C, *space] to `value` where the condition's entry `mask` [N, 1, *space] is 1."""

    conditional = True

    def __init__(self, mask: str = "mask", value: float = 0.0) -> None:
        super().__init__()
        self.mask, self.value = mask, value

    def forward(self, x: Tensor, condition: Condition) -> Tensor:
        """Return x, hidden inside the mask and unchanged outside.  Raises Mistake if the condition has no mask."""
        return torch.where(condition_entry(condition, self.mask, "hide") > 0, self.value, x)

    def extra_repr(self) -> str:
        return f"mask={self.mask}, value={self.value}"
