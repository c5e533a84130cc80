"""Files and folders that are there whole or not at all: written beside their place, synced to disk, then renamed.

The rename is atomic, so a reader, or a crash, finds the old content or the new one; the folder is synced after it, so
that it lasts.  Everything here raises OSError as the operating system does, and leaves nothing behind where it does;
what a crash leaves has a name of `UNFINISHED`.
"""

import contextlib
import os
import re
import secrets
import shutil
from collections.abc import Callable, Iterator
from io import BufferedRandom
from pathlib import Path

UNFINISHED = re.compile(r"\..+\.(\d+|writing)")  # `.writing`: of an earlier edition's checkpoints
Content = str | bytes | Callable[[BufferedRandom], object]  # the last writes it, into a file that is open for both


def write_atomic(path: Path, content: Content, previous: Path | None = None) -> None:
    """Put `content` in the place of the file `path`; what stood there becomes `former`, where that is given."""
    with _beside(path) as temporary:
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
        _sync(path.parent)


def copy_atomic(source: Path, to: Path) -> None:
    """Make the file `to` a copy of `source`."""
    with source.open("rb") as content:
        write_atomic(to, lambda file: shutil.copyfileobj(content, file))


@contextlib.contextmanager
def atomic_folder(to: Path) -> Iterator[Path]:
    """A new folder to write into, which becomes `to` at the end, where by then nothing is, or an empty folder."""
    with _beside(to) as temporary:
        temporary.mkdir(parents=True)
        yield temporary
        os.replace(temporary, to)
        _sync(to.parent)


@contextlib.contextmanager
def _beside(path: Path) -> Iterator[Path]:
    """A name beside `path` that nobody has, to be renamed to it; nothing bears it in the end, whatever is raised."""
    temporary = path.with_name(f".{path.name}.{secrets.randbelow(10**8):08}")  # not of `random`: its state is a run's
    try:
        yield temporary
    finally:
        with contextlib.suppress(OSError):
            shutil.rmtree(temporary) if temporary.is_dir() else temporary.unlink(missing_ok=True)


def _sync(folder: Path) -> None:
    """Make a rename in `folder` last, where the system can."""
    with contextlib.suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
