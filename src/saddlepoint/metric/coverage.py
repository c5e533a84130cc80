"""Coverage: the part of the reals that have a fake nearer than their own k-th nearest real.

    (1 / N) sum_i 1[some Y_j lies within NND_k(X_i) of X_i]        in [0, 1], for N reals X and M fakes Y

Naeem et al. 2020 (arXiv:2002.09797, section 3).  Fakes of the reals' own distribution reach 1 - prod_{i<=k} (N - i) /
(M + N - i) on average, whatever the data; fakes that drop modes, or repeat a few images, do not.  N is the smaller of
the two numbers; the reals are drawn by a fixed permutation.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torchmetrics.utilities import dim_zero_cat

from saddlepoint.metric.extractor import Features
from saddlepoint.metric.measure import Measure
from saddlepoint.stream import Stream

ROWS = 1000  # of a distance matrix at once: 80 MB for 10,000 columns


def coverage(real: Tensor, fake: Tensor, k: int = 5) -> Tensor:
    """The coverage, a float64 scalar, of real [N, d] by fake [M, d]; ValueError if N <= k."""
    return covered(real, radius(real, k), fake).to(torch.float64).mean()


def radius(real: Tensor, k: int) -> Tensor:
    """Each real's distance to its k-th nearest other real, [N], float64; ValueError if N <= k."""
    if len(real) <= k:
        raise ValueError(f"coverage with k={k} needs {k + 1} reals at least, and has {len(real)}: lower k")
    return _distance(real, real, k + 1)  # the nearest real is itself


def covered(real: Tensor, radius: Tensor, fake: Tensor) -> Tensor:
    """Whether some fake lies nearer than `radius`, [N], bool.

    The ball is open, as in the authors' code, but an exact copy covers also where duplicates shrink a ball to a point.
    """
    nearest = _distance(real, fake, 1)
    return (nearest < radius) | (nearest == 0)


def _distance(x: Tensor, y: Tensor, rank: int) -> Tensor:
    """Each x's distance to its `rank`-th nearest y, [N], float64."""
    x, y = x.to(torch.float64), y.to(torch.float64)
    shift = x.mean(0)  # the matrix product below loses the digits that the mean takes
    x, y = x - shift, y - shift
    squares = y.square().sum(1)
    found = []
    for part in x.split(ROWS):
        order = torch.addmm(squares, part, y.T, alpha=-2)  # the squared distance, but for part's own square
        index = order.argmin(1) if rank == 1 else order.kthvalue(rank, dim=1).indices
        # by difference: the product alone would not tell a copy (0) from a neighbour at 1e-8, nor decide ties alike
        found.append((part - y[index]).square().sum(1).sqrt())
    return torch.cat(found)


class Coverage(Measure):
    """The coverage of the reals' features by the fakes'."""

    higher_is_better = True

    def __init__(self, k: int = 5, seed: int = 0) -> None:
        super().__init__()
        self.k, self.seed = k, seed
        self.add_state("real", [], dist_reduce_fx="cat")
        self.add_state("fake", [], dist_reduce_fx="cat")

    def update(self, features: Features, real: bool) -> None:
        (self.real if real else self.fake).append(features.features.to(self.device))  # pyright: ignore[reportAttributeAccessIssue, reportCallIssue]

    def compute(self) -> Tensor:
        """The coverage, float64; ValueError for k reals or fewer."""
        fake = dim_zero_cat(self.fake)  # pyright: ignore[reportArgumentType]
        reference = self._reference or self.reference(len(fake))
        return covered(reference["real"], reference["radius"], fake).to(torch.float64).mean()

    def settings(self, n_real: int, n_fake: int) -> dict[str, Any]:
        return {"k": self.k, "N": min(n_real, n_fake), "M": n_fake, "seed": self.seed}

    def obstacle(self, n_real: int, n_fake: int) -> str | None:
        n = min(n_real, n_fake)
        return f"the {self.k} nearest neighbours take {self.k + 1} samples, and there are {n}" if n <= self.k else None

    def reference(self, n_fake: int) -> dict[str, Tensor]:
        """The reals that are drawn, and the radius of each."""
        real = dim_zero_cat(self.real)  # pyright: ignore[reportArgumentType]
        order = torch.randperm(len(real), generator=Stream(self.seed, "coverage").generator)
        chosen = real[order[: min(len(real), n_fake)].to(real.device)]
        return {"real": chosen, "radius": radius(chosen, self.k)}
