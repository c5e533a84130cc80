"""Output of a command: its result on stdout, as tables or as one JSON document; messages and progress on stderr."""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, nullcontext, redirect_stdout
from contextvars import ContextVar
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from rich.console import Console

if TYPE_CHECKING:
    from rich.table import Table

WIDTH = 80  # maximum width of tables, in columns
_CURRENT: ContextVar[Output | None] = ContextVar("output", default=None)  # output of the running command


def current_output(console: Console | None = None) -> Output:
    """Return an Output on `console` if given, else that of the running command, else one on stdout."""
    return Output(console=console) if console is not None else _CURRENT.get() or Output()


class Output:
    """Where and how the result of a command is printed: text and tables, or with `json` only a JSON document.

    `console`: where text and tables are printed; stdout if None.
    """

    def __init__(self, json: bool = False, console: Console | None = None) -> None:
        self.json = json
        self.console = console or Console()
        self._original_stdout: IO[str] | None = None  # before it was redirected

    @property
    def width(self) -> int:
        """Width of the terminal in columns; 80 without a terminal."""
        return self.console.width

    @contextmanager
    def as_current(self) -> Iterator[None]:
        """Make this the output of the running command; with `json`, redirect other prints from stdout to stderr."""
        self._original_stdout = sys.stdout
        token = _CURRENT.set(self)
        try:
            with redirect_stdout(sys.stderr) if self.json else nullcontext():
                yield
        finally:
            _CURRENT.reset(token)

    def run(self, command: Callable[[], int]) -> int:
        """Run a command with this output; return its exit code."""
        with self.as_current():
            return command()

    def print_result(self, parts: Iterable[str | Table], document: Mapping[str, Any]) -> None:
        """Print the result, once per command: lines and tables, or the JSON document."""
        if self.json:
            print(
                json.dumps(to_json_value(document), indent=2, allow_nan=False), file=self._original_stdout or sys.stdout
            )
            return
        print_parts(parts, self.console)


def print_parts(parts: Iterable[str | Table], console: Console) -> None:
    """Print lines without wrapping or markup, and tables."""
    for item in parts:
        console.print(item, soft_wrap=isinstance(item, str), markup=False, highlight=False)


def to_json_value(value: Any) -> Any:
    """Convert a value for JSON: non-finite numbers to null, paths to text, tuples and sets to lists."""
    if isinstance(value, Mapping):
        return {str(key): to_json_value(item) for key, item in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [to_json_value(item) for item in value]
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else None
    if value is None or isinstance(value, str | bool | int):
        return value
    return value.as_posix() if isinstance(value, Path) else str(value)
