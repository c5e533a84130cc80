"""Two sets of digits without pairs at 16 x 16: MNIST as x, the 8 x 8 digits of scikit-learn as column `source`.

MNIST: the middle 24 x 24 of 28 x 28 pixels, resized to 16 x 16; the digits are enlarged from 8 x 8 (both with an
antialiased bilinear filter).  Train has the first `number` training images of MNIST and all 897 training digits,
validation and test have all of both sets.  y are the classes of MNIST, column `source_y` those of the digits: a
translation should keep the class, and the data do not show which classes correspond.
"""

from collections.abc import Iterable
from pathlib import Path

import torch
from torch import Tensor
from torch.nn.functional import interpolate

from saddlepoint.data.data import Data, Split
from saddlepoint.data.digits import Digits
from saddlepoint.data.mnist import MNIST
from saddlepoint.data.paired_images import SOURCE
from saddlepoint.data.unpaired_images import SOURCE_CLASS
from saddlepoint.error import Mistake

SIDE, MARGIN = 16, 2  # pixels; MNIST has an empty margin of 4


class DigitsMNIST(Data):
    """x uint8 [n, 1, 16, 16]; columns source uint8 [m, 1, 16, 16] and source_y.  `root` is the folder of MNIST/raw.

    Raises Mistake unless `number` is at least 1.
    """

    name = "digits_mnist"
    exchangeable_splits = ()  # as of MNIST

    def __init__(
        self,
        root: str | Path = "data",
        number: int = 10_000,
        shape: Iterable[int] = (1, SIDE, SIDE),
        classes: int | None = 10,
        extractor: str | None = "trained",
        batch: int = 64,
        seed: int = 0,
    ) -> None:
        if type(number) is not int or number < 1:
            raise Mistake(f"data.number={number}: must be an integer of at least 1, the number of MNIST images.")
        super().__init__(shape, classes, extractor, batch, seed)
        self.number, self.mnist, self.digits = number, MNIST(root), Digits()

    @property
    def missing_files(self) -> list[str]:
        """The names of MNIST's missing files."""
        return self.mnist.missing_files

    def prepare_data(self) -> None:
        """Download MNIST's missing files; raises Mistake if that fails."""
        self.mnist.prepare_data()

    def splits(self) -> dict[str, Split]:
        digits = self.digits.splits()
        splits = {}
        for name, split in self.mnist.splits().items():
            n = self.number if name == "train" else len(split)
            x, y = split[torch.arange(min(n, len(split)))]
            source = {SOURCE: resize_digits(digits[name].x), SOURCE_CLASS: digits[name].y}
            splits[name] = Split(
                name, resize_digits(x[..., MARGIN:-MARGIN, MARGIN:-MARGIN]), y, 10, source, self.modality, paired=False
            )  # fmt: skip
        return splits


def resize_digits(x: Tensor) -> Tensor:
    """Return grey images, uint8 [n, 1, H, W], at 16 x 16."""
    small = interpolate(x.to(torch.float32), (SIDE, SIDE), mode="bilinear", antialias=True)
    return small.round().clamp(0, 255).to(torch.uint8)
