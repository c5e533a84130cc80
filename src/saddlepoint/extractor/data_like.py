"""Protocols of the data that evaluation needs: satisfied by `saddlepoint.data` and by user-defined data."""

from collections.abc import Iterator
from typing import Any, Protocol

from torch import Tensor

Rows = tuple[Tensor, Tensor | None]  # x [n, ...] as stored (see `saddlepoint.modality`), and y, int64 [n] or None
# also the target of each x, or None without pairs, and the mask or None
PairedRows = tuple[Tensor, Tensor | None, Tensor | None, Tensor | None]


class SplitLike(Protocol):
    """A named split of a data set, as stored; without an attribute `modality` it is inferred from the samples."""

    name: str  # "train", "validation", "test"

    @property
    def sha256(self) -> Any: ...  # str, of the content

    def __len__(self) -> int: ...

    def __getitem__(self, index: Tensor) -> Rows: ...

    def batches(self, size: int) -> Iterator[Rows]: ...  # all rows in stored order


class DataLike(Protocol):
    """A data set: shape of a sample, number of classes or None, and splits."""

    @property
    def shape(self) -> tuple[int, ...]: ...

    @property
    def classes(self) -> int | None: ...

    def split(self, name: str) -> Any: ...  # a Split

    def describe(self) -> dict[str, Any]: ...  # "sizes": {split: number of rows}
