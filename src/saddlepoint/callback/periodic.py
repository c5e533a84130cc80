"""Callbacks that act every so many images, the end of a run, and the state that callbacks share."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import pytorch_lightning as pl

from saddlepoint.evaluation.contract import Score
from saddlepoint.game.game import Game
from saddlepoint.game.game_module import GameModule


@dataclass
class RunState:
    """State shared by the callbacks of a run; passed to each that has a `state` parameter.

    target       images at which the run ends; None: unknown
    scores       the latest scores by name; set by `evaluation`, as is `measured_at`, their images
    best_at      images at which the selection score was best; -1: not yet
    stop_reason  why the run stops before its target; set by the callback that stops it
    stop_signal  the signal that ends this process, the same on all ranks; the run can be resumed. 0: none
    """

    target: int | None = None
    scores: Mapping[str, Score] = field(default_factory=dict)
    measured_at: int = 0
    best_at: int = -1
    stop_reason: str | None = None
    stop_signal: int = 0


def check_images_between(images_between: int) -> int:
    """Return `images_between`. Raises ValueError unless it is an integer of at least 1."""
    if not isinstance(images_between, int) or images_between < 1:
        raise ValueError(f"images_between={images_between} must be an integer of at least 1")
    return images_between


def is_due(game: Game, images_between: int) -> bool:
    """Whether the last round reached or passed a multiple of `images_between`.

    A block of rounds ends at the multiples of every callback's `images_between`, and nowhere passes one.
    """
    return game.images // images_between > game.images_before_block // images_between


def is_final_round(trainer: pl.Trainer, state: RunState) -> bool:
    """Whether the last round was the last of the run, not only the last before a signal ended the process."""
    return trainer.should_stop and not state.stop_signal


def log_metrics(trainer: pl.Trainer, game: Game, metrics: Mapping[str, Any]) -> None:
    """Log `metrics` with every logger, with the number of rounds, at the number of images."""
    for logger in trainer.loggers:
        logger.log_metrics({"rounds": game.rounds, **metrics}, step=game.images)


class Periodic(pl.Callback):
    """Calls `on_due` every `images_between` images; unless a subclass disables it, also at 0 images and at the end.

    Raises ValueError unless `images_between` is an integer of at least 1.
    """

    at_start = at_end = True

    def __init__(self, images_between: int, state: RunState | None = None) -> None:
        self.images_between, self.state = check_images_between(images_between), state or RunState()

    def on_due(self, trainer: pl.Trainer, game: Game) -> None:
        """Act. Called on every rank."""
        raise NotImplementedError

    def on_train_start(self, trainer: pl.Trainer, game: Game) -> None:
        if self.at_start and game.images == 0:
            self.on_due(trainer, game)

    def on_train_batch_end(self, trainer: pl.Trainer, game: Game, outputs: Any, batch: Any, batch_idx: int) -> None:
        if is_due(game, self.images_between) or (self.at_end and is_final_round(trainer, self.state)):
            self.on_due(trainer, game)


class Blocks(pl.Callback):
    """Sets the rounds per step of Lightning, at most `rounds`, and the images at which a block of rounds ends.

    A block ends at every multiple of `images_between` of each callback that acts before or after Lightning's batches.
    Without this attribute such a callback may act in every round: blocks then have one round, and `log` gets a line.
    """

    def __init__(self, rounds: int = 1, log: Callable[[str], None] = print) -> None:
        self.rounds, self.print_line = rounds, log

    def setup(self, trainer: pl.Trainer, game: Game, stage: str) -> None:
        """Set the blocks of the game, before Lightning asks the data for a loader."""
        callbacks: list[Any] = trainer.callbacks  # pyright: ignore[reportAttributeAccessIssue]
        acting = [callback for callback in callbacks if _acts_in_batches(callback, pl.Callback)]
        acting += [game] if _acts_in_batches(game, GameModule) else []
        periods: list[Any] = [getattr(owner, "images_between", None) for owner in acting]
        undeclared = [o for o, period in zip(acting, periods, strict=True) if type(period) is not int or period < 1]
        game.block, game.block_periods = (1, ()) if undeclared else (self.rounds, set(periods))
        if undeclared and self.rounds > 1:
            name = type(undeclared[0]).__name__
            self.print_line(
                f"block=1 in place of {self.rounds}: {name} may act after every batch. To train faster, let it define "
                "after_round(trainer, game), or the attribute images_between (docs/extending.md)"
            )


def _acts_in_batches(owner: Any, base: type) -> bool:
    """Whether an object defines one of Lightning's hooks around a batch, in its class or as an attribute."""
    start, end = owner.on_train_batch_start, owner.on_train_batch_end
    defaults: Any = base
    return (
        getattr(start, "__func__", None) is not defaults.on_train_batch_start
        or getattr(end, "__func__", None) is not defaults.on_train_batch_end
    )


class StopAtImages(pl.Callback):
    """Stops the run when images >= target. Lightning's own limits count optimizer steps and are not used."""

    def __init__(self, state: RunState) -> None:
        self.state = state

    def after_round(self, trainer: pl.Trainer, game: Game) -> None:
        """Stop the run after this round if it has reached the target."""
        if self.state.target is not None and game.images >= self.state.target:
            trainer.should_stop = True
