"""Class agreement: how often the extractor predicts the class that a fake was generated for.

    (1 / N) sum_i 1[argmax_k logits_k(Y_i) = y_i]        in [0, 1], for N fakes Y_i of classes y_i

It measures whether fakes look like their class, not whether they vary: one perfect image per class scores 1. GAN-test
(`gan_test`) is the same with a classifier of its own. The anchor is the accuracy on real images.
"""

from typing import ClassVar

import torch

from saddlepoint.extractor.data_like import DataLike
from saddlepoint.extractor.extractor import Features
from saddlepoint.metric.labelled_metric import class_accuracies, total_accuracy
from saddlepoint.metric.metric import Metric, Result
from saddlepoint.metric.per_class import predicted_classes


class ClassAgreement(Metric):
    """The agreement of all fakes, and of each class in the detail; does not use the reals."""

    higher_is_better = True
    needs_logits: ClassVar[bool] = True
    needs_labels: ClassVar[bool] = True
    needs_reals: ClassVar[bool] = False

    def __init__(self) -> None:
        super().__init__()
        self._classes = 0
        self.declare_states("label", "agrees")

    def setup(self, data: DataLike) -> str | None:
        self._classes = data.classes or 0
        return None if data.classes is not None else "it needs labelled data, and these have no labels"

    def update(self, features: Features, real: bool) -> None:
        if real:
            return
        if features.y is None:
            raise ValueError("class agreement needs the classes that fakes were generated for, and these have none")
        self.append_rows("label", features.y)
        self.append_rows("agrees", (predicted_classes(features) == features.y).to(torch.int64))

    def compute(self) -> Result:
        """Return the share of fakes whose predicted class is their own, with the share of each class in the detail."""
        label, agrees = self.all_rows("label"), self.all_rows("agrees")
        counts = torch.stack([rows.bincount(minlength=self._classes) for rows in (label, label[agrees == 1])])
        return Result(total_accuracy(counts), None, {"class_agreement": class_accuracies(counts)}, n=len(label))
