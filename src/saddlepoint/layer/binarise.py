"""Dynamic binarisation: a new Bernoulli sample of each image whenever it is shown.

Salakhutdinov & Murray 2008 ("On the quantitative analysis of deep belief networks"); Burda et al. 2016
(arXiv:1509.00519), section 5. The pixel x in [-1, 1] becomes 1 with probability (x + 1) / 2, and -1 otherwise.
"""

import torch
from torch import Tensor, nn

from saddlepoint.error import Mistake
from saddlepoint.layer.condition_entry import condition_entry
from saddlepoint.turn import Condition


class Binarise(nn.Module):
    """A maker: x [N, ...] in [-1, 1] -> -1 or 1, by the condition's entry `numbers` [N, values], uniform on [0, 1).

    The numbers are a named draw, so that they are drawn once for the batch of all ranks.
    """

    conditional = True

    def forward(self, x: Tensor, condition: Condition) -> Tensor:
        """Return the binary image.  Raises Mistake if the number of `numbers` is not that of the values."""
        u = condition_entry(condition, "numbers", "binarise")
        if u.shape[1] != (size := x[0].numel()):
            raise Mistake(
                f"binarise needs a number per value, {size} per sample, but its draw has {u.shape[1]}: set its dim to "
                f"{size} (game.draws.thresholds.z.dim={size} in game=binary_vae)"
            )
        return torch.where(u.view_as(x) < (x + 1) / 2, 1.0, -1.0).to(x.dtype)
