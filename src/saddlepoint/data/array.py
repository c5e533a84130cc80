"""Images, or points, that come as one array: an .npz or a .npy.

Images are uint8 [N, H, W, C], [N, C, H, W] or [N, H, W]; points are floats [N, D].  An npz holds one such array, arr_0
or any one name, and labels, if any, in arr_1, y or labels: int [N].  What is read another way than it stands is said:
whole numbers of 0 to 255 of another type, labels of [N, 1], one-hot or as floats.  What could be meant in several ways
is refused: images of floats, labels that are text.
"""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from saddlepoint import archive
from saddlepoint.error import Mistake

ENDINGS = (".npz", ".npy")
LABELS = ("arr_1", "y", "labels")
LAST, FIRST = "N, height, width, channels", "N, channels, height, width"


@dataclass
class Array:
    """All rows of a file."""

    x: Tensor  # uint8 [N, C, H, W], or float32 [N, D]
    y: Tensor | None  # int64 [N]
    notes: list[str] = field(default_factory=list)  # how it was read

    @property
    def classes(self) -> int | None:
        """One more than the largest label; None without labels."""
        return None if self.y is None else int(self.y.max()) + 1


def facts(place: Path, channels: int) -> tuple[dict[str, Any], int]:
    """{"shape": [C, H, W], "classes": K or None} of a file of images, and their number, without reading these."""
    with _read(place):
        shapes = archive.shapes(place)
        labels = archive.arrays(place, LABELS) if place.suffix.lower() == ".npz" else {}
    label, name = _names({key: len(shape) for key, shape in shapes.items()}, place)
    shape, _ = _arranged(shapes[name], channels, f"{place}: {name}")
    y = None if label is None else _labels(labels[label], shapes[name][0], place, [])
    return {"shape": shape, "classes": None if y is None else int(y.max()) + 1}, shapes[name][0]


def read(place: Path, shape: tuple[int, ...] | None = None, channels: int = 3) -> Array:
    """All rows, for data of `shape`; without one, images of so many channels.

    Raises Mistake where there are none, where they cannot be read, or where they are not of that shape.
    """
    with _read(place):
        arrays = archive.arrays(place)
    label, name = _names({key: array.ndim for key, array in arrays.items()}, place)
    array, where, notes = arrays[name], f"{place}: {name}", []
    if not array.ndim or not len(array):
        raise Mistake(f"{where} holds no samples.")
    if shape is not None and len(shape) == 1:
        x, how = _points(array, shape[0], where, notes), "N, coordinates"
    else:
        pixels = _bytes(array, where, notes)
        arranged, how = _fitting(array.shape, shape, where) if shape else _arranged(array.shape, channels, where)
        x = torch.from_numpy(np.ascontiguousarray(_moved(pixels, how))).view(-1, *arranged)
    y = None if label is None else torch.from_numpy(_labels(arrays[label], len(x), place, notes))
    labels = f", labels {label} ({int(y.max()) + 1:,} classes)" if y is not None else ", no labels"
    summary = f"{where}, {array.dtype} {list(array.shape)}, read as {how}{labels}."
    return Array(x, y, [summary, *(f"{place}: {note}." for note in notes)])


@contextmanager
def _read(place: Path) -> Iterator[None]:
    try:
        yield
    except (OSError, ValueError, zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError) as error:
        kind = "npz of plain arrays" if place.suffix.lower() == ".npz" else "npy of a plain array"
        raise Mistake(
            f"{place} cannot be read as an {kind}: {(str(error) or 'it is cut short').splitlines()[0]}."
        ) from None


def _names(dimensions: dict[str, int], place: Path) -> tuple[str | None, str]:
    """The name of the labels, None without any, and that of the samples."""
    label = None
    if len(dimensions) > 1:
        label = next((name for name in LABELS if dimensions.get(name) in (1, 2)), None)
    rest = [name for name in dimensions if name != label]
    if len(rest) != 1:
        raise Mistake(
            f"{place} holds {', '.join(dimensions) or 'nothing'}: one array of samples is needed, arr_0 for one, and "
            f"beside it at most labels ({', '.join(LABELS)})."
        )
    return label, rest[0]


def _fitting(found: tuple[int, ...], shape: tuple[int, ...], where: str) -> tuple[list[int], str]:
    """How an array of shape `found` gives images of `shape`."""
    for how, arranged in _ways(found):
        if arranged == list(shape):
            return arranged, how
    raise Mistake(f"{where} is {list(found)}, and the data are {list(shape)} (channels, height, width).")


