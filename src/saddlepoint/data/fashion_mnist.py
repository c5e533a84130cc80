"""Fashion-MNIST: 70,000 grey images of clothes, 28x28, ten classes.  Xiao, Rasul & Vollgraf 2017 (arXiv:1708.07747).

Splits, `reserved`, layout and download are as in `mnist`.  The known sha256 are those of the four .gz files, which a
download keeps.  A download is checked against them.  Each start checks the size, header and labels of every file, and
if its .gz is there, the sha256 of the .gz and that the file equals its content.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

import torchvision.datasets

from saddlepoint.data.mnist import MNIST


class FashionMNIST(MNIST):
    """x uint8 [n, 1, 28, 28], ten classes.  `root` is the folder of FashionMNIST/raw."""

    name = "fashion_mnist"
    torchvision_class: ClassVar[type[torchvision.datasets.MNIST]] = torchvision.datasets.FashionMNIST
    file_sha256: ClassVar[Mapping[str, str]] = {}
    archive_sha256: ClassVar[Mapping[str, str]] = {
        "train-images-idx3-ubyte.gz": "3aede38d61863908ad78613f6a32ed271626dd12800ba2636569512369268a84",
        "train-labels-idx1-ubyte.gz": "a04f17134ac03560a47e3764e11b92fc97de4d1bfaf8ba1a3aa29af54cc90845",
        "t10k-images-idx3-ubyte.gz": "346e55b948d973a97e58d2351dde16a484bd415d4595297633bb08f03db6a073",
        "t10k-labels-idx1-ubyte.gz": "67da17c76eaffca5446c3361aaab5c3cd6d1c2608764d35dfb1850b086bf8dd5",
    }

    def __init__(self, root: str | Path = "data", extractor: str | None = "trained", **mnist: Any) -> None:
        super().__init__(root, extractor=extractor, **mnist)
