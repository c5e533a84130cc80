"""Samples in an array file, an .npz or .npy; what is converted and what is refused: docs/data.md.

Images are uint8 or uint16 [N, H, W, C], [N, C, H, W] or [N, H, W]; points are floats [N, D], audio int16 or floats
[N, C, L] or [N, L], tokens integers [N, T]; labels int [N].
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
LABELS = ("arr_1", "y", "labels")  # names of the array of labels
SAMPLES = ("arr_0", "x")  # names of the array of samples, if there are several arrays
DESCRIPTIONS = {Audio: ("rate",), Tokens: ("vocabulary",)}  # arrays that describe the samples of a modality
CONTRACT = "contract"  # a single text, written by `saddlepoint sample`: how the samples were drawn
LAST, FIRST = "N, height, width, channels", "N, channels, height, width"
MAX_UINT8 = 255


@dataclass
class LoadedArray:
    """All rows of an array file."""

    x: Tensor  # in stored form, see `saddlepoint.modality`
    y: Tensor | None  # int64 [N]
    notes: list[str] = field(default_factory=list)  # how the arrays were interpreted
    extra_columns: dict[str, Tensor] = field(default_factory=dict)  # one row per row of x

    @property
    def classes(self) -> int | None:
        """One more than the largest label; None without labels."""
        return None if self.y is None else int(self.y.max()) + 1


@dataclass(frozen=True)
class Header:
    """The header of the samples in an array file."""

    name: str  # of the array of samples
    shape: tuple[int, ...]
    dtype: np.dtype
    y: np.ndarray | None  # the labels, int64 [N]
    array_names: tuple[str, ...]  # of all arrays in the file

    @property
    def classes(self) -> int | None:
        """One more than the largest label; None without labels."""
        return None if self.y is None else int(self.y.max()) + 1


def read_header(path: Path, modality: type[Modality] = Image) -> Header:
    """Read the header of the samples, and the labels.  Raises Mistake if they cannot be read."""
    with unreadable_as_mistake(path):
        headers = archive.load_array_headers(path)
        labels = archive.load_arrays(path, LABELS) if path.suffix.lower() == ".npz" else {}
    label_name, name, _ = _assign_roles({key: len(shape) for key, (shape, _) in headers.items()}, path, modality)
    shape, dtype = headers[name]
    y = None if label_name is None else _convert_labels(labels[label_name], shape[0] if shape else 0, path, [])
    return Header(name, shape, dtype, y, tuple(headers))


def read_image_array_facts(path: Path, channels: int) -> tuple[dict[str, Any], int]:
    """Return {"shape": [C, H, W], "classes": K or None} and the number of images; "bits": 16 if they have 16 bits.

    The images themselves are read only if they are uint16, since their values decide the bits.
    """
    header = read_header(path)
    shape, _ = find_layout(header.shape, channels, f"{path}: {header.name}")
    bits = {}
    if header.dtype == np.uint16:
        with unreadable_as_mistake(path):
            values = archive.map_array(path, header.name)
            values = archive.load_arrays(path, {header.name})[header.name] if values is None else values
        bits = {"bits": 16} if values.max(initial=0) > MAX_UINT8 else {}
    return {"shape": shape, "classes": header.classes, **bits}, header.shape[0]


def load_array(path: Path, modality: Modality, shape: tuple[int, ...] | None = None, channels: int = 3) -> LoadedArray:
    """Load all rows for data of a modality and `shape`; without a shape, images with `channels` channels.

    Raises Mistake if there are no samples, or they cannot be read or do not have that shape.
    """
    with unreadable_as_mistake(path):
        arrays = archive.load_arrays(path)
    dimensions = {key: array.ndim for key, array in arrays.items()}
    label_name, name, column_names = _assign_roles(dimensions, path, type(modality))
    array, location, notes = arrays[name], f"{path}: {name}", []
    if not array.ndim or not len(array):
        raise Mistake(f"{location} holds no samples.")
    x, layout = _convert_samples(array, modality, shape, channels, location, notes)
    y = None if label_name is None else torch.from_numpy(_convert_labels(arrays[label_name], len(x), path, notes))
    extra_columns = {key: _convert_column(arrays[key], array.shape, layout, f"{path}: {key}") for key in column_names}
    labels = f", labels {label_name} ({int(y.max()) + 1:,} classes)" if y is not None else ", no labels"
    columns = f", further columns {', '.join(extra_columns)}" if extra_columns else ""
    summary = f"{location}, {array.dtype} {list(array.shape)}, read as {layout}{labels}{columns}."
    _check_rate_and_vocabulary(arrays, modality, path)
    return LoadedArray(x, y, [summary, *(f"{path}: {note}." for note in notes)], extra_columns)


def check_sample_rate(arrays: Mapping[str, np.ndarray], path: Path) -> int | None:
    """Return the samples per second of an npz of audio, or None if it has no rate.  Raises Mistake if it is invalid."""
    if "rate" not in arrays:
        return None
    rate = arrays["rate"]
    if rate.size != 1 or rate.dtype.kind not in "iuf" or not (rate.item() >= 1 and float(rate.item()).is_integer()):
        raise Mistake(
            f"{path}: rate is {' '.join(str(rate).split())[:60]}, but must be the samples per second, one integer."
        )
    return int(rate.item())


def _check_rate_and_vocabulary(arrays: Mapping[str, np.ndarray], modality: Modality, path: Path) -> None:
    """Raises Mistake if the rate or vocabulary in an npz differs from that of the data."""
    if isinstance(modality, Audio):
        rate = check_sample_rate(arrays, path)
        if None not in (rate, modality.rate) and rate != modality.rate:
            raise Mistake(
                f"{path} has {rate:,} samples per second, and the data have {modality.rate:,}: resample it, or leave "
                "data.rate null."
            )
    vocabulary = arrays.get("vocabulary")
    if not isinstance(modality, Tokens) or vocabulary is None:
        return
    if vocabulary.ravel().tolist() != list(modality.vocabulary):
        raise Mistake(
            f"{path}: its vocabulary differs from that of the data, so its numbers stand for other symbols. Number "
            "the symbols as data.vocabulary does, or use lines.txt."
        )


def _convert_samples(
    array: np.ndarray, modality: Modality, shape: tuple[int, ...] | None, channels: int, location: str, notes: list[str]
) -> tuple[Tensor, str]:
    """Return the samples in stored form, and the layout of their axes."""
    if isinstance(modality, Image):
        levels = _convert_levels(array, modality.bits, location, notes)
        if shape:
            sample_shape, layout = _match_layout(array.shape, shape, location)
        else:
            sample_shape, layout = find_layout(array.shape, channels, location)
        return torch.from_numpy(np.ascontiguousarray(channels_first(levels, layout))).view(-1, *sample_shape), layout
    if isinstance(modality, Points):
        return _convert_points(array, shape, location, notes), "N, coordinates"
    if isinstance(modality, Audio):
        return _convert_audio(array, modality, shape, location, notes), "N, channels, length"
    if isinstance(modality, Tokens):
        return _convert_tokens(array, modality, shape, location), "N, length"
    x = torch.from_numpy(np.ascontiguousarray(array))
    if not modality.has_stored_form(x) or (shape is not None and modality.sample_shape(x) != tuple(shape)):
        form = f"{modality.stored_form}, {shape}"
        raise Mistake(f"{location} is {array.dtype} {list(array.shape)}, and the data are {form}.")
    return x, modality.stored_form


def _convert_column(array: np.ndarray, x_shape: tuple[int, ...], layout: str, location: str) -> Tensor:
    """Convert a further column: images to the layout of x, integers to int64, others to float32.

    x_shape   the shape of x; if x is grey, [N, H, W], the layout follows from the position of its height and width
    """
    if array.ndim == 0 or len(array) != x_shape[0]:
        raise Mistake(
            f"{location} has shape {list(array.shape)}, but a column needs one row per sample, {x_shape[0]:,}."
        )
    if array.ndim == 4 and array.shape[:3] == x_shape:
        layout = LAST
    if array.dtype.kind not in "biuf":
        raise Mistake(f"{location} is {array.dtype}, but a column must hold numbers.")
    if array.dtype in (np.uint8, np.uint16) and array.ndim in (3, 4):
        images = array[:, None] if array.ndim == 3 else channels_first(array, layout)
        return torch.from_numpy(np.ascontiguousarray(images))
    if array.dtype.kind == "f" and not np.isfinite(array).all():
        raise Mistake(f"{location} holds values that are not finite.")
    return torch.from_numpy(np.ascontiguousarray(array.astype(np.int64 if array.dtype.kind in "iu" else np.float32)))


@contextmanager
def unreadable_as_mistake(path: Path) -> Iterator[None]:
    """Raise a Mistake for an error of reading an array file."""
    try:
        yield
    except (OSError, ValueError, zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError) as error:
        kind = "npz of plain arrays" if path.suffix.lower() == ".npz" else "npy of a plain array"
        raise Mistake(
            f"{path} cannot be read as an {kind}: {(str(error) or 'it is cut short').splitlines()[0]}."
        ) from None


def _assign_roles(
    dimensions: dict[str, int], path: Path, modality: type[Modality]
) -> tuple[str | None, str, list[str]]:
    """Return the name of the labels or None, of the samples, and of further columns."""
    label_name, descriptions = None, DESCRIPTIONS.get(modality, ()) if len(dimensions) > 1 else ()
    dimensions = {name: n for name, n in dimensions.items() if name not in descriptions and (name, n) != (CONTRACT, 0)}
    if len(dimensions) > 1:
        label_name = next((name for name in LABELS if dimensions.get(name) in (1, 2)), None)
    others = [name for name in dimensions if name != label_name]
    sample_names = [name for name in SAMPLES if name in others]
    if len(others) > 1 and len(sample_names) == 1 and not set(others) & set(LABELS):
        return label_name, sample_names[0], [name for name in others if name != sample_names[0]]
    if len(others) != 1:
        raise Mistake(
            f"{path} holds {', '.join(dimensions) or 'nothing'}: one array of samples is needed, such as arr_0, and "
            f"optionally one of labels ({', '.join(LABELS)}). If the samples are named arr_0 or x, other arrays are "
            "further columns of the data."
        )
    return label_name, others[0], []


def _match_layout(array_shape: tuple[int, ...], shape: tuple[int, ...], location: str) -> tuple[list[int], str]:
    for layout, sample_shape in possible_layouts(array_shape):
        if sample_shape == list(shape):
            return sample_shape, layout
    raise Mistake(f"{location} is {list(array_shape)}, and the data are {list(shape)} (channels, height, width).")


def find_layout(array_shape: tuple[int, ...], channels: int, location: str) -> tuple[list[int], str]:
    """Return [C, H, W] and the layout that give images with `channels` channels."""
    layouts = possible_layouts(array_shape)
    for layout, sample_shape in layouts:
        if sample_shape[0] == channels:
            return sample_shape, layout
    if not layouts:
        raise Mistake(f"{location} is {list(array_shape)}: images are [{LAST}], [{FIRST}] or [N, height, width].")
    fewest = min(sample_shape[0] for _, sample_shape in layouts)
    raise Mistake(
        f"{location} is {list(array_shape)}, and data.channels={channels}: set data.channels={fewest} if it has "
        f"{fewest} channels."
    )


def possible_layouts(array_shape: tuple[int, ...]) -> list[tuple[str, list[int]]]:
    """Return the possible layouts of an array of images, each with [C, H, W]."""
    if len(array_shape) == 3:
        return [("N, height, width", [1, *array_shape[1:]])]
    if len(array_shape) != 4:
        return []
    return [(LAST, [array_shape[3], array_shape[1], array_shape[2]]), (FIRST, list(array_shape[1:]))]


def channels_first(array: np.ndarray, layout: str) -> np.ndarray:
    """Return a view of images as [N, C, H, W], or [N, H, W] if they are grey."""
    return array.transpose(0, 3, 1, 2) if layout == LAST else array


def _convert_levels(array: np.ndarray, bits: int, location: str, notes: list[str]) -> np.ndarray:
    """Return the values as uint8 or uint16; raises Mistake if the conversion is ambiguous."""
    kind = array.dtype.kind
    if bits == 16:
        if array.dtype == np.uint16:
            return array
        raise Mistake(f"{location} is {array.dtype}, and the data have 16 bits: provide uint16, 0 to 65535.")
    if array.dtype == np.uint8:
        if array.max() <= 1:
            notes.append("no value is above 1, of 255: if 1 means white, multiply by 255 and save it again")
        return array
    low, high = (array.min(), array.max()) if kind in "iuf" else (0, 0)
    is_whole = kind in "iu" or (kind == "f" and bool((array == np.round(array)).all()))
    if is_whole and low >= 0 and 1 < high <= MAX_UINT8:
        notes.append(f"{array.dtype} of integers from {low:g} to {high:g}: read as bytes")
        return array.astype(np.uint8)
    span = f", {low:.4g} to {high:.4g}" if kind in "iuf" else ""
    hint = _rounding_hint(array, low, high)
    raise Mistake(f"{location} is {array.dtype}{span}, and images are uint8, 0 to 255: {hint}.")


def _rounding_hint(array: np.ndarray, low: Any, high: Any) -> str:
    """Return what to save instead of images that would be rounded or clipped."""
    if array.dtype == np.uint16:
        return "it has more than 8 bits, so set data.bits=16, or null to read the bits from the file"
    if low >= 0 and high <= 1:
        return "save np.round(255 * x) as uint8, or np.round(65535 * x) as uint16, which keeps 16 bits"
    if low >= -1 and high <= 1:
        return "save np.round(127.5 * (x + 1)) as uint8, or np.round(32767.5 * (x + 1)) as uint16, which keeps 16 bits"
    return "scale and round them explicitly; uint16 keeps 16 bits"


def _convert_points(array: np.ndarray, shape: tuple[int, ...] | None, location: str, notes: list[str]) -> Tensor:
    if array.dtype.kind != "f" or (shape is not None and array.shape[1:] != tuple(shape)):
        raise Mistake(
            f"{location} is {array.dtype} {list(array.shape)}, and the data are points of "
            f"{_format_length(shape)} floats."
        )
    return _convert_floats(array, location, notes)


def _convert_audio(
    array: np.ndarray, modality: Audio, shape: tuple[int, ...] | None, location: str, notes: list[str]
) -> Tensor:
    array = array[:, None] if array.ndim == 2 else array
    is_int16 = modality.bits == 16
    if array.ndim != 3 or (array.dtype != np.int16 if is_int16 else array.dtype.kind != "f"):
        raise Mistake(
            f"{location} is {array.dtype} {list(array.shape)}, and audio is {'int16' if is_int16 else 'float32'}, "
            "[N, channels, length] or [N, length]."
        )
    if shape is not None and array.shape[1:] != (expected := modality.measured_shape(tuple(shape))):
        raise Mistake(f"{location} is {list(array.shape)}, and the data are {list(expected)} (channels, length).")
    x = torch.from_numpy(np.ascontiguousarray(array)) if is_int16 else _convert_floats(array, location, notes)
    if reason := modality.why_not(x):
        raise Mistake(f"{location}: {reason}.")
    return x


def _convert_tokens(array: np.ndarray, modality: Tokens, shape: tuple[int, ...] | None, location: str) -> Tensor:
    if array.ndim != 2 or array.dtype.kind not in "iu" or (shape is not None and array.shape[1] != shape[0]):
        raise Mistake(
            f"{location} is {array.dtype} {list(array.shape)}, and the data are integers [N, {_format_length(shape)}]: "
            "the index of each symbol in the vocabulary."
        )
    x = torch.from_numpy(array.astype(np.int64))
    if reason := modality.why_not(x):
        raise Mistake(f"{location}: {reason}.")
    return x


def _convert_floats(array: np.ndarray, location: str, notes: list[str]) -> Tensor:
    if not np.isfinite(array).all():
        raise Mistake(f"{location} holds values that are not finite.")
    if array.dtype.itemsize > 4:
        notes.append(f"{array.dtype} rounded to float32")
    return torch.from_numpy(array.astype(np.float32))


def _format_length(shape: tuple[int, ...] | None) -> str:
    return "some" if shape is None else str(shape[0])


def _convert_labels(array: np.ndarray, n: int, path: Path, notes: list[str]) -> np.ndarray:
    """Return the labels as int64 [n]; raises Mistake if they are not classes."""
    kind, flat = array.dtype.kind, array
    if array.ndim == 2 and array.shape[1] == 1:
        flat = array[:, 0]
        notes.append(f"labels {list(array.shape)} read as [{n}]")
    elif array.ndim == 2:
        if kind not in "biuf" or not (((array == 0) | (array == 1)).all() and (array.sum(1) == 1).all()):
            raise Mistake(
                f"{path}: the labels are {array.dtype} {list(array.shape)}, but not one-hot: provide int [{n}]."
            )
        flat = array.argmax(1)
        notes.append(f"labels {list(array.shape)}, one-hot: read as the index of the 1")
    is_whole = flat.dtype.kind in "iub" or (
        flat.dtype.kind == "f" and bool((np.isfinite(flat) & (flat == np.round(flat))).all())
    )
    if len(flat) != n or not is_whole:
        raise Mistake(f"{path}: the labels are {array.dtype} {list(array.shape)}, but must be {n} integers.")
    if flat.min() < 0:
        raise Mistake(f"{path}: the labels are at least {flat.min():g}, but classes are numbered from 0.")
    if flat.dtype.kind in "fb":
        notes.append(f"labels of {array.dtype} read as integers")
    return flat.astype(np.int64)
