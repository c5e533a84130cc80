"""Samples that come as one array, an .npz or a .npy: what is read, how it is told, what is refused (docs/data.md).

Images are uint8 or uint16 [N, H, W, C], [N, C, H, W] or [N, H, W]; points are floats [N, D], audio int16 or floats
[N, C, L] or [N, L], tokens whole numbers [N, T]; labels int [N].
"""

import zipfile
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from saddlepoint.error import Mistake
from saddlepoint.modality import Audio, Image, Modality, Points, Tokens
from saddlepoint.run.storage import archive

SUFFIXES = (".npz", ".npy")
LABELS = ("arr_1", "y", "labels")
SAMPLES = ("arr_0", "x")  # which of several arrays is the samples
FACTS = {Audio: ("rate",), Tokens: ("vocabulary",)}  # arrays that describe the samples of a modality
LAST, FIRST = "N, height, width, channels", "N, channels, height, width"
BYTES = 255  # the largest value of 8 bits


@dataclass
class LoadedArray:
    """All rows of a file."""

    x: Tensor  # as stored, see `saddlepoint.modality`
    y: Tensor | None  # int64 [N]
    notes: list[str] = field(default_factory=list)  # how it was read
    extra_columns: dict[str, Tensor] = field(default_factory=dict)  # further columns, row by row beside x

    @property
    def classes(self) -> int | None:
        """One more than the largest label; None without labels."""
        return None if self.y is None else int(self.y.max()) + 1


@dataclass(frozen=True)
class Header:
    """What a file holds, without its samples."""

    name: str  # of the array of samples
    shape: tuple[int, ...]
    dtype: np.dtype
    classes: int | None
    array_names: tuple[str, ...]  # of all arrays


def read_header(place: Path, modality: type[Modality] = Image) -> Header:
    """The header of the samples, and the classes.  Raises Mistake where it cannot be read."""
    with _read(place):
        headers = archive.load_array_headers(place)
        labels = archive.load_arrays(place, LABELS) if place.suffix.lower() == ".npz" else {}
    label, name, _ = _names({key: len(shape) for key, (shape, _) in headers.items()}, place, modality)
    shape, kind = headers[name]
    y = None if label is None else _labels(labels[label], shape[0] if shape else 0, place, [])
    return Header(name, shape, kind, None if y is None else int(y.max()) + 1, tuple(headers))


def image_array_facts(place: Path, channels: int) -> tuple[dict[str, Any], int]:
    """{"shape": [C, H, W], "classes": K or None} of a file of images, and their number; "bits": 16 where it has those.

    The images are read only where it takes their values to know the bits: those of uint16.
    """
    found = read_header(place)
    shape, _ = _arranged(found.shape, channels, f"{place}: {found.name}")
    bits = {}
    if found.dtype == np.uint16:
        with _read(place):
            values = archive.load_arrays(place, {found.name})[found.name]
        bits = {"bits": 16} if values.max(initial=0) > BYTES else {}
    return {"shape": shape, "classes": found.classes, **bits}, found.shape[0]


def load_array(place: Path, modality: Modality, shape: tuple[int, ...] | None = None, channels: int = 3) -> LoadedArray:
    """All rows, for data of this modality and `shape`; without a shape, images of so many channels.

    Raises Mistake where there are none, where they cannot be read, or where they are not of that shape.
    """
    with _read(place):
        arrays = archive.load_arrays(place)
    label, name, others = _names({key: array.ndim for key, array in arrays.items()}, place, type(modality))
    array, where, notes = arrays[name], f"{place}: {name}", []
    if not array.ndim or not len(array):
        raise Mistake(f"{where} holds no samples.")
    x, how = _samples(array, modality, shape, channels, where, notes)
    y = None if label is None else torch.from_numpy(_labels(arrays[label], len(x), place, notes))
    more = {key: _column(arrays[key], array.shape, how, f"{place}: {key}") for key in others}
    labels = f", labels {label} ({int(y.max()) + 1:,} classes)" if y is not None else ", no labels"
    columns = f", further columns {', '.join(more)}" if more else ""
    summary = f"{where}, {array.dtype} {list(array.shape)}, read as {how}{labels}{columns}."
    _look_at_facts(arrays, modality, place)
    return LoadedArray(x, y, [summary, *(f"{place}: {note}." for note in notes)], more)


def sample_rate(arrays: Mapping[str, np.ndarray], place: Path) -> int | None:
    """The samples per second that an npz of audio says; None where it says none.  Raises Mistake where that is none."""
    if "rate" not in arrays:
        return None
    rate = arrays["rate"]
    if rate.size != 1 or rate.dtype.kind not in "iuf" or not (rate.item() >= 1 and float(rate.item()).is_integer()):
        raise Mistake(
            f"{place}: rate is {' '.join(str(rate).split())[:60]}, and it is to be samples per second, one whole "
            "number."
        )
    return int(rate.item())


