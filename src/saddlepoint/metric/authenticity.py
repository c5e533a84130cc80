"""Authenticity: the fraction of fakes that are not closer to a training sample than its own nearest neighbour is.

    (1 / M) sum_j 1[d(Y_j, t_j) > d(t_j, its nearest other training sample)]     t_j: the training sample nearest to Y_j

Alaa et al. 2022 (arXiv:2102.08921, section 3.3), with Euclidean distances over pixels, or for other modalities over the
values that networks receive. It is 0 for copies. New samples of the same distribution do not score 1: their score is
the anchor "held-out reals", the samples outside train that are a random part of the same pool. A fake that is far from
all data counts as authentic, so read it beside coverage; `saddlepoint memorisation` has the tests.
"""

from typing import Any

import torch
from torch import Tensor

from saddlepoint.extractor.data_like import DataLike, SplitLike
from saddlepoint.extractor.extractor import Features
from saddlepoint.metric.metric import Metric, Result
from saddlepoint.metric.neighbour import kth_nearest
from saddlepoint.modality import modality_of

BATCH = 1000  # samples read at once


def authenticity(to_train: Tensor, radius: Tensor) -> Tensor:
    """Fraction of samples whose distance [n] to their nearest training image exceeds the `radius` [n] of that image.

    `radius` is the distance of that image to its nearest other training image.
    """
    return (to_train > radius).to(torch.float64).mean()


class Authenticity(Metric):
    """The authenticity of the fakes with respect to the train split, whatever split the other metrics use."""

    higher_is_better = True
    needs_reals = False
    needs_features = False
    uses_anchor_sets = False  # the set "real" may contain training samples

    def __init__(self) -> None:
        super().__init__()
        self._train: SplitLike | None = None
        self._held_out: list[SplitLike] = []
        self.declare_states("fake")

    def setup(self, data: DataLike) -> str | None:
        """Get the splits.  Samples of a folder are read only when a score is computed."""
        self._train = None
        if not modality_of(data).ordered:
            return f"it compares distances, and {modality_of(data).name} have none"
        if len(data.split("train")) < 2:
            return "it needs the distances between training samples, and there is only one"
        self._train = data.split("train")
        names = [name for name in getattr(data, "exchangeable_splits", ()) if name != "train"]
        self._held_out = [data.split(name) for name in names]
        return None

    def why_not(self, n_real: int, n_fake: int) -> str | None:
        return None if self._train else "it needs a data set with a train split, and has a single split"

    def update(self, features: Features, real: bool) -> None:
        if features.x is None or self._train is None:
            raise ValueError("authenticity needs samples and training samples: call setup(data) first")
        if not real:
            self.append_rows("fake", modality_of(self._train).to_float(features.x).flatten(1))

    def compute(self) -> Tensor:
        return self._score(self.all_rows("fake"))

    def settings(self, n_real: int, n_fake: int) -> dict[str, Any]:
        return {"train": self._train.sha256 if self._train else None, "distance": "euclidean, values of samples"}

    def anchor_settings(self) -> dict[str, Any]:
        return {"held_out": [split.sha256 for split in self._held_out]}

    def anchor_scores(self, n: int) -> dict[str, Any]:
        """Return the score of all held-out samples of the same pool."""
        if not (total := sum(map(len, self._held_out))):
            return {}
        return {"held-out reals": Result(self._score(torch.cat([_values(s) for s in self._held_out])), n=total)}

    def _score(self, x: Tensor) -> Tensor:
        assert self._train is not None
        train = _values(self._train).to(x.device)
        distance, nearest = kth_nearest(x, train)
        return authenticity(distance, kth_nearest(train, train, 2)[0][nearest])  # the nearest is the sample itself


def _values(split: SplitLike) -> Tensor:
    """Return all samples as networks receive them, [N, values]."""
    return torch.cat([modality_of(split).to_float(x).flatten(1) for x, _ in split.batches(BATCH)])
