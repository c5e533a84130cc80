"""Kernel distance: the unbiased squared maximum mean discrepancy under k(x, y) = (x . y / d + 1)^3.

    sum_{i != j} k(X_i, X_j) / (N (N - 1)) + sum_{i != j} k(Y_i, Y_j) / (M (M - 1)) - 2 sum_{i, j} k(X_i, Y_j) / (N M)

With Inception features it is the KID of Binkowski et al. 2018 (arXiv:1801.01401, section 4, eq. 4).  Its expectation is
0 for equal distributions at any number of samples, so single values can be negative.  As in the authors' code it is the
mean over 100 subsets of 1,000 samples of each side, drawn without replacement, with the population standard deviation
over subsets.  Subsets overlap, so this is the deviation of one subset's value and not the error of the mean.
"""

from typing import Any

import torch
from torch import Tensor

from saddlepoint.metric.metric import FeatureMetric
from saddlepoint.stream import Stream

ROWS = 1000  # of a kernel matrix per block: 80 MB for 10,000 columns


def kernel_distance(real: Tensor, fake: Tensor) -> Tensor:
    """Kernel distance of real [N, d] and fake [M, d], a float64 scalar.  Raises ValueError if N or M is below two."""
    n, m = len(real), len(fake)
    if min(n, m) < 2:
        raise ValueError(f"a kernel distance needs at least two samples of each side, and has {n} and {m}")
    real, fake = real.to(torch.float64), fake.to(torch.float64)
    between = kernel_sum(real, fake) / (n * m)
    return _off_diagonal_sum(real) / (n * (n - 1)) + _off_diagonal_sum(fake) / (m * (m - 1)) - 2 * between


def subset_distances(real: Tensor, fake: Tensor, size: int, subsets: int, seed: int = 0) -> Tensor:
    """Kernel distances of `subsets` random pairs of subsets of `size`, [subsets], float64."""
    draws = Stream(seed, "kernel distance").generator

    def subset(x: Tensor) -> Tensor:
        return x[torch.randperm(len(x), generator=draws)[:size].to(x.device)]

    return torch.stack([kernel_distance(subset(real), subset(fake)) for _ in range(subsets)])


def kernel_sum(x: Tensor, y: Tensor) -> Tensor:
    """Sum of k over all pairs of x [N, d] and y [M, d]."""
    one = torch.ones((), dtype=x.dtype, device=x.device)
    roots = (torch.addmm(one, rows, y.T, alpha=1 / x.shape[1]) for rows in x.split(ROWS))  # x . y / d + 1
    return torch.stack([root.pow_(3).sum() for root in roots]).sum()


def _off_diagonal_sum(x: Tensor) -> Tensor:
    """Sum of k over all pairs of different rows of x."""
    return kernel_sum(x, x) - (x.square().mean(1) + 1).pow(3).sum()


class KernelDistance(FeatureMetric):
    """Kernel distance of features, over subsets, or over all samples at once if `subset_size` is None.

    N reals, the smaller of the two numbers, are chosen by a fixed permutation, so that 60,000 need not be kept.
    """

    higher_is_better = False

    def __init__(self, subsets: int = 100, subset_size: int | None = 1000, seed: int = 0) -> None:
        super().__init__()
        self.subsets, self.subset_size, self.seed = subsets, subset_size, seed

    def compute(self) -> Tensor | tuple[Tensor, Tensor]:
        """Return the mean and standard deviation over subsets, or the value alone if `subset_size` is None."""
        reference, fake = self.reference_and_fakes()
        real = reference["real"]
        if self.subset_size is None:
            return kernel_distance(real, fake)
        distances = subset_distances(real, fake, self.subset_size, self.subsets, self.seed)
        return distances.mean(), distances.std(correction=0)

    def settings(self, n_real: int, n_fake: int) -> dict[str, Any]:
        n, subsets = min(n_real, n_fake), self.subsets if self.subset_size else 1
        return {"N": n, "M": n_fake, "subsets": subsets, "subset_size": self.subset_size or "all", "seed": self.seed}

    def why_not(self, n_real: int, n_fake: int) -> str | None:
        n, least = min(n_real, n_fake), self.subset_size or 2
        if n >= least:
            return None
        remedy = "" if n < 2 else " (metric.kid.subset_size=null takes all samples at once)"
        return f"subsets of {least} need {least} samples, and there are {n}{remedy}"

    def reference(self, n_fake: int) -> dict[str, Tensor]:
        """Return the chosen reals."""
        real = self.all_rows("real")
        order = torch.randperm(len(real), generator=Stream(self.seed, "kernel distance/real").generator)
        return {"real": real[order[:n_fake].to(real.device)]}
