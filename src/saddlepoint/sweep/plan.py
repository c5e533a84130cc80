"""A search as it was asked for: what varies, by which score, how proposed, how many trials.

The score on the reals that are reported (train or test) is never looked at: a setting that was chosen by a number
cannot be reported by the same number (docs/sweeping.md).
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from math import prod
from typing import Any, Literal

from saddlepoint.comparison.arms.direction import HIGHER, LOWER, higher_is_better, metric_of
from saddlepoint.error import Mistake, did_you_mean
from saddlepoint.sweep.method import Method
from saddlepoint.sweep.space import Dimension, exact

NOTHING = "nothing"  # stands where one of two searches says what the other does not
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


@dataclass(frozen=True)
class Plan:
    """One search.  Raises Mistake for one that cannot be: less than one trial, a grid without an end."""

    name: str
    space: tuple[Dimension, ...]
    objective: Objective
    sampler: Method
    pruner: Method | None
    seeds: tuple[int, ...]  # of every trial; its value is the mean over them
    asked: int | None  # trials; None: every point of a grid
    words: tuple[str, ...] = ()  # that every trial says
    elsewhere: tuple[str, ...] = ()  # words of where it runs, which make it no other search

    def __post_init__(self) -> None:
        if self.asked is not None and (type(self.asked) is not int or self.asked < 1):
            raise Mistake(f"trials={self.asked}: a whole number from 1 on")
        endless = [one.key for one in self.space if one.values is None]
        if self.sampler.name == "grid" and endless:
            raise Mistake(f"a grid needs a step, or choices, for {', '.join(endless)}: {{low, high, step}}")
        if self.sampler.name != "grid" and self.asked is None:
            raise Mistake("how many trials? trials=30, say; only a grid has an end of its own")

    @property
    def points(self) -> int | None:
        """Of the grid; None where there is no grid."""
        return prod(len(one.values or ()) for one in self.space) if self.sampler.name == "grid" else None

    @property
    def trials(self) -> int:
        """How many trials end it: finished, pruned and failed together; of a grid no more than it has points."""
        known = [number for number in (self.asked, self.points) if number is not None]
        return min(known)

    @property
    def identity(self) -> dict[str, Any]:
        """What makes it this search and no other, plain: trials of two identities may not lie in one study.

        A grid's points are dealt out by number, in an order of its seed: by another sampler some would never be played.
        """
        grid = {"sampler": {"name": "grid", "seed": self.sampler.seed}} if self.sampler.name == "grid" else {}
        return {
            "space": {one.key: one.plain for one in self.space},
            "metric": self.objective.name,
            "direction": self.objective.direction,
            "seeds": list(self.seeds),
            "words": list(self.words),
            **grid,
        }


def difference(old: Mapping[str, Any], new: Mapping[str, Any]) -> str:
    """The first thing in which two identities differ, "seeds: [0] there, [0, 1] here"; "" where they are one."""
    for key in {**new, **old}:
        here, there = new.get(key, NOTHING), old.get(key, NOTHING)
        if key == "space" and isinstance(there, Mapping):
            for name in {**here, **there}:
                one, other = here.get(name, NOTHING), there.get(name, NOTHING)
                if NOTHING in (one, other) or exact(one) != exact(other):
                    return f"space.{name}: {other} there, {one} here"
        elif here != there:
            return f"{key}: {there} there, {here} here"
    return ""
