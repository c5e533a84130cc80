"""Uniform dequantisation of 8-bit samples: the value k of 256 becomes (k + u) / 128 - 1, u ~ U[0, 1).

The reals are then continuous on [-1, 1), as the output of a generator is, so D cannot tell them apart by the grid.
Theis et al. 2015 (arXiv:1511.01844), section 3.1; as x / 128 - 1 + U(0, 1/128) in the code of Miyato et al. 2018
(arXiv:1802.05957).
"""

from torch import Tensor, nn

from saddlepoint.error import Mistake
from saddlepoint.layer.condition_entry import condition_entry
from saddlepoint.turn import Condition


class Dequantise(nn.Module):
    """A maker that adds noise to x = k / 127.5 - 1, [N, ...]; in evaluation mode it returns x unchanged.

    The condition's entry `numbers` [N, values per sample] is uniform on [0, 1). It is a named draw, so that it is drawn
    once for the batch of all ranks.
    """

    conditional = True

    def forward(self, x: Tensor, condition: Condition) -> Tensor:
        """Return (k + u) / 128 - 1.  Raises Mistake if the number of `numbers` is not that of the values."""
        u = condition_entry(condition, "numbers", "dequantise")
        if u.shape[1] != (size := x[0].numel()):
            raise Mistake(
                f"dequantise needs a number per value, {size} per sample, but its draw has {u.shape[1]}: set its dim "
                f"to {size} (game.draws.<draw>.z.dim)"
            )
        return ((x + 1) * 127.5 + u.view_as(x).to(x.dtype)) / 128 - 1 if self.training else x
