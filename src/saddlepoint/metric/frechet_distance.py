"""Frechet distance between two Gaussians: ||mu1 - mu2||^2 + tr(S1) + tr(S2) - 2 tr((S1 S2)^(1/2)).

Of Inception's features it is the FID of Heusel et al. 2017 (arXiv:1706.08500, eq. 6); in closed form, Dowson & Landau
1982.  Covariances are unbiased, all sums float64.  With S1 = A A' and S2 = B B' the last trace is the sum of the
singular values of A'B, also where a covariance has no full rank; with Cholesky's A it is cheaper as the roots of the
eigenvalues of A' S2 A, and no product has to be symmetrised.
"""

from __future__ import annotations

from functools import reduce
from typing import NamedTuple

import torch
from torch import Tensor
from torchmetrics.utilities import dim_zero_cat

from saddlepoint.metric.extractor import Features
from saddlepoint.metric.measure import Measure


def frechet_distance(mu1: Tensor, sigma1: Tensor, mu2: Tensor, sigma2: Tensor) -> Tensor:
    """The distance, a float64 scalar >= 0, of means [d] and covariances [d, d]; ValueError if they are not finite."""
    mu1, sigma1, mu2, sigma2 = (value.to(torch.float64) for value in (mu1, sigma1, mu2, sigma2))
    if mu1.shape != mu2.shape or sigma1.shape != sigma2.shape or sigma1.shape != (len(mu1), len(mu1)):
        shapes = [tuple(value.shape) for value in (mu1, sigma1, mu2, sigma2)]
        raise ValueError(f"the Frechet distance takes means [d] and covariances [d, d] of one d, not {shapes}")
    if not all(bool(value.isfinite().all()) for value in (mu1, sigma1, mu2, sigma2)):
        raise ValueError("the Frechet distance takes finite means and covariances; a feature is nan or infinite")
    # units that never fire, on one side or both, add nothing to the root and would cost the others their full rank
    alive = (sigma1.diagonal() > 0) & (sigma2.diagonal() > 0)
    root = _trace_of_root(sigma1[alive][:, alive], sigma2[alive][:, alive])
    distance = (mu1 - mu2).square().sum() + sigma1.trace() + sigma2.trace() - 2 * root
    return distance.clamp(min=0)  # rounding leaves about -1e-14 of the traces for equal Gaussians


def _trace_of_root(sigma1: Tensor, sigma2: Tensor) -> Tensor:
    """tr((S1 S2)^(1/2))."""
    lower, failed = torch.linalg.cholesky_ex(sigma1)
    _, failed2 = torch.linalg.cholesky_ex(sigma2)
    if not failed and not failed2:
        return torch.linalg.eigvalsh(lower.T @ sigma2 @ lower).clamp(min=0).sqrt().sum()
    # the root of a rounding error of 1e-16 would be 1e-8: singular values take no root
    return torch.linalg.svdvals(_root(sigma1).T @ _root(sigma2)).sum()


def _root(sigma: Tensor) -> Tensor:
    """A [d, rank] with A A' = sigma."""
    values, vectors = torch.linalg.eigh(sigma)
    keep = values > values.max().clamp(min=0) * len(sigma) * torch.finfo(torch.float64).eps
    return vectors[:, keep] * values[keep].sqrt()


class Moments(NamedTuple):
    """Mean [d], sum of outer products about it [d, d], and number of some samples, in float64."""

    mean: Tensor
    product: Tensor
    number: Tensor

    @classmethod
    def of(cls, x: Tensor) -> Moments:
        """The moments of x [n, d]."""
        mean = x.mean(0)
        return cls(mean, (x - mean).T @ (x - mean), torch.tensor(float(len(x)), dtype=x.dtype, device=x.device))

    def join(self, other: Moments) -> Moments:
        """The moments of both sets: Chan, Golub & LeVeque 1979.

        Plain sums of x and of x x' would leave a collapsed generator a variance of 1e-16, and a distance 1e-8 off.
        """
        number = self.number + other.number
        apart = other.mean - self.mean
        mean = self.mean + apart * (other.number / number)
        product = self.product + other.product + torch.outer(apart, apart) * (self.number * other.number / number)
        return Moments(mean, product, number)


class FrechetDistance(Measure):
    """The Frechet distance of features, from moments that join over batches and ranks."""

    higher_is_better = False

    def __init__(self) -> None:
        super().__init__()
        for side in ("real", "fake"):
            for name in Moments._fields:
                self.add_state(f"{side}_{name}", [], dist_reduce_fx="cat")  # one entry per rank

    def update(self, features: Features, real: bool) -> None:
        side = "real" if real else "fake"
        moments = Moments.of(features.features.to(self.device).to(torch.float64))
        for name, value in zip(Moments._fields, reduce(Moments.join, [*self._entries(side), moments]), strict=True):
            setattr(self, f"{side}_{name}", [value.unsqueeze(0)])

    def compute(self) -> Tensor:
        """The distance, float64; ValueError for fewer than two samples on a side."""
        real = self._reference or self._gaussian("real")
        fake = self._gaussian("fake")
        return frechet_distance(real["mu"], real["sigma"], fake["mu"], fake["sigma"])

    def obstacle(self, n_real: int, n_fake: int) -> str | None:
        return "a covariance takes two samples at least" if min(n_real, n_fake) < 2 else None

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
        moments = reduce(Moments.join, entries)
        return {"mu": moments.mean, "sigma": moments.product / (n - 1)}
