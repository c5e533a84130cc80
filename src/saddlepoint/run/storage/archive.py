"""Archives that somebody else packed: read in place, never unpacked to disk, and not larger than they look.

A zip says of each member how large it is unpacked, and its reader gives no more than that; so what is said is looked at
before anything is read.  An .npy member says its shape again, and memory is asked for by that: it has to fit the
member.  Nothing here unpickles.
"""

import io
import stat
import zipfile
from collections.abc import Container, Iterator
from math import prod
from pathlib import Path, PurePosixPath
from typing import IO

import numpy as np
from numpy.lib import format as npy

UNPACKED_ALLOWANCE = 2**30  # bytes, unpacked, that any archive may have
MAX_UNPACKED_RATIO = 64  # and beyond that, so many times its own size: images pack to a third, a bomb to a thousandth
Source = Path | bytes


def load_arrays(source: Source, names: Container[str] | None = None) -> dict[str, np.ndarray]:
    """The arrays of an npz by name, of those not `wanted` an empty one; of a .npy its one, by the file's own name.

    Raises ValueError where it holds pickled objects or is larger than it may be; zipfile.BadZipFile, OSError, EOFError
    or zlib.error where it is no readable archive.
    """
    read = _members(source, names)
    return {name: _array(file, size) if names is None or name in names else np.empty(0) for name, file, size in read}


def load_array_headers(source: Path) -> dict[str, tuple[tuple[int, ...], np.dtype]]:
    """Shape and type of each array of an npz, or of a .npy, by name, from their headers.  Raises as `arrays` does."""
    return {name: _header(file) for name, file, _ in _members(source, ())}


def _members(source: Source, wanted: Container[str] | None) -> Iterator[tuple[str, IO[bytes], int]]:
    """Each array's name, open file and size in bytes; those that are `wanted`, or all, are within bounds."""
    if isinstance(source, Path) and source.suffix.lower() == ".npy":
        with source.open("rb") as file:
            yield source.stem, file, _size(source)
        return
    with zipfile.ZipFile(_file(source)) as archive:
        named = {one.filename.removesuffix(".npy"): one for one in archive.infolist()}
        check_members([one for name, one in named.items() if wanted is None or name in wanted], _size(source))
        for name, one in named.items():
            try:
                with archive.open(one) as file:
                    yield name, file, one.file_size
            except RuntimeError as error:  # what zipfile says of passwords, and of ways to pack that it does not know
                raise ValueError(str(error)) from None


def check_members(members: list[zipfile.ZipInfo], size: int) -> None:
    """Raises ValueError where members of an archive of `size` bytes point outside it, or unpack to too much."""
    for one in members:
        path = PurePosixPath(one.filename.replace("\\", "/"))
        if path.is_absolute() or ".." in path.parts:
            raise ValueError(f"the member {one.filename!r} points outside the archive")
        if stat.S_ISLNK(one.external_attr >> 16):
            raise ValueError(f"the member {one.filename!r} is a link")
    unpacked = sum(one.file_size for one in members)
    if unpacked > max(UNPACKED_ALLOWANCE, MAX_UNPACKED_RATIO * size):
        raise ValueError(f"it has {size:,} bytes and says that it unpacks to {unpacked:,}")


def check_stored_zip(source: Source) -> None:
    """Raises ValueError where a zip, as torch.save writes it, says that it holds more than the file has."""
    if not zipfile.is_zipfile(_file(source)):
        raise ValueError("it is no zip")
    with zipfile.ZipFile(_file(source)) as archive:
        held = sum(one.file_size for one in archive.infolist())
        if held > _size(source):
            raise ValueError(f"it has {_size(source):,} bytes and says that it holds {held:,}")


def _header(file: IO[bytes]) -> tuple[tuple[int, ...], np.dtype]:
    """Shape and type.  Raises ValueError."""
    version = npy.read_magic(file)
    header = {(1, 0): npy.read_array_header_1_0, (2, 0): npy.read_array_header_2_0}.get(version)
    if header is None:
        raise ValueError(f"it is .npy of version {version}, and 1.0 and 2.0 are known")
    shape, _, kind = header(file)
    return shape, kind


def _array(file: IO[bytes], size: int) -> np.ndarray:
    """The array in a .npy file of `size` bytes.  Raises ValueError."""
    shape, dtype = _header(file)
    if dtype.hasobject or not dtype.itemsize:
        raise ValueError("an array of objects is pickled" if dtype.hasobject else f"{dtype} holds nothing")
    number = prod(shape)  # of Python's, which does not run over
    if min(shape, default=0) < 0 or number * dtype.itemsize > size:
        raise ValueError(f"its header says {list(shape)} {dtype}, more than its {size:,} bytes hold")
    file.seek(0)
    return npy.read_array(file, allow_pickle=False)


def _file(source: Source) -> IO[bytes] | Path:
    return io.BytesIO(source) if isinstance(source, bytes) else source


def _size(source: Source) -> int:
    return len(source) if isinstance(source, bytes) else source.stat().st_size
