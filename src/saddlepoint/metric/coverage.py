"""Coverage: the fraction of reals that have a fake nearer than their own k-th nearest real.

    (1 / N) sum_i 1[some Y_j lies within NND_k(X_i) of X_i]        in [0, 1], for N reals X and M fakes Y

    NND_k(X_i): the distance from X_i to its k-th nearest other real

Naeem et al. 2020 (arXiv:2002.09797, section 3).  The expected coverage of fakes from the distribution of the
reals is 1 - prod_{i<=k} (N - i) / (M + N - i), whatever that is; fakes that drop modes, or repeat a few images, have
less. If there are more reals than fakes, as many reals as fakes are chosen by a fixed permutation.
"""

import torch
from torch import Tensor

from saddlepoint.metric.neighbour import NeighbourMetric, kth_nearest, neighbour_radius


def coverage(real: Tensor, fake: Tensor, k: int = 5, radius: Tensor | None = None) -> Tensor:
    """Coverage of real [N, d] by fake [M, d], a float64 scalar.

    `radius` [N] is the `neighbour_radius` of the reals, computed if None.  The ball is open, as in the authors' code,
    but a fake equal to a real always covers it, even if k duplicates make the radius 0. Raises ValueError if N <= k.
    """
    distance, _ = kth_nearest(real, fake)
    radius = neighbour_radius(real, k) if radius is None else radius
    return ((distance < radius) | (distance == 0)).to(torch.float64).mean()


class Coverage(NeighbourMetric):
    """Coverage of the features of the reals by those of the fakes."""

    score = staticmethod(coverage)
