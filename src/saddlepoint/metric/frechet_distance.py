"""Frechet distance between two Gaussians: ||mu1 - mu2||^2 + tr(S1) + tr(S2) - 2 tr((S1 S2)^(1/2)).

Of Inception's features it is the FID of Heusel et al. 2017 (arXiv:1706.08500, eq. 6); in closed form, Dowson & Landau
1982.  Covariances are unbiased, all sums float64.  With S1 = A A' and S2 = B B' the last trace is the sum of the
singular values of A'B, also where a covariance has no full rank (A by Cholesky, without jitter, or by eigenvectors).
Where both have, it is cheaper as the roots of the eigenvalues of A' S2 A, and no product has to be symmetrised; that
would be wrong by 1e-8 of the traces for each eigenvalue that is rounding alone, so it is not trusted with one.
"""

from __future__ import annotations

from functools import reduce
from typing import NamedTuple

import torch
from torch import Tensor
from torchmetrics.utilities import dim_zero_cat

from saddlepoint.extractor.extractor import Features
from saddlepoint.metric.metric import Metric

BLOCK = 256  # rows of a triangular product at once
ENOUGH, MANY = 10_000, 2048  # samples for Inception's features, so many of them: below, a distance is mostly bias


def frechet_distance(mu1: Tensor, sigma1: Tensor, mu2: Tensor, sigma2: Tensor) -> Tensor:
    """The distance, a float64 scalar >= 0, of means [d] and covariances [d, d]; ValueError if they are not finite."""
    mu1, sigma1, mu2, sigma2 = mu1.double(), sigma1.double(), mu2.double(), sigma2.double()
    if mu1.shape != mu2.shape or sigma1.shape != sigma2.shape or sigma1.shape != (len(mu1), len(mu1)):
        shapes = [tuple(value.shape) for value in (mu1, sigma1, mu2, sigma2)]
        raise ValueError(f"the Frechet distance takes means [d] and covariances [d, d] of one d, not {shapes}")
    if not torch.cat([mu1, mu2, sigma1.flatten(), sigma2.flatten()]).isfinite().all():
        raise ValueError("the Frechet distance takes finite means and covariances; a feature is nan or infinite")
    # units that never fire, on one side or both, add nothing to the root and would cost the others their full rank
    alive = (sigma1.diagonal() > 0) & (sigma2.diagonal() > 0)
    root = _trace_of_root(sigma1[alive][:, alive], sigma2[alive][:, alive])
    distance = (mu1 - mu2).square().sum() + sigma1.trace() + sigma2.trace() - 2 * root
    return distance.clamp(min=0)  # rounding leaves about -1e-14 of the traces for equal Gaussians


def _trace_of_root(sigma1: Tensor, sigma2: Tensor) -> Tensor:
    """tr((S1 S2)^(1/2))."""
    if not len(sigma1):
        return sigma1.sum()
    (lower, failed), (lower2, failed2) = torch.linalg.cholesky_ex(sigma1), torch.linalg.cholesky_ex(sigma2)
    if not failed and not failed2:
        values = torch.linalg.eigvalsh(_between(lower, sigma2))
        if values[0] > _rounding(values):
            return values.sqrt().sum()
    # the root of a rounding error of 1e-16 is 1e-8, for each dimension; singular values take no root, and more time
    return torch.linalg.svdvals((_root(sigma1) if failed else lower).T @ (_root(sigma2) if failed2 else lower2)).sum()


def _between(lower: Tensor, sigma: Tensor) -> Tensor:
    """The lower triangle of L' S L, all that eigvalsh reads; by blocks of lower L, a third of the full products."""
    d, found = len(sigma), torch.zeros_like(sigma)
    blocks = [slice(start, min(start + BLOCK, d)) for start in range(0, d, BLOCK)]
    product = torch.cat([sigma[:, own.start :] @ lower[own.start :, own] for own in blocks], 1)
    for own in blocks:
        found[own, : own.stop] = lower[own.start :, own].T @ product[own.start :, : own.stop]
    return found


def _root(sigma: Tensor) -> Tensor:
    """A [d, rank] with A A' = sigma."""
    values, vectors = torch.linalg.eigh(sigma)
    keep = values > _rounding(values)
    return vectors[:, keep] * values[keep].sqrt()


