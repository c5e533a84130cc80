"""The base class of data from a folder, a zip or an array file: the files, their classes, and the splits.

The splits depend on the names only.  The samples are sorted by sha256 of their name (the relative path with "/", or the
row number in an array); the first round(test * n) are test, the next round(validation * n) validation, and the others
train.  Each split has at least one sample.
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
from saddlepoint.data.listing import IMAGE_FILES, FileKind, Listing, encode_name, is_array_file, list_files
from saddlepoint.error import Mistake


class Folder(Data):
    """Data in `folder`: a folder or zip of files of one kind, or an array file.

    validation, test   fractions of the samples
    extractor          auto: the modality's default extractor for data of this shape and these classes
    """

    file_kind: FileKind = IMAGE_FILES
    noun = IMAGE_FILES.noun  # plural noun for the samples, in messages

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
            raise Mistake(
                f"data.validation={validation} data.test={test}: fractions must be at least 0, with a sum below 1."
            )
        self.folder, self.validation, self.test = folder, validation, test
        if extractor == "auto":
            extractor = self.modality.default_extractor(tuple(shape), classes)
        super().__init__(shape, classes, extractor, **rest)

    @property
    def is_array_file(self) -> bool:
        return is_array_file(self.folder)

    @cached_property
    def listing(self) -> Listing:
        """The files in the folder."""
        return list_files(self.folder, self.file_kind)

    @property
    def class_names(self) -> list[str]:
        """The names of the class folders, in the order of labels; numbers if a dataset.json defines the classes."""
        return super().class_names if self.is_array_file else self.listing.folders or super().class_names

    def describe(self) -> dict[str, Any]:
        """Return the facts of `Data.describe`, and as `files` the sha256 of the listing."""
        return super().describe() | ({} if self.is_array_file else {"files": self.listing.sha256})

    def array_splits(self, array: LoadedArray) -> dict[str, Split]:
        """Return the splits of an array, whose samples are named by row number."""
        self.notes = array.notes
        return self.build_splits(
            [str(row) for row in range(len(array.x))], array.x, array.y, array.classes, array.extra_columns
        )

    def build_splits(
        self,
        names: Sequence[str],
        x: Tensor,
        y: Tensor | None,
        classes: int | None,
        extra_columns: Mapping[str, Tensor] | None = None,
    ) -> dict[str, Split]:
        """Split the rows by their names."""
        indices = {name: torch.tensor(rows) for name, rows in self.split_indices(names).items()}
        return {
            name: Split(
                name, x[index], None if y is None else y[index], classes,
                {column: values[index] for column, values in (extra_columns or {}).items()}, self.modality,
            )
            for name, index in indices.items()
        }  # fmt: skip

    def split_indices(self, names: Sequence[str]) -> dict[str, list[int]]:
        """Return each split's indices into `names`, by sha256 of the name; raises Mistake if train would be empty."""
        n = len(names)
        order = sorted(range(n), key=lambda index: sha256(encode_name(names[index])).digest())
        n_test, n_validation = max(1, round(self.test * n)), max(1, round(self.validation * n))
        if n_test + n_validation >= n:
            raise Mistake(
                f"{n} {self.noun} are too few: test takes {n_test} and validation {n_validation}. "
                "Provide three at least, or lower data.validation and data.test."
            )
        first = n_test + n_validation
        return {"train": order[first:], "validation": order[n_test:first], "test": order[:n_test]}
