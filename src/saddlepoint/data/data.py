"""A data set: the splits train, validation and test in stored form, and endless training batches of the first.

A batch is addressed by the number of real images shown before it.  Batches that a loader fetched in advance therefore
change nothing: a run that resumes at position p trains on the same images as one that reached p without a stop.
"""

import hashlib
import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from itertools import chain, count, repeat
from typing import Any

import torch
from pytorch_lightning import LightningDataModule
from torch import Tensor

from saddlepoint.data.augmentation import Augmentation
from saddlepoint.data.labelled_subset import draw_labelled_indices, index_stream
from saddlepoint.data.shuffled_order import ShuffledOrder
from saddlepoint.error import Mistake, describe_type_of, format_source_location
from saddlepoint.modality import Modality, default_modality, modality_of
from saddlepoint.modality.image import is_image
from saddlepoint.pixel import to_float
from saddlepoint.stream import derive_seed
from saddlepoint.turn import BATCH_COLUMNS, Batch

ALL_SPLITS = "all"  # the name of all splits together
SMALL = 2**22  # numbers in float form, 16 MiB
UNPAIRED = "unpaired"  # the name of the random stream of columns that are not paired with x
Rows = tuple[Tensor, Tensor | None]  # x in stored form (see `modality`), [n, ...]; y int64 [n] or None


class Split:
    """One named split of a data set in memory, in stored form.

    modality        None: the data set's modality, or without a data set the one inferred from x
    extra_columns   further columns by name, one row per row of x: a source image, attributes, a mask
    paired          False: the extra columns are samples of another domain, with a number of rows of their own and no
                    relation to x; in `batch_at`, row i is row i modulo its own number of rows in each of the two
    Raises ValueError if a column has another number of rows than x (unpaired: than the first column), or the name of a
    column that every batch has.
    """

    in_memory = True  # whether the rows are in memory, so that a pass over them is cheap
    extra_columns: Mapping[str, Tensor] = {}
    paired = True  # whether row i of the extra columns belongs to row i of x
    modality: Modality | None = None

    def __init__(
        self,
        name: str,
        x: Tensor,
        y: Tensor | None = None,
        classes: int | None = None,
        extra_columns: Mapping[str, Tensor] | None = None,
        modality: Modality | None = None,
        paired: bool = True,
    ) -> None:
        self.name, self.x, self.y, self.extra_columns = name, x, y, dict(extra_columns or {})
        self.paired = paired
        for column, values in self.extra_columns.items():
            if len(values) != self.extra_rows or column in BATCH_COLUMNS:
                raise ValueError(
                    f"column {column} has {len(values)} rows instead of {self.extra_rows}; reserved names: "
                    f"{BATCH_COLUMNS}"
                )
        self.modality = modality
        self.classes = int(y.max()) + 1 if classes is None and y is not None else classes
        self._copy: tuple[Tensor, Tensor | None] = (x, y)  # on the device last used

    def __len__(self) -> int:
        return len(self.x)

    @property
    def extra_rows(self) -> int:
        """The number of rows of each extra column."""
        return len(self) if self.paired else len(next(iter(self.extra_columns.values())))

    def column_rows(self, column: str) -> int:
        """Return the number of rows of a column: x, y or an extra column."""
        return self.extra_rows if column in self.extra_columns else len(self)

    @cached_property
    def shape(self) -> tuple[int, ...]:
        """The shape of one sample in float form, as networks take it."""
        return modality_of(self).sample_shape(self.x[:1])

    def __getitem__(self, index: Tensor) -> Rows:
        """Return the rows at `index`, int64 [n]."""
        return self.x[index], None if self.y is None else self.y[index]

    def extra_columns_at(self, index: Tensor) -> dict[str, Tensor]:
        """Return the rows of each extra column at `index`, int64 [n], in stored form."""
        index = index if self.paired else index % self.extra_rows
        return {name: column[index] for name, column in self.extra_columns.items()}

    def batch_at(self, index: Tensor) -> Batch:
        """Return the rows at `index`, int64 [n], in float form, with all extra columns."""
        x, y = self[index if self.paired else index % len(self)]
        return Batch(modality_of(self).to_float(x), y, extra_columns=_columns_to_float(self.extra_columns_at(index)))

    def batches(self, size: int) -> Iterator[Rows]:
        """Yield every row once, in stored order, `size` at a time; the last batch may be smaller."""
        return self.batches_at(torch.arange(len(self)).split(size))

    def batches_at(self, indices: Iterable[Tensor], device: torch.device | str = "cpu") -> Iterator[Rows]:
        """Yield the rows at each index, on `device`; the split is copied to the device once."""
        device = torch.device(device)
        if self._copy[0].device != device:
            self._copy = self.x.to(device), None if self.y is None else self.y.to(device)
        x, y = self._copy
        for index in indices:
            index = index.to(device)
            yield _rows_at(x, index), None if y is None else y.index_select(0, index)

    @cached_property
    def sha256(self) -> str:
        """sha256 of the dtype, shape and number of rows, of x in stored order, of y, and of each extra column with its
        name; takes a pass over the split."""
        content, labels = hashlib.sha256(), hashlib.sha256()
        for number, (x, y) in enumerate(self.batches(1024)):
            if number == 0:
                content.update(f"{x.dtype} {list(x.shape[1:])} {len(self)}".encode())
            content.update(x.numpy().tobytes())
            if y is not None:
                labels.update(y.numpy().tobytes())
        content.update(labels.digest())
        for name, column in sorted(self.extra_columns.items()):
            content.update(f"{name} {column.dtype} {list(column.shape)}".encode() + column.numpy().tobytes())
        return content.hexdigest()


