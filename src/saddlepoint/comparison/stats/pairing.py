"""Runs of two arms, seed beside seed: what their seeds share, seen as a correlation, and the mean of their differences.

Pairing gains only what a seed shares: var(a - b) = var a + var b - 2 r sd a sd b.  With r near 0 it halves the degrees
of freedom for nothing.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from saddlepoint.comparison.stats.interval import Estimate, estimate
from saddlepoint.comparison.stats.sample import Array, pairs


def correlation(a: Sequence[float] | Array, b: Sequence[float] | Array) -> float | None:
    """Pearson's r of the same seeds, in [-1, 1]; None below 3 pairs, and where one side does not vary."""
    first, second = pairs(a, b)
    if first.size < 3 or np.ptp(first) == 0 or np.ptp(second) == 0:
        return None
    return float(np.corrcoef(first, second)[0, 1])


def paired_estimate(a: Sequence[float] | Array, b: Sequence[float] | Array, level: float = 0.95) -> Estimate:
    """Mean and spread of a minus b over the same seeds.  Raises Mistake where one is longer."""
    first, second = pairs(a, b)
    return estimate(first - second, level)
