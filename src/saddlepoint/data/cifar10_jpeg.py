"""CIFAR-10's 50,000 training images, 32x32, stored as JPEG.  Krizhevsky 2009.

JPEG loses detail, so these are other pixels than the original's, and scores on them are not comparable with scores on
CIFAR-10; hence a name of its own.  Read in place from <root>/cifar10-train.zip, one folder per class.

Split: by sha256 of the names (see `image_folder`): train 40,000, validation 5,000, test 5,000, a random cut of one
pool.  CIFAR-10's own 10,000 test images are not among them.
"""

from collections.abc import Iterable
from pathlib import Path

from saddlepoint.data.image_folder import ImageFolder
from saddlepoint.error import Mistake

FILE = "cifar10-train.zip"


class CIFAR10JPEG(ImageFolder):
    """x uint8 [n, 3, 32, 32], ten classes in the alphabet's order.  `root` is the folder that holds the zip."""

    name = "cifar10_jpeg"

    def __init__(
        self,
        root: str | Path = "data",
        workers: int = 4,
        shape: Iterable[int] = (3, 32, 32),
        classes: int | None = 10,
        extractor: str | None = "cifar10-jpeg",
        batch: int = 64,
        seed: int = 0,
        labels: int | None = None,
        label_seed: int = 0,
        labelled_batch: int | None = None,
        flip: bool = False,
    ) -> None:
        self.root = Path(root).expanduser().absolute()
        super().__init__(
            self.root / FILE,
            workers=workers,
            shape=shape,
            classes=classes,
            extractor=extractor,
            batch=batch,
            seed=seed,
            labels=labels,
            label_seed=label_seed,
            labelled_batch=labelled_batch,
            flip=flip,
        )

    @property
    def missing_files(self) -> list[str]:
        """The zip's name, where it is not there."""
        return [] if (self.root / FILE).is_file() else [FILE]

    def prepare_data(self) -> None:
        """Nothing; raises Mistake where the zip is missing, for nobody hosts it."""
        if self.missing_files:
            raise Mistake(
                f"{self.name}: {FILE} is missing in {self.root}. Say data.root=<the folder that holds it>, or pack "
                "CIFAR-10's training images into a zip of class folders and use data=image_folder data.folder=<zip>."
            )
