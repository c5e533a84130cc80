"""What measuring asks of data, without knowing any: `saddlepoint.data` has it, and so may whatever a user brings."""

from collections.abc import Iterator
from typing import Any, Protocol

from torch import Tensor

Rows = tuple[Tensor, Tensor | None]  # x [n, ...] as stored (see `saddlepoint.modality`), and y, int64 [n] or None


class SplitLike(Protocol):
    """One named part of a data set, as stored; without an attribute `modality` its samples imply one."""

    name: str  # "train", "validation", "test"

    @property
    def sha256(self) -> Any: ...  # str, of its content

    def __len__(self) -> int: ...

    def __getitem__(self, index: Tensor) -> Rows: ...

    def batches(self, size: int) -> Iterator[Rows]: ...  # every row once, in stored order


class DataLike(Protocol):
    """A data set: the shape of one sample, the number of its classes or None, and its splits."""

    @property
    def shape(self) -> tuple[int, ...]: ...

    @property
    def classes(self) -> int | None: ...

    def split(self, name: str) -> Any: ...  # a Split

    def describe(self) -> dict[str, Any]: ...  # "sizes": {split: how many}
