"""GAN-train, or classification accuracy score: how often a classifier that saw only fakes is right on test images.

    (1 / N) sum_i 1[argmax_k logits_k(x_i; trained on the fakes Y_j and the classes they were asked for) = y_i]

Shmelkov et al. 2018 (arXiv:1807.09499), GAN-train; Ravuri & Vinyals 2019 (arXiv:1905.10887), CAS.
CAS takes as many fakes of each class as there are training images; how far the classes' shares lie from theirs is in
the detail.  The classifier is the data's own recipe (see `classifier`), so no figure compares with the papers'
ResNets: it is read against the anchor, the same recipe trained on as many training images.
"""

from dataclasses import asdict
from typing import Any

import torch
from torch import Tensor

from saddlepoint.metric.labelled_metric import (
    ClassifierMetric,
    class_accuracies,
    draw_labelled,
    labelled_batches,
    total_accuracy,
)
from saddlepoint.metric.metric import Result


class GanTrain(ClassifierMetric):
    """The accuracy on the test split of the data's recipe, trained on fakes."""

    def settings(self, n_real: int, n_fake: int) -> dict[str, Any]:
        test = self._parts.get("test")
        return {
            "recipe": asdict(self.recipe),
            "n_test": len(test) if test else None,
            "test": test.sha256 if test else None,
        }

    def caution(self, n_real: int, n_fake: int, dim: int) -> str | None:
        n = len(self._parts["train"]) if self._parts else n_fake
        return f"CAS takes as many samples as there are training images, {n:,}, not {n_fake:,}" if n != n_fake else None

    def anchor_values(self, n: int) -> dict[str, Any]:
        """As many training images in the place of the fakes; all of them where there are no more."""
        return {"training images": self.score(*draw_labelled(self._parts["train"], n, self.seed, "gan_train/real"))}

    def score(self, x: Tensor, y: Tensor) -> Result:
        """The accuracy, and that within each class."""
        right = self.count_correct_in_split(self.train_classifier(x, y), self._parts["test"])
        train = len(self._parts["train"])
        theirs = torch.cat([label for _, label in labelled_batches(self._parts["train"])])
        shares = [label.bincount(minlength=self._classes).to(torch.float64) / len(label) for label in (y, theirs)]
        detail: dict[str, Any] = {
            "class_accuracy": class_accuracies(right),
            "samples": len(x),
            "training": train,
            "total_variation": float((shares[0] - shares[1]).abs().sum() / 2),  # of the classes' shares, in [0, 1]
        }
        if len(x) != train:
            detail["note"] = f"trained on {len(x):,} images, and CAS takes as many as the training split: {train:,}"
        return Result(total_accuracy(right), None, detail, n=len(x))
