"""A search as a person sees it: a live table on a terminal, a line per event elsewhere."""

from __future__ import annotations

import time
from datetime import timedelta

from rich import box
from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from saddlepoint.sweep.space import shown, told
from saddlepoint.sweep.study import FAILED, FINISHED, PRUNED, RUNNING, Standing, Study

STYLES = {RUNNING: "bold", FAILED: "red", PRUNED: "dim", FINISHED: "green"}
LINES = 14  # of the table: what runs, the best, and of the others the last
SECONDS = 1.0  # between two looks at the study


class Board:
    """How the trials of a study stand.  Enter it to show it; call it at any time."""

    def __init__(self, study: Study, console: Console, workers: int) -> None:
        self.study, self.console, self.workers = study, console, workers
        self.trials: list[Standing] = []
        self._live = Live(console=console, refresh_per_second=2, transient=True) if console.is_terminal else None
        self._told: dict[int, str] = {}
        self._looked = -SECONDS
        self._begun: dict[int, float] = {}

    def __enter__(self) -> Board:
        self.trials = self.study.standings()
        self._told = {one.number: one.state for one in self.trials if one.state != RUNNING}
        before = f", {len(self._told)} over before" if self._told else ""
        self.say(f"{self.study.plan.trials} trials{before}, {self.workers} at a time")
        if self._live is not None:
            self._live.start()
        return self

    def __exit__(self, *error: object) -> None:
        if self._live is not None:
            self._live.stop()
        self._looked = -SECONDS
        self._look()

    def __call__(self) -> None:
        """Show what has changed."""
        self._look()
        if self._live is not None:
            self._live.update(self.table())

    def _look(self) -> None:
        if time.monotonic() - self._looked < SECONDS:
            return
        self._looked, self.trials = time.monotonic(), self.study.standings()
        for one in self.trials:
            self._begun.setdefault(one.number, time.monotonic())
        for one in self.trials:
            if self._told.get(one.number) != one.state:
                self._told[one.number] = one.state
                if self._live is None:
                    self.say(self._event(one))

    @property
    def over(self) -> int:
        """Trials that have ended."""
        return sum(one.state != RUNNING for one in self.trials)

    @property
    def best(self) -> Standing | None:
        """The finished trial of the best value, None before there is one."""
        finished = [one for one in self.trials if one.value is not None]
        sign = -1 if self.study.plan.objective.higher_is_better else 1
        return min(finished, key=lambda one: sign * (one.value or 0.0), default=None)

    @property
    def left(self) -> float | None:
        """Seconds until all is over, from what trials have taken; None before one ended."""
        took = [one.seconds for one in self.trials if one.state in (FINISHED, PRUNED)]
        if not took:
            return None
        running = [time.monotonic() - self._begun[one.number] for one in self.trials if one.state == RUNNING]
        mean = sum(took) / len(took)
        to_begin = max(0, self.study.plan.trials - len(self.trials))
        return (sum(max(0.0, mean - since) for since in running) + mean * to_begin) / self.workers

    def table(self) -> Group:
        """What runs, the best, the last that ended; above it, how far all is."""
        table = Table(box=box.SIMPLE_HEAD, expand=False)
        table.add_column("trial", justify="right")
        for one in self.study.plan.space:
            table.add_column(Text(one.key.rpartition(".")[2] if self._short else one.key), overflow="fold")
        for name in (self.study.plan.objective.name, "state", "took"):
            table.add_column(name, justify="right", no_wrap=name != "state")
        for one in self._worth_showing():
            table.add_row(*self._cells(one), style=STYLES[one.state])
        return Group(Text(self._headline()), table)

    @property
    def _short(self) -> bool:
        """Whether the last part of each key tells them apart."""
        last = [one.key.rpartition(".")[2] for one in self.study.plan.space]
        return len(set(last)) == len(last)

    def _worth_showing(self) -> list[Standing]:
        running = [one for one in self.trials if one.state == RUNNING]
        ended = [one for one in reversed(self.trials) if one.state != RUNNING and one is not self.best]
        best = [self.best] if self.best else []
        return [*running, *best, *ended[: max(3, LINES - len(running))]]

    def _cells(self, one: Standing) -> list[Text]:
        curve = max(one.curve.items(), default=None)
        value = shown(one.value) if one.value is not None else ""
        if one.state == RUNNING:
            seconds = time.monotonic() - self._begun.get(one.number, time.monotonic())
            value = f"{shown(curve[1])} at {curve[0]:,}" if curve else ""
        else:
            seconds = one.seconds
        state = f"failed: {one.reason[:80]}" if one.state == FAILED else "best" if one is self.best else one.state
        cells = [str(one.number), *(shown(one.params.get(key.key, "")) for key in self.study.plan.space)]
        return [Text(cell) for cell in (*cells, value, state, _clock(seconds))]

    def _headline(self) -> str:
        left = f", {_clock(self.left)} left" if self.left is not None else ""
        best = f", best {shown(self.best.value)} (trial {self.best.number})" if self.best else ""
        return f"{self.study.plan.name}: {self.over} of {self.study.plan.trials} trials over{best}{left}"

    def _event(self, one: Standing) -> str:
        what = f"{one.state:<9} trial {one.number}  {told(one.params)}"
        if one.state == RUNNING:
            return what
        last = one.curve[max(one.curve)] if one.curve else None
        how = (
            one.reason
            if one.state == FAILED
            else f"{self.study.plan.objective.name} {shown(last if one.value is None else one.value)}"
        )
        best = f"best {shown(self.best.value)} of trial {self.best.number}, " if self.best else ""
        left = f", {_clock(self.left)} left" if self.left else ""
        return f"{what}: {how}, {_clock(one.seconds)}  [{best}{self.over}/{self.study.plan.trials}{left}]"

    def say(self, line: str) -> None:
        """A line as it stands."""
        self.console.print(line, soft_wrap=True, markup=False, highlight=False)


def _clock(seconds: float) -> str:
    return str(timedelta(seconds=round(seconds)))
