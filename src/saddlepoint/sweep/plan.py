"""The definition of a search: search space, metric, sampler, pruner, number of trials.

A search never uses a score on the train or test split, on which final scores are reported: a score that selected a
setting is a biased estimate of its quality (docs/sweeping.md).
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from math import prod
from typing import Any, Literal

from saddlepoint.comparison.arms.direction import HIGHER_IS_BETTER, LOWER_IS_BETTER, higher_is_better, metric_of
from saddlepoint.error import Mistake, did_you_mean
from saddlepoint.sweep.method import Method
from saddlepoint.sweep.space import Dimension, comparable_form

MISSING_TEXT = "nothing"  # the value in messages of a setting that one of two searches lacks
SEARCH_SPLIT = "validation"
REPORTED_SPLITS = ("train", "test", "all")
DIRECTIONS = ("minimize", "maximize")
Direction = Literal["minimize", "maximize"]


@dataclass(frozen=True)
class SearchMetric:
    """The metric or score key that a search optimizes, and its direction."""

    name: str  # "fid", or "fid_digits_450_validation"
    direction: Direction

    @property
    def higher_is_better(self) -> bool:
        return self.direction == "maximize"

    @property
    def direction_text(self) -> str:
        """ "higher is better" or "lower is better"."""
        return f"{'higher' if self.higher_is_better else 'lower'} is better"

    def find_score_key(self, keys: Iterable[str]) -> str | None:
        """Return the first key that is this score on the validation split; None if there is none."""
        validation = (key for key in keys if key.endswith(f"_{SEARCH_SPLIT}"))
        return next((key for key in validation if self.name in (key, metric_of(key, self.name))), None)


def parse_metric(name: str, direction: str | None = None) -> SearchMetric:
    """Parse the name of a metric or of one score; the direction is required for user-defined metrics.

    Raises Mistake for a score on a split of final scores, and for an unknown, missing or wrong direction.
    """
    body, _, split = name.rpartition("_")
    if body and split in REPORTED_SPLITS:
        raise Mistake(
            f"metric: {name} uses a split that final scores are reported on. A search uses only {SEARCH_SPLIT}: "
            f"metric: {metric_of(name)}"
        )
    if direction is not None and direction not in DIRECTIONS:
        raise Mistake(f"direction: {direction} must be minimize or maximize")
    known = LOWER_IS_BETTER | HIGHER_IS_BETTER
    metric = metric_of(name) if split == SEARCH_SPLIT else name
    if metric not in known and direction is None:
        hint = did_you_mean(metric, sorted(known))
        raise Mistake(f"metric: {name}: its direction is unknown.{hint} Otherwise add direction: minimize or maximize")
    requested = None if direction is None else direction == "maximize"
    if metric in known and requested not in (None, metric in HIGHER_IS_BETTER):
        better = "higher" if metric in HIGHER_IS_BETTER else "lower"
        raise Mistake(f"direction: {direction}: for {metric}, {better} is better")
    return SearchMetric(name, "maximize" if higher_is_better(metric, requested) else "minimize")


@dataclass(frozen=True)
class Plan:
    """One search.

    Raises Mistake if the number of trials is missing or below 1, or if a grid has a continuous dimension.
    """

    name: str
    space: tuple[Dimension, ...]
    metric: SearchMetric
    sampler: Method
    pruner: Method | None
    seeds: tuple[int, ...]  # of every trial; a trial's value is the mean over its seeds
    max_trials: int | None  # None: every point of a grid
    overrides: tuple[str, ...] = ()  # of every trial
    machine_overrides: tuple[str, ...] = ()  # overrides for where it runs, which do not change the search

    def __post_init__(self) -> None:
        if self.max_trials is not None and (type(self.max_trials) is not int or self.max_trials < 1):
            raise Mistake(f"trials={self.max_trials} must be an integer from 1 on")
        continuous = [dimension.key for dimension in self.space if dimension.values is None]
        if self.sampler.name == "grid" and continuous:
            raise Mistake(f"a grid needs a step, or choices, for {', '.join(continuous)}: {{low, high, step}}")
        if self.sampler.name != "grid" and self.max_trials is None:
            raise Mistake("set trials, for example trials=30: only a grid search ends by itself")

    @property
    def n_points(self) -> int | None:
        """The number of points of a grid; None for any other sampler."""
        return prod(len(dimension.values or ()) for dimension in self.space) if self.sampler.name == "grid" else None

    @property
    def n_trials(self) -> int:
        """The number of trials (finished, pruned or failed) that end the search; at most the points of a grid."""
        return min(number for number in (self.max_trials, self.n_points) if number is not None)

    @property
    def defining_settings(self) -> dict[str, Any]:
        """The settings that define the search, as plain data; all trials of a study share them.

        They include the sampler only for a grid: its points are assigned to trials by number, in an order that follows
        from its seed, so that another sampler would skip some.
        """
        grid = {"sampler": {"name": "grid", "seed": self.sampler.seed}} if self.sampler.name == "grid" else {}
        return {
            "space": {dimension.key: dimension.as_dict for dimension in self.space},
            "metric": self.metric.name,
            "direction": self.metric.direction,
            "seeds": list(self.seeds),
            "words": list(self.overrides),
            **grid,
        }


def describe_first_change(old: Mapping[str, Any], new: Mapping[str, Any]) -> str:
    """Return the first difference of two `defining_settings`, "seeds: [0] there, [0, 1] here"; "" if there is none."""
    for key in {**new, **old}:
        new_value, old_value = new.get(key, MISSING_TEXT), old.get(key, MISSING_TEXT)
        if key == "space" and isinstance(old_value, Mapping):
            for name in {**new_value, **old_value}:
                new_dimension, old_dimension = new_value.get(name, MISSING_TEXT), old_value.get(name, MISSING_TEXT)
                if MISSING_TEXT in (new_dimension, old_dimension) or (
                    comparable_form(new_dimension) != comparable_form(old_dimension)
                ):
                    return f"space.{name}: {old_dimension} there, {new_dimension} here"
        elif new_value != old_value:
            return f"{key}: {old_value} there, {new_value} here"
    return ""
