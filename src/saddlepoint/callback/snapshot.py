"""Keeps the generator as it was along the run, small, so that a score thought of later can be read over all of it."""

import pytorch_lightning as pl

from saddlepoint.callback.period import Periodic, RunState
from saddlepoint.game.game import Game
from saddlepoint.game.sampling import sampling_networks, sampling_state
from saddlepoint.run.folder import Run
from saddlepoint.run.snapshot import save
from saddlepoint.stream import random_state_kept


class Snapshot(Periodic):
    """snapshots/<images>.safetensors at 0 images, every `images_between` and at the end (see `record.snapshot`)."""

    def __init__(self, images_between: int, run: Run, state: RunState | None = None) -> None:
        super().__init__(images_between, state)
        self.run = run

    def act(self, trainer: pl.Trainer, game: Game) -> None:
        """Write now; every rank looks at its average, so that all stay the same, and one writes."""
        with random_state_kept(game.device):
            networks, weights = sampling_networks(game)
        if trainer.is_global_zero:
            save(self.run, game.images, weights, sampling_state(networks))
