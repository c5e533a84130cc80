"""One of many runs: a process to start, and how it stands."""

import fcntl
import os
import signal
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from saddlepoint.run.folder import Run, parsed

# how a job stands. DONE: its run was finished before; BUSY: another process trains it, or did
WAITING, RUNNING, FINISHED, FAILED, STOPPED, DONE, BUSY = (
    "waiting", "running", "finished", "failed", "stopped", "done before", "trained elsewhere",
)  # fmt: skip
IN_USE = "in use: another process is training there"  # what a process says that finds its run's folder held
SIGNED = 1.0  # seconds in which who has claimed a job says who it is
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
    reason: str = ""  # why it is not to be begun: it failed before, or who trains it
    freeze: Callable[[], object] = lambda: None  # writes the config that `command` reads
    from_byte: int = 0  # of the log, where what its own process printed begins
    _claim: IO[bytes] | None = None  # the log, open and locked, while its process runs

    @property
    def run(self) -> Run:
        """The run folder, of which others may hold the lock."""
        return Run(self.folder)

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
        rows = (parsed(line) for line in reversed(_tail(self.folder / "metrics.jsonl")))
        said = (row.get("images") for row in rows if isinstance(row, dict))
        return next((images for images in said if isinstance(images, int)), 0)

    @property
    def rate(self) -> float:
        """Images per second since it began, 0 before it said any; those of an earlier start do not count."""
        done = (self.images if self.state == FINISHED else self.shown) - self.earlier
        return done / self.seconds if done > 0 and self.seconds else 0.0

    @property
    def last_words(self) -> str:
        """The last line that it printed: of a failure, what went wrong; before it, the signal that killed it."""
        said = next((line.strip() for line in reversed(_tail(self.log, self.from_byte)) if line.strip()), "")
        return self.reason or ": ".join(filter(None, (self._killed, said))) or "it printed nothing"

    @property
    def _killed(self) -> str:
        """ "killed by SIGKILL (out of memory?)"; "" where it ended by itself, or was asked to end."""
        if self.state != FAILED or self.exit is None or self.exit >= 0:
            return ""
        name = next((one.name for one in signal.Signals if one == -self.exit), f"signal {-self.exit}")
        return f"killed by {name}{' (out of memory?)' if name == 'SIGKILL' else ''}"

    def claim(self) -> IO[bytes] | None:
        """The log, for its process to print to, and its config written; None where another process has the run.

        The claim is a lock of the log. It ends with the job, and where this process is killed, with the job's process.
        """
        log = claimed(self.log)
        if log is None or self.run.in_use:
            if log is not None:
                log.close()
            self.lose()
            return None
        self._claim, self.from_byte = log, log.seek(0, os.SEEK_END)  # what an earlier attempt printed stays
        self.run.sign()
        self.freeze()
        return log

    def lose(self) -> None:
        """Note that another process trains the run."""
        until = time.monotonic() + SIGNED
        while not self.run.holder and time.monotonic() < until:
            time.sleep(0.01)
        self.state, self.reason = BUSY, f"by {self.run.holder or 'another process'}"
        self.started = self.started or time.monotonic()
        self.ended = time.monotonic()

    def begin(self, place: str = "") -> None:
        self.earlier = self.shown
        self.state, self.started, self.place = RUNNING, time.monotonic(), place

    def end(self, code: int, stopped: bool = False) -> None:
        """Note its exit code, and what that means."""
        self.exit, self.ended = code, time.monotonic()
        if self._claim is not None:
            release(self._claim)
        self.state = FINISHED if code == 0 else STOPPED if stopped else FAILED
        if self.state == FAILED and IN_USE in self.last_words:
            self.lose()


def claimed(log: Path) -> IO[bytes] | None:
    """The log of a job, opened to append to and locked; None where a live process, or its launcher, holds it."""
    file = log.open("ab")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        file.close()
        return None
    except OSError:  # a file system without locks: as if nobody else were there
        pass
    return file


def release(log: IO[bytes]) -> None:
    """Give up a claim, also for processes that the job has left behind and that have the log open."""
    with suppress(OSError):
        fcntl.flock(log, fcntl.LOCK_UN)
    log.close()


def _tail(path: Path, start: int = 0) -> list[str]:
    """The last whole lines of a file, of those that begin at byte `start` or later; [] where there is none."""
    try:
        with path.open("rb") as file:
            file.seek(max(start, path.stat().st_size - TAIL))
            return file.read().decode(errors="replace").splitlines()
    except OSError:
        return []
