"""MNIST: 70,000 handwritten digits, 28x28.  LeCun, Bottou, Bengio & Haffner 1998; LeCun & Cortes, CC BY-SA 3.0.

Split: train is the first 50,000 training images, validation the last 10,000 of them (as in Goodfellow et al. 2014,
arXiv:1406.2661), test the 10,000 test images.  Neither is a random sample of the same population as train: other people
wrote the test images, and the training images are not shuffled.  `reserved` images of the 50,000, drawn by a fixed
permutation, become a split of that name.  It has the distribution of train and is never trained on, as the tests for
memorisation need it.

The four original IDX files are read from <root>/MNIST/raw, torchvision's location, and each is checked against its
sha256 at every start.  Missing files are downloaded by torchvision to a temporary folder, verified there and then
moved, so a failed download leaves nothing behind.
"""

import gzip
import hashlib
import socket
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from http.client import HTTPException
from io import BytesIO
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, ClassVar

import torch
import torchvision.datasets
from torch import Tensor
from torchvision.datasets.mnist import read_image_file, read_label_file

from saddlepoint.data.data import Data, Split
from saddlepoint.error import Mistake
from saddlepoint.run.storage import atomic
from saddlepoint.stream import Stream


class MNIST(Data):
    """x uint8 [n, 1, 28, 28], ten classes.  `root` is the folder of MNIST/raw; `reserved` as above."""

    name = "mnist"
    torchvision_class: ClassVar[type[torchvision.datasets.MNIST]] = torchvision.datasets.MNIST
    counts: ClassVar[Mapping[str, int]] = {"train": 60_000, "t10k": 10_000}
    archive_sha256: ClassVar[Mapping[str, str]] = {}  # sha256 of each .gz, if the sha256 of its content is not known
    held_out: ClassVar[int] = 10_000  # the number of validation images, the last training images
    file_sha256: ClassVar[Mapping[str, str]] = {
        "train-images-idx3-ubyte": "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
        "train-labels-idx1-ubyte": "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
        "t10k-images-idx3-ubyte": "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
        "t10k-labels-idx1-ubyte": "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
    }

    def __init__(
        self,
        root: str | Path = "data",
        shape: Iterable[int] = (1, 28, 28),
        classes: int | None = 10,
        extractor: str | None = "mnist",
        reserved: int = 0,
        **rest: Any,
    ) -> None:
        super().__init__(shape, classes, extractor, **rest)
        most = self.counts["train"] - self.held_out - 1
        if type(reserved) is not int or not 0 <= reserved <= most:
            raise Mistake(
                f"data.reserved={reserved}: must be a number of training images to set aside, from 0 to {most:,}."
            )
        self.reserved, self.exchangeable_splits = reserved, ("train", "reserved") if reserved else ()
        self.root = Path(root).expanduser().absolute()
        self.raw_folder = self.root / self.torchvision_class.__name__ / "raw"

    @property
    def missing_files(self) -> list[str]:
        """The names of the IDX files that are not in `raw_folder`."""
        names = (name.removesuffix(".gz") for name, _ in self.torchvision_class.resources)
        return [name for name in names if not (self.raw_folder / name).is_file()]

    def prepare_data(self) -> None:
        """Download the missing files to `raw_folder`; raises Mistake if that fails."""
        if not self.missing_files:
            return
        with TemporaryDirectory() as scratch:
            try:
                with _socket_timeout(seconds=30):
                    self.torchvision_class(scratch, download=True)
            except (OSError, RuntimeError, HTTPException) as error:
                reason = f"could not be downloaded ({' '.join(str(error).split())[:160]})"
                raise Mistake(self._missing_message(reason)) from error
            downloads = Path(scratch) / self.torchvision_class.__name__ / "raw"
            for name in self.missing_files:
                if problem := self._find_problem(downloads / name):
                    raise Mistake(self._missing_message(f"were downloaded, but {name}: {problem}"))
            try:
                self.raw_folder.mkdir(parents=True, exist_ok=True)
                for file in downloads.iterdir():
                    if not (self.raw_folder / file.name).exists():
                        atomic.copy_atomic(file, self.raw_folder / file.name)
            except OSError as error:
                raise Mistake(
                    f"{self.raw_folder}, the folder for {self.name}, cannot be written to ({error.strerror}).\n"
                    "Choose another folder with data.root=... or the environment variable SADDLEPOINT_DATA."
                ) from error

    def splits(self) -> dict[str, Split]:
        if self.missing_files:
            raise Mistake(self._missing_message("were not downloaded"))
        x, y = self._load_half("train")
        n = len(x) - self.held_out
        splits = {
            "train": Split("train", x[:n], y[:n]),
            "validation": Split("validation", x[n:], y[n:]),
            "test": Split("test", *self._load_half("t10k")),
        }
        if self.reserved:
            order = torch.randperm(n, generator=Stream(0, f"{self.name}/reserved").generator)
            reserved, train = order[: self.reserved].sort().values, order[self.reserved :].sort().values
            splits["reserved"] = Split("reserved", x[reserved], y[reserved], splits["train"].classes)
            splits["train"] = Split("train", x[train], y[train], splits["train"].classes)
        return splits

    def _load_half(self, half: str) -> tuple[Tensor, Tensor]:
        images, labels = self.raw_folder / f"{half}-images-idx3-ubyte", self.raw_folder / f"{half}-labels-idx1-ubyte"
        for file in (images, labels):
            if problem := self._find_problem(file):
                raise Mistake(f"{file} is corrupt: {problem}.\nDelete it and run again, which downloads it.")
        return read_image_file(str(images)).unsqueeze(1), read_label_file(str(labels))

    def _find_problem(self, file: Path) -> str | None:
        """Return what is wrong with an IDX file, or None."""
        content = file.read_bytes()
        n = self.counts[file.name.split("-")[0]]
        magic, size = (2051, 16 + 784 * n) if "images" in file.name else (2049, 8 + n)
        if len(content) != size:
            return f"it has {len(content):,} bytes instead of {size:,}"
        if int.from_bytes(content[:4], "big") != magic or int.from_bytes(content[4:8], "big") != n:
            return f"its header is not that of an IDX file of {n:,} items"
        if self.file_sha256:
            digest, expected = hashlib.sha256(content).hexdigest(), self.file_sha256[file.name]
            return None if digest == expected else f"its sha256 is {digest[:16]}... instead of {expected[:16]}..."
        if magic == 2049 and max(content[8:]) > 9:
            return f"it has a label {max(content[8:])}, and there are ten classes"
        return self._find_archive_problem(file, content)

    def _find_archive_problem(self, file: Path, content: bytes) -> str | None:
        """Return what is wrong with the .gz of `file`, or how it differs from `file`; None if there is no .gz."""
        archive = file.with_name(file.name + ".gz")
        if not archive.is_file():
            return None
        compressed = archive.read_bytes()
        if hashlib.sha256(compressed).hexdigest() != self.archive_sha256[archive.name]:
            return f"{archive.name} in the same folder does not have the sha256 of the original (delete it too)"
        with gzip.GzipFile(fileobj=BytesIO(compressed)) as unpacked:
            same = unpacked.read(len(content) + 1) == content  # bounded: a .gz may unpack to gigabytes
        return None if same else f"it differs from the content of {archive.name} in the same folder"

    def _missing_message(self, reason: str) -> str:
        names = " ".join(self.missing_files)
        return (
            f"{self.name}: {names.replace(' ', ', ')} missing in {self.raw_folder}; they {reason}.\n"
            f"With a network connection: mkdir -p {self.raw_folder} && cd {self.raw_folder} && for f in {names}; do "
            f"curl -fLO {self.torchvision_class.mirrors[0]}$f.gz && gunzip $f.gz; done. "
            f"Or set data.root=<the folder of {self.torchvision_class.__name__}/raw>."
        )


@contextmanager
def _socket_timeout(seconds: float) -> Iterator[None]:
    """Set the default timeout of sockets, since torchvision opens its sockets without one."""
    previous = socket.getdefaulttimeout()
    socket.setdefaulttimeout(seconds)
    try:
        yield
    finally:
        socket.setdefaulttimeout(previous)
