"""What a person reads while a command works: lines as they stand, and how far a long pass is."""

import time
from collections.abc import Callable

from rich import progress
from rich.console import Console
from rich.text import Text

SECONDS = 20.0  # between two lines of a long pass
HOUR = 3600.0  # seconds


def format_duration(seconds: float) -> str:
    """ "40 s", "12 min", "7.5 h": from 100 of a unit on in the next larger one."""
    if seconds < 100:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 100 * 60 else f"{seconds / HOUR:.2g} h"


def line_printer(console: Console) -> Callable[[str], None]:
    """Prints a line as it stands: brackets are no markup, and a path is not broken."""
    return lambda line: console.print(line, soft_wrap=True, markup=False, highlight=False)


class ProgressMeter:
    """How far a long pass before or between rounds is: meter(what, done, of), with its rate and the time left.

    On a terminal a bar; elsewhere a line every `SECONDS`, none for a pass that is over sooner.
    """

    def __init__(self, console: Console) -> None:
        self.console = console
        self._bar: progress.Progress | None = None
        self._pass: tuple[str, int, float] = "", 0, 0.0  # what, how many were done when it was first seen, and when
        self._printed = 0.0

    def __call__(self, what: str, done: int, of: int) -> None:
        if not self.console.is_terminal:
            self._line(what, done, of)
            return
        if self._bar is None:
            columns = [progress.BarColumn(24), progress.MofNCompleteColumn(), _Rate(), progress.TimeRemainingColumn()]
            self._bar = progress.Progress("{task.description}", *columns, console=self.console, transient=True)
            self._task = self._bar.add_task(what, total=of)
            self._bar.start()
        self._bar.update(self._task, description=what, completed=done, total=of)
        if done >= of:
            self._bar.stop()
            self._bar = None

    def _line(self, what: str, done: int, of: int) -> None:
        now = time.monotonic()
        if what != self._pass[0] or done < self._pass[1]:
            self._pass, self._printed = (what, done, now), now
        if done >= of or now - self._printed < SECONDS:
            return
        self._printed = now
        _, first, since = self._pass
        rate = (done - first) / (now - since)
        pace = (
            f"{rate:,.3g}/s, {format_duration((of - done) / rate)} left"
            if rate
            else f"{format_duration(now - since)} so far"
        )
        count = "" if of == 1 else f": {done:,} of {of:,}"
        line_printer(self.console)(f"{what}{count}, {pace}")


class _Rate(progress.ProgressColumn):
    def render(self, task: progress.Task) -> Text:
        return Text(f"{task.speed:,.3g}/s" if task.speed else "")
