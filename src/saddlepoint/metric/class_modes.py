"""Class modes: how many of the extractor's classes the samples reach, and how evenly.

    n_k = #{samples whose largest logit is k}
    captured      #{k : n_k >= 1}                 captured_20   #{k : n_k >= 20}
    kl            sum_k p_k ln(p_k / q_k), p_k = n_k / n, q uniform, or the predicted class frequencies of the reals

On Stacked-MNIST's 1,000 classes these are the "modes" and the "KL" of Metz et al. 2017 (Unrolled GAN,
arXiv:1611.02163, 25,600 samples), Srivastava et al. 2017 (VEEGAN, arXiv:1705.07761, 26,000) and Lin et al. 2018
(PacGAN, arXiv:1712.04086).

All of them depend on n: the anchor "perfect sampler" gives the scores of n draws from q itself.  All of them also count
the errors of the classifier.  26,000 samples of a *single* class give about 32 modes if 0.75% of the digits are
misclassified, and 30 if 0.46% are, as with the shipped classifier; of these, 18 and 2 have 20 samples or more.  The
anchor "real" gives the scores of real samples.
"""

from typing import Any, ClassVar

import torch
from torch import Tensor

from saddlepoint.error import Mistake
from saddlepoint.extractor.extractor import Features
from saddlepoint.metric.metric import Metric, Result
from saddlepoint.metric.occupancy import captured_modes, expected_captured_modes, expected_histogram_kl, histogram_kl
from saddlepoint.metric.per_class import class_counts

FREQUENT = 20  # samples of a class that captured_20 counts


class ClassModes(Metric):
    """The classes that the extractor predicts for the fakes."""

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
        """Return "captured", "captured_20", and "kl" if it is finite."""
        counts = self.all_rows("fake").sum(0)
        detail: dict[str, Any] = {"counts": counts.tolist()}
        if self.extractor_accuracy is not None:
            detail["accuracy"] = self.extractor_accuracy
        kl = histogram_kl(counts, self._class_distribution())
        results = {f"captured_{FREQUENT}": Result(captured_modes(counts, FREQUENT))}
        if kl.isfinite():
            results["kl"] = Result(kl)
        else:
            detail["note"] = "the KL is infinite: some samples are predicted to be of a class that no real sample is"
        return {"captured": Result(captured_modes(counts), None, detail)} | results

    def directions(self) -> dict[str, bool]:
        return {"captured": True, f"captured_{FREQUENT}": True, "kl": False}

    def reference(self, n_fake: int) -> dict[str, Tensor]:
        """Return the number of reals predicted to be of each class."""
        return {"counts": self.all_rows("real").sum(0)}

    def anchor_scores(self, n: int) -> dict[str, Any]:
        """Return the expected scores of n draws from q, classified without error; {} before the first `update`."""
        if not self._classes:
            return {}
        law = self._class_distribution()
        return {
            "perfect sampler": {
                "captured": expected_captured_modes(law, n),
                f"captured_{FREQUENT}": expected_captured_modes(law, n, FREQUENT),
                "kl": expected_histogram_kl(law, n, law),
            }
        }

    def _class_distribution(self) -> Tensor:
        """The distribution q [K], float64."""
        if self.against == "uniform":
            return torch.full((self._classes,), 1 / self._classes, dtype=torch.float64)
        counts = (self._reference or self.reference(0))["counts"].to(torch.float64)
        return counts / counts.sum()
