"""A generator as it was, without the rest of the run: snapshots/<images>.safetensors.

A snapshot holds what samples are drawn from, the averaged weights where the run keeps an average.  It cannot be trained
on from; it is there so that a score thought of later can be read over a whole run.
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
    """Where the snapshot after so many images lies."""
    return run.snapshots / f"{images:09d}.safetensors"


def save_snapshot(run: Run, images: int, weights: str, state: Mapping[str, Tensor]) -> Path:
    """Write the state of a generator after `images` images, whole or not at all; `weights`: "averaged" or "raw".

    Raises Mistake where it cannot be written.
    """
    about = {"format": FORMAT, "images": images, "weights": weights}
    plain = {name: value.detach().cpu().contiguous().clone() for name, value in state.items()}
    path = snapshot_path(run, images)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_file(path, safetensors.torch.save(plain, {"saddlepoint": json.dumps(about, sort_keys=True)}))
    return path


def load_snapshot(path: Path) -> tuple[dict[str, Tensor], int, str]:
    """The state, the images and whose weights they are.  Raises Mistake where the file is none of ours, or broken."""
    try:
        content = path.read_bytes()
        header = json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")])
        about = json.loads(header["__metadata__"]["saddlepoint"])
        state = safetensors.torch.load(content)
    except OSError as error:
        raise Mistake(f"{path} cannot be read: {error.strerror}") from None
    except (ValueError, KeyError, TypeError, RecursionError, SafetensorError) as error:
        raise Mistake(f"{path} is no snapshot of a run, or is broken ({error}); take it out of the folder") from None
    if not isinstance(about, dict):
        raise Mistake(f"{path} is no snapshot of a run: it does not say what it is; take it out of the folder")
    if about.get("format") != FORMAT:
        raise Mistake(f"{path} is a snapshot of format {about.get('format')}, this version reads {FORMAT}")
    return state, about["images"], about["weights"]


def snapshot_images(run: Run) -> list[int]:
    """The images of all snapshots of a run, ascending."""
    return list(files_by_images(run.snapshots, ".safetensors"))
