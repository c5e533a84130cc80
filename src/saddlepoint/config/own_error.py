"""Errors that were raised in the user's own code, in a line: `mylosses.py:12: ValueError: ...`."""

from __future__ import annotations

import os
import textwrap
import traceback
from collections.abc import Sequence
from pathlib import Path
from types import FrameType

from saddlepoint.config.allow_list import within
from saddlepoint.config.own_code import own
from saddlepoint.error import Mistake, relative
from saddlepoint.redaction import discreet

VARIABLE = "SADDLEPOINT_TRACEBACK"
HINT = f"{VARIABLE}=1 shows the whole traceback"
LONGEST = 500  # characters of a message


def line(error: BaseException, allowed: Sequence[str]) -> str | None:
    """`<file>:<line>: <type>: <message>`, of the innermost frame in the user's own code; None where there is none.

    `allowed` names what allow_target lets be built: the user's code is run by way of one of these modules.  Of a
    Mistake its cause counts.  The notes of the exception (PEP 678) stand behind the message, in brackets.
    """
    if isinstance(error, Mistake):
        return None if error.__cause__ is None else line(error.__cause__, allowed)
    if not allowed or (found := _place(error, allowed)) is None:
        return None
    file, number = found
    text = error.msg if isinstance(error, SyntaxError) else str(error)
    message = textwrap.shorten(" ".join(text.split()), LONGEST, placeholder=" ...")
    told = ": ".join(part for part in (f"{relative(str(file))}:{number}", type(error).__name__, message) if part)
    notes = "; ".join(" ".join(note.split()) for note in getattr(error, "__notes__", ()))
    return discreet(f"{told} ({notes})" if notes else told)


def asked_for() -> bool:
    """Whether the environment asks for whole tracebacks."""
    return os.environ.get(VARIABLE, "").lower() not in ("", "0", "false", "no", "off")


def place(error: BaseException) -> str:
    """ " (file, line 12)": the innermost frame that is neither this package's nor a library's, "" without one."""
    frames = [(Path(frame.f_code.co_filename), number) for frame, number in traceback.walk_tb(error.__traceback__)]
    return next((f" ({relative(str(file))}, line {number})" for file, number in reversed(frames) if own(file)), "")


def _place(error: BaseException, allowed: Sequence[str]) -> tuple[Path, int] | None:
    if isinstance(error, SyntaxError) and error.filename and own(file := Path(error.filename)):
        return file, error.lineno or 1
    frames = list(traceback.walk_tb(error.__traceback__))
    first = next((i for i, (frame, _) in enumerate(frames) if _of_allowed(frame, allowed)), len(frames))
    for frame, number in reversed(frames[first:]):
        if own(file := Path(frame.f_code.co_filename)) or _of_allowed(frame, allowed):
            return file, number
    return None


def _of_allowed(frame: FrameType, allowed: Sequence[str]) -> bool:
    """Whether a frame is of a module that is allowed, lies in an allowed package, or holds an allowed object."""
    module = str(frame.f_globals.get("__name__", ""))
    return within(module, allowed) or any(within(one, [module]) for one in allowed)
