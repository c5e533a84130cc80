"""saddlepoint sample: draws from a run's generator into the files of the data's modality: png, npz, wav, txt."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from omegaconf import DictConfig
from rich.console import Console
from torch import Tensor

from saddlepoint.cli import unread
from saddlepoint.console.terminal import speaker
from saddlepoint.error import Mistake
from saddlepoint.experiment.build import config_of, device_of, game_of, modality_of, put
from saddlepoint.experiment.requested_conditions import Asked, asked
from saddlepoint.game.game import Game
from saddlepoint.modality import Modality, implied
from saddlepoint.modality.modality import FOLDER
from saddlepoint.run import destination
from saddlepoint.run.folder import Run, read_json, unwritable
from saddlepoint.stream import Stream
from saddlepoint.turn import UNCONDITIONAL, Condition


def command(config: DictConfig, rest: Sequence[str] = (), config_dir: str | None = None) -> int:
    """The console's door; `rest` overrides the run's own config."""
    unread.refuse("sample", rest)
    say = speaker(Console(stderr=True))
    run = Run(config.run)
    own = config_of(run, rest, say, config_dir)
    modality = modality_of(own)
    to, ending = _place(config.to or _default(modality, tuple(own.data.shape), config.n), modality)
    modality.check_ending(ending, tuple(own.data.shape), config.n)
    game = game_of(own)
    put(game, run, config.at, say)
    wanted = asked(game, config, modality, _shapes(run, own), say)
    x = sample(
        game.to(device_of(own)), wanted.n, config.sample_seed, config.average, 500, modality, wanted.condition,
        wanted.columns,
    )  # fmt: skip
    try:
        _write(x, to, ending, modality, wanted)
    except OSError as error:
        raise unwritable(to, error) from None
    each = f" ({wanted.columns} of each class, the same latents for each)" if wanted.columns else ""
    say(f"{wanted.n} samples of {run.folder}, {game.images:,} images{each}: {to}")
    if lost := modality.loss(ending):
        say(lost)
    return 0


def sample(
    game: Game,
    n: int,
    seed: int = 0,
    average: bool = True,
    batch: int = 500,
    modality: Modality | None = None,
    condition: Condition = UNCONDITIONAL,
    period: int | None = None,
) -> Tensor:
    """n samples on the CPU, in the stored form; the same for the same seed, whatever the batch.

    modality   None: the one that their shape implies
    condition  what they are asked for under, n rows each; what it leaves out comes as game.conditions has it
    period     after so many samples the latents begin anew; None: never
    """
    stream, parts = Stream(seed, "sample", device=game.device), []
    for start in range(0, n, period or n):
        end = min(n, start + (period or n))
        stream = Stream(seed, "sample", device=game.device) if period else stream
        for i in range(start, end, batch):
            rows = slice(i, min(end, i + batch))
            own = {name: entry[rows].to(game.device) for name, entry in condition.items()}
            x = game.sample(rows.stop - rows.start, own, stream, average).cpu()
            modality = modality or implied(x.shape[1:])
            parts.append(modality.stored(x))
    return torch.cat(parts)


def _shapes(run: Run, config: DictConfig) -> dict[str, Any]:
    """The shape of one sample of x and of each further column of the data that the run was trained on."""
    known = read_json(run.folder / "provenance.json").get("data") or {}
    return {**(known.get("columns") or {}), "x": list(config.data.shape)}


def _default(modality: Modality, shape: tuple[int, ...], n: int) -> str:
    """samples with the first of the modality's endings that these can have: audio without a rate is no wav."""
    for ending in modality.endings:
        try:
            modality.check_ending(ending, shape, n)
        except Mistake:
            continue
        return f"samples{ending}"
    return f"samples{next(iter(modality.endings))}"


def _place(to: str, modality: Modality) -> tuple[Path, str]:
    """Where samples go, and the ending that says how.

    Raises Mistake for an ending that the modality does not have, and where it cannot be written.
    """
    ending = Path(to).suffix.lower()
    if to.endswith(("/", os.sep)) or not ending:
        if destination.folder(to).exists() and any(Path(to).iterdir()):
            raise Mistake(f"{to} is not empty; name another folder, so that no samples of two runs lie together")
        return Path(to), FOLDER
    destination.file(to, modality.endings, modality.destinations())
    return Path(to), ending


def _write(x: Tensor, to: Path, ending: str, modality: Modality, wanted: Asked) -> None:
    """A file, whole or not at all, or a file per sample in a folder; classes that were asked for go into an npz."""
    if ending != FOLDER:
        content = modality.encoded(x, ending, wanted.columns, wanted.labels)
        to.parent.mkdir(parents=True, exist_ok=True)
        temporary = to.with_name(f".{to.name}.writing")
        temporary.write_bytes(content)
        os.replace(temporary, to)
        return
    to.mkdir(parents=True, exist_ok=True)
    for name, content in modality.members(x):
        (to / name).write_bytes(content)
