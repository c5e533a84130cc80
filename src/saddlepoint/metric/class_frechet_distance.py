"""Frechet distance of each class apart, at equal n: which classes a model makes badly.

    max_c F(n reals of class c, n fakes of class c)        beside the mean over c, and what reals reach against reals

F is `frechet_distance`'s.  Its bias falls with n and is large where n is small against the number of features d: with
n <= d no covariance has full rank, and two sets of reals are far apart too.  So each class stands beside its floor, the
mean of F between disjoint sets of n reals of the class, and the maximum beside its null distribution (`grouping`).

A class of fewer than n fakes has no distance.  It must not leave the maximum better for being gone: `missing` counts
such classes, and where there is one there is neither a mean nor a maximum.

Price: one F per class, and R more for the reference, which is cached.  On one thread, for 10 classes at n = 500 and
R = 20, the reference takes 1.5 s of 128 features and 19 s of 2048, each evaluation 0.1 s and 1 s.
"""

import torch
from torch import Tensor

from saddlepoint.extractor.data_like import DataLike
from saddlepoint.metric.frechet_distance import Moments, frechet_distance
from saddlepoint.metric.metric import Result
from saddlepoint.metric.per_class import PerClassMetric


def sample_frechet_distance(real: Tensor, fake: Tensor) -> Tensor:
    """The Frechet distance of the samples' Gaussians, a float64 scalar, real [n, d], fake [m, d]; n, m >= 2."""
    real, fake = real.to(torch.float64), fake.to(torch.float64)
    if max(len(real), len(fake)) > real.shape[1]:
        one, two = Moments.from_samples(real), Moments.from_samples(fake)
        return frechet_distance(one.mean, one.covariance, two.mean, two.covariance)
    # no covariance [d, d] is made: with S1 = A'A and S2 = B'B the root's trace is the sum of A B''s singular values
    a, b = ((x - x.mean(0)) / (len(x) - 1) ** 0.5 for x in (real, fake))
    traces = a.square().sum() + b.square().sum()
    distance = (real.mean(0) - fake.mean(0)).square().sum() + traces - 2 * torch.linalg.svdvals(a @ b.T).sum()
    return distance.clamp(min=0)


class ClassFrechetDistance(PerClassMetric):
    """The mean and the maximum over classes of their Frechet distances, and how many classes have none."""

    higher_is_better = False
    _classes: int | None = None  # of the data, once they are met

    def statistic(self, real: Tensor, fake: Tensor) -> Tensor:
        return (
            sample_frechet_distance(real, fake)
            if len(fake) == len(real)
            else torch.tensor(torch.nan, dtype=torch.float64)
        )

    def compute(self) -> dict[str, Result]:
        """mean and max, where no class is missing, and missing: the number of classes with fewer than n fakes."""
        value, reference, fakes = self.class_values()
        if not len(value):
            return {}
        detail = self.class_table(value, reference, fakes)
        gone = value.isnan().sum()
        missing = {"missing": Result(gone, detail={} if gone == 0 else detail)}
        return missing if gone else self.mean_and_worst(value, reference, detail) | missing

    def directions(self) -> dict[str, bool]:
        return {"mean": False, "max": False, "missing": False}

    def caution(self, n_real: int, n_fake: int, dim: int) -> str | None:
        n = self.max_samples_per_class(n_real, n_fake, self._classes or 1)
        n = n if self.n_per_class is None else min(n, self.n_per_class)
        if n > dim:
            return None
        return f"a class has {n} samples at most, and {dim} features: its distance is mostly bias, so mind its floor"

    def setup(self, data: DataLike) -> str | None:
        self._classes = data.classes
        return super().setup(data)
