"""One of many runs: a process to start, and how it stands."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

# how a job stands. DONE: its run was finished before; BUSY: another process is training there
WAITING, RUNNING, FINISHED, FAILED, STOPPED, DONE, BUSY = (
    "waiting", "running", "finished", "failed", "stopped", "done before", "busy elsewhere",
)  # fmt: skip
TAIL = 4096  # bytes of a file's end that are looked at


@dataclass
class Job:
    """A process that trains one run, which its frozen config describes."""

    label: str  # what makes it differ from the others, "objective=hinge seed=1"
    command: list[str]
    folder: Path  # of the run
    log: Path  # what the process prints
    images: int  # that it is to show
    state: str = WAITING
    exit: int | None = None
    started: float = 0.0  # time.monotonic()
    ended: float = 0.0
    earlier: int = 0  # images that its run had shown before this start
    place: str = ""  # the accelerator, or the cluster's number for it
    reason: str = ""  # why it is not to be begun, where it failed before

    @property
    def over(self) -> bool:
        return self.state not in (WAITING, RUNNING)

    @property
    def seconds(self) -> float:
        """That it has been running."""
        return (self.ended or time.monotonic()) - self.started if self.started else 0.0

    @property
    def shown(self) -> int:
        """Images that it has shown so far, as its journal says."""
        return next(
            (row["images"] for line in reversed(_tail(self.folder / "metrics.jsonl")) if (row := _row(line))), 0
        )

    @property
    def rate(self) -> float:
        """Images per second since it began, 0 before it said any; those of an earlier start do not count."""
        done = (self.images if self.state == FINISHED else self.shown) - self.earlier
        return done / self.seconds if done > 0 and self.seconds else 0.0

    @property
    def last_words(self) -> str:
        """The last line that it printed: of a failure, what went wrong; before it, the signal that killed it."""
        said = next((line.strip() for line in reversed(_tail(self.log)) if line.strip()), "")
        return self.reason or ": ".join(filter(None, (self._killed, said))) or "it printed nothing"

    @property
    def _killed(self) -> str:
        """ "killed by SIGKILL (out of memory?)"; "" where it ended by itself, or was asked to end."""
        if self.state != FAILED or self.exit is None or self.exit >= 0:
            return ""
        name = next((one.name for one in signal.Signals if one == -self.exit), f"signal {-self.exit}")
        return f"killed by {name}{' (out of memory?)' if name == 'SIGKILL' else ''}"

    def begin(self, place: str = "") -> None:
        self.earlier = self.shown
        self.state, self.started, self.place = RUNNING, time.monotonic(), place

    def end(self, code: int, stopped: bool = False) -> None:
        """Note its exit code, and what that means."""
        self.exit, self.ended = code, time.monotonic()
        self.state = FINISHED if code == 0 else STOPPED if stopped else FAILED
        if self.state == FAILED and "in use: another process is training there" in self.last_words:
            self.state = BUSY


@contextmanager
def suspended_together(processes: Callable[[], Iterable[subprocess.Popen]]) -> Iterator[None]:
    """Meanwhile Ctrl-Z (SIGTSTP) suspends these processes with this one, and they continue with it.

    Each has a session of its own, which the terminal does not reach.
    """

    def suspend(number: int, frame: object) -> None:
        running = [process for process in processes() if process.poll() is None]
        for process in running:
            process.send_signal(signal.SIGSTOP)
        os.kill(os.getpid(), signal.SIGSTOP)
        for process in running:
            process.send_signal(signal.SIGCONT)

    if threading.current_thread() is not threading.main_thread() or signal.getsignal(signal.SIGTSTP) != signal.SIG_DFL:
        yield
        return
    signal.signal(signal.SIGTSTP, suspend)
    try:
        yield
    finally:
        signal.signal(signal.SIGTSTP, signal.SIG_DFL)


def _tail(path: Path) -> list[str]:
    """The last whole lines of a file, [] where there is none."""
    try:
        with path.open("rb") as file:
            file.seek(max(0, path.stat().st_size - TAIL))
            return file.read().decode(errors="replace").splitlines()
    except OSError:
        return []


def _row(line: str) -> dict | None:
    try:
        row = json.loads(line)
    except ValueError:
        return None
    return row if isinstance(row, dict) and isinstance(row.get("images"), int) else None
