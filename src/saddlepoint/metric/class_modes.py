"""Class modes: which of the classes that a classifier knows the samples reach, and how evenly.

    n_k = #{samples whose largest logit is k}
    captured      #{k : n_k >= 1}                 captured_20   #{k : n_k >= 20}
    kl            sum_k p_k ln(p_k / q_k), p_k = n_k / n, q uniform, or the reals' frequencies as it sees them

On Stacked-MNIST's 1,000 classes these are the "modes" and the "KL" of Metz et al. 2017 (Unrolled GAN,
arXiv:1611.02163, 25,600 samples), Srivastava et al. 2017 (VEEGAN, arXiv:1705.07761, 26,000) and Lin et al. 2018
(PacGAN, arXiv:1712.04086).

All depend on n: the anchor "perfect sampler" says what n draws of q itself score.  And all count the classifier's
errors: 26,000 samples of a *single* class show some 32 modes where 0.75% of the digits are misread, and 30 where 0.46%
are, as by the shipped classifier; of these 18 and 2 hold 20 samples or more.  The anchor "real" is what real ones show.
"""

from typing import Any, ClassVar

import torch
from torch import Tensor

from saddlepoint.error import Mistake
from saddlepoint.extractor.extractor import Features
from saddlepoint.metric.metric import Metric, Result
from saddlepoint.metric.occupancy import captured_modes, expected_captured_modes, expected_histogram_kl, histogram_kl
from saddlepoint.metric.per_class import class_counts

FREQUENT = 20


class ClassModes(Metric):
    """The classes that the fakes reach, as the extractor sees them."""

    has_fixed_reference = True
    needs_logits: ClassVar[bool] = True
    contract_attributes = ("against",)

    def __init__(self, against: str = "uniform") -> None:
        if against not in ("uniform", "data"):
            raise Mistake(f"class_modes.against={against}: choose uniform or data.")
        super().__init__()
        self.against = against
        self.needs_reals = against == "data"  # pyright: ignore[reportAttributeAccessIssue]
        self.declare_states("real", "fake")  # counts, rows [1, K]
        self._classes = 0

    def update(self, features: Features, real: bool) -> None:
        counts = class_counts(features)
        self.append_rows("real" if real else "fake", counts)
        self._classes = counts.shape[1]

    def compute(self) -> dict[str, Result]:
        """captured, captured_20 and kl; without the last where it is infinite."""
        counts = self.all_rows("fake").sum(0)
        detail: dict[str, Any] = {"counts": counts.tolist()}
        if self.extractor_accuracy is not None:
            detail["accuracy"] = self.extractor_accuracy
        kl = histogram_kl(counts, self._law())
        found = {f"captured_{FREQUENT}": Result(captured_modes(counts, FREQUENT))}
        if kl.isfinite():
            found["kl"] = Result(kl)
        else:
            detail["note"] = "the KL is infinite: some samples are of a class that no real sample is seen as"
        return {"captured": Result(captured_modes(counts), None, detail)} | found

    def directions(self) -> dict[str, bool]:
        return {"captured": True, f"captured_{FREQUENT}": True, "kl": False}

    def reference(self, n_fake: int) -> dict[str, Tensor]:
        """How many reals fall to each class."""
        return {"counts": self.all_rows("real").sum(0)}

    def anchor_values(self, n: int) -> dict[str, Any]:
        """What n draws of the law itself score on average, read without error; none before any sample was seen."""
        if not self._classes:
            return {}
        law = self._law()
        return {
            "perfect sampler": {
                "captured": expected_captured_modes(law, n),
                f"captured_{FREQUENT}": expected_captured_modes(law, n, FREQUENT),
                "kl": expected_histogram_kl(law, n, law),
            }
        }

    def _law(self) -> Tensor:
        """q [K], float64."""
        if self.against == "uniform":
            return torch.full((self._classes,), 1 / self._classes, dtype=torch.float64)
        counts = (self._reference or self.reference(0))["counts"].to(torch.float64)
        return counts / counts.sum()
