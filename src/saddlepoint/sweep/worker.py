"""Runs the trials of a study, several at a time, the seeds of each one after another, until the search is over.

How a seed is run is a parameter (`StartSeed`): `saddlepoint sweep` starts a process, and tests evaluate a formula.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from math import fsum, isfinite
from typing import Any, Protocol

from saddlepoint.error import Mistake
from saddlepoint.launcher.pool import run_pool
from saddlepoint.sweep.study import FAILED, FINISHED, PRUNED, RUNNING, ClaimedTrial, Study

POLL_SECONDS = 0.25


@dataclass(frozen=True)
class AttemptResult:
    """The result of one seed: a value, or the reason why there is none."""

    value: float | None = None
    reason: str = ""
    other_scores: Sequence[str] | None = None  # if it finished without the searched score: the scores that it has


class Attempt(Protocol):
    """One running seed of one trial."""

    def curve(self) -> Mapping[int, float]:
        """Return images -> score so far, without the final score."""
        ...

    def poll(self) -> AttemptResult | None:
        """Return the result, or None while it runs."""

    def request_stop(self) -> None:
        """Request its end; `poll` returns a result when it has ended."""


# (trial number, values, seed, slot) -> attempt; raises Mistake if the values are incompatible
StartSeed = Callable[[int, Mapping[str, Any], int, int], Attempt]


class RunningTrial:
    """A trial that this process runs step by step; a `Task` of the pool."""

    def __init__(
        self, study: Study, claimed: ClaimedTrial, start: StartSeed, slot: int, on_end: Callable[[str], None]
    ) -> None:
        """`on_end` is called with the final state of the trial."""
        self.study, self.claimed, self.start, self.slot, self.on_end = study, claimed, start, slot, on_end
        self.values: list[float] = []
        self.attempt: Attempt | None = None
        self.pruned = claimed.prune_requested
        self._reported: set[int] = set()
        self._started_at = time.monotonic()
        self._stopped = False  # if so, the trial remains in the study as running, to be claimed again

    def poll(self) -> bool:
        """Take the next step; return whether the trial has ended, or has stopped and been released."""
        if not self._stopped:
            if (state := self._advance()) is not None:
                self.on_end(state)
            return state is not None
        if self.attempt is not None and self.attempt.poll() is None:
            return False
        self.claimed.lock.release()
        return True

    def request_stop(self) -> None:
        """Stop the current attempt, without ending the trial."""
        self._stopped = True
        if self.attempt is not None:
            self.attempt.request_stop()

    def _advance(self) -> str | None:
        """Start a seed, report scores, or record a result; return the trial's state when it has ended."""
        if self.attempt is None:
            if self.pruned:  # its process was lost after the pruner had stopped it
                return self._end_trial(PRUNED, reason="pruned")
            try:
                self.attempt = self.start(self.claimed.number, self.claimed.params, self._current_seed, self.slot)
            except Mistake as mistake:  # these values are incompatible; those of other trials may not be
                return self._end_trial(FAILED, reason=str(mistake).splitlines()[0])
        if not self.values and not self.pruned:
            self._report_scores(self.attempt)
        if (result := self.attempt.poll()) is None:
            return None
        if self.pruned:
            return self._end_trial(PRUNED, reason="pruned")
        if result.other_scores is not None:
            return self._end_without_score(result.other_scores)
        if result.value is None or not isfinite(result.value):
            seed = f"seed {self._current_seed}: " if len(self.study.plan.seeds) > 1 else ""
            return self._end_trial(FAILED, reason=seed + (result.reason or f"its score is {result.value}"))
        self.values.append(result.value)
        self.attempt = None
        if len(self.values) < len(self.study.plan.seeds):
            return None
        return self._end_trial(FINISHED, fsum(self.values) / len(self.values))

    @property
    def _current_seed(self) -> int:
        return self.study.plan.seeds[len(self.values)]

    def _report_scores(self, attempt: Attempt) -> None:
        """Report new scores of the first seed to the pruner, so that all trials are compared by the same seed."""
        for images, value in attempt.curve().items():
            if images not in self._reported:
                self._reported.add(images)
                if self.study.report_score(self.claimed, images, value):
                    self.pruned = True
                    attempt.request_stop()
                    return

    def _end_without_score(self, other_scores: Sequence[str]) -> str:
        """End a trial that lacks the searched score.  Raises Mistake if no earlier trial had it either."""
        name = self.study.plan.metric.name
        available = f"it has {', '.join(other_scores)}" if other_scores else "it has no scores"
        was_measured = any(trial.state in (FINISHED, PRUNED) for trial in self.study.trial_records())
        self._end_trial(FAILED, reason=f"no score {name} on the validation split; {available}")
        if was_measured:
            return FAILED
        raise Mistake(
            f"trial {self.claimed.number} finished without a score {name} on the validation split: {available}.\n"
            "The first metric of metric=[...] is measured there, or every metric with evaluation.split=validation"
        )

    def _end_trial(self, state: str, value: float | None = None, reason: str = "") -> str:
        seconds = round(time.monotonic() - self._started_at, 2)
        details: dict[str, Any] = {"seconds": seconds, "values": list(self.values)}
        self.study.end_trial(self.claimed, state, value, **details, **({"reason": reason} if reason else {}))
        return state


def run_trials(
    study: Study,
    start: StartSeed,
    workers: int = 1,
    watch: Callable[[], None] = lambda: None,
    failures: int = 5,
    pause: float = POLL_SECONDS,
) -> None:
    """Run trials until the study is over, `workers` at a time; other processes may work on the same study.

    A failed trial does not stop the search. After `failures` failed trials in a row, Mistake is raised, since the cause
    is then not a single trial. On an interrupt, running trials are stopped, and can be claimed again.
    """
    failed_in_a_row = 0

    def count_failures(state: str) -> None:
        nonlocal failed_in_a_row
        failed_in_a_row = failed_in_a_row + 1 if state == FAILED else 0
        if failed_in_a_row >= failures:
            trials = study.trial_records()
            last = [trial for trial in trials if trial.state == FAILED][-1]
            raise Mistake(
                f"{failed_in_a_row} trials in a row failed, the last, {last.number}, for this reason: {last.reason}.\n"
                f"Stopped with {sum(t.state != RUNNING for t in trials)} of {study.plan.n_trials} trials over; "
                "failures=... sets how many in a row are allowed"
            )

    def begin(slot: int) -> RunningTrial | None:
        claimed = study.claim_trial()
        return None if claimed is None else RunningTrial(study, claimed, start, slot, count_failures)

    run_pool(workers, begin, lambda: not study.is_over, watch, pause)
