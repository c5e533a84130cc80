"""Orthogonal regularization: sum over layers of ||W W^T o (1 - I)||_F^2.  Brock et al. 2018 (arXiv:1809.11096), eq. 3.

W is a weight of the player as a matrix, one row per output; norms of rows are free.  The authors' weight is 1e-4.
`identity` uses ||W W^T - I||_F^2 instead: Brock et al. 2016 (arXiv:1609.07093), eq. 2.
"""

from collections.abc import Callable

import torch
from torch import Tensor

from saddlepoint.regularizer.regularizer import Regularizer
from saddlepoint.turn import Turn


class Orthogonal(Regularizer):
    """The sum over the weights with two dimensions or more that the turn's player optimises."""

    def __init__(self, weight: float | Callable[[int], float] = 1e-4, every: int = 1, identity: bool = False) -> None:
        super().__init__(weight, every)
        self.identity = identity

    def forward(self, turn: Turn) -> Tensor:
        """The term, a scalar; it does not depend on the samples."""
        weights = [p.flatten(1) for p in turn.player.network.parameters() if p.requires_grad and p.ndim > 1]
        terms = [self._distance(rows @ rows.T) for rows in weights]
        return torch.stack(terms).sum() if terms else turn["real"].x.new_zeros(())

    def _distance(self, gram: Tensor) -> Tensor:
        diagonal = gram.diagonal()
        off = gram.square().sum() - diagonal.square().sum()
        return off + (diagonal - 1).square().sum() if self.identity else off
