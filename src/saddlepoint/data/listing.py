"""What a folder or zip of images, or of other files, holds: names, and the class of each.

Imports no torch: a command asks it first.

Where classes come from, and what is left out and counted: docs/data.md.  A `dataset.json` holds {"labels":
[["00000/img0.png", 6], ...]}, or null for none; class folders are sorted by name.  A folder that holds everything else,
as in a zip of one folder, is passed through.  Names are text whose UTF-8 is the bytes of the file's name, whatever the
locale; bytes that are no UTF-8 are escaped as os.fsdecode does.
"""

import json
import os
import stat
import zipfile
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from hashlib import sha256
from io import BytesIO
from itertools import repeat
from pathlib import Path, PurePosixPath
from typing import Any, BinaryIO

from saddlepoint.error import Mistake

LIMIT = 64 * 2**20  # bytes of one file, unpacked: a larger one is no picture for training, but perhaps a bomb


@dataclass(frozen=True)
class FileKind:
    """Which files are looked for: what they are called, and their endings."""

    noun: str
    suffixes: tuple[str, ...]


IMAGE_FILES = FileKind("images", (".png", ".jpg", ".jpeg", ".jpe", ".jfif", ".bmp", ".webp", ".tif", ".tiff"))


@dataclass
class Listing:
    """The files of one kind in a folder or zip; names are relative to `base`, sorted."""

    folder: Path
    is_zip: bool
    base: str  # "" or "one/folder/"
    names: list[str]
    labels: list[int] | None  # of each name
    classes: int | None
    folders: list[str] | None = None  # the class folders in the order of their labels; None: classes by dataset.json
    notes: list[str] = field(default_factory=list)  # what was found, and what was left out or taken for something else
    file_kind: FileKind = IMAGE_FILES
    archive_names: dict[str, str] = field(default_factory=dict, repr=False)  # the zip's own name, where it is another
    _archive: tuple[int, zipfile.ZipFile] | None = field(default=None, repr=False, compare=False)

    def location(self, name: str) -> str:
        """The place of an image, for people."""
        return printable_name(f"{self.folder}{':' if self.is_zip else '/'}{self.base}{name}")

    @contextmanager
    def open(self, name: str) -> Iterator[BinaryIO]:
        """The image's file, read in place; raises Mistake where it is too large."""
        if not self.is_zip:
            path = self.folder / os.fsdecode(name_bytes(self.base + name))
            state = path.stat()
            if not stat.S_ISREG(state.st_mode):  # to open a pipe would wait for ever
                raise Mistake(f"{self.location(name)} is no file. Take it out.")
            self._bound(name, state.st_size)
            with path.open("rb") as file:
                yield file
        else:
            member = self.archive.getinfo(self.archive_names.get(self.base + name, self.base + name))
            self._bound(name, member.file_size)  # zipfile reads no more than this, whatever the data unpacks to
            with self.archive.open(member) as file:
                yield BytesIO(file.read())  # whole: Pillow asks for a few bytes at a time, which costs much here

    @property
    def archive(self) -> zipfile.ZipFile:
        """The open zip; each process opens its own, since a forked one would share the file's position."""
        if self._archive is None or self._archive[0] != os.getpid():
            self._archive = os.getpid(), zipfile.ZipFile(self.folder)
        return self._archive[1]

    @property
    def sha256(self) -> str:
        """sha256 of each image's name, class and size in bytes, in a zip also its checksum; no image is read for it."""
        content = sha256()
        for name, label in zip(self.names, self.labels or repeat(None), strict=False):
            content.update(name_bytes(f"{name}\0{self._stamp(name)}\0{label}\n"))
        return content.hexdigest()

    def _stamp(self, name: str) -> str:
        if not self.is_zip:
            return str((self.folder / os.fsdecode(name_bytes(self.base + name))).stat().st_size)
        member = self.archive.getinfo(self.archive_names.get(self.base + name, self.base + name))
        return f"{member.file_size} {member.CRC}"

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_archive": None}

    def _bound(self, name: str, size: int) -> None:
        if size == 0:
            raise Mistake(f"{self.location(name)} cannot be read: it is empty. Replace it or take it out.")
        if size > LIMIT:
            raise Mistake(f"{self.location(name)} has {size:,} bytes, more than the {LIMIT:,} allowed. Take it out.")


