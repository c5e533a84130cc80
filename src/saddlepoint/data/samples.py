"""Load samples to evaluate: a folder or zip of images, wav files or text files, or an array file.

Files are listed by `listing`, in the order of their names.  A class folder stands for the class of the data with its
name, or if all folder names are numbers, for the class with that number; a class without samples shifts no label.

Samples with classes are usually stored class by class, and a score over chunks (the Inception score) would then see few
classes in each chunk.  They are therefore sorted by the sha256 of their content.  Samples without classes keep their
order.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path, PurePosixPath

import torch

from saddlepoint.data import array_file, text_file
from saddlepoint.data.audio_folder import load_waveforms
from saddlepoint.data.data import Data, Split
from saddlepoint.data.facts import IMAGE_BITS
from saddlepoint.data.image_file import PILLOW_MODES, preview_changes
from saddlepoint.data.image_folder import FileSplit, ImageFolder
from saddlepoint.data.listing import Listing, format_changes, list_files
from saddlepoint.data.wav_file import WAV_FILES
from saddlepoint.error import Mistake
from saddlepoint.modality import Audio, Image, Modality, Tokens, default_modality
from saddlepoint.run.storage.cache import Log


def load_samples_for(data: Data, path: str | Path, log: Log = lambda line: None) -> Split:
    """Load the samples at `path` for the shape, classes and modality of a data set; see `load_samples`."""
    return load_samples(path, data.shape, log, data.class_names, data.modality)


def load_samples(
    path: str | Path,
    shape: tuple[int, ...],
    log: Log = lambda line: None,
    class_names: Sequence[str] = (),
    modality: Modality | None = None,
    key: str = "samples",
    by_name: bool = False,
) -> Split:
    """Load all samples at `path` for data of `shape`.

    log           called with each note on what was read and changed
    class_names   the data's classes, in the order of labels; (): the samples define the classes
    key           the config key of the path, for messages
    by_name       whether samples with classes keep the order of their names too
    Raises Mistake if there are no samples, or they cannot be read or have another shape or other classes than the data.
    """
    location, modality = Path(path).expanduser(), modality or default_modality(shape)
    if not location.exists():
        raise Mistake(f"{key}={path}: no such folder, zip, npz or npy.")
    if location.suffix.lower() in array_file.SUFFIXES:
        array = array_file.load_array(location, modality, shape)
        split, notes = Split("samples", array.x, array.y), array.notes
    else:
        split, notes = _load_files(location, shape, class_names, modality)
    for note in notes:
        log(note)
    split.modality = modality
    if split.y is None or by_name:
        return split
    low, high, classes = int(split.y.min()), int(split.y.max()), len(class_names)
    if classes and (low < 0 or high >= classes):
        raise Mistake(
            f"{location}: the samples are labelled {low} to {high}, and the data have {classes} classes, 0 to "
            f"{classes - 1}. Provide samples of these classes only, or choose the data that the samples were made from."
        )
    # Sort by content, not by name: a class folder and an npz of the same samples then give the same split.
    digests = [sha256(row.numpy().tobytes()).digest() for row in split.x]
    x, y = split[torch.tensor(sorted(range(len(digests)), key=digests.__getitem__))]
    return Split("samples", x, y, classes or split.classes, modality=modality)


def labels_of_folders(folders: Sequence[str], class_names: Sequence[str], location: Path) -> list[int]:
    """Return the label of each class folder: by name, or by number if all folder names are numbers.

    If the class names are numbers, a folder's number is the name of a class, otherwise its label.  Raises Mistake if a
    folder is no class of the data, or two folders are the same class.
    """
    by_name = {name: label for label, name in enumerate(class_names)}
    numbered = all(name.isdecimal() for name in class_names)
    by_number = {int(name) if numbered else label: label for name, label in by_name.items()}
    matches: list[int | None] = [by_name.get(folder) for folder in folders]
    if None in matches and all(folder.isdecimal() for folder in folders):
        matches = [by_number.get(int(folder)) for folder in folders]
    labels = [label for label in matches if label is not None]
    if len(labels) < len(folders):
        unknown = [folder for folder, label in zip(folders, matches, strict=True) if label is None]
        raise Mistake(
            f"{location}: the class folders {_format_names(unknown)} are no classes of the data, which are "
            f"{_format_names(class_names)}. Name each folder after a class of the data, or its number, 0 to "
            f"{len(class_names) - 1}; or use an .npz with labels."
        )
    if len(set(labels)) < len(labels):
        raise Mistake(
            f"{location}: two of the class folders {_format_names(folders)} are one class of the data: merge them."
        )
    return labels


def _format_names(names: Sequence[str]) -> str:
    return ", ".join(names[:8]) + (f", ... ({len(names):,})" if len(names) > 8 else "")


def _load_files(
    path: Path, shape: tuple[int, ...], class_names: Sequence[str], modality: Modality
) -> tuple[Split, list[str]]:
    """Load samples from files of the modality's kind; also return the notes."""
    if isinstance(modality, Image) and modality.bits == IMAGE_BITS and shape[0] in PILLOW_MODES:
        return _load_images(path, shape, class_names)
    if isinstance(modality, Audio):
        files = list_files(path, WAV_FILES)
        matching = _relabel_by_class_names(files, class_names, path)
        x, notes = load_waveforms(files, modality, shape)
        labels = files.labels
    elif isinstance(modality, Tokens):
        unit = next(name for name, separator in text_file.SEPARATORS.items() if separator == modality.separator)
        files = text_file.list_text_files(path)
        matching = _relabel_by_class_names(files, class_names, path)
        lines, n_empty = text_file.load_lines(files, unit)
        x = torch.tensor(text_file.encode_lines(lines, modality.vocabulary, shape[0]))
        notes = text_file.format_notes(files, lines, n_empty)
        labels = None if files.labels is None else [line.label or 0 for line in lines]
    else:
        form = f"{modality.plural} of shape {list(shape)}" + (" and 16 bits" * (getattr(modality, "bits", 8) == 16))
        raise Mistake(f"{path}: image files cannot be compared with {form}; use an .npz.")
    return Split("samples", x, None if labels is None else torch.tensor(labels)), [*notes, *matching]


