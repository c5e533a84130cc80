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

from saddlepoint.extractor.reals import Data
from saddlepoint.metric.labelled import ClassifierMeasure, accuracy_of, by_class, some
from saddlepoint.metric.measure import Result

WEIGHT = "network."  # before the names of the reference's weights


class GanTest(ClassifierMeasure):
    """The accuracy on fakes of the data's recipe, trained on the train split."""

    one_reference = True
    needs_reals = True  # not for the reals, which are the train split's always, but for a reference kept in the cache

    def __init__(self, epochs: int | None = None, seed: int = 0) -> None:
        super().__init__(epochs, seed)
        self._kept: dict[str, Tensor] = {}

    def meet(self, data: Data) -> str | None:
        self._kept = {}
        return super().meet(data)

    def settings(self, n_real: int, n_fake: int) -> dict[str, Any]:
        shas = {name: part.sha256 for name, part in self._parts.items()}
        return {"recipe": asdict(self.recipe), "train": shas.get("train"), "test": shas.get("test")}

    def reference(self, n_fake: int) -> dict[str, Tensor]:
        """The classifier's weights, and of how many test images of each class it is right, [2, K]."""
        if not self._kept:  # an evaluation that varies the reals asks again, and these do not vary
            network = self.trained(*some(self._parts["train"], self.recipe.limit, self.seed, "gan_test/train"))
            weights = {WEIGHT + name: value for name, value in network.state_dict().items()}
            self._kept = {**weights, "test": self.right_on(network, self._parts["test"])}
        return self._kept

    def refer(self, reference: Mapping[str, Tensor] | None) -> None:
        super().refer(reference)
        self._kept = dict(reference or self._kept)

    def anchors(self, n: int) -> dict[str, Any]:
        """So many test images in the place of the fakes; all of them where there are no more."""
        return {"real": self.score(*some(self._parts["test"], n, self.seed, "gan_test/real"))}

    def score(self, x: Tensor, y: Tensor) -> Result:
        """The accuracy, and that within each class."""
        reference = self._reference or self.reference(len(x))
        weights = {name.removeprefix(WEIGHT): value for name, value in reference.items() if name.startswith(WEIGHT)}
        right = self.right(self.network(weights), x, y)
        test = float(accuracy_of(reference["test"].cpu()))
        detail = {"class_accuracy": by_class(right), "samples": len(x), "test_accuracy": test}
        return Result(accuracy_of(right), None, detail, n=len(x))
