"""GAN-test: how often a classifier trained on the training images says of a fake the class that it was asked for.

    (1 / M) sum_j 1[argmax_k logits_k(Y_j; trained on the training split) = y_j]

Shmelkov et al. 2018 (arXiv:1807.09499).  It sees whether fakes look like their class and not whether they
vary: one perfect image a class scores 1.  The classifier is the data's own recipe (see `classifier`), trained once and
kept in the cache; the anchor is its accuracy on test images, above which fakes are easier than reals.
"""

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from torch import Tensor

from saddlepoint.extractor.data_like import DataLike
from saddlepoint.metric.labelled_metric import ClassifierMetric, class_accuracies, draw_labelled, total_accuracy
from saddlepoint.metric.metric import Result

WEIGHT = "network."  # before the names of the reference's weights


class GanTest(ClassifierMetric):
    """The accuracy on fakes of the data's recipe, trained on the train split."""

    has_fixed_reference = True
    needs_reals = True  # not for the reals, which are the train split's always, but for a reference kept in the cache

    def __init__(self, epochs: int | None = None, seed: int = 0) -> None:
        super().__init__(epochs, seed)
        self._kept: dict[str, Tensor] = {}

    def setup(self, data: DataLike) -> str | None:
        self._kept = {}
        return super().setup(data)

    def settings(self, n_real: int, n_fake: int) -> dict[str, Any]:
        shas = {name: part.sha256 for name, part in self._parts.items()}
        return {"recipe": asdict(self.recipe), "train": shas.get("train"), "test": shas.get("test")}

    def reference(self, n_fake: int) -> dict[str, Tensor]:
        """The classifier's weights, and of how many test images of each class it is right, [2, K]."""
        if not self._kept:  # an evaluation that varies the reals asks again, and these do not vary
            network = self.train_classifier(
                *draw_labelled(self._parts["train"], self.recipe.limit, self.seed, "gan_test/train")
            )
            weights = {WEIGHT + name: value for name, value in network.state_dict().items()}
            self._kept = {**weights, "test": self.count_correct_in_split(network, self._parts["test"])}
        return self._kept

    def set_reference(self, reference: Mapping[str, Tensor] | None) -> None:
        super().set_reference(reference)
        self._kept = dict(reference or self._kept)

    def anchor_values(self, n: int) -> dict[str, Any]:
        """So many test images in the place of the fakes; all of them where there are no more."""
        return {"real": self.score(*draw_labelled(self._parts["test"], n, self.seed, "gan_test/real"))}

    def score(self, x: Tensor, y: Tensor) -> Result:
        """The accuracy, and that within each class."""
        reference = self._reference or self.reference(len(x))
        weights = {name.removeprefix(WEIGHT): value for name, value in reference.items() if name.startswith(WEIGHT)}
        right = self.count_correct(self.build_network(weights), x, y)
        test = float(total_accuracy(reference["test"].cpu()))
        detail = {"class_accuracy": class_accuracies(right), "samples": len(x), "test_accuracy": test}
        return Result(total_accuracy(right), None, detail, n=len(x))
