"""Many runs on this machine: a pool of processes, each with its own threads, and an accelerator where there is one."""

from __future__ import annotations

import os
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Literal

from saddlepoint.error import Halted, ending_signals
from saddlepoint.launcher.job import WAITING, Job, suspended_together
from saddlepoint.schema import Count, Natural, checked

PATIENCE = 60.0  # seconds that a stopped process has to save what it did


@contextmanager
def ended_as_interrupted() -> Iterator[None]:
    """Meanwhile a signal that asks for the end (a terminal that closes is one) raises Halted in this process."""

    def interrupt(number: int, _: object) -> None:
        raise Halted(number)

    here = threading.current_thread() is threading.main_thread()  # no other may set them
    signals = [one for one in ending_signals() if here and signal.getsignal(one) == signal.SIG_DFL]
    for one in signals:
        signal.signal(one, interrupt)
    try:
        yield
    finally:
        for one in signals:
            signal.signal(one, signal.SIG_DFL)


class Local:
    """At most `processes` jobs at once, `threads` threads of torch each.

    processes  None: one per accelerator, else as many as the cores allow
    gpus       accelerators to deal out in turn: "auto" for those that are there, or how many
    devices    how many of them each job takes, or of the CPU's cores
    Raises Mistake for numbers that make no sense.
    """

    @checked("launcher")
    def __init__(
        self,
        processes: Count | None = None,
        threads: Count = 1,
        gpus: Natural | Literal["auto"] = "auto",
        devices: Count = 1,
    ) -> None:
        self.threads, self.devices = threads, devices
        self.gpus = _accelerators() if gpus == "auto" else _numbered(int(gpus))
        cores = os.cpu_count() or 1
        self.processes = processes or len(self.gpus) // devices or max(1, cores // (threads * devices))

    @ended_as_interrupted()
    def run(self, jobs: Sequence[Job], watch: Callable[[], None], seconds_between: float = 0.25) -> None:
        """Start what waits, in order, until all is over; `watch` is called along the way.

        A job that fails stops no other.  On an interrupt, and where this process is told to end, every process is
        told, and has time to save: each has a session of its own, and would otherwise train on unwatched.
        """
        running: dict[int, tuple[Job, subprocess.Popen]] = {}  # by slot
        queue = [job for job in jobs if job.state == WAITING]
        together = suspended_together(lambda: [process for _, process in running.values()])
        try:
            with together:
                while queue or running:
                    for slot in range(self.processes):
                        while queue and slot not in running:
                            job = queue.pop(0)
                            if (process := self.started(job, slot)) is not None:
                                running[slot] = job, process
                    for slot, (job, process) in list(running.items()):
                        if (code := process.poll()) is not None:
                            job.end(code)
                            del running[slot]
                    watch()
                    if running:
                        time.sleep(seconds_between)
        except BaseException:
            _stop(list(running.values()))
            raise
        finally:
            watch()

    def dealt(self, slot: int) -> list[str]:
        """The accelerators of a slot, in turn; all where there are fewer than a job takes, which then says so."""
        sets = len(self.gpus) // self.devices
        first = slot % sets * self.devices if sets else 0
        return self.gpus[first : first + self.devices]

    def started(self, job: Job, slot: int) -> subprocess.Popen | None:
        """The process of a job, begun, with the accelerator of its slot; None where another launcher has the job."""
        gpu = ",".join(self.dealt(slot)) or None
        threads = str(self.threads)
        env = os.environ | {"OMP_NUM_THREADS": threads, "MKL_NUM_THREADS": threads}
        env |= {} if gpu is None else {"CUDA_VISIBLE_DEVICES": gpu}
        if (log := job.claim()) is None:
            return None
        job.begin(f"gpu {gpu}" if gpu is not None else "")
        # a session of its own: a Ctrl-C reaches this process alone, which then tells each of them once
        return subprocess.Popen(
            job.command, env=env, stdout=log, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL,
            start_new_session=True,
        )  # fmt: skip


def _stop(running: list[tuple[Job, subprocess.Popen]]) -> None:
    """Ask every process to end; kill those that do not."""
    _tell(running)
    until = time.monotonic() + PATIENCE
    for job, process in running:
        while process.poll() is None:
            try:
                process.wait(max(0.0, until - time.monotonic()))
            except subprocess.TimeoutExpired:
                process.kill()
            except KeyboardInterrupt:  # told again: it is handed on, and a process ends at the second time where it is
                _tell(running)
        job.end(process.returncode, stopped=True)


def _tell(running: list[tuple[Job, subprocess.Popen]]) -> None:
    for _, process in running:
        if process.poll() is None:
            process.terminate()  # an interrupt would not reach what a shell started in the background


def _numbered(count: int) -> list[str]:
    """The first `count` of the devices that this process was given, from 0 on where it was given none in particular."""
    given = _given() or []
    return given[:count] if len(given) >= count else [str(i) for i in range(count)]


def _given() -> list[str] | None:
    """What CUDA_VISIBLE_DEVICES says; None where nobody set it."""
    if (said := os.environ.get("CUDA_VISIBLE_DEVICES")) is None:
        return None
    return [name for name in said.split(",") if name.strip() and name.strip() != "-1"]


def _accelerators() -> list[str]:
    """The CUDA devices that this process may use, by the numbers that they go by."""
    if (given := _given()) is not None:
        return given
    import torch  # here: it takes a second, and a machine without a driver needs it all the same

    return [str(i) for i in range(torch.cuda.device_count())]
