"""Coverage: the part of the reals that have a fake nearer than their own k-th nearest real.

    (1 / N) sum_i 1[some Y_j lies within NND_k(X_i) of X_i]        in [0, 1], for N reals X and M fakes Y

Naeem et al. 2020 (arXiv:2002.09797, section 3).  Fakes of the reals' own distribution reach 1 - prod_{i<=k} (N - i) /
(M + N - i) on average, whatever the data; fakes that drop modes, or repeat a few images, do not.  N is the smaller of
the two numbers; the reals are drawn by a fixed permutation.
"""

import torch
from torch import Tensor

from saddlepoint.metric.neighbour import NeighbourMetric, kth_nearest, neighbour_radius


def coverage(real: Tensor, fake: Tensor, k: int = 5, reach: Tensor | None = None) -> Tensor:
    """The coverage, a float64 scalar, of real [N, d] by fake [M, d]; `reach` [N] is the reals' `radius`, where known.

    The ball is open, as in the authors' code, but an exact copy covers also where duplicates shrink a ball to a point.
    ValueError if N <= k.
    """
    distance, _ = kth_nearest(real, fake)
    return (
        ((distance < (neighbour_radius(real, k) if reach is None else reach)) | (distance == 0))
        .to(torch.float64)
        .mean()
    )


class Coverage(NeighbourMetric):
    """The coverage of the reals' features by the fakes'."""

    score = staticmethod(coverage)
