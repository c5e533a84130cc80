"""Saves the whole state of a run every so many images and at its end."""

from typing import Any

import pytorch_lightning as pl

from saddlepoint.callback.periodic import RunState, check_images_between, is_due
from saddlepoint.game.game import Game
from saddlepoint.run.folder import Run


class Checkpoint(pl.Callback):
    """Saves last.ckpt, keeping the one before as previous.ckpt, and best.ckpt when the selection score improves."""

    def __init__(self, images_between: int, run: Run, state: RunState | None = None) -> None:
        self.images_between, self.run, self.state = check_images_between(images_between), run, state or RunState()

    def on_train_batch_end(self, trainer: pl.Trainer, game: Game, outputs: Any, batch: Any, batch_idx: int) -> None:
        # best before last: last.ckpt records the best score, and after a crash in between best.ckpt must have it
        if self.state.best_at == game.images:
            trainer.save_checkpoint(self.run.checkpoints / "best.ckpt")
        if is_due(game, self.images_between) or trainer.should_stop:
            trainer.save_checkpoint(self.run.checkpoints / "last.ckpt")

    def on_save_checkpoint(self, trainer: pl.Trainer, game: Game, checkpoint: dict[str, Any]) -> None:
        checkpoint["wandb_id"] = self.run.summary.get("wandb_id")
