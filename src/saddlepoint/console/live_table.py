"""Work as a person sees it: a live table on a terminal, a line per event elsewhere."""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from rich import box
from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.table import Table
from rich.text import Text

from saddlepoint.console.terminal import line_printer

RUNNING = "running"
RIGHT_ALIGNED: Mapping[str, Any] = {"justify": "right", "no_wrap": True}  # how rich sets a column of numbers


class LiveTable(ABC):
    """Rows, each with a `state`.  Enter it to show them; `refresh` at any time, which looks every `seconds` at most."""

    def __init__(self, console: Console, seconds: float = 0.0) -> None:
        self.console, self.log, self.seconds = console, line_printer(console), seconds
        self._live = Live(console=console, refresh_per_second=2, transient=True) if console.is_terminal else None
        self._told: dict[int, str] = {}  # the state of each row that was said, or was so before
        self._looked = 0.0

    @abstractmethod
    def rows(self) -> Sequence[Any]:
        """All of them as they stand now; none is ever taken away."""

    @abstractmethod
    def start_message(self) -> str:
        """How much there is to do, in a line."""

    @abstractmethod
    def row_message(self, row: Any) -> str:
        """A row whose state has changed, in a line."""

    @abstractmethod
    def build_view(self) -> RenderableType:
        """How far all is, and the rows that are worth showing."""

    def __enter__(self) -> LiveTable:
        self._told = {i: row.state for i, row in enumerate(self.rows()) if row.state != RUNNING}
        self.log(self.start_message())
        if self._live is not None:
            self._live.start()
        return self

    def __exit__(self, *error: object) -> None:
        if self._live is not None:
            self._live.stop()
        self._look()

    def refresh(self) -> None:
        """Show what has changed."""
        if time.monotonic() - self._looked >= self.seconds:
            self._look()
            if self._live is not None:
                self._live.update(self.build_view())

    def _look(self) -> None:
        self._looked = time.monotonic()
        for i, row in enumerate(self.rows()):
            if row.state != self._told.get(i):
                self._told[i] = row.state
                if self._live is None:
                    self.log(self.row_message(row))


def build_table(
    headline: RenderableType,
    columns: Iterable[tuple[str | Text, Mapping[str, Any]]],
    rows: Iterable[tuple[Sequence[str | Text], str]],
) -> Group:
    """A table of columns with rich's settings of each, and of rows with the style of each, below a headline."""
    table = Table(box=box.SIMPLE_HEAD, expand=False)
    for title, settings in columns:
        table.add_column(title, **settings)
    for cells, style in rows:
        table.add_row(*cells, style=style)
    return Group(headline, table)


def seconds_left(took: Sequence[float], running: Sequence[float], to_begin: int, at_once: int) -> float | None:
    """Seconds until all is over, where each takes the mean of what those that ended took; None before one did.

    `running`: for how long each of those that run has been at it.
    """
    if not took:
        return None
    mean = sum(took) / len(took)
    return (sum(max(0.0, mean - since) for since in running) + mean * to_begin) / at_once


def format_clock(seconds: float) -> str:
    """1:02:03 or 2:03."""
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
