"""The progress of a search as a live table, or as lines if the output is not a terminal."""

import time

from rich.console import Console, Group
from rich.text import Text

from saddlepoint.console.live_table import RIGHT_ALIGNED, LiveTable, build_table, format_clock, seconds_left
from saddlepoint.sweep.space import format_param, format_params
from saddlepoint.sweep.study import FAILED, FINISHED, PRUNED, RUNNING, Study, TrialRecord, rank_finished

STYLES = {RUNNING: "bold", FAILED: "red", PRUNED: "dim", FINISHED: "green"}
ROWS = 14  # of the table: running trials, the best one, and the latest of the others


class TrialTable(LiveTable):
    """The state of the trials of a study."""

    def __init__(self, study: Study, console: Console, workers: int) -> None:
        super().__init__(console, seconds=1.0)
        self.study, self.workers = study, workers
        self.trials: list[TrialRecord] = []
        self._first_seen: dict[int, float] = {}

    def rows(self) -> list[TrialRecord]:
        self.trials = self.study.trial_records()
        for trial in self.trials:
            self._first_seen.setdefault(trial.number, time.monotonic())
        return self.trials

    def build_view(self) -> Group:
        left = f", {format_clock(self.time_left)} left" if self.time_left is not None else ""
        best = f", best {format_param(self.best.value)} (trial {self.best.number})" if self.best else ""
        plan = self.study.plan
        headline = f"{plan.name}: {self.n_ended} of {plan.n_trials} trials over{best}{left}"
        keys = [dimension.key for dimension in plan.space]
        last_parts = [key.rpartition(".")[2] for key in keys]
        titles = last_parts if len(set(last_parts)) == len(last_parts) else keys  # full keys if the last parts repeat
        columns = [
            ("trial", RIGHT_ALIGNED), *((Text(title), {"overflow": "fold"}) for title in titles),
            (plan.metric.name, RIGHT_ALIGNED), ("state", {"justify": "right"}), ("took", RIGHT_ALIGNED),
        ]  # fmt: skip
        rows = ((self._row_cells(trial), STYLES[trial.state]) for trial in self._shown_trials())
        return build_table(Text(headline), columns, rows)

    def _shown_trials(self) -> list[TrialRecord]:
        running = [trial for trial in self.trials if trial.state == RUNNING]
        ended = [trial for trial in reversed(self.trials) if trial.state != RUNNING and trial is not self.best]
        best = [self.best] if self.best else []
        return [*running, *best, *ended[: max(3, ROWS - len(running))]]

    def _row_cells(self, trial: TrialRecord) -> list[Text]:
        last_score = max(trial.curve.items(), default=None)
        value = format_param(trial.value) if trial.value is not None else ""
        seconds = trial.seconds
        if trial.state == RUNNING:
            seconds = time.monotonic() - self._first_seen[trial.number]
            value = f"{format_param(last_score[1])} at {last_score[0]:,}" if last_score else ""
        state = "best" if trial is self.best else trial.state
        if trial.state == FAILED:
            state = f"failed: {trial.reason[:80]}"
        params = [format_param(trial.params.get(dimension.key, "")) for dimension in self.study.plan.space]
        return [Text(cell) for cell in (str(trial.number), *params, value, state, format_clock(seconds))]

    def start_message(self) -> str:
        earlier = f", {self.n_ended} over before" if self.n_ended else ""
        return f"{self.study.plan.n_trials} trials{earlier}, {self.workers} at a time"

    def row_message(self, trial: TrialRecord) -> str:
        start = f"{trial.state:<9} trial {trial.number}  {format_params(trial.params)}"
        if trial.state == RUNNING:
            return start
        last_score = trial.curve[max(trial.curve)] if trial.curve else None
        value = last_score if trial.value is None else trial.value
        result = trial.reason if trial.state == FAILED else f"{self.study.plan.metric.name} {format_param(value)}"
        best = f"best {format_param(self.best.value)} of trial {self.best.number}, " if self.best else ""
        left = f", {format_clock(self.time_left)} left" if self.time_left else ""
        progress = f"[{best}{self.n_ended}/{self.study.plan.n_trials}{left}]"
        return f"{start}: {result}, {format_clock(trial.seconds)}  {progress}"

    @property
    def n_ended(self) -> int:
        """The number of trials that have ended."""
        return sum(trial.state != RUNNING for trial in self.trials)

    @property
    def best(self) -> TrialRecord | None:
        """The finished trial with the best value; None if no trial has finished."""
        return next(iter(rank_finished(self.study.plan, self.trials)), None)

    @property
    def time_left(self) -> float | None:
        """The estimated seconds until the search ends; None before the first trial has finished or was pruned."""
        durations = [trial.seconds for trial in self.trials if trial.state in (FINISHED, PRUNED)]
        running = [time.monotonic() - self._first_seen[t.number] for t in self.trials if t.state == RUNNING]
        return seconds_left(durations, running, max(0, self.study.plan.n_trials - len(self.trials)), self.workers)