def _rounding(values: Tensor) -> Tensor:
    """What of a symmetric matrix's eigenvalues [d] may be rounding."""
    return values.max().clamp(min=0) * len(values) * torch.finfo(torch.float64).eps


class Moments(NamedTuple):
    """Mean [d], sum of outer products about it [d, d], and number of some samples, in float64."""

    mean: Tensor
    product: Tensor
    number: Tensor

    @classmethod
    def from_samples(cls, x: Tensor) -> Moments:
        """The moments of x [n, d]."""
        mean = x.mean(0)
        return cls(mean, (x - mean).T @ (x - mean), torch.tensor(float(len(x)), dtype=x.dtype, device=x.device))

    @property
    def covariance(self) -> Tensor:
        """Unbiased, [d, d]."""
        return self.product / (self.number - 1)

    def merge(self, other: Moments) -> Moments:
        """The moments of both sets: Chan, Golub & LeVeque 1979.

        Plain sums of x and of x x' would leave a collapsed generator a variance of 1e-16, and a distance 1e-8 off.
        """
        number = self.number + other.number
        apart = other.mean - self.mean
        mean = self.mean + apart * (other.number / number)
        product = self.product + other.product + torch.outer(apart, apart) * (self.number * other.number / number)
        return Moments(mean, product, number)


class FrechetDistance(Metric):
    """The Frechet distance of features, from moments that join over batches and ranks."""

    has_fixed_reference = True
    higher_is_better = False

    def __init__(self) -> None:
        super().__init__()
        for side in ("real", "fake"):
            self.declare_states(*map(f"{side}_{{}}".format, Moments._fields))  # one entry per rank

    def update(self, features: Features, real: bool) -> None:
        side = "real" if real else "fake"
        moments = Moments.from_samples(features.features.to(self.device).to(torch.float64))
        for name, value in zip(Moments._fields, reduce(Moments.merge, [*self._entries(side), moments]), strict=True):
            setattr(self, f"{side}_{name}", [value.unsqueeze(0)])

    def compute(self) -> Tensor:
        """The distance, float64; ValueError for fewer than two samples on a side."""
        real = self._reference or self._gaussian("real")
        fake = self._gaussian("fake")
        return frechet_distance(real["mu"], real["sigma"], fake["mu"], fake["sigma"])

    def why_not(self, n_real: int, n_fake: int) -> str | None:
        return "a covariance takes two samples at least" if min(n_real, n_fake) < 2 else None

    def caution(self, n_real: int, n_fake: int, dim: int) -> str | None:
        """Which covariances lack full rank, and whether the distance is mostly bias, as two sentences."""
        sides = {"reals": n_real, "fakes": n_fake}
        flat = [f"{n} {side} of {dim} features" for side, n in sides.items() if n <= dim]
        few = [f"{n} {side}" for side, n in sides.items() if n < ENOUGH and dim >= MANY]
        rank = f"rank: {' and '.join(flat)} span no full covariance; measure more than {dim} samples"
        bias = (
            f"bias: with {' and '.join(few)} of {dim} features a part of the distance, growing as 1 / n, is due to "
            f"their number; compare at equal n alone, and measure {ENOUGH} at least"
        )
        return ".\n".join([*([rank] if flat else []), *([bias] if few else [])]) or None

    def reference(self, n_fake: int) -> dict[str, Tensor]:
        """Mean and covariance of the reals."""
        return self._gaussian("real")

    def _entries(self, side: str) -> list[Moments]:
        states = [getattr(self, f"{side}_{name}") for name in Moments._fields]
        return [Moments(*entry) for entry in zip(*map(dim_zero_cat, states), strict=True)] if len(states[0]) else []

    def _gaussian(self, side: str) -> dict[str, Tensor]:
        entries = self._entries(side)
        n = sum(int(entry.number) for entry in entries)
        if n < 2:
            raise ValueError(f"a Frechet distance needs two {side} samples at least, and has {n}")
        moments = reduce(Moments.merge, entries)
        return {"mu": moments.mean, "sigma": moments.covariance}
