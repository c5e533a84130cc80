"""Nearest neighbours: what precision, recall, density and coverage stand on.

    NND_k(X_i) = distance of X_i to its k-th nearest other X        the radius of the ball around X_i

Distances are Euclidean, float64.  A matrix product orders the pairs, in blocks of rows; what is returned, and every
pair that its rounding leaves undecided, is taken by difference, so that a copy is at exactly 0 and a tie is a tie.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from saddlepoint.metric.metric import FeatureMetric
from saddlepoint.stream import Stream

ROWS = 1000  # of a distance matrix at once: 80 MB for 10,000 columns


def kth_nearest(x: Tensor, y: Tensor, rank: int = 1) -> tuple[Tensor, Tensor]:
    """Each x's distance to its `rank`-th nearest y, [N] float64, and which y that is, [N] int64."""
    x, y, shifted, centres, squares = _prepared(x, y)
    distance, chosen = [], []
    for part in torch.arange(len(x), device=x.device).split(ROWS):
        order = torch.addmm(squares, shifted[part], centres.T, alpha=-2)  # the squared distance, but for x's own square
        # topk takes a fifth of kthvalue's time
        index = order.argmin(1) if rank == 1 else order.topk(rank, dim=1, largest=False).indices[:, -1]
        distance.append(_distance(x[part], y[index]))
        chosen.append(index)
    return torch.cat(distance), torch.cat(chosen)


def neighbour_radius(x: Tensor, k: int) -> Tensor:
    """Each x's distance to its k-th nearest other, [N], float64; ValueError if N <= k."""
    if len(x) <= k:
        raise ValueError(f"the {k} nearest neighbours take {k + 1} samples at least, and there are {len(x)}: lower k")
    return kth_nearest(x, x, k + 1)[0]  # the nearest is the sample itself


def count_balls(x: Tensor, centre: Tensor, radius: Tensor, closed: bool) -> Tensor:
    """How many of the balls of `radius` [M] around `centre` [M, d] hold each x [N, d], [N], int64.

    The edge belongs to a closed ball only; the centre belongs to every ball, also to one that is a point.
    """
    x, centre, shifted, centres, squares = _prepared(x, centre)
    own = shifted.square().sum(1, keepdim=True)
    # what the product may be wrong by, beside the squares of its factors
    rounding = 8 * (x.shape[1] + 4) * torch.finfo(torch.float64).eps * (own + squares.max())
    bias = squares - radius.square()
    found = []
    for part in torch.arange(len(x), device=x.device).split(ROWS):
        margin = torch.addmm(bias, shifted[part], centres.T, alpha=-2).add_(own[part])  # below 0 inside
        inside = margin < -rounding[part]
        open_question = (margin <= rounding[part]) ^ inside
        for i in open_question.any(1).nonzero().flatten():  # seldom, but for ties
            j = open_question[i].nonzero().flatten()
            distance = _distance(x[part[i]], centre[j])
            inside[i, j] = (distance < radius[j]) | (distance == 0) | (closed & (distance == radius[j]))
        found.append(inside.view(torch.uint8).sum(1, dtype=torch.int32))  # twice as fast as int64
    return torch.cat(found).to(torch.int64)


def _prepared(x: Tensor, y: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """x and y in float64, both less the mean of x, and the squares of the latter y, [M]."""
    x, y = x.to(torch.float64), y.to(torch.float64)
    shift = x.mean(0)  # the matrix product loses the digits that the mean takes
    return x, y, x - shift, y - shift, (y - shift).square().sum(1)


def _distance(x: Tensor, y: Tensor) -> Tensor:
    """The distances of pairs, [n], for x and y [n, d]."""
    return (x - y).square().sum(1).sqrt()


class NeighbourMetric(FeatureMetric):
    """A metric of reals and fakes as they neighbour each other; N reals, the smaller of the two numbers, are drawn.

    They are drawn by a fixed permutation, the same for every metric of this kind.
    """

    higher_is_better = True
    score: Callable[[Tensor, Tensor, int, Tensor], Tensor]  # of real, fake, k and the reals' radius

    def __init__(self, k: int = 5, seed: int = 0) -> None:
        super().__init__()
        self.k, self.seed = k, seed

    def compute(self) -> Tensor:
        """The score, float64; ValueError for k reals or fewer."""
        reference, fake = self.reference_and_fakes()
        return self.score(reference["real"], fake, self.k, reference["radius"])

    def settings(self, n_real: int, n_fake: int) -> dict[str, Any]:
        return {"k": self.k, "N": min(n_real, n_fake), "M": n_fake, "seed": self.seed}

    def why_not(self, n_real: int, n_fake: int) -> str | None:
        n = min(n_real, n_fake)
        return f"the {self.k} nearest neighbours take {self.k + 1} samples, and there are {n}" if n <= self.k else None

    def reference(self, n_fake: int) -> dict[str, Tensor]:
        """The reals that are drawn, and the radius of each."""
        chosen = self.draw_fixed(self.all_rows("real"), n_fake)
        return {"real": chosen, "radius": neighbour_radius(chosen, self.k)}

    def draw_fixed(self, x: Tensor, n: int) -> Tensor:
        """n of x [N, ...], or all of them, by the fixed permutation."""
        # the stream is named for the oldest of these metrics: another name would move its scores
        order = torch.randperm(len(x), generator=Stream(self.seed, "coverage").generator)
        return x[order[:n].to(x.device)]
