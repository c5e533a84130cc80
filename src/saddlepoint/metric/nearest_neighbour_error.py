"""1-nearest-neighbour classification error: how often the fake nearest to a test image has another class.

    (1 / N) sum_i 1[y of argmin_j ||x_i - Y_j|| != y_i]        in [0, 1], for N test samples and M labelled fakes

The distance is Euclidean, over pixels, or for other modalities over the values that networks receive; for tokens it
counts how many differ.  If several fakes are equally near, the first is used.

Radford et al. 2016 (arXiv:1511.06434, supplement), who use a conditional generator in place of the training images.  No
classifier is needed.  The anchors are the same error with training images in place of the fakes: as many as there are
fakes, and all of them (about 3% for MNIST). It is not the two-sample test that is also called 1-NN.
"""

from typing import Any

import torch
from torch import Tensor

from saddlepoint.extractor.data_like import DataLike
from saddlepoint.metric.labelled_metric import LabelledMetric, draw_labelled, labelled_batches, load_labelled
from saddlepoint.metric.metric import Result
from saddlepoint.modality import Modality, modality_of

ROWS = 2000  # test samples per block


def nearest_neighbour_classification_error(x: Tensor, y: Tensor, test: Tensor, labels: Tensor) -> Tensor:
    """Error of samples x [M, ...] with classes y [M] on `test` [N, ...] with `labels` [N], a float64 scalar."""
    from sklearn.metrics import pairwise_distances_argmin  # imported here: it takes 0.5 s

    # float32 holds bytes exactly, and scikit-learn sums squares in float64, block by block
    known, queries = (samples.flatten(1).to("cpu", torch.float32).numpy() for samples in (x, test))
    predicted = y.cpu()[torch.from_numpy(pairwise_distances_argmin(queries, known))]
    return (predicted != labels.cpu()).to(torch.float64).mean()


class NearestNeighbourError(LabelledMetric):
    """The error on the split `split` of the data, whatever split the other metrics measure against."""

    higher_is_better = False

    def __init__(self, split: str = "test", seed: int = 0) -> None:
        super().__init__(seed)
        self.tested_split = split
        self.needed_splits = ("train", split)
        self._modality: Modality | None = None

    def setup(self, data: DataLike) -> str | None:
        self._modality = modality_of(data)
        return super().setup(data)

    def settings(self, n_real: int, n_fake: int) -> dict[str, Any]:
        split = self._splits.get(self.tested_split)
        return {
            "split": self.tested_split,
            "n_test": len(split) if split else None,
            "test": split.sha256 if split else None,
            "distance": f"euclidean, {'pixels' if self._modality is None or self._modality.planar else 'values'}",
        }

    def anchor_scores(self, n: int) -> dict[str, Any]:
        """Return the scores of as many training samples as there are fakes, and of all of them."""
        train = self._splits["train"]
        every = self.score(*load_labelled(train))
        chosen = draw_labelled(train, n, self.seed, "nearest_neighbour_error/real")
        as_many = {"training images": self.score(*chosen)} if n < len(train) else {}
        return {**as_many, "all training images": every}

    def score(self, x: Tensor, y: Tensor) -> Result:
        known = self._compared_values(x)  # converted once, not per batch of the split
        errors = [
            len(test) * nearest_neighbour_classification_error(known, y, self._compared_values(test), labels)
            for test, labels in labelled_batches(self._splits[self.tested_split], ROWS)
        ]
        return Result(torch.stack(errors).sum() / len(self._splits[self.tested_split]), None, {}, n=len(x))

    def _compared_values(self, x: Tensor) -> Tensor:
        """Return the compared values of stored samples.  Pixels need no scaling: it keeps the order of distances."""
        return x.to(torch.float32) if self._modality is None or self._modality.planar else self._modality.to_float(x)
