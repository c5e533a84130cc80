"""1,797 handwritten digits, 8x8: the test half of Optical Recognition of Handwritten Digits.  Alpaydin & Kaynak 1998.

The images come with scikit-learn, so there is no download.  Grey levels 0..16 become uint8 by round(255 v / 16).

The split is fixed: train 897, validation 450, test 450.  Item i has the key sha256("digits/i").  Each class is sorted
by key, the j-th of its n_c items gets the rank (j + 1/2) / n_c, and all items are sorted by rank, then class.  Train,
validation and test are consecutive slices of this sequence; any slice has each class in proportion, to within one or
two items.  The same 13 writers wrote all splits.  With `reserved`, the last training images of the sequence become a
split of that name, which is never trained on: reserved=797 leaves 100, ten or so of each class.
"""

from collections.abc import Iterable
from hashlib import sha256
from typing import Any

import torch
from torch import Tensor

from saddlepoint.data.data import Data, Split
from saddlepoint.error import Mistake

SIZES = {"train": 897, "validation": 450, "test": 450}
HELD_OUT = ("validation", "test")


class Digits(Data):
    """The 8x8 digits, x uint8 [n, 1, 8, 8], ten classes.  `reserved`: training images set aside; None: none.

    Raises Mistake unless a training image remains.
    """

    name = "digits"

    def __init__(
        self,
        shape: Iterable[int] = (1, 8, 8),
        classes: int | None = 10,
        extractor: str | None = "digits",
        reserved: int | None = None,
        **rest: Any,
    ) -> None:
        super().__init__(shape, classes, extractor, **rest)
        if reserved is not None and (type(reserved) is not int or not 0 < reserved < SIZES["train"]):
            raise Mistake(
                f"data.reserved={reserved}: must be null or a number of training images to set aside, from 1 to "
                f"{SIZES['train'] - 1}."
            )
        self.reserved = reserved
        self.exchangeable_splits = tuple(self._sizes())

    def _sizes(self) -> dict[str, int]:
        """Return the size of each split, in the order of the sequence."""
        if self.reserved is None:
            return SIZES
        return {"train": SIZES["train"] - self.reserved, "reserved": self.reserved, **{n: SIZES[n] for n in HELD_OUT}}

    def splits(self) -> dict[str, Split]:
        from sklearn.datasets import load_digits  # takes half a second, so only if this data set is used

        images, labels = load_digits(return_X_y=True)
        x = torch.from_numpy(images).mul(255 / 16).round().to(torch.uint8).view(-1, 1, 8, 8)
        y = torch.from_numpy(labels).to(torch.int64)
        sizes = self._sizes()
        indices = stratified_order(y, "digits").split(list(sizes.values()))
        return {name: Split(name, x[index], y[index], 10) for name, index in zip(sizes, indices, strict=True)}


def stratified_order(y: Tensor, name: str) -> Tensor:
    """Return the fixed order that the module docstring defines: a permutation, int64 [n], for classes y, int64 [n]."""
    keys = [sha256(f"{name}/{item}".encode()).digest() for item in range(len(y))]
    ranked = []
    for label in y.unique().tolist():
        members = sorted((y == label).nonzero().flatten().tolist(), key=keys.__getitem__)
        for j, item in enumerate(members):
            ranked.append(((j + 0.5) / len(members), label, item))
    return torch.tensor([item for _, _, item in sorted(ranked)])
