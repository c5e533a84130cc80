"""A folder or .zip of images (png, jpeg, bmp, webp, tiff), classes by folder or StyleGAN `dataset.json`; see `listing`.
Or an .npz or .npy of images (see `array`), which may have 16 bits per value and further columns.

What the settings mean: docs/data.md.  The split is fixed by the names alone (see `folder`).  A set of at most `memory`
bytes of pixels is decoded once and held; a larger one is read from disk, batch by batch, by `workers` processes, in the
same order.  What reading leaves out or changes is counted in `notes`.
"""

import signal
from collections import Counter
from collections.abc import Iterable, Iterator
from os import cpu_count
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from saddlepoint.data.array_file import load_array as read_array
from saddlepoint.data.data import Rows, Split
from saddlepoint.data.facts import image_facts
from saddlepoint.data.folder import Folder
from saddlepoint.data.image_file import (
    FIT_MODES,
    ImageFormat,
    check_channels,
    decode_image,
    image_file_facts,
    parse_size,
    preview_changes,
)
from saddlepoint.data.listing import Listing, has_array_suffix, printable_name, resolve_folder, sorted_counts
from saddlepoint.error import Mistake, ending_signals
from saddlepoint.modality import Image

WORTH = 2_048  # images per worker that decodes a set to be held: starting a process costs as much as some hundreds
Decoded = tuple[Tensor, Tensor | None, list[str]]
LOOKED_AT = 2_000  # images whose headers tell what reading does to a set that is cropped and resized on the way


class ImageFolder(Folder):
    """x uint8, or uint16, [n, channels, height, width].  Facts left None are read off the folder.

    extractor auto: a classifier trained on these data where they have classes, else the nearest that is shipped.
    """

    name = "image_folder"

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
        if fit not in FIT_MODES:
            raise Mistake(f"data.fit={fit}: choose one of {', '.join(FIT_MODES)}.")
        if workers < 0:
            raise Mistake(f"data.workers={workers}: a whole number from 0 on; 0 decodes in the run's own process.")
        parse_size(size)  # raises Mistake
        self.folder, self.size, self.channels, self.fit = folder, size, channels, fit
        if not has_array_suffix(folder):
            check_channels(channels)
            if bits not in (None, 8):
                raise Mistake(
                    f"data.bits={bits}: files of images are read with 8 bits; more come as an .npz of uint16."
                )
        if shape is None:
            found = (
                image_facts(folder, size, channels)[0]
                if self.is_array
                else image_file_facts(self.listing, size, channels)
            )
            shape, classes = found["shape"], found["classes"] if classes is None else classes
            bits = found.get("bits", 8) if bits is None else bits
        self.modality = Image(8 if bits is None else bits)
        super().__init__(folder, shape or (), classes, **rest)
        self.memory, self.workers = memory, min(workers, cpu_count() or 1)

    def splits(self) -> dict[str, Split]:
        if self.is_array:
            return self.array_splits(read_array(resolve_folder(self.folder), self.modality, channels=self.channels))
        found = self.listing
        parts = self.split_indices(found.names)
        splits = {name: FileSplit(name, self, part) for name, part in parts.items()}
        _, height, width = splits["train"].shape
        if len(found.names) * self.channels * height * width <= self.memory:
            held = {name: split.load_into_memory() for name, split in splits.items()}
            changes = sum((split.changes for split in splits.values()), Counter())
            self.notes = [*found.notes, *format_changes(found, changes)]
            return held
        # a look at every header now, rather than a stop after hours; where all sizes will do, at some
        names = found.names if self.size is None else [found.names[i] for p in parts.values() for i in p][:LOOKED_AT]
        form = self.image_format
        changes = Counter(change for name in names for change in preview_changes(found, name, form))
        self.notes = [*found.notes, *format_changes(found, changes, len(names))]
        return dict(splits)

    @property
    def image_format(self) -> ImageFormat:
        """What every image becomes."""
        _, height, width = image_file_facts(self.listing, self.size, self.channels)["shape"]
        return ImageFormat(self.channels, (height, width), self.size is not None, self.fit)


