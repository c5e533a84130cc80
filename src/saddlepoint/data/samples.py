"""Somebody's samples on disk, to be measured: a folder or zip of images, wav files or text, an .npz or a .npy.

Folder or zip: as `listing` says, in the order of their names.  A class folder stands for the class of the data that has
its name, else, where all are whole numbers, for the class of that number; so a class without samples shifts no label.

Samples with classes are usually stored class by class, and a score over parts (the Inception score's) would see few
classes in each: they are put into the order of their contents' sha256.  Others keep the order that they have.
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
from saddlepoint.data.image_folder import FileSplit, ImageFolder, format_changes
from saddlepoint.data.listing import Listing, list_files
from saddlepoint.data.wav_file import WAV_FILES
from saddlepoint.error import Mistake
from saddlepoint.modality import Audio, Image, Modality, Tokens, default_modality
from saddlepoint.run.storage.cache import Log


def load_samples_for(data: Data, path: str | Path, log: Log = lambda line: None) -> Split:
    """All samples at `path`, as `read` gives them, for a data set: of its shape, classes and modality."""
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
    """All samples at `path`, for data of `shape`; `say` hears what is done to them.

    `class_names` are those of the data's classes, in the order of labels; () where the data have none: then the classes
    of the samples are their own.  by_name: labelled ones too stay in the order of their names.  Raises Mistake where
    there are no samples, they cannot be read, are not of that shape, or are of other classes than the data.
    """
    place, modality = Path(path).expanduser(), modality or default_modality(shape)
    if not place.exists():
        raise Mistake(f"{key}={path}: there is no such folder, zip or npz, nor an npy.")
    if place.suffix.lower() in array_file.SUFFIXES:
        found = array_file.load_array(place, modality, shape)
        split, notes = Split("samples", found.x, found.y), found.notes
    else:
        split, notes = _files(place, shape, class_names, modality)
    for note in notes:
        log(note)
    split.modality = modality
    if split.y is None or by_name:
        return split
    low, high, classes = int(split.y.min()), int(split.y.max()), len(class_names)
    if classes and (low < 0 or high >= classes):
        raise Mistake(
            f"{place}: the samples are labelled {low} to {high}, and the data have {classes} classes, 0 to "
            f"{classes - 1}. Bring the samples of these classes alone, or name the data that they were made from."
        )
    # by content, not by place: a class folder and an npz of the same samples are one set
    keys = [sha256(row.numpy().tobytes()).digest() for row in split.x]
    x, y = split[torch.tensor(sorted(range(len(keys)), key=keys.__getitem__))]
    return Split("samples", x, y, classes or split.classes, modality=modality)


def labels_of_folders(folders: Sequence[str], class_names: Sequence[str], place: Path) -> list[int]:
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
    return ", ".join(names[:8]) + (f", ... ({len(names):,})" if len(names) > 8 else "")


def _files(
    place: Path, shape: tuple[int, ...], class_names: Sequence[str], modality: Modality
) -> tuple[Split, list[str]]:
    """Samples from files of the modality's kind, and what was done to them."""
    if isinstance(modality, Image) and modality.bits == IMAGE_BITS and shape[0] in PILLOW_MODES:
        return _images(place, shape, class_names)
    if isinstance(modality, Audio):
        found = list_files(place, WAV_FILES)
        matched = _matched(found, class_names, place)
        x, notes = load_waveforms(found, modality, shape)
        labels = found.labels
    elif isinstance(modality, Tokens):
        unit = next(name for name, separator in text_file.SEPARATORS.items() if separator == modality.separator)
        found = text_file.list_text_files(place)
        matched = _matched(found, class_names, place)
        every, empty = text_file.load_lines(found, unit)
        x, notes = (
            torch.tensor(text_file.encode_lines(every, modality.vocabulary, shape[0])),
            text_file.format_notes(found, every, empty),
        )
        labels = None if found.labels is None else [line.label or 0 for line in every]
    else:
        what = f"{modality.plural} of shape {list(shape)}" + (" and 16 bits" * (getattr(modality, "bits", 8) == 16))
        raise Mistake(f"{place}: pictures cannot be held against {what}; bring an .npz.")
    return Split("samples", x, None if labels is None else torch.tensor(labels)), [*notes, *matched]


def _images(place: Path, shape: tuple[int, ...], class_names: Sequence[str]) -> tuple[Split, list[str]]:
    channels, tall, wide = shape
    with _own_advice(f"{wide}x{tall}"):
        data = ImageFolder(place, channels=channels)  # the first picture is read
        found = data.listing
        if data.shape != tuple(shape):
            raise Mistake(
                f"{found.location(found.names[0])} is {data.shape[2]}x{data.shape[1]}, and the data are {wide}x{tall}: "
                "resize the samples as the data were, or name the data that they were trained on."
            )
        matched = _matched(found, class_names, place)
        files = FileSplit("samples", data, list(range(len(found.names))))
        held = len(files) * channels * tall * wide <= data.memory or bool(found.labels)
        split = files.load_into_memory() if held else files
        form = files.image_format
        changes = (
            files.changes
            if held
            else Counter(done for name in found.names for done in preview_changes(found, name, form))
        )
    return split, [*found.notes, *format_changes(found, changes), *matched]


def _matched(found: Listing, class_names: Sequence[str], place: Path) -> list[str]:
    """Put the data's labels in the place of the class folders' own; what was done, in at most one line."""
    if found.labels is None and (only := PurePosixPath(found.base).name) in class_names:  # of one class alone
        found.folders, found.labels, found.classes = [only], [0] * len(found.names), 1
    if not (found.folders and found.labels and class_names):
        return []
    own = labels_of_folders(found.folders, class_names, place)
    found.labels = [own[label] for label in found.labels]
    absent = [name for label, name in enumerate(class_names) if label not in own]
    return [
        f"{place}: {len(own)} class folders, matched with the data's classes"
        + (f"; no samples of {_some(absent)}." if absent else ".")
    ]


@contextmanager
def _own_advice(size: str) -> Iterator[None]:
    """A folder to train on can be cropped and resized on the way; samples are measured as they are."""
    try:
        yield
    except Mistake as mistake:
        what, said, _ = str(mistake).partition("Say data.size=")
        if not said:
            raise
        raise Mistake(f"{what.strip()}\nBring all samples to {size} first, as the data were.") from None
