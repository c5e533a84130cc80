"""A mistake that a person can mend, told in a line or two; and a process that is asked to end."""

import os
import signal
from collections.abc import Iterable
from difflib import get_close_matches
from functools import partial
from typing import Any

SUPERVISOR = "SADDLEPOINT_SUPERVISOR"  # in the environment of a rank: the process that started it and watches it
EARLY = frozenset(("SIGUSR1", "SIGUSR2"))  # what a scheduler sends some time before its SIGTERM


class Mistake(Exception):
    """What is wrong, where, and what to do; printed as it stands, without a traceback; `exit` is the exit code."""

    exit = 1


class LostRank(Mistake):
    """Another rank of the same run is gone, and waiting for it is in vain; its own words tell why."""

    exit = 76  # launcher.ranks tells it from the exit code of the one that failed first


class Stopped(KeyboardInterrupt):
    """Ended by signal `number`.  Exit code 128 + number, and for SIGUSR1 and SIGUSR2 that of SIGTERM, 143."""

    def __init__(self, number: int) -> None:
        name = signal.Signals(number).name
        super().__init__(f"signal {name}")
        self.number = number
        self.exit = 128 + (signal.SIGTERM if name in EARLY else number)


def ending_signals() -> list[int]:
    """The signals that ask a process to end and that it can catch, without those that it was started to ignore.

    nohup ignores SIGHUP, and then it stays ignored. SIGINT is listened to in any case: a shell that starts a command
    in the background ignores it there, and who sends it to that process means it.
    """
    names = ("SIGTERM", "SIGINT", "SIGHUP", "SIGQUIT", "SIGXCPU", *sorted(EARLY))
    every = [signal.Signals[name] for name in names if hasattr(signal, name)]
    return [one for one in every if one == signal.SIGINT or signal.getsignal(one) != signal.SIG_IGN]


def relative_path(file: str) -> str:
    """The path of a source file, from the working directory where it lies in there."""
    whole, here = os.path.abspath(file), os.path.join(os.getcwd(), "")
    return whole.removeprefix(here) if whole.startswith(here) else file


def first_line(error: BaseException) -> str:
    """The first line of an error's text, 200 letters at most; the name of its class where there is none."""
    return next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)[:200]


def describe_value(value: Any) -> str:
    """What a piece gave, in words: "a tensor of shape [2]", "a tuple"."""
    shape = f"tensor of shape {list(value.shape)}" if type(value).__name__ in ("Tensor", "Parameter") else ""
    name = shape or type(value).__name__
    return "None" if value is None else f"{'an' if name[0] in 'aeiouAEIOU' else 'a'} {name}"


def source_location(piece: Any) -> str:
    """ " (file, line 12)": where a piece computes, a function or a network's `forward`; "" where that is not known."""
    while isinstance(piece, partial):
        piece = piece.func
    code = getattr(getattr(type(piece), "forward", piece), "__code__", None)
    return f" ({relative_path(code.co_filename)}, line {code.co_firstlineno})" if code else ""


def close_matches(word: str, there: Iterable[str]) -> list[str]:
    """At most three of `there` that look like `word`, best first."""
    return get_close_matches(word, list(dict.fromkeys(there)), n=3, cutoff=0.6)


def did_you_mean(word: str, there: Iterable[str]) -> str:
    """ " Did you mean a or b?", "" where nothing is close."""
    found = close_matches(word, there)
    return f" Did you mean {' or '.join(found)}?" if found else ""
