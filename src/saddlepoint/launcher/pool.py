"""A pool of slots for tasks, and child processes that are suspended and stopped together.

Each child process has its own session: Ctrl-C reaches only the pool's process, which then stops each child once.
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

STOP_TIMEOUT = 60.0  # seconds for a process to save its run after it was asked to end
_CHILDREN: WeakSet[subprocess.Popen] = WeakSet()  # child processes of this process


class Task(Protocol):
    """The work of one slot."""

    def poll(self) -> bool:
        """Make progress. Return whether the task has ended."""
        ...

    def request_stop(self) -> None:
        """Ask the task to end; `poll` returns whether it has. A second call makes it end at once."""


class JobProcess:
    """The running process of a job, which prints to the job's log."""

    def __init__(self, job: Job, log: IO[bytes], env: Mapping[str, str]) -> None:
        self.job = job
        self._process = start_process(job.command, env, stdout=log, stderr=subprocess.STDOUT)
        self._deadline: float | None = None  # deadline, after it was asked to end

    def poll(self) -> bool:
        """Whether the process has ended, which is recorded in its job. It is killed at its deadline."""
        if self.job.has_ended:
            return True
        if (code := self._process.poll()) is None:
            if self._deadline is not None and time.monotonic() > self._deadline:
                self._process.kill()
            return False
        self.job.mark_ended(code, stopped=self._deadline is not None)
        return True

    def request_stop(self, timeout: float | None = None) -> None:
        """Ask the process to end within `timeout` seconds, by default `STOP_TIMEOUT`."""
        if self._process.poll() is None:
            self._process.terminate()  # SIGINT is ignored by processes that a shell started in the background
        if self._deadline is None:
            self._deadline = time.monotonic() + (STOP_TIMEOUT if timeout is None else timeout)


def start_process(
    command: Sequence[str],
    env: Mapping[str, str],
    stdout: IO[bytes] | None = None,
    stderr: IO[bytes] | int | None = None,
) -> subprocess.Popen:
    """Start a process in its own session, without standard input."""
    process = subprocess.Popen(
        command, env=env, stdin=subprocess.DEVNULL, stdout=stdout, stderr=stderr, start_new_session=True
    )
    _CHILDREN.add(process)
    return process


def run_pool(
    slots: int,
    begin: Callable[[int], Task | None],
    more: Callable[[], bool],
    watch: Callable[[], None],
    seconds_between: float,
) -> None:
    """Start tasks in free slots until all have ended and there are no more; `watch` is called regularly.

    On an interrupt, an ending signal or an exception, the running tasks are asked to end and waited for.

    Args:
        slots: number of tasks at once
        begin: starts the next task of a slot and returns it; None if there is none now
        more: whether there are more tasks
        watch: called after each pass over the slots
        seconds_between: pause between two passes, in seconds
    """
    tasks: dict[int, Task] = {}
    with raise_on_ending_signal(), suspend_together():
        try:
            while True:
                for slot in range(slots):
                    if slot not in tasks and (task := begin(slot)) is not None:
                        tasks[slot] = task
                ended = [slot for slot, task in tasks.items() if task.poll()]
                for slot in ended:
                    del tasks[slot]
                watch()
                if not tasks and not more():
                    return
                if not ended:  # else a slot is free for the next task
                    time.sleep(seconds_between)
        except BaseException:
            _stop_all(list(tasks.values()))
            raise


def _stop_all(tasks: list[Task]) -> None:
    """Ask all tasks to end and wait for them; a second interrupt makes them end at once."""
    for task in tasks:
        task.request_stop()
    while tasks:
        try:
            if tasks[0].poll():
                tasks.pop(0)
            else:
                time.sleep(0.02)
        except KeyboardInterrupt:
            for task in tasks:
                task.request_stop()


@contextmanager
def raise_on_ending_signal() -> Iterator[None]:
    """Raise Stopped for an ending signal in the context, for example if the terminal closes."""

    def interrupt(number: int, _: object) -> None:
        raise Stopped(number)

    is_main = threading.current_thread() is threading.main_thread()  # other threads cannot set handlers
    signals = [number for number in ending_signals() if is_main and signal.getsignal(number) == signal.SIG_DFL]
    for number in signals:
        signal.signal(number, interrupt)
    try:
        yield
    finally:
        for number in signals:
            signal.signal(number, signal.SIG_DFL)


@contextmanager
def suspend_together() -> Iterator[None]:
    """Make Ctrl-Z (SIGTSTP) suspend child processes with this one in the context, and continue them together."""

    def suspend(number: int, frame: object) -> None:
        running = [process for process in _CHILDREN if process.poll() is None]
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
