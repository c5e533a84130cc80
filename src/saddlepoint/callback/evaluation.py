"""Scores along the run, by one written protocol."""

from __future__ import annotations

from typing import Any

import pytorch_lightning as pl
import torch

from saddlepoint.callback.period import crossed, log
from saddlepoint.game.game import Game
from saddlepoint.metric.contract import Score
from saddlepoint.metric.evaluator import Evaluator
from saddlepoint.stream import Stream


class Evaluation(pl.Callback):
    """At 0 images and every `images_between`: `evaluator`'s scores go to every logger, each under its contract's name.

    Samples come from the evaluation stream, from its start at each time, so successive scores share their latents and
    evaluating more often changes nothing in training. `first` names the score that says which checkpoint is best.
    """

    def __init__(self, images_between: int, evaluator: Evaluator | None = None, average: bool = True) -> None:
        self.images_between, self.evaluator, self.average = images_between, evaluator, average
        self.latest: dict[str, Score] = {}
        self.measured_at = self.improved_at = -1  # images
        self.best: float | None = None  # of the first score

    def on_train_start(self, trainer: pl.Trainer, game: Game) -> None:
        if game.images == 0:
            self.evaluate(trainer, game)

    def on_train_batch_end(self, trainer: pl.Trainer, game: Game, outputs: Any, batch: Any, batch_idx: int) -> None:
        if crossed(game, batch, self.images_between):
            self.evaluate(trainer, game)

    def evaluate(self, trainer: pl.Trainer, game: Game) -> None:
        """Measure now and log."""
        if self.evaluator is None:
            return
        data: Any = trainer.datamodule  # pyright: ignore[reportAttributeAccessIssue]
        self.latest = scores(self.evaluator, game, data, self.average)
        self.measured_at = game.images
        log(trainer, game, row(self.latest))
        key, first = next(iter(self.latest.items()))
        sign = 1 if self.higher_is_better[key] else -1
        if self.best is None or sign * first.value > sign * self.best:
            self.best, self.improved_at = first.value, game.images

    @property
    def higher_is_better(self) -> dict[str, bool]:
        """Of each score, by its key, as its metric says."""
        metrics = self.evaluator.metrics if self.evaluator else {}
        return {key: bool(metrics[score.contract.metric].higher_is_better) for key, score in self.latest.items()}

    def state_dict(self) -> dict[str, Any]:
        return {
            "measured_at": self.measured_at,
            "best": self.best,
            "latest": {key: score.to_dict() for key, score in self.latest.items()},
        }

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.measured_at = state_dict["measured_at"]
        self.best = state_dict["best"]
        self.latest = {key: Score.from_dict(score) for key, score in state_dict["latest"].items()}


def scores(evaluator: Evaluator, game: Game, data: Any, average: bool = True) -> dict[str, Score]:
    """The evaluator's scores of the game's generator against `data`."""
    stream = Stream(game.seed, "evaluation", device=game.device)
    averaged = average and game.generator.average is not None
    devices = [game.device] if game.device.type == "cuda" else []
    with torch.random.fork_rng(devices=devices):
        return evaluator(
            lambda n: game.sample(n, stream=stream, average=average),
            data,
            weights="averaged" if averaged else "raw",
        )


def row(scores: dict[str, Score]) -> dict[str, float]:
    """Scores as a line of metrics.jsonl: value by key, and <key>_std where a score has one."""
    spread = {f"{key}_std": score.std for key, score in scores.items() if score.std is not None}
    return {key: score.value for key, score in scores.items()} | spread
