"""Pasting what is known over what was generated: inside of the mask x, outside of it what is known.

So what is known is untouched, bit for bit, and no gradient comes from there.
Iizuka et al. 2017 (ACM TOG 36:107), section 3; Yu et al. 2018 (arXiv:1801.07892), section 3.1.
"""

import torch
from torch import Tensor, nn

from saddlepoint.error import Mistake
from saddlepoint.layer.condition_entry import condition_entry
from saddlepoint.turn import Condition


class Paste(nn.Module):
    """A maker of a side: x [N, C, *space] where the entry `mask` [N, 1, *space] is 1, elsewhere the entry `known`."""

    conditional = True

    def __init__(self, known: str = "known", mask: str = "mask") -> None:
        super().__init__()
        self.known, self.mask = known, mask

    def forward(self, x: Tensor, condition: Condition) -> Tensor:
        """The shape of x.  Raises Mistake where the condition has not both, or what is known has another shape."""
        known, mask = (condition_entry(condition, name, "paste") for name in (self.known, self.mask))
        if known.shape != x.shape:
            raise Mistake(
                f"paste: {self.known} has shape {list(known.shape)} and what is generated {list(x.shape)}: these must "
                "be equal"
            )
        return torch.where(mask > 0, x, known)

    def extra_repr(self) -> str:
        return f"known={self.known}, mask={self.mask}"
