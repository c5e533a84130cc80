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

from saddlepoint.run.folder import Run, parse_json

# how a job stands. DONE: its run was finished before; BUSY: another process trains it, or did
WAITING, RUNNING, FINISHED, FAILED, STOPPED, DONE_BEFORE, TRAINED_ELSEWHERE = (
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
    exit_code: int | None = None
    started_at: float = 0.0  # time.monotonic()
    ended_at: float = 0.0
    images_before: int = 0  # images that its run had shown before this start
    location: str = ""  # the accelerator, or the cluster's number for it
    reason: str = ""  # why it is not to be begun: it failed before, or who trains it
    write_config: Callable[[], object] = lambda: None  # writes the config that `command` reads
    log_start: int = 0  # of the log, where what its own process printed begins
    _claim: IO[bytes] | None = None  # the log, open and locked, while its process runs

    @property
    def run(self) -> Run:
        """The run folder, of which others may hold the lock."""
        return Run(self.folder)

    @property
    def has_ended(self) -> bool:
        return self.state not in (WAITING, RUNNING)

    @property
    def seconds(self) -> float:
        """That it has been running."""
        return (self.ended_at or time.monotonic()) - self.started_at if self.started_at else 0.0

    @property
    def images_shown(self) -> int:
        """Images that it has shown so far, as its journal says."""
        rows = (parse_json(line) for line in reversed(_tail(self.folder / "metrics.jsonl")))
        said = (row.get("images") for row in rows if isinstance(row, dict))
        return next((images for images in said if isinstance(images, int)), 0)

    @property
    def rate(self) -> float:
        """Images per second since it began, 0 before it said any; those of an earlier start do not count."""
        done = (self.images if self.state == FINISHED else self.images_shown) - self.images_before
        return done / self.seconds if done > 0 and self.seconds else 0.0

    @property
    def last_message(self) -> str:
        """The last line that it printed: of a failure, what went wrong; before it, the signal that killed it."""
        said = next((line.strip() for line in reversed(_tail(self.log, self.log_start)) if line.strip()), "")
        return self.reason or ": ".join(filter(None, (self._killed, said))) or "it printed nothing"

    @property
    def _killed(self) -> str:
        """ "killed by SIGKILL (out of memory?)"; "" where it ended by itself, or was asked to end."""
        if self.state != FAILED or self.exit_code is None or self.exit_code >= 0:
            return ""
        name = next((one.name for one in signal.Signals if one == -self.exit_code), f"signal {-self.exit_code}")
        return f"killed by {name}{' (out of memory?)' if name == 'SIGKILL' else ''}"

    def claim(self) -> IO[bytes] | None:
        """The log, for its process to print to, and its config written; None where another process has the run.

        The claim is a lock of the log. It ends with the job, and where this process is killed, with the job's process.
        """
        log = claim_log(self.log)
        if log is None or self.run.in_use:
            if log is not None:
                log.close()
            self.mark_trained_elsewhere()
            return None
        self._claim, self.log_start = log, log.seek(0, os.SEEK_END)  # what an earlier attempt printed stays
        self.run.write_holder()
        self.write_config()
        return log

    def mark_trained_elsewhere(self) -> None:
        """Note that another process trains the run."""
        until = time.monotonic() + SIGNED
        while not self.run.holder and time.monotonic() < until:
            time.sleep(0.01)
        self.state, self.reason = TRAINED_ELSEWHERE, f"by {self.run.holder or 'another process'}"
        self.started_at = self.started_at or time.monotonic()
        self.ended_at = time.monotonic()

    def mark_started(self, place: str = "") -> None:
        self.images_before = self.images_shown
        self.state, self.started_at, self.location = RUNNING, time.monotonic(), place

    def mark_ended(self, code: int, stopped: bool = False) -> None:
        """Note its exit code, and what that means."""
        self.exit_code, self.ended_at = code, time.monotonic()
        if self._claim is not None:
            release_log(self._claim)
        self.state = FINISHED if code == 0 else STOPPED if stopped else FAILED
        if self.state == FAILED and IN_USE in self.last_message:
            self.mark_trained_elsewhere()


def claim_log(log: Path) -> IO[bytes] | None:
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


def release_log(log: IO[bytes]) -> None:
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
