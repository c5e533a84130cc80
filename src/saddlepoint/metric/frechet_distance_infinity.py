"""Frechet distance extrapolated to endless fakes: F(N) = F(inf) + b / N, fitted over subsets of the fakes.

Chong & Forsyth 2020 (arXiv:1911.07023, section 4): the bias of the distance is linear in 1 / N to first order, with a
slope b that differs from generator to generator, so that two generators at one N are not ranked by their distance
alone.  As in the paper: 15 sizes, evenly spaced from 5,000 to the number of fakes, a random subset of each without
replacement, least squares, the value at 1 / N = 0.  Unlike it, the fakes' latents are ordinary draws and no Sobol
sequence: a folder has none.

The line bends where N comes near the number of features d: of round Gaussians the intercept is 4% of the trace too low
with subsets of d to 2 d samples, and 0.5% with 2 d to 4 d (measured at d = 64).  What stays besides is the
bias of the reals' own number, and the scatter of one set of fakes: the standard error is that of the fitted intercept,
from the scatter about the line, and as the subsets share fakes it is no error over fresh generations.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import reduce
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torchmetrics.utilities import dim_zero_cat

from saddlepoint.metric.extractor import Features
from saddlepoint.metric.frechet_distance import FrechetDistance, Moments, frechet_distance
from saddlepoint.metric.measure import Result
from saddlepoint.stream import Stream

PAPER = 5000  # its smallest subset
ROWS = 5000  # brought to float64 at once: 80 MB for 2048 features


class Line(NamedTuple):
    """A fitted y = intercept + slope x."""

    intercept: float
    slope: float
    error: float  # standard error of the intercept


def line(x: Tensor, y: Tensor) -> Line:
    """The least-squares line through points x [n], y [n], float64; ValueError for fewer than three x that differ."""
    x, y = x.to(torch.float64), y.to(torch.float64)
    if len(x.unique()) < 3:
        raise ValueError("a line and the scatter about it take three different x at least")
    spread = (x - x.mean()).square().sum()
    slope = ((x - x.mean()) * (y - y.mean())).sum() / spread
    intercept = y.mean() - slope * x.mean()
    scatter = (y - intercept - slope * x).square().sum() / (len(x) - 2)
    error = (scatter * (1 / len(x) + x.mean().square() / spread)).sqrt()
    return Line(intercept.item(), slope.item(), error.item())


def sizes(n: int, points: int = 15, least: int | None = None) -> list[int]:
    """`points` sizes of subsets of n samples, evenly spaced from `least` to n, ascending.

    None: from 5,000; from half of fewer than 10,000, and from a tenth of more than 50,000.
    """
    first = max(2, n // 10, min(PAPER, n // 2)) if least is None else least
    return [first + (n - first) * i // (points - 1) for i in range(points)]


def frechet_distance_infinity(
    mu: Tensor, sigma: Tensor, fake: Tensor, points: int = 15, least: int | None = None, seed: int = 0
) -> Result:
    """The extrapolated distance of fake [n, d] from the Gaussian of mu [d], sigma [d, d]; std: the intercept's error.

    It may be negative, where the truth is near 0.  ValueError for fewer than three different sizes.
    """
    found = []
    for size in (counts := sizes(len(fake), points, least)):
        index = torch.randperm(len(fake), generator=Stream(seed, f"frechet_distance_infinity/{size}").generator)
        chosen = index[:size].to(fake.device)
        moments = reduce(Moments.join, (Moments.of(fake[part].to(torch.float64)) for part in chosen.split(ROWS)))
        found.append(frechet_distance(mu, sigma, moments.mean, moments.product / (size - 1)).item())
    fit = line(1 / torch.tensor(counts, dtype=torch.float64), torch.tensor(found, dtype=torch.float64))
    return Result(fit.intercept, fit.error, {"sizes": counts, "distances": found, "slope": fit.slope})


class FrechetDistanceInfinity(FrechetDistance):
    """The Frechet distance of features, extrapolated in the number of fakes, all of which are kept."""

    def __init__(self, points: int = 15, least: int | None = None, seed: int = 0) -> None:
        super().__init__()
        if points < 3 or (least is not None and least < 2):
            raise ValueError(f"a line takes 3 points and subsets of 2 fakes at least: points={points}, least={least}")
        self.points, self.least, self.seed = points, least, seed
        self.add_state("fake", [], dist_reduce_fx="cat")

    def update(self, features: Features, real: bool) -> None:
        if real:
            super().update(features, real)
        else:
            self.fake.append(features.features.to(self.device))  # pyright: ignore[reportAttributeAccessIssue, reportCallIssue]

    def compute(self) -> Result:  # pyright: ignore[reportIncompatibleMethodOverride]
        """The extrapolated distance, the standard error of the fit, and the points that were fitted."""
        real = self._reference or self.reference(0)
        fake: Sequence[Tensor] = self.fake  # pyright: ignore[reportAssignmentType]
        joined = dim_zero_cat(fake)  # pyright: ignore[reportArgumentType]
        return frechet_distance_infinity(real["mu"], real["sigma"], joined, self.points, self.least, self.seed)

    def settings(self, n_real: int, n_fake: int) -> dict[str, Any]:
        return {"points": self.points, "least": sizes(n_fake, self.points, self.least)[0], "seed": self.seed}

    def obstacle(self, n_real: int, n_fake: int) -> str | None:
        first = sizes(n_fake, self.points, self.least)[0]
        if n_fake - first < self.points - 1:
            return f"there are not {self.points} sizes of subsets between {first} and {n_fake} fakes"
        return super().obstacle(n_real, n_fake)

    def caution(self, n_real: int, n_fake: int, dim: int) -> str | None:
        first = sizes(n_fake, self.points, self.least)[0]
        if first >= 2 * dim:
            return None
        return (
            f"its smallest subset has {first} fakes, less than two for each of {dim} features, and the line in 1/N "
            f"bends there: too low a value. Raise evaluation.n to {4 * dim}, or metric.fid_infinity.least to {2 * dim}"
        )
