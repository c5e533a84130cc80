"""Precision: the fraction of fakes that lie among the reals.

    (1 / M) sum_j 1[some X_i has ||Y_j - X_i|| <= NND_k(X_i)]        in [0, 1], for N reals X and M fakes Y

Kynkaanniemi et al. 2019 (arXiv:1904.06991, section 2, eq. 1 and 2), with N = M there.  The balls are those of N reals,
chosen by a fixed permutation; N is the smaller of the numbers of reals and fakes, and more fakes only reduce the
variance of the mean.  A fake that is far from all reals does not count.  Precision does not detect dropped modes, and a
single outlier among the reals has a ball that covers everything between it and the others (see `density`).
"""

import torch
from torch import Tensor

from saddlepoint.metric.neighbour import NeighbourMetric, count_balls, neighbour_radius


def precision(real: Tensor, fake: Tensor, k: int = 3, radius: Tensor | None = None) -> Tensor:
    """Precision of fake [M, d] against real [N, d], a float64 scalar.

    `radius` [N] is the `neighbour_radius` of the reals, computed if None.  Raises ValueError if N <= k.
    """
    counts = count_balls(fake, real, neighbour_radius(real, k) if radius is None else radius, closed=True)
    return (counts > 0).to(torch.float64).mean()


class Precision(NeighbourMetric):
    """Precision of the features of the fakes against those of the reals."""

    def __init__(self, k: int = 3, seed: int = 0) -> None:
        super().__init__(k, seed)

    score = staticmethod(precision)
