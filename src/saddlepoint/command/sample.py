"""saddlepoint sample: draws from a run's generator into a grid, an npz or a folder of images."""

from __future__ import annotations

import io
import os
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch
from omegaconf import DictConfig
from PIL import Image
from rich.console import Console
from torch import Tensor

from saddlepoint.callback.grid import picture
from saddlepoint.command import destination, unread
from saddlepoint.command.build import config_of, device_of, game_of, put
from saddlepoint.command.terminal import speaker
from saddlepoint.error import Mistake
from saddlepoint.game.game import Game
from saddlepoint.pixel import to_uint8
from saddlepoint.record.run import Run, unwritable
from saddlepoint.stream import Stream

FORMS = "a picture.png, an array.npz or a folder/"


def command(config: DictConfig, rest: Sequence[str] = (), config_dir: str | None = None) -> int:
    """The console's door; `rest` overrides the run's own config."""
    unread.refuse("sample", rest)
    say = speaker(Console(stderr=True))
    to = Path(config.to)
    form = _form(str(config.to))
    run = Run(config.run)
    own = config_of(run, rest, say, config_dir)
    if form is _folder:
        _look_at_shape(tuple(own.data.shape))
    game = game_of(own)
    put(game, run, config.at, say)
    x = sample(game.to(device_of(own)), config.n, config.sample_seed, config.average)
    try:
        form(x, to)
    except OSError as error:
        raise unwritable(to, error) from None
    say(f"{config.n} samples of {run.folder}, {game.images:,} images: {to}")
    return 0


def sample(game: Game, n: int, seed: int = 0, average: bool = True, batch: int = 500) -> Tensor:
    """n samples on the CPU, uint8 [n, C, H, W] or points [n, D]; the same for the same seed, whatever the batch."""
    stream = Stream(seed, "sample", device=game.device)
    parts = [game.sample(min(batch, n - i), stream=stream, average=average).cpu() for i in range(0, n, batch)]
    x = torch.cat(parts)
    return to_uint8(x) if x.ndim == 4 else x


def _form(to: str) -> Callable[[Tensor, Path], None]:
    """How to write to a path of this name.  Raises Mistake for an ending that says nothing, and where it cannot be."""
    ending = Path(to).suffix.lower()
    if to.endswith(("/", os.sep)) or not ending:
        if destination.folder(to).exists() and any(Path(to).iterdir()):
            raise Mistake(f"{to} is not empty; name another folder, so that no samples of two runs lie together")
        return _folder
    forms = {".png": _png, ".npz": _npz}
    return forms[destination.file(to, forms, f"samples go to {FORMS}").suffix.lower()]


def _look_at_shape(shape: tuple[int, ...]) -> None:
    """Raises Mistake for samples that are no pictures in a folder."""
    if len(shape) != 3:
        raise Mistake("points are no pictures: write them to an array.npz")
    if shape[0] > 4:  # PNGs: grey or RGB, with or without alpha
        raise Mistake(f"images of {shape[0]} channels are no PNGs: write them to an array.npz")


def _png(x: Tensor, to: Path) -> None:
    columns = max(1, round(len(x) ** 0.5))
    content = io.BytesIO()
    picture(x, columns).save(content, "PNG")
    _write(to, content.getvalue())


def _npz(x: Tensor, to: Path) -> None:
    content = io.BytesIO()
    np.savez(content, arr_0=(x.permute(0, 2, 3, 1) if x.ndim == 4 else x).contiguous().numpy())
    _write(to, content.getvalue())


def _folder(x: Tensor, to: Path) -> None:
    to.mkdir(parents=True, exist_ok=True)
    digits = len(str(len(x) - 1))
    for i, image in enumerate(x):
        array = image[0].numpy() if len(image) == 1 else image.permute(1, 2, 0).numpy()
        Image.fromarray(array).save(to / f"{i:0{digits}d}.png")


def _write(to: Path, content: bytes) -> None:
    """The whole file or none."""
    to.parent.mkdir(parents=True, exist_ok=True)
    temporary = to.with_name(f".{to.name}.writing")
    temporary.write_bytes(content)
    os.replace(temporary, to)
