"""Fashion-MNIST: 70,000 grey pictures of clothes, 28x28, ten classes.  Xiao, Rasul & Vollgraf 2017 (arXiv:1708.07747).

Split, reserve, layout and download as in `mnist`.  Of the raw files no sha256 is recorded (there is one for MNIST
only): torchvision holds each downloaded .gz against its md5, and on every start the size, the header and the labels of
each file are checked, and the file itself against the .gz beside it, and that against its md5, where the .gz is kept,
as a download does.
"""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, ClassVar

import torchvision.datasets

from saddlepoint.data.mnist import MNIST


class FashionMNIST(MNIST):
    """x uint8 [n, 1, 28, 28], ten classes.  `root` is the folder that holds FashionMNIST/raw."""

    name = "fashion_mnist"
    source: ClassVar[type[torchvision.datasets.MNIST]] = torchvision.datasets.FashionMNIST
    sha256: ClassVar[Mapping[str, str]] = {}

    def __init__(
        self,
        root: str | Path = "data",
        shape: Iterable[int] = (1, 28, 28),
        classes: int | None = 10,
        extractor: str | None = "trained",
        reserved: int = 0,
        batch: int = 64,
        seed: int = 0,
        **labelled: Any,
    ) -> None:
        super().__init__(root, shape, classes, extractor, reserved, batch, seed, **labelled)
