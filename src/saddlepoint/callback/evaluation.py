"""Scores along the run, by one written protocol."""

from __future__ import annotations

from typing import Any, cast

import pytorch_lightning as pl

from saddlepoint.callback.period import crossed, log, period
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
        self.images_between, self.evaluator, self.average = period(images_between), evaluator, average
        self.latest: dict[str, Score] = {}
        self.measured_at = self.improved_at = -1  # images
        self.best: Score | None = None  # of the first score, under the contract now in force

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
        if (first := self.improvement(self.latest)) is not None:
            self.best, self.improved_at = first, game.images

    def improvement(self, scores: dict[str, Score]) -> Score | None:
        """The first of `scores` where it is better than the best so far, or the first under its contract, else None."""
        if not scores:
            return None
        first = next(iter(scores.values()))
        sign = 1 if cast(Evaluator, self.evaluator).higher_is_better[first.contract.metric] else -1
        comparable = self.best is not None and self.best.contract == first.contract
        return first if not comparable or sign * first.value > sign * cast(Score, self.best).value else None

    @property
    def higher_is_better(self) -> dict[str, bool]:
        """Of each score, by its key, as its metric says."""
        higher = self.evaluator.higher_is_better if self.evaluator else {}
        return {key: higher[score.contract.metric] for key, score in self.latest.items()}

    def state_dict(self) -> dict[str, Any]:
        return {
            "measured_at": self.measured_at,
            "best": self.best.to_dict() if self.best is not None else None,
            "latest": {key: score.to_dict() for key, score in self.latest.items()},
        }

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.measured_at = state_dict["measured_at"]
        self.best = Score.from_dict(state_dict["best"]) if state_dict["best"] is not None else None
        self.latest = {key: Score.from_dict(score) for key, score in state_dict["latest"].items()}


def scores(evaluator: Evaluator, game: Game, data: Any, average: bool = True) -> dict[str, Score]:
    """The evaluator's scores of the game's generator against `data`."""
    stream = Stream(game.seed, "evaluation", device=game.device)
    averaged = average and game.generator.average is not None
    return evaluator(
        lambda n: game.sample(n, stream=stream, average=average), data, weights="averaged" if averaged else "raw"
    )


def row(scores: dict[str, Score]) -> dict[str, float]:
    """Scores as a line of metrics.jsonl: value by key, and <key>_std where a score has one."""
    spread = {f"{key}_std": score.std for key, score in scores.items() if score.std is not None}
    return {key: score.value for key, score in scores.items()} | spread
