"""The progress bar of a run, with losses and time left, and a line with the pace of training."""

import math
import time
from collections.abc import Iterable, Mapping

import pytorch_lightning as pl
from rich import progress
from rich.console import Console
from rich.table import Column
from rich.text import Text
from torch import Tensor

from saddlepoint.callback.periodic import RunState
from saddlepoint.console.terminal import HOUR, format_duration
from saddlepoint.game.game import Game
from saddlepoint.game.side import LATENT

ADVERSARIAL = "adversarial"  # the key of a player's objective in its losses
MIN_ROUNDS, MIN_SECONDS = 5, 10.0  # before the pace is estimated
WIDE = 120  # characters of a terminal with room for a bar of full length
LONG_RUN = 1.5 * HOUR  # seconds from which a run on a CPU gets advice


class Progress(pl.Callback):
    """Shows images, images/s, time left, losses, D(x), D(G(z)) and the first of the latest scores.

    On a terminal this is a live bar, updated every `seconds_between`; otherwise a line every 60 times as long. After a
    few rounds, one line gives rounds/s and the time left, with advice if a run on a CPU takes hours.
    """

    def __init__(
        self, seconds_between: float = 0.5, console: Console | None = None, state: RunState | None = None
    ) -> None:
        self.state = state or RunState()
        self.console = console or Console(stderr=True)
        self.seconds_between = seconds_between if self.console.is_terminal else 60 * seconds_between
        self._bar: progress.Progress | None = None
        self._updated_at = self._started_at = 0.0
        self._first_images = 0
        self._first_round: tuple[int, int, float] | None = None  # rounds, images and time at its end
        self._pace_printed = False

    def on_train_start(self, trainer: pl.Trainer, game: Game) -> None:
        self._target = self.state.target
        self._started_at = self._updated_at = time.perf_counter()
        self._first_images = game.images
        if self.console.is_terminal:
            self._bar = progress.Progress(
                *_columns(self.console.width), console=self.console, transient=True, refresh_per_second=4
            )
            self._task = self._bar.add_task("", total=self._target, completed=game.images)
            self._bar.start()

    def after_round(self, trainer: pl.Trainer, game: Game) -> None:
        """Update the bar, or print a line, if it is time."""
        now = time.perf_counter()
        self._print_pace(game, now)
        if now - self._updated_at < self.seconds_between:
            return
        self._updated_at = now
        status = format_status(game, self.state)
        if self._bar is not None:
            self._bar.update(self._task, completed=game.images, description=status)
        else:
            speed = (game.images - self._first_images) / (now - self._started_at)
            pace = f"{game.images:,} images, {speed:,.0f}/s"
            if self._target:
                seconds = max(self._target - game.images, 0) / speed
                pace = f"{game.images:,} of {self._target:,} images, {speed:,.0f}/s, {format_duration(seconds)} left"
            self.console.print(f"{pace}, {status}", soft_wrap=True, highlight=False)

    def on_train_end(self, trainer: pl.Trainer, game: Game) -> None:
        self._print_pace(game, time.perf_counter(), last=True)

    def _print_pace(self, game: Game, now: float, last: bool = False) -> None:
        """Print the pace once: after a few rounds and seconds, or at the end of a shorter run."""
        if self._first_round is None:  # not counted: the first round includes set-up
            self._first_round = game.rounds, game.images, now
            return
        rounds, images, since = self._first_round
        too_early = game.rounds - rounds < MIN_ROUNDS or now - since < MIN_SECONDS
        if self._pace_printed or game.rounds == rounds or (too_early and not last):
            return
        self._pace_printed = True
        speed = (game.images - images) / (now - since)
        line = f"{_format_rate((game.rounds - rounds) / (now - since))} rounds/s, {_format_rate(speed)} images/s"
        if not last and self._target:
            line += format_time_left(max(self._target - game.images, 0) / speed, speed, game.device.type)
        self.console.print(line, soft_wrap=True, highlight=False)

    def teardown(self, trainer: pl.Trainer, game: Game, stage: str) -> None:
        if self._bar is not None:
            self._bar.stop()
            self._bar = None


def format_status(game: Game, state: RunState) -> str:
    """Return losses, D(x), D(G(z)) and the first score: D 1.21 + r1 0.02  D(x) 0.61  G 0.93  fid 41.2 at 50,000 images.

    The number after a letter is the adversarial loss; the other terms of the player follow by name. The images are
    those that the score was measured at, if that was earlier.
    """
    fields = []
    letters = _player_letters(game.players)
    for name, letter in letters.items():
        if name in game.last_losses:
            losses, logits = game.last_losses[name]
            fields.append(f"{letter} {_format_losses(losses)}")
            fields += [
                f"{letter}({_format_side(game, side, letters)}) {value.sigmoid().mean().item():.2f}"
                for side, value in logits.items()
                if game.sides[side].judge == name
            ]
    earlier = f" at {state.measured_at:,} images" if state.measured_at != game.images else ""
    fields += [f"{key} {score.value:.4g}{earlier}" for key, score in list(state.scores.items())[:1]]
    return "  ".join(fields)


def _player_letters(names: Iterable[str]) -> dict[str, str]:
    """Return the first letter of each player, such as D and G; the whole name if two share a letter."""
    initials = [name[0] for name in names]
    return {name: name[0].upper() if initials.count(name[0]) == 1 else name for name in names}


def _format_side(game: Game, name: str, letters: Mapping[str, str]) -> str:
    """Return the argument of D for a side: x, G(z), or the name of any other side."""
    side = game.sides[name]
    if side.of == "x" and not side.by:
        return "x"
    is_generated = side.of == LATENT and len(side.by) == 1 and side.by[0] in letters
    return f"{letters[side.by[0]]}(z)" if is_generated else name


def _format_losses(losses: Mapping[str, Tensor]) -> str:
    """Return the adversarial loss, then the others by name: "1.21 + r1 0.0213"."""
    values = {name: f"{loss.item():.3g}" for name, loss in losses.items()}
    adversarial = [values.pop(ADVERSARIAL)] if ADVERSARIAL in values else []
    return " + ".join([*adversarial, *(f"{name} {value}" for name, value in values.items())])


def _format_rate(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def format_time_left(seconds: float, images_per_second: float, device: str) -> str:
    """Return the time left, such as ", about 7 h to go"; for hours on a CPU, with advice on how to shorten them."""
    time_left = f", about {format_duration(seconds)} to go"
    if device != "cpu" or seconds < LONG_RUN:
        return time_left
    per_hour = images_per_second * HOUR
    images = int(f"{per_hour:.0e}".split("e")[0]) * 10 ** math.floor(math.log10(per_hour))
    return f"{time_left} on this CPU: images={images:_} take an hour; or use a smaller architecture, such as mlp"


def _columns(width: int) -> list[progress.ProgressColumn]:
    """Return the columns of the bar: numbers in full, and the status on several lines if the terminal is narrow."""
    whole = Column(no_wrap=True)
    return [
        progress.BarColumn(24 if width >= WIDE else 8, table_column=whole),
        progress.MofNCompleteColumn(table_column=whole),
        _Speed(table_column=whole),
        progress.TimeRemainingColumn(table_column=whole),
        progress.TextColumn("{task.description}", table_column=Column()),
    ]


class _Speed(progress.ProgressColumn):
    def render(self, task: progress.Task) -> Text:
        return Text(f"{task.speed or 0:,.0f} images/s", style="progress.data.speed")
