"""Coloured MNIST: MNIST in red and green, in the training images 90:10, as `data.coloured_digits` describes."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, ClassVar

from saddlepoint.data.coloured_digits import ColouredDigits
from saddlepoint.data.data import Split
from saddlepoint.data.mnist import MNIST


class ColouredMNIST(ColouredDigits):
    """x uint8 [n, 3, 28, 28], ten classes.  `root` is the folder of MNIST/raw."""

    name = "coloured_mnist"
    mnist_class: ClassVar[type[MNIST]] = MNIST
    n_train: ClassVar[int] = MNIST.counts["train"] - MNIST.held_out

    def __init__(
        self,
        root: str | Path = "data",
        ratio: float = 0.9,
        reference: int = 5_000,
        keep: str = "all",
        weights: str | None = None,
        draw: int = 0,
        shape: Iterable[int] = (3, 28, 28),
        classes: int | None = 10,
        extractor: str | None = "coloured-mnist",
        **rest: Any,
    ) -> None:
        super().__init__(ratio, reference, keep, weights, draw, shape, classes, extractor, **rest)
        self.mnist = self.mnist_class(root, reserved=reference)

    @property
    def missing_files(self) -> list[str]:
        """The names of MNIST's missing files."""
        return self.mnist.missing_files

    def prepare_data(self) -> None:
        """Download MNIST's missing files; raises Mistake if that fails."""
        self.mnist.prepare_data()

    def grey_splits(self) -> Mapping[str, Split]:
        return self.mnist.splits()
