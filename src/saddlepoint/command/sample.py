"""saddlepoint sample: draws from a run's generator into the files of the data's modality: png, npz, wav, txt."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import torch
from omegaconf import DictConfig
from rich.console import Console
from torch import Tensor

from saddlepoint.command import destination, unread
from saddlepoint.command.build import config_of, device_of, game_of, modality_of, put
from saddlepoint.command.terminal import speaker
from saddlepoint.error import Mistake
from saddlepoint.game.game import Game
from saddlepoint.modality import Modality, implied
from saddlepoint.modality.modality import FOLDER
from saddlepoint.record.run import Run, unwritable
from saddlepoint.stream import Stream


def command(config: DictConfig, rest: Sequence[str] = (), config_dir: str | None = None) -> int:
    """The console's door; `rest` overrides the run's own config."""
    unread.refuse("sample", rest)
    say = speaker(Console(stderr=True))
    run = Run(config.run)
    own = config_of(run, rest, say, config_dir)
    modality = modality_of(own)
    to, ending = _place(config.to, modality)
    modality.check_ending(ending, tuple(own.data.shape), config.n)
    game = game_of(own)
    put(game, run, config.at, say)
    x = sample(game.to(device_of(own)), config.n, config.sample_seed, config.average, modality=modality)
    try:
        _write(x, to, ending, modality)
    except OSError as error:
        raise unwritable(to, error) from None
    say(f"{config.n} samples of {run.folder}, {game.images:,} images: {to}")
    if lost := modality.loss(ending):
        say(lost)
    return 0


def sample(
    game: Game, n: int, seed: int = 0, average: bool = True, batch: int = 500, modality: Modality | None = None
) -> Tensor:
    """n samples on the CPU, in the stored form; the same for the same seed, whatever the batch.

    `modality` None: the one that their shape implies.
    """
    stream = Stream(seed, "sample", device=game.device)
    parts = []
    for i in range(0, n, batch):
        x = game.sample(min(batch, n - i), stream=stream, average=average).cpu()
        modality = modality or implied(x.shape[1:])
        parts.append(modality.stored(x))
    return torch.cat(parts)


def _place(to: str | None, modality: Modality) -> tuple[Path, str]:
    """Where samples go, and the ending that says how; None: samples with the modality's first ending.

    Raises Mistake for an ending that the modality does not have, and where it cannot be written.
    """
    to = to or f"samples{next(iter(modality.endings))}"
    ending = Path(to).suffix.lower()
    if to.endswith(("/", os.sep)) or not ending:
        if destination.folder(to).exists() and any(Path(to).iterdir()):
            raise Mistake(f"{to} is not empty; name another folder, so that no samples of two runs lie together")
        return Path(to), FOLDER
    destination.file(to, modality.endings, modality.destinations())
    return Path(to), ending


def _write(x: Tensor, to: Path, ending: str, modality: Modality) -> None:
    """A file, whole or not at all, or a file per sample in a folder."""
    if ending != FOLDER:
        content = modality.encoded(x, ending)
        to.parent.mkdir(parents=True, exist_ok=True)
        temporary = to.with_name(f".{to.name}.writing")
        temporary.write_bytes(content)
        os.replace(temporary, to)
        return
    to.mkdir(parents=True, exist_ok=True)
    for name, content in modality.members(x):
        (to / name).write_bytes(content)
