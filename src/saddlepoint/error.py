"""Errors that the user can fix, reported in one or two lines; and signals that ask a process to end."""

import os
import signal
from collections.abc import Iterable
from difflib import get_close_matches
from functools import partial
from typing import Any

SUPERVISOR = (
    "SADDLEPOINT_SUPERVISOR"  # environment variable of a rank: the id of the process that started it and supervises it
)
EARLY_SIGNALS = frozenset(("SIGUSR1", "SIGUSR2"))  # sent by a scheduler some time before SIGTERM


class Mistake(Exception):
    """An error that the user can fix. The message gives what, where and what to do; it is printed without a traceback.

    `exit` is the exit code of the command.
    """

    exit = 1


class LostRank(Mistake):
    """Another rank of the run has ended; its own message has the reason."""

    exit = 76  # launcher.rank_processes distinguishes it from the exit code of the rank that failed first


class Stopped(KeyboardInterrupt):
    """Stopped by signal `number`. The exit code is 128 + number; for SIGUSR1 and SIGUSR2 that of SIGTERM, 143."""

    def __init__(self, number: int) -> None:
        name = signal.Signals(number).name
        super().__init__(f"signal {name}")
        self.number = number
        self.exit = 128 + (signal.SIGTERM if name in EARLY_SIGNALS else number)


def ending_signals() -> list[int]:
    """Return the catchable signals that ask a process to end, without those that it was started to ignore.

    nohup ignores SIGHUP, and it stays ignored. SIGINT is always included: a shell ignores it for a command that it
    starts in the background, and a SIGINT sent to that process directly is meant.
    """
    names = ("SIGTERM", "SIGINT", "SIGHUP", "SIGQUIT", "SIGXCPU", *sorted(EARLY_SIGNALS))
    every = [signal.Signals[name] for name in names if hasattr(signal, name)]
    return [number for number in every if number == signal.SIGINT or signal.getsignal(number) != signal.SIG_IGN]


def relative_path(file: str) -> str:
    """Return the path relative to the working directory if it lies below it, else the path unchanged."""
    path, folder = os.path.abspath(file), os.path.join(os.getcwd(), "")
    return path.removeprefix(folder) if path.startswith(folder) else file


def first_line(error: BaseException) -> str:
    """Return the first line of an error's message, at most 200 characters; the class name if it has no message."""
    return next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)[:200]


def describe_type_of(value: Any) -> str:
    """Return a value's type in words: "a tensor of shape [2]", "a tuple"."""
    shape = f"tensor of shape {list(value.shape)}" if type(value).__name__ in ("Tensor", "Parameter") else ""
    name = shape or type(value).__name__
    return "None" if value is None else f"{'an' if name[0] in 'aeiouAEIOU' else 'a'} {name}"


def format_source_location(function: Any) -> str:
    """Return " (file, line 12)" of a function or of a module's `forward`; "" if it is unknown."""
    while isinstance(function, partial):
        function = function.func
    code = getattr(getattr(type(function), "forward", function), "__code__", None)
    return f" ({relative_path(code.co_filename)}, line {code.co_firstlineno})" if code else ""


def close_matches(text: str, names: Iterable[str]) -> list[str]:
    """Return at most three of `names` that are similar to `text`, best first."""
    return get_close_matches(text, list(dict.fromkeys(names)), n=3, cutoff=0.6)


def did_you_mean(text: str, names: Iterable[str]) -> str:
    """Return " Did you mean a or b?", or "" if no name is similar."""
    matches = close_matches(text, names)
    return f" Did you mean {' or '.join(matches)}?" if matches else ""
