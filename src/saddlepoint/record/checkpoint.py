"""Checkpoints that survive a crash: a temporary file in the same folder, fsync, rename, fsync of the folder.

The rename is atomic, so a reader finds the old file or the new one; the folder holds `last.ckpt`, the `previous.ckpt`
that is fallen back to where last is broken, and `best.ckpt`.
"""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from pytorch_lightning.plugins.io import CheckpointIO

from saddlepoint.error import Mistake


class AtomicCheckpointIO(CheckpointIO):
    """Lightning's door to the file system, with the promise above."""

    def save_checkpoint(self, checkpoint: dict[str, Any], path: Any, storage_options: Any | None = None) -> None:
        """Write `checkpoint` to `path`, whole or not at all; a last.ckpt that stands there becomes previous.ckpt.

        Raises Mistake where the disk is full or the folder cannot be written; the older checkpoints stay.
        """
        path = Path(path)
        temporary = path.with_name(f".{path.name}.writing")
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with temporary.open("wb") as file:
                torch.save(checkpoint, file)
                file.flush()
                os.fsync(file.fileno())
            if path.name == "last.ckpt" and path.exists():
                os.replace(path, path.with_name("previous.ckpt"))
            os.replace(temporary, path)
            _sync_folder(path.parent)
        except (OSError, RuntimeError) as error:  # torch reports a full disk as a RuntimeError of its zip writer
            with contextlib.suppress(OSError):
                temporary.unlink()
            why = os.strerror(error.errno) if isinstance(error, OSError) and error.errno else str(error).splitlines()[0]
            full = isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT)
            remedy = "Free some space" if full else "Look at the disk"
            raise Mistake(
                f"cannot write the checkpoint {path}: {why}. {remedy} and give the same command again: "
                "it goes on from the last good checkpoint"
            ) from None

    def load_checkpoint(
        self,
        path: Any,
        map_location: Callable[..., Any] | None = lambda storage, location: storage,
        weights_only: bool | None = True,
    ) -> dict[str, Any]:
        """The checkpoint at `path`: tensors and plain values only, never pickled objects."""
        return load(Path(path), map_location)

    def remove_checkpoint(self, path: Any) -> None:
        Path(path).unlink(missing_ok=True)


def load(path: Path, map_location: Any = "cpu") -> dict[str, Any]:
    """A checkpoint of ours.  Raises Mistake where the file is truncated, corrupt or somebody else's."""
    try:
        checkpoint = torch.load(path, map_location=map_location, weights_only=True)
    except (FileNotFoundError, PermissionError) as error:
        raise Mistake(f"cannot read {path}: {error.strerror}") from None
    except Exception as error:  # zip, unpickling and end-of-file errors come in many classes
        why = (str(error) or type(error).__name__).splitlines()[0][:120]
        raise Mistake(f"{path} is no readable checkpoint ({why})") from None
    if not isinstance(checkpoint, dict) or "saddlepoint" not in checkpoint:
        raise Mistake(f"{path} is a checkpoint, but not one of Saddlepoint's; nothing was loaded from it")
    return checkpoint


def duplicate(path: Path, to: Path) -> None:
    """Make `to` a copy of the checkpoint at `path`, whole or not at all."""
    temporary = to.with_name(f".{to.name}.writing")
    shutil.copyfile(path, temporary)
    os.replace(temporary, to)


def newest(folder: Path, say: Callable[[str], None]) -> tuple[Path, dict[str, Any]] | None:
    """last.ckpt, or previous.ckpt with a word where last is broken; None where there is neither.

    Raises Mistake where files are there but none can be read.
    """
    broken = []
    for path in (folder / "last.ckpt", folder / "previous.ckpt"):
        if not path.exists():
            continue
        try:
            checkpoint = load(path)
        except Mistake as mistake:
            broken.append(str(mistake))
            continue
        for complaint in broken:
            say(f"{complaint}; going on from {path.name}, {checkpoint['saddlepoint']['images']:,} images")
        if not broken and path.name == "previous.ckpt":
            say(f"{folder / 'last.ckpt'} is not there; going on from previous.ckpt")
        return path, checkpoint
    if broken:
        raise Mistake(
            f"{'; '.join(broken)}. Nothing to go on from: overwrite=true starts again, keeping the old folder"
        )
    return None


def _sync_folder(folder: Path) -> None:
    """Make a rename in `folder` durable, where the system can."""
    try:
        descriptor = os.open(folder, os.O_RDONLY)
    except OSError:
        return
    with contextlib.suppress(OSError):
        os.fsync(descriptor)
    os.close(descriptor)