class ConcatSplit(Split):
    """The concatenation of splits, in order."""

    def __init__(self, name: str, splits: Sequence[Split]) -> None:
        self.name, self.splits = name, splits
        self.classes, self.modality = splits[0].classes, splits[0].modality
        self.in_memory, self.paired = all(s.in_memory for s in splits), all(s.paired for s in splits)
        self.extra_columns = {
            column: torch.cat([split.extra_columns[column] for split in splits]) for column in splits[0].extra_columns
        }
        self.ends = torch.tensor([len(split) for split in splits]).cumsum(0)

    def __len__(self) -> int:
        return int(self.ends[-1])

    @cached_property
    def shape(self) -> tuple[int, ...]:
        return self.splits[0].shape

    def __getitem__(self, index: Tensor) -> Rows:
        owner = torch.bucketize(index, self.ends, right=True)
        starts = self.ends - torch.tensor([len(split) for split in self.splits])
        rows = [split[index[owner == i] - starts[i]] for i, split in enumerate(self.splits)]
        unsort = owner.argsort(stable=True).argsort()  # from the order of the splits to the order of `index`
        y = [labels for _, labels in rows if labels is not None]
        return torch.cat([x for x, _ in rows])[unsort], torch.cat(y)[unsort] if y else None

    def batches(self, size: int) -> Iterator[Rows]:
        """Yield every row once, in order; the last batch of each split may be smaller."""
        return chain.from_iterable(split.batches(size) for split in self.splits)

    def batches_at(self, indices: Iterable[Tensor], device: torch.device | str = "cpu") -> Iterator[Rows]:
        for index in indices:
            x, y = self[index]
            yield x.to(device), None if y is None else y.to(device)