def format_changes(found: Listing, changes: Counter[str], looked_at: int | None = None) -> list[str]:
    """What reading changes, a line each, with how many images it changes."""
    total = len(found.names) if looked_at is None else looked_at
    some = "" if total == len(found.names) else " looked at"
    place = printable_name(str(found.folder))
    return [f"{place}: {number:,} of {total:,}{some}: {change}." for change, number in sorted_counts(changes)]


class FileSplit(Split):
    """A split that stays on disk; each row is decoded when it is asked for."""

    in_memory = False

    def __init__(self, name: str, data: ImageFolder, places: list[int]) -> None:
        found, self.image_format = data.listing, data.image_format
        self.name, self.listing, self.indices = name, found, torch.tensor(places)
        self.shape, self.classes = (self.image_format.channels, *self.image_format.size), found.classes
        self.modality = data.modality
        self.y = None if found.labels is None else torch.tensor(found.labels)[self.indices]
        self.workers = data.workers
        self.changes: Counter[str] = Counter()  # what was done to the images that `held` read

    def __len__(self) -> int:
        return len(self.indices)

    def __getitem__(self, index: Tensor) -> Rows:
        x, y, _ = self.decode_rows(index)
        return x, y

    def decode_rows(self, index: Tensor) -> Decoded:
        """The rows at `index`, int64 [n], and everything that reading did to one of them."""
        channels, height, width = self.shape
        x = torch.empty(len(index), height, width, channels, dtype=torch.uint8)
        changes: list[str] = []
        for row, place in zip(x, self.indices[index].tolist(), strict=True):
            content, done = decode_image(self.listing, self.listing.names[place], self.image_format)
            row.view(-1).copy_(torch.frombuffer(bytearray(content), dtype=torch.uint8))
            changes += done
        return x.permute(0, 3, 1, 2).contiguous(), None if self.y is None else self.y[index], changes

    def batches_at(self, indices: Iterable[Tensor], device: torch.device | str = "cpu") -> Iterator[Rows]:
        """The rows at each index in turn, on `device`, decoded ahead by the workers."""
        for x, y, _ in self._ahead(indices, torch.device(device)):
            yield x.to(device, non_blocking=True), None if y is None else y.to(device, non_blocking=True)

    def _ahead(self, indices: Iterable[Tensor], device: torch.device) -> Iterator[Decoded]:
        loader = DataLoader(
            _Told(self),
            batch_size=None,
            sampler=indices,
            num_workers=self.workers,
            pin_memory=device.type == "cuda",
            generator=torch.Generator(),  # else the loader would draw a seed from torch's global one
            worker_init_fn=_deaf,
        )
        for told in loader:
            if isinstance(told, Mistake):
                raise told
            yield told

    def load_into_memory(self) -> Split:
        """The same split, decoded and in memory."""
        x = torch.empty(len(self), *self.shape, dtype=torch.uint8)
        self.workers = min(self.workers, len(self) // WORTH)
        batches = self._ahead(torch.arange(len(self)).split(256), torch.device("cpu"))
        for part, (rows, _, changes) in zip(x.split(256), batches, strict=True):
            part.copy_(rows)
            self.changes.update(changes)
        return Split(self.name, x, self.y, self.classes)


def _deaf(worker: int) -> None:
    """A scheduler tells every process of a job to end. Those that decode leave it to the run, which ends its round."""
    for number in ending_signals():
        signal.signal(number, signal.SIG_IGN)


class _Told(Dataset):
    """Rows, or the Mistake itself: a worker that raises it would bury its message under a traceback."""

    def __init__(self, files: FileSplit) -> None:
        self.files = files

    def __getitem__(self, index: Tensor) -> Decoded | Mistake:
        try:
            return self.files.decode_rows(index)
        except Mistake as mistake:
            return mistake
