"""Crash-safe checkpoints: written atomically (`storage/atomic.py`), with a checksum that detects later damage.

The folder holds `last.ckpt`, `previous.ckpt` as a fallback in case last.ckpt is damaged, and `best.ckpt`.
"""

import contextlib
import errno
import io
import os
from collections.abc import Callable
from io import BufferedRandom
from pathlib import Path
from typing import Any

import torch
from pytorch_lightning.plugins.io import TorchCheckpointIO

from saddlepoint.error import Mistake
from saddlepoint.run.folder import DISK_FULL, format_free_space, free_bytes, unwritable_error
from saddlepoint.run.storage import archive, atomic
from saddlepoint.run.storage.checksum import append_checksum, verify_checksum


class AtomicCheckpointIO(TorchCheckpointIO):
    """Lightning's checkpoint plugin, with atomic writes and checksums."""

    def save_checkpoint(self, checkpoint: dict[str, Any], path: Any, storage_options: Any | None = None) -> None:
        """Write `checkpoint` to `path` atomically.  An existing last.ckpt is renamed to previous.ckpt.

        Raises Mistake if the disk is full or the folder cannot be written; older checkpoints are then kept.
        """
        path = Path(path)
        save_torch_file(checkpoint, path, path.with_name("previous.ckpt") if path.name == "last.ckpt" else None)

    def load_checkpoint(
        self,
        path: Any,
        map_location: Callable[..., Any] | None = lambda storage, location: storage,
        weights_only: bool | None = True,
    ) -> dict[str, Any]:
        """Load the checkpoint at `path`: tensors and plain values only, never pickled objects."""
        return load_checkpoint(Path(path), map_location)


def save_torch_file(content: dict[str, Any], path: Path, previous: Path | None = None) -> None:
    """Write tensors and plain values to `path` atomically, with a checksum.

    If `previous` is given, an existing file `path` is renamed to it.  Raises Mistake if the file cannot be written; if
    the disk is full, the error gives the size of the file and the free space.
    """

    def write(file: BufferedRandom) -> None:
        torch.save(content, file)
        append_checksum(file)

    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        atomic.write_atomic(path, write, previous)
    except (OSError, RuntimeError) as error:  # torch may report a full disk as a RuntimeError of its zip writer
        raise _checkpoint_write_error(content, path, error) from None


def load_torch_file(path: Path, map_location: Any = "cpu") -> dict[str, Any]:
    """Load a file of `save_torch_file`.

    Raises Mistake if the file is damaged, or if it is another file with more than tensors and plain values.
    """
    try:
        archive.check_stored_zip(path)
        verify_checksum(path)
        return torch.load(path, map_location=map_location, weights_only=True)
    except (FileNotFoundError, PermissionError) as error:
        raise Mistake(f"cannot read {path}: {error.strerror}") from None
    except Exception as error:  # errors of zip, unpickling and end of file have many classes
        reason = (str(error) or type(error).__name__).splitlines()[0][:120]
        raise Mistake(f"{path} is not a readable checkpoint ({reason})") from None


def load_checkpoint(path: Path, map_location: Any = "cpu") -> dict[str, Any]:
    """Load a checkpoint of Saddlepoint.  Raises Mistake if the file is truncated, damaged or of another program."""
    checkpoint = load_torch_file(path, map_location)
    if not isinstance(checkpoint, dict) or "saddlepoint" not in checkpoint:
        raise Mistake(f"{path} is a checkpoint, but was not written by Saddlepoint; nothing was loaded from it")
    return checkpoint


def copy_checkpoint(path: Path, to: Path) -> None:
    """Copy the checkpoint at `path` to `to` atomically.  Raises Mistake if `to` cannot be written."""
    try:
        to.parent.mkdir(parents=True, exist_ok=True)
        atomic.copy_atomic(path, to)
    except OSError as error:
        raise unwritable_error(to, error, path.stat().st_size) from None


def load_newest_checkpoint(folder: Path, log: Callable[[str], None]) -> tuple[Path, dict[str, Any]] | None:
    """Load last.ckpt of `folder`, or previous.ckpt with a warning if last.ckpt is damaged or missing.

    Returns (path, checkpoint); None if neither file exists.  Raises Mistake if files exist but none can be read.
    """
    errors = []
    for path in (folder / "last.ckpt", folder / "previous.ckpt"):
        if not path.exists():
            continue
        try:
            checkpoint = load_checkpoint(path)
        except Mistake as mistake:
            errors.append(str(mistake))
            continue
        for message in errors:
            log(f"{message}; resuming from {path.name}, {checkpoint['saddlepoint']['images']:,} images")
        if not errors and path.name == "previous.ckpt":
            log(f"{folder / 'last.ckpt'} is missing; resuming from previous.ckpt")
        return path, checkpoint
    if errors:
        raise Mistake(
            f"{'; '.join(errors)}. No checkpoint can be resumed: overwrite=true starts again and keeps the old folder"
        )
    return None


def rename_broken_checkpoint(resumed_from: Path, log: Callable[[str], None]) -> None:
    """If a run resumes from previous.ckpt, rename its damaged last.ckpt to broken.ckpt.

    Otherwise the next save would rename last.ckpt to previous.ckpt and overwrite the only good checkpoint.
    """
    last = resumed_from.with_name("last.ckpt")
    if resumed_from.name == "previous.ckpt" and last.exists():
        os.replace(last, last.with_name("broken.ckpt"))
        log(f"{last} is kept as broken.ckpt")


def _checkpoint_write_error(content: dict[str, Any], path: Path, error: OSError | RuntimeError) -> Mistake:
    needed = _torch_file_size(content)
    number = error.errno if isinstance(error, OSError) else None
    if isinstance(error, RuntimeError) and (free := free_bytes(path.parent)) is not None and needed > free:
        number = errno.ENOSPC
    reason = os.strerror(number) if number else str(error).splitlines()[0]
    is_full = number in DISK_FULL
    return Mistake(
        f"cannot write the checkpoint {path}: {reason}{format_free_space(path.parent, needed) if is_full else ''}. "
        f"{'Free some space' if is_full else 'Check the disk'} and run the same command again: "
        "it resumes from the last good checkpoint"
    )


def _torch_file_size(content: dict[str, Any]) -> int:
    """Return the number of bytes of `content` in torch.save's format; 0 if it cannot be serialised."""
    file = io.BytesIO()
    with contextlib.suppress(Exception):
        torch.save(content, file)
    return file.tell()
