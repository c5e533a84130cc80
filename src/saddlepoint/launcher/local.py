"""Launcher for this machine: a pool of processes, each with its own threads and accelerators."""

import os
from collections.abc import Callable, Sequence
from typing import Literal

from saddlepoint.launcher.job import WAITING, Job
from saddlepoint.launcher.pool import JobProcess, run_pool
from saddlepoint.schema import Count, Natural, validate_init


class Local:
    """Run at most `processes` jobs at once, with `threads` torch threads each.

    Args:
        processes: number of jobs at once; None: one per accelerator, else as many as the CPU cores allow
        threads: torch threads per process
        gpus: number of accelerators to assign in turn; "auto": all that are available
        devices: accelerators per job, or CPU processes per job
    Raises Mistake for invalid numbers.
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
        self.gpus = _visible_devices(gpus)
        cores = os.cpu_count() or 1
        self.processes = processes or len(self.gpus) // devices or max(1, cores // (threads * devices))

    def run(self, jobs: Sequence[Job], watch: Callable[[], None], seconds_between: float = 0.25) -> None:
        """Run the waiting jobs in order until all have ended; `watch` is called regularly.

        A failed job does not stop the others. On an interrupt or ending signal, every process is asked to end and has
        time to save; otherwise it would continue without a supervisor.
        """
        queue = [job for job in jobs if job.state == WAITING]

        def start_next(slot: int) -> JobProcess | None:
            process = None
            while queue and process is None:
                process = self.start_job(queue.pop(0), slot)
            return process

        try:
            run_pool(self.processes, start_next, lambda: bool(queue), watch, seconds_between)
        finally:
            watch()

    def slot_gpus(self, slot: int) -> list[str]:
        """Return the accelerators of a slot; all of them if a job needs more, which then fails with a message."""
        sets = len(self.gpus) // self.devices
        first = slot % sets * self.devices if sets else 0
        return self.gpus[first : first + self.devices]

    def start_job(self, job: Job, slot: int) -> JobProcess | None:
        """Start the process of a job on the accelerators of its slot; None if another launcher has the job."""
        gpu = ",".join(self.slot_gpus(slot)) or None
        threads = str(self.threads)
        env = os.environ | {"OMP_NUM_THREADS": threads, "MKL_NUM_THREADS": threads}
        env |= {} if gpu is None else {"CUDA_VISIBLE_DEVICES": gpu}
        if (log := job.claim()) is None:
            return None
        job.mark_started(f"gpu {gpu}" if gpu is not None else "")
        return JobProcess(job, log, env)


def _visible_devices(gpus: int | Literal["auto"]) -> list[str]:
    """Return the numbers of CUDA devices: of those visible to this process, else from 0 on."""
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    names = [name for name in (visible or "").split(",") if name.strip() and name.strip() != "-1"]
    if gpus == "auto" and visible is not None:
        return names
    if gpus == "auto":
        import torch  # imported here: it takes a second, and is rarely needed

        gpus = torch.cuda.device_count()
    return names[:gpus] if len(names) >= gpus else [str(i) for i in range(gpus)]