def _arranged(found: tuple[int, ...], channels: int, where: str) -> tuple[list[int], str]:
    """How an array of shape `found` gives images of so many channels: [C, H, W], and the order of its axes."""
    ways = _ways(found)
    for how, arranged in ways:
        if arranged[0] == channels:
            return arranged, how
    if not ways:
        raise Mistake(f"{where} is {list(found)}: images are [{LAST}], [{FIRST}] or [N, height, width].")
    few = min(arranged[0] for _, arranged in ways)
    raise Mistake(
        f"{where} is {list(found)}, and data.channels={channels}: say data.channels={few}, if it has so many."
    )


def _ways(found: tuple[int, ...]) -> list[tuple[str, list[int]]]:
    """What an array of images may be: the order of its axes, and [C, H, W]."""
    if len(found) == 3:
        return [("N, height, width", [1, *found[1:]])]
    if len(found) != 4:
        return []
    return [(LAST, [found[3], found[1], found[2]]), (FIRST, list(found[1:]))]


def _moved(array: np.ndarray, how: str) -> np.ndarray:
    return array.transpose(0, 3, 1, 2) if how == LAST else array


def _bytes(array: np.ndarray, where: str, notes: list[str]) -> np.ndarray:
    """The values as uint8; raises Mistake where it is not plain how."""
    kind = array.dtype.kind
    if array.dtype == np.uint8:
        if array.max() <= 1:
            notes.append("no value is above 1, of 255: if 1 was to be white, multiply by 255 and save it again")
        return array
    least, most = (array.min(), array.max()) if kind in "iuf" else (0, 0)
    whole = kind in "iu" or (kind == "f" and bool((array == np.round(array)).all()))
    if whole and least >= 0 and 1 < most <= 255:
        notes.append(f"{array.dtype} of whole numbers from {least:g} to {most:g}: read as bytes")
        return array.astype(np.uint8)
    span = f", {least:.4g} to {most:.4g}" if kind in "iuf" else ""
    remedy: Callable[[str], str] = "save {} as uint8".format
    if least >= 0 and most <= 1:
        advice = remedy("np.round(255 * x)")
    elif least >= -1 and most <= 1:
        advice = remedy("np.round(127.5 * (x + 1))")
    else:
        advice = "scale and round them, in a known way"
    raise Mistake(f"{where} is {array.dtype}{span}, and images are uint8, 0 to 255: {advice}.")


def _points(array: np.ndarray, dim: int, where: str, notes: list[str]) -> Tensor:
    if array.dtype.kind != "f" or array.shape[1:] != (dim,):
        raise Mistake(f"{where} is {array.dtype} {list(array.shape)}, and the data are points of {dim} floats.")
    if not np.isfinite(array).all():
        raise Mistake(f"{where} holds values that are not finite.")
    if array.dtype.itemsize > 4:
        notes.append(f"{array.dtype} rounded to float32")
    return torch.from_numpy(array.astype(np.float32))


def _labels(array: np.ndarray, n: int, place: Path, notes: list[str]) -> np.ndarray:
    """The labels as int64 [n]; raises Mistake where they are no classes."""
    kind, flat = array.dtype.kind, array
    if array.ndim == 2 and array.shape[1] == 1:
        flat = array[:, 0]
        notes.append(f"labels {list(array.shape)} read as [{n}]")
    elif array.ndim == 2:
        if kind not in "biuf" or not (((array == 0) | (array == 1)).all() and (array.sum(1) == 1).all()):
            raise Mistake(
                f"{place}: the labels are {array.dtype} {list(array.shape)}, and not one-hot: bring int [{n}]."
            )
        flat = array.argmax(1)
        notes.append(f"labels {list(array.shape)}, one-hot: read as the place of the 1")
    whole = flat.dtype.kind in "iub" or (
        flat.dtype.kind == "f" and bool((np.isfinite(flat) & (flat == np.round(flat))).all())
    )
    if len(flat) != n or not whole:
        raise Mistake(f"{place}: the labels are {array.dtype} {list(array.shape)}, for {n} samples: whole numbers.")
    if flat.min() < 0:
        raise Mistake(f"{place}: the labels are from {flat.min():g} on, and classes are counted from 0 on.")
    if flat.dtype.kind in "fb":
        notes.append(f"labels of {array.dtype} read as whole numbers")
    return flat.astype(np.int64)
