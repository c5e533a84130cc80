"""Density: how many of the reals' balls hold a fake, over the k that hold a real.

    1 / (k M) sum_j sum_i 1[||Y_j - X_i|| < NND_k(X_i)]        >= 0, for N reals X and M fakes Y

Naeem et al. 2020 (arXiv:2002.09797, section 3).  Fakes of the reals' own distribution reach 1 on average, whatever the
data, N and M; fakes in dense places alone go beyond.  It counts what precision only asks for, so that one real far from
the others weighs little.  N is the smaller of the two numbers; the reals are drawn by a fixed permutation.
"""

import torch
from torch import Tensor

from saddlepoint.metric.neighbour import NeighbourMetric, count_balls, neighbour_radius


def density(real: Tensor, fake: Tensor, k: int = 5, reach: Tensor | None = None) -> Tensor:
    """The density, a float64 scalar, of fake [M, d] among real [N, d]; `reach` [N] is their `radius`, where known.

    As in coverage, an exact copy is counted also where duplicates shrink a ball to a point.  ValueError if N <= k.
    """
    inside = count_balls(fake, real, neighbour_radius(real, k) if reach is None else reach, closed=False)
    return inside.to(torch.float64).mean() / k


class Density(NeighbourMetric):
    """The density of the fakes' features among the reals'."""

    score = staticmethod(density)
