"""What is compared: runs that differ in their seed alone are an arm; arms that differ in settings, a comparison."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from saddlepoint.comparison.arms.record import Record
from saddlepoint.evaluation.contract import Score

# how a run ended, in the order in which a reader wants to hear of it
FINISHED, COLLAPSED, DIVERGED, UNFINISHED = "finished", "collapsed", "diverged", "unfinished"


@dataclass(frozen=True)
class ScoredRun:
    """One run as it enters a comparison by one score.

    `value` is what counts: the final score of a run that finished; of one that collapsed, diverged or did not finish,
    the worse of its own last score and the floor, the untrained generators' worst score under the same contract. Where
    no untrained generator has a score it is infinite, the worst rank. A failure is a bad result, not a missing one.
    """

    run: Path  # its folder
    seed: int
    outcome: str  # one of the four; COLLAPSED: its final score is no better than untrained, or it has none
    value: float
    final: float | None  # as measured at the end; None where nothing was
    untrained: float | None  # at 0 images
    best: float | None = None  # of the checkpoint chosen on the validation split
    area: float | None = None  # mean of the score over images, by the trapezium rule: the area under its curve
    curve: tuple[tuple[int, float], ...] = ()  # (images, score) along the run
    noise: float | None = None  # standard deviation over fresh generations of the one generator, where it was measured
    images: int | None = 0  # None: trained elsewhere, nobody knows how long
    seconds: float = 0.0
    accelerator_hours: float = 0.0  # 0 on a CPU
    peak_memory_mib: float | None = None
    images_to_reach: int | None = (
        None  # images at which the stated quality was reached first; None: never, or none was stated
    )
    seconds_to_reach: float | None = None  # of training until then
    selection_score: Score | None = None  # the validation score of its best checkpoint: what a search may look at
    grid: Path | None = None  # its last sample grid
    other_scores: Mapping[str, float] = field(default_factory=dict)  # its other final scores by key: exploratory

    @property
    def failed(self) -> bool:
        return self.outcome != FINISHED

    @property
    def is_imputed(self) -> bool:
        """Whether `value` is not the run's own final score: it has a rank then, and no distance from other scores."""
        return self.value != self.final or not math.isfinite(self.value)


@dataclass(frozen=True)
class Arm:
    """The runs of one setting, by seed."""

    name: str  # "objective=hinge", as a person would type it
    settings: Mapping[str, Any]  # the keys in which the arms differ, and their values here
    entries: tuple[ScoredRun, ...]
    records: tuple[Record, ...] = ()  # the same runs, as read

    @property
    def values(self) -> list[float]:
        """What counts of each run, in the order of seeds."""
        return [entry.value for entry in self.entries]

    @property
    def surviving_values(self) -> list[float]:
        """The final scores of the runs that finished: flattered, so never the primary row."""
        return [entry.value for entry in self.entries if not entry.failed]

    @property
    def failures(self) -> int:
        return sum(entry.failed for entry in self.entries)

    @property
    def has_imputed(self) -> bool:
        """Whether the value of some run is imputed, so that the arm has ranks but no interval of its mean."""
        return any(entry.is_imputed for entry in self.entries)
