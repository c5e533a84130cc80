"""Playing the trials of a study: so many at a time, each seed after the other, until as many as asked for have ended.

How a seed is played is handed over (`Start`): in a process of its own by saddlepoint sweep, by a formula in a test.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from math import fsum, isfinite
from typing import Any, Protocol

from saddlepoint.error import Mistake
from saddlepoint.launcher.pool import run_pool
from saddlepoint.sweep.study import FAILED, FINISHED, PRUNED, RUNNING, ClaimedTrial, Study

PAUSE = 0.25  # seconds between two looks


@dataclass(frozen=True)
class AttemptResult:
    """How a seed ended: with a value, or for a reason without one."""

    value: float | None = None
    reason: str = ""
    other_scores: Sequence[str] | None = None  # it finished without the score; the scores that it has


class Attempt(Protocol):
    """One seed of one trial, under way."""

    def curve(self) -> Mapping[int, float]:
        """Scores so far, by images, before the end."""
        ...

    def poll(self) -> AttemptResult | None:
        """How it ended, None while it is under way."""

    def stop(self) -> None:
        """Ask it to end; `ended` says when it has."""


# of a trial's number, its values, a seed, and which worker's it is; raises Mistake where its values do not go together
Start = Callable[[int, Mapping[str, Any], int, int], Attempt]


class Playing:
    """A trial that is being played, a step at a time."""

    def __init__(
        self, study: Study, taken: ClaimedTrial, start: Start, place: int, note: Callable[[str], None]
    ) -> None:
        """`note` hears in which state the trial has ended."""
        self.study, self.taken, self.start, self.place, self.note = study, taken, start, place, note
        self.values: list[float] = []
        self.attempt: Attempt | None = None
        self.pruned = taken.prune_requested
        self._reported: set[int] = set()
        self._since = time.monotonic()
        self._left = False  # by this process; it stays the study's, to be taken up again

    def poll(self) -> bool:
        """Look at it and do what is due; whether it is over, or left and nobody's."""
        if not self._left:
            if (state := self._step()) is not None:
                self.note(state)
            return state is not None
        if self.attempt is not None and self.attempt.poll() is None:
            return False
        self.taken.lock.release()
        return True

    def stop(self) -> None:
        """Leave it, and ask what is under way to end."""
        self._left = True
        if self.attempt is not None:
            self.attempt.stop()

    def _step(self) -> str | None:
        """Do what is due; its state once it is over."""
        if self.attempt is None:
            if self.pruned:  # that was decided, and its process lost before it had ended
                return self._end(PRUNED, reason="pruned")
            try:
                self.attempt = self.start(self.taken.number, self.taken.params, self._seed, self.place)
            except Mistake as mistake:  # these values do not go together; others may
                return self._end(FAILED, reason=str(mistake).splitlines()[0])
        if not self.values and not self.pruned:
            self._report(self.attempt)
        if (ended := self.attempt.poll()) is None:
            return None
        if self.pruned:
            return self._end(PRUNED, reason="pruned")
        if ended.other_scores is not None:
            return self._lacking(ended.other_scores)
        if ended.value is None or not isfinite(ended.value):
            seed = f"seed {self._seed}: " if len(self.study.plan.seeds) > 1 else ""
            return self._end(FAILED, reason=seed + (ended.reason or f"its score is {ended.value}"))
        self.values.append(ended.value)
        self.attempt = None
        if len(self.values) < len(self.study.plan.seeds):
            return None
        return self._end(FINISHED, fsum(self.values) / len(self.values))

    @property
    def _seed(self) -> int:
        return self.study.plan.seeds[len(self.values)]

    def _report(self, attempt: Attempt) -> None:
        """Hand on what the first seed has shown: with several, trials are held against each other by the same one."""
        for images, value in attempt.curve().items():
            if images not in self._reported:
                self._reported.add(images)
                if self.study.report_score(self.taken, images, value):
                    self.pruned = True
                    attempt.stop()
                    return

    def _lacking(self, there: Sequence[str]) -> str:
        """The trial has no such score: of one it is its own fault, of the first it is the search's.  Raises Mistake."""
        name = self.study.plan.metric.name
        has = f"it has {', '.join(there)}" if there else "it has no scores"
        before = any(one.state in (FINISHED, PRUNED) for one in self.study.trial_records())
        self._end(FAILED, reason=f"no score {name} on the validation split; {has}")
        if before:
            return FAILED
        raise Mistake(
            f"trial {self.taken.number} finished without a score {name} on the validation split: {has}.\n"
            "What is measured there is the first metric of metric=[...], or every one with evaluation.split=validation"
        )

    def _end(self, state: str, value: float | None = None, reason: str = "") -> str:
        about: dict[str, Any] = {"seconds": round(time.monotonic() - self._since, 2), "values": list(self.values)}
        self.study.end_trial(self.taken, state, value, **about, **({"reason": reason} if reason else {}))
        return state


def run_trials(
    study: Study,
    start: Start,
    workers: int = 1,
    watch: Callable[[], None] = lambda: None,
    failures: int = 5,
    pause: float = PAUSE,
) -> None:
    """Play until the study is over, `workers` trials at a time; others may work on it meanwhile.

    A trial that fails stops no other; after `failures` in a row it is no trial's fault, and Mistake is raised. On an
    interrupt what is under way is asked to end, and stays the study's to take up again.
    """
    row = 0

    def note(state: str) -> None:
        nonlocal row
        row = row + 1 if state == FAILED else 0
        if row >= failures:
            trials = study.trial_records()
            last = [one for one in trials if one.state == FAILED][-1]
            raise Mistake(
                f"{row} trials in a row failed, the last, {last.number}, for this reason: {last.reason}.\n"
                f"Stopped with {sum(one.state != RUNNING for one in trials)} of {study.plan.n_trials} trials over; "
                "failures=... says how many in a row are too many"
            )

    def begin(place: int) -> Playing | None:
        taken = study.claim_trial()
        return None if taken is None else Playing(study, taken, start, place, note)

    run_pool(workers, begin, lambda: not study.is_over, watch, pause)
