"""Reconstruction: the mean distance between two sides, E|a - b| or E|a - b|^2, over all numbers of a sample.

The L1 of pix2pix (Isola et al. 2016, arXiv:1611.07004, eq. 3), the cycle consistency of CycleGAN (Zhu et al. 2017,
arXiv:1703.10593, eq. 2: side cycle_a against real_a), the log-likelihood of a VAE with unit variance (absolute=false).
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from saddlepoint.regularizer.regularizer import Regularizer, batch_columns
from saddlepoint.turn import Turn


class Reconstruction(Regularizer):
    """The distance between `side` and `target`, averaged over samples and their numbers.

    side, target  entries of the turn: sides or columns of the batch; a target with fewer rows is repeated (`multiple`)
    absolute      true: |a - b|; false: (a - b)^2
    """

    def __init__(
        self,
        weight: float | Callable[[int], float] = 1.0,
        every: int = 1,
        side: str = "fake",
        target: str = "real",
        absolute: bool = True,
    ) -> None:
        super().__init__(weight, every)
        self.side, self.target, self.absolute = side, target, absolute

    def forward(self, turn: Turn) -> Tensor:
        """Return the mean distance, a scalar."""
        x = turn.player_tensor(self.side)
        gap = x - turn.repeated_tensor(self.target, x)
        wide = gap.to(torch.promote_types(gap.dtype, torch.float32))
        return (wide.abs() if self.absolute else wide.square()).mean()

    def check_game(self, game: Any) -> str | None:
        """Return a warning if only one of the two depends on the batch, so that rows are compared at random."""
        roles = next((p.side_by_role for p in game.players.values() if self in p.terms.values()), {})
        names = [roles.get(name, name) for name in (self.side, self.target)]
        independent = [name for name in names if not batch_columns(game, name)]
        if len(independent) != 1:
            return None
        return f"{names[0]} is compared with {names[1]} at random: {independent[0]} does not depend on the batch"
