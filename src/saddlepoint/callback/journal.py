"""What the last turns showed, written down every so many images."""

from __future__ import annotations

import time
from typing import Any

import pytorch_lightning as pl

from saddlepoint.callback.period import crossed, log, period
from saddlepoint.game.game import Game


class Journal(pl.Callback):
    """Losses, D's mean logits and probabilities, gradient norms and images per second go to every logger."""

    def __init__(self, images_between: int) -> None:
        self.images_between = period(images_between)
        self._since = 0, 0.0

    def on_train_start(self, trainer: pl.Trainer, game: Game) -> None:
        self._since = game.images, time.perf_counter()

    def on_train_batch_end(self, trainer: pl.Trainer, game: Game, outputs: Any, batch: Any, batch_idx: int) -> None:
        if crossed(game, batch, self.images_between):
            images, seconds = self._since
            self._since = game.images, time.perf_counter()
            speed = (game.images - images) / max(self._since[1] - seconds, 1e-9)
            log(trainer, game, {**game.report(), "images_per_second": round(speed, 1)})
