"""Nats per token under n-gram models (`metric.ngram`): of the fakes under a model of held-out reals, and the reverse.

    language_model           -log p_reals(fakes) / tokens    low if fakes are likely, also if one fake is repeated
    language_model_reverse   -log p_fakes(reals) / tokens    low if fakes also vary as the reals do

p_reals is fitted to the reals of `split`, p_fakes to the fakes, both with n-grams of one order.  Read them together,
and against the anchors: held-out reals of another split, and training samples.  Zhao et al. 2018 (arXiv:1706.04223),
section 5.2 ("forward" and "reverse" perplexity); Semeniuta et al. 2018 (arXiv:1806.04936).
"""

from typing import Any

import torch
from torch import Tensor

from saddlepoint.error import Mistake
from saddlepoint.extractor.data_like import DataLike
from saddlepoint.extractor.extractor import Features
from saddlepoint.metric.metric import Metric, Result
from saddlepoint.metric.ngram import NGram, all_rows, fits, token_numbers


class LanguageModel(Metric):
    """Both scores, float64.

    order   of the n-grams
    split   held out: the reals of both scores
    Raises Mistake for an order below 1.
    """

    needs_reals = False
    needs_features = False
    uses_anchor_sets = False
    contract_attributes = ("order", "split")

    def __init__(self, order: int = 4, split: str = "validation") -> None:
        super().__init__()
        if order < 1:
            raise Mistake(f"metric.language_model.order={order}: must be at least 1")
        self.order, self.split = order, split
        self._data: Any = None
        self._reals, self._model = torch.empty(0), None
        self.declare_states("fake")

    def setup(self, data: DataLike) -> str | None:
        self._data, self._model = data, None
        numbers, reason = token_numbers(data)
        if not reason and not fits(self.order, numbers[0]):
            reason = f"{numbers[0]:,} symbols are too many for n-grams of order {self.order}: lower its order"
        if reason:
            return reason
        self._numbers, self._reals = numbers, all_rows(data.split(self.split))
        self._model = self._fit(self._reals)
        return None

    def why_not(self, n_real: int, n_fake: int) -> str | None:
        return None if self._model else "it needs the splits of the data"

    def directions(self) -> dict[str, bool]:
        return {"": False, "reverse": False}

    def update(self, features: Features, real: bool) -> None:
        if features.x is None:
            raise ValueError("language_model needs samples, and these features have none")
        if not real:
            self.append_rows("fake", features.x)

    def compute(self) -> dict[str, float]:
        """Return both scores.  Raises ValueError before `setup`."""
        return self._scores(self.all_rows("fake").cpu())

    def anchor_scores(self, n: int) -> dict[str, Any]:
        """Return the scores of the first n reals of the test split, and of the training split."""
        sets = {"real": "test", "training samples": "train"}
        rows = {name: all_rows(self._data.split(split))[:n] for name, split in sets.items() if split != self.split}
        return {name: {suffix: Result(value, n=len(x)) for suffix, value in self._scores(x).items()}
                for name, x in rows.items()}  # fmt: skip

    def _fit(self, x: Tensor) -> NGram:
        return NGram(self.order, *self._numbers).fit(x)

    def _scores(self, fakes: Tensor) -> dict[str, float]:
        if self._model is None:
            raise ValueError("language_model needs the data: call setup(data) first")
        return {"": self._model.nats_per_token(fakes), "reverse": self._fit(fakes).nats_per_token(self._reals)}