def _look_at_facts(arrays: Mapping[str, np.ndarray], modality: Modality, place: Path) -> None:
    """Raises Mistake where an npz says of its samples another rate or vocabulary than the data have."""
    if isinstance(modality, Audio):
        rate = sample_rate(arrays, place)
        if None not in (rate, modality.rate) and rate != modality.rate:
            raise Mistake(
                f"{place} has {rate:,} samples per second, and the data have {modality.rate:,}: resample it, or leave "
                "data.rate null."
            )
    own = arrays.get("vocabulary")
    if isinstance(modality, Tokens) and own is not None and own.ravel().tolist() != list(modality.vocabulary):
        raise Mistake(
            f"{place}: its vocabulary is another than the data's, so its numbers are other symbols. Number the symbols "
            "as data.vocabulary does, or bring lines.txt."
        )


def _samples(
    array: np.ndarray, modality: Modality, shape: tuple[int, ...] | None, channels: int, where: str, notes: list[str]
) -> tuple[Tensor, str]:
    """The samples as the modality stores them, and how the axes were read."""
    if isinstance(modality, Image):
        levels = _levels(array, modality.bits, where, notes)
        arranged, how = _fitting(array.shape, shape, where) if shape else _arranged(array.shape, channels, where)
        return torch.from_numpy(np.ascontiguousarray(_moved(levels, how))).view(-1, *arranged), how
    if isinstance(modality, Points):
        return _points(array, shape, where, notes), "N, coordinates"
    if isinstance(modality, Audio):
        return _audio(array, modality, shape, where, notes), "N, channels, length"
    if isinstance(modality, Tokens):
        return _tokens(array, modality, shape, where), "N, length"
    x = torch.from_numpy(np.ascontiguousarray(array))
    if not modality.has_stored_form(x) or (shape is not None and modality.sample_shape(x) != tuple(shape)):
        raise Mistake(
            f"{where} is {array.dtype} {list(array.shape)}, and the data are {modality.stored_form}, {shape}."
        )
    return x, modality.stored_form


def _column(array: np.ndarray, beside: tuple[int, ...], how: str, where: str) -> Tensor:
    """A further column: images in the order of axes that x has, whole numbers as int64, others as float32.

    beside    the shape of x; beside grey images [N, H, W] that order is told by where their height and width stand
    """
    if array.ndim == 0 or len(array) != beside[0]:
        raise Mistake(
            f"{where} has {list(array.shape)}, and a further column has a row for each of {beside[0]:,} samples."
        )
    if array.ndim == 4 and array.shape[:3] == beside:
        how = LAST
    if array.dtype.kind not in "biuf":
        raise Mistake(f"{where} is {array.dtype}, and a further column holds numbers.")
    if array.dtype in (np.uint8, np.uint16) and array.ndim in (3, 4):
        images = array[:, None] if array.ndim == 3 else _moved(array, how)
        return torch.from_numpy(np.ascontiguousarray(images))
    if array.dtype.kind == "f" and not np.isfinite(array).all():
        raise Mistake(f"{where} holds values that are not finite.")
    return torch.from_numpy(np.ascontiguousarray(array.astype(np.int64 if array.dtype.kind in "iu" else np.float32)))


@contextmanager
def _read(place: Path) -> Iterator[None]:
    try:
        yield
    except (OSError, ValueError, zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError) as error:
        kind = "npz of plain arrays" if place.suffix.lower() == ".npz" else "npy of a plain array"
        raise Mistake(
            f"{place} cannot be read as an {kind}: {(str(error) or 'it is cut short').splitlines()[0]}."
        ) from None


def _names(dimensions: dict[str, int], place: Path, modality: type[Modality]) -> tuple[str | None, str, list[str]]:
    """The name of the labels, None without any, that of the samples, and those of further columns."""
    label, facts = None, FACTS.get(modality, ()) if len(dimensions) > 1 else ()
    dimensions = {name: n for name, n in dimensions.items() if name not in facts}
    if len(dimensions) > 1:
        label = next((name for name in LABELS if dimensions.get(name) in (1, 2)), None)
    rest = [name for name in dimensions if name != label]
    named = [name for name in SAMPLES if name in rest]
    if len(rest) > 1 and len(named) == 1 and not set(rest) & set(LABELS):
        return label, named[0], [name for name in rest if name != named[0]]
    if len(rest) != 1:
        raise Mistake(
            f"{place} holds {', '.join(dimensions) or 'nothing'}: one array of samples is needed, arr_0 for one, and "
            f"beside it at most labels ({', '.join(LABELS)}). Beside one that is named arr_0 or x, others are further "
            "columns of the data."
        )
    return label, rest[0], []


