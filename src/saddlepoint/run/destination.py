"""Checks that a command can write its output, made before anything is loaded, measured or trained."""

import os
from collections.abc import Collection
from pathlib import Path
from tempfile import NamedTemporaryFile

from saddlepoint.error import Mistake
from saddlepoint.run.folder import Run, unwritable_error


def check_output_file(
    to: str | Path, suffixes: Collection[str], kinds: str, key: str = "to", makes_folders: bool = True
) -> Path:
    """Return `to` as a Path.  Raises Mistake unless a file with one of these suffixes can be written there.

    kinds          describes the accepted files in the error message
    makes_folders  whether the command creates missing parent folders
    """
    path = _parse_path(to, key)
    if str(to).endswith(("/", os.sep)) or path.suffix.lower() not in suffixes:
        raise Mistake(f"{key}={to}: {kinds}")
    if os.path.isdir(path):
        raise Mistake(f"{key}={to} is a folder; name a file in it: {key}={path / f'name{path.suffix}'}")
    if not makes_folders and not os.path.isdir(path.absolute().parent):
        raise Mistake(f"{key}={to}: {kinds}, and {path.parent} is not a folder")
    _check_writable(path, path.parent, key)
    return path


def check_output_folder(to: str | Path, key: str = "to") -> Path:
    """Return `to` as a Path.  Raises Mistake unless it is a writable folder or can be created."""
    path = _parse_path(to, key)
    _check_writable(path, path, key)
    return path


def check_run_file(run: Run, file: str) -> None:
    """Raise Mistake if `file` cannot be written in the folder of a run."""
    try:
        if run.config.exists():  # if not, reading the config reports it
            _write_temporary_file(run.folder, file)
    except OSError as error:
        reason = error.strerror or error
        raise Mistake(
            f"{run.folder} cannot be written ({reason}), and the results are added to {file} in it. Copy the run to a "
            "folder of your own"
        ) from None


def _parse_path(to: str | Path, key: str) -> Path:
    if str(to) == "-":
        raise Mistake(f"{key}=-: this output cannot be written to stdout; name a file or a folder")
    return Path(to)


def _check_writable(path: Path, folder: Path, key: str) -> None:
    """Write a temporary file in the nearest existing folder at or above `folder`, and delete it."""
    try:
        folder = folder.absolute()
        while not os.path.lexists(folder) and folder != folder.parent:
            folder = folder.parent
        if not folder.is_dir():
            raise Mistake(f"{key}={path}: {folder} is a file, and it must be a folder")
        _write_temporary_file(folder, path.name)
    except OSError as error:
        raise unwritable_error(path, error, key=key) from None
    except ValueError as error:  # a null byte in the path
        raise Mistake(f"{key}={path!s}: {error}") from None


def _write_temporary_file(folder: Path, name: str) -> None:
    with NamedTemporaryFile(prefix=f".{name}.", dir=folder):
        pass
