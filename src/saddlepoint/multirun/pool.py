"""Many runs as a person sees them: a live table on a terminal, a line per event elsewhere."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

from rich import box
from rich.console import Console, Group
from rich.live import Live
from rich.progress import BarColumn, Progress, TextColumn
from rich.table import Table

from saddlepoint.launcher.job import BUSY, DONE, FAILED, FINISHED, RUNNING, STOPPED, WAITING, Job
from saddlepoint.run.folder import Run

STYLES = {RUNNING: "bold", FAILED: "red", STOPPED: "yellow", BUSY: "yellow", FINISHED: "green", DONE: "dim"}
LINES = 12  # of the table: what runs, what failed, and of the others the last


class Board:
    """How jobs stand.  Enter it to show it; `refresh` at any time; `conclude` says how it ended."""

    def __init__(self, jobs: Sequence[Job], console: Console, processes: int) -> None:
        self.jobs, self.console, self.processes = jobs, console, processes
        self._live = Live(console=console, refresh_per_second=2, transient=True) if console.is_terminal else None
        self._told = {id(job): job.state for job in jobs}
        self._drawn = 0.0
        self._start = time.monotonic()

    def __enter__(self) -> Board:
        done = sum(job.state == DONE for job in self.jobs)
        before = f", {done} finished before" if done else ""
        self._say(f"{len(self.jobs)} runs{before}, {self.processes} at a time")
        if self._live is not None:
            self._live.start()
        return self

    def __exit__(self, *error: object) -> None:
        if self._live is not None:
            self._live.stop()

    def refresh(self) -> None:
        """Show what has changed."""
        if self._live is not None:
            if time.monotonic() - self._drawn > 0.5 or all(job.over for job in self.jobs):
                self._live.update(self.table())
                self._drawn = time.monotonic()
            return
        for job in self.jobs:
            if job.state != self._told[id(job)]:
                self._told[id(job)] = job.state
                self._say(self._event(job))

    def conclude(self) -> None:
        """How many ended how, and where to look where one failed."""
        states = [job.state for job in self.jobs]
        counts = ", ".join(f"{states.count(state)} {state}" for state in dict.fromkeys(states))
        self._say(f"{len(states)} runs: {counts}, {_time(time.monotonic() - self._start)}")
        for job in self.jobs:
            if job.state == BUSY:
                self._say(f"{job.state}: {job.label}: {job.last_words}{', which has finished it' * (job.exit == 0)}")
            elif job.state in (FAILED, STOPPED):
                output = f"\n  its output: {job.log}" if job.log.exists() else ""
                self._say(f"{job.state}: {job.label}: {job.last_words}{output}")
        if any(self._left(job) for job in self.jobs):
            self._say("the same command again runs what is not finished")

    @staticmethod
    def _left(job: Job) -> bool:
        """Whether the same command would go on with the job."""
        return job.exit != 0 if job.state == BUSY else job.state in (FAILED, STOPPED, WAITING) and not job.reason

    def table(self) -> Group:
        """What runs, what failed and the last that finished; above it, how far all is."""
        table = Table(box=box.SIMPLE_HEAD, expand=False)
        table.add_column("run", overflow="fold")
        for name in ("state", "images", "images/s", "left", "score"):
            table.add_column(name, justify="right", no_wrap=True)
        for job in self._worth_showing():
            table.add_row(*self._cells(job), style=STYLES.get(job.state))
        return Group(self._bar(), table)

    def _worth_showing(self) -> list[Job]:
        running = [job for job in self.jobs if job.state == RUNNING]
        failed = [job for job in self.jobs if job.state in (FAILED, BUSY)]
        ended = sorted((job for job in self.jobs if job.state == FINISHED), key=lambda job: job.ended)
        room = max(3, LINES - len(running) - len(failed[-LINES:]))
        return [*running, *failed[-LINES:], *reversed(ended[-room:])]

    def _cells(self, job: Job) -> list[str]:
        shown = job.shown if job.state == RUNNING else 0
        rate = job.rate
        left = _time(max(0, job.images - shown) / rate) if rate else ""
        if job.state == RUNNING:
            return [job.label, job.place or job.state, f"{shown:,} of {job.images:,}", f"{rate:,.0f}", left, ""]
        if job.state in (FAILED, BUSY):
            return [f"{job.label}\n{job.last_words[:200]}", job.state, "", "", "", ""]
        return [job.label, job.state, f"{job.images:,}", f"{rate:,.0f}", "", score(job)]

    def _bar(self) -> Progress:
        over = sum(job.over for job in self.jobs)
        failed = sum(job.state == FAILED for job in self.jobs)
        left = f", {_time(self.left)} left" if self.left is not None else ""
        told = f"{over} of {len(self.jobs)} runs over{f', {failed} failed' if failed else ''}{left}"
        bar = Progress(BarColumn(24), TextColumn(told), console=self.console)
        bar.add_task("", total=len(self.jobs), completed=over)
        return bar

    @property
    def left(self) -> float | None:
        """Seconds until all is over, from those that finished; None before the first did."""
        ended = [job.seconds for job in self.jobs if job.state == FINISHED]
        if not ended:
            return None
        mean = sum(ended) / len(ended)
        to_do = [max(0.0, mean - job.seconds) if job.state == RUNNING else mean for job in self.jobs if not job.over]
        return sum(to_do) / self.processes

    def _event(self, job: Job) -> str:
        over = sum(other.over for other in self.jobs)
        if job.state == RUNNING:
            return f"started   {job.label}{f' on {job.place}' if job.place else ''}"
        left = f", {_time(self.left)} left" if self.left else ""
        if job.state == BUSY:
            return f"{job.state} {job.label}: {job.last_words}  [{over}/{len(self.jobs)}{left}]"
        more = score(job) if job.state == FINISHED else f"{job.last_words} ({job.log})"
        return f"{job.state:<9} {job.label}, {_time(job.seconds)}: {more}  [{over}/{len(self.jobs)}{left}]"

    def _say(self, line: str) -> None:
        self.console.print(line, soft_wrap=True, markup=False, highlight=False)


def score(job: Job) -> str:
    """A finished run's first score, "" where it has none."""
    return " ".join(first_score(job)).strip()


def first_score(job: Job) -> tuple[str, str]:
    """The name and the value of a finished run's first score, "" where it has none."""
    final: dict[str, Any] = Run(job.folder).summary.get("final") or {}
    return next(((name, f"{found['value']:.4g}") for name, found in final.items()), ("", ""))


def _time(seconds: float) -> str:
    """1:02:03 or 2:03."""
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
