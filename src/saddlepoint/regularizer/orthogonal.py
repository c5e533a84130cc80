"""Orthogonal regularization: sum over layers of ||W W^T o (1 - I)||_F^2.  Brock et al. 2018 (arXiv:1809.11096), eq. 3.

W is the weight of a linear map or convolution as a matrix, one row per output; norms of rows are free.  The authors'
weight is 1e-4.  `identity` uses ||W W^T - I||_F^2 instead: Brock et al. 2016 (arXiv:1609.07093), eq. 2.
"""

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn.modules.conv import _ConvNd, _ConvTransposeNd

from saddlepoint.regularizer.regularizer import Regularizer
from saddlepoint.turn import Turn, full_precision


class Orthogonal(Regularizer):
    """The sum over the linear maps and convolutions that the turn's player optimises.

    Tables of rows per class (embeddings, the gains of a conditional batch norm) have no term: the gains start as equal
    rows, which are as far from orthogonal as can be.
    """

    def __init__(self, weight: float | Callable[[int], float] = 1e-4, every: int = 1, identity: bool = False) -> None:
        super().__init__(weight, every)
        self.identity = identity

    def forward(self, turn: Turn) -> Tensor:
        """The term, a scalar; it does not depend on the samples."""
        matrices = _matrices(turn.player.network)
        if not matrices:
            return turn["real"].x.new_zeros(())
        with full_precision(matrices[0]):
            return torch.stack([self._distance(rows @ rows.T) for rows in matrices]).sum()

    def _distance(self, gram: Tensor) -> Tensor:
        target = torch.ones_like(gram.diagonal()) if self.identity else gram.diagonal()
        return (gram - target.diag()).square().sum()


def _matrices(network: nn.Module) -> list[Tensor]:
    """Return the optimised weights of linear maps and convolutions as matrices [outputs, inputs * positions]."""
    matrices = []
    for module in network.modules():
        if isinstance(module, nn.Linear | _ConvNd):
            weights = [p for p in module.parameters() if p.requires_grad and p.ndim > 1]
            output_axis = 1 if isinstance(module, _ConvTransposeNd) else 0
            matrices += [weight.transpose(0, output_axis).flatten(1) for weight in weights]
    return matrices
