"""An arm: runs that differ only in their seed. Arms that differ in their settings make a comparison."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from saddlepoint.comparison.arms.record import Record
from saddlepoint.evaluation.contract import Score

# the outcomes of a run, in the order in which reports count them
FINISHED, COLLAPSED, DIVERGED, UNFINISHED = "finished", "collapsed", "diverged", "unfinished"


@dataclass(frozen=True)
class ScoredRun:
    """One run of a comparison with its primary score.

    `value` enters the statistics. A finished run has its final score. A run that collapsed, diverged or did not finish
    has the worse of its own last score and the floor: the worst score of any untrained generator under the same
    contract. If no untrained generator has a score, or if the run finished without a value, `value` is infinite, the
    worst rank. A failure is a bad result, not a missing one.
    """

    folder: Path
    seed: int
    outcome: str  # one of the four; COLLAPSED: the final score is no better than untrained, or there is none
    value: float
    final: float | None  # as measured at the end; None if it was not measured
    untrained: float | None  # at 0 images
    best: float | None = None  # of the checkpoint selected on the validation split
    area: float | None = None  # under the curve: the mean of the score over images, by the trapezium rule
    curve: tuple[tuple[int, float], ...] = ()  # (images, score) along the run
    noise: float | None = None  # standard deviation over fresh samples of one generator, if measured
    images: int | None = 0  # None: trained elsewhere, the length is unknown
    seconds: float = 0.0
    accelerator_hours: float = 0.0  # 0 on a CPU
    peak_memory_mib: float | None = None
    images_to_reach: int | None = None  # first images at the requested quality; None: never, or none was requested
    seconds_to_reach: float | None = None  # of training until then
    selection_score: Score | None = None  # the validation score of its best checkpoint: all that a search may use
    grid: Path | None = None  # its last sample grid
    pair_grid: Path | None = None  # its last grid of inputs, samples and truths
    sound: Path | None = None  # the wav file of its last sample grid
    other_scores: Mapping[str, float] = field(default_factory=dict)  # other final scores by key: exploratory

    @property
    def failed(self) -> bool:
        return self.outcome != FINISHED

    @property
    def finished_without_value(self) -> bool:
        """Whether the run finished and was measured, and the score has no value: a collapse, and the worst result."""
        return self.outcome == COLLAPSED and self.final is None

    @property
    def is_imputed(self) -> bool:
        """Whether `value` is not the run's own final score: it then has a rank, but no distance from other scores."""
        return self.value != self.final or not math.isfinite(self.value)


@dataclass(frozen=True)
class Arm:
    """The runs of one setting, by seed."""

    name: str  # "objective=hinge", as on the command line
    settings: Mapping[str, Any]  # the keys in which the arms differ, and their values here
    runs: tuple[ScoredRun, ...]
    records: tuple[Record, ...] = ()  # of the same runs

    @property
    def values(self) -> list[float]:
        """The value of each run, in the order of seeds."""
        return [run.value for run in self.runs]

    @property
    def surviving_values(self) -> list[float]:
        """The final scores of the finished runs. Biased towards good scores, so never the primary row."""
        return [run.value for run in self.runs if not run.failed]

    @property
    def failure_count(self) -> int:
        return sum(run.failed for run in self.runs)

    @property
    def has_imputed(self) -> bool:
        """Whether the value of some run is imputed, so that the arm has ranks but no interval of its mean."""
        return any(run.is_imputed for run in self.runs)
