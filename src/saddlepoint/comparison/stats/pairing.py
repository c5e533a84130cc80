"""Runs of two arms, seed beside seed: what their seeds share, seen as a correlation.

Pairing gains only what a seed shares: var(a - b) = var a + var b - 2 r sd a sd b.  With r near 0 it halves the degrees
of freedom for nothing.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from saddlepoint.comparison.stats.sample import Array, sample
from saddlepoint.error import Mistake


def correlation(a: Sequence[float] | Array, b: Sequence[float] | Array) -> float | None:
    """Pearson's r of the same seeds, in [-1, 1]; None below 3 pairs, and where one side does not vary.

    Raises Mistake where one side has more runs.
    """
    first, second = sample(a), sample(b)
    if first.size != second.size:
        raise Mistake(
            f"{first.size} scores cannot be paired with {second.size}: give those of the seeds that both have"
        )
    if first.size < 3 or np.ptp(first) == 0 or np.ptp(second) == 0:
        return None
    return float(np.corrcoef(first, second)[0, 1])
