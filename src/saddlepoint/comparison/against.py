"""An arm against the baseline: how large the difference is, whether chance makes one as large, and what could be seen.

The test in use is the exact two-sample permutation test; Holm's correction counts every arm but the baseline, by the
one primary score.  Where the config declares what runs of one seed share, the paired sign-flip test stands beside it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from saddlepoint.comparison.arm import Arm
from saddlepoint.comparison.comparison import Comparison
from saddlepoint.comparison.effect import hedges_g, hedges_interval
from saddlepoint.comparison.interval import Interval, std_interval
from saddlepoint.comparison.multiple import CANNOT, corrected_level, holm, verdict
from saddlepoint.comparison.pairing import correlation
from saddlepoint.comparison.permutation import permutation_p, sign_flip_p, smallest_p, smallest_sign_flip_p
from saddlepoint.comparison.power import detectable, detectable_interval


@dataclass(frozen=True)
class Paired:
    """The same runs by the seeds that both arms have."""

    n: int
    p: float
    smallest: float
    correlation: float | None


@dataclass(frozen=True)
class Against:
    """An arm minus the baseline."""

    g: float | None  # None where an arm has one run
    g_interval: Interval | None
    p: float
    smallest: float  # that so many runs can reach
    adjusted: float  # by Holm
    verdict: str
    detectable: float | None  # difference of means that would be seen four times in five
    detectable_interval: Interval | None
    paired: Paired | None


def against(comparison: Comparison) -> dict[str, Against]:
    """Every arm but the baseline against it, by name."""
    base, level = comparison.baseline.values, comparison.asked.level
    p = {arm.name: permutation_p(arm.values, base) for arm in comparison.rest}
    adjusted = holm(p)
    strict = corrected_level(level, len(p))
    found = {}
    for arm in comparison.rest:
        smallest = smallest_p(len(arm.values), len(base))
        least, uncertainty = _visible(arm.values, base, strict)
        several = min(len(arm.values), len(base)) > 1
        found[arm.name] = Against(
            g=hedges_g(arm.values, base) if several else None,
            g_interval=hedges_interval(arm.values, base) if several else None,
            p=p[arm.name],
            smallest=smallest,
            adjusted=adjusted[arm.name],
            verdict=_counted(verdict(adjusted[arm.name], smallest, len(p), level), arm.values, base),
            detectable=least,
            detectable_interval=uncertainty,
            paired=_paired(arm, comparison.baseline) if comparison.shared else None,
        )
    return found


def _counted(said: str, a: Sequence[float], b: Sequence[float]) -> str:
    """The verdict with the number of seeds in it."""
    n = f"{len(a)}" if len(a) == len(b) else f"{len(a)} against {len(b)}"
    return said.replace("n seeds", f"{n} seed{'s' * (n != '1')}", 1) if said == CANNOT else said


def _visible(a: Sequence[float], b: Sequence[float], level: float) -> tuple[float | None, Interval | None]:
    """The detectable difference at 80% power with the pooled standard deviation, and with both ends of its interval."""
    freedom = len(a) + len(b) - 2
    if freedom < 1:
        return None, None
    squares = sum((value - sum(side) / len(side)) ** 2 for side in (a, b) for value in side)
    std = math.sqrt(squares / freedom)
    least = detectable(len(a), len(b), std, level)
    return least, detectable_interval(len(a), len(b), std_interval(std, freedom), level)


def _paired(arm: Arm, base: Arm) -> Paired | None:
    """By the seeds that both have; None where they have none in common."""
    theirs = {entry.seed: entry.value for entry in base.entries}
    pairs = [(entry.value, theirs[entry.seed]) for entry in arm.entries if entry.seed in theirs]
    if not pairs:
        return None
    ours, others = zip(*pairs, strict=True)
    flipped = sign_flip_p([one - other for one, other in pairs])
    return Paired(len(pairs), flipped, smallest_sign_flip_p(len(pairs)), correlation(ours, others))
