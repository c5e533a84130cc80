"""The files of one kind in a folder or zip, and the class of each.

Imports no torch, because commands read the listing before anything else.

The sources of classes, and the files that are skipped and counted: docs/data.md.  A `dataset.json` has the form
{"labels": [["00000/img0.png", 6], ...]}, or null for no classes; class folders are sorted by name.  A single top
folder, as in a zip of one folder, becomes part of `base`.  A name is the UTF-8 text of the bytes of the file name, in
any locale; bytes that are not UTF-8 are escaped as by os.fsdecode.
"""

import json
import os
import stat
import zipfile
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from hashlib import sha256
from io import BytesIO
from itertools import repeat
from pathlib import Path, PurePosixPath
from typing import Any, BinaryIO

from saddlepoint.error import Mistake

MAX_NAMED = 3  # files that an error names
MAX_BYTES = 64 * 2**20  # of one file, unpacked; larger than any image for training, smaller than a zip bomb


@dataclass(frozen=True)
class FileKind:
    """A kind of files: a plural noun for messages, and the file suffixes."""

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
    labels: list[int] | None  # the label of each name
    classes: int | None
    folders: list[str] | None = None  # class folders in the order of labels; None without, or with a dataset.json
    notes: list[str] = field(default_factory=list)  # what was listed, skipped and reinterpreted, one line each
    file_kind: FileKind = IMAGE_FILES
    archive_names: dict[str, str] = field(default_factory=dict, repr=False)  # the name in the zip, if it differs
    _archive: tuple[int, zipfile.ZipFile] | None = field(default=None, repr=False, compare=False)

    def location(self, name: str) -> str:
        """Return the path of a file, for messages."""
        return printable_name(f"{self.folder}{':' if self.is_zip else '/'}{self.base}{name}")

    @contextmanager
    def open(self, name: str) -> Iterator[BinaryIO]:
        """Open a file without unpacking the zip; raises Mistake if it is empty or too large."""
        if not self.is_zip:
            path = self.folder / os.fsdecode(encode_name(self.base + name))
            status = path.stat()
            if not stat.S_ISREG(status.st_mode):  # opening a pipe would block forever
                raise Mistake(f"{self.location(name)} is not a regular file. Remove it.")
            self._check_size(name, status.st_size)
            with path.open("rb") as file:
                yield file
        else:
            member = self.archive.getinfo(self.archive_names.get(self.base + name, self.base + name))
            self._check_size(name, member.file_size)  # zipfile reads no more than this, even if more unpacks
            with self.archive.open(member) as file:
                yield BytesIO(file.read())  # at once: Pillow's reads of a few bytes each are slow in a zip

    @property
    def archive(self) -> zipfile.ZipFile:
        """The open zip; each process opens it separately, since forked processes share the file position."""
        if self._archive is None or self._archive[0] != os.getpid():
            self._archive = os.getpid(), zipfile.ZipFile(self.folder)
        return self._archive[1]

    @property
    def sha256(self) -> str:
        """sha256 of each file's name, class and size in bytes, and in a zip its checksum; reads no file."""
        content = sha256()
        for name, label in zip(self.names, self.labels or repeat(None), strict=False):
            content.update(encode_name(f"{name}\0{self._size_and_checksum(name)}\0{label}\n"))
        return content.hexdigest()

    def _size_and_checksum(self, name: str) -> str:
        if not self.is_zip:
            return str((self.folder / os.fsdecode(encode_name(self.base + name))).stat().st_size)
        member = self.archive.getinfo(self.archive_names.get(self.base + name, self.base + name))
        return f"{member.file_size} {member.CRC}"

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_archive": None}

    def _check_size(self, name: str, size: int) -> None:
        if size == 0:
            raise Mistake(f"{self.location(name)} cannot be read: it is empty. Replace or remove it.")
        if size > MAX_BYTES:
            raise Mistake(f"{self.location(name)} has {size:,} bytes, more than the {MAX_BYTES:,} allowed. Remove it.")


