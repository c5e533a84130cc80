"""Where conditions come from if there is no batch: for samples, grids, evaluation and export.

none            no source: the caller of `sample` passes the conditions
labels          label columns only: uniformly distributed classes
split:<name>    the rows of that split in stored order, starting over after the last
"""

from collections.abc import Callable, Mapping
from typing import Any

from torch import Tensor

from saddlepoint.error import Mistake, did_you_mean
from saddlepoint.stream import Stream
from saddlepoint.turn import Batch

KINDS = ("none", "labels")
SPLIT = "split:"


class ConditionSource:
    """A source of condition columns for n samples.

    source   none, labels or split:<name>
    classes  the number of classes of each label column, {y: 10}
    key      the config key of `source`, for messages
    `data` is the data set that rows of a split are read from, or a function that returns it.
    Raises Mistake for an unknown source, and for a number of classes below 1.
    """

    def __init__(
        self, source: str = "none", classes: Mapping[str, int | None] | None = None, key: str = "game.conditions"
    ) -> None:
        if source not in KINDS and not (source.startswith(SPLIT) and source != SPLIT):
            known = [*KINDS, "split:train", "split:validation", "split:test"]
            raise Mistake(f"{key}={source} must be none, labels or split:<name>.{did_you_mean(source, known)}")
        self.source, self.classes, self.key = source, dict(classes or {}), key
        self.split_name = source.removeprefix(SPLIT) if source.startswith(SPLIT) else None  # whose rows are taken
        for column, size in self.classes.items():
            if size is not None and (type(size) is not int or size < 1):
                raise Mistake(f"{self._classes_key(column)}={size}: the number of classes is an integer of at least 1")
        self.data: Any | Callable[[], Any] = None

    def draw_columns(self, names: Mapping[str, str], n: int, stream: Stream) -> dict[str, Tensor]:
        """Return n rows of the columns in `names` (condition -> column), by condition.

        Labels are drawn from the child `labels` of the stream. Rows of a split continue after the rows of the previous
        call with this stream. Raises Mistake if this source does not have a column.
        """
        if not names:
            return {}
        if self.split_name is not None:
            return self._rows_of_split(names, n, stream)
        if self.source == "none":
            conditions = ", ".join(f"{name} (column {column})" for name, column in names.items())
            raise Mistake(
                f"samples need the condition {conditions}, and there is none: pass it, or set a source: "
                f"{self.key}=labels (uniformly distributed classes) or {self.key}=split:validation"
            )
        return {name: self._sample_labels(name, column, n, stream) for name, column in names.items()}

    def _sample_labels(self, name: str, column: str, n: int, stream: Stream) -> Tensor:
        classes = self.classes.get(column)
        if classes is None:
            known = ", ".join(key for key, size in self.classes.items() if size is not None) or "none"
            raise Mistake(
                f"{self.key}=labels: condition {name} is the column {column}, which is not a label column "
                f"({self._classes_key()} has {known}). Set {self.key}=split:validation, or "
                f"{self._classes_key(column)}=<number of classes>"
            )
        return stream.child("labels" if column == "y" else f"labels/{column}").integers(classes, n)

    def _classes_key(self, *column: str) -> str:
        return ".".join((f"{self.key.removesuffix('conditions')}classes", *column))

    def draw_rows(self, n: int, stream: Stream) -> Batch:
        """Return the next n rows of the split, on the CPU, starting over after the last; only for split:<name>.

        Columns that are not paired with x start over after their own last row.
        """
        data, index = self.load_dataset(), stream.child("rows").consecutive(n)
        split = data.split(self.split_name)
        return data.batch_at(self.split_name, index % len(split) if split.paired else index)

    def _rows_of_split(self, names: Mapping[str, str], n: int, stream: Stream) -> dict[str, Tensor]:
        columns = self.draw_rows(n, stream).columns()
        known = [name for name, column in columns.items() if column is not None]
        for name, column in names.items():
            if column not in known:
                raise Mistake(
                    f"{self.key}={self.source}: condition {name} is the column {column}, which this split lacks."
                    f"{did_you_mean(column, known)} There are: {', '.join(known)}"
                )
        return {name: columns[column].to(stream.device) for name, column in names.items()}  # pyright: ignore[reportOptionalMemberAccess]

    def load_dataset(self) -> Any:
        """Return the data set, calling `data` if it is a function. Raises Mistake if there is none."""
        if self.data is None:
            raise Mistake(f"{self.key}={self.source}: there are no data to take rows from")
        if not hasattr(self.data, "split"):
            self.data = self.data()
        return self.data
