"""What a folder or zip of images holds: names, and the class of each.  Imports no torch: a command asks it first.

Classes are, in this order: those of a StyleGAN `dataset.json` beside the images ({"labels": [["00000/img0.png", 6],
...]}, or null for none); else the folders that the images lie in, one level deep, sorted by name; else none.  A folder
that holds everything else, as in a zip of one folder, is passed through.  Names that begin with a dot and __MACOSX are
left out.
"""

import json
import os
import stat
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path, PurePosixPath
from typing import Any, BinaryIO

from saddlepoint.data.picture import side
from saddlepoint.error import Mistake

SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".webp")
LIMIT = 64 * 2**20  # bytes of one file, unpacked: a larger one is no picture for training, but perhaps a bomb


@dataclass
class Listing:
    """The images of a folder or zip; names are relative to `base`, sorted."""

    folder: Path
    zipped: bool
    base: str  # "" or "one/folder/"
    names: list[str]
    labels: list[int] | None  # of each name
    classes: int | None
    folders: list[str] | None = None  # the class folders in the order of their labels; None: classes by dataset.json
    _archive: tuple[int, zipfile.ZipFile] | None = field(default=None, repr=False, compare=False)

    def where(self, name: str) -> str:
        """The place of an image, for people."""
        return f"{self.folder}{':' if self.zipped else '/'}{self.base}{name}"

    @contextmanager
    def open(self, name: str) -> Iterator[BinaryIO]:
        """The image's file, read in place; raises Mistake where it is too large."""
        if not self.zipped:
            path = self.folder / (self.base + name)
            self._bound(name, path.stat().st_size)
            with path.open("rb") as file:
                yield file
        else:
            member = self.archive.getinfo(self.base + name)
            self._bound(name, member.file_size)  # zipfile reads no more than this, whatever the data unpacks to
            with self.archive.open(member) as file:
                yield BytesIO(file.read())  # whole: Pillow asks for a few bytes at a time, which costs much here

    @property
    def archive(self) -> zipfile.ZipFile:
        """The open zip; each process opens its own, since a forked one would share the file's position."""
        if self._archive is None or self._archive[0] != os.getpid():
            self._archive = os.getpid(), zipfile.ZipFile(self.folder)
        return self._archive[1]

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_archive": None}

    def _bound(self, name: str, size: int) -> None:
        if size > LIMIT:
            raise Mistake(f"{self.where(name)} has {size:,} bytes, more than the {LIMIT:,} allowed. Take it out.")


def describe(folder: str | Path | None, size: int | None = None, channels: int = 3) -> dict[str, Any]:
    """{"shape": [C, H, W], "classes": K or None} of a folder or zip, from its names and its first image's header."""
    return facts(listing(folder), size, channels)


def facts(found: Listing, size: int | None, channels: int) -> dict[str, Any]:
    """As `describe`, of a listing."""
    edge = side(found, found.names[0]) if size is None else size
    return {"shape": [channels, edge, edge], "classes": found.classes}


def listing(folder: str | Path | None) -> Listing:
    """The images in `folder`; raises Mistake where it is missing, empty, no zip, or its classes cannot be told."""
    if not folder:
        raise Mistake("data.folder is not set: say data.folder=<a folder or .zip of images>.")
    place = Path(folder).expanduser().absolute()
    files = list(_files(place))
    base, names = _base(files)
    if not names:
        raise Mistake(f"{place} holds no images: it needs files that end in {', '.join(SUFFIXES)}.")
    found = Listing(place, place.is_file(), base, names, None, None)
    if base + "dataset.json" in files:
        found.labels = _written(found)
        found.classes = max(found.labels) + 1 if found.labels else None
    else:
        classes = _folders(found)
        found.labels = [classes.index(name.split("/")[0]) for name in names] if classes else None
        found.classes, found.folders = len(classes) or None, classes or None
    return found


def _files(place: Path) -> Iterator[str]:
    if place.is_dir():
        names = _walk(place)
    elif place.is_file():
        try:
            with zipfile.ZipFile(place) as archive:
                names = iter(dict.fromkeys(one.filename for one in archive.infolist() if not _link(one, place)))
        except (zipfile.BadZipFile, OSError) as fault:
            raise Mistake(f"{place} is neither a folder nor a readable zip ({fault}).") from fault
    else:
        raise Mistake(f"{place}: no such folder or zip. Say data.folder=<a folder or .zip of images>.")
    for name in names:
        path = PurePosixPath(name)
        if not name.lower().endswith(SUFFIXES) and path.name != "dataset.json":
            continue
        if path.is_absolute() or ".." in path.parts:
            raise Mistake(f"{place}: the member {name!r} points outside the zip. Pack it anew.")
        if not any(part.startswith(".") or part == "__MACOSX" for part in path.parts):
            yield name


def _link(member: zipfile.ZipInfo, place: Path) -> bool:
    """False; raises Mistake for a member that is a link, to wherever."""
    if stat.S_ISLNK(member.external_attr >> 16):
        raise Mistake(f"{place}: the member {member.filename!r} is a link. Pack it anew, with the files themselves.")
    return False


def _walk(place: Path) -> Iterator[str]:
    for parent, folders, names in os.walk(place, followlinks=True):
        here = Path(parent).resolve()
        folders[:] = [name for name in folders if not here.is_relative_to(Path(parent, name).resolve())]  # no circles
        yield from (Path(parent, name).relative_to(place).as_posix() for name in names)


def _base(files: list[str]) -> tuple[str, list[str]]:
    base, names = "", sorted(name for name in files if name.lower().endswith(SUFFIXES))
    while names and base + "dataset.json" not in files:
        tops = {name.split("/")[0] if "/" in name else None for name in names}
        top = tops.pop()
        if tops or top is None:
            break
        base, names = f"{base}{top}/", [name[len(top) + 1 :] for name in names]
    return base, names


def _folders(found: Listing) -> list[str]:
    beside = [name for name in found.names if "/" not in name]
    if len(beside) == len(found.names):
        return []
    if beside:
        raise Mistake(f"{found.where(beside[0])} lies beside class folders. Move it into one of them, or take it out.")
    for name in found.names:
        if name.count("/") > 1:
            raise Mistake(
                f"{found.where(name)} lies two folders deep, and classes are one level of folders.\n"
                "Say data.folder=<one of the upper folders>, or write the classes into a dataset.json."
            )
    return sorted({name.split("/")[0] for name in found.names})


def _written(found: Listing) -> list[int] | None:
    where = found.where("dataset.json")
    try:
        with found.open("dataset.json") as file:
            labels = json.loads(file.read()).get("labels")
        labels = None if labels is None else dict(labels)
    except (OSError, RuntimeError, zipfile.BadZipFile, ValueError, AttributeError, TypeError) as fault:
        raise Mistake(
            f'{where} cannot be read ({fault}): it should hold {{"labels": [["name.png", 0], ...]}}.'
        ) from fault
    if not labels:
        return None
    for name in found.names:
        if name not in labels:
            raise Mistake(f"{where} has no label for {name}. Add one, or take the image out.")
        if type(labels[name]) is not int or labels[name] < 0:
            raise Mistake(f"{where} labels {name} {labels[name]!r}: a label is a whole number from 0 on.")
    absent = labels.keys() - set(found.names)
    if absent:
        raise Mistake(f"{where} labels {len(absent):,} images that are not there: {min(absent)} for one.")
    return [labels[name] for name in found.names]
