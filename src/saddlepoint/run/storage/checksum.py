"""The seal of a file of torch.save: the comment of its zip is the sha256 of every byte before the comment.

The zip has a CRC-32 of each tensor, which torch.load does not look at (2.15): a flipped bit becomes another weight.  A
comment is part of a zip, so a copy keeps its seal, readers that know of none are not disturbed, and no second file can
go astray.
"""

import hashlib
import io
import os
import zipfile
from pathlib import Path

MARK = b"sha256:"
LENGTH = len(MARK) + 64
END = b"PK\x05\x06"  # a zip's last record: 22 bytes, of which the last two say how long the comment behind it is
CHUNK = 2**22


def append_checksum(file: io.BufferedRandom | io.BytesIO) -> None:
    """Put the seal behind the zip that `file` holds; it is open for reading and writing."""
    file.seek(-2, os.SEEK_END)
    file.write(LENGTH.to_bytes(2, "little"))
    file.seek(0)
    print_of_all = hashlib.file_digest(file, "sha256").hexdigest()
    file.seek(0, os.SEEK_END)
    file.write(MARK + print_of_all.encode())


def verify_checksum(path: Path) -> None:
    """Raises ValueError where the file at `path` is not the one that was sealed, to the last bit.

    One that was written before there were seals ends with its zip; of it the CRC-32 of each tensor is looked at.
    """
    with path.open("rb") as file:
        size = file.seek(0, os.SEEK_END)
        file.seek(max(0, size - LENGTH))
        tail = file.read()
        if tail[-22:-18] == END and tail[-2:] == b"\0\0":
            with zipfile.ZipFile(path) as archive:
                if (first := archive.testzip()) is not None:
                    raise ValueError(f"{first} has changed since it was written")
        elif not tail.startswith(MARK) or tail != MARK + _print(file, size - LENGTH).encode():
            raise ValueError("it is cut short, or a bit of it has changed: its seal is broken")


def _print(file: io.BufferedIOBase, size: int) -> str:
    """sha256 of the first `size` bytes, in hexadecimal."""
    file.seek(0)
    content = hashlib.sha256()
    while size > 0 and (part := file.read(min(CHUNK, size))):
        content.update(part)
        size -= len(part)
    return content.hexdigest()
