"""Fairness discrepancy: the distance of an attribute's frequencies in the fakes from those in an unbiased set.

    | p_ref - p_G |_2 = sqrt(sum_k (p_ref(k) - p_G(k))^2)        in [0, sqrt 2], for the K values of the attribute

Choi et al. 2020 (arXiv:1910.12008), who estimate p_G with a classifier of the attribute.  Here the value of a sample is
found by the exact rule of the data (`Data.exact_rules`), such as the colour of `data=coloured_digits` by its mean
channels, so there is no error of a classifier; data without a rule are not measured.

Of n fakes of a perfect generator the expected square is sum_k p_k (1 - p_k) / n; its root is `by chance` in the detail.
The anchor "train" is the frequencies of the training split: 0.4 sqrt 2 = 0.566 for 90:10 against 50:50.
"""

import math
from typing import Any, ClassVar

import torch
from torch import Tensor

from saddlepoint.extractor.data_like import DataLike
from saddlepoint.extractor.extractor import Features
from saddlepoint.metric.metric import Metric, Result


class FairnessDiscrepancy(Metric):
    """The discrepancy of one attribute, with the frequency of each value in the detail.

    attribute  an integer column of the data that has an exact rule
    split      the split with the frequencies p_ref
    """

    higher_is_better = False
    needs_reals: ClassVar[bool] = False
    needs_features: ClassVar[bool] = False
    contract_attributes = ("attribute", "split", "rule", "p_ref")

    def __init__(self, attribute: str = "colour", split: str = "reference") -> None:
        super().__init__()
        self.attribute, self.split = attribute, split
        self.rule, self.p_ref = "", [0.0]
        self._rule: Any = None
        self._names: list[str] = []
        self._p_train = torch.empty(0, dtype=torch.float64)
        self.declare_states("counts")  # rows [1, K]

    def setup(self, data: DataLike) -> str | None:
        self._rule = getattr(data, "exact_rules", {}).get(self.attribute)
        if self._rule is None:
            return f"it needs an exact rule for the attribute {self.attribute}, and these data have none"
        if self.split not in data.describe()["sizes"]:
            return f"it needs the frequencies of the split {self.split}, and these data have no such split"
        self._names = list(data.value_names[self.attribute])  # pyright: ignore[reportAttributeAccessIssue]
        self.rule = f"{self._rule.__module__}.{self._rule.__qualname__}"
        self.p_ref = self._frequencies(data.split(self.split)).tolist()
        self._p_train = self._frequencies(data.split("train"))
        return None

    def _frequencies(self, split: Any) -> Tensor:
        """Return the frequency of each value in the column of a split, float64 [K]."""
        column = split.extra_columns[self.attribute]
        return column.bincount(minlength=len(self._names)).to(torch.float64) / len(column)

    def why_not(self, n_real: int, n_fake: int) -> str | None:
        return None if self._rule is not None else "it needs the data set: call setup first"

    def update(self, features: Features, real: bool) -> None:
        if real:
            return
        if features.x is None:
            raise ValueError("the attribute is found in samples, and these features have none")
        self.append_rows("counts", self._rule(features.x).bincount(minlength=len(self._names))[None])

    def compute(self) -> Result:
        counts = self.all_rows("counts").sum(0)
        return self._discrepancy(counts / counts.sum().to(torch.float64), int(counts.sum()))

    def _discrepancy(self, p: Tensor, n: int) -> Result:
        """Return the result of frequencies p, [K], of n samples."""
        p_ref = torch.tensor(self.p_ref, dtype=torch.float64, device=p.device)
        values = zip(self._names, p_ref.tolist(), p.tolist(), strict=True)
        rows = [{"value": name, "reference": reference, "fake": fake} for name, reference, fake in values]
        by_chance = math.sqrt((p_ref * (1 - p_ref)).sum().item() / n)
        return Result((p_ref - p).norm(), detail={"by chance": by_chance, self.attribute: rows}, n=n)

    def anchor_settings(self) -> dict[str, Any]:
        return {"p_train": self._p_train.tolist()}

    def anchor_scores(self, n: int) -> dict[str, Any]:
        """Return the score of the frequencies of the training split."""
        return {"train": self._discrepancy(self._p_train, n)}