@dataclass
class _Contents:
    """All names in a folder or zip, and what is not used of them."""

    kind: FileKind = IMAGE_FILES
    names: list[str] = field(default_factory=list)  # files of that kind, and dataset.json
    folders: set[str] = field(default_factory=set)  # every folder, without a slash at its end
    others: Counter[str] = field(default_factory=Counter)  # what is left out, by kind
    notes: list[str] = field(default_factory=list)
    members: dict[str, str] = field(default_factory=dict)

    def wants(self, name: str) -> bool:
        return name.lower().endswith(self.kind.suffixes) or PurePosixPath(name).name == "dataset.json"

    def add(self, name: str) -> None:
        path = PurePosixPath(name)
        if "__MACOSX" in path.parts:
            self.others["of __MACOSX"] += 1
        elif any(part.startswith(".") for part in path.parts):
            self.others["hidden"] += 1
        elif self.wants(name):
            self.names.append(name)
        else:
            self.others[path.suffix.lower() or "without an ending"] += 1
        self.folders.update(str(one) for one in path.parents if str(one) != ".")


def list_files(folder: str | Path | None, kind: FileKind = IMAGE_FILES) -> Listing:
    """The files in `folder`; raises Mistake where it is missing, empty, no zip, or its classes cannot be told."""
    place = resolve_folder(folder, kind.noun)
    inside = _Contents(kind)
    if place.is_dir():
        _walk(place, inside)
    elif place.is_file():
        _unpacked(place, inside)
    else:
        raise Mistake(f"{place}: no such folder or zip. Say data.folder=<a folder or .zip of {kind.noun}>.")
    base, names = _base(inside)
    if not names:
        rest = f" It has {_counts(inside.others)}." if inside.others else ""
        raise Mistake(f"{place} holds no {kind.noun}: it needs files that end in {', '.join(kind.suffixes)}.{rest}")
    found = Listing(place, place.is_file(), base, names, None, None, file_kind=kind, archive_names=inside.members)
    if base + "dataset.json" in inside.names:
        found.labels = _written(found)
        found.classes = max(found.labels) + 1 if found.labels else None
        how = "by dataset.json"
    else:
        classes = _folders(found)
        found.labels = [classes.index(name.split("/")[0]) for name in names] if classes else None
        found.classes, found.folders = len(classes) or None, classes or None
        how = "by folder"
        inside.notes += _doubtful(classes, base, inside.folders, kind.noun)
    inside.others[".json"] += sum(
        name.endswith("dataset.json") for name in inside.names if name != f"{base}dataset.json"
    )
    found.notes = [
        _summary(found, how, inside.others),
        *(f"{printable_name(str(place))}: {note}." for note in inside.notes),
    ]
    return found


def has_array_suffix(folder: str | Path | None) -> bool:
    """Whether it is the name of a file that holds all samples as one array."""
    return str(folder).lower().endswith((".npz", ".npy"))


def is_array(folder: str | Path | None) -> bool:
    """Whether it is a file that holds all samples as one array."""
    return has_array_suffix(folder) and resolve_folder(folder).is_file()


def resolve_folder(folder: str | Path | None, noun: str = IMAGE_FILES.noun) -> Path:
    """The absolute path; raises Mistake where none is given."""
    if not folder:
        raise Mistake(f"data.folder is not set: say data.folder=<a folder or .zip of {noun}>.")
    return Path(folder).expanduser().absolute()


def name_bytes(name: str) -> bytes:
    """The bytes of a file's name."""
    return name.encode("utf-8", "surrogateescape")


def printable_name(name: str) -> str:
    """A name for people: what is no UTF-8 as \\xff."""
    return name_bytes(name).decode("utf-8", "backslashreplace")


def _summary(found: Listing, how: str, others: Counter[str]) -> str:
    kinds = Counter(PurePosixPath(name).suffix.lower() for name in found.names)
    classes = f"{found.classes:,} classes {how}" if found.classes else "no classes"
    left = f"; left out: {_counts(others)}" if +others else ""
    return f"{printable_name(str(found.folder))}: {len(found.names):,} {found.file_kind.noun} ({_counts(kinds)}), {classes}{left}."


def _counts(kinds: Counter[str]) -> str:
    return ", ".join(f"{number:,} {printable_name(kind)}" for kind, number in sorted_counts(kinds))


def sorted_counts(counts: Counter[str]) -> list[tuple[str, int]]:
    """What was counted at least once, in an order that does not depend on who counted."""
    return sorted((+counts).items(), key=lambda item: (-item[1], item[0]))


