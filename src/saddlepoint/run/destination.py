"""Where a command is to write: what cannot be is refused before anything is loaded, measured or trained."""

import os
from collections.abc import Collection
from pathlib import Path
from tempfile import NamedTemporaryFile

from saddlepoint.error import Mistake
from saddlepoint.run.folder import Run, unwritable_error


def check_output_file(
    to: str | Path, endings: Collection[str], kinds: str, key: str = "to", makes_folders: bool = True
) -> Path:
    """`to`.  Raises Mistake unless a file of one of these endings can be written there; `kinds` says them to people.

    Folders on the way need not be there where the command makes them.
    """
    path = _named(to, key)
    if str(to).endswith(("/", os.sep)) or path.suffix.lower() not in endings:
        raise Mistake(f"{key}={to}: {kinds}")
    if os.path.isdir(path):
        raise Mistake(
            f"{key}={to}: a folder lies there, and a file is to be written: {key}={path / f'name{path.suffix}'}"
        )
    if not makes_folders and not os.path.isdir(path.absolute().parent):
        raise Mistake(f"{key}={to}: {kinds}, and {path.parent} is none")
    _try(path, path.parent, key)
    return path


def check_output_folder(to: str | Path, key: str = "to") -> Path:
    """`to`.  Raises Mistake unless it is a folder that can be written in, or can be made."""
    path = _named(to, key)
    _try(path, path, key)
    return path


def check_run_file(run: Run, file: str) -> None:
    """Raises Mistake where a run's `file` could not be written."""
    try:
        if run.config.exists():  # else what is missing is told by who reads it
            _probe(run.folder, file)
    except OSError as error:
        why = error.strerror or error
        raise Mistake(
            f"{run.folder}: nothing can be written there ({why}), and {file} is to get what is measured. Copy the run "
            "to a place of your own"
        ) from None


def _named(to: str | Path, key: str) -> Path:
    if str(to) == "-":
        raise Mistake(f"{key}=-: what is written here does not fit stdout; name a file or a folder")
    return Path(to)


def _try(path: Path, place: Path, key: str) -> None:
    """Write in the nearest folder that is there, `place` or above it, and take what was written away again."""
    try:
        place = place.absolute()
        while not os.path.lexists(place) and place != place.parent:
            place = place.parent
        if not place.is_dir():
            raise Mistake(f"{key}={path}: {place} is a file, and a folder is needed there")
        _probe(place, path.name)
    except OSError as error:
        raise unwritable_error(path, error, key=key) from None
    except ValueError as error:  # a null byte
        raise Mistake(f"{key}={path!s}: {error}") from None


def _probe(place: Path, name: str) -> None:
    with NamedTemporaryFile(prefix=f".{name}.", dir=place):
        pass
