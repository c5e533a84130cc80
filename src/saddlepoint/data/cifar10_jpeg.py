"""CIFAR-10's 50,000 training images, 32x32, stored as JPEG.  Krizhevsky 2009.

JPEG is lossy, so the pixels differ from the original and scores are not comparable with scores on CIFAR-10.  The images
are read from <root>/cifar10-train.zip, which has one folder per class, without unpacking it.

Split by sha256 of the names (see `folder`): train 40,000, validation 5,000, test 5,000.  CIFAR-10's 10,000 test images
are not included.
"""

from collections.abc import Iterable
from pathlib import Path

from saddlepoint.data.image_folder import ImageFolder
from saddlepoint.error import Mistake

FILE = "cifar10-train.zip"


class CIFAR10JPEG(ImageFolder):
    """x uint8 [n, 3, 32, 32], ten classes in alphabetical order.  `root` is the folder of the zip."""

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
        only_labelled: bool = False,
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
            only_labelled=only_labelled,
        )

    @property
    def missing_files(self) -> list[str]:
        """The name of the zip, if it is missing."""
        return [] if (self.root / FILE).is_file() else [FILE]

    def prepare_data(self) -> None:
        """Raises Mistake if the zip is missing; it is not available for download."""
        if self.missing_files:
            raise Mistake(
                f"{self.name}: {FILE} is missing in {self.root}. Set data.root=<the folder of {FILE}>, or pack "
                "CIFAR-10's training images into a zip of class folders and use data=image_folder data.folder=<zip>."
            )
