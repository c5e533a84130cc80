"""The progress of several runs as a live table, or as lines if the output is not a terminal."""

import time
from collections.abc import Sequence
from typing import Any

from rich.console import Console, Group
from rich.progress import BarColumn, Progress, TextColumn

from saddlepoint.console.live_table import RIGHT_ALIGNED, LiveTable, build_table, format_clock, seconds_left
from saddlepoint.launcher.job import DONE_BEFORE, FAILED, FINISHED, RUNNING, STOPPED, TRAINED_ELSEWHERE, WAITING, Job
from saddlepoint.run.alarm import raised_alarms

STYLES = {
    RUNNING: "bold", FAILED: "red", STOPPED: "yellow", TRAINED_ELSEWHERE: "yellow", FINISHED: "green",
    DONE_BEFORE: "dim",
}  # fmt: skip
ROWS = 12  # of the table: running jobs, failed jobs, and the latest of the others


class RunTable(LiveTable):
    """The state of jobs; `log_summary` reports how they ended."""

    def __init__(self, jobs: Sequence[Job], console: Console, processes: int) -> None:
        super().__init__(console)
        self.jobs, self.processes = jobs, processes
        self._started_at = time.monotonic()

    def log_summary(self) -> None:
        """Log the number of jobs by state, and the log file of each failed job."""
        states = [job.state for job in self.jobs]
        counts = ", ".join(f"{states.count(state)} {state}" for state in dict.fromkeys(states))
        self.log(f"{len(states)} runs: {counts}, {format_clock(time.monotonic() - self._started_at)}")
        for job in self.jobs:
            if job.state == TRAINED_ELSEWHERE:
                finished = ", which has finished it" if job.exit_code == 0 else ""
                self.log(f"{job.state}: {job.label}: {job.last_message}{finished}")
            elif job.state in (FAILED, STOPPED):
                output = f"\n  its output: {job.log_file}" if job.log_file.exists() else ""
                self.log(f"{job.state}: {job.label}: {job.last_message}{output}")
        unfinished = (job.state in (FAILED, STOPPED, WAITING) and not job.reason for job in self.jobs)
        if any(unfinished) or any(job.state == TRAINED_ELSEWHERE and job.exit_code != 0 for job in self.jobs):
            self.log("run the same command again to train the unfinished runs")

    def rows(self) -> Sequence[Job]:
        return self.jobs

    def build_view(self) -> Group:
        columns = [(name, RIGHT_ALIGNED) for name in ("state", "images", "images/s", "left", "score")]
        rows = ((self._row_cells(job), STYLES.get(job.state, "")) for job in self._shown_jobs())
        return build_table(self._progress_bar(), [("run", {"overflow": "fold"}), *columns], rows)

    def _shown_jobs(self) -> list[Job]:
        running = [job for job in self.jobs if job.state == RUNNING]
        failed = [job for job in self.jobs if job.state in (FAILED, TRAINED_ELSEWHERE)]
        finished = sorted((job for job in self.jobs if job.state == FINISHED), key=lambda job: job.ended_at)
        room = max(3, ROWS - len(running) - len(failed[-ROWS:]))
        return [*running, *failed[-ROWS:], *reversed(finished[-room:])]

    def _row_cells(self, job: Job) -> list[str]:
        images = job.images_shown if job.state == RUNNING else 0
        rate = job.rate
        left = format_clock(max(0, job.images - images) / rate) if rate else ""
        if job.state == RUNNING:
            return [job.label, job.location or job.state, f"{images:,} of {job.images:,}", f"{rate:,.0f}", left, ""]
        if job.state in (FAILED, TRAINED_ELSEWHERE):
            return [f"{job.label}\n{job.last_message[:200]}", job.state, "", "", "", ""]
        return [job.label, job.state, f"{job.images:,}", f"{rate:,.0f}", "", " ".join(format_first_score(job)).strip()]

    def start_message(self) -> str:
        done = sum(job.state == DONE_BEFORE for job in self.jobs)
        earlier = f", {done} finished before" if done else ""
        return f"{len(self.jobs)} runs{earlier}, {self.processes} at a time"

    def _progress_bar(self) -> Progress:
        failed = sum(job.state == FAILED for job in self.jobs)
        left = f", {format_clock(self.time_left)} left" if self.time_left is not None else ""
        text = f"{self.n_ended} of {len(self.jobs)} runs over{f', {failed} failed' if failed else ''}{left}"
        bar = Progress(BarColumn(24), TextColumn(text), console=self.console)
        bar.add_task("", total=len(self.jobs), completed=self.n_ended)
        return bar

    def row_message(self, job: Job) -> str:
        if job.state == RUNNING:
            return f"started   {job.label}{f' on {job.location}' if job.location else ''}"
        left = f", {format_clock(self.time_left)} left" if self.time_left else ""
        progress = f"[{self.n_ended}/{len(self.jobs)}{left}]"
        if job.state == TRAINED_ELSEWHERE:
            return f"{job.state} {job.label}: {job.last_message}  {progress}"
        if job.state == FINISHED:
            alarms = raised_alarms(job.run.folder)
            result = " ".join(format_first_score(job)).strip() + f", alarms: {', '.join(alarms)}" * bool(alarms)
        else:
            result = f"{job.last_message} ({job.log_file})"
        return f"{job.state:<9} {job.label}, {format_clock(job.seconds)}: {result}  {progress}"

    @property
    def n_ended(self) -> int:
        """The number of jobs that have ended."""
        return sum(job.has_ended for job in self.jobs)

    @property
    def time_left(self) -> float | None:
        """The estimated seconds until all jobs end; None before the first has finished."""
        durations = [job.seconds for job in self.jobs if job.state == FINISHED]
        running = [job.seconds for job in self.jobs if job.state == RUNNING]
        return seconds_left(durations, running, len(self.jobs) - self.n_ended - len(running), self.processes)


def format_first_score(job: Job) -> tuple[str, str]:
    """Return the name and the value of a finished run's first score; ("", "") if it has none."""
    final: dict[str, Any] = job.run.summary.get("final") or {}
    return next(((name, f"{score['value']:.4g}") for name, score in final.items()), ("", ""))
