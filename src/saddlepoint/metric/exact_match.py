"""How many fakes are, token by token, in the training split, in a held-out split, or distinct.

    train      share of fakes that are in the training split: recited
    held_out   share of fakes that are in `split` and not in the training split: right, and new
    distinct   number of different fakes / number of fakes

The deviation of both shares is their binomial standard error.  The anchors are samples of n-gram models fitted to the
training split (`metric.ngram`).
"""

from typing import Any

import torch
from torch import Tensor

from saddlepoint.error import Mistake
from saddlepoint.extractor.data_like import DataLike
from saddlepoint.extractor.extractor import Features
from saddlepoint.metric.metric import Metric, Result
from saddlepoint.metric.ngram import NGram, all_rows, fits, token_numbers
from saddlepoint.stream import Stream


class ExactMatch(Metric):
    """Shares of samples of tokens.

    split   held out
    order   the largest order of the n-gram models among the anchors, from 2 on
    Raises Mistake if the held-out split is the training split.
    """

    needs_reals = False
    needs_features = False
    contract_attributes = ("split",)

    def __init__(self, split: str = "test", order: int = 4) -> None:
        super().__init__()
        if split in ("train", "all"):
            raise Mistake(f"metric.exact_match.split={split}: name a split that is not trained on, such as test")
        self.split, self.order = split, order
        self._data: Any = None
        self._known: dict[str, set[bytes]] = {}
        self.declare_states("fake")

    def setup(self, data: DataLike) -> str | None:
        self._known, self._data = {}, data
        if reason := token_numbers(data)[1]:
            return reason
        splits = {"train": "train", "held_out": self.split}
        self._known = {key: set(_keys(all_rows(data.split(name)))) for key, name in splits.items()}
        self._known["held_out"] -= self._known["train"]  # lines of text may be repeated, in both splits
        return None

    def why_not(self, n_real: int, n_fake: int) -> str | None:
        return None if self._known else "it needs the splits of the data"

    def directions(self) -> dict[str, bool]:
        return {"train": False, "held_out": True, "distinct": True}

    def update(self, features: Features, real: bool) -> None:
        if features.x is None:
            raise ValueError("exact_match needs samples, and these features have none")
        if not real:
            self.append_rows("fake", features.x)

    def compute(self) -> dict[str, Result]:
        """Return the shares in [0, 1].  Raises ValueError before `setup`."""
        return self._shares(self.all_rows("fake"))

    def anchor_settings(self) -> dict[str, Any]:
        return {"order": self.order}

    def anchor_scores(self, n: int) -> dict[str, Any]:
        """Return the scores of n samples of each n-gram model of the training split that its vocabulary allows."""
        (symbols, end), _ = token_numbers(self._data)
        train = all_rows(self._data.split("train"))
        anchors = {}
        for order in range(2, self.order + 1):
            if fits(order, symbols):
                uniform = Stream(0, f"exact_match/{order}-gram").uniform(n, train.shape[1])
                x = NGram(order, symbols, end).fit(train).sample(uniform.double().numpy())
                anchors[f"{order}-gram"] = self._shares(torch.from_numpy(x))
        return anchors

    def _shares(self, x: Tensor) -> dict[str, Result]:
        if not self._known:
            raise ValueError("exact_match needs the data: call setup(data) first")
        keys = _keys(x.cpu())
        n = len(keys)
        shares = {name: sum(key in known for key in keys) / n for name, known in self._known.items()}
        results = {name: Result(p, (p * (1 - p) / n) ** 0.5) for name, p in shares.items()}
        return {**results, "distinct": Result(len(set(keys)) / n)}


def _keys(x: Tensor) -> list[bytes]:
    return [row.tobytes() for row in x.numpy()]
