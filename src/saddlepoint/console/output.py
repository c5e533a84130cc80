"""Where a command prints: its result on stdout, as tables or as one JSON document; notes and progress on stderr."""

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

WIDTH = 80  # columns that every table fits


_CURRENT: ContextVar[Output | None] = ContextVar("output", default=None)  # of the command that runs


def current_output(console: Console | None = None) -> Output:
    """Where a result goes: to `console` where one is given, else where the command line that runs says, else stdout."""
    return Output(console=console) if console is not None else _CURRENT.get() or Output()


class Output:
    """The result of a command: `parts` for people, or with `json` the document for programs and nothing else.

    `console` is where people's parts go: stdout where none is given.
    """

    def __init__(self, json: bool = False, console: Console | None = None) -> None:
        self.json = json
        self.console = console or Console()
        self._file: IO[str] | None = None  # stdout as it was before anything else was kept from it

    @property
    def width(self) -> int:
        """Columns of the terminal, 80 elsewhere."""
        return self.console.width

    @contextmanager
    def activate(self) -> Iterator[None]:
        """Meanwhile results go here; with `json` stderr gets what others print on stdout."""
        self._file = sys.stdout
        token = _CURRENT.set(self)
        try:
            with redirect_stdout(sys.stderr) if self.json else nullcontext():
                yield
        finally:
            _CURRENT.reset(token)

    def run(self, command: Callable[[], int]) -> int:
        """The exit code of a command whose result goes here."""
        with self.activate():
            return command()

    def __call__(self, parts: Iterable[str | Table], document: Mapping[str, Any]) -> None:
        """Print the result, once per command: lines as they stand, and tables; or the document."""
        if self.json:
            print(json.dumps(to_json_value(document), indent=2, allow_nan=False), file=self._file or sys.stdout)
            return
        print_parts(parts, self.console)


def print_parts(parts: Iterable[str | Table], console: Console) -> None:
    """Print lines as they stand, and tables."""
    for part in parts:
        console.print(part, soft_wrap=isinstance(part, str), markup=False, highlight=False)


def to_json_value(value: Any) -> Any:
    """A value as JSON has it: what is not finite is null, a path its text, a tuple a list."""
    if isinstance(value, Mapping):
        return {str(key): to_json_value(part) for key, part in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [to_json_value(part) for part in value]
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else None
    if value is None or isinstance(value, str | bool | int):
        return value
    return value.as_posix() if isinstance(value, Path) else str(value)
