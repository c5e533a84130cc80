"""NLL_oracle: -E log p(y) / T, y the fakes, p the known distribution of the data, in nats per token; for data=oracle.

Yu et al. 2017 (SeqGAN, arXiv:1609.05473), section 5.1, the published score of text GANs.  It rewards collapse: the
entropy of p is the score of perfect samples, and one likely sequence, repeated, has a lower one; its anchors show both.
`callback.likelihood` has the two KL divergences, which are 0 only for perfect samples.
"""

from typing import Any

import torch

from saddlepoint.extractor.data_like import DataLike
from saddlepoint.extractor.extractor import Features
from saddlepoint.metric.metric import Metric, Result

UNKNOWN = "it needs the likelihood of the data, and these have none (data=oracle has); see language_model for text"


class NLLOracle(Metric):
    """The mean, with its standard error over samples as the deviation."""

    higher_is_better = False
    needs_reals = False
    needs_features = False

    def __init__(self) -> None:
        super().__init__()
        self._data: Any = None
        self.declare_states("fake")

    def setup(self, data: DataLike) -> str | None:
        self._data = data if callable(getattr(data, "log_likelihood", None)) else None
        return UNKNOWN if self._data is None else None

    def why_not(self, n_real: int, n_fake: int) -> str | None:
        return UNKNOWN if self._data is None else None

    def update(self, features: Features, real: bool) -> None:
        if features.x is None:
            raise ValueError("nll_oracle needs samples, and these features have none")
        if not real:
            self.append_rows("fake", features.x)

    def compute(self) -> Result:
        """Return the mean and its standard error.  Raises ValueError before `setup`."""
        return self._score(self.all_rows("fake"))

    def settings(self, n_real: int, n_fake: int) -> dict[str, Any]:
        return {"unit": "nats per token"}

    def anchor_scores(self, n: int) -> dict[str, Any]:
        """Return the score of the most probable training sequence, repeated n times."""
        x = self._data.split("train").x
        best = self._data.log_likelihood(x).argmax()
        return {"one sequence repeated": self._score(x[best].expand(n, -1))}

    def _score(self, x: torch.Tensor) -> Result:
        if self._data is None:
            raise ValueError("nll_oracle needs the data: call setup(data) first")
        nll = -self._data.log_likelihood(x) / x.shape[1]
        return Result(nll.mean(), nll.std(correction=0) / len(nll) ** 0.5)
