"""When a callback is due, counted in images; how it tells the loggers; the end of a run, and what callbacks share."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import pytorch_lightning as pl

from saddlepoint.evaluation.contract import Score
from saddlepoint.game.game import Game
from saddlepoint.turn import Batch


@dataclass
class RunState:
    """What callbacks share, in the place of their looking for one another; for each that names `state`.

    target    images at which the run ends; None: nobody knows
    scores    the newest scores, by key; written by `evaluation`
    best_at   images at which the selecting score was best; -1: not yet
    reason    why the run is to stop before its target; written by whoever stops it
    paused    the signal that asks for the end, known to all ranks: the run goes on another time
    """

    target: int | None = None
    scores: Mapping[str, Score] = field(default_factory=dict)
    best_at: int = -1
    stop_reason: str | None = None
    stop_signal: int = 0


def check_images_between(images_between: int) -> int:
    """Itself.  Raises ValueError where it is no whole number of at least 1."""
    if not isinstance(images_between, int) or images_between < 1:
        raise ValueError(f"images_between={images_between} must be a whole number of at least 1")
    return images_between


def is_due(game: Game, batch: Batch, images_between: int) -> bool:
    """Whether the round just played reached or passed a multiple of `images_between`."""
    before = game.images - len(batch) * game.trainer.world_size
    return game.images // images_between > before // images_between


def is_final_round(trainer: pl.Trainer, state: RunState) -> bool:
    """Whether the round just played was the run's last, and not only the last before a pause."""
    return trainer.should_stop and not state.stop_signal


def log_metrics(trainer: pl.Trainer, game: Game, row: Mapping[str, Any]) -> None:
    """Give `row` to every logger, at the images and rounds played."""
    for logger in trainer.loggers:
        logger.log_metrics({"rounds": game.rounds, **row}, step=game.images)


class Periodic(pl.Callback):
    """Acts every `images_between` images; at 0 images and at the end of the run too, unless a subclass takes that away.

    Raises ValueError where `images_between` is no whole number of at least 1.
    """

    at_start = at_end = True

    def __init__(self, images_between: int, state: RunState | None = None) -> None:
        self.images_between, self.state = check_images_between(images_between), state or RunState()

    def on_due(self, trainer: pl.Trainer, game: Game) -> None:
        """What is done at each of these moments, on every rank."""
        raise NotImplementedError

    def on_train_start(self, trainer: pl.Trainer, game: Game) -> None:
        if self.at_start and game.images == 0:
            self.on_due(trainer, game)

    def on_train_batch_end(self, trainer: pl.Trainer, game: Game, outputs: Any, batch: Any, batch_idx: int) -> None:
        if is_due(game, batch, self.images_between) or (self.at_end and is_final_round(trainer, self.state)):
            self.on_due(trainer, game)


class StopAtImages(pl.Callback):
    """images >= target: no round follows.  Lightning's own limits count optimizer steps and are not used."""

    def __init__(self, state: RunState) -> None:
        self.state = state

    def on_train_batch_end(self, trainer: pl.Trainer, game: Game, outputs: Any, batch: Any, batch_idx: int) -> None:
        if self.state.target is not None and game.images >= self.state.target:
            trainer.should_stop = True
