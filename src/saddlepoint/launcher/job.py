"""A job: a process that trains one run, and its state."""

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

# states of a job. DONE_BEFORE: its run was finished before; TRAINED_ELSEWHERE: another process trains or trained it
WAITING, RUNNING, FINISHED, FAILED, STOPPED, DONE_BEFORE, TRAINED_ELSEWHERE = (
    "waiting", "running", "finished", "failed", "stopped", "done before", "trained elsewhere",
)  # fmt: skip
IN_USE = "in use: another process is training there"  # message of a process whose run folder is locked
SIGNATURE_TIMEOUT = 1.0  # seconds to wait for the name of the process that claimed a job
TAIL_BYTES = 4096  # bytes that are read from the end of a file


@dataclass
class Job:
    """A process that trains the run of a config file."""

    label: str  # what distinguishes it from other jobs: "objective=hinge seed=1"
    command: list[str]
    folder: Path  # the run folder
    log_file: Path  # output of the process
    images: int  # length of the run
    state: str = WAITING
    exit_code: int | None = None
    started_at: float = 0.0  # time.monotonic()
    ended_at: float = 0.0
    images_before: int = 0  # images of the run before this start
    location: str = ""  # its accelerator, or its job id on the cluster
    reason: str = ""  # why it is not started: an earlier failure, or the process that trains it
    write_config: Callable[[], object] = lambda: None  # writes the config that `command` reads
    log_start: int = 0  # byte of the log at which the output of this process starts
    _claim: IO[bytes] | None = None  # the log, open and locked, while its process runs

    @property
    def run(self) -> Run:
        """The run folder; another process may hold its lock."""
        return Run(self.folder)

    @property
    def has_ended(self) -> bool:
        return self.state not in (WAITING, RUNNING)

    @property
    def seconds(self) -> float:
        """Seconds that it has been running."""
        return (self.ended_at or time.monotonic()) - self.started_at if self.started_at else 0.0

    @property
    def images_shown(self) -> int:
        """Images shown so far, from its journal."""
        rows = (parse_json(line) for line in reversed(_last_lines(self.folder / "metrics.jsonl")))
        counts = (row.get("images") for row in rows if isinstance(row, dict))
        return next((images for images in counts if isinstance(images, int)), 0)

    @property
    def rate(self) -> float:
        """Images per second since this start; 0 before the first journal entry."""
        done = (self.images if self.state == FINISHED else self.images_shown) - self.images_before
        return done / self.seconds if done > 0 and self.seconds else 0.0

    @property
    def last_message(self) -> str:
        """The reason, or the signal that killed it and the last line that it printed."""
        last_line = next(
            (line.strip() for line in reversed(_last_lines(self.log_file, self.log_start)) if line.strip()), ""
        )
        return self.reason or ": ".join(filter(None, (self._killed_by, last_line))) or "it printed nothing"

    @property
    def _killed_by(self) -> str:
        """ "killed by SIGKILL (out of memory?)"; "" if it was not killed, or was asked to end."""
        if self.state != FAILED or self.exit_code is None or self.exit_code >= 0:
            return ""
        name = next((s.name for s in signal.Signals if s == -self.exit_code), f"signal {-self.exit_code}")
        return f"killed by {name}{' (out of memory?)' if name == 'SIGKILL' else ''}"

    def claim(self) -> IO[bytes] | None:
        """Lock the log, write the config and return the open log; None if another process has the run.

        The lock ends with the job; if this process is killed, it ends with the job's process.
        """
        log = claim_log(self.log_file)
        if log is None or self.run.in_use:
            if log is not None:
                log.close()
            self.mark_trained_elsewhere()
            return None
        self._claim, self.log_start = log, log.seek(0, os.SEEK_END)  # keep the output of earlier attempts
        self.run.write_holder()
        self.write_config()
        return log

    def mark_trained_elsewhere(self) -> None:
        """Record that another process trains the run."""
        until = time.monotonic() + SIGNATURE_TIMEOUT
        while not self.run.holder and time.monotonic() < until:
            time.sleep(0.01)
        self.state, self.reason = TRAINED_ELSEWHERE, f"by {self.run.holder or 'another process'}"
        self.started_at = self.started_at or time.monotonic()
        self.ended_at = time.monotonic()

    def mark_started(self, location: str = "") -> None:
        self.images_before = self.images_shown
        self.state, self.started_at, self.location = RUNNING, time.monotonic(), location

    def mark_ended(self, code: int, stopped: bool = False) -> None:
        """Record the exit code and the state that follows from it."""
        self.exit_code, self.ended_at = code, time.monotonic()
        if self._claim is not None:
            release_log(self._claim)
        self.state = FINISHED if code == 0 else STOPPED if stopped else FAILED
        if self.state == FAILED and IN_USE in self.last_message:
            self.mark_trained_elsewhere()


def claim_log(log: Path) -> IO[bytes] | None:
    """Open the log of a job to append and lock it; None if a running process, or its launcher, holds the lock."""
    file = log.open("ab")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        file.close()
        return None
    except OSError:  # a file system without locks
        pass
    return file


def release_log(log: IO[bytes]) -> None:
    """Unlock and close a log, even if processes left by the job have it open."""
    with suppress(OSError):
        fcntl.flock(log, fcntl.LOCK_UN)
    log.close()


def _last_lines(path: Path, start: int = 0) -> list[str]:
    """Return the lines in the last TAIL_BYTES of a file, from byte `start` on; [] if there is no file."""
    try:
        with path.open("rb") as file:
            file.seek(max(start, path.stat().st_size - TAIL_BYTES))
            return file.read().decode(errors="replace").splitlines()
    except OSError:
        return []