def _load_images(path: Path, shape: tuple[int, ...], class_names: Sequence[str]) -> tuple[Split, list[str]]:
    channels, height, width = shape
    with _replace_resizing_advice(f"{width}x{height}"):
        data = ImageFolder(path, channels=channels)  # reads the first image
        files = data.listing
        if data.shape != tuple(shape):
            raise Mistake(
                f"{files.location(files.names[0])} is {data.shape[2]}x{data.shape[1]}, and the data are "
                f"{width}x{height}: resize the samples as the data were, or choose the data that they were trained on."
            )
        matching = _relabel_by_class_names(files, class_names, path)
        split: Split = FileSplit("samples", data, list(range(len(files.names))))
        if len(split) * channels * height * width <= data.memory or files.labels:
            split, changes = split.load_into_memory(), split.changes
        else:
            target = data.target_format
            changes = Counter(change for name in files.names for change in preview_changes(files, name, target))
    return split, [*files.notes, *format_changes(files, changes), *matching]


def _relabel_by_class_names(files: Listing, class_names: Sequence[str], path: Path) -> list[str]:
    """Replace the labels of the class folders by those of the data; return a note, if there are class folders."""
    if files.labels is None and (folder := PurePosixPath(files.base).name) in class_names:  # samples of one class
        files.folders, files.labels, files.classes = [folder], [0] * len(files.names), 1
    if not (files.folders and files.labels and class_names):
        return []
    labels = labels_of_folders(files.folders, class_names, path)
    files.labels = [labels[label] for label in files.labels]
    absent = [name for label, name in enumerate(class_names) if label not in labels]
    return [
        f"{path}: {len(labels)} class folders, matched with the data's classes"
        + (f"; no samples of {_format_names(absent)}." if absent else ".")
    ]


@contextmanager
def _replace_resizing_advice(size: str) -> Iterator[None]:
    """Replace the advice to set data.size, since samples are measured without resizing."""
    try:
        yield
    except Mistake as mistake:
        problem, advice, _ = str(mistake).partition("Set data.size=")
        if not advice:
            raise
        raise Mistake(f"{problem.strip()}\nBring all samples to {size} first, as the data were.") from None
