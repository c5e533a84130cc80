"""Ends a run at the first round that reaches its images."""

from __future__ import annotations

from typing import Any

import pytorch_lightning as pl

from saddlepoint.callback.run_state import RunState
from saddlepoint.game.game import Game


class Horizon(pl.Callback):
    """images >= target: no round follows.  Lightning's own limits count optimizer steps and are not used."""

    def __init__(self, state: RunState) -> None:
        self.state = state

    def on_train_batch_end(self, trainer: pl.Trainer, game: Game, outputs: Any, batch: Any, batch_idx: int) -> None:
        if self.state.target is not None and game.images >= self.state.target:
            trainer.should_stop = True
