"""A data set: three named splits, stored as their modality has it, and an endless stream over the first.

A batch is addressed by the number of real images shown before it, so nothing that a loader fetched in advance can
change what is trained on: whoever starts again at position p sees what the first one saw from p on.
"""

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from itertools import chain, count, repeat, tee
from typing import Any

import torch
from pytorch_lightning import LightningDataModule
from torch import Tensor

from saddlepoint.data.labelled_subset import draw_labelled_indices, index_stream
from saddlepoint.data.shuffled_order import ShuffledOrder
from saddlepoint.error import Mistake, describe_value, source_location
from saddlepoint.modality import Modality, default_modality, modality_of
from saddlepoint.modality.image import is_image
from saddlepoint.pixel import to_float
from saddlepoint.stream import derive_seed
from saddlepoint.turn import BATCH_COLUMNS, Batch

ALL_SPLITS = "all"  # the name of all splits together
Rows = tuple[Tensor, Tensor | None]  # x as stored (see `modality`), [n, ...]; y int64 [n] or None


class Split:
    """One named part of a data set, held in memory, as stored.

    `modality` None: that of the data set that it is part of, else the one that the type and number of axes of x imply.
    `more` holds further columns by name, row by row beside x: a source image, attributes, a mask.  Raises ValueError
    where a column has another number of rows than x, or the name of a column that every batch has.
    """

    in_memory = True  # whether the rows lie in memory, so that a pass over them costs little
    extra_columns: Mapping[str, Tensor] = {}
    modality: Modality | None = None

    def __init__(
        self,
        name: str,
        x: Tensor,
        y: Tensor | None = None,
        classes: int | None = None,
        extra_columns: Mapping[str, Tensor] | None = None,
        modality: Modality | None = None,
    ) -> None:
        self.name, self.x, self.y, self.extra_columns = name, x, y, dict(extra_columns or {})
        for column, values in self.extra_columns.items():
            if len(values) != len(x) or column in BATCH_COLUMNS:
                raise ValueError(f"column {column} of {len(values)} rows beside x of {len(x)}; taken: {BATCH_COLUMNS}")
        self.modality = modality
        self.classes = int(y.max()) + 1 if classes is None and y is not None else classes
        self._copy: tuple[Tensor, Tensor | None] = (x, y)  # on the device that asked last

    def __len__(self) -> int:
        return len(self.x)

    @cached_property
    def shape(self) -> tuple[int, ...]:
        """The shape of one sample, as networks see it."""
        return modality_of(self).sample_shape(self.x[:1])

    def __getitem__(self, index: Tensor) -> Rows:
        """The rows at `index`, int64 [n]."""
        return self.x[index], None if self.y is None else self.y[index]

    def extra_columns_at(self, index: Tensor) -> dict[str, Tensor]:
        """The rows of each further column at `index`, int64 [n], as stored."""
        return {name: column[index] for name, column in self.extra_columns.items()}

    def batch_at(self, index: Tensor) -> Batch:
        """The rows at `index`, int64 [n], as networks see them, with every further column."""
        x, y = self[index]
        return Batch(modality_of(self).to_float(x), y, extra_columns=_seen(self.extra_columns_at(index)))

    def batches(self, size: int) -> Iterator[Rows]:
        """Every row once, in stored order, `size` at a time; the last batch may be smaller."""
        return self.batches_at(torch.arange(len(self)).split(size))

    def batches_at(self, indices: Iterable[Tensor], device: torch.device | str = "cpu") -> Iterator[Rows]:
        """The rows at each index in turn, on `device`; the whole split is copied there once."""
        device = torch.device(device)
        if self._copy[0].device != device:
            self._copy = self.x.to(device), None if self.y is None else self.y.to(device)
        x, y = self._copy
        for index in indices:
            index = index.to(device)
            yield _at(x, index), None if y is None else y.index_select(0, index)

    @cached_property
    def sha256(self) -> str:
        """sha256 of the type, shape and number of rows, of x in stored order, of y, and of each further column by its
        name; a pass over the split."""
        content, labels = hashlib.sha256(), hashlib.sha256()
        for number, (x, y) in enumerate(self.batches(1024)):
            if number == 0:
                content.update(f"{x.dtype} {list(x.shape[1:])} {len(self)}".encode())
            content.update(x.numpy().tobytes())
            if y is not None:
                labels.update(y.numpy().tobytes())
        content.update(labels.digest())
        for name, column in sorted(self.extra_columns_at(torch.arange(len(self))).items()):
            content.update(f"{name} {column.dtype} {list(column.shape)}".encode() + column.numpy().tobytes())
        return content.hexdigest()


