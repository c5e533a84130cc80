"""A search as it was asked for: what varies, by which score, how proposed, how many trials.

The score on the reals that are reported (train or test) is never looked at: a setting that was chosen by a number
cannot be reported by the same number (docs/sweeping.md).
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from math import prod
from typing import Any, Literal

from saddlepoint.comparison.arms.direction import HIGHER_IS_BETTER, LOWER_IS_BETTER, higher_is_better, metric_of
from saddlepoint.error import Mistake, did_you_mean
from saddlepoint.sweep.method import Method
from saddlepoint.sweep.space import Dimension, comparable_form

NOTHING = "nothing"  # stands where one of two searches says what the other does not
SEARCH_SPLIT = "validation"
REPORTED_SPLITS = ("train", "test", "all")
DIRECTIONS = ("minimize", "maximize")
Direction = Literal["minimize", "maximize"]


@dataclass(frozen=True)
class SearchMetric:
    """A metric, or one score's key, and which way is better."""

    name: str  # "fid", or "fid_digits_450_validation"
    direction: Direction

    @property
    def higher_is_better(self) -> bool:
        return self.direction == "maximize"

    @property
    def direction_text(self) -> str:
        """ "high is good", "low is good"."""
        return f"{'high' if self.higher_is_better else 'low'} is good"

    def find_key(self, keys: Iterable[str]) -> str | None:
        """The first of the keys that is this score on the validation split, None where none is."""
        mine = (key for key in keys if key.endswith(f"_{SEARCH_SPLIT}"))
        return next((key for key in mine if self.name in (key, metric_of(key, self.name))), None)


def parse_metric(name: str, direction: str | None = None) -> SearchMetric:
    """The objective of a metric or key; its direction is known for our metrics, and has to be said for others.

    Raises Mistake for a score on reals that are reported, an unknown direction, and the opposite of a known one.
    """
    body, _, split = name.rpartition("_")
    if body and split in REPORTED_SPLITS:
        raise Mistake(
            f"metric: {name} is measured on reals that are reported. A search looks at the {SEARCH_SPLIT} split alone: "
            f"metric: {metric_of(name)}"
        )
    if direction is not None and direction not in DIRECTIONS:
        raise Mistake(f"direction: {direction}: it is minimize or maximize")
    metric = metric_of(name) if split == SEARCH_SPLIT else name
    if metric not in LOWER_IS_BETTER | HIGHER_IS_BETTER and direction is None:
        meant = did_you_mean(metric, sorted(LOWER_IS_BETTER | HIGHER_IS_BETTER))
        raise Mistake(f"metric: {name}: nobody knows whether more of it is better.{meant} Else say direction: minimize")
    said = None if direction is None else direction == "maximize"
    if metric in LOWER_IS_BETTER | HIGHER_IS_BETTER and said not in (None, metric in HIGHER_IS_BETTER):
        raise Mistake(
            f"direction: {direction}: of {metric}, {'high' if metric in HIGHER_IS_BETTER else 'low'} values are good"
        )
    return SearchMetric(name, "maximize" if higher_is_better(metric, said) else "minimize")


@dataclass(frozen=True)
class Plan:
    """One search.  Raises Mistake for one that cannot be: less than one trial, a grid without an end."""

    name: str
    space: tuple[Dimension, ...]
    metric: SearchMetric
    sampler: Method
    pruner: Method | None
    seeds: tuple[int, ...]  # of every trial; its value is the mean over them
    max_trials: int | None  # trials; None: every point of a grid
    overrides: tuple[str, ...] = ()  # that every trial says
    machine_overrides: tuple[str, ...] = ()  # words of where it runs, which make it no other search

    def __post_init__(self) -> None:
        if self.max_trials is not None and (type(self.max_trials) is not int or self.max_trials < 1):
            raise Mistake(f"trials={self.max_trials}: a whole number from 1 on")
        endless = [one.key for one in self.space if one.values is None]
        if self.sampler.name == "grid" and endless:
            raise Mistake(f"a grid needs a step, or choices, for {', '.join(endless)}: {{low, high, step}}")
        if self.sampler.name != "grid" and self.max_trials is None:
            raise Mistake("how many trials? trials=30, say; only a grid has an end of its own")

    @property
    def n_points(self) -> int | None:
        """Of the grid; None where there is no grid."""
        return prod(len(one.values or ()) for one in self.space) if self.sampler.name == "grid" else None

    @property
    def n_trials(self) -> int:
        """How many trials end it: finished, pruned and failed together; of a grid no more than it has points."""
        known = [number for number in (self.max_trials, self.n_points) if number is not None]
        return min(known)

    @property
    def defining_settings(self) -> dict[str, Any]:
        """What makes it this search and no other, plain: trials of two identities may not lie in one study.

        A grid's points are dealt out by number, in an order of its seed: by another sampler some would never be played.
        """
        grid = {"sampler": {"name": "grid", "seed": self.sampler.seed}} if self.sampler.name == "grid" else {}
        return {
            "space": {one.key: one.as_dict for one in self.space},
            "metric": self.metric.name,
            "direction": self.metric.direction,
            "seeds": list(self.seeds),
            "words": list(self.overrides),
            **grid,
        }


def first_changed_setting(old: Mapping[str, Any], new: Mapping[str, Any]) -> str:
    """The first thing in which two identities differ, "seeds: [0] there, [0, 1] here"; "" where they are one."""
    for key in {**new, **old}:
        here, there = new.get(key, NOTHING), old.get(key, NOTHING)
        if key == "space" and isinstance(there, Mapping):
            for name in {**here, **there}:
                one, other = here.get(name, NOTHING), there.get(name, NOTHING)
                if NOTHING in (one, other) or comparable_form(one) != comparable_form(other):
                    return f"space.{name}: {other} there, {one} here"
        elif here != there:
            return f"{key}: {there} there, {here} here"
    return ""
