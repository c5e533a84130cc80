"""A folder or .zip of images (png, jpeg, bmp, webp, tiff), classes by folder or StyleGAN `dataset.json`; see `listing`.
Or an .npz or .npy of images (see `array_file`), which may have 16 bits per value and further columns.

The settings: docs/data.md.  The splits depend on the names only (see `folder`).  A set of at most `memory` bytes of
pixels is decoded once and kept in memory.  A larger set is read from disk, batch by batch, by `workers` processes, in
the same order (an array: `mapped_array`).  `notes` counts what is skipped and changed.
"""

from collections import Counter
from collections.abc import Iterable
from os import cpu_count
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from saddlepoint.data import image_file
from saddlepoint.data.array_file import load_array
from saddlepoint.data.data import Split
from saddlepoint.data.disk_split import DiskSplit, ReadRows
from saddlepoint.data.facts import read_image_facts
from saddlepoint.data.folder import Folder
from saddlepoint.data.listing import format_changes, has_array_suffix, resolve_folder
from saddlepoint.data.mapped_array import MappedImages, MappedSplit, map_images
from saddlepoint.error import Mistake
from saddlepoint.modality import Image

IMAGES_PER_WORKER = 2_048  # when decoding into memory: starting a process costs as much as decoding some hundreds
MAX_PREVIEWED = 2_000  # images whose headers are read to preview the changes to a resized set on disk


class ImageFolder(Folder):
    """x uint8 or uint16 [n, channels, height, width].  Facts that are None are read from the folder.

    extractor auto: a classifier trained on the data if they have classes, else the nearest shipped classifier.
    """

    name = "image_folder"
    half: str | None = None  # left or right: the half of each image that is read; None: all of it
    mapped: MappedImages | None = None  # the array file that is read from disk batch by batch, if there is one

    def __init__(
        self,
        folder: str | Path | None = None,
        size: int | Iterable[int] | None = None,
        channels: int = 3,
        memory: int = 2 * 2**30,
        workers: int = 4,
        shape: Iterable[int] | None = None,
        classes: int | None = None,
        fit: str = "crop",
        bits: int | None = None,
        **rest: Any,
    ) -> None:
        if fit not in image_file.FIT_MODES:
            raise Mistake(f"data.fit={fit}: choose one of {', '.join(image_file.FIT_MODES)}.")
        if workers < 0:
            raise Mistake(f"data.workers={workers}: must be at least 0; 0 decodes in the main process.")
        image_file.parse_size(size)  # raises Mistake
        self.folder, self.size, self.channels, self.fit = folder, size, channels, fit
        if not has_array_suffix(folder):
            image_file.check_channels(channels)
            if bits not in (None, 8):
                raise Mistake(f"data.bits={bits}: image files are read with 8 bits; for 16 bits use an .npz of uint16.")
        if shape is None:
            facts = (
                read_image_facts(folder, size, channels)[0]
                if self.is_array_file
                else image_file.read_image_file_facts(self.listing, size, channels, self.half)
            )
            shape, classes = facts["shape"], facts["classes"] if classes is None else classes
            bits = facts.get("bits", 8) if bits is None else bits
        self.modality = Image(8 if bits is None else bits)
        super().__init__(folder, shape or (), classes, **rest)
        self.memory, self.workers = memory, min(workers, cpu_count() or 1)

    def splits(self) -> dict[str, Split]:
        if self.is_array_file:
            return self._load_array_splits(resolve_folder(self.folder))
        files = self.listing
        indices = self.split_indices(files.names)
        splits = {name: FileSplit(name, self, rows) for name, rows in indices.items()}
        _, height, width = splits["train"].shape
        if len(files.names) * self.channels * height * width <= self.memory:
            loaded = {name: split.load_into_memory() for name, split in splits.items()}
            changes = sum((split.changes for split in splits.values()), Counter())
            self.notes = [*files.notes, *format_changes(files, changes)]
            return loaded
        # Without resizing, check the size in every header now instead of failing after hours; else preview some images.
        names = files.names
        if self.size is not None:
            names = [names[row] for rows in indices.values() for row in rows][:MAX_PREVIEWED]
        target = self.target_format
        changes = Counter(change for name in names for change in image_file.preview_changes(files, name, target))
        self.notes = [*files.notes, *format_changes(files, changes, len(names))]
        return dict(splits)

    def _load_array_splits(self, path: Path) -> dict[str, Split]:
        if mapped := map_images(path, self.modality, self.channels, self.memory):
            self.notes, self.mapped = mapped.notes, mapped
            indices = self.split_indices(list(map(str, range(len(mapped)))))
            return {
                name: MappedSplit(name, mapped, torch.tensor(rows), self.modality, self.workers)
                for name, rows in indices.items()
            }
        return self.array_splits(load_array(path, self.modality, channels=self.channels))

    def describe(self) -> dict[str, Any]:
        """Return the facts of `Folder.describe`, and as `files` the fingerprint of an array that is read from disk."""
        return super().describe() | ({} if self.mapped is None else {"files": self.mapped.fingerprint})

    @property
    def target_format(self) -> image_file.TargetFormat:
        """The format that every image is converted to."""
        _, *size = image_file.read_image_file_facts(self.listing, self.size, self.channels, self.half)["shape"]
        return image_file.TargetFormat(self.channels, (size[0], size[1]), self.size is not None, self.fit, self.half)


class FileSplit(DiskSplit):
    """A split of image files; each row is decoded when it is read."""

    def __init__(self, name: str, data: ImageFolder, indices: list[int]) -> None:
        files, self.image_format = data.listing, data.target_format
        self.name, self.listing, self.indices = name, files, torch.tensor(indices)
        self.shape, self.classes = (self.image_format.channels, *self.image_format.size), files.classes
        self.modality = data.modality
        self.y = None if files.labels is None else torch.tensor(files.labels)[self.indices]
        self.workers = data.workers
        self.changes: Counter[str] = Counter()  # to the images that `load_into_memory` read

    def __len__(self) -> int:
        return len(self.indices)

    def read_rows(self, index: Tensor) -> ReadRows:
        """Decode the rows at `index`, int64 [n]; also return the changes to each of them."""
        channels, height, width = self.shape
        x = torch.empty(len(index), height, width, channels, dtype=torch.uint8)
        changes: list[str] = []
        for row, i in zip(x, self.indices[index].tolist(), strict=True):
            content, row_changes = image_file.decode_image(self.listing, self.listing.names[i], self.image_format)
            row.view(-1).copy_(torch.frombuffer(bytearray(content), dtype=torch.uint8))
            changes += row_changes
        return x.permute(0, 3, 1, 2).contiguous(), None if self.y is None else self.y[index], changes

    def load_into_memory(self) -> Split:
        """Decode all rows and return them as a split in memory."""
        x = torch.empty(len(self), *self.shape, dtype=torch.uint8)
        self.workers = min(self.workers, len(self) // IMAGES_PER_WORKER)
        batches = self.read_in_workers(torch.arange(len(self)).split(256), torch.device("cpu"))
        for chunk, (rows, _, changes) in zip(x.split(256), batches, strict=True):
            chunk.copy_(rows)
            self.changes.update(changes)
        return Split(self.name, x, self.y, self.classes)
