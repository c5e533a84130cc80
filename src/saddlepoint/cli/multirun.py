"""saddlepoint train -m: one run for each combination of values; a table with each run's end and first score."""

from collections.abc import Sequence
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table

from saddlepoint.config.check import check_logger_installed
from saddlepoint.console.output import current_output
from saddlepoint.launcher.job import DONE_BEFORE, FINISHED, TRAINED_ELSEWHERE, Job
from saddlepoint.multirun.multirun import build_configs, folder_of_config, train_all
from saddlepoint.multirun.run_table import format_first_score


def command(overrides: Sequence[str], config_dir: str | None = None, cfg: bool = False) -> int:
    """Train all runs. Return 0 if every run is finished, else 1."""
    console, output = Console(stderr=True), current_output()
    configs = build_configs(overrides, config_dir)
    if cfg:
        print("\n".join(f"{label}  {folder_of_config(config)}" for label, config in configs))
        return 0
    for _, config in configs:
        check_logger_installed(config)
    jobs = train_all(configs, console)
    output.print_result([_result_table(jobs, output.width)], {"runs": [_job_entry(job) for job in jobs]})
    done = (
        job.state in (FINISHED, DONE_BEFORE) or (job.state == TRAINED_ELSEWHERE and job.exit_code == 0) for job in jobs
    )
    return 0 if all(done) else 1


def _result_table(jobs: Sequence[Job], width: int) -> Table:
    keys = list(dict.fromkeys(key for job in jobs if (key := format_first_score(job)[0])))
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False, width=None)
    table.add_column("run", overflow="fold")
    for name in ("state", *keys):
        table.add_column(name, justify="right", no_wrap=len(name) < width // 2, overflow="fold")
    for job in jobs:
        score, value = format_first_score(job)
        table.add_row(job.label, job.state, *(value if key == score else "" for key in keys))
    return table


def _job_entry(job: Job) -> dict[str, Any]:
    summary = job.run.summary
    return {
        "label": job.label,
        "run": job.folder,
        "state": job.state,
        "reason": job.reason or None,
        **{key: summary.get(key) for key in ("status", "images", "seconds", "final", "best")},
    }
