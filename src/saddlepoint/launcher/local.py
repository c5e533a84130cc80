"""Many runs on this machine: a pool of processes, each with its own threads, and an accelerator where there is one."""

import os
from collections.abc import Callable, Sequence
from typing import Literal

from saddlepoint.launcher.job import WAITING, Job
from saddlepoint.launcher.pool import JobProcess, run_pool
from saddlepoint.schema import Count, Natural, validate_init


class Local:
    """At most `processes` jobs at once, `threads` threads of torch each.

    processes  None: one per accelerator, else as many as the cores allow
    gpus       accelerators to deal out in turn: "auto" for those that are there, or how many
    devices    how many of them each job takes, or of the CPU's cores
    Raises Mistake for numbers that make no sense.
    """

    @validate_init("launcher")
    def __init__(
        self,
        processes: Count | None = None,
        threads: Count = 1,
        gpus: Natural | Literal["auto"] = "auto",
        devices: Count = 1,
    ) -> None:
        self.threads, self.devices = threads, devices
        self.gpus = _accelerators(gpus)
        cores = os.cpu_count() or 1
        self.processes = processes or len(self.gpus) // devices or max(1, cores // (threads * devices))

    def run(self, jobs: Sequence[Job], watch: Callable[[], None], seconds_between: float = 0.25) -> None:
        """Start what waits, in order, until all is over; `watch` is called along the way.

        A job that fails stops no other.  On an interrupt, and where this process is told to end, every process is
        told, and has time to save: it would otherwise train on unwatched.
        """
        queue = [job for job in jobs if job.state == WAITING]

        def begin(slot: int) -> JobProcess | None:
            process = None
            while queue and process is None:
                process = self.start_job(queue.pop(0), slot)
            return process

        try:
            run_pool(self.processes, begin, lambda: bool(queue), watch, seconds_between)
        finally:
            watch()

    def slot_gpus(self, slot: int) -> list[str]:
        """The accelerators of a slot, in turn; all where there are fewer than a job takes, which then says so."""
        sets = len(self.gpus) // self.devices
        first = slot % sets * self.devices if sets else 0
        return self.gpus[first : first + self.devices]

    def start_job(self, job: Job, slot: int) -> JobProcess | None:
        """The process of a job, begun, with the accelerator of its slot; None where another launcher has the job."""
        gpu = ",".join(self.slot_gpus(slot)) or None
        threads = str(self.threads)
        env = os.environ | {"OMP_NUM_THREADS": threads, "MKL_NUM_THREADS": threads}
        env |= {} if gpu is None else {"CUDA_VISIBLE_DEVICES": gpu}
        if (log := job.claim()) is None:
            return None
        job.mark_started(f"gpu {gpu}" if gpu is not None else "")
        return JobProcess(job, log, env)


def _accelerators(gpus: int | Literal["auto"]) -> list[str]:
    """So many CUDA devices, by the numbers that they go by: of those that this process was given, else from 0 on."""
    said = os.environ.get("CUDA_VISIBLE_DEVICES")
    given = [name for name in (said or "").split(",") if name.strip() and name.strip() != "-1"]
    if gpus == "auto" and said is not None:
        return given
    if gpus == "auto":
        import torch  # here: it takes a second, and a machine without a driver needs it all the same

        gpus = torch.cuda.device_count()
    return given[:gpus] if len(given) >= gpus else [str(i) for i in range(gpus)]
