"""Launcher for a cluster: SLURM jobs, submitted with submitit (github.com/facebookincubator/submitit)."""

import os
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Literal

from saddlepoint.error import Mistake, first_line
from saddlepoint.launcher.job import WAITING, Job, claim_log, release_log
from saddlepoint.schema import Count, Natural, validate_init

ALREADY_TRAINED = 75  # exit code of a job whose run another process trains: EX_TEMPFAIL of sysexits.h


class Submitit:
    """Submit all jobs at once; SLURM queues them and runs at most `processes` at the same time.

    Args:
        cluster: "slurm", "local" or "debug"; None: SLURM if available, else this machine
        processes: maximum number of jobs at the same time
        threads: CPUs per job, and torch threads
        gpus: GPUs per job
        minutes: time limit of a job; repeat the command to resume jobs that reached it
        memory_gib, partition, account, constraint: as in SLURM; None: its default
        folder: folder of submitit's files; None: next to the runs
    Raises Mistake if SLURM is requested and not available.
    """

    @validate_init("launcher")
    def __init__(
        self,
        cluster: Literal["slurm", "local", "debug"] | None = None,
        processes: Count = 16,
        threads: Count = 1,
        gpus: Natural = 0,
        minutes: Count = 240,
        memory_gib: Count | None = None,
        partition: str | None = None,
        account: str | None = None,
        constraint: str | None = None,
        folder: str | None = None,
    ) -> None:
        self.cluster, self.processes, self.threads, self.folder = cluster, processes, threads, folder
        self.parameters = {"timeout_min": minutes, "cpus_per_task": threads, "gpus_per_node": gpus, "tasks_per_node": 1}
        self.parameters |= {} if memory_gib is None else {"mem_gb": memory_gib}
        slurm = {"partition": partition, "account": account, "constraint": constraint, "array_parallelism": processes}
        self.slurm = {f"slurm_{name}": value for name, value in slurm.items() if value is not None}

    def run(self, jobs: Sequence[Job], watch: Callable[[], None], seconds_between: float = 2.0) -> None:
        """Submit the waiting jobs and poll them until all have ended; on an interrupt cancel the remaining ones."""
        waiting = [job for job in jobs if job.state == WAITING]
        submitted = self._submit_jobs(waiting) if waiting else []
        try:
            while any(not job.has_ended for job in waiting):
                for job, handle in zip(waiting, submitted, strict=True):
                    _update_job(job, handle)
                watch()
                time.sleep(seconds_between)
        except BaseException:
            for job, handle in zip(waiting, submitted, strict=True):
                if not job.has_ended:
                    handle.cancel()
                    job.mark_ended(130, stopped=True)
            raise
        finally:
            watch()

    def _submit_jobs(self, jobs: Sequence[Job]) -> list[Any]:
        import submitit

        folder = Path(self.folder) if self.folder else jobs[0].log_file.parents[1] / ".submitit"
        try:
            executor = submitit.AutoExecutor(folder, cluster=self.cluster)
            if self.cluster is None and executor.cluster == "local":
                print("launcher=submitit: no SLURM here, so the jobs run on this machine", file=sys.stderr)
            executor.update_parameters(**self.parameters, **self.slurm)
            for job in jobs:
                job.write_config()
                job.log_start = job.log_file.stat().st_size if job.log_file.exists() else 0
            with executor.batch():
                return [executor.submit(run_job, job.command, str(job.log_file), self.threads) for job in jobs]
        except (RuntimeError, ValueError, OSError) as error:  # no SLURM, or an error of sbatch
            raise Mistake(f"launcher=submitit: {first_line(error)}") from None


def run_job(command: list[str], log: str, threads: int) -> int:
    """Run one job on its cluster node. Return its exit code."""
    env = os.environ | {"OMP_NUM_THREADS": str(threads), "MKL_NUM_THREADS": str(threads)}
    if (file := claim_log(Path(log))) is None:
        return ALREADY_TRAINED
    try:
        return subprocess.run(command, env=env, stdout=file, stderr=subprocess.STDOUT, check=False).returncode
    finally:
        release_log(file)


def _update_job(job: Job, handle: Any) -> None:
    if job.has_ended:
        return
    if handle.done():
        failure = handle.exception()  # a failure of submitit or the cluster; a job's own is in its exit code
        if failure is not None:
            with job.log_file.open("ab") as log:
                log.write(f"\n{first_line(failure)}\n".encode())
        code = 1 if failure is not None else handle.result()
        job.mark_trained_elsewhere() if code == ALREADY_TRAINED else job.mark_ended(code)
    elif job.state == WAITING and handle.state.upper() in ("RUNNING", "R"):
        job.mark_started(f"job {handle.job_id}")
