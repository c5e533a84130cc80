"""Atomic writes: a file or folder is written under a temporary name in the same folder, synced to disk, then renamed.

The rename is atomic, so a reader sees either the old content or the new one, also after a crash.  The parent folder is
synced after the rename, so that the rename is durable.  The functions raise OSError and then leave no temporary file;
a temporary file left by a crash has a name that matches `UNFINISHED`.
"""

import contextlib
import os
import re
import secrets
import shutil
from collections.abc import Callable, Iterator
from io import BufferedRandom
from pathlib import Path

UNFINISHED = re.compile(r"\..+\.(\d+|writing)")  # `.writing`: checkpoints of an earlier edition
Content = str | bytes | Callable[[BufferedRandom], object]  # a callable writes into a file open for reading and writing


def write_atomic(path: Path, content: Content, previous: Path | None = None) -> None:
    """Write `content` to the file `path`.  If `previous` is given, an existing file `path` is renamed to it."""
    with _temporary_path(path) as temporary:
        with temporary.open("x+b") as file:
            if callable(content):
                content(file)
            else:
                file.write(content.encode(errors="backslashreplace") if isinstance(content, str) else content)
            file.flush()
            os.fsync(file.fileno())
        if previous is not None and path.exists():
            os.replace(path, previous)
        os.replace(temporary, path)
        _sync_folder(path.parent)


def copy_atomic(source: Path, to: Path) -> None:
    """Copy the file `source` to `to`."""
    with source.open("rb") as content:
        write_atomic(to, lambda file: shutil.copyfileobj(content, file))


@contextlib.contextmanager
def atomic_folder(to: Path) -> Iterator[Path]:
    """Yield a new folder to write into, which is renamed to `to` at the end; `to` must not exist or must be empty."""
    with _temporary_path(to) as temporary:
        temporary.mkdir(parents=True)
        yield temporary
        os.replace(temporary, to)
        _sync_folder(to.parent)


@contextlib.contextmanager
def _temporary_path(path: Path) -> Iterator[Path]:
    """Yield an unused path in the folder of `path`.  Whatever still has this name at exit is deleted."""
    # `secrets`, because the state of `random` belongs to the run
    temporary = path.with_name(f".{path.name}.{secrets.randbelow(10**8):08}")
    try:
        yield temporary
    finally:
        with contextlib.suppress(OSError):
            shutil.rmtree(temporary) if temporary.is_dir() else temporary.unlink(missing_ok=True)


def _sync_folder(folder: Path) -> None:
    """Sync `folder` to disk, if the system supports it."""
    with contextlib.suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