class ConcatSplit(Split):
    """Splits laid end to end, each read as it is by itself."""

    def __init__(self, name: str, parts: Sequence[Split]) -> None:
        self.name, self.splits = name, parts
        self.classes, self.modality = parts[0].classes, parts[0].modality
        self.in_memory = all(part.in_memory for part in parts)
        self.extra_columns = {
            name: torch.cat([part.extra_columns[name] for part in parts]) for name in parts[0].extra_columns
        }
        self.ends = torch.tensor([len(part) for part in parts]).cumsum(0)

    def __len__(self) -> int:
        return int(self.ends[-1])

    @cached_property
    def shape(self) -> tuple[int, ...]:
        return self.splits[0].shape

    def __getitem__(self, index: Tensor) -> Rows:
        owner = torch.bucketize(index, self.ends, right=True)
        starts = self.ends - torch.tensor([len(part) for part in self.splits])
        rows = [part[index[owner == i] - starts[i]] for i, part in enumerate(self.splits)]
        back = owner.argsort(stable=True).argsort()  # from the order of the parts to that of `index`
        y = [labels for _, labels in rows if labels is not None]
        return torch.cat([x for x, _ in rows])[back], torch.cat(y)[back] if y else None

    def batches(self, size: int) -> Iterator[Rows]:
        """Every row once, in order; the last batch of each part may be smaller."""
        return chain.from_iterable(part.batches(size) for part in self.splits)

    def batches_at(self, indices: Iterable[Tensor], device: torch.device | str = "cpu") -> Iterator[Rows]:
        for index in indices:
            x, y = self[index]
            yield x.to(device), None if y is None else y.to(device)