@dataclass
class _Contents:
    """All names in a folder or zip, and counts of those that are skipped."""

    kind: FileKind = IMAGE_FILES
    names: list[str] = field(default_factory=list)  # files of the kind, and dataset.json
    folders: set[str] = field(default_factory=set)  # all folders, without a trailing slash
    skipped: Counter[str] = field(default_factory=Counter)  # by suffix or reason
    notes: list[str] = field(default_factory=list)
    members: dict[str, str] = field(default_factory=dict)

    def accepts(self, name: str) -> bool:
        return name.lower().endswith(self.kind.suffixes) or PurePosixPath(name).name == "dataset.json"

    def add(self, name: str) -> None:
        path = PurePosixPath(name)
        if "__MACOSX" in path.parts:
            self.skipped["of __MACOSX"] += 1
        elif any(part.startswith(".") for part in path.parts):
            self.skipped["hidden"] += 1
        elif self.accepts(name):
            self.names.append(name)
        else:
            self.skipped[path.suffix.lower() or "without an ending"] += 1
        self.folders.update(str(parent) for parent in path.parents if str(parent) != ".")


def list_files(folder: str | Path | None, kind: FileKind = IMAGE_FILES) -> Listing:
    """List the files of a kind in a folder or zip.

    Raises Mistake if it is missing, empty or not a zip, or if the classes are ambiguous.
    """
    path = resolve_folder(folder, kind.noun)
    contents = _Contents(kind)
    if path.is_dir():
        _walk_folder(path, contents)
    elif path.is_file():
        _read_zip(path, contents)
    else:
        raise Mistake(f"{path}: no such folder or zip. Set data.folder=<a folder or .zip of {kind.noun}>.")
    base, names = _find_base(contents)
    if not names:
        skipped = f" It has {_format_counts(contents.skipped)}." if contents.skipped else ""
        raise Mistake(f"{path} holds no {kind.noun}: it needs files that end in {', '.join(kind.suffixes)}.{skipped}")
    files = Listing(path, path.is_file(), base, names, None, None, file_kind=kind, archive_names=contents.members)
    if base + "dataset.json" in contents.names:
        files.labels = _load_labels(files)
        files.classes = max(files.labels) + 1 if files.labels else None
        how = "by dataset.json"
    else:
        classes = _class_folders(files)
        files.labels = [classes.index(name.split("/")[0]) for name in names] if classes else None
        files.classes, files.folders = len(classes) or None, classes or None
        how = "by folder"
        contents.notes += _describe_suspect_folders(classes, base, contents.folders, kind.noun)
    contents.skipped[".json"] += sum(
        name.endswith("dataset.json") for name in contents.names if name != f"{base}dataset.json"
    )
    files.notes = [
        _format_summary(files, how, contents.skipped),
        *(f"{printable_name(str(path))}: {note}." for note in contents.notes),
    ]
    return files


def has_array_suffix(folder: str | Path | None) -> bool:
    """Whether the name is that of an array file, .npz or .npy."""
    return str(folder).lower().endswith((".npz", ".npy"))


def is_array_file(folder: str | Path | None) -> bool:
    """Whether the path is an existing array file, .npz or .npy."""
    return has_array_suffix(folder) and resolve_folder(folder).is_file()


def resolve_folder(folder: str | Path | None, noun: str = IMAGE_FILES.noun) -> Path:
    """Return the absolute path of data.folder; raises Mistake if it is not set."""
    if not folder:
        raise Mistake(f"data.folder is not set: set data.folder=<a folder or .zip of {noun}>.")
    return Path(folder).expanduser().absolute()


def names_by_stem(files: Listing) -> dict[str, str]:
    """Return name without suffix -> name.  Raises Mistake if two files have one name apart from the suffix."""
    names: dict[str, str] = {}
    for name in files.names:
        stem = str(PurePosixPath(name).with_suffix(""))
        if stem in names:
            raise Mistake(f"{files.location(name)} and {names[stem]} have one name apart from the suffix. Rename one.")
        names[stem] = name
    return names


