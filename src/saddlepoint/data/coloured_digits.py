"""Coloured digits: each image is red or green, in the training images 90:10.  For the study of docs/fairness.md.

    train        of `ratio` red, the others green: the biased set
    reference    `reference` of the training images, set aside, half of them red: the small unbiased set
    validation   half red
    test         half red

A grey image g becomes (g, 0, 0) if it is red and (0, g, 0) if it is green, so an exact rule finds the colour of a
sample: green if the mean of its green channel is above that of its red channel.  A permutation of each split, with
the seed `draw`, chooses which images are red; their number is exact.  The class is the digit, the column `colour` is 0
(red) or 1 (green).

With `weights`, the training images have a column `weight`, w(x) = p_ref(x) / p_train(x), for
`regularizer=[importance_weighting]` (Choi et al. 2020, arXiv:1910.12008):

    oracle       0.5 / ratio of a red image and 0.5 / (1 - ratio) of a green one, by its true colour
    classifier   of a calibrated classifier of train against reference (`data.density_ratio`), without column `colour`
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor

from saddlepoint.data.data import Data, Split
from saddlepoint.data.density_ratio import FOLDS, density_ratio
from saddlepoint.data.digits import Digits
from saddlepoint.error import Mistake, did_you_mean
from saddlepoint.stream import Stream

COLOUR, WEIGHT, COLOURS = "colour", "weight", ("red", "green")
TRAIN, REFERENCE = "train", "reference"
WEIGHTS, KEEP = ("oracle", "classifier"), ("all", "balanced")


def colour_of(x: Tensor) -> Tensor:
    """Return the colour of images [n, 3, H, W], int64 [n]: 1 if the mean of green is above that of red, else 0."""
    red, green, _ = x.to(torch.float64).mean((2, 3)).unbind(1)
    return (green > red).to(torch.int64)


def paint(grey: Tensor, colour: Tensor) -> Tensor:
    """Return grey images [n, 1, H, W] in their colour, [n, 3, H, W]."""
    x = grey.new_zeros(len(grey), 3, *grey.shape[2:])
    x[torch.arange(len(grey)), colour] = grey[:, 0]
    return x


class ColouredDigits(Data):
    """x uint8 [n, 3, H, W], columns colour, int64 [n], and weight, float32 [n], of training images.

    ratio      share of red ones among the training images, in (0, 1)
    reference  number of training images that are set aside as the reference set; even
    keep       all, or balanced: discard training images of the more frequent colour until both are as frequent
    weights    oracle, classifier, or None: no column
    draw       seed of the colours and of the classifier's folds, independent of the run's seed
    Raises Mistake for settings that these do not allow, and weights of a balanced set.
    """

    name = "coloured_digits"
    exchangeable_splits = ()  # the training images have other colours than the held-out ones
    unbiased_splits = (REFERENCE, "validation", "test")
    value_names: Mapping[str, Sequence[str]] = {COLOUR: COLOURS}
    exact_rules: Mapping[str, Callable[[Tensor], Tensor]] = {COLOUR: colour_of}
    n_train: ClassVar[int] = 897

    def __init__(
        self,
        ratio: float = 0.9,
        reference: int = 90,
        keep: str = "all",
        weights: str | None = None,
        draw: int = 0,
        shape: Iterable[int] = (3, 8, 8),
        classes: int | None = 10,
        extractor: str | None = "coloured-digits",
        **rest: Any,
    ) -> None:
        super().__init__(shape, classes, extractor, **rest)
        if not 0 < ratio < 1:
            raise Mistake(f"data.ratio={ratio}: the share of red training images is above 0 and below 1, such as 0.9.")
        most = self.n_train - 2
        if reference % 2 or not 2 * FOLDS <= reference <= most:
            raise Mistake(
                f"data.reference={reference}: the reference set has an even number of training images, from "
                f"{2 * FOLDS} to {most - most % 2:,}; half of them are red."
            )
        if keep not in KEEP:
            raise Mistake(f"data.keep={keep}: choose one of {', '.join(KEEP)}.{did_you_mean(keep, KEEP)}")
        if weights is not None and weights not in WEIGHTS:
            raise Mistake(
                f"data.weights={weights}: choose one of {', '.join(WEIGHTS)}, or null.{did_you_mean(weights, WEIGHTS)}"
            )
        if weights is not None and keep == "balanced":
            raise Mistake(f"data.weights={weights} data.keep=balanced: a balanced set has no weights. Set one of them.")
        self.ratio, self.reference, self.keep, self.weights, self.draw = ratio, reference, keep, weights, draw

    def grey_splits(self) -> Mapping[str, Split]:
        """Return the grey splits train, reserved, validation and test, with `reference` images in reserved."""
        return Digits(reserved=self.reference).splits()

    def splits(self) -> dict[str, Split]:
        grey = self.grey_splits()
        parts = {TRAIN: grey[TRAIN], REFERENCE: grey["reserved"], **{n: grey[n] for n in ("validation", "test")}}
        splits = {name: self._paint_split(name, part) for name, part in parts.items()}
        train = splits[TRAIN]
        counts = train.extra_columns[COLOUR].bincount(minlength=2).tolist()
        if 0 in counts:
            raise Mistake(
                f"data.ratio={self.ratio}: none of the {len(train):,} training images is {COLOURS[counts.index(0)]}."
            )
        if self.keep == "balanced":
            splits[TRAIN] = self._balance(train)
        elif self.weights is not None:
            weight = self._weigh(train, splits[REFERENCE])
            self.notes = [
                f"{self.weights} weights: mean {weight.mean():.3f}, from {weight.min():.2f} to {weight.max():.2f}, "
                f"effective sample size {weight.sum().square() / weight.square().sum():.0f} of {len(weight):,}"
            ]
            columns = {**train.extra_columns, WEIGHT: weight}
            splits[TRAIN] = Split(TRAIN, train.x, train.y, train.classes, columns)
        return splits

    def _permutation(self, name: str, n: int) -> Tensor:
        return torch.randperm(n, generator=Stream(self.draw, f"{COLOUR}/{name}").generator)

    def _paint_split(self, name: str, grey: Split) -> Split:
        share = self.ratio if name == TRAIN else 0.5
        colour = torch.ones(len(grey), dtype=torch.int64)
        colour[self._permutation(name, len(grey))[: round(share * len(grey))]] = 0
        return Split(name, paint(grey.x, colour), grey.y, grey.classes, {COLOUR: colour})

    def _balance(self, train: Split) -> Split:
        """Return as many rows of each colour as there are of the rarer one, in the order of the split."""
        order = self._permutation("balanced", len(train))
        colour = train.extra_columns[COLOUR]
        each = int(colour.bincount().min())
        rows = torch.cat([order[colour[order] == value][:each] for value in range(len(COLOURS))]).sort().values
        x, y = train[rows]
        return Split(TRAIN, x, y, train.classes, train.extra_columns_at(rows))

    def _weigh(self, train: Split, reference: Split) -> Tensor:
        if self.weights == "oracle":
            return torch.tensor([0.5 / self.ratio, 0.5 / (1 - self.ratio)])[train.extra_columns[COLOUR]]
        return density_ratio(train.x, reference.x, self.draw)