class Data(LightningDataModule):
    """A data set; a subclass says what is in it.  `seed` orders the stream, and never decides who is in a split.

    modality        what kind of thing a sample is; a subclass sets it, or `shape` implies it (see `modality.implied`)
    labels          labelled training images per class, drawn by `label_seed`; None: no batch of their own is given
    labelled_batch  how many of them beside each batch; None: as many as `batch`
    flip            whether each training image is mirrored, left to right, with probability 1/2 each time it is shown
    All training images, with their classes, stay in the stream; labelled batches stand beside it and are not counted.
    """

    name: str | None = "data"
    modality: Any = None  # a Modality, of every instance
    # the splits that are a random cut of one pool; () where none is: a test set that others drew is another population,
    # and what tells it from the training images says nothing of memorisation
    exchangeable_splits: tuple[str, ...] = ("train", "validation", "test")

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
    ) -> None:
        super().__init__()
        self.shape = tuple(int(side) for side in shape)  # of a sample as networks see it: (C, H, W) of images
        if self.modality is not None and not isinstance(self.modality, Modality):
            raise Mistake(
                f"{type(self).__name__}: modality is {self.modality!r:.80}, and it is to be an object, such as "
                "modality = saddlepoint.modality.Image(16)"
            )
        self.modality = self.modality or default_modality(self.shape)
        self.classes = classes
        self.extractor = extractor  # what measures samples of this data: digits, mnist, identity, trained, or None
        if batch < 1:
            raise Mistake(f"batch is {batch}, and a batch holds at least one image.")
        self.batch, self.seed = batch, seed
        if labels is not None and classes is None:
            raise Mistake(f"data.labels={labels}: these data have no classes. Leave labels null, or bring some.")
        for name, value in {"labels": labels, "labelled_batch": labelled_batch}.items():
            if value is not None and (type(value) is not int or value < 1):
                raise Mistake(f"data.{name}={value}: a whole number of at least 1, or null.")
        self.labels, self.label_seed = labels, label_seed
        self.labelled_batch = batch if labelled_batch is None else labelled_batch
        if type(flip) is not bool or (flip and not self.modality.planar):
            raise Mistake(f"data.flip={flip}: true or false, and true for images alone.")
        self.flip = flip
        self.notes: list[str] = []  # what was found, left out and changed on reading, a line each
        self._splits: Mapping[str, Split] = {}

    def splits(self) -> Mapping[str, Split]:
        """train, validation and test, and further ones where a set has them, read anew."""
        raise NotImplementedError

    def setup(self, stage: str | None = None) -> None:
        """The splits read, once, and held against the facts `shape` and `classes`; raises Mistake where they differ."""
        if self._splits:
            return
        splits = self.splits()
        self._look_at(splits)
        for part in splits.values():
            part.modality = part.modality or self.modality
        shape, classes = splits["train"].shape, splits["train"].classes
        if shape != self.shape or classes != self.classes:
            raise Mistake(
                f"{self.name}: the facts {_facts(self.shape, self.classes)} are configured, but the data's are "
                f"{_facts(shape, classes)}.\nSay these instead, or choose the data that you mean."
            )
        self._splits = splits

    def _look_at(self, splits: Any) -> None:
        """Raises Mistake where `splits` gave something else than it says, as a class of somebody's own may."""
        where = source_location(type(self).splits)
        if not isinstance(splits, Mapping) or "train" not in splits:
            there = (
                f"{', '.join(map(str, splits)) or 'nothing'} alone"
                if isinstance(splits, Mapping)
                else describe_value(splits)
            )
            raise Mistake(
                f"{self.name}: splits() gives {there}, and it is to give a mapping of train, validation and test{where}"
            )
        for name, split in splits.items():
            if not isinstance(split, Split):
                raise Mistake(
                    f"{self.name}: splits() gives {describe_value(split)} as {name}, and it is to give a "
                    f"saddlepoint.data.data.Split(name, x, y, classes){where}"
                )
            if not len(split):
                raise Mistake(f"{self.name}: its {name} split is empty{where}")
            if type(self).__module__.startswith("saddlepoint."):
                continue  # ours give what they say, and an image need not be decoded to see it
            x, y = split[torch.arange(1)]
            if not isinstance(x, Tensor) or not self.modality.has_stored_form(x):
                raise Mistake(self._not_stored(name, x) + where)
            held = split.x if isinstance(getattr(split, "x", None), Tensor) else x
            if why := self.modality.why_not(held):
                raise Mistake(f"{self.name}: its {name} split: {why}{where}")
            if y is not None and (y.dtype, y.ndim) != (torch.int64, 1):
                raise Mistake(f"{self.name}: the classes of its {name} split are {y.dtype}, not int64 [n]{where}")

    def _not_stored(self, name: str, x: Any) -> str:
        found = f"{describe_value(x)}, {x.dtype}" if isinstance(x, Tensor) else describe_value(x)
        advice = self.modality.conversion_hint(x) if isinstance(x, Tensor) else None
        return (
            f"{self.name}: a row of its {name} split is {found}, and x is to be {self.modality.stored_form}, as its modality "
            f"{self.modality.name} is stored" + (f". {advice[0].upper()}{advice[1:]}" if advice else "")
        )

    def split(self, name: str) -> Split:
        """The split called train, validation, test, or as `splits` says; `all`: every one of them, for evaluation.

        Raises Mistake for another name.
        """
        if not self._splits:
            if self.trainer is None:  # else Lightning has done so, on one rank
                self.prepare_data()
            self.setup()
        if name == ALL_SPLITS:
            return self._all
        if name not in self._splits:
            raise Mistake(f"{self.name} has no split {name!r}: choose one of {', '.join((*self._splits, ALL_SPLITS))}.")
        return self._splits[name]

    @property
    def class_names(self) -> list[str]:
        """What each class is called, in the order of labels: its number, unless the data have other names for them."""
        return _numbers(self.classes)

    @cached_property
    def _all(self) -> Split:
        """Every split, the last first: so a folder is in one order wherever it is cut (see `image_folder`)."""
        return ConcatSplit(ALL_SPLITS, list(self._splits.values())[::-1])

    def describe(self) -> dict[str, Any]:
        """Plain facts for the provenance; sha256 is None for a split that is read from disk and was not yet hashed."""
        more = self.split("train").extra_columns
        names = self.class_names
        few = {}
        if self.labels is not None:
            rows = [] if self.labelled_indices is None else self.labelled_indices.view(self.classes or 0, -1).tolist()
            of_class = {str(label): " ".join(map(str, own)) for label, own in enumerate(rows)}  # rows of train
            few = {"labelled": {"per_class": self.labels, "label_seed": self.label_seed, "rows": of_class}}
        return {
            "name": self.name,
            "shape": list(self.shape),
            "classes": self.classes,
            "sizes": {name: len(split) for name, split in self._splits.items()},
            "sha256": {
                name: split.sha256 if split.in_memory or "sha256" in vars(split) else None
                for name, split in self._splits.items()
            },
            **({"columns": {name: list(own.shape[1:]) for name, own in more.items()}} if more else {}),
            **({"class_names": names} if names != _numbers(self.classes) else {}),
            **few,
        }

    @cached_property
    def labelled_indices(self) -> Tensor | None:
        """The rows of the train split whose labels are given, int64 [classes x labels], class by class; None: none are.

        Raises Mistake where a class has too few.
        """
        if self.labels is None or self.classes is None:
            return None
        train = self.split("train")
        if train.y is None:
            raise Mistake(f"data.labels={self.labels}: the training images of {self.name} have no classes.")
        return draw_labelled_indices(train.y, self.classes, self.labels, self.label_seed)

    @property
    def device(self) -> torch.device:
        """Where batches are made: the trainer's device, and the CPU without a trainer."""
        return torch.device("cpu") if self.trainer is None else self.trainer.strategy.root_device

    def first_batch(self, n: int) -> Batch:
        """The first n training images as they are stored, with as many of the labelled ones where there are any."""
        train, given = self.split("train"), self.labelled_indices
        batch = self.batch_at("train", torch.arange(min(n, len(train))))
        if given is None:
            return batch
        labelled_x, labelled_y = train[given[:n]]
        assert labelled_y is not None
        return replace(batch, labelled=(self.modality.to_float(labelled_x), labelled_y))

    def batch_at(self, split: str, index: Tensor) -> Batch:
        """The rows of a split at `index`, int64 [n], as networks see them, with every further column."""
        return self.split(split).batch_at(index)

    def training_batches(self, start: int = 0, rank: int = 0, world: int = 1) -> Iterator[Batch]:
        """This rank's contiguous slice of each global batch of `batch` images, for ever, from image `start` on."""
        if self.batch % world:
            raise Mistake(f"batch={self.batch} does not divide among {world} devices: choose a multiple of {world}.")
        train, own = self.split("train"), self.batch // world
        order = ShuffledOrder(len(train), self.seed)
        firsts = count(start + rank * own, self.batch)
        indices, again = tee(order.indices(first, first + own) for first in firsts)
        # draws that depend on seed and position alone, as the order does; two epochs' permutation is odd half the time
        draws = index_stream(
            2 * len(train), self.batch, self.batch, derive_seed(self.seed, "augment"), start, rank, world
        )
        draws, same_draws = tee(draws)
        selections = self._augmented(self._inside(train.batches_at(indices, self.device)), draws)
        beside, more = self._beside(start, rank, world), self._more(train, again, same_draws)
        return (Batch(x, y, labelled, own) for (x, y), labelled, own in zip(selections, beside, more, strict=False))

    def _more(self, split: Split, indices: Iterator[Tensor], draws: Iterator[Tensor]) -> Iterator[dict[str, Tensor]]:
        """The further columns of each batch, images mirrored as the batch's own are; {} each time without any."""
        if not split.extra_columns:
            return repeat({})
        device = self.device
        return (
            {
                name: (_mirrored(column, draw) if self.flip and is_image(column) else column).to(device)
                for name, column in _seen(split.extra_columns_at(index)).items()
            }
            for index, draw in zip(indices, draws, strict=False)
        )

    def _inside(self, selections: Iterator[Rows]) -> Iterator[Rows]:
        return ((self.modality.to_float(x), y) for x, y in selections)

    def _augmented(self, selections: Iterator[Rows], draws: Iterator[Tensor]) -> Iterator[Rows]:
        """Each batch, its images mirrored where the draw, int64 [n], is odd; as it is without `flip`."""
        if not self.flip:
            return selections
        return ((_mirrored(x, draw), y) for (x, y), draw in zip(selections, draws, strict=False))

    def _beside(self, start: int, rank: int, world: int) -> Iterator[tuple[Tensor, Tensor] | None]:
        """This rank's labelled batches, for ever; None each time without labels."""
        if self.labelled_indices is None:
            return repeat(None)
        if self.labelled_batch % world:
            raise Mistake(f"data.labelled_batch={self.labelled_batch} does not divide among {world} devices.")
        x, y = self.split("train")[self.labelled_indices]  # few: held in memory, whatever the split does
        where = index_stream(len(x), self.batch, self.labelled_batch, self.seed, start, rank, world)
        chosen = Split("labelled", x, y, self.classes).batches_at(where, self.device)
        sizes = self.batch, self.labelled_batch
        draws = index_stream(2 * len(x), *sizes, derive_seed(self.seed, "augment", "labelled"), start, rank, world)
        return ((own, y) for own, y in self._augmented(self._inside(chosen), draws) if y is not None)

    def train_dataloader(self) -> Iterable[Batch]:
        """The stream from the image that the game has reached, taken up anew whenever it is iterated over."""
        return _Loader(self)


