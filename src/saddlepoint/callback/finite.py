"""Stops a run whose losses are no numbers any more."""

from __future__ import annotations

from typing import Any

import pytorch_lightning as pl
import torch

from saddlepoint import ranks
from saddlepoint.callback.period import crossed, period
from saddlepoint.error import Mistake
from saddlepoint.game.game import Game


class Diverged(Mistake):
    """A term became NaN or infinite."""


class Finite(pl.Callback):
    """Looks at every term, each round on a CPU, else every `images_between` images (to look is to wait for the GPU).

    Before each checkpoint it looks at the weights too, so that none without a number is ever saved.
    """

    def __init__(self, images_between: int) -> None:
        self.images_between = period(images_between)

    def on_train_batch_end(self, trainer: pl.Trainer, game: Game, outputs: Any, batch: Any, batch_idx: int) -> None:
        if game.device.type == "cpu" or crossed(game, batch, self.images_between):
            self.look(game)

    def on_save_checkpoint(self, trainer: pl.Trainer, game: Game, checkpoint: dict[str, Any]) -> None:
        self.look(game)
        for name, parameter in game.named_parameters():
            if not torch.isfinite(parameter).all():
                raise Diverged(_message(f"the weight {name}", game))

    def look(self, game: Game) -> None:
        """Raise Diverged, naming the first term of the last turns that is no number."""
        bad = [
            f"{player}/{term} = {loss.item()}"
            for player, (losses, _) in game.observed.items()
            for term, loss in losses.items()
            if not torch.isfinite(loss)
        ]
        if ranks.highest(len(bad)):  # a loss that is no number on one rank is a gradient that is none on all
            everywhere = [what for own in ranks.together(bad) for what in own]
            raise Diverged(_message(everywhere[0], game))


def _message(what: str, game: Game) -> str:
    return (
        f"the run diverged: {what} in round {game.rounds}, after {game.images:,} images. "
        "The last good checkpoint is kept; try a smaller learning rate, game.players.<player>.clip=..., or a penalty"
    )
