"""Progress of many jobs: a live table on a terminal, otherwise one line per event."""

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
RIGHT_ALIGNED: Mapping[str, Any] = {"justify": "right", "no_wrap": True}  # rich's options of a column of numbers


class LiveTable(ABC):
    """Show rows, each with a `state`, while the context is active.

    Call `refresh` at any time; it updates at most every `seconds`.
    """

    def __init__(self, console: Console, seconds: float = 0.0) -> None:
        self.console, self.log, self.seconds = console, line_printer(console), seconds
        self._live = Live(console=console, refresh_per_second=2, transient=True) if console.is_terminal else None
        self._printed_states: dict[int, str] = {}  # the last printed state of each row, or its initial one
        self._updated_at = 0.0

    @abstractmethod
    def rows(self) -> Sequence[Any]:
        """Return all current rows; rows are never removed."""

    @abstractmethod
    def start_message(self) -> str:
        """Return the first line: how much there is to do."""

    @abstractmethod
    def row_message(self, row: Any) -> str:
        """Return the line for a row whose state has changed."""

    @abstractmethod
    def build_view(self) -> RenderableType:
        """Return the live view: overall progress and the most relevant rows."""

    def __enter__(self) -> LiveTable:
        self._printed_states = {i: row.state for i, row in enumerate(self.rows()) if row.state != RUNNING}
        self.log(self.start_message())
        if self._live is not None:
            self._live.start()
        return self

    def __exit__(self, *error: object) -> None:
        if self._live is not None:
            self._live.stop()
        self._redraw()

    def refresh(self) -> None:
        """Show changes of state."""
        if time.monotonic() - self._updated_at >= self.seconds:
            self._redraw()
            if self._live is not None:
                self._live.update(self.build_view())

    def _redraw(self) -> None:
        self._updated_at = time.monotonic()
        for i, row in enumerate(self.rows()):
            if row.state != self._printed_states.get(i):
                self._printed_states[i] = row.state
                if self._live is None:
                    self.log(self.row_message(row))


def build_table(
    headline: RenderableType,
    columns: Iterable[tuple[str | Text, Mapping[str, Any]]],
    rows: Iterable[tuple[Sequence[str | Text], str]],
) -> Group:
    """Build a table below a headline from columns (title, rich's options) and rows (cells, style)."""
    table = Table(box=box.SIMPLE_HEAD, expand=False)
    for title, options in columns:
        table.add_column(title, **options)
    for cells, style in rows:
        table.add_row(*cells, style=style)
    return Group(headline, table)


def seconds_left(took: Sequence[float], running: Sequence[float], to_begin: int, at_once: int) -> float | None:
    """Estimate the seconds until all jobs have ended, from the mean duration of ended ones; None if there are none.

    Args:
        took: durations of ended jobs, in seconds
        running: elapsed seconds of running jobs
        to_begin: number of waiting jobs
        at_once: number of jobs that run at the same time
    """
    if not took:
        return None
    mean = sum(took) / len(took)
    return (sum(max(0.0, mean - elapsed) for elapsed in running) + mean * to_begin) / at_once


def format_clock(seconds: float) -> str:
    """Format seconds as 1:02:03 or 2:03."""
    minutes, remainder = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{remainder:02}" if hours else f"{minutes}:{remainder:02}"
