"""1-nearest-neighbour error: how often the nearest fake, by Euclidean distance of pixels, is of another class.

Of other samples than images it is the distance of the values that networks see: of tokens, how many differ.

    (1 / N) sum_i 1[y of argmin_j ||x_i - Y_j|| != y_i]        in [0, 1], for the N test samples and M labelled fakes

Radford et al. 2016 (arXiv:1511.06434, supplement), who let a conditional generator stand in for the training images.
It takes no classifier.  Its anchor is the same error with training images in the fakes' place, as many as they, and
beside it that of all of them (about 3% for MNIST); of equally near samples the first counts.
"""

from typing import Any

import torch
from torch import Tensor

from saddlepoint.extractor.data_like import DataLike
from saddlepoint.metric.labelled_metric import LabelledMetric, draw_labelled, labelled_batches, load_labelled
from saddlepoint.metric.metric import Result
from saddlepoint.modality import Modality, modality_of

ROWS = 2000  # test samples at once


def nearest_neighbour_error(x: Tensor, y: Tensor, test: Tensor, labels: Tensor) -> Tensor:
    """The error, a float64 scalar, of samples x [M, ...] with classes y [M] on `test` [N, ...] with `labels` [N]."""
    from sklearn.metrics import pairwise_distances_argmin  # half a second, for this metric alone

    # float32 holds bytes exactly, and scikit-learn adds squares up in float64, block by block
    known, unknown = (part.flatten(1).to("cpu", torch.float32).numpy() for part in (x, test))
    found = y.cpu()[torch.from_numpy(pairwise_distances_argmin(unknown, known))]
    return (found != labels.cpu()).to(torch.float64).mean()


class NearestNeighbourError(LabelledMetric):
    """The error on the data's split `split`, whatever split the other metrics measure against."""

    higher_is_better = False

    def __init__(self, split: str = "test", seed: int = 0) -> None:
        super().__init__(seed)
        self.part = split
        self.needed_splits = ("train", split)
        self._modality: Modality | None = None

    def setup(self, data: DataLike) -> str | None:
        self._modality = modality_of(data)
        return super().setup(data)

    def settings(self, n_real: int, n_fake: int) -> dict[str, Any]:
        part = self._parts.get(self.part)
        return {
            "split": self.part,
            "n_test": len(part) if part else None,
            "test": part.sha256 if part else None,
            "distance": f"euclidean, {'pixels' if self._modality is None or self._modality.planar else 'values'}",
        }

    def anchor_values(self, n: int) -> dict[str, Any]:
        """As many training samples as there are fakes, and all of them."""
        train = self._parts["train"]
        whole = self.score(*load_labelled(train))
        chosen = draw_labelled(train, n, self.seed, "nearest_neighbour_error/real")
        few = {"training images": self.score(*chosen)} if n < len(train) else {}
        return {**few, "all training images": whole}

    def score(self, x: Tensor, y: Tensor) -> Result:
        known = self._values(x)  # once, not for each batch of the split
        errors = [
            len(test) * nearest_neighbour_error(known, y, self._values(test), labels)
            for test, labels in labelled_batches(self._parts[self.part], ROWS)
        ]
        return Result(torch.stack(errors).sum() / len(self._parts[self.part]), None, {}, n=len(x))

    def _values(self, x: Tensor) -> Tensor:
        """What is compared of stored samples; levels of pixels as they are, whose order of distances is the same."""
        return x.to(torch.float32) if self._modality is None or self._modality.planar else self._modality.to_float(x)
