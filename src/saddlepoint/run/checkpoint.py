"""Checkpoints that survive a crash: written whole or not at all (`atomic`), with a seal that tells a later change.

The folder holds `last.ckpt`, the `previous.ckpt` that is fallen back to where last is broken, and `best.ckpt`.
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
    """Lightning's door to the file system, with the promise above."""

    def save_checkpoint(self, checkpoint: dict[str, Any], path: Any, storage_options: Any | None = None) -> None:
        """Write `checkpoint` to `path`, whole or not at all; a last.ckpt that stands there becomes previous.ckpt.

        Raises Mistake where the disk is full or the folder cannot be written; the older checkpoints stay.
        """
        path = Path(path)
        save_torch_file(checkpoint, path, path.with_name("previous.ckpt") if path.name == "last.ckpt" else None)

    def load_checkpoint(
        self,
        path: Any,
        map_location: Callable[..., Any] | None = lambda storage, location: storage,
        weights_only: bool | None = True,
    ) -> dict[str, Any]:
        """The checkpoint at `path`: tensors and plain values only, never pickled objects."""
        return load_checkpoint(Path(path), map_location)


def save_torch_file(content: dict[str, Any], path: Path, previous: Path | None = None) -> None:
    """Write tensors and plain values to `path`, sealed, whole or not at all; what stood there becomes `forerunner`.

    Raises Mistake where it cannot be written, which says what that would have taken and what is free.
    """

    def sealed(file: BufferedRandom) -> None:
        torch.save(content, file)
        append_checksum(file)

    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        atomic.write_atomic(path, sealed, previous)
    except (OSError, RuntimeError) as error:  # torch may report a full disk as a RuntimeError of its zip writer
        raise _unwritten(content, path, error) from None


def load_torch_file(path: Path, map_location: Any = "cpu") -> dict[str, Any]:
    """What `write` wrote.  Raises Mistake where a bit of it has changed, or it is somebody else's and no plain one."""
    try:
        archive.check_stored_zip(path)
        verify_checksum(path)
        return torch.load(path, map_location=map_location, weights_only=True)
    except (FileNotFoundError, PermissionError) as error:
        raise Mistake(f"cannot read {path}: {error.strerror}") from None
    except Exception as error:  # zip, unpickling and end-of-file errors come in many classes
        why = (str(error) or type(error).__name__).splitlines()[0][:120]
        raise Mistake(f"{path} is no readable checkpoint ({why})") from None


def load_checkpoint(path: Path, map_location: Any = "cpu") -> dict[str, Any]:
    """A checkpoint of ours.  Raises Mistake where the file is truncated, corrupt or somebody else's."""
    checkpoint = load_torch_file(path, map_location)
    if not isinstance(checkpoint, dict) or "saddlepoint" not in checkpoint:
        raise Mistake(f"{path} is a checkpoint, but not one of Saddlepoint's; nothing was loaded from it")
    return checkpoint


def copy_checkpoint(path: Path, to: Path) -> None:
    """Make `to` a copy of the checkpoint at `path`, whole or not at all.  Raises Mistake where it cannot be written."""
    try:
        to.parent.mkdir(parents=True, exist_ok=True)
        atomic.copy_atomic(path, to)
    except OSError as error:
        raise unwritable_error(to, error, path.stat().st_size) from None


def load_newest_checkpoint(folder: Path, log: Callable[[str], None]) -> tuple[Path, dict[str, Any]] | None:
    """last.ckpt, or previous.ckpt with a word where last is broken; None where there is neither.

    Raises Mistake where files are there but none can be read.
    """
    broken = []
    for path in (folder / "last.ckpt", folder / "previous.ckpt"):
        if not path.exists():
            continue
        try:
            checkpoint = load_checkpoint(path)
        except Mistake as mistake:
            broken.append(str(mistake))
            continue
        for complaint in broken:
            log(f"{complaint}; going on from {path.name}, {checkpoint['saddlepoint']['images']:,} images")
        if not broken and path.name == "previous.ckpt":
            log(f"{folder / 'last.ckpt'} is not there; going on from previous.ckpt")
        return path, checkpoint
    if broken:
        raise Mistake(
            f"{'; '.join(broken)}. Nothing to go on from: overwrite=true starts again, keeping the old folder"
        )
    return None


def rename_broken_checkpoint(found: Path, log: Callable[[str], None]) -> None:
    """Where a run goes on from previous.ckpt, rename a last.ckpt that could not be read.

    The next save would make it previous, in the place of the only good one.
    """
    last = found.with_name("last.ckpt")
    if found.name == "previous.ckpt" and last.exists():
        os.replace(last, last.with_name("broken.ckpt"))
        log(f"{last} is kept as broken.ckpt")


def _unwritten(content: dict[str, Any], path: Path, error: OSError | RuntimeError) -> Mistake:
    needed = _size(content)
    number = error.errno if isinstance(error, OSError) else None
    if isinstance(error, RuntimeError) and (free := free_bytes(path.parent)) is not None and needed > free:
        number = errno.ENOSPC
    why = os.strerror(number) if number else str(error).splitlines()[0]
    full = number in DISK_FULL
    return Mistake(
        f"cannot write the checkpoint {path}: {why}{format_free_space(path.parent, needed) if full else ''}. "
        f"{'Free some space' if full else 'Look at the disk'} and give the same command again: "
        "it goes on from the last good checkpoint"
    )


def _size(content: dict[str, Any]) -> int:
    """How many bytes torch.save makes of `content`, in memory; 0 where it can make none."""
    file = io.BytesIO()
    with contextlib.suppress(Exception):
        torch.save(content, file)
    return file.tell()
