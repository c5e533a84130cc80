"""saddlepoint train -m: one run for each combination of values; a table of how each ended, and of its first score."""

from collections.abc import Sequence
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table

from saddlepoint.config.check import installed
from saddlepoint.console.output import result
from saddlepoint.launcher.job import BUSY, DONE, FINISHED, Job
from saddlepoint.multirun.board import first_score
from saddlepoint.multirun.multirun import expanded, folder_of, launched


def command(words: Sequence[str], config_dir: str | None = None, cfg: bool = False) -> int:
    """0 where every run is finished in the end, 1 where one is not."""
    console, output = Console(stderr=True), result()
    configs = expanded(words, config_dir)
    if cfg:
        print("\n".join(f"{label}  {folder_of(config)}" for label, config in configs))
        return 0
    for _, config in configs:
        installed(config)
    jobs = launched(configs, console)
    output([_table(jobs, output.width)], {"runs": [_job(job) for job in jobs]})
    return 0 if all(job.state in (FINISHED, DONE) or (job.state == BUSY and job.exit == 0) for job in jobs) else 1


def _table(jobs: Sequence[Job], width: int) -> Table:
    keys = list(dict.fromkeys(key for job in jobs if (key := first_score(job)[0])))
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False, width=None)
    table.add_column("run", overflow="fold")
    for name in ("state", *keys):
        table.add_column(name, justify="right", no_wrap=len(name) < width // 2, overflow="fold")
    for job in jobs:
        own, value = first_score(job)
        table.add_row(job.label, job.state, *(value if key == own else "" for key in keys))
    return table


def _job(job: Job) -> dict[str, Any]:
    summary = job.run.summary
    return {
        "label": job.label,
        "run": job.folder,
        "state": job.state,
        "reason": job.reason or None,
        **{key: summary.get(key) for key in ("status", "images", "seconds", "final", "best")},
    }