def _fitting(found: tuple[int, ...], shape: tuple[int, ...], where: str) -> tuple[list[int], str]:
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


def _levels(array: np.ndarray, bits: int, where: str, notes: list[str]) -> np.ndarray:
    """The values as uint8, or as uint16; raises Mistake where it is not plain how."""
    kind = array.dtype.kind
    if bits == 16:
        if array.dtype == np.uint16:
            return array
        raise Mistake(f"{where} is {array.dtype}, and the data have 16 bits: bring uint16, 0 to 65535.")
    if array.dtype == np.uint8:
        if array.max() <= 1:
            notes.append("no value is above 1, of 255: if 1 was to be white, multiply by 255 and save it again")
        return array
    least, most = (array.min(), array.max()) if kind in "iuf" else (0, 0)
    whole = kind in "iu" or (kind == "f" and bool((array == np.round(array)).all()))
    if whole and least >= 0 and 1 < most <= BYTES:
        notes.append(f"{array.dtype} of whole numbers from {least:g} to {most:g}: read as bytes")
        return array.astype(np.uint8)
    span = f", {least:.4g} to {most:.4g}" if kind in "iuf" else ""
    raise Mistake(f"{where} is {array.dtype}{span}, and images are uint8, 0 to 255: {_advice(array, least, most)}.")


def _advice(array: np.ndarray, least: Any, most: Any) -> str:
    """What to save in the place of images that would be rounded, or cut, if they were read."""
    if array.dtype == np.uint16:
        return "it has more than 8 bits, so say data.bits=16, or null, which reads it off the file"
    if least >= 0 and most <= 1:
        return "save np.round(255 * x) as uint8, or np.round(65535 * x) as uint16, which keeps 16 bits"
    if least >= -1 and most <= 1:
        return "save np.round(127.5 * (x + 1)) as uint8, or np.round(32767.5 * (x + 1)) as uint16, which keeps 16 bits"
    return "scale and round them, in a known way; uint16 keeps 16 bits"


def _points(array: np.ndarray, shape: tuple[int, ...] | None, where: str, notes: list[str]) -> Tensor:
    if array.dtype.kind != "f" or (shape is not None and array.shape[1:] != tuple(shape)):
        raise Mistake(
            f"{where} is {array.dtype} {list(array.shape)}, and the data are points of {_many(shape)} floats."
        )
    return _floats(array, where, notes)


def _audio(array: np.ndarray, modality: Audio, shape: tuple[int, ...] | None, where: str, notes: list[str]) -> Tensor:
    array = array[:, None] if array.ndim == 2 else array
    whole = modality.bits == 16
    if array.ndim != 3 or (array.dtype != np.int16 if whole else array.dtype.kind != "f"):
        raise Mistake(
            f"{where} is {array.dtype} {list(array.shape)}, and audio is {'int16' if whole else 'float32'}, "
            "[N, channels, length] or [N, length]."
        )
    if shape is not None and array.shape[1:] != tuple(shape):
        raise Mistake(f"{where} is {list(array.shape)}, and the data are {list(shape)} (channels, length).")
    x = torch.from_numpy(np.ascontiguousarray(array)) if whole else _floats(array, where, notes)
    if why := modality.why_not(x):
        raise Mistake(f"{where}: {why}.")
    return x


def _tokens(array: np.ndarray, modality: Tokens, shape: tuple[int, ...] | None, where: str) -> Tensor:
    if array.ndim != 2 or array.dtype.kind not in "iu" or (shape is not None and array.shape[1] != shape[0]):
        raise Mistake(
            f"{where} is {array.dtype} {list(array.shape)}, and the data are whole numbers [N, {_many(shape)}]: the "
            "place of each symbol in the vocabulary."
        )
    x = torch.from_numpy(array.astype(np.int64))
    if why := modality.why_not(x):
        raise Mistake(f"{where}: {why}.")
    return x


def _floats(array: np.ndarray, where: str, notes: list[str]) -> Tensor:
    if not np.isfinite(array).all():
        raise Mistake(f"{where} holds values that are not finite.")
    if array.dtype.itemsize > 4:
        notes.append(f"{array.dtype} rounded to float32")
    return torch.from_numpy(array.astype(np.float32))


def _many(shape: tuple[int, ...] | None) -> str:
    return "some" if shape is None else str(shape[0])


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
