"""Precision: the part of the fakes that lie among the reals.

    (1 / M) sum_j 1[some X_i has ||Y_j - X_i|| <= NND_k(X_i)]        in [0, 1], for N reals X and M fakes Y

Kynkaanniemi et al. 2019 (arXiv:1904.06991, section 2, eq. 1 and 2), where N = M.  The balls are N reals', the smaller
of the two numbers, drawn by a fixed permutation; further fakes only make the mean steadier.  No fake far from all reals
counts, however many: it sees no dropped mode, and one real far from the others covers what lies between (see density).
"""

import torch
from torch import Tensor

from saddlepoint.metric.neighbour import NeighbourMetric, count_balls, neighbour_radius


def precision(real: Tensor, fake: Tensor, k: int = 3, reach: Tensor | None = None) -> Tensor:
    """The precision, a float64 scalar, of fake [M, d] against real [N, d]; `reach` [N] is their `radius`, where known.

    ValueError if N <= k.
    """
    inside = count_balls(fake, real, neighbour_radius(real, k) if reach is None else reach, closed=True)
    return (inside > 0).to(torch.float64).mean()


class Precision(NeighbourMetric):
    """The precision of the fakes' features against the reals'."""

    def __init__(self, k: int = 3, seed: int = 0) -> None:
        super().__init__(k, seed)

    score = staticmethod(precision)
