"""Saves the generator along the run in small files, so that scores can be computed for the whole run later."""

import pytorch_lightning as pl

from saddlepoint.callback.periodic import Periodic, RunState
from saddlepoint.game.game import Game
from saddlepoint.game.sampling import prepare_sampling_networks, sampling_state
from saddlepoint.run.folder import Run
from saddlepoint.run.snapshot import save_snapshot
from saddlepoint.stream import preserve_random_state


class Snapshot(Periodic):
    """Saves snapshots/<images>.safetensors at 0 images, every `images_between` and at the end (see `run.snapshot`)."""

    def __init__(self, images_between: int, run: Run, state: RunState | None = None) -> None:
        super().__init__(images_between, state)
        self.run = run

    def on_due(self, trainer: pl.Trainer, game: Game) -> None:
        """Save on one rank; every rank prepares its average, so that all stay equal."""
        with preserve_random_state(game.device):
            networks, weights = prepare_sampling_networks(game)
        if trainer.is_global_zero:
            save_snapshot(self.run, game.images, weights, sampling_state(networks))
