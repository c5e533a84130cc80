"""Frechet distance between two Gaussians: ||mu1 - mu2||^2 + tr(S1) + tr(S2) - 2 tr((S1 S2)^(1/2)).

With Inception features it is the FID of Heusel et al. 2017 (arXiv:1706.08500, eq. 6); closed form: Dowson & Landau
1982.  Covariances are unbiased and all sums are float64.  With S1 = A A' and S2 = B B' the last trace is the sum of the
singular values of A'B, even if a covariance has no full rank (A by Cholesky, without jitter, or by eigenvectors).  If
both have full rank, the sum of the square roots of the eigenvalues of A' S2 A is cheaper and needs no symmetrised
product.  Each eigenvalue that is only rounding would add an error of 1e-8 of the traces, so this is not used then.
"""

from __future__ import annotations

from functools import reduce
from typing import NamedTuple

import torch
from torch import Tensor
from torchmetrics.utilities import dim_zero_cat

from saddlepoint.extractor.extractor import Features
from saddlepoint.metric.metric import Metric

BLOCK = 256  # rows of a triangular product per block
INCEPTION_DIM = 2048
MIN_SAMPLES = 10_000  # with so many features: below it, bias dominates the distance


def frechet_distance(mu1: Tensor, sigma1: Tensor, mu2: Tensor, sigma2: Tensor) -> Tensor:
    """Distance of Gaussians with means [d] and covariances [d, d], a float64 scalar >= 0.  ValueError if not finite."""
    mu1, sigma1, mu2, sigma2 = mu1.double(), sigma1.double(), mu2.double(), sigma2.double()
    if mu1.shape != mu2.shape or sigma1.shape != sigma2.shape or sigma1.shape != (len(mu1), len(mu1)):
        shapes = [tuple(value.shape) for value in (mu1, sigma1, mu2, sigma2)]
        raise ValueError(f"the Frechet distance takes means [d] and covariances [d, d] of the same d, not {shapes}")
    if not torch.cat([mu1, mu2, sigma1.flatten(), sigma2.flatten()]).isfinite().all():
        raise ValueError("the Frechet distance takes finite means and covariances, but a feature is nan or infinite")
    # a constant feature adds nothing to the trace of the root, and would make the covariances singular
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
        values = torch.linalg.eigvalsh(_congruence_lower(lower, sigma2))
        if values[0] > _rounding_error(values):
            return values.sqrt().sum()
    # a rounding error of 1e-16 becomes 1e-8 under the root, per dimension; singular values need no root but more time
    return torch.linalg.svdvals(
        (_low_rank_root(sigma1) if failed else lower).T @ (_low_rank_root(sigma2) if failed2 else lower2)
    ).sum()


def _congruence_lower(lower: Tensor, sigma: Tensor) -> Tensor:
    """Lower triangle of L' S L, which is all that eigvalsh reads.  Blocks of L take a third of the full products."""
    d, triangle = len(sigma), torch.zeros_like(sigma)
    blocks = [slice(start, min(start + BLOCK, d)) for start in range(0, d, BLOCK)]
    product = torch.cat([sigma[:, block.start :] @ lower[block.start :, block] for block in blocks], 1)
    for block in blocks:
        triangle[block, : block.stop] = lower[block.start :, block].T @ product[block.start :, : block.stop]
    return triangle


def _low_rank_root(sigma: Tensor) -> Tensor:
    """A [d, rank] with A A' = sigma."""
    values, vectors = torch.linalg.eigh(sigma)
    keep = values > _rounding_error(values)
    return vectors[:, keep] * values[keep].sqrt()


def _rounding_error(values: Tensor) -> Tensor:
    """The size below which eigenvalues [d] of a symmetric matrix may be rounding errors."""
    return values.max().clamp(min=0) * len(values) * torch.finfo(torch.float64).eps