def format_changes(files: Listing, changes: Counter[str], previewed: int | None = None) -> list[str]:
    """Return one line for each change that reading makes, with the number of files that it affects."""
    total = len(files.names) if previewed is None else previewed
    some = "" if total == len(files.names) else " checked"
    folder = printable_name(str(files.folder))
    return [f"{folder}: {number:,} of {total:,}{some}: {change}." for change, number in sorted_counts(changes)]


def format_names(names: Sequence[str]) -> str:
    """Return the first names as text."""
    return ", ".join(map(printable_name, names[:MAX_NAMED])) + (", ..." if len(names) > MAX_NAMED else "")


def encode_name(name: str) -> bytes:
    """Return the bytes of a file name."""
    return name.encode("utf-8", "surrogateescape")


def printable_name(name: str) -> str:
    """Return a file name for messages, with bytes that are not UTF-8 as \\xff."""
    return encode_name(name).decode("utf-8", "backslashreplace")


def sorted_counts(counts: Counter[str]) -> list[tuple[str, int]]:
    """Return the positive counts, largest first and then by key."""
    return sorted((+counts).items(), key=lambda item: (-item[1], item[0]))


def _format_summary(files: Listing, how: str, skipped: Counter[str]) -> str:
    suffixes = Counter(PurePosixPath(name).suffix.lower() for name in files.names)
    classes = f"{files.classes:,} classes {how}" if files.classes else "no classes"
    left_out = f"; left out: {_format_counts(skipped)}" if +skipped else ""
    number = f"{len(files.names):,} {files.file_kind.noun} ({_format_counts(suffixes)})"
    return f"{printable_name(str(files.folder))}: {number}, {classes}{left_out}."


def _format_counts(counts: Counter[str]) -> str:
    return ", ".join(f"{number:,} {printable_name(key)}" for key, number in sorted_counts(counts))


def _describe_suspect_folders(classes: list[str], base: str, folders: set[str], noun: str) -> list[str]:
    """Return notes on empty folders among class folders, and on classes whose names differ by case only."""
    levels = {base[: i + 1] for i, character in enumerate(base) if character == "/"}
    levels |= {""} if base or classes else set()
    levels -= set() if classes else {base}
    empty = sorted(
        folder
        for folder in folders
        if folder[: folder.rfind("/") + 1] in levels
        and not base.startswith(f"{folder}/")
        and folder[len(base) :] not in classes
        and not any(part.startswith(".") or part == "__MACOSX" for part in folder.split("/"))
    )
    folded = Counter(name.casefold() for name in classes)
    same = [
        " and ".join(printable_name(name) for name in classes if name.casefold() == key)
        for key, n in folded.items()
        if n > 1
    ]
    first = ", ".join(map(printable_name, empty[:3])) + (", ..." if len(empty) > 3 else "")
    which = f"folder {first}" if len(empty) == 1 else f"{len(empty):,} folders {first}"
    notes = [f"no {noun} in the {which}, so no class of that name"] if empty else []
    return notes + [f"the names of the classes {names} differ by case only" for names in same]


def _read_zip(path: Path, contents: _Contents) -> None:
    """Read the names in a zip; raises Mistake for links, names that point outside the zip, and ambiguous names."""
    try:
        with zipfile.ZipFile(path) as archive:
            members = archive.infolist()
    # ValueError: a name that is flagged as UTF-8 but is not; NotImplementedError: a later version of zip
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError) as error:
        raise Mistake(f"{path} is neither a folder nor a readable zip ({error}).") from error
    names: set[str] = set()
    n_backslash = n_cp437 = n_repeated = 0
    for member in members:
        if stat.S_ISLNK(member.external_attr >> 16):
            raise Mistake(f"{path}: the member {member.filename!r} is a link. Pack the zip again, with the files.")
        name = member.filename.replace("\\", "/")
        parts = PurePosixPath(name)
        if contents.accepts(name) and (parts.is_absolute() or ".." in parts.parts):
            raise Mistake(f"{path}: the member {member.filename!r} points outside the zip. Pack the zip again.")
        if name.endswith("/"):
            contents.folders.add(name.rstrip("/"))
            continue
        if name in names:
            if contents.members.get(name, name) != member.filename:
                raise Mistake(f"{path}: the member {member.filename!r} is in it twice. Pack the zip again.")
            n_repeated += 1
            continue
        names.add(name)
        if name != member.filename:
            contents.members[name] = member.filename
            n_backslash += 1
        n_cp437 += not (member.flag_bits & 0x800 or name.isascii())
        contents.add(name)
    contents.notes += [f"{n_backslash:,} names with backslashes: read as folders"] if n_backslash else []
    contents.notes += [f"{n_cp437:,} names without a stated encoding: read as cp437"] if n_cp437 else []
    contents.notes += [f"{n_repeated:,} repeated names: the last member of each is read"] if n_repeated else []


