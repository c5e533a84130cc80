"""Images in an array file that is larger than `data.memory`: the file is mapped, and each batch reads only its rows.

An .npy, or an npz that `numpy.savez` wrote (not `savez_compressed`), of uint8 or uint16 images.  Rows and labels equal
those of `array_file.load_array`.
"""

from dataclasses import dataclass, field
from functools import cached_property
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from saddlepoint.data import array_file
from saddlepoint.data.disk_split import DiskSplit, ReadRows
from saddlepoint.modality import Image
from saddlepoint.run.storage import archive

FINGERPRINT_ROWS = 1_024


@dataclass
class MappedImages:
    """The images of an array file, which are read when they are indexed, and its labels."""

    path: Path
    name: str  # of the array in the file
    layout: str
    shape: tuple[int, ...]  # of one image, (C, H, W)
    y: Tensor | None
    notes: list[str] = field(default_factory=list)

    @cached_property
    def array(self) -> np.ndarray:
        """The mapped array in the layout of the file."""
        with array_file.unreadable_as_mistake(self.path):
            array = archive.map_array(self.path, self.name)
        assert array is not None  # `map_images` has mapped it before
        return array

    def __len__(self) -> int:
        return len(self.array)

    def __getstate__(self) -> dict[str, Any]:
        return {key: value for key, value in vars(self).items() if key != "array"}  # a worker maps the file itself

    def rows(self, index: Tensor) -> Tensor:
        """Read the images at `index`, int64 [n]: [n, C, H, W]."""
        rows = array_file.channels_first(self.array[index.numpy()], self.layout)
        return torch.from_numpy(np.ascontiguousarray(rows)).view(-1, *self.shape)

    @cached_property
    def fingerprint(self) -> str:
        """sha256 of dtype, shape and 1,024 evenly spaced images; all of them would take a pass over the file."""
        index = np.linspace(0, len(self) - 1, min(FINGERPRINT_ROWS, len(self))).astype(np.int64)
        header = f"{self.array.dtype} {list(self.array.shape)}".encode()
        return sha256(header + self.array[index].tobytes()).hexdigest()


def map_images(path: Path, modality: Image, channels: int, memory: int) -> MappedImages | None:
    """Map the images of an array file, unless they fit into `memory` bytes or have to be converted.

    None also for a compressed npz, and for one with further columns: both are read into memory.  Raises Mistake as
    `array_file.load_array` does.
    """
    header = array_file.read_header(path)
    size = int(np.prod(header.shape, dtype=np.int64)) * header.dtype.itemsize
    has_columns = len(header.array_names) > 1 + (header.y is not None)
    if size <= memory or has_columns or header.dtype != (np.uint16 if modality.bits == 16 else np.uint8):
        return None
    with array_file.unreadable_as_mistake(path):
        if archive.map_array(path, header.name) is None:
            return None
    shape, layout = array_file.find_layout(header.shape, channels, f"{path}: {header.name}")
    labels = "no labels" if header.y is None else f"labels ({header.classes:,} classes)"
    note = f"{path}: {header.name}, {header.dtype} {list(header.shape)}, read as {layout} from disk, {labels}."
    y = None if header.y is None else torch.from_numpy(header.y)
    return MappedImages(path, header.name, layout, tuple(shape), y, [note])


class MappedSplit(DiskSplit):
    """A split of a mapped array; `indices` are its rows, int64 [n]."""

    def __init__(self, name: str, images: MappedImages, indices: Tensor, modality: Image, workers: int) -> None:
        self.name, self.images, self.indices = name, images, indices
        self.shape, self.modality, self.workers = images.shape, modality, workers
        self.y = None if images.y is None else images.y[indices]
        self.classes = None if images.y is None else int(images.y.max()) + 1

    def __len__(self) -> int:
        return len(self.indices)

    def read_rows(self, index: Tensor) -> ReadRows:
        return self.images.rows(self.indices[index]), None if self.y is None else self.y[index], []
