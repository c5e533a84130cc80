"""A bar that shows how fast, how long still, and how the game stands; and what the whole run will take."""

import math
import time
from collections.abc import Iterable, Mapping
from typing import Any

import pytorch_lightning as pl
from rich import progress
from rich.console import Console
from rich.text import Text
from torch import Tensor

from saddlepoint.callback.periodic import RunState
from saddlepoint.console.terminal import HOUR, format_duration
from saddlepoint.evaluation.contract import Score
from saddlepoint.game.game import Game
from saddlepoint.game.side import LATENT

ADVERSARIAL = "adversarial"  # the name of a player's objective among its losses
FEW_ROUNDS, FEW_SECONDS = 5, 2.0  # after which the pace is known
HOURS = 1.5 * HOUR  # from which on a run is long for a CPU


class Progress(pl.Callback):
    """Images, images/s, time left, both losses, D(x), D(G(z)) and the first of the newest scores.

    On a terminal a live bar, refreshed every `seconds_between`; elsewhere a line every 60 times as long.  Once, after
    the first few rounds, a line with rounds/s and the time to go; with what would shorten it where a CPU takes hours.
    """

    def __init__(
        self, seconds_between: float = 0.5, console: Console | None = None, state: RunState | None = None
    ) -> None:
        self.state = state or RunState()
        self.console = console or Console(stderr=True)
        self.seconds_between = seconds_between if self.console.is_terminal else 60 * seconds_between
        self._bar: progress.Progress | None = None
        self._last = self._start = 0.0
        self._first = 0
        self._measured: tuple[int, int, float] | None = None  # rounds, images and time at the end of the first round
        self._told = False  # whether the pace has been

    def on_train_start(self, trainer: pl.Trainer, game: Game) -> None:
        self._target = self.state.target
        self._start = self._last = time.perf_counter()
        self._first = game.images
        if self.console.is_terminal:
            columns = [progress.BarColumn(24), progress.MofNCompleteColumn(), _Speed(), progress.TimeRemainingColumn()]
            self._bar = progress.Progress(
                *columns, "{task.description}", console=self.console, transient=True, refresh_per_second=4
            )
            self._task = self._bar.add_task("", total=self._target, completed=game.images)
            self._bar.start()

    def on_train_batch_end(self, trainer: pl.Trainer, game: Game, outputs: Any, batch: Any, batch_idx: int) -> None:
        now = time.perf_counter()
        self._pace(game, now)
        if now - self._last < self.seconds_between:
            return
        self._last = now
        if self._bar is not None:
            self._bar.update(self._task, completed=game.images, description=format_status(game, self.state.scores))
        else:
            speed = (game.images - self._first) / (now - self._start)
            pace = f"{game.images:,} images, {speed:,.0f}/s"
            if self._target:
                left = max(self._target - game.images, 0) / speed
                pace = f"{game.images:,} of {self._target:,} images, {speed:,.0f}/s, {format_duration(left)} left"
            self.console.print(f"{pace}, {format_status(game, self.state.scores)}", soft_wrap=True, highlight=False)

    def on_train_end(self, trainer: pl.Trainer, game: Game) -> None:
        self._pace(game, time.perf_counter(), last=True)

    def _pace(self, game: Game, now: float, last: bool = False) -> None:
        """Print, once, what a round takes: after some rounds and some time, or at the end of a shorter run."""
        if self._measured is None:  # the first round sets up what the others use
            self._measured = game.rounds, game.images, now
            return
        rounds, images, since = self._measured
        few = game.rounds - rounds < FEW_ROUNDS or now - since < FEW_SECONDS
        if self._told or game.rounds == rounds or (few and not last):
            return
        self._told = True
        shown = (game.images - images) / (now - since)
        line = f"{_rate((game.rounds - rounds) / (now - since))} rounds/s, {_rate(shown)} images/s"
        if not last and self._target:
            line += format_time_left(max(self._target - game.images, 0) / shown, shown, game.device.type)
        self.console.print(line, soft_wrap=True, highlight=False)

    def teardown(self, trainer: pl.Trainer, game: Game, stage: str) -> None:
        if self._bar is not None:
            self._bar.stop()
            self._bar = None


def format_status(game: Game, scores: Mapping[str, Score]) -> str:
    """How the game stands: D 1.21 + r1 0.0213  D(x) 0.61  D(G(z)) 0.38  G 0.93  fid_digits_900_train 41.2.

    The number behind a letter is the adversarial loss; each other term of a player follows under its name.
    """
    parts = []
    letters = _letters(game.players)
    for name, letter in letters.items():
        if name in game.last_losses:
            losses, logits = game.last_losses[name]
            parts.append(f"{letter} {_terms(losses)}")
            parts += [
                f"{letter}({_argument(game, side, letters)}) {value.sigmoid().mean().item():.2f}"
                for side, value in logits.items()
                if game.sides[side].judge == name
            ]
    parts += [f"{key} {score.value:.4g}" for key, score in list(scores.items())[:1]]
    return "  ".join(parts)


def _letters(names: Iterable[str]) -> dict[str, str]:
    """The first letter of each player, D and G; its name where another begins with the same."""
    firsts = [name[0] for name in names]
    return {name: name[0].upper() if firsts.count(name[0]) == 1 else name for name in names}


def _argument(game: Game, side: str, letters: Mapping[str, str]) -> str:
    """What D is asked about: x, G(z), or the name of a side that is neither."""
    own = game.sides[side]
    if own.of == "x" and not own.by:
        return "x"
    return f"{letters[own.by[0]]}(z)" if own.of == LATENT and len(own.by) == 1 and own.by[0] in letters else side


def _terms(losses: Mapping[str, Tensor]) -> str:
    """The adversarial loss, then the others by name: "1.21 + r1 0.0213"."""
    values = {name: f"{loss.item():.3g}" for name, loss in losses.items()}
    own = [values.pop(ADVERSARIAL)] if ADVERSARIAL in values else []
    return " + ".join([*own, *(f"{name} {value}" for name, value in values.items())])


def _rate(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def format_time_left(left: float, images_per_second: float, device: str) -> str:
    """How long it will take from here, ", about 7 h to go"; with what would shorten hours on a CPU."""
    told = f", about {format_duration(left)} to go"
    if device != "cpu" or left < HOURS:
        return told
    within = int(f"{images_per_second * HOUR:.0e}".split("e")[0]) * 10 ** math.floor(
        math.log10(images_per_second * HOUR)
    )
    return f"{told} on this CPU: images={within:_} take an hour; or a smaller architecture, such as mlp"


class _Speed(progress.ProgressColumn):
    def render(self, task: progress.Task) -> Text:
        return Text(f"{task.speed or 0:,.0f} images/s", style="progress.data.speed")
