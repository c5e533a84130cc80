"""What a search descends: one score on the validation split, as a run's own journal has it along the run.

The score on the reals that are reported (train or test) is never looked at: a setting that was chosen by a number
cannot be reported by the same number (docs/sweeping.md).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from saddlepoint.comparison.arms.direction import HIGHER, LOWER, higher_is_better, metric_of
from saddlepoint.error import Mistake, did_you_mean

SPLIT = "validation"
REPORTED = ("train", "test", "all")
DIRECTIONS = ("minimize", "maximize")
Direction = Literal["minimize", "maximize"]


@dataclass(frozen=True)
class Objective:
    """A metric, or one score's key, and which way is better."""

    name: str  # "fid", or "fid_digits_450_validation"
    direction: Direction

    @property
    def higher_is_better(self) -> bool:
        return self.direction == "maximize"

    @property
    def way(self) -> str:
        """ "high is good", "low is good"."""
        return f"{'high' if self.higher_is_better else 'low'} is good"

    def key(self, keys: Iterable[str]) -> str | None:
        """The first of the keys that is this score on the validation split, None where none is."""
        mine = (key for key in keys if key.endswith(f"_{SPLIT}"))
        return next((key for key in mine if self.name in (key, metric_of(key, self.name))), None)


def objective(name: str, direction: str | None = None) -> Objective:
    """The objective of a metric or key; its direction is known for our metrics, and has to be said for others.

    Raises Mistake for a score on reals that are reported, an unknown direction, and the opposite of a known one.
    """
    body, _, split = name.rpartition("_")
    if body and split in REPORTED:
        raise Mistake(
            f"metric: {name} is measured on reals that are reported. A search looks at the {SPLIT} split alone: "
            f"metric: {metric_of(name)}"
        )
    if direction is not None and direction not in DIRECTIONS:
        raise Mistake(f"direction: {direction}: it is minimize or maximize")
    metric = metric_of(name) if split == SPLIT else name
    if metric not in LOWER | HIGHER and direction is None:
        meant = did_you_mean(metric, sorted(LOWER | HIGHER))
        raise Mistake(f"metric: {name}: nobody knows whether more of it is better.{meant} Else say direction: minimize")
    said = None if direction is None else direction == "maximize"
    if metric in LOWER | HIGHER and said not in (None, metric in HIGHER):
        raise Mistake(f"direction: {direction}: of {metric}, {'high' if metric in HIGHER else 'low'} values are good")
    return Objective(name, "maximize" if higher_is_better(metric, said) else "minimize")
