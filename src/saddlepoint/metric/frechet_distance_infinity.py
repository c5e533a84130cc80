"""Frechet distance extrapolated to infinitely many fakes: F(N) = F(inf) + b / N, fitted over subsets of the fakes.

Chong & Forsyth 2020 (arXiv:1911.07023, section 4): the bias of the distance is linear in 1 / N to first order, with a
slope b that differs between generators, so the distances at one N do not rank two generators.  As in the paper: 15
sizes, evenly spaced from 5,000 to the number of fakes, one random subset of each size without replacement, a least
squares fit, and its value at 1 / N = 0.  Unlike in the paper, latents are ordinary draws and not a Sobol sequence,
because samples in a folder have no latents.

F is not linear in 1 / N if N is close to the number of features d: for isotropic Gaussians the intercept is 4% of the
trace too low with subsets of d to 2 d samples, and 0.5% too low with 2 d to 4 d (measured at d = 64).  The bias due to
the number of reals remains.

The standard error is over new sets of as many fakes.  The scatter about the line does not give it: the subsets share
fakes, so their distances are correlated, and an interval of 1.96 such errors contained the true value in 72% to 83% of
150 to 300 sets instead of 95%.  Instead it uses the influence of each fake on the distance (Hampel 1974, JASA 69 (346);
the infinitesimal jackknife, Jaeckel 1972, Bell Labs memorandum 72-1215-11),

    psi(x) = 2 (m - mu)'(x - m) + (x - m)'(I - T)(x - m) - its mean
    T      = S^(-1/2) (S^(1/2) Sigma S^(1/2))^(1/2) S^(-1/2)

for fakes with mean m and covariance S and reals with mu and Sigma, and the weight c of the fake in the intercept: the
sum, over the subsets that contain it, of the subset's weight in the fit divided by its size.  The error is
sqrt(mean(psi^2) sum(c^2)); 1.96 of it contained the true value in 94% to 99% of those sets
(tests/metric/test_frechet_distance_infinity.py).
"""

from functools import reduce
from typing import Any

import torch
from scipy.stats import linregress
from torch import Tensor

from saddlepoint.extractor.extractor import Features
from saddlepoint.metric.frechet_distance import FrechetDistance, Moments, frechet_distance
from saddlepoint.metric.metric import Result
from saddlepoint.stream import Stream

PAPER_MIN_SIZE = 5000  # smallest subset of the paper
ROWS = 5000  # converted to float64 at once: 80 MB for 2048 features


