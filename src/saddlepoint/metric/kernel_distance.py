"""Kernel distance: the unbiased squared maximum mean discrepancy under k(x, y) = (x . y / d + 1)^3.

    sum_{i != j} k(X_i, X_j) / (N (N - 1)) + sum_{i != j} k(Y_i, Y_j) / (M (M - 1)) - 2 sum_{i, j} k(X_i, Y_j) / (N M)

Of Inception's features it is the KID of Binkowski et al. 2018 (arXiv:1801.01401, section 4, eq. 4).  Its expectation is
0 for equal distributions at any number of samples, so single values fall below 0.  As in the authors' code it is the
mean over 100 subsets of 1,000 of each side, drawn without replacement, with the population standard deviation over
subsets: these overlap, so it is that of one subset's value and no error of the mean.
"""

from typing import Any

import torch
from torch import Tensor

from saddlepoint.metric.metric import FeatureMetric
from saddlepoint.stream import Stream

ROWS = 1000  # of a kernel matrix at once: 80 MB for 10,000 columns


def kernel_distance(real: Tensor, fake: Tensor) -> Tensor:
    """The distance, a float64 scalar, of real [N, d] and fake [M, d]; ValueError for fewer than two on a side."""
    n, m = len(real), len(fake)
    if min(n, m) < 2:
        raise ValueError(f"a kernel distance takes two samples of each side at least, and has {n} and {m}")
    real, fake = real.to(torch.float64), fake.to(torch.float64)
    between = kernel_sum(real, fake) / (n * m)
    return _among(real) / (n * (n - 1)) + _among(fake) / (m * (m - 1)) - 2 * between


def subset_distances(real: Tensor, fake: Tensor, size: int, subsets: int, seed: int = 0) -> Tensor:
    """The distance of each of `subsets` pairs of subsets of `size`, [subsets], float64."""
    draws = Stream(seed, "kernel distance").generator

    def subset(x: Tensor) -> Tensor:
        return x[torch.randperm(len(x), generator=draws)[:size].to(x.device)]

    return torch.stack([kernel_distance(subset(real), subset(fake)) for _ in range(subsets)])


def kernel_sum(x: Tensor, y: Tensor) -> Tensor:
    """The sum of k over all pairs of x [N, d] and y [M, d]."""
    one = torch.ones((), dtype=x.dtype, device=x.device)
    roots = (torch.addmm(one, part, y.T, alpha=1 / x.shape[1]) for part in x.split(ROWS))  # x . y / d + 1
    return torch.stack([root.pow_(3).sum() for root in roots]).sum()


def _among(x: Tensor) -> Tensor:
    """The sum of k over all pairs of different x."""
    return kernel_sum(x, x) - (x.square().mean(1) + 1).pow(3).sum()


class KernelDistance(FeatureMetric):
    """The kernel distance of features: over subsets, or of one full subset where `subset_size` is None.

    N reals, the smaller of the two numbers, are drawn by a fixed permutation, so that 60,000 need not be kept.
    """

    higher_is_better = False

    def __init__(self, subsets: int = 100, subset_size: int | None = 1000, seed: int = 0) -> None:
        super().__init__()
        self.subsets, self.subset_size, self.seed = subsets, subset_size, seed

    def compute(self) -> Tensor | tuple[Tensor, Tensor]:
        """Mean and standard deviation over subsets; of one full subset the value alone."""
        reference, fake = self.reference_and_fakes()
        real = reference["real"]
        if self.subset_size is None:
            return kernel_distance(real, fake)
        found = subset_distances(real, fake, self.subset_size, self.subsets, self.seed)
        return found.mean(), found.std(correction=0)

    def settings(self, n_real: int, n_fake: int) -> dict[str, Any]:
        n, subsets = min(n_real, n_fake), self.subsets if self.subset_size else 1
        return {"N": n, "M": n_fake, "subsets": subsets, "subset_size": self.subset_size or "all", "seed": self.seed}

    def why_not(self, n_real: int, n_fake: int) -> str | None:
        n, least = min(n_real, n_fake), self.subset_size or 2
        if n >= least:
            return None
        remedy = "" if n < 2 else " (metric.kid.subset_size=null takes all of them at once)"
        return f"subsets of {least} take as many samples, and there are {n}{remedy}"

    def reference(self, n_fake: int) -> dict[str, Tensor]:
        """The reals that are drawn."""
        real = self.all_rows("real")
        order = torch.randperm(len(real), generator=Stream(self.seed, "kernel distance/real").generator)
        return {"real": real[order[:n_fake].to(real.device)]}
