"""Maxout: the maximum of k linear functions per unit.  Goodfellow et al. 2013 (arXiv:1302.4389), eq. 2.

h_i(x) = max_j (x . W_ij + b_ij),  j = 1 ... k
"""

from torch import Tensor, nn


class Maxout(nn.Module):
    """[N, features] -> [N, units]."""

    def __init__(self, features: int, units: int, pieces: int) -> None:
        super().__init__()
        self.linear = nn.Linear(features, units * pieces)
        self.units, self.pieces = units, pieces

    def forward(self, x: Tensor) -> Tensor:
        return self.linear(x).unflatten(1, (self.units, self.pieces)).amax(2)
