"""Standard streams that are closed, disconnected, or on a full disk.

A run writes its results to its folder, so it can continue if its terminal, pipe or log file fails.
"""

import errno
import io
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from typing import Any

from saddlepoint.error import Mistake

PERMANENT_ERRORS = (
    errno.EPIPE,
    errno.EIO,
    errno.EBADF,
    errno.ENXIO,
)  # permanent: a closed pipe, a terminal that hung up


class StdoutError(Mistake):
    """Standard output cannot be written. Exit code 141, without a message, if its reader closed it, else 1."""

    def __init__(self, error: OSError) -> None:
        super().__init__(f"cannot write to standard output: {error.strerror or error}")
        self.exit = 141 if error.errno == errno.EPIPE else 1


class GuardedStream:
    """A text stream that calls `failed` with the OSError of a failed write, and drops the text if it returns."""

    def __init__(self, stream: Any, failed: Callable[[OSError], None]) -> None:
        self._stream, self._failed = stream, failed
        self.rich_proxied_file = self  # rich looks this up for every printed line, as the attributes below
        for name in ("encoding", "fileno", "isatty"):
            if hasattr(stream, name):
                setattr(self, name, getattr(stream, name))

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def write(self, text: str) -> int:
        self._call_guarded(lambda: self._stream.write(text))
        return len(text)

    def writelines(self, lines: Any) -> None:
        self._call_guarded(lambda: self._stream.writelines(lines))

    def flush(self) -> None:
        self._call_guarded(self._stream.flush)

    def _call_guarded(self, call: Callable[[], object]) -> None:
        try:
            call()
        except OSError as error:
            if error.errno in PERMANENT_ERRORS:
                redirect_to_null(self._stream)
            self._failed(error)


def restart_in_utf8_mode() -> None:
    """Restart this process in Python's UTF-8 mode (PEP 540) if it is not in it; its child processes inherit the mode.

    In another locale the bytes of a command line would be a different text, so a different identity, and libraries that
    give no encoding would write the locale's. From Python 3.15 on this mode is the default.
    """
    if sys.flags.utf8_mode or sys.getfilesystemencoding() == "utf-8" or not sys.executable:
        return
    os.environ["PYTHONUTF8"] = "1"
    os.execv(sys.executable, [sys.executable, "-X", "utf8", *sys.orig_argv[1:]])


def repair_standard_streams() -> None:
    """Open the null device on each closed descriptor of 0, 1 and 2; unset COLUMNS and LINES if they are 0.

    Otherwise a file that is opened later gets the closed descriptor, and prints of libraries are written to it. rich
    prints nothing if COLUMNS is 0. Standard output writes file names that are not UTF-8 as bytes; standard error
    escapes them.
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
    """Ignore failed writes to sys.stdout and sys.stderr, or to the named streams, in the context."""
    return _guarded_streams(names or ("stdout", "stderr"), lambda error: None)


def run_ignoring_write_errors(run: Callable[[], int]) -> int:
    """Run a command whose results are in a folder, ignoring failed writes to standard streams; return its exit code."""
    with ignore_write_errors():
        code = run()
        flush_or_discard()
    return code


def raise_write_errors() -> AbstractContextManager[None]:
    """Raise StdoutError for a failed write to sys.stdout in the context, in print and in rich."""

    def refuse(error: OSError) -> None:
        raise StdoutError(error) from None

    return _guarded_streams(("stdout",), refuse)


@contextmanager
def _guarded_streams(names: tuple[str, ...], failed: Callable[[OSError], None]) -> Iterator[None]:
    before = {name: stream for name in names if (stream := getattr(sys, name)) is not None}
    originals = {
        name: stream._stream if isinstance(stream, GuardedStream) else stream for name, stream in before.items()
    }
    guards = {
        name: GuardedStream(stream, failed) for name, stream in originals.items()
    }  # only the innermost guard counts
    for name, guard in guards.items():
        setattr(sys, name, guard)
    try:
        yield
    finally:
        for name, guard in guards.items():
            if getattr(sys, name) is guard:
                setattr(sys, name, before[name])


def flush_or_discard() -> None:
    """Flush the streams before the process ends; drop what cannot be written, or the exit code would be 120."""
    for stream in (sys.stdout, sys.stderr):
        try:
            if stream is not None:
                stream.flush()
        except (OSError, ValueError):
            redirect_to_null(stream)


def redirect_to_null(stream: Any) -> None:
    """Redirect a stream's descriptor, and its buffered text, to the null device."""
    with suppress(OSError, ValueError, AttributeError):
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, stream.fileno())
        os.close(null)
        stream.flush()
