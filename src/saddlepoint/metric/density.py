"""Density: the mean number of balls around reals that contain a fake, divided by k.

    1 / (k M) sum_j sum_i 1[||Y_j - X_i|| < NND_k(X_i)]        >= 0, for N reals X and M fakes Y

Naeem et al. 2020 (arXiv:2002.09797, section 3).  Fakes with the distribution of the reals reach 1 on average, for any
data, N and M; fakes that lie only in dense regions exceed 1.  Density counts the balls, while precision only tests for
one, so a single outlier among the reals has little weight.  N is the smaller of the numbers of reals and fakes; the
reals are chosen by a fixed permutation.
"""

import torch
from torch import Tensor

from saddlepoint.metric.neighbour import NeighbourMetric, count_balls, neighbour_radius


def density(real: Tensor, fake: Tensor, k: int = 5, radius: Tensor | None = None) -> Tensor:
    """Density of fake [M, d] among real [N, d], a float64 scalar.

    `radius` [N] is the `neighbour_radius` of the reals, computed if None.  As in `coverage`, an exact copy always
    counts, even if duplicates shrink a ball to a point.  Raises ValueError if N <= k.
    """
    counts = count_balls(fake, real, neighbour_radius(real, k) if radius is None else radius, closed=False)
    return counts.to(torch.float64).mean() / k


class Density(NeighbourMetric):
    """Density of the features of the fakes among those of the reals."""

    score = staticmethod(density)
