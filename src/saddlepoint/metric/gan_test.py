"""GAN-test: how often a classifier trained on the training images predicts the class that a fake was generated for.

    (1 / M) sum_j 1[argmax_k logits_k(Y_j; trained on the training split) = y_j]

    Y_j: a fake, y_j: its class, M: the number of fakes

Shmelkov et al. 2018 (arXiv:1807.09499).  It measures whether fakes look like their class, not whether they vary: one
perfect image per class scores 1.  The classifier is trained once, with the default recipe for the data
(`extractor/training.py`).  The anchor is its accuracy on test images; above it, fakes are easier to classify than
reals.
"""

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from torch import Tensor

from saddlepoint.extractor.data_like import DataLike
from saddlepoint.metric.labelled_metric import ClassifierMetric, class_accuracies, draw_labelled, total_accuracy
from saddlepoint.metric.metric import Result

WEIGHT_PREFIX = "network."  # prefix of the classifier's weights in the reference


class GanTest(ClassifierMetric):
    """Accuracy on the fakes of a classifier trained on the train split."""

    has_fixed_reference = True
    needs_reals = (
        True  # so that the evaluator caches the classifier as the reference; the reals that it passes are not used
    )

    def __init__(self, epochs: int | None = None, seed: int = 0) -> None:
        super().__init__(epochs, seed)
        self._trained_reference: dict[str, Tensor] = {}

    def setup(self, data: DataLike) -> str | None:
        self._trained_reference = {}
        return super().setup(data)

    def settings(self, n_real: int, n_fake: int) -> dict[str, Any]:
        split_hashes = {name: split.sha256 for name, split in self._splits.items()}
        return {"recipe": asdict(self.recipe), "train": split_hashes.get("train"), "test": split_hashes.get("test")}

    def reference(self, n_fake: int) -> dict[str, Tensor]:
        """Return the classifier's weights and `test`, [2, K]: test images and correct predictions per class."""
        if not self._trained_reference:  # train once, also if an evaluation is repeated with other reals
            network = self.train_classifier(
                *draw_labelled(self._splits["train"], self.recipe.limit, self.seed, "gan_test/train")
            )
            weights = {WEIGHT_PREFIX + name: value for name, value in network.state_dict().items()}
            self._trained_reference = {**weights, "test": self.count_correct_in_split(network, self._splits["test"])}
        return self._trained_reference

    def set_reference(self, reference: Mapping[str, Tensor] | None) -> None:
        super().set_reference(reference)
        self._trained_reference = dict(reference or self._trained_reference)

    def anchor_scores(self, n: int) -> dict[str, Any]:
        """Return the score of n test images in place of the fakes, or of all if there are fewer."""
        return {"real": self.score(*draw_labelled(self._splits["test"], n, self.seed, "gan_test/real"))}

    def score(self, x: Tensor, y: Tensor) -> Result:
        """Return the accuracy, with the accuracy of each class in the detail."""
        reference = self._reference or self.reference(len(x))
        weights = {
            name.removeprefix(WEIGHT_PREFIX): value
            for name, value in reference.items()
            if name.startswith(WEIGHT_PREFIX)
        }
        counts = self.count_correct(self.build_network(weights), x, y)
        test = float(total_accuracy(reference["test"].cpu()))
        detail = {"class_accuracy": class_accuracies(counts), "samples": len(x), "test_accuracy": test}
        return Result(total_accuracy(counts), None, detail, n=len(x))
