"""Messages while a command runs: plain lines, and progress of long passes."""

import time
from collections.abc import Callable

from rich import progress
from rich.console import Console
from rich.text import Text

SECONDS = 20.0  # seconds between two progress lines
HOUR = 3600.0  # seconds


def format_duration(seconds: float) -> str:
    """Format seconds as "40 s", "12 min" or "7.5 h"; from 100 of a unit on the next larger one is used."""
    if seconds < 100:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 100 * 60 else f"{seconds / HOUR:.2g} h"


def line_printer(console: Console) -> Callable[[str], None]:
    """Return a function that prints a line without markup or wrapping."""
    return lambda line: console.print(line, soft_wrap=True, markup=False, highlight=False)


class ProgressMeter:
    """Show the progress of a long pass, with its rate and the time left: meter(description, done, total).

    On a terminal this is a bar, otherwise a line every `SECONDS`; a shorter pass prints nothing.
    """

    def __init__(self, console: Console) -> None:
        self.console = console
        self._bar: progress.Progress | None = None
        self._pass_start: tuple[str, int, float] = "", 0, 0.0  # description, `done` and time at its start
        self._printed = 0.0

    def __call__(self, description: str, done: int, total: int) -> None:
        if not self.console.is_terminal:
            self._print_line(description, done, total)
            return
        if self._bar is None:
            columns = [progress.BarColumn(24), progress.MofNCompleteColumn(), _Rate(), progress.TimeRemainingColumn()]
            self._bar = progress.Progress("{task.description}", *columns, console=self.console, transient=True)
            self._task = self._bar.add_task(description, total=total)
            self._bar.start()
        self._bar.update(self._task, description=description, completed=done, total=total)
        if done >= total:
            self._bar.stop()
            self._bar = None

    def _print_line(self, description: str, done: int, total: int) -> None:
        now = time.monotonic()
        if description != self._pass_start[0] or done < self._pass_start[1]:
            self._pass_start, self._printed = (description, done, now), now
        if done >= total:
            self._pass_start = "", 0, 0.0  # the next pass may have the same description and begin at the same number
            return
        if now - self._printed < SECONDS:
            return
        self._printed = now
        _, first, started = self._pass_start
        rate = (done - first) / (now - started)
        pace = (
            f"{rate:,.3g}/s, {format_duration((total - done) / rate)} left"
            if rate
            else f"{format_duration(now - started)} so far"
        )
        count = "" if total == 1 else f": {done:,} of {total:,}"
        line_printer(self.console)(f"{description}{count}, {pace}")


class _Rate(progress.ProgressColumn):
    def render(self, task: progress.Task) -> Text:
        return Text(f"{task.speed:,.3g}/s" if task.speed else "")
