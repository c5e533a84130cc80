"""What the scores of labelled fakes share: which data have the labels that they need, and the recipe's classifier."""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from saddlepoint.error import Mistake
from saddlepoint.extractor.data_like import DataLike, SplitLike
from saddlepoint.extractor.extractor import Features
from saddlepoint.extractor.training import Network, Recipe, default_recipe, restore_network, train_classifier
from saddlepoint.metric.metric import Metric, Result
from saddlepoint.modality import modality_of
from saddlepoint.pixel import to_float
from saddlepoint.stream import Stream

BATCH = 500  # samples at once: those of a folder are read when they are asked for


class LabelledMetric(Metric):
    """A metric of labelled fakes that takes its reals from the data's own splits, whatever split others measure with.

    The sets that other metrics have as anchors are none here: "real" holds the very images that these test on.
    """

    needs_labels = True
    needs_reals = False
    needs_features = False
    uses_anchor_sets = False
    images_only = False  # whether only images will do
    needed_splits: tuple[str, ...] = ("train", "test")  # splits

    def __init__(self, seed: int = 0) -> None:
        """`seed` draws the samples of the anchors, and a classifier's weights."""
        super().__init__()
        self.seed = seed
        self._parts: dict[str, SplitLike] = {}
        self._classes, self._shape = 0, torch.Size()
        self.declare_states("x", "y")

    def setup(self, data: DataLike) -> str | None:
        """Takes the splits; those of a folder are read only when a score is computed."""
        self._parts = {}
        sizes: dict[str, Any] = data.describe()["sizes"]
        if self.images_only and not modality_of(data).planar:
            instead = "metric=nearest_neighbour_error takes any labelled samples"
            return f"it trains a classifier of images, and these data are {modality_of(data).name}; {instead}"
        if missing := [name for name in self.needed_splits if not sizes.get(name)]:
            return (
                f"it takes the splits {', '.join(self.needed_splits)}, and the data have no {' and no '.join(missing)}"
            )
        if data.classes is None or any(data.split(name)[torch.tensor([0])][1] is None for name in self.needed_splits):
            return "it takes labelled data, and these have no labels"
        self._classes, self._shape = data.classes or 0, torch.Size(data.shape)
        self._parts = {name: data.split(name) for name in self.needed_splits}
        return None

    def update(self, features: Features, real: bool) -> None:
        if real:
            return
        if features.x is None or features.y is None:
            raise ValueError(f"{type(self).__name__} takes samples and the classes that they were asked for")
        self.x.append(features.x.cpu())  # pyright: ignore[reportCallIssue, reportAttributeAccessIssue]
        self.y.append(features.y.cpu())  # pyright: ignore[reportCallIssue, reportAttributeAccessIssue]

    def why_not(self, n_real: int, n_fake: int) -> str | None:
        return None if self._parts else f"it takes a labelled data set with its splits {', '.join(self.needed_splits)}"

    def anchor_settings(self) -> dict[str, Any]:
        return {"seed": self.seed}

    def score(self, x: Tensor, y: Tensor) -> Result:
        """The score of samples [M, ...] with classes [M]."""
        raise NotImplementedError

    def compute(self) -> Result:
        """The score of the fakes; raises Mistake where they have labels that the data have not."""
        x, y = self.all_rows("x"), self.all_rows("y")
        if not self._parts:
            raise ValueError(f"{type(self).__name__} takes the data's own splits: call meet first")
        if int(y.max()) >= self._classes or int(y.min()) < 0:
            classes = f"{self._classes} classes, 0 to {self._classes - 1}"
            raise Mistake(
                f"samples are labelled {int(y.min())} to {int(y.max())}, and the data have {classes}.\n"
                "Label them as the data are, or leave out the metrics that take labels."
            )
        return self.score(x, y)


class ClassifierMetric(LabelledMetric):
    """A metric that trains the data's recipe of a classifier, on the CPU, on one thread, for all of its epochs.

    There is no early stopping, so that no real image has a say in what is learnt of fakes, nor the test split in any.
    """

    higher_is_better = True
    images_only = True

    def __init__(self, epochs: int | None = None, seed: int = 0) -> None:
        """`epochs` None: the recipe's own."""
        super().__init__(seed)
        if epochs is not None and epochs < 1:
            raise Mistake(f"a classifier cannot be trained for {epochs} epochs: 1 at least, or null for the recipe's.")
        self.epochs = epochs

    @property
    def recipe(self) -> Recipe:
        """How the classifier is trained; of data that are too large, 50,000 images are drawn."""
        recipe = default_recipe(self._shape, self.seed) if self._shape else Recipe(0, 0, seed=self.seed)
        return recipe if self.epochs is None else replace(recipe, epochs=self.epochs)

    def train_classifier(self, x: Tensor, y: Tensor) -> Network:
        """The classifier of stored images x [N, C, H, W] and labels y [N]."""
        return self.build_network(train_classifier(x, y, self._classes, self.recipe).state)

    def build_network(self, state: dict[str, Tensor]) -> Network:
        """The classifier of these weights, in evaluation mode."""
        shape = self._shape[0], self._shape[1], self._shape[2]
        return restore_network(shape, self._classes, self.recipe.dim, self.recipe.wide, state).eval()

    @torch.no_grad()
    def count_correct(self, network: Network, x: Tensor, y: Tensor) -> Tensor:
        """How many there are of each class, and of how many the network is right, [2, K], int64."""
        found = torch.cat([network(to_float(part))[1].argmax(1) for part in x.split(BATCH)])
        return torch.stack([label.bincount(minlength=self._classes) for label in (y, y[found == y])])

    def count_correct_in_split(self, network: Network, split: SplitLike) -> Tensor:
        """The same of a whole split, read batch by batch."""
        return torch.stack([self.count_correct(network, x, y) for x, y in labelled_batches(split)]).sum(0)


def total_accuracy(right: Tensor) -> Tensor:
    """A float64 scalar of what `right` gives."""
    return right[1].sum().to(torch.float64) / right[0].sum()


def class_accuracies(right: Tensor) -> list[float | None]:
    """The accuracy within each class, None for one without samples: plain values."""
    return [r / n if n else None for n, r in right.T.tolist()]


def draw_labelled(split: SplitLike, n: int, seed: int, name: str) -> tuple[Tensor, Tensor]:
    """n labelled samples of a split, drawn without replacement, in stored order; all where there are no more."""
    order = torch.randperm(len(split), generator=Stream(seed, name).generator)
    x, y = split[order[:n].sort().values]
    return x, _labels(y)


def load_labelled(split: SplitLike) -> tuple[Tensor, Tensor]:
    """All samples of a split, as stored, with their labels."""
    x, y = zip(*labelled_batches(split), strict=True)
    return torch.cat(x), torch.cat(y)


def labelled_batches(split: SplitLike, size: int = BATCH) -> Iterator[tuple[Tensor, Tensor]]:
    """Samples and labels of a whole split, batch by batch."""
    return ((x, _labels(y)) for x, y in split.batches(size))


def _labels(y: Tensor | None) -> Tensor:
    if y is None:
        raise ValueError("these samples have no labels")
    return y
