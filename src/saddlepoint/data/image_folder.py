"""A folder or .zip of images (png, jpg, jpeg, bmp, webp); classes by folder or StyleGAN `dataset.json` (see `listing`).

With `size`, every image is centre-cropped to a square and resized (see `picture`); with `size: null` all images must
share one square size.  A folder of unlabelled images that is cut into subfolders for its size needs a dataset.json that
says {"labels": null}, or each subfolder is a class.

The split is fixed by the names alone: sorted by sha256 of the name (relative path, "/" between parts), the first
round(test x n) images are test, the next round(validation x n) validation, the rest train; each at least one.

A set of at most `memory` bytes of pixels is decoded once and held; a larger one is read from disk, batch by batch, by
`workers` processes, in the same order.
"""

import signal
from collections.abc import Iterable, Iterator
from functools import cached_property
from hashlib import sha256
from os import cpu_count
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from saddlepoint.data.data import Data, Rows, Split
from saddlepoint.data.listing import Listing, facts, listing
from saddlepoint.data.picture import MODES, agree, pixels
from saddlepoint.error import Mistake, ending_signals


class ImageFolder(Data):
    """x uint8 [n, channels, size, size].  Facts left None are read off the folder; extractor auto: trained or None."""

    name = "image_folder"

    def __init__(
        self,
        folder: str | Path | None = None,
        size: int | None = None,
        channels: int = 3,
        validation: float = 0.1,
        test: float = 0.1,
        memory: int = 2 * 2**30,
        workers: int = 4,
        shape: Iterable[int] | None = None,
        classes: int | None = None,
        extractor: str | None = "auto",
        batch: int = 64,
        seed: int = 0,
        **labelled: Any,
    ) -> None:
        if channels not in MODES:
            raise Mistake(f"data.channels={channels}: an image has 1 channel or 3.")
        if size is not None and size < 1:
            raise Mistake(f"data.size={size}: say how many pixels a side has, or null.")
        if min(validation, test) < 0 or validation + test >= 1:
            raise Mistake(f"data.validation={validation} and data.test={test} leave no image to train on.")
        self.folder, self.size, self.channels = folder, size, channels
        if shape is None:
            found = facts(self.listing, size, channels)
            shape, classes = found["shape"], found["classes"] if classes is None else classes
        if extractor == "auto":
            extractor = None if classes is None else "trained"
        super().__init__(shape or (), classes, extractor, batch, seed, **labelled)
        self.validation, self.test = validation, test
        self.memory, self.workers = memory, min(workers, cpu_count() or 1)

    @cached_property
    def listing(self) -> Listing:
        """What is in the folder."""
        return listing(self.folder)

    @property
    def class_names(self) -> list[str]:
        """The class folders' names, in the order of labels; numbers where a dataset.json has the classes."""
        return self.listing.folders or super().class_names

    def splits(self) -> dict[str, Split]:
        found = self.listing
        edge = facts(found, self.size, self.channels)["shape"][-1]
        parts = membership(found.names, self.validation, self.test)
        splits = {name: Files(name, self, part, edge) for name, part in parts.items()}
        if len(found.names) * self.channels * edge**2 <= self.memory:
            return {name: split.held() for name, split in splits.items()}
        if self.size is None:
            for name in found.names:  # a look at every header now, rather than a stop after hours
                agree(found, name, edge)
        return dict(splits)


def membership(names: list[str], validation: float, test: float) -> dict[str, list[int]]:
    """The places in `names` of each split, by sha256 of the name; raises Mistake where one would be empty."""
    n = len(names)
    order = sorted(range(n), key=lambda place: sha256(names[place].encode()).digest())
    tested, validated = max(1, round(test * n)), max(1, round(validation * n))
    if tested + validated >= n:
        raise Mistake(
            f"{n} images are too few: {tested} would be for test and {validated} for validation. "
            "Three is the least; or lower data.validation and data.test."
        )
    first = tested + validated
    return {"train": order[first:], "validation": order[tested:first], "test": order[:tested]}


class Files(Split):
    """A split that stays on disk; each row is decoded when it is asked for."""

    resident = False

    def __init__(self, name: str, data: ImageFolder, places: list[int], edge: int) -> None:
        found = data.listing
        self.name, self.listing, self.places = name, found, torch.tensor(places)
        self.shape, self.classes = (data.channels, edge, edge), found.classes
        self.y = None if found.labels is None else torch.tensor(found.labels)[self.places]
        self.resize, self.workers = data.size is not None, data.workers

    def __len__(self) -> int:
        return len(self.places)

    def __getitem__(self, index: Tensor) -> Rows:
        channels, edge, _ = self.shape
        x = torch.empty(len(index), edge, edge, channels, dtype=torch.uint8)
        for row, place in zip(x, self.places[index].tolist(), strict=True):
            content = pixels(self.listing, self.listing.names[place], edge, channels, self.resize)
            row.view(-1).copy_(torch.frombuffer(bytearray(content), dtype=torch.uint8))
        return x.permute(0, 3, 1, 2).contiguous(), None if self.y is None else self.y[index]

    def selections(self, indices: Iterable[Tensor], device: torch.device | str = "cpu") -> Iterator[Rows]:
        """The rows at each index in turn, on `device`, decoded ahead by the workers."""
        device = torch.device(device)
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
            x, y = told
            yield x.to(device, non_blocking=True), None if y is None else y.to(device, non_blocking=True)

    def held(self) -> Split:
        """The same split, decoded and in memory."""
        x = torch.empty(len(self), *self.shape, dtype=torch.uint8)
        self.workers = min(self.workers, len(self) // 2048)  # starting a process costs as much as some hundred images
        for part, (rows, _) in zip(x.split(256), self.batches(256), strict=True):
            part.copy_(rows)
        return Split(self.name, x, self.y, self.classes)


def _deaf(worker: int) -> None:
    """A scheduler tells every process of a job to end. Those that decode leave it to the run, which ends its round."""
    for number in ending_signals():
        signal.signal(number, signal.SIG_IGN)


class _Told(Dataset):
    """Rows, or the Mistake itself: a worker that raises it would bury its message under a traceback."""

    def __init__(self, files: Files) -> None:
        self.files = files

    def __getitem__(self, index: Tensor) -> Rows | Mistake:
        try:
            return self.files[index]
        except Mistake as mistake:
            return mistake
