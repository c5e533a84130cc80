"""Where conditions come from when no batch is at hand: for samples, grids, evaluation, export.

none            nowhere: samples are asked for with the conditions themselves
labels          label columns alone: each class as probable as the other
split:<name>    the rows of that split, in their stored order, from the first on; after the last the first again
"""

from collections.abc import Callable, Mapping
from typing import Any

from torch import Tensor

from saddlepoint.error import Mistake, did_you_mean
from saddlepoint.stream import Stream

KINDS = ("none", "labels")
SPLIT = "split:"


class ConditionSource:
    """Columns for n samples.

    where    none, labels or split:<name>
    classes  how many classes each label column has, {y: 10}
    key      the key of `where`, for messages
    `data` is asked for the rows of a split, when they are needed: a data set, or a function that gives one.
    Raises Mistake for another `where`, and for a number of classes below 1.
    """

    def __init__(
        self, source: str = "none", classes: Mapping[str, int | None] | None = None, key: str = "game.conditions"
    ) -> None:
        if source not in KINDS and not (source.startswith(SPLIT) and source != SPLIT):
            known = [*KINDS, "split:train", "split:validation", "split:test"]
            raise Mistake(
                f"{key}={source}: it is none, labels or split:<name of a split>.{did_you_mean(source, known)}"
            )
        self.source, self.classes, self.key = source, dict(classes or {}), key
        for column, size in self.classes.items():
            if size is not None and (type(size) is not int or size < 1):
                raise Mistake(f"{self._key_of(column)}={size}: how many classes there are, a whole number from 1 on")
        self.data: Any | Callable[[], Any] = None

    @property
    def split(self) -> str | None:
        """The split that rows are taken from."""
        return self.source.removeprefix(SPLIT) if self.source.startswith(SPLIT) else None

    def columns(self, names: Mapping[str, str], n: int, stream: Stream) -> dict[str, Tensor]:
        """n rows of the columns that `names` gives (condition -> column), by condition.

        Labels are drawn from the child `labels` of the stream; rows of a split follow those that were last asked for
        with this stream.  Raises Mistake where they do not come from here.
        """
        if not names:
            return {}
        if self.split is not None:
            return self._rows(self.split, names, n, stream)
        if self.source == "none":
            described = ", ".join(f"{name} (column {column})" for name, column in names.items())
            raise Mistake(
                f"samples are made under {described}, and none are at hand: give them, or say where they come "
                f"from: {self.key}=labels (each class alike) or {self.key}=split:validation"
            )
        return {name: self._labels(name, column, n, stream) for name, column in names.items()}

    def _labels(self, name: str, column: str, n: int, stream: Stream) -> Tensor:
        classes = self.classes.get(column)
        if classes is None:
            known = ", ".join(own for own, size in self.classes.items() if size is not None) or "none"
            raise Mistake(
                f"{self.key}=labels: condition {name} is the column {column}, which is no label column "
                f"({self._key_of()} has {known}). Say {self.key}=split:validation, or {self._key_of(column)}=<how many>"
            )
        return stream.child("labels" if column == "y" else f"labels/{column}").integers(classes, n)

    def _key_of(self, *column: str) -> str:
        return ".".join((f"{self.key.removesuffix('conditions')}classes", *column))

    def _rows(self, split: str, names: Mapping[str, str], n: int, stream: Stream) -> dict[str, Tensor]:
        data = self.dataset()
        rows = stream.child("rows").consecutive(n) % len(data.split(split))
        columns = data.batch_at(split, rows).columns()
        there = [name for name, column in columns.items() if column is not None]
        for name, column in names.items():
            if column not in there:
                raise Mistake(
                    f"{self.key}={self.source}: condition {name} is the column {column}, and that split has none."
                    f"{did_you_mean(column, there)} There are: {', '.join(there)}"
                )
        return {name: columns[column].to(stream.device) for name, column in names.items()}

    def dataset(self) -> Any:
        """The data set that `data` is, or gives.  Raises Mistake where there is none."""
        if self.data is None:
            raise Mistake(f"{self.key}={self.source}: no data are at hand to take the rows of")
        if not hasattr(self.data, "split"):
            self.data = self.data()
        return self.data
