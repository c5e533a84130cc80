"""A checksum for files of torch.save: the zip comment holds the sha256 of all bytes before the comment.

The zip has a CRC-32 of each tensor, but torch.load ignores it (2.15), so a flipped bit silently changes a weight.  A
comment is part of the zip: copies keep it, other readers ignore it, and no second file can get lost.
"""

import hashlib
import io
import os
import zipfile
from pathlib import Path

MARK = b"sha256:"
LENGTH = len(MARK) + 64
END = b"PK\x05\x06"  # the last record of a zip: 22 bytes, of which the last two are the length of the comment
CHUNK = 2**22


def append_checksum(file: io.BufferedRandom | io.BytesIO) -> None:
    """Append the checksum to the zip in `file`, which is open for reading and writing."""
    file.seek(-2, os.SEEK_END)
    file.write(LENGTH.to_bytes(2, "little"))
    file.seek(0)
    sha256 = hashlib.file_digest(file, "sha256").hexdigest()
    file.seek(0, os.SEEK_END)
    file.write(MARK + sha256.encode())


def verify_checksum(path: Path) -> None:
    """Raise ValueError if the file at `path` has changed since its checksum was written.

    For a file of an earlier edition without a checksum, the CRC-32 of each tensor is verified.
    """
    with path.open("rb") as file:
        size = file.seek(0, os.SEEK_END)
        file.seek(max(0, size - LENGTH))
        tail = file.read()
        if tail[-22:-18] == END and tail[-2:] == b"\0\0":
            with zipfile.ZipFile(path) as archive:
                if (first := archive.testzip()) is not None:
                    raise ValueError(f"{first} has changed since it was written")
        elif not tail.startswith(MARK) or tail != MARK + _hash_prefix(file, size - LENGTH).encode():
            raise ValueError("it is truncated or damaged: its checksum does not match")


def _hash_prefix(file: io.BufferedIOBase, size: int) -> str:
    """Return the sha256 of the first `size` bytes, in hexadecimal."""
    file.seek(0)
    sha256 = hashlib.sha256()
    while size > 0 and (chunk := file.read(min(CHUNK, size))):
        sha256.update(chunk)
        size -= len(chunk)
    return sha256.hexdigest()
