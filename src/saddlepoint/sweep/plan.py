"""A search as it was asked for: what varies, by which score, how proposed, how many trials."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import prod
from typing import Any

from saddlepoint.error import Mistake
from saddlepoint.sweep.method import Method
from saddlepoint.sweep.objective import Objective
from saddlepoint.sweep.space import Dimension, exact

NOTHING = "nothing"  # stands where one of two searches says what the other does not


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