class Data(LightningDataModule):
    """The base class of data sets; a subclass defines `splits`.

    seed            shuffles the training images; the splits do not depend on it
    labels          number of labelled training images per class, drawn with `label_seed`; None: no labelled batches
    labelled_batch  labelled images per training batch; None: as many as `batch`
    flip            whether each training image is mirrored left to right with probability 1/2 each time it is shown
    only_labelled   True: the labelled images are all of the split `train`, there are no separate labelled batches, and
                    the other training images are the split `unlabelled`, which is never trained on
    Without `only_labelled`, the training batches still hold all training images with their classes.  The labelled
    batches are additional and do not count as images shown.
    """

    name: str | None = "data"
    modality: Any = None  # a Modality, which a subclass may set; None: the default modality of `shape`
    # The splits that are a random partition of one set, or ().  An official test set is another population: a network
    # can distinguish it from the training images without any memorisation.
    exchangeable_splits: tuple[str, ...] = ("train", "validation", "test")
    unbiased_splits: tuple[str, ...] | None = None  # those of the distribution that is to be learnt; None: all splits
    value_names: Mapping[str, Sequence[str]] = {}  # of integer columns: the name of each value, from 0
    # of integer columns: the function that finds the value of stored samples [n, ...] without an error, int64 [n]
    exact_rules: Mapping[str, Callable[[Tensor], Tensor]] = {}
    jitter = 0  # pixels by which training images are enlarged before a random crop; data of images may set it

    def __init__(
        self,
        shape: Iterable[int],
        classes: int | None,
        extractor: str | None = None,
        batch: int = 64,
        seed: int = 0,
        labels: int | None = None,
        label_seed: int = 0,
        labelled_batch: int | None = None,
        flip: bool = False,
        only_labelled: bool = False,
    ) -> None:
        super().__init__()
        self.shape = tuple(int(side) for side in shape)  # of one sample in float form: (C, H, W) for images
        if self.modality is not None and not isinstance(self.modality, Modality):
            raise Mistake(
                f"{type(self).__name__}: modality is {self.modality!r:.80}, but must be an object, such as "
                "modality = saddlepoint.modality.Image(16)"
            )
        self.modality = self.modality or default_modality(self.shape)
        self.classes = classes
        self.extractor = extractor  # the default extractor: digits, mnist, identity, trained, ..., or None
        if batch < 1:
            raise Mistake(f"batch is {batch}, but must be at least 1.")
        self.batch, self.seed = batch, seed
        if labels is not None and classes is None:
            raise Mistake(f"data.labels={labels}: these data have no classes. Leave labels null, or add classes.")
        for name, value in {"labels": labels, "labelled_batch": labelled_batch}.items():
            if value is not None and (type(value) is not int or value < 1):
                raise Mistake(f"data.{name}={value}: must be an integer of at least 1, or null.")
        self.labels, self.label_seed = labels, label_seed
        self.labelled_batch = batch if labelled_batch is None else labelled_batch
        if type(only_labelled) is not bool or (only_labelled and labels is None):
            raise Mistake(
                f"data.only_labelled={only_labelled}: must be true or false, and true needs data.labels, a number per "
                "class."
            )
        self.only_labelled = only_labelled
        self.kept_rows: Tensor | None = (
            None  # with only_labelled: the rows of the whole training set that are trained on
        )
        if type(flip) is not bool or (flip and not self.modality.planar):
            raise Mistake(f"data.flip={flip}: must be true or false, and true is for images only.")
        self.flip = flip
        self.notes: list[str] = []  # what the loader read, skipped and converted, one line each
        self._splits: Mapping[str, Split] = {}

    def splits(self) -> Mapping[str, Split]:
        """Load and return the splits by name: train, validation, test, and any others that the set has."""
        raise NotImplementedError

    def setup(self, stage: str | None = None) -> None:
        """Load the splits once and check them against `shape` and `classes`; raises Mistake if they differ."""
        if self._splits:
            return
        splits = self.splits()
        self._check_splits(splits)
        for split in splits.values():
            split.modality = split.modality or self.modality
        shape, classes = splits["train"].shape, splits["train"].classes
        if shape != self.shape or classes != self.classes:
            raise Mistake(
                f"{self.name}: the config has {_format_facts(self.shape, self.classes)}, but the data have "
                f"{_format_facts(shape, classes)}.\nSet these values, or choose other data."
            )
        self._splits = self._withhold_unlabelled(splits) if self.only_labelled else splits

    def _withhold_unlabelled(self, splits: Mapping[str, Split]) -> dict[str, Split]:
        """Return the splits with only the labelled rows in `train`, and the other ones as the split `unlabelled`.

        Raises Mistake if a class has too few images, or if the training images are read from disk.
        """
        train, name = splits["train"], "unlabelled"
        if not train.in_memory:
            raise Mistake("data.only_labelled=true needs training images in memory: set a larger data.memory.")
        self.kept_rows = self._draw_labelled(train)
        is_kept = torch.zeros(len(train), dtype=torch.bool).index_fill(0, self.kept_rows, True)
        self.exchangeable_splits = (*(self.exchangeable_splits or ("train",)), name)
        rows = {"train": self.kept_rows, name: (~is_kept).nonzero().flatten()}
        selected = {
            part: Split(part, *train[index], self.classes, train.extra_columns_at(index), train.modality)
            for part, index in rows.items()
            if len(index)
        }
        return {"train": selected.pop("train"), **selected, **{key: s for key, s in splits.items() if key != "train"}}

    def _check_splits(self, splits: Any) -> None:
        """Raises Mistake if `splits()`, which a user-defined class may define, returned the wrong thing."""
        location = format_source_location(type(self).splits)
        if not isinstance(splits, Mapping) or "train" not in splits:
            names = ", ".join(map(str, splits)) if isinstance(splits, Mapping) else describe_type_of(splits)
            raise Mistake(
                f"{self.name}: splits() gives {names or 'nothing'}, but must give a mapping of train, validation and "
                f"test{location}"
            )
        for name, split in splits.items():
            if not isinstance(split, Split):
                raise Mistake(
                    f"{self.name}: splits() gives {describe_type_of(split)} as {name}, but must give a "
                    f"saddlepoint.data.data.Split(name, x, y, classes){location}"
                )
            if not len(split):
                raise Mistake(f"{self.name}: its {name} split is empty{location}")
            if type(self).__module__.startswith("saddlepoint."):
                continue  # built-in data sets are tested, and this check would decode an image
            x, y = split[torch.arange(1)]
            if not isinstance(x, Tensor) or not self.modality.has_stored_form(x):
                raise Mistake(self._wrong_form_message(name, x) + location)
            values = split.x if isinstance(getattr(split, "x", None), Tensor) else x
            if reason := self.modality.why_not(values):
                raise Mistake(f"{self.name}: its {name} split: {reason}{location}")
            if y is not None and (y.dtype, y.ndim) != (torch.int64, 1):
                raise Mistake(f"{self.name}: the classes of its {name} split are {y.dtype}, not int64 [n]{location}")

    def _wrong_form_message(self, name: str, x: Any) -> str:
        row = f"{describe_type_of(x)}, {x.dtype}" if isinstance(x, Tensor) else describe_type_of(x)
        hint = self.modality.conversion_hint(x) if isinstance(x, Tensor) else None
        return (
            f"{self.name}: a row of its {name} split is {row}, but x must be {self.modality.stored_form}, the stored "
            f"form of modality {self.modality.name}" + (f". {hint[0].upper()}{hint[1:]}" if hint else "")
        )

    def split(self, name: str) -> Split:
        """Return the split `name` (train, validation, test, ...), or for `all` the concatenation of all splits.

        Raises Mistake if there is no such split.
        """
        if not self._splits:
            if self.trainer is None:  # else Lightning has called it, on one rank
                self.prepare_data()
            self.setup()
        if name == ALL_SPLITS:
            return self._all_splits
        if name not in self._splits:
            raise Mistake(f"{self.name} has no split {name!r}: choose one of {', '.join((*self._splits, ALL_SPLITS))}.")
        return self._splits[name]

    @property
    def class_names(self) -> list[str]:
        """The name of each class, in the order of labels; the class numbers if the data have no names."""
        return _default_class_names(self.classes)

    @cached_property
    def _all_splits(self) -> Split:
        """All splits, last first: the order of a folder's samples then does not depend on `validation` and `test`."""
        return ConcatSplit(ALL_SPLITS, list(self._splits.values())[::-1])

    def describe(self) -> dict[str, Any]:
        """Return the facts for the provenance record; sha256 is None for a split on disk that is not hashed yet."""
        extra_columns = self.split("train").extra_columns
        unpaired = {name: split.extra_rows for name, split in self._splits.items() if not split.paired}
        names = self.class_names
        labelled = {}
        if self.labels is not None:
            indices = self.kept_rows if self.only_labelled else self.labelled_indices
            rows = [] if indices is None else indices.view(self.classes or 0, -1).tolist()
            by_class = {str(label): " ".join(map(str, row)) for label, row in enumerate(rows)}  # rows of train
            labelled = {"labelled": {"per_class": self.labels, "label_seed": self.label_seed, "rows": by_class}}
        return {
            "name": self.name,
            "shape": list(self.shape),
            "classes": self.classes,
            "sizes": {name: len(split) for name, split in self._splits.items()},
            "sha256": {
                name: split.sha256 if split.in_memory or "sha256" in vars(split) else None
                for name, split in self._splits.items()
            },
            **({"columns": {name: list(x.shape[1:]) for name, x in extra_columns.items()}} if extra_columns else {}),
            **({"unpaired_rows": unpaired} if unpaired else {}),
            **({"class_names": names} if names != _default_class_names(self.classes) else {}),
            **labelled,
        }

    @cached_property
    def labelled_indices(self) -> Tensor | None:
        """Indices of the labelled rows of the train split, int64 [classes * labels], class by class.

        None without labels, and with `only_labelled`.  Raises Mistake if a class has too few images.
        """
        if self.labels is None or self.classes is None or self.only_labelled:
            return None
        return self._draw_labelled(self.split("train"))

    def _draw_labelled(self, train: Split) -> Tensor:
        if train.y is None:
            raise Mistake(f"data.labels={self.labels}: the training images of {self.name} have no classes.")
        return draw_labelled_indices(train.y, self.classes or 0, self.labels or 0, self.label_seed)

    @property
    def device(self) -> torch.device:
        """The device of the batches: the trainer's, or the CPU without a trainer."""
        return torch.device("cpu") if self.trainer is None else self.trainer.strategy.root_device

    def first_batch(self, n: int) -> Batch:
        """Return the first n training images in stored order, with the first n labelled ones if there are any."""
        train, labelled = self.split("train"), self.labelled_indices
        batch = self.batch_at("train", torch.arange(min(n, len(train))))
        if labelled is None:
            return batch
        labelled_x, labelled_y = train[labelled[:n]]
        assert labelled_y is not None
        return replace(batch, labelled=(self.modality.to_float(labelled_x), labelled_y))

    def batch_at(self, split: str, index: Tensor) -> Batch:
        """Return the rows of a split at `index`, int64 [n], in float form, with all extra columns."""
        return self.split(split).batch_at(index)

    def training_batches(self, start: int = 0, rank: int = 0, world_size: int = 1) -> Iterator[Batch]:
        """Yield this rank's contiguous slice of each global batch, without end, from image `start` on."""
        if self.batch % world_size:
            raise Mistake(
                f"batch={self.batch} does not divide among {world_size} devices: choose a multiple of {world_size}."
            )
        train, per_rank = self.split("train"), self.batch // world_size
        n = len(train)
        order = ShuffledOrder(n, self.seed)
        firsts = count(start + rank * per_rank, self.batch)
        indices = (order.indices(first, first + per_rank) for first in firsts)
        augmentation = Augmentation(n, self.batch, self.batch, self.seed, self.flip, self.jitter)
        draws = augmentation.draws(start, rank, world_size)
        rows = self._augmented_batches(self._float_batches(train, indices), augmentation, draws)
        labelled = self._labelled_batches(start, rank, world_size)
        columns = self._extra_column_batches(train, start, rank, world_size)
        return (Batch(x, y, pair, extra) for (x, y), pair, extra in zip(rows, labelled, columns, strict=False))

    def _extra_column_batches(
        self, split: Split, start: int, rank: int, world_size: int
    ) -> Iterator[dict[str, Tensor]]:
        """Yield the extra columns of each batch, images augmented like x; {} if there are none.

        Columns that are not paired with x have an order and an augmentation of their own.
        """
        if not split.extra_columns:
            return repeat({})
        device, per_rank = self.device, self.batch // world_size
        seed, names = (self.seed, ()) if split.paired else (derive_seed(self.seed, UNPAIRED), (UNPAIRED,))
        order = ShuffledOrder(split.extra_rows, seed)
        augmentation = Augmentation(split.extra_rows, self.batch, self.batch, self.seed, self.flip, self.jitter, names)
        indices = (order.indices(first, first + per_rank) for first in count(start + rank * per_rank, self.batch))
        return (
            {
                name: (augmentation.apply(column, draw) if is_image(column) else column).to(device)
                for name, column in _columns_to_float(split.extra_columns_at(index)).items()
            }
            for index, draw in zip(indices, augmentation.draws(start, rank, world_size), strict=False)
        )

    def _float_batches(self, split: Split, indices: Iterator[Tensor]) -> Iterator[Rows]:
        """Yield the rows of a split at each index in float form, on the device; a small split is converted once."""
        if type(split) is Split and len(split.x) * math.prod(self.shape) <= SMALL and self.device.type == "cpu":
            return Split(split.name, self.modality.to_float(split.x), split.y, split.classes).batches_at(indices)
        return ((self.modality.to_float(x), y) for x, y in split.batches_at(indices, self.device))

    def _augmented_batches(
        self, batches: Iterator[Rows], augmentation: Augmentation, draws: Iterator[Tensor]
    ) -> Iterator[Rows]:
        """Mirror and crop the images of each batch by its draw."""
        if not (augmentation.flip or augmentation.jitter):
            return batches
        return ((augmentation.apply(x, draw), y) for (x, y), draw in zip(batches, draws, strict=False))

    def _labelled_batches(self, start: int, rank: int, world_size: int) -> Iterator[tuple[Tensor, Tensor] | None]:
        """Yield this rank's labelled batches without end, or None each time if there are no labels."""
        if self.labelled_indices is None:
            return repeat(None)
        if self.labelled_batch % world_size:
            raise Mistake(f"data.labelled_batch={self.labelled_batch} does not divide among {world_size} devices.")
        x, y = self.split("train")[self.labelled_indices]  # few: kept in memory even if the split is on disk
        indices = index_stream(len(x), self.batch, self.labelled_batch, self.seed, start, rank, world_size)
        sizes = self.batch, self.labelled_batch
        augmentation = Augmentation(len(x), *sizes, self.seed, self.flip, self.jitter, ("labelled",))
        draws = augmentation.draws(start, rank, world_size)
        floats = self._float_batches(Split("labelled", x, y, self.classes), indices)
        return ((x, y) for x, y in self._augmented_batches(floats, augmentation, draws) if y is not None)

    def train_dataloader(self) -> Iterable[Any]:
        """Return an iterable of the training batches of the game, which start, each time, at its image count.

        If the game plays blocks of rounds, each item is the endless iterator itself, of which a step takes its batches.
        """
        return _Loader(self)


class _Loader:
    def __init__(self, data: Data) -> None:
        self.data = data

    def __iter__(self) -> Iterator[Any]:
        trainer: Any = self.data.trainer
        game = trainer.lightning_module
        batches = game.training_batches(self.data, trainer.global_rank, trainer.world_size)
        return batches if getattr(game, "block", 1) == 1 else repeat(batches)


def _columns_to_float(columns: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Convert stored images to floats in [-1, 1]; return other columns unchanged."""
    return {name: to_float(column) if is_image(column) else column for name, column in columns.items()}


def _rows_at(x: Tensor, index: Tensor) -> Tensor:
    """Return the rows of x at `index`; uint16 is viewed as int16, since few devices have kernels for uint16."""
    return (x.view(torch.int16).index_select(0, index).view(x.dtype) if x.dtype == torch.uint16
            else x.index_select(0, index))  # fmt: skip


def _default_class_names(classes: int | None) -> list[str]:
    return list(map(str, range(classes or 0)))


def _format_facts(shape: tuple[int, ...], classes: int | None) -> str:
    return f"data.shape=[{','.join(map(str, shape))}] data.classes={'null' if classes is None else classes}"
