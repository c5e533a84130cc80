"""Paste the known pixels over a generated sample: x inside the mask, the known pixels outside.

The known pixels are unchanged bit for bit, and no gradient flows through them.
Iizuka et al. 2017 (ACM TOG 36:107), section 3; Yu et al. 2018 (arXiv:1801.07892), section 3.1.
"""

import torch
from torch import Tensor, nn

from saddlepoint.error import Mistake
from saddlepoint.layer.condition_entry import condition_entry
from saddlepoint.turn import Condition


class Paste(nn.Module):
    """A maker that returns x [N, C, *space] where the entry `mask` [N, 1, *space] is 1, elsewhere the entry `known`."""

    conditional = True

    def __init__(self, known: str = "known", mask: str = "mask") -> None:
        super().__init__()
        self.known, self.mask = known, mask

    def forward(self, x: Tensor, condition: Condition) -> Tensor:
        """Return a tensor of the shape of x.  Raises Mistake if an entry is missing or `known` has another shape."""
        known, mask = (condition_entry(condition, name, "paste") for name in (self.known, self.mask))
        if known.shape != x.shape:
            raise Mistake(
                f"paste: {self.known} has shape {list(known.shape)}, but the generated samples have {list(x.shape)}; "
                "they must be equal"
            )
        return torch.where(mask > 0, x, known)

    def extra_repr(self) -> str:
        return f"known={self.known}, mask={self.mask}"