def subset_sizes(n: int, points: int = 15, least: int | None = None) -> list[int]:
    """Return `points` sizes of subsets of n samples, evenly spaced from `least` to n, ascending.

    `least` None: 5,000, but n / 2 if n < 10,000, and n / 10 if n > 50,000.
    """
    first = max(2, n // 10, min(PAPER_MIN_SIZE, n // 2)) if least is None else least
    return [first + (n - first) * i // (points - 1) for i in range(points)]


def frechet_distance_infinity(
    mu: Tensor, sigma: Tensor, fake: Tensor, points: int = 15, least: int | None = None, seed: int = 0
) -> Result:
    """Extrapolated distance of fake [n, d] from the Gaussian of mu [d], sigma [d, d].

    `std` of the result is the standard error over new sets of n fakes.  The distance may be negative if the true value
    is close to 0.  Raises ValueError if there are fewer than three different sizes.
    """
    distances = []
    counts = subset_sizes(len(fake), points, least)
    if len(set(counts)) < 3:
        raise ValueError(f"a line needs subsets of at least three different sizes, and these are {counts}")
    inverse = 1 / torch.tensor(counts, dtype=torch.float64)
    share = torch.zeros(len(fake), dtype=torch.float64, device=fake.device)
    centred = inverse - inverse.mean()
    weights = 1 / points - inverse.mean() * centred / centred.square().sum()  # of each distance in the intercept
    for size, weight in zip(counts, weights.tolist(), strict=True):
        index = torch.randperm(len(fake), generator=Stream(seed, f"frechet_distance_infinity/{size}").generator)
        chosen = index[:size].to(fake.device)
        moments = _subset_moments(fake, chosen)
        distances.append(frechet_distance(mu, sigma, moments.mean, moments.covariance).item())
        share[chosen] += weight / size
    fit: Any = linregress(inverse.numpy(), distances)
    psi = influence(mu.to(torch.float64), sigma.to(torch.float64), fake)
    error = (psi.square().mean() * share.square().sum()).sqrt().item()
    return Result(float(fit.intercept), error, {"sizes": counts, "distances": distances, "slope": float(fit.slope)})


def influence(mu: Tensor, sigma: Tensor, fake: Tensor) -> Tensor:
    """Influence of each fake [n, d] on the distance from the Gaussian of mu [d], sigma [d, d]: psi [n], of mean 0.

    mu and sigma are float64.  A direction in which the fakes have no variance counts as if the reals had none either.
    """
    moments = _subset_moments(fake, torch.arange(len(fake), device=fake.device))
    mean = moments.mean
    root, inverse = _root_and_pseudo_inverse(moments.covariance)
    middle, _ = _root_and_pseudo_inverse(root @ sigma @ root)
    curved = torch.eye(len(mean), dtype=mean.dtype, device=mean.device) - inverse @ middle @ inverse
    chunks = []
    for rows in fake.split(ROWS):
        centred = rows.to(torch.float64) - mean
        chunks.append(2 * centred @ (mean - mu) + ((centred @ curved) * centred).sum(1))
    psi = torch.cat(chunks)
    return psi - psi.mean()


def _subset_moments(fake: Tensor, chosen: Tensor) -> Moments:
    return reduce(Moments.merge, (Moments.from_samples(fake[rows].to(torch.float64)) for rows in chosen.split(ROWS)))


def _root_and_pseudo_inverse(sigma: Tensor) -> tuple[Tensor, Tensor]:
    """Return the symmetric square root of a covariance and its pseudo-inverse."""
    values, vectors = torch.linalg.eigh(sigma)
    alive = values > values[-1].clamp(min=0) * len(values) * torch.finfo(values.dtype).eps
    root = torch.where(alive, values, 0).sqrt()
    return (vectors * root) @ vectors.T, (vectors * torch.where(alive, 1 / root, 0)) @ vectors.T


class FrechetDistanceInfinity(FrechetDistance):
    """Frechet distance of features, extrapolated in the number of fakes.  Keeps the features of all fakes."""

    def __init__(self, points: int = 15, least: int | None = None, seed: int = 0) -> None:
        super().__init__()
        if points < 3 or (least is not None and least < 2):
            raise ValueError(f"a line needs at least 3 points and subsets of 2 fakes: points={points}, least={least}")
        self.points, self.least, self.seed = points, least, seed
        self.declare_states("fake")

    def update(self, features: Features, real: bool) -> None:
        if real:
            super().update(features, real)
        else:
            self.append_rows("fake", features.features)

    def compute(self) -> Result:  # pyright: ignore[reportIncompatibleMethodOverride]
        """Return the extrapolated distance, its standard error, and the fitted points."""
        real = self._reference or self.reference(0)
        fake = self.all_rows("fake")
        return frechet_distance_infinity(real["mu"], real["sigma"], fake, self.points, self.least, self.seed)

    def settings(self, n_real: int, n_fake: int) -> dict[str, Any]:
        return {"points": self.points, "least": subset_sizes(n_fake, self.points, self.least)[0], "seed": self.seed}

    def why_not(self, n_real: int, n_fake: int) -> str | None:
        first = subset_sizes(n_fake, self.points, self.least)[0]
        if n_fake - first < self.points - 1:
            return f"there are not {self.points} sizes of subsets between {first} and {n_fake} fakes"
        return super().why_not(n_real, n_fake)

    def caution(self, n_real: int, n_fake: int, dim: int) -> str | None:
        first = subset_sizes(n_fake, self.points, self.least)[0]
        if first >= 2 * dim:
            return None
        return (
            f"its smallest subset has {first} fakes, fewer than two per feature of {dim}; the distance is not linear "
            f"in 1/N then, but too low. Raise evaluation.n to {4 * dim}, or metric.fid_infinity.least to {2 * dim}"
        )
