"""Snapshots of the generator during a run: snapshots/<images>.safetensors.

A snapshot holds the weights that samples are drawn from: the averaged weights if the run keeps an average, else the raw
ones.  Training cannot resume from it.  It allows new scores to be computed later over the whole course of a run.
"""

import json
from collections.abc import Mapping
from pathlib import Path

import safetensors.torch
from safetensors import SafetensorError
from torch import Tensor

from saddlepoint.error import Mistake
from saddlepoint.run.folder import Run, write_file
from saddlepoint.run.layout import files_by_images

FORMAT = 1


def snapshot_path(run: Run, images: int) -> Path:
    """Return the path of the snapshot after `images` images."""
    return run.snapshots / f"{images:09d}.safetensors"


def save_snapshot(run: Run, images: int, weights: str, state: Mapping[str, Tensor]) -> Path:
    """Write the state of a generator after `images` images atomically; `weights` is "averaged" or "raw".

    Raises Mistake if it cannot be written.
    """
    metadata = {"format": FORMAT, "images": images, "weights": weights}
    plain = {name: value.detach().cpu().contiguous().clone() for name, value in state.items()}
    path = snapshot_path(run, images)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_file(path, safetensors.torch.save(plain, {"saddlepoint": json.dumps(metadata, sort_keys=True)}))
    return path


def load_snapshot(path: Path) -> tuple[dict[str, Tensor], int, str]:
    """Load a snapshot: (state, images, weights).  Raises Mistake if the file is damaged or not a snapshot."""
    try:
        content = path.read_bytes()
        header = json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")])
        metadata = json.loads(header["__metadata__"]["saddlepoint"])
        state = safetensors.torch.load(content)
    except OSError as error:
        raise Mistake(f"{path} cannot be read: {error.strerror}") from None
    except (ValueError, KeyError, TypeError, RecursionError, SafetensorError) as error:
        raise Mistake(f"{path} is not a snapshot or is damaged ({error}); move it out of the folder") from None
    if not isinstance(metadata, dict):
        raise Mistake(f"{path} is not a snapshot: its metadata are missing; move it out of the folder")
    if metadata.get("format") != FORMAT:
        raise Mistake(f"{path} is a snapshot of format {metadata.get('format')}; this version reads format {FORMAT}")
    return state, metadata["images"], metadata["weights"]


def snapshot_image_counts(run: Run) -> list[int]:
    """Return the numbers of training images at which a run saved snapshots, in ascending order."""
    return list(files_by_images(run.snapshots, ".safetensors"))
