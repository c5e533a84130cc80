"""Somebody's samples on disk, to be measured: a folder or zip of images, or an npz.

Folder or zip: as `listing` says, in the order of their names; classes by folder or dataset.json.  A class folder stands
for the class of the data that has its name, else, where all are whole numbers, for the class of that number; so a class
without samples shifts no label.  npz: one array of samples, arr_0 or any one name, uint8 [N, H, W, C], [N, C, H, W] or
[N, H, W], or float points [N, D]; labels, if any, int [N], in arr_1, y or labels.

Samples with classes are usually stored class by class, and a score over parts (the Inception score's) would see few
classes in each: they are put into the order of their contents' sha256.  Others keep the order that they have.
"""

from __future__ import annotations

import zipfile
import zlib
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path, PurePosixPath

import numpy as np
import torch
from torch import Tensor

from saddlepoint import archive
from saddlepoint.data.data import Split
from saddlepoint.data.image_folder import Files, ImageFolder
from saddlepoint.data.picture import mode
from saddlepoint.error import Mistake

Say = Callable[[str], None]
LABELS = ("arr_1", "y", "labels")
DONE = {  # what is done to images of other modes than the data's, by (mode, channels wanted)
    ("L", 3): "grey images get three equal channels",
    ("RGB", 1): "RGB images are turned into grey (ITU-R 601-2 luma)",
}


def read(
    path: str | Path, shape: tuple[int, ...], say: Say = lambda line: None, class_names: Sequence[str] = ()
) -> Split:
    """All samples at `path`, for data of `shape`; `say` hears what is done to them.

    `class_names` are those of the data's classes, in the order of labels; () where the data have none: then the classes
    of the samples are their own.  Raises Mistake where there are no samples, where they cannot be read, where they are
    not of that shape, or where they are of other classes than the data.
    """
    place = Path(path).expanduser()
    if not place.exists():
        raise Mistake(f"samples={path}: there is no such folder, zip or npz.")
    split = _array(place, shape) if place.suffix.lower() == ".npz" else _images(place, shape, say, class_names)
    if split.y is None:
        return split
    if class_names:
        _known(split.y, len(class_names), place)
    # by content, not by place: a class folder and an npz of the same samples are one set
    keys = [sha256(row.numpy().tobytes()).digest() for row in split.x]
    x, y = split[torch.tensor(sorted(range(len(keys)), key=keys.__getitem__))]
    return Split("samples", x, y, len(class_names) or split.classes)


def _known(y: Tensor, classes: int, place: Path) -> None:
    """Raises Mistake for labels that are none of the data's."""
    low, high = int(y.min()), int(y.max())
    if low < 0 or high >= classes:
        raise Mistake(
            f"{place}: the samples are labelled {low} to {high}, and the data have {classes} classes, 0 to "
            f"{classes - 1}. Bring the samples of these classes alone, or name the data that they were made from."
        )


def labels_of(folders: Sequence[str], class_names: Sequence[str], place: Path) -> list[int]:
    """The label of each class folder among the data's classes: by name, else by number where all names are numbers.

    Where the data's own names are numbers, these are the numbers meant.  Raises Mistake where a folder is no class of
    the data, or two are the same one.
    """
    numbered = all(name.isdecimal() for name in class_names)
    by_number = {int(name) if numbered else label: label for label, name in enumerate(class_names)}
    found: list[int | None] = [{name: i for i, name in enumerate(class_names)}.get(folder) for folder in folders]
    if None in found and all(folder.isdecimal() for folder in folders):
        found = [by_number.get(int(folder)) for folder in folders]
    known = [label for label in found if label is not None]
    if len(known) < len(folders):
        strange = [folder for folder, label in zip(folders, found, strict=True) if label is None]
        raise Mistake(
            f"{place}: the class folders {_some(strange)} are no classes of the data, which are "
            f"{_some(class_names)}. Name each folder as the data's class, or by the class's number, 0 to "
            f"{len(class_names) - 1}; or bring an .npz with labels."
        )
    if len(set(known)) < len(known):
        raise Mistake(f"{place}: two of the class folders {_some(folders)} are one class of the data: merge them.")
    return known


def _some(names: Sequence[str]) -> str:
    """The first names of a list, for people."""
    return ", ".join(names[:8]) + (f", ... ({len(names):,})" if len(names) > 8 else "")