def _doubtful(classes: list[str], base: str, folders: set[str], noun: str) -> list[str]:
    """What is perhaps not meant: folders without files beside others with some; classes that differ by case alone."""
    levels = {base[: i + 1] for i, sign in enumerate(base) if sign == "/"} | ({""} if base or classes else set())
    levels -= set() if classes else {base}
    empty = sorted(
        one
        for one in folders
        if one[: one.rfind("/") + 1] in levels
        and not base.startswith(f"{one}/")
        and one[len(base) :] not in classes
        and not any(part.startswith(".") or part == "__MACOSX" for part in one.split("/"))
    )
    alike = Counter(name.casefold() for name in classes)
    same = [
        " and ".join(printable_name(one) for one in classes if one.casefold() == name)
        for name, n in alike.items()
        if n > 1
    ]
    few = ", ".join(map(printable_name, empty[:3])) + (", ..." if len(empty) > 3 else "")
    folder = f"folder {few}" if len(empty) == 1 else f"{len(empty):,} folders {few}"
    notes = [f"no {noun} in the {folder}, so no class of that name"] if empty else []
    return notes + [f"the classes {names} differ by case alone" for names in same]


def _unpacked(place: Path, inside: _Contents) -> None:
    """The names in a zip; raises Mistake for one that leads out of it, for links, and where a name stands twice."""
    try:
        with zipfile.ZipFile(place) as archive:
            members = archive.infolist()
    # ValueError: a name that is no UTF-8 and says that it is; NotImplementedError: a later version of zip
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError) as fault:
        raise Mistake(f"{place} is neither a folder nor a readable zip ({fault}).") from fault
    seen: set[str] = set()
    slashed = unsaid = again = 0
    for member in members:
        if stat.S_ISLNK(member.external_attr >> 16):
            raise Mistake(
                f"{place}: the member {member.filename!r} is a link. Pack it anew, with the files themselves."
            )
        name = member.filename.replace("\\", "/")
        path = PurePosixPath(name)
        if inside.wants(name) and (path.is_absolute() or ".." in path.parts):
            raise Mistake(f"{place}: the member {member.filename!r} points outside the zip. Pack it anew.")
        if name.endswith("/"):
            inside.folders.add(name.rstrip("/"))
            continue
        if name in seen:
            if inside.members.get(name, name) != member.filename:
                raise Mistake(f"{place}: the member {member.filename!r} stands there twice. Pack it anew.")
            again += 1
            continue
        seen.add(name)
        if name != member.filename:
            inside.members[name] = member.filename
            slashed += 1
        unsaid += not (member.flag_bits & 0x800 or name.isascii())
        inside.add(name)
    inside.notes += [f"{slashed:,} names with backslashes: taken for folders"] if slashed else []
    inside.notes += [f"{unsaid:,} names in no stated encoding: read as cp437"] if unsaid else []
    inside.notes += [f"{again:,} members whose name stands there twice: the last of each is read"] if again else []


def _walk(place: Path, inside: _Contents) -> None:
    def stop(fault: OSError) -> None:
        raise Mistake(f"{printable_name(str(fault.filename))} cannot be read: {fault.strerror}.") from fault

    circles = 0
    for parent, folders, names in os.walk(place, followlinks=True, onerror=stop):
        here = Path(parent).resolve()
        inward = [name for name in folders if not here.is_relative_to(Path(parent, name).resolve())]
        circles += len(folders) - len(inward)
        folders[:] = inward
        for name in folders:
            inside.folders.add(_named(Path(parent, name), place))
        for name in names:
            inside.add(_named(Path(parent, name), place))
    inside.notes += [f"{circles:,} links to a folder that they lie in: not followed"] if circles else []


def _named(path: Path, place: Path) -> str:
    """The name relative to `place`, the same in every locale."""
    return os.fsencode(path.relative_to(place).as_posix()).decode("utf-8", "surrogateescape")


def _base(inside: _Contents) -> tuple[str, list[str]]:
    files = inside.names
    base, names = "", sorted(name for name in files if name.lower().endswith(inside.kind.suffixes))
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
        raise Mistake(
            f"{found.location(beside[0])} lies beside class folders. Move it into one of them, or take it out."
        )
    for name in found.names:
        if name.count("/") > 1:
            raise Mistake(
                f"{found.location(name)} lies two folders deep, and classes are one level of folders.\n"
                "Say data.folder=<one of the upper folders>, or write the classes into a dataset.json."
            )
    return sorted({name.split("/")[0] for name in found.names})


def _written(found: Listing) -> list[int] | None:
    where = found.location("dataset.json")
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
    if absent := labels.keys() - set(found.names):
        raise Mistake(f"{where} labels {len(absent):,} images that are not there: {min(absent)} for one.")
    return [labels[name] for name in found.names]