class Moments(NamedTuple):
    """Mean [d], sum of outer products about the mean [d, d], and number of samples, all float64."""

    mean: Tensor
    product: Tensor
    number: Tensor

    @classmethod
    def from_samples(cls, x: Tensor) -> Moments:
        """Return the moments of x [n, d]."""
        mean = x.mean(0)
        return cls(mean, (x - mean).T @ (x - mean), torch.tensor(float(len(x)), dtype=x.dtype, device=x.device))

    @property
    def covariance(self) -> Tensor:
        """The unbiased covariance [d, d]."""
        return self.product / (self.number - 1)

    def merge(self, other: Moments) -> Moments:
        """Return the moments of the union of both sets: Chan, Golub & LeVeque 1979.

        Plain sums of x and x x' would give a collapsed generator a variance of 1e-16, and a distance that is 1e-8 off.
        """
        number = self.number + other.number
        shift = other.mean - self.mean
        mean = self.mean + shift * (other.number / number)
        product = self.product + other.product + torch.outer(shift, shift) * (self.number * other.number / number)
        return Moments(mean, product, number)


class FrechetDistance(Metric):
    """Frechet distance of features, computed from moments that are merged over batches and ranks."""

    has_fixed_reference = True
    higher_is_better = False

    def __init__(self) -> None:
        super().__init__()
        for side in ("real", "fake"):
            self.declare_states(*map(f"{side}_{{}}".format, Moments._fields))  # one entry per rank

    def update(self, features: Features, real: bool) -> None:
        side = "real" if real else "fake"
        moments = Moments.from_samples(features.features.to(self.device).to(torch.float64))
        for name, value in zip(
            Moments._fields, reduce(Moments.merge, [*self._moment_entries(side), moments]), strict=True
        ):
            setattr(self, f"{side}_{name}", [value.unsqueeze(0)])

    def compute(self) -> Tensor:
        """Return the distance, float64.  Raises ValueError if a side has fewer than two samples."""
        real = self._reference or self._mean_and_covariance("real")
        fake = self._mean_and_covariance("fake")
        return frechet_distance(real["mu"], real["sigma"], fake["mu"], fake["sigma"])

    def why_not(self, n_real: int, n_fake: int) -> str | None:
        return "a covariance needs at least two samples" if min(n_real, n_fake) < 2 else None

    def caution(self, n_real: int, n_fake: int, dim: int) -> str | None:
        """Which covariances lack full rank, and whether the distance is mostly bias; up to two sentences."""
        sides = {"reals": n_real, "fakes": n_fake}
        flat = [f"{n} {side} of {dim} features" for side, n in sides.items() if n <= dim]
        few = [f"{n} {side}" for side, n in sides.items() if n < MIN_SAMPLES and dim >= INCEPTION_DIM]
        rank = (
            f"rank: {' and '.join(flat)} give no covariance of full rank, and directions without samples count as if "
            f"they had no variance; compare only at equal n, measure more than {dim} samples (evaluation.n), or use "
            "metric=[kernel_distance]"
        )
        bias = (
            f"bias: with {' and '.join(few)} of {dim} features, a part of the distance that grows as 1 / n is bias; "
            f"compare only at equal n, and measure at least {MIN_SAMPLES}"
        )
        return ".\n".join([*([rank] if flat else []), *([bias] if few else [])]) or None

    def reference(self, n_fake: int) -> dict[str, Tensor]:
        """Return the mean and covariance of the reals."""
        return self._mean_and_covariance("real")

    def _moment_entries(self, side: str) -> list[Moments]:
        states = [getattr(self, f"{side}_{name}") for name in Moments._fields]
        return [Moments(*entry) for entry in zip(*map(dim_zero_cat, states), strict=True)] if len(states[0]) else []

    def _mean_and_covariance(self, side: str) -> dict[str, Tensor]:
        entries = self._moment_entries(side)
        n = sum(int(entry.number) for entry in entries)
        if n < 2:
            raise ValueError(f"a Frechet distance needs at least two {side} samples, and has {n}")
        moments = reduce(Moments.merge, entries)
        return {"mu": moments.mean, "sigma": moments.covariance}
