"""A pool: work in slots, so many at a time, and processes that are suspended together and end together.

Each process has a session of its own: a Ctrl-C reaches the pool's process alone, which then tells each of them once.
"""

import os
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import IO, Protocol
from weakref import WeakSet

from saddlepoint.error import Stopped, ending_signals
from saddlepoint.launcher.job import Job

STOP_TIMEOUT = 60.0  # seconds that a process that is asked to end has to save what it did
_STARTED: WeakSet[subprocess.Popen] = WeakSet()  # by this process


class Task(Protocol):
    """What a slot is busy with."""

    def poll(self) -> bool:
        """Do what is due; whether it has ended."""
        ...

    def stop(self) -> None:
        """Ask it to end, `over` says when it has; asked a second time it waits for nothing."""


class JobProcess:
    """The process of a job, begun; the job's log is its output."""

    def __init__(self, job: Job, log: IO[bytes], env: Mapping[str, str]) -> None:
        self.job = job
        self._process = start_process(job.command, env, stdout=log, stderr=subprocess.STDOUT)
        self._until: float | None = None  # it has been asked to end

    def poll(self) -> bool:
        """Whether it has ended, which its job then notes; one that was asked to and takes too long is killed."""
        if self.job.has_ended:
            return True
        if (code := self._process.poll()) is None:
            if self._until is not None and time.monotonic() > self._until:
                self._process.kill()
            return False
        self.job.mark_ended(code, stopped=self._until is not None)
        return True

    def stop(self, patience: float | None = None) -> None:
        """Ask it to end within `patience` seconds, `PATIENCE` where nothing is said."""
        if self._process.poll() is None:
            self._process.terminate()  # an interrupt would not reach what a shell started in the background
        if self._until is None:
            self._until = time.monotonic() + (STOP_TIMEOUT if patience is None else patience)


def start_process(
    command: Sequence[str],
    env: Mapping[str, str],
    stdout: IO[bytes] | None = None,
    stderr: IO[bytes] | int | None = None,
) -> subprocess.Popen:
    """A process with nothing to read, in a session of its own."""
    process = subprocess.Popen(
        command, env=env, stdin=subprocess.DEVNULL, stdout=stdout, stderr=stderr, start_new_session=True
    )
    _STARTED.add(process)
    return process


def run_pool(
    slots: int,
    begin: Callable[[int], Task | None],
    more: Callable[[], bool],
    watch: Callable[[], None],
    seconds_between: float,
) -> None:
    """Begin work in every free slot until all is over and there is no `more`; `watch` is called along the way.

    begin    gives the next piece of work for a slot, begun; None where there is none now
    On an interrupt, where this process is told to end, and where something raises, all that is under way is asked to
    end and waited for.
    """
    working: dict[int, Task] = {}
    with raise_on_ending_signal(), suspend_together():
        try:
            while True:
                for slot in range(slots):
                    if slot not in working and (work := begin(slot)) is not None:
                        working[slot] = work
                ended = [slot for slot, work in working.items() if work.poll()]
                for slot in ended:
                    del working[slot]
                watch()
                if not working and not more():
                    return
                if not ended:  # else a slot is free, and the next begins at once
                    time.sleep(seconds_between)
        except BaseException:
            _end(list(working.values()))
            raise


def _end(working: list[Task]) -> None:
    """Ask all to end and wait; who is told again meanwhile hands it on, and a process ends where it is."""
    for work in working:
        work.stop()
    while working:
        try:
            if working[0].poll():
                working.pop(0)
            else:
                time.sleep(0.02)
        except KeyboardInterrupt:
            for work in working:
                work.stop()


@contextmanager
def raise_on_ending_signal() -> Iterator[None]:
    """Meanwhile a signal that asks for the end (a terminal that closes is one) raises Halted in this process."""

    def interrupt(number: int, _: object) -> None:
        raise Stopped(number)

    here = threading.current_thread() is threading.main_thread()  # no other may set them
    signals = [one for one in ending_signals() if here and signal.getsignal(one) == signal.SIG_DFL]
    for one in signals:
        signal.signal(one, interrupt)
    try:
        yield
    finally:
        for one in signals:
            signal.signal(one, signal.SIG_DFL)


@contextmanager
def suspend_together() -> Iterator[None]:
    """Meanwhile Ctrl-Z (SIGTSTP) suspends what this process has started with it, and they continue together."""

    def suspend(number: int, frame: object) -> None:
        running = [process for process in _STARTED if process.poll() is None]
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
