"""A bar that says how fast, how long still, and how the game stands."""

from __future__ import annotations

import time
from typing import Any

import pytorch_lightning as pl
from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    ProgressColumn,
    Task,
    TextColumn,
    TimeRemainingColumn,
)
from rich.progress import (
    Progress as Bar,
)
from rich.text import Text

from saddlepoint.callback.evaluation import Evaluation
from saddlepoint.callback.horizon import Horizon
from saddlepoint.callback.period import callbacks
from saddlepoint.game.game import Game


class Progress(pl.Callback):
    """Images, images/s, time left, both losses, D(x), D(G(z)) and the last first score.

    On a terminal a live bar, refreshed every `seconds_between`; elsewhere a line every 60 times as long.
    """

    def __init__(self, seconds_between: float = 0.5, console: Console | None = None) -> None:
        self.console = console or Console(stderr=True)
        self.seconds_between = seconds_between if self.console.is_terminal else 60 * seconds_between
        self._bar: Bar | None = None
        self._last = self._start = 0.0
        self._first = 0

    def on_train_start(self, trainer: pl.Trainer, game: Game) -> None:
        self._target = next((c.images for c in callbacks(trainer) if isinstance(c, Horizon)), None)
        self._start = self._last = time.perf_counter()
        self._first = game.images
        if self.console.is_terminal:
            self._bar = Bar(
                BarColumn(24), MofNCompleteColumn(), _Speed(), TimeRemainingColumn(), TextColumn("{task.description}"),
                console=self.console, transient=True, refresh_per_second=4,
            )  # fmt: skip
            self._task = self._bar.add_task("", total=self._target, completed=game.images)
            self._bar.start()

    def on_train_batch_end(self, trainer: pl.Trainer, game: Game, outputs: Any, batch: Any, batch_idx: int) -> None:
        now = time.perf_counter()
        if now - self._last < self.seconds_between:
            return
        self._last = now
        if self._bar is not None:
            self._bar.update(self._task, completed=game.images, description=standing(trainer, game))
        else:
            speed = (game.images - self._first) / (now - self._start)
            pace = f"{game.images:,} images, {speed:,.0f}/s"
            if self._target:
                left = max(self._target - game.images, 0) / speed
                pace = f"{game.images:,} of {self._target:,} images, {speed:,.0f}/s, {left:.0f} s left"
            self.console.print(f"{pace}, {standing(trainer, game)}", soft_wrap=True, highlight=False)

    def teardown(self, trainer: pl.Trainer, game: Game, stage: str) -> None:
        if self._bar is not None:
            self._bar.stop()
            self._bar = None


def standing(trainer: pl.Trainer, game: Game) -> str:
    """How the game stands: D 1.21 G 0.93 D(x) 0.61 D(G(z)) 0.38 fid_digits_900_train 41.2."""
    parts = []
    for name, letter in (("discriminator", "D"), ("generator", "G")):
        if name in game.observed:
            losses, logits = game.observed[name]
            parts.append(f"{letter} {sum(loss.item() for loss in losses.values()):.3g}")
            if name == "discriminator":
                sides = {"real": "D(x)", "fake": "D(G(z))"}
                parts += [f"{sides[side]} {value.sigmoid().mean().item():.2f}" for side, value in logits.items()]
    for callback in callbacks(trainer):
        if isinstance(callback, Evaluation) and callback.latest:
            key, score = next(iter(callback.latest.items()))
            parts.append(f"{key} {score.value:.4g}")
    return "  ".join(parts)


class _Speed(ProgressColumn):
    def render(self, task: Task) -> Text:
        return Text(f"{task.speed or 0:,.0f} images/s", style="progress.data.speed")
