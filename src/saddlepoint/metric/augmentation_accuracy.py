"""Does a generator help a classifier that has few labels? Test accuracy with and without its samples, at equal updates.

    accuracy_a = (1 / N) sum_i 1[argmax_k logits_k(x_i; trained on batches of arm a) = y_i],   x_i, y_i: the test split

    a        a batch of B images
    real     B of the few labelled images
    affine   B of them, each rotated by U[-degrees, degrees] and shifted by U[-shift, shift] pixels in both directions
    gan      B/2 of them and B/2 samples of the generator, with the classes that they were generated for
    both     as gan, rotated and shifted as in affine
    all      B of all training images, the withheld ones too: the ceiling

Every arm has the same network, initial weights, number of updates, optimizer and schedule, and draws the same reals.
Nothing is tuned and nothing is stopped early, so no validation images are used. Ravuri & Vinyals 2019
(arXiv:1905.10887), section 4.4, add samples to all of ImageNet; Antoniou et al. 2017 (arXiv:1711.04340) to few images.
"""

from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import affine_grid, grid_sample

from saddlepoint.error import Mistake
from saddlepoint.extractor.data_like import DataLike
from saddlepoint.extractor.training import train_on_batches
from saddlepoint.metric.labelled_metric import ClassifierMetric, class_accuracies, load_labelled, total_accuracy
from saddlepoint.metric.metric import Result
from saddlepoint.pixel import to_float
from saddlepoint.stream import Stream

UNLABELLED = "unlabelled"  # the split of the training images that `data.only_labelled` withholds
ARMS = {"real": "reals", "affine": "reals, moved", "gan": "reals, fakes", "both": "reals, fakes, moved", "all": "all"}


class AugmentationAccuracy(ClassifierMetric):
    """The accuracy of each arm, in [0, 1]; its name is the suffix: augmentation_accuracy_real, ...

    updates, batch   updates of each classifier, and images per update
    shift            pixels
    degrees          the largest angle
    seed             of the initial weights, the order of images and the affine maps; the contract does not record it
    Raises Mistake for settings that are out of range.
    """

    contract_attributes = ("updates", "batch", "shift", "degrees")

    def __init__(
        self, updates: int = 1000, batch: int = 64, shift: float = 2.0, degrees: float = 15.0, seed: int = 0
    ) -> None:
        super().__init__(None, seed)
        if updates < 1 or batch < 2 or shift < 0 or degrees < 0:
            raise Mistake(
                f"metric.augmentation_accuracy: updates={updates} must be at least 1, batch={batch} at least 2, "
                f"shift={shift} and degrees={degrees} at least 0."
            )
        self.updates, self.batch, self.shift, self.degrees = updates, batch, shift, degrees
        self._without_fakes: dict[str, Result] = {}  # the arms that do not depend on the generator, measured once

    def setup(self, data: DataLike) -> str | None:
        self._without_fakes = {}
        if reason := super().setup(data):
            return reason
        if not data.describe()["sizes"].get(UNLABELLED):
            self._splits = {}
            return "it compares few labels with all: set data.labels=<a number per class> data.only_labelled=true"
        self._splits[UNLABELLED] = data.split(UNLABELLED)
        return None

    def directions(self) -> dict[str, bool]:
        return dict.fromkeys(ARMS, True)

    def settings(self, n_real: int, n_fake: int) -> dict[str, Any]:
        test = self._splits.get("test")
        return super().settings(n_real, n_fake) | {"dim": self.recipe.dim, "test": test.sha256 if test else None}

    def score(self, x: Tensor, y: Tensor) -> dict[str, Result]:  # pyright: ignore[reportIncompatibleMethodOverride]
        """Return the accuracy of each arm, with the fakes x [M, C, H, W], uint8, of classes y [M]."""
        reals, fakes = load_labelled(self._splits["train"]), (x, y)
        rest = load_labelled(self._splits[UNLABELLED])
        every = torch.cat([reals[0], rest[0]]), torch.cat([reals[1], rest[1]])
        if not self._without_fakes:
            self._without_fakes = {
                "real": self._accuracy(reals),
                "affine": self._accuracy(reals, moved=True),
                "all": self._accuracy(every),
            }
        with_fakes = {"gan": self._accuracy(reals, fakes), "both": self._accuracy(reals, fakes, moved=True)}
        results = self._without_fakes | with_fakes
        return {name: results[name] for name in ARMS}

    def batches(
        self, reals: tuple[Tensor, Tensor], fakes: tuple[Tensor, Tensor] | None = None, moved: bool = False
    ) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield batches of float images [B, C, H, W] and classes [B] without end, each image drawn with replacement."""
        stream = Stream(self.seed, "augmentation")
        sizes = [self.batch] if fakes is None else [self.batch // 2, self.batch - self.batch // 2]
        sources = [reals] if fakes is None else [reals, fakes]
        while True:
            x, y = [], []
            for name, size, (images, labels) in zip(("reals", "fakes"), sizes, sources, strict=False):
                rows = stream.child(name).integers(len(images), self.batch)[:size]  # every arm draws the same reals
                x.append(to_float(images[rows]))
                y.append(labels[rows])
            images = torch.cat(x)
            yield self._move(images, stream.child("affine")) if moved else images, torch.cat(y)

    def _move(self, x: Tensor, stream: Stream) -> Tensor:
        draw = 2 * stream.uniform(len(x), 3) - 1
        return affine(x, self.degrees * draw[:, 0], self.shift * draw[:, 1:])

    def _accuracy(
        self, reals: tuple[Tensor, Tensor], fakes: tuple[Tensor, Tensor] | None = None, moved: bool = False
    ) -> Result:
        shape = self._shape[0], self._shape[1], self._shape[2]
        network = train_on_batches(self.batches(reals, fakes, moved), self.updates, shape, self._classes, self.recipe)
        counts = self.count_correct_in_split(network.eval(), self._splits["test"])
        detail: Mapping[str, Any] = {
            "class_accuracy": class_accuracies(counts),
            "reals": len(reals[0]),
            "fakes": 0 if fakes is None else len(fakes[0]),
            "updates": self.updates,
        }
        return Result(total_accuracy(counts), None, detail)


def affine(x: Tensor, degrees: Tensor, shift: Tensor) -> Tensor:
    """Rotate float images x [N, C, H, W] clockwise about their centre, then shift them; outside is black, -1.

    degrees [N]; shift [N, 2], pixels to the right and down. Bilinear interpolation.
    """
    height, width = x.shape[2:]
    cos, sin = degrees.deg2rad().cos(), degrees.deg2rad().sin()
    right, down = shift.unbind(1)
    # from a pixel of the result to its source: R(-angle) (p - shift), in units of half the image's size
    rows = [cos, sin * height / width, -2 / width * (cos * right + sin * down)]
    rows += [-sin * width / height, cos, -2 / height * (-sin * right + cos * down)]
    grid = affine_grid(torch.stack(rows, 1).view(-1, 2, 3), list(x.shape), align_corners=False)
    return grid_sample(x + 1, grid, mode="bilinear", padding_mode="zeros", align_corners=False) - 1
