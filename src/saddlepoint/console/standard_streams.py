"""Standard input, output and error that are closed, lead nowhere any more, or lie on a full disk.

A run keeps its results in its folder, so that it does not need the terminal, pipe or file that it prints to.
"""

import errno
import io
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from typing import Any

from saddlepoint.error import Mistake

GONE = (errno.EPIPE, errno.EIO, errno.EBADF, errno.ENXIO)  # it will not come back: a closed pipe, a terminal hung up


class Unprinted(Mistake):
    """Standard output took no more: exit code 141, without a word, where its reader has closed it, else 1."""

    def __init__(self, error: OSError) -> None:
        super().__init__(f"cannot write to standard output: {error.strerror or error}")
        self.exit = 141 if error.errno == errno.EPIPE else 1


class GuardedStream:
    """A text stream; what it cannot write is passed to `failed`, as the OSError, and dropped where that returns."""

    def __init__(self, stream: Any, failed: Callable[[OSError], None]) -> None:
        self._stream, self._failed = stream, failed
        self.rich_proxied_file = self  # what every line that is printed asks for, as it does for these
        for name in ("encoding", "fileno", "isatty"):
            if hasattr(stream, name):
                setattr(self, name, getattr(stream, name))

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def write(self, text: str) -> int:
        self._attempt(lambda: self._stream.write(text))
        return len(text)

    def writelines(self, lines: Any) -> None:
        self._attempt(lambda: self._stream.writelines(lines))

    def flush(self) -> None:
        self._attempt(self._stream.flush)

    def _attempt(self, call: Callable[[], object]) -> None:
        try:
            call()
        except OSError as error:
            if error.errno in GONE:
                discard(self._stream)
            self._failed(error)


def ensure_utf8() -> None:
    """Start this process again in Python's UTF-8 mode (PEP 540) where it is not in it; so will be what it starts.

    With another locale the same bytes on a command line would be another text, so another identity, and what libraries
    write without naming an encoding would be in the locale's.  From Python 3.15 on this mode is the default.
    """
    if sys.flags.utf8_mode or sys.getfilesystemencoding() == "utf-8" or not sys.executable:
        return
    os.environ["PYTHONUTF8"] = "1"
    os.execv(sys.executable, [sys.executable, "-X", "utf8", *sys.orig_argv[1:]])


def reopen_closed() -> None:
    """Open the null device on each of descriptors 0, 1 and 2 that is closed; forget a width or height of 0.

    Standard output takes names of files that are no UTF-8, as their bytes; standard error escapes them.
    A file that is opened later would otherwise get that number, and what a library prints would be written into it.
    rich prints nothing at all where COLUMNS is 0.
    """
    for size in ("COLUMNS", "LINES"):
        if os.environ.get(size, "").strip("0") == "":
            os.environ.pop(size, None)
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        try:
            os.fstat(number)
        except OSError:
            null = os.open(os.devnull, os.O_RDWR)
            if null != number:
                os.dup2(null, number)
                os.close(null)
            if getattr(sys, name) is None:
                mode = "r" if number == 0 else "w"
                stream = open(number, mode, encoding="utf-8", closefd=False)  # noqa: SIM115  it stays open: it is sys.stdin
                setattr(sys, name, stream)
    if getattr(sys.stdout, "errors", None) == "strict" and isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="surrogateescape")


def ignore_write_errors(*names: str) -> AbstractContextManager[None]:
    """Meanwhile sys.stdout and sys.stderr, or those named, drop what they cannot write."""
    return _guarded(names or ("stdout", "stderr"), lambda error: None)


def run_ignoring_write_errors(run: Callable[[], int]) -> int:
    """The exit code of a command whose results are in a folder, whatever becomes of what it prints."""
    with ignore_write_errors():
        code = run()
        flush_or_discard()
    return code


def raise_write_errors() -> AbstractContextManager[None]:
    """Meanwhile sys.stdout raises Unprinted where it cannot write, in print and in rich alike."""

    def refuse(error: OSError) -> None:
        raise Unprinted(error) from None

    return _guarded(("stdout",), refuse)


@contextmanager
def _guarded(names: tuple[str, ...], failed: Callable[[OSError], None]) -> Iterator[None]:
    before = {name: stream for name in names if (stream := getattr(sys, name)) is not None}
    plain = {name: stream._stream if isinstance(stream, GuardedStream) else stream for name, stream in before.items()}
    guards = {
        name: GuardedStream(stream, failed) for name, stream in plain.items()
    }  # the innermost guard alone decides
    for name, guard in guards.items():
        setattr(sys, name, guard)
    try:
        yield
    finally:
        for name, guard in guards.items():
            if getattr(sys, name) is guard:
                setattr(sys, name, before[name])


def flush_or_discard() -> None:
    """Before the process ends: what a stream still holds and cannot write is dropped, or the exit code would be 120."""
    for stream in (sys.stdout, sys.stderr):
        try:
            if stream is not None:
                stream.flush()
        except (OSError, ValueError):
            discard(stream)


def discard(stream: Any) -> None:
    """Lead the descriptor of a stream to the null device, and what the stream still holds with it."""
    with suppress(OSError, ValueError, AttributeError):
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, stream.fileno())
        os.close(null)
        stream.flush()
