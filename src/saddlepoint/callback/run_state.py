"""What the callbacks of one run share, in the place of their looking for one another."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from saddlepoint.evaluation.contract import Score


@dataclass
class RunState:
    """Handed to every callback that names `state` in its signature.

    target    images at which the run ends; None: nobody knows
    scores    the newest scores, by key; written by `evaluation`
    best_at   images at which the selecting score was best; -1: not yet
    reason    why the run is to stop before its target; written by whoever stops it
    paused    the signal that asks for the end, known to all ranks: the run goes on another time
    """

    target: int | None = None
    scores: Mapping[str, Score] = field(default_factory=dict)
    best_at: int = -1
    reason: str | None = None
    paused: int = 0
