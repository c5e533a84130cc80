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

from saddlepoint.data import array, text
from saddlepoint.data.audio_folder import waveforms
from saddlepoint.data.data import Data, Split
from saddlepoint.data.facts import IMAGE_BITS
from saddlepoint.data.image_folder import Files, ImageFolder, described_changes
from saddlepoint.data.listing import Listing, listing
from saddlepoint.data.picture import MODES, look
from saddlepoint.data.sound import WAVES
from saddlepoint.error import Mistake
from saddlepoint.modality import Audio, Image, Modality, Tokens, implied
from saddlepoint.run.storage.cache import Say


def read_for(data: Data, path: str | Path, say: Say = lambda line: None) -> Split:
    """All samples at `path`, as `read` gives them, for a data set: of its shape, classes and modality."""
    return read(path, data.shape, say, data.class_names, data.modality)


def read(
    path: str | Path,
    shape: tuple[int, ...],
    say: Say = lambda line: None,
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
    place, modality = Path(path).expanduser(), modality or implied(shape)
    if not place.exists():
        raise Mistake(f"{key}={path}: there is no such folder, zip or npz, nor an npy.")
    if place.suffix.lower() in array.ENDINGS:
        found = array.read(place, modality, shape)
        split, notes = Split("samples", found.x, found.y), found.notes
    else:
        split, notes = _files(place, shape, class_names, modality)
    for note in notes:
        say(note)
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
    return ", ".join(names[:8]) + (f", ... ({len(names):,})" if len(names) > 8 else "")


def _files(
    place: Path, shape: tuple[int, ...], class_names: Sequence[str], modality: Modality
) -> tuple[Split, list[str]]:
    """Samples from files of the modality's kind, and what was done to them."""
    if isinstance(modality, Image) and modality.bits == IMAGE_BITS and shape[0] in MODES:
        return _images(place, shape, class_names)
    if isinstance(modality, Audio):
        found = listing(place, WAVES)
        matched = _matched(found, class_names, place)
        x, notes = waveforms(found, modality, shape)
        labels = found.labels
    elif isinstance(modality, Tokens):
        unit = next(name for name, separator in text.UNITS.items() if separator == modality.separator)
        found = text.files(place)
        matched = _matched(found, class_names, place)
        every, empty = text.lines(found, unit)
        x, notes = torch.tensor(text.numbers(every, modality.vocabulary, shape[0])), text.notes(found, every, empty)
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
                f"{found.where(found.names[0])} is {data.shape[2]}x{data.shape[1]}, and the data are {wide}x{tall}: "
                "resize the samples as the data were, or name the data that they were trained on."
            )
        matched = _matched(found, class_names, place)
        files = Files("samples", data, list(range(len(found.names))))
        held = len(files) * channels * tall * wide <= data.memory or bool(found.labels)
        split = files.held() if held else files
        form = files.format
        changes = files.changes if held else Counter(done for name in found.names for done in look(found, name, form))
    return split, [*found.notes, *described_changes(found, changes), *matched]


def _matched(found: Listing, class_names: Sequence[str], place: Path) -> list[str]:
    """Put the data's labels in the place of the class folders' own; what was done, in at most one line."""
    if found.labels is None and (only := PurePosixPath(found.base).name) in class_names:  # of one class alone
        found.folders, found.labels, found.classes = [only], [0] * len(found.names), 1
    if not (found.folders and found.labels and class_names):
        return []
    own = labels_of(found.folders, class_names, place)
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
