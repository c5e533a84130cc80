"""Nearest neighbours, the basis of precision, recall, density and coverage.

    NND_k(X_i) = distance of X_i to its k-th nearest other X        the radius of the ball around X_i

Distances are Euclidean, float64.  A matrix product orders the pairs, in blocks of rows.  Returned distances, and pairs
that the product's rounding leaves undecided, are computed by difference, so copies are at exactly 0 and ties stay ties.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from saddlepoint.metric.metric import FeatureMetric
from saddlepoint.stream import Stream

ROWS = 1000  # of a distance matrix per block: 80 MB for 10,000 columns


def kth_nearest(x: Tensor, y: Tensor, rank: int = 1) -> tuple[Tensor, Tensor]:
    """Return the distance of each x to its `rank`-th nearest y, [N] float64, and the index of that y, [N] int64."""
    x, y, shifted, centres, squares = _centre_both(x, y)
    distance, chosen = [], []
    for rows in torch.arange(len(x), device=x.device).split(ROWS):
        order = torch.addmm(squares, shifted[rows], centres.T, alpha=-2)  # squared distance without x's own square
        # topk takes a fifth of kthvalue's time
        index = order.argmin(1) if rank == 1 else order.topk(rank, dim=1, largest=False).indices[:, -1]
        distance.append(_pair_distances(x[rows], y[index]))
        chosen.append(index)
    return torch.cat(distance), torch.cat(chosen)


def neighbour_radius(x: Tensor, k: int) -> Tensor:
    """Distance of each x to its k-th nearest other x, [N], float64.  Raises ValueError if N <= k."""
    if len(x) <= k:
        raise ValueError(f"the {k} nearest neighbours need at least {k + 1} samples, and there are {len(x)}: lower k")
    return kth_nearest(x, x, k + 1)[0]  # the nearest is the sample itself


def count_balls(x: Tensor, centre: Tensor, radius: Tensor, closed: bool) -> Tensor:
    """Count the balls of `radius` [M] around `centre` [M, d] that contain each x [N, d]: [N], int64.

    The boundary belongs only to a closed ball.  The centre belongs to every ball, even of radius 0.
    """
    x, centre, shifted, centres, squares = _centre_both(x, centre)
    x_squares = shifted.square().sum(1, keepdim=True)
    # bound of the rounding error of the product
    rounding = 8 * (x.shape[1] + 4) * torch.finfo(torch.float64).eps * (x_squares + squares.max())
    bias = squares - radius.square()
    counts = []
    for rows in torch.arange(len(x), device=x.device).split(ROWS):
        margin = torch.addmm(bias, shifted[rows], centres.T, alpha=-2).add_(x_squares[rows])  # below 0 inside
        inside = margin < -rounding[rows]
        undecided = (margin <= rounding[rows]) ^ inside
        for i in undecided.any(1).nonzero().flatten():  # rare, except for ties
            j = undecided[i].nonzero().flatten()
            distance = _pair_distances(x[rows[i]], centre[j])
            inside[i, j] = (distance < radius[j]) | (distance == 0) | (closed & (distance == radius[j]))
        counts.append(inside.view(torch.uint8).sum(1, dtype=torch.int32))  # twice as fast as int64
    return torch.cat(counts).to(torch.int64)


def _centre_both(x: Tensor, y: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """Return x and y in float64, both minus the mean of x, and the squared norms [M] of the latter y."""
    x, y = x.to(torch.float64), y.to(torch.float64)
    shift = x.mean(0)  # a large mean would cost the matrix product digits
    return x, y, x - shift, y - shift, (y - shift).square().sum(1)


def _pair_distances(x: Tensor, y: Tensor) -> Tensor:
    """Distances of pairs, [n], for x and y [n, d]."""
    return (x - y).square().sum(1).sqrt()


class NeighbourMetric(FeatureMetric):
    """A metric of the neighbourhoods of reals and fakes.

    N reals, the smaller of the two numbers, are chosen by a fixed permutation, which is the same for all such metrics.
    """

    higher_is_better = True
    score: Callable[[Tensor, Tensor, int, Tensor], Tensor]  # takes reals, fakes, k and the radius of the reals

    def __init__(self, k: int = 5, seed: int = 0) -> None:
        super().__init__()
        self.k, self.seed = k, seed

    def compute(self) -> Tensor:
        """Return the score, float64.  Raises ValueError if there are k reals or fewer."""
        reference, fake = self.reference_and_fakes()
        return self.score(reference["real"], fake, self.k, reference["radius"])

    def settings(self, n_real: int, n_fake: int) -> dict[str, Any]:
        return {"k": self.k, "N": min(n_real, n_fake), "M": n_fake, "seed": self.seed}

    def why_not(self, n_real: int, n_fake: int) -> str | None:
        n = min(n_real, n_fake)
        return f"the {self.k} nearest neighbours need {self.k + 1} samples, and there are {n}" if n <= self.k else None

    def reference(self, n_fake: int) -> dict[str, Tensor]:
        """Return the chosen reals and the radius of each."""
        chosen = self.draw_fixed(self.all_rows("real"), n_fake)
        return {"real": chosen, "radius": neighbour_radius(chosen, self.k)}

    def draw_fixed(self, x: Tensor, n: int) -> Tensor:
        """Return n of x [N, ...], or all if N < n, chosen by the fixed permutation."""
        # the stream has the name of the first of these metrics: another name would change all their scores
        order = torch.randperm(len(x), generator=Stream(self.seed, "coverage").generator)
        return x[order[:n].to(x.device)]