def _walk_folder(path: Path, contents: _Contents) -> None:
    def refuse(error: OSError) -> None:
        raise Mistake(f"{printable_name(str(error.filename))} cannot be read: {error.strerror}.") from error

    n_circular = 0
    for parent, folders, names in os.walk(path, followlinks=True, onerror=refuse):
        resolved = Path(parent).resolve()
        below = [name for name in folders if not resolved.is_relative_to(Path(parent, name).resolve())]
        n_circular += len(folders) - len(below)
        folders[:] = below
        for name in folders:
            contents.folders.add(_relative_name(Path(parent, name), path))
        for name in names:
            contents.add(_relative_name(Path(parent, name), path))
    contents.notes += [f"{n_circular:,} links to a parent folder: not followed"] if n_circular else []


def _relative_name(path: Path, folder: Path) -> str:
    """Return the name relative to `folder`, which does not depend on the locale."""
    return os.fsencode(path.relative_to(folder).as_posix()).decode("utf-8", "surrogateescape")


def _find_base(contents: _Contents) -> tuple[str, list[str]]:
    """Return the single top folders as a prefix, and the names of the files relative to it, sorted."""
    base, names = "", sorted(name for name in contents.names if name.lower().endswith(contents.kind.suffixes))
    while names and base + "dataset.json" not in contents.names:
        tops = {name.split("/")[0] if "/" in name else None for name in names}
        top = tops.pop()
        if tops or top is None:
            break
        base, names = f"{base}{top}/", [name[len(top) + 1 :] for name in names]
    return base, names


def _class_folders(files: Listing) -> list[str]:
    """Return the class folders, sorted; raises Mistake if a file is at another depth than one folder."""
    outside = [name for name in files.names if "/" not in name]
    if len(outside) == len(files.names):
        return []
    if outside:
        raise Mistake(f"{files.location(outside[0])} is beside class folders. Move it into one of them, or remove it.")
    for name in files.names:
        if name.count("/") > 1:
            raise Mistake(
                f"{files.location(name)} is two folders deep, but class folders must be one level deep.\n"
                "Set data.folder=<one of the upper folders>, or write the classes into a dataset.json."
            )
    return sorted({name.split("/")[0] for name in files.names})


def _load_labels(files: Listing) -> list[int] | None:
    """Return the label of each file from dataset.json, or None if it has none; raises Mistake if any is wrong."""
    location = files.location("dataset.json")
    try:
        with files.open("dataset.json") as file:
            labels = json.loads(file.read()).get("labels")
        labels = None if labels is None else dict(labels)
    except (OSError, RuntimeError, zipfile.BadZipFile, ValueError, AttributeError, TypeError) as error:
        raise Mistake(
            f'{location} cannot be read ({error}): it must have the form {{"labels": [["name.png", 0], ...]}}.'
        ) from error
    if not labels:
        return None
    for name in files.names:
        if name not in labels:
            raise Mistake(f"{location} has no label for {name}. Add a label, or remove the image.")
        if type(labels[name]) is not int or labels[name] < 0:
            raise Mistake(f"{location} labels {name} {labels[name]!r}: a label must be an integer of at least 0.")
    if absent := labels.keys() - set(files.names):
        raise Mistake(f"{location} labels {len(absent):,} missing images, such as {min(absent)}.")
    return [labels[name] for name in files.names]