class _Loader:
    def __init__(self, data: Data) -> None:
        self.data = data

    def __iter__(self) -> Iterator[Batch]:
        trainer: Any = self.data.trainer
        return self.data.training_batches(trainer.lightning_module.images, trainer.global_rank, trainer.world_size)


def _seen(columns: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Further columns as networks see them: stored images in [-1, 1], others as they are."""
    return {name: to_float(column) if is_image(column) else column for name, column in columns.items()}


def _at(x: Tensor, index: Tensor) -> Tensor:
    """The rows of x at `index`; of uint16 as int16, since few devices have kernels of the former."""
    return (x.view(torch.int16).index_select(0, index).view(x.dtype) if x.dtype == torch.uint16
            else x.index_select(0, index))  # fmt: skip


def _mirrored(x: Tensor, draw: Tensor) -> Tensor:
    """Images [n, C, H, W], left to right where the draw, int64 [n], is odd."""
    return torch.where((draw % 2 == 1).to(x.device)[:, None, None, None], x.flip(-1), x)


def _numbers(classes: int | None) -> list[str]:
    return list(map(str, range(classes or 0)))


def _facts(shape: tuple[int, ...], classes: int | None) -> str:
    return f"data.shape=[{','.join(map(str, shape))}] data.classes={'null' if classes is None else classes}"
