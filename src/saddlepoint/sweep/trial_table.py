"""The trials of a search as a person sees them."""

import time

from rich.console import Console, Group
from rich.text import Text

from saddlepoint.console.live_table import RIGHT_ALIGNED, LiveTable, build_table, format_clock, seconds_left
from saddlepoint.sweep.space import format_param, format_params
from saddlepoint.sweep.study import FAILED, FINISHED, PRUNED, RUNNING, Study, TrialRecord, rank_finished

STYLES = {RUNNING: "bold", FAILED: "red", PRUNED: "dim", FINISHED: "green"}
LINES = 14  # of the table: what runs, the best, and of the others the last


class TrialTable(LiveTable):
    """How the trials of a study stand."""

    def __init__(self, study: Study, console: Console, workers: int) -> None:
        super().__init__(console, seconds=1.0)
        self.study, self.workers = study, workers
        self.trials: list[TrialRecord] = []
        self._begun: dict[int, float] = {}

    def rows(self) -> list[TrialRecord]:
        self.trials = self.study.trial_records()
        for one in self.trials:
            self._begun.setdefault(one.number, time.monotonic())
        return self.trials

    def build_view(self) -> Group:
        left = f", {format_clock(self.time_left)} left" if self.time_left is not None else ""
        best = f", best {format_param(self.best.value)} (trial {self.best.number})" if self.best else ""
        headline = f"{self.study.plan.name}: {self.n_ended} of {self.study.plan.n_trials} trials over{best}{left}"
        keys = [one.key for one in self.study.plan.space]
        last = [key.rpartition(".")[2] for key in keys]
        titles = last if len(set(last)) == len(last) else keys  # the last part of each, where that tells them apart
        columns = [
            ("trial", RIGHT_ALIGNED), *((Text(title), {"overflow": "fold"}) for title in titles),
            (self.study.plan.metric.name, RIGHT_ALIGNED), ("state", {"justify": "right"}), ("took", RIGHT_ALIGNED),
        ]  # fmt: skip
        return build_table(Text(headline), columns, ((self._cells(one), STYLES[one.state]) for one in self._shown()))

    def _shown(self) -> list[TrialRecord]:
        running = [one for one in self.trials if one.state == RUNNING]
        ended = [one for one in reversed(self.trials) if one.state != RUNNING and one is not self.best]
        best = [self.best] if self.best else []
        return [*running, *best, *ended[: max(3, LINES - len(running))]]

    def _cells(self, one: TrialRecord) -> list[Text]:
        curve = max(one.curve.items(), default=None)
        value = format_param(one.value) if one.value is not None else ""
        seconds = one.seconds
        if one.state == RUNNING:
            seconds = time.monotonic() - self._begun[one.number]
            value = f"{format_param(curve[1])} at {curve[0]:,}" if curve else ""
        state = f"failed: {one.reason[:80]}" if one.state == FAILED else "best" if one is self.best else one.state
        cells = [str(one.number), *(format_param(one.params.get(key.key, "")) for key in self.study.plan.space)]
        return [Text(cell) for cell in (*cells, value, state, format_clock(seconds))]

    def start_message(self) -> str:
        before = f", {self.n_ended} over before" if self.n_ended else ""
        return f"{self.study.plan.n_trials} trials{before}, {self.workers} at a time"

    def row_message(self, one: TrialRecord) -> str:
        what = f"{one.state:<9} trial {one.number}  {format_params(one.params)}"
        if one.state == RUNNING:
            return what
        last = one.curve[max(one.curve)] if one.curve else None
        score = f"{self.study.plan.metric.name} {format_param(last if one.value is None else one.value)}"
        how = one.reason if one.state == FAILED else score
        best = f"best {format_param(self.best.value)} of trial {self.best.number}, " if self.best else ""
        left = f", {format_clock(self.time_left)} left" if self.time_left else ""
        return f"{what}: {how}, {format_clock(one.seconds)}  [{best}{self.n_ended}/{self.study.plan.n_trials}{left}]"

    @property
    def n_ended(self) -> int:
        """Trials that have ended."""
        return sum(one.state != RUNNING for one in self.trials)

    @property
    def best(self) -> TrialRecord | None:
        """The finished trial of the best value, None before there is one."""
        return next(iter(rank_finished(self.study.plan, self.trials)), None)

    @property
    def time_left(self) -> float | None:
        """Seconds until all is over, from what trials have taken; None before one ended."""
        took = [one.seconds for one in self.trials if one.state in (FINISHED, PRUNED)]
        running = [time.monotonic() - self._begun[one.number] for one in self.trials if one.state == RUNNING]
        return seconds_left(took, running, max(0, self.study.plan.n_trials - len(self.trials)), self.workers)
