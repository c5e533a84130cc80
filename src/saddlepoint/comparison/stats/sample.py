"""One score of each of several runs, as an array that statistics can stand on: finite, and of one run at least."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from saddlepoint.error import Mistake

Array = NDArray[np.float64]


def sample(values: Sequence[float] | Array) -> Array:
    """The values, [n].  Raises Mistake for none, and for values that are no finite numbers."""
    array = np.asarray(values, dtype=np.float64).ravel()
    if not array.size:
        raise Mistake("0 scores are too few here: it takes 1 at least. Train more seeds")
    if not np.isfinite(array).all():
        wrong = array[~np.isfinite(array)][0]
        raise Mistake(
            f"{wrong} among {array.size} scores has no mean: a failed run without a score has a rank and no distance"
        )
    return array
