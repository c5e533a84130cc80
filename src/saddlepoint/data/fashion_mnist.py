"""Fashion-MNIST: 70,000 grey pictures of clothes, 28x28, ten classes.  Xiao, Rasul & Vollgraf 2017 (arXiv:1708.07747).

Split, reserve, layout and download as in `mnist`.  A sha256 is known of the four .gz, and not of what they hold (there
is one for MNIST only): a download is held against it, and on every start the size, the header and the labels of each
file are checked, and the file itself against the .gz beside it, and that against its sha256, where the .gz is kept, as
a download does.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

import torchvision.datasets

from saddlepoint.data.mnist import MNIST


class FashionMNIST(MNIST):
    """x uint8 [n, 1, 28, 28], ten classes.  `root` is the folder that holds FashionMNIST/raw."""

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
