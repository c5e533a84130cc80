"""Base classes of the metrics of labelled fakes, which read splits of the data set, and may train a classifier."""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from saddlepoint.error import Mistake
from saddlepoint.extractor.data_like import DataLike, SplitLike
from saddlepoint.extractor.extractor import Features
from saddlepoint.extractor.training import Network, Recipe, default_recipe, network_from_state, train_classifier
from saddlepoint.metric.metric import Metric, Result
from saddlepoint.modality import modality_of
from saddlepoint.pixel import to_float
from saddlepoint.stream import Stream

BATCH = 500  # samples per batch; samples of a folder are read one batch at a time


class LabelledMetric(Metric):
    """A metric of labelled fakes whose reals come from fixed splits, whatever split the other metrics use.

    It does not use the common anchor sets, because the set "real" contains the images that this metric tests on.
    """

    needs_labels = True
    needs_reals = False
    needs_features = False
    uses_anchor_sets = False
    images_only = False  # whether the data must be images
    needed_splits: tuple[str, ...] = ("train", "test")

    def __init__(self, seed: int = 0) -> None:
        """`seed` is that of the anchors' samples and of the classifier's weights."""
        super().__init__()
        self.seed = seed
        self._splits: dict[str, SplitLike] = {}
        self._classes, self._shape = 0, torch.Size()
        self.declare_states("x", "y")

    def setup(self, data: DataLike) -> str | None:
        """Get the splits.  Samples of a folder are read only when a score is computed."""
        self._splits = {}
        sizes: dict[str, Any] = data.describe()["sizes"]
        if self.images_only and not modality_of(data).planar:
            instead = "metric=nearest_neighbour_error takes any labelled samples"
            return f"it trains an image classifier, and these data are {modality_of(data).name}; {instead}"
        if missing := [name for name in self.needed_splits if not sizes.get(name)]:
            needed = ", ".join(self.needed_splits)
            return f"it needs the splits {needed}, and the data have no {' and no '.join(missing)}"
        if data.classes is None or any(data.split(name)[torch.tensor([0])][1] is None for name in self.needed_splits):
            return "it needs labelled data, and these have no labels"
        self._classes, self._shape = data.classes or 0, torch.Size(data.shape)
        self._splits = {name: data.split(name) for name in self.needed_splits}
        return None

    def update(self, features: Features, real: bool) -> None:
        if real:
            return
        if features.x is None or features.y is None:
            raise ValueError(f"{type(self).__name__} needs samples and the classes that they were generated for")
        self.x.append(features.x.cpu())  # pyright: ignore[reportCallIssue, reportAttributeAccessIssue]
        self.y.append(features.y.cpu())  # pyright: ignore[reportCallIssue, reportAttributeAccessIssue]

    def why_not(self, n_real: int, n_fake: int) -> str | None:
        return None if self._splits else f"it needs a labelled data set with its splits {', '.join(self.needed_splits)}"

    def anchor_settings(self) -> dict[str, Any]:
        return {"seed": self.seed}

    def score(self, x: Tensor, y: Tensor) -> Result:
        """Return the score of samples [M, ...] with classes [M]."""
        raise NotImplementedError

    def compute(self) -> Result:
        """Return the score of the fakes.  Raises Mistake if they have labels that the data do not have."""
        x, y = self.all_rows("x"), self.all_rows("y")
        if not self._splits:
            raise ValueError(f"{type(self).__name__} needs splits of the data set: call setup first")
        if int(y.max()) >= self._classes or int(y.min()) < 0:
            classes = f"{self._classes} classes, 0 to {self._classes - 1}"
            raise Mistake(
                f"samples are labelled {int(y.min())} to {int(y.max())}, and the data have {classes}.\n"
                "Label them as the data are, or leave out the metrics that need labels."
            )
        return self.score(x, y)


class ClassifierMetric(LabelledMetric):
    """A metric that trains a classifier by the default recipe for the data, on one CPU thread, for all epochs.

    There is no early stopping: real images must not affect training on fakes, nor the test split any training.
    """

    higher_is_better = True
    images_only = True

    def __init__(self, epochs: int | None = None, seed: int = 0) -> None:
        """`epochs` None: as in the recipe."""
        super().__init__(seed)
        if epochs is not None and epochs < 1:
            raise Mistake(f"a classifier cannot be trained for {epochs} epochs: at least 1, or null for the default.")
        self.epochs = epochs

    @property
    def recipe(self) -> Recipe:
        """How the classifier is trained; `limit` is the largest number of images, 50,000."""
        recipe = default_recipe(self._shape, self.seed) if self._shape else Recipe(0, 0, seed=self.seed)
        return recipe if self.epochs is None else replace(recipe, epochs=self.epochs)

    def train_classifier(self, x: Tensor, y: Tensor) -> Network:
        """Train a classifier on stored images x [N, C, H, W] and labels y [N]."""
        return self.build_network(train_classifier(x, y, self._classes, self.recipe).state)

    def build_network(self, state: dict[str, Tensor]) -> Network:
        """Return the classifier with these weights, in evaluation mode."""
        shape = self._shape[0], self._shape[1], self._shape[2]
        return network_from_state(shape, self._classes, self.recipe.dim, self.recipe.wide, state).eval()

    @torch.no_grad()
    def count_correct(self, network: Network, x: Tensor, y: Tensor) -> Tensor:
        """Return the numbers of samples and of correct predictions per class, [2, K], int64."""
        predicted = torch.cat([network(to_float(batch))[1].argmax(1) for batch in x.split(BATCH)])
        return torch.stack([label.bincount(minlength=self._classes) for label in (y, y[predicted == y])])

    def count_correct_in_split(self, network: Network, split: SplitLike) -> Tensor:
        """Return the same counts for a split, read batch by batch."""
        return torch.stack([self.count_correct(network, x, y) for x, y in labelled_batches(split)]).sum(0)


def total_accuracy(counts: Tensor) -> Tensor:
    """Accuracy over all classes, from the [2, K] of `count_correct`; a float64 scalar."""
    return counts[1].sum().to(torch.float64) / counts[0].sum()


def class_accuracies(counts: Tensor) -> list[float | None]:
    """Accuracy of each class, from the [2, K] of `count_correct`; None for a class without samples."""
    return [correct / n if n else None for n, correct in counts.T.tolist()]


def draw_labelled(split: SplitLike, n: int, seed: int, name: str) -> tuple[Tensor, Tensor]:
    """Draw n labelled samples of a split without replacement, or all if there are fewer; returned in stored order."""
    order = torch.randperm(len(split), generator=Stream(seed, name).generator)
    x, y = split[order[:n].sort().values]
    return x, _require_labels(y)


def load_labelled(split: SplitLike) -> tuple[Tensor, Tensor]:
    """Return all samples of a split, as stored, with their labels."""
    x, y = zip(*labelled_batches(split), strict=True)
    return torch.cat(x), torch.cat(y)


def labelled_batches(split: SplitLike, size: int = BATCH) -> Iterator[tuple[Tensor, Tensor]]:
    """Iterate over the samples and labels of a split in batches."""
    return ((x, _require_labels(y)) for x, y in split.batches(size))


def _require_labels(y: Tensor | None) -> Tensor:
    if y is None:
        raise ValueError("these samples have no labels")
    return y
