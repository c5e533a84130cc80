"""Packing: D judges m samples at once, so that it sees how diverse they are.  Lin et al. 2018 (arXiv:1712.04086), 3.1.

D gets the channels (or coordinates) of m reals, or of m fakes, in one input of m C channels and returns one logit.
"""

from torch import Tensor, nn

from saddlepoint import ranks
from saddlepoint.error import Mistake
from saddlepoint.turn import UNCONDITIONAL, Condition

TRIAL_ROWS = 8  # rows of the trial round before training (game/dry_run.py), which may end with an incomplete pack


class Packing(nn.Module):
    """A maker that joins rows m i to m i + m - 1 of x into pack i: [N, C, ...] -> [N / m, m C, ...].

    size   m, samples in a pack; 1: x is returned unchanged
    batch  rows of a batch over all ranks, the config's `batch`
    Rows of a batch are independent, so each pack has m independent samples; each row is in one pack.  A rank packs the
    rows that it has, which are the same packs for every number of ranks.
    Raises ValueError for a size below 1, and if the batch of a rank does not divide into packs.
    """

    coupled = over_ranks = True  # a batch in chunks would have other packs

    def __init__(self, size: int = 2, batch: int | None = None) -> None:
        super().__init__()
        if type(size) is not int or size < 1:
            raise ValueError(f"packing: size={size} must be an integer of at least 1")
        if batch is not None and batch % (size * ranks.world_size()):
            per_rank = "" if ranks.world_size() == 1 else f" on each of {ranks.world_size()} ranks"
            raise ValueError(
                f"packing: batch={batch} does not divide into packs of {size}{per_rank}: set batch to a multiple of "
                f"{size * ranks.world_size()}"
            )
        self.size = size

    def forward(self, x: Tensor, condition: Condition = UNCONDITIONAL) -> Tensor:
        """Return the packs.  Raises Mistake if the last one is incomplete."""
        rest = len(x) % self.size
        if rest and len(x) != TRIAL_ROWS:
            raise Mistake(f"packing: {len(x)} samples do not divide into packs of {self.size}: set batch to a multiple")
        return x[: len(x) - rest].unflatten(0, (-1, self.size)).flatten(1, 2)

    def extra_repr(self) -> str:
        return f"size={self.size}"
