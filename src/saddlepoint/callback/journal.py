"""Logs the report of the game, and numbers of its modules, every so many images."""

import time

import pytorch_lightning as pl

from saddlepoint.callback.periodic import Periodic, log_metrics
from saddlepoint.game.game import Game


class Journal(Periodic):
    """Logs losses, D's mean logits and probabilities, gradient norms, `logged_numbers` and images per second."""

    at_end = False

    def __init__(self, images_between: int) -> None:
        super().__init__(images_between)
        self._since = 0, 0.0  # images and time of the last report

    def on_train_start(self, trainer: pl.Trainer, game: Game) -> None:
        self._since = game.images, time.perf_counter()

    def on_due(self, trainer: pl.Trainer, game: Game) -> None:
        images, seconds = self._since
        self._since = game.images, time.perf_counter()
        speed = (game.images - images) / max(self._since[1] - seconds, 1e-9)
        log_metrics(trainer, game, {**game.report(), **logged_numbers(game), "images_per_second": round(speed, 1)})


def logged_numbers(game: Game) -> dict[str, float]:
    """Return the numbers that modules of the game name in `logged`, such as augment/p of adaptive augmentation.

    A number is a scalar buffer or attribute, equal on all ranks. Its key is the module's path in players or makers.
    """
    return {
        f"{path.partition('.')[2].replace('.', '/')}/{name}": float(getattr(module, name))
        for path, module in game.named_modules()
        for name in getattr(module, "logged", ())
    }
