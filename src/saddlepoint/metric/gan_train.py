"""GAN-train, or classification accuracy score: accuracy on test images of a classifier trained only on fakes.

    (1 / N) sum_i 1[argmax_k logits_k(x_i; trained on the fakes Y_j and the classes they were generated for) = y_i]

Shmelkov et al. 2018 (arXiv:1807.09499), GAN-train; Ravuri & Vinyals 2019 (arXiv:1905.10887), CAS.
CAS is defined with as many fakes of each class as there are training images; `Result.detail` contains the total
variation between the class distributions of the two. The classifier is trained with the default recipe for the data
(`extractor/training.py`), so compare scores with the anchor, the same recipe trained on as many training images, and
not with published values, which come from ResNets.
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
    """Accuracy on the test split of a classifier trained on the fakes."""

    def settings(self, n_real: int, n_fake: int) -> dict[str, Any]:
        test = self._splits.get("test")
        return {
            "recipe": asdict(self.recipe),
            "n_test": len(test) if test else None,
            "test": test.sha256 if test else None,
        }

    def caution(self, n_real: int, n_fake: int, dim: int) -> str | None:
        n = len(self._splits["train"]) if self._splits else n_fake
        return f"CAS is defined for {n:,} samples, one per training image, not {n_fake:,}" if n != n_fake else None

    def anchor_scores(self, n: int) -> dict[str, Any]:
        """Return the score of n training images in place of the fakes, or of all if there are fewer."""
        return {"training images": self.score(*draw_labelled(self._splits["train"], n, self.seed, "gan_train/real"))}

    def score(self, x: Tensor, y: Tensor) -> Result:
        """Return the accuracy, with the accuracy of each class in the detail."""
        counts = self.count_correct_in_split(self.train_classifier(x, y), self._splits["test"])
        n_train = len(self._splits["train"])
        train_labels = torch.cat([label for _, label in labelled_batches(self._splits["train"])])
        shares = [label.bincount(minlength=self._classes).to(torch.float64) / len(label) for label in (y, train_labels)]
        detail: dict[str, Any] = {
            "class_accuracy": class_accuracies(counts),
            "samples": len(x),
            "training": n_train,
            "total_variation": float((shares[0] - shares[1]).abs().sum() / 2),  # of the classes' shares, in [0, 1]
        }
        if len(x) != n_train:
            detail["note"] = (
                f"trained on {len(x):,} images, and CAS is defined for as many as the training split: {n_train:,}"
            )
        return Result(total_accuracy(counts), None, detail, n=len(x))
