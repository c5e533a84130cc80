"""Stacked-MNIST: three independent digits as red, green and blue; 1,000 classes, 100 a + 10 b + c.  Metz et al. 2017.

    train        `number` stacks (128,000), drawn once from MNIST's 50,000 training digits
    validation   26,000 stacks of MNIST's 10,000 validation digits
    test         26,000 stacks of MNIST's 10,000 test digits

Each channel is drawn uniformly with replacement.  `draw` is the seed of the stacks; they do not depend on the run's
seed, and a larger `number` begins with the same stacks.  Only the indices of the digits are stored, since 128,000
stacks would take 300 MB; a stack is built when it is read.

The papers use other draws.  Metz et al. (Unrolled GAN, arXiv:1611.02163) draw new stacks in each iteration, in Lin et
al.'s code from the 60,000 training digits.  Srivastava et al. (VEEGAN, arXiv:1705.07761) and Lin et al. (PacGAN,
arXiv:1712.04086) train on 128,000 stacks drawn once from all 70,000 digits of train and test.  Here no digit is in two
splits, and the shipped classifier was not trained on digits of validation or test.
"""

import hashlib
from collections.abc import Iterable, Iterator
from functools import cached_property
from pathlib import Path
from typing import ClassVar

import torch
from torch import Tensor

from saddlepoint.data.data import Data, Rows, Split
from saddlepoint.data.mnist import MNIST
from saddlepoint.error import Mistake
from saddlepoint.stream import Stream

HELD_OUT = 26_000  # stacks of validation, and of test


class StackedMNIST(Data):
    """x uint8 [n, 3, 28, 28], 1,000 classes.  `root` is the folder of MNIST/raw."""

    name = "stacked_mnist"
    mnist_class: ClassVar[type[MNIST]] = MNIST
    exchangeable_splits = ()  # MNIST's splits are not a random partition of one set of digits

    def __init__(
        self,
        root: str | Path = "data",
        number: int = 128_000,
        draw: int = 0,
        shape: Iterable[int] = (3, 28, 28),
        classes: int | None = 1000,
        extractor: str | None = "stacked-mnist",
        batch: int = 64,
        seed: int = 0,
        flip: bool = False,
    ) -> None:
        if number < 1:
            raise Mistake(f"data.number={number}: must be at least 1, the number of training stacks.")
        super().__init__(shape, classes, extractor, batch, seed, flip=flip)
        self.number, self.draw = number, draw
        self.mnist = self.mnist_class(root)

    @property
    def missing_files(self) -> list[str]:
        """The names of MNIST's missing files."""
        return self.mnist.missing_files

    def prepare_data(self) -> None:
        """Download MNIST's missing files; raises Mistake if that fails."""
        self.mnist.prepare_data()

    def splits(self) -> dict[str, Split]:
        sizes = {"train": self.number, "validation": HELD_OUT, "test": HELD_OUT}
        return {
            name: self._draw_split(name, digits, sizes[name])
            for name, digits in self.mnist.splits().items()
            if name in sizes
        }

    def _draw_split(self, name: str, digits: Split, n: int) -> Split:
        digit_indices = Stream(self.draw, f"stacked_mnist/{name}").integers(len(digits), 3 * n)
        return StackedSplit(digits, digit_indices.view(n, 3))


class StackedSplit(Split):
    """Stacks of three digits of a split, those at `digit_indices` [n, 3]; each stack is built when it is read."""

    def __init__(self, digits: Split, digit_indices: Tensor) -> None:
        if digits.y is None:
            raise ValueError("the digits of a StackedSplit must have classes")
        self.name, self.shape, self.classes = digits.name, (3, *digits.shape[1:]), 1000
        self.digits, self.digit_indices = digits.x, digit_indices
        self.labels: Tensor = (digits.y[digit_indices] * torch.tensor([100, 10, 1])).sum(1)
        self._copies = self.digits, self.digit_indices, self.labels  # on the device last used

    def __len__(self) -> int:
        return len(self.digit_indices)

    def __getitem__(self, index: Tensor) -> Rows:
        return _build_stacks(self.digits, self.digit_indices[index]), self.labels[index]

    def batches_at(self, indices: Iterable[Tensor], device: torch.device | str = "cpu") -> Iterator[Rows]:
        """Yield the stacks at each index, built on `device`; the digits are copied to the device once."""
        device = torch.device(device)
        if self._copies[0].device != device:
            self._copies = self.digits.to(device), self.digit_indices.to(device), self.labels.to(device)
        digits, digit_indices, labels = self._copies
        for index in indices:
            index = index.to(device)
            yield _build_stacks(digits, digit_indices.index_select(0, index)), labels.index_select(0, index)

    @cached_property
    def sha256(self) -> str:
        """sha256 of the digits, indices and labels, which determine the stacks and take a seventh of their bytes."""
        content = hashlib.sha256(f"stacks {self.digits.dtype} {list(self.shape)} {len(self)}".encode())
        for tensor in (self.digits, self.digit_indices, self.labels):
            content.update(tensor.contiguous().numpy().tobytes())
        return content.hexdigest()


def _build_stacks(digits: Tensor, digit_indices: Tensor) -> Tensor:
    """Return stacks, uint8 [n, 3, H, W], of digits [m, 1, H, W] at indices [n, 3]."""
    return digits.index_select(0, digit_indices.flatten()).view(len(digit_indices), 3, *digits.shape[2:])
