"""Reading of archives from untrusted sources: in place, never unpacked to disk, with a limit on the unpacked size.

A zip states the unpacked size of each member, and zipfile returns no more than that, so the sizes are checked before
anything is read.  The header of an .npy member states a shape, which decides how much memory is allocated, so the
shape must fit the size of the member.  Nothing is unpickled.
"""

import io
import stat
import struct
import zipfile
from collections.abc import Container, Iterator
from math import prod
from pathlib import Path, PurePosixPath
from typing import IO

import numpy as np
from numpy.lib import format as npy

UNPACKED_ALLOWANCE = 2**30  # bytes: the unpacked size that any archive may have
MAX_UNPACKED_RATIO = 64  # of larger archives: images compress to a third, a zip bomb to a thousandth
LOCAL_HEADER = struct.Struct("<26xHH")  # of a zip's member; the last two fields: lengths of its name and extra field
ENCRYPTED = 1  # bit of a member's flags
Source = Path | bytes


def load_arrays(source: Source, names: Container[str] | None = None) -> dict[str, np.ndarray]:
    """Load the arrays of an npz by name, or the array of a .npy under the name of the file.

    names  the arrays to load; the others are returned empty.  None: all
    Raises ValueError if an array holds pickled objects or the archive is too large; zipfile.BadZipFile, OSError,
    EOFError or zlib.error if it is not a readable archive.
    """
    members = _iterate_arrays(source, names)
    return {
        name: _load_array(file, size) if names is None or name in names else np.empty(0) for name, file, size in members
    }


def load_array_headers(source: Path) -> dict[str, tuple[tuple[int, ...], np.dtype]]:
    """Load the shape and dtype of each array of an npz or .npy, by name.  Raises the same as `load_arrays`."""
    headers = {name: _array_header(file) for name, file, _ in _iterate_arrays(source, ())}
    return {name: (shape, dtype) for name, (shape, _, dtype) in headers.items()}


def map_array(source: Path, name: str) -> np.ndarray | None:
    """Map the array `name` of a .npy or an npz into memory, read-only, without reading it; None if it is compressed.

    Raises the same as `load_arrays`.
    """
    if source.suffix.lower() == ".npy":
        return _map_array(source, 0, _source_size(source))
    with zipfile.ZipFile(source) as archive:
        try:
            member = archive.getinfo(f"{name}.npy")
        except KeyError:
            raise ValueError(f"it has no array {name}") from None
        if member.compress_type != zipfile.ZIP_STORED or member.flag_bits & ENCRYPTED:
            return None
        with source.open("rb") as file:
            file.seek(member.header_offset)
            *_, name_length, extra_length = LOCAL_HEADER.unpack(file.read(LOCAL_HEADER.size))
        start = member.header_offset + LOCAL_HEADER.size + name_length + extra_length
        return _map_array(source, start, member.file_size)


def _map_array(path: Path, start: int, size: int) -> np.ndarray:
    """Map the .npy content of `size` bytes that starts at byte `start` of a file."""
    with path.open("rb") as file:
        file.seek(start)
        shape, is_fortran, dtype = _checked_header(file, size)
        return np.memmap(path, dtype, "r", file.tell(), shape, "F" if is_fortran else "C")


def _iterate_arrays(source: Source, names: Container[str] | None) -> Iterator[tuple[str, IO[bytes], int]]:
    """Yield the name, open file and size in bytes of each array, after a size check of `names` (None: of all)."""
    if isinstance(source, Path) and source.suffix.lower() == ".npy":
        with source.open("rb") as file:
            yield source.stem, file, _source_size(source)
        return
    with zipfile.ZipFile(_path_or_stream(source)) as archive:
        members = {member.filename.removesuffix(".npy"): member for member in archive.infolist()}
        check_members(
            [member for name, member in members.items() if names is None or name in names], _source_size(source)
        )
        for name, member in members.items():
            try:
                with archive.open(member) as file:
                    yield name, file, member.file_size
            except RuntimeError as error:  # zipfile raises it for encrypted members and unknown compression methods
                raise ValueError(str(error)) from None


def check_members(members: list[zipfile.ZipInfo], size: int) -> None:
    """Raise ValueError if members of an archive of `size` bytes point outside it or unpack to too many bytes."""
    for member in members:
        path = PurePosixPath(member.filename.replace("\\", "/"))
        if path.is_absolute() or ".." in path.parts:
            raise ValueError(f"the path of member {member.filename!r} points outside the archive")
        if stat.S_ISLNK(member.external_attr >> 16):
            raise ValueError(f"the member {member.filename!r} is a link")
    unpacked = sum(member.file_size for member in members)
    if unpacked > max(UNPACKED_ALLOWANCE, MAX_UNPACKED_RATIO * size):
        raise ValueError(f"it has {size:,} bytes and would unpack to {unpacked:,}")


def check_stored_zip(source: Source) -> None:
    """Raise ValueError if an uncompressed zip, as torch.save writes it, claims more bytes than the file has."""
    if not zipfile.is_zipfile(_path_or_stream(source)):
        raise ValueError("it is not a zip file")
    with zipfile.ZipFile(_path_or_stream(source)) as archive:
        claimed = sum(member.file_size for member in archive.infolist())
        if claimed > _source_size(source):
            raise ValueError(f"it has {_source_size(source):,} bytes but claims to hold {claimed:,}")


def _array_header(file: IO[bytes]) -> tuple[tuple[int, ...], bool, np.dtype]:
    """Return shape, order (True: Fortran's) and dtype of a .npy file.  Raises ValueError for an unknown version."""
    version = npy.read_magic(file)
    read_header = {(1, 0): npy.read_array_header_1_0, (2, 0): npy.read_array_header_2_0}.get(version)
    if read_header is None:
        raise ValueError(f"it has .npy version {version}; versions 1.0 and 2.0 are supported")
    return read_header(file)


def _checked_header(file: IO[bytes], size: int) -> tuple[tuple[int, ...], bool, np.dtype]:
    """Return the header of a .npy file of `size` bytes.  Raises ValueError if it is pickled or does not fit `size`."""
    shape, is_fortran, dtype = _array_header(file)
    if dtype.hasobject or not dtype.itemsize:
        raise ValueError("an array of objects is pickled" if dtype.hasobject else f"{dtype} has elements of 0 bytes")
    count = prod(shape)  # a Python integer does not overflow
    if min(shape, default=0) < 0 or count * dtype.itemsize > size:
        raise ValueError(f"its header gives {list(shape)} {dtype}, which does not fit its {size:,} bytes")
    return shape, is_fortran, dtype


def _load_array(file: IO[bytes], size: int) -> np.ndarray:
    """Load the array of a .npy file of `size` bytes.  Raises ValueError if it is pickled or does not fit `size`."""
    _checked_header(file, size)
    file.seek(0)
    return npy.read_array(file, allow_pickle=False)


def _path_or_stream(source: Source) -> IO[bytes] | Path:
    return io.BytesIO(source) if isinstance(source, bytes) else source


def _source_size(source: Source) -> int:
    return len(source) if isinstance(source, bytes) else source.stat().st_size