def _images(place: Path, shape: tuple[int, ...], say: Say, class_names: Sequence[str]) -> Split:
    if len(shape) != 3 or shape[0] not in (1, 3):
        raise Mistake(f"{place}: pictures cannot be held against data of shape {list(shape)}; bring an .npz.")
    channels, _, edge = shape
    with _own_advice(edge):
        data = ImageFolder(place, channels=channels)  # the first picture is read: it must be square
    found = data.listing
    if data.shape != tuple(shape):
        raise Mistake(
            f"{found.where(found.names[0])} is {data.shape[1]}x{data.shape[2]}, and the data are {edge}x{edge}: resize "
            "the samples as the data were, or name the data that they were trained on."
        )
    with _own_advice(edge):
        modes = Counter(mode(found, name, edge) for name in found.names)
    for kind, number in modes.items():
        for line in _treatment(kind, channels):
            say(f"{place}: {number:,} of {len(found.names):,}: {line}.")
    if found.labels is None and (only := PurePosixPath(found.base).name) in class_names:  # of one class alone
        found.folders, found.labels, found.classes = [only], [0] * len(found.names), 1
    if found.folders and found.labels and class_names:
        own = labels_of(found.folders, class_names, place)
        found.labels = [own[label] for label in found.labels]
        absent = [name for label, name in enumerate(class_names) if label not in own]
        say(
            f"{place}: {len(own)} class folders, matched with the data's classes"
            + (f"; no samples of {_some(absent)}." if absent else ".")
        )
    elif found.labels is not None:
        say(f"{place}: {found.classes} classes, by folder or dataset.json.")
    files = Files("samples", data, list(range(len(found.names))), edge)
    return files.held() if len(files) * channels * edge**2 <= data.memory or found.labels else files


@contextmanager
def _own_advice(edge: int) -> Iterator[None]:
    """A folder to train on can be cropped and resized on the way; samples are measured as they are."""
    try:
        yield
    except Mistake as mistake:
        what, said, _ = str(mistake).partition("Say data.size=")
        if not said:
            raise
        raise Mistake(f"{what.strip()}\nBring all samples to {edge}x{edge} first, as the data were.") from None


def _treatment(kind: str, channels: int) -> list[str]:
    """What is done to images of this mode."""
    plain, transparent = kind.removesuffix("+transparency"), kind.endswith("+transparency")
    if plain[0] in "IF":
        return []  # of more than 8 bits: refused when it is read
    lines = ["transparent parts are laid over white"] if transparent else []
    grey = plain in ("1", "L", "LA")
    if (grey and channels == 3) or (plain in ("RGB", "RGBA") and channels == 1):
        lines.append(DONE[("L" if grey else "RGB"), channels])
    if not grey and plain not in ("RGB", "RGBA"):
        lines.append(f"{plain} images are converted to {'grey' if channels == 1 else 'RGB'}")
    return lines


def _array(place: Path, shape: tuple[int, ...]) -> Split:
    try:
        arrays = archive.arrays(place)
    except (OSError, ValueError, zipfile.BadZipFile, zlib.error, EOFError) as error:
        raise Mistake(f"{place} cannot be read as an npz of plain arrays: {str(error).splitlines()[0]}.") from None
    labels = next((arrays.pop(name) for name in LABELS if name in arrays and arrays[name].ndim == 1), None)
    if len(arrays) != 1:
        raise Mistake(f"{place} holds {', '.join(arrays) or 'nothing'}: one array of samples is needed, arr_0 for one.")
    ((name, array),) = arrays.items()
    x = _rows(array, shape, f"{place}: {name}")
    if not len(x):
        raise Mistake(f"{place}: {name} holds no samples.")
    if labels is not None and (len(labels) != len(x) or labels.dtype.kind not in "iu"):
        raise Mistake(f"{place}: the labels are {labels.dtype} [{len(labels)}], for {len(x)} samples: whole numbers.")
    y = None if labels is None else torch.from_numpy(labels.astype(np.int64))
    return Split("samples", x, y)


def _rows(array: np.ndarray, shape: tuple[int, ...], where: str) -> Tensor:
    """The array as stored samples [N, *shape]."""
    if len(shape) == 1:
        if array.dtype.kind != "f" or array.shape[1:] != tuple(shape):
            raise Mistake(
                f"{where} is {array.dtype} {list(array.shape)}, and the data are points of {shape[0]} floats."
            )
        return torch.from_numpy(array.astype(np.float32))
    if array.dtype != np.uint8:
        raise Mistake(
            f"{where} is {array.dtype}, and images are uint8, 0 to 255: scale and round them, in a known way."
        )
    grey = array[:, None] if array.ndim == 3 else array
    for candidate in (grey.transpose(0, 3, 1, 2) if grey.ndim == 4 else grey, grey):
        if candidate.shape[1:] == tuple(shape):
            return torch.from_numpy(np.ascontiguousarray(candidate))
    raise Mistake(f"{where} is {list(array.shape)}, and the data are {list(shape)} (channels, height, width).")
