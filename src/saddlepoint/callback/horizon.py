"""Ends a run at the first round that reaches its images."""

from __future__ import annotations

from typing import Any

import pytorch_lightning as pl

from saddlepoint.game.game import Game


class Horizon(pl.Callback):
    """images >= target: no round follows.  Lightning's own limits count optimizer steps and are not used."""

    def __init__(self, images: int) -> None:
        self.images = images

    def on_train_batch_end(self, trainer: pl.Trainer, game: Game, outputs: Any, batch: Any, batch_idx: int) -> None:
        if game.images >= self.images:
            trainer.should_stop = True
