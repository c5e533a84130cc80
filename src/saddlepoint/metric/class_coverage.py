"""Coverage of each class, computed separately at equal n: shows in which classes a model covers only part of the data.

    min_c coverage(n reals of class c, n fakes of class c)        and the mean over c; each in [0, 1]

Coverage is that of Naeem et al. 2020 (arXiv:2002.09797, section 3; see `coverage`).  Independent reals reach
1 - prod_{i<=k} (n - i) / (2 n - i) on average, in every class.  The minimum is reported with its null distribution
(`per_class`).  If a class has fewer than n fakes, all of them are used; if it has none, its coverage is 0.  So a model
that drops a class has a minimum of 0.
"""

from typing import Any

import torch
from torch import Tensor

from saddlepoint.metric.coverage import coverage
from saddlepoint.metric.metric import Result
from saddlepoint.metric.per_class import PerClassMetric


class ClassCoverage(PerClassMetric):
    """Mean and minimum over classes of the coverage."""

    higher_is_better = True
    contract_attributes = ("k", *PerClassMetric.contract_attributes)

    def __init__(self, k: int = 5, **group: Any) -> None:
        self.k = k
        super().__init__(**group)

    def min_samples(self) -> int:
        return self.k + 1

    def statistic(self, real: Tensor, fake: Tensor) -> Tensor:
        return coverage(real, fake, self.k) if len(fake) else torch.zeros((), dtype=torch.float64)

    def compute(self) -> dict[str, Result]:
        """Return "mean" and "min"."""
        value, reference, fakes = self.class_values()
        return self.mean_and_worst(value, reference, self.class_table(value, reference, fakes)) if len(value) else {}

    def directions(self) -> dict[str, bool]:
        return {"mean": True, "min": True}
