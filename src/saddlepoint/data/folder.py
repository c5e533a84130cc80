"""What data from a folder, a zip or one array of your own share: the files, the classes by folder, and the split.

The split is fixed by the names alone: sorted by sha256 of the name (relative path, "/" between parts; of an array the
row's number), the first round(test x n) samples are test, the next round(validation x n) validation, the rest train;
each at least one.
"""

from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property
from hashlib import sha256
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from saddlepoint.data.array_file import LoadedArray
from saddlepoint.data.data import Data, Split
from saddlepoint.data.listing import IMAGE_FILES, FileKind, Listing, is_array, list_files, name_bytes
from saddlepoint.error import Mistake


class Folder(Data):
    """`folder` holds files of one kind, or is one array; `validation` and `test` are fractions of them.

    extractor auto: the one that the modality names for data of this shape and these classes.
    """

    file_kind: FileKind = IMAGE_FILES
    noun = IMAGE_FILES.noun  # samples, for people

    def __init__(
        self,
        folder: str | Path | None,
        shape: Iterable[int],
        classes: int | None,
        validation: float = 0.1,
        test: float = 0.1,
        extractor: str | None = "auto",
        **rest: Any,
    ) -> None:
        if min(validation, test) < 0 or validation + test >= 1:
            raise Mistake(f"data.validation={validation} and data.test={test} leave no image to train on.")
        self.folder, self.validation, self.test = folder, validation, test
        if extractor == "auto":
            extractor = self.modality.default_extractor(tuple(shape), classes)
        super().__init__(shape, classes, extractor, **rest)

    @property
    def is_array(self) -> bool:
        return is_array(self.folder)

    @cached_property
    def listing(self) -> Listing:
        """What is in the folder."""
        return list_files(self.folder, self.file_kind)

    @property
    def class_names(self) -> list[str]:
        """The class folders' names, in the order of labels; numbers where a dataset.json has the classes."""
        return super().class_names if self.is_array else self.listing.folders or super().class_names

    def describe(self) -> dict[str, Any]:
        """As of any data, with `files`: sha256 of the files' names and sizes, and in a zip of their checksums."""
        return super().describe() | ({} if self.is_array else {"files": self.listing.sha256})

    def array_splits(self, found: LoadedArray) -> dict[str, Split]:
        """The splits of an array, by the number of each row."""
        self.notes = found.notes
        return self.build_splits(
            [str(row) for row in range(len(found.x))], found.x, found.y, found.classes, found.extra_columns
        )

    def build_splits(
        self,
        names: Sequence[str],
        x: Tensor,
        y: Tensor | None,
        classes: int | None,
        more: Mapping[str, Tensor] | None = None,
    ) -> dict[str, Split]:
        """The splits of rows by their names."""
        rows = {name: torch.tensor(part) for name, part in self.split_indices(names).items()}
        return {
            name: Split(
                name, x[part], None if y is None else y[part], classes,
                {column: values[part] for column, values in (more or {}).items()}, self.modality,
            )
            for name, part in rows.items()
        }  # fmt: skip

    def split_indices(self, names: Sequence[str]) -> dict[str, list[int]]:
        """The places in `names` of each split, by sha256 of the name; raises Mistake where one would be empty."""
        n = len(names)
        order = sorted(range(n), key=lambda place: sha256(name_bytes(names[place])).digest())
        tested, validated = max(1, round(self.test * n)), max(1, round(self.validation * n))
        if tested + validated >= n:
            raise Mistake(
                f"{n} {self.noun} are too few: {tested} would be for test and {validated} for validation. "
                "Three is the least; or lower data.validation and data.test."
            )
        first = tested + validated
        return {"train": order[first:], "validation": order[tested:first], "test": order[:tested]}
