"""Samples of a run, in the files that the modality of its data has: png, npz, wav, txt."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import torch
from omegaconf import DictConfig
from torch import Tensor

from saddlepoint.error import Mistake
from saddlepoint.experiment.build import game_of, modality_of
from saddlepoint.experiment.devices import device_of
from saddlepoint.experiment.requested_conditions import Request, Requested, requested
from saddlepoint.experiment.restore import put
from saddlepoint.game.game import Game
from saddlepoint.modality import Modality, implied
from saddlepoint.modality.modality import FOLDER
from saddlepoint.run import destination
from saddlepoint.run.folder import Run, read_json, unwritable, write
from saddlepoint.stream import Stream
from saddlepoint.turn import UNCONDITIONAL, Condition


def write_samples(
    run: Run, config: DictConfig, request: Request, to: str | None, at: str | int, seed: int, average: bool,
    log: Callable[[str], None],
) -> None:  # fmt: skip
    """Draw what is requested of a run at the moment `at` and write it to `to`, which None leaves to the modality."""
    modality, shape = modality_of(config), tuple(config.data.shape)
    path, ending = _place(to or f"samples{_usual_ending(modality, shape, request.n)}", modality)
    modality.check_ending(ending, shape, request.n)
    game = game_of(config)
    put(game, run, at, log)
    columns = (read_json(run.folder / "provenance.json").get("data") or {}).get("columns") or {}
    asked = requested(game, request, modality, {**columns, "x": list(shape)}, log)
    game.to(device_of(config))
    x = sample(game, asked.n, seed, average, 500, modality, asked.condition, asked.columns)
    _write(x, path, ending, modality, asked)
    each = f" ({asked.columns} of each class, the same latents for each)" if asked.columns else ""
    log(f"{asked.n} samples of {run.folder}, {game.images:,} images{each}: {path}")
    if lost := modality.loss(ending):
        log(lost)


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


def _usual_ending(modality: Modality, shape: tuple[int, ...], n: int) -> str:
    """The first of the modality's endings that these can have: audio without a rate is no wav."""
    for ending in modality.endings:
        try:
            modality.check_ending(ending, shape, n)
        except Mistake:
            continue
        return ending
    return next(iter(modality.endings))


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


def _write(x: Tensor, to: Path, ending: str, modality: Modality, asked: Requested) -> None:
    """A file, whole or not at all, or a file per sample in a folder; classes that were asked for go into an npz."""
    try:
        (to if ending == FOLDER else to.parent).mkdir(parents=True, exist_ok=True)
        if ending != FOLDER:
            write(to, modality.encoded(x, ending, asked.columns, asked.labels))
            return
        for name, content in modality.members(x):
            (to / name).write_bytes(content)
    except OSError as error:
        raise unwritable(to, error) from None
