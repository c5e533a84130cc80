"""Two sets of images without pairs: one domain is column x, the other the extra column `source`.

Each set is a folder, a zip or an array file (settings: docs/data.md), with splits of its own by the names of its files.
Both have one size and one number of channels, so that a translation may be compared with its input.  In training, the
two are shuffled, mirrored (`flip`) and cropped (`jitter`) independently.  If both have the same classes, those of the
sources are the column `source_y`.  All images are kept in memory.
"""

from collections.abc import Iterable
from functools import cached_property
from pathlib import Path
from typing import Any

from saddlepoint.data.augmentation import check_jitter
from saddlepoint.data.data import Split
from saddlepoint.data.image_file import format_size
from saddlepoint.data.image_folder import ImageFolder
from saddlepoint.data.listing import names_by_stem
from saddlepoint.data.paired_images import SOURCE
from saddlepoint.error import Mistake

SOURCE_CLASS = "source_y"  # the classes of the sources, int64 [n]


class UnpairedImages(ImageFolder):
    """x uint8 [n, channels, H, W]; column source uint8 [m, channels, H, W], with m independent of n.

    source   folder, zip or array file of the other domain
    jitter   pixels by which a training image is enlarged before a random crop of its size; 0: none
    Raises Mistake for domains of different sizes or channels.
    """

    name = "unpaired_images"

    def __init__(
        self,
        folder: str | Path | None = None,
        source: str | Path | None = None,
        size: int | Iterable[int] | None = None,
        channels: int = 3,
        memory: int = 2 * 2**30,
        workers: int = 4,
        shape: Iterable[int] | None = None,
        classes: int | None = None,
        fit: str = "crop",
        bits: int | None = None,
        validation: float = 0.1,
        test: float = 0.1,
        extractor: str | None = "auto",
        batch: int = 64,
        seed: int = 0,
        flip: bool = False,
        jitter: int = 0,
    ) -> None:
        if source is None:
            raise Mistake(f"data.folder={folder}: one domain. Set data.source=<folder of the other domain>.")
        super().__init__(
            folder, size, channels, memory, workers, shape, classes, fit, bits, validation=validation, test=test,
            extractor=extractor, batch=batch, seed=seed, flip=flip,
        )  # fmt: skip
        self.source, self.jitter = source, check_jitter(jitter)

    def splits(self) -> dict[str, Split]:
        other = self._source_data
        splits, source_splits = super().splits(), other.splits()
        self.notes = [*self.notes, *other.notes, *self._pair_notes(other)]
        same_classes = self.classes is not None and self.class_names == other.class_names
        if not all(split.in_memory for split in (*splits.values(), *source_splits.values())):
            raise Mistake(
                f"{self.name}: the images take more than data.memory={self.memory} bytes. Both domains are kept in "
                "memory: lower data.size, or raise data.memory."
            )
        return {
            name: Split(
                name, split.x, split.y, split.classes,
                {SOURCE: source_splits[name].x, **({SOURCE_CLASS: y} if same_classes and y is not None else {})},
                self.modality, paired=False,
            )
            for name, split in splits.items()
            for y in [source_splits[name].y]
        }  # fmt: skip

    @cached_property
    def _source_data(self) -> ImageFolder:
        """The other domain.  Raises Mistake if its shape differs."""
        if not Path(str(self.source)).expanduser().exists():
            raise Mistake(f"data.source={self.source}: no such folder, zip or array file.")
        other = ImageFolder(
            self.source, self.size, self.channels, self.memory, self.workers, fit=self.fit, validation=self.validation,
            test=self.test, extractor=None,
        )  # fmt: skip
        if other.shape != self.shape or other.modality.bits != self.modality.bits:
            there, here = (
                f"{data.shape[0]} channels, {format_size(data.shape[1:])}, {data.modality.bits} bits"
                for data in (other, self)
            )
            raise Mistake(
                f"data.source={self.source}: the domains differ: {there}, and in {self.folder} {here}. Image files get "
                "one size with data.size=<pixels>; arrays need one shape and one number of bits."
            )
        return other

    def _pair_notes(self, other: ImageFolder) -> list[str]:
        """Return a line if the files of the two domains have the same names, as those of pairs do."""
        if self.is_array_file or other.is_array_file:
            return []
        names = set(names_by_stem(self.listing))
        if names != set(names_by_stem(other.listing)):
            return []
        return [
            f"{self.source} and {self.folder} have the same {len(names):,} names. If these are pairs, "
            "data=paired_images game=translation trains on them, and a cycle does not."
        ]

    def describe(self) -> dict[str, Any]:
        """Return the facts of `Folder.describe`, and as `source_files` the sha256 of the listing of the sources."""
        other = self._source_data
        return super().describe() | ({} if other.is_array_file else {"source_files": other.listing.sha256})
