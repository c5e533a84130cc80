"""The expected best score after trying k settings drawn from those of a search.

    E[best of k] = sum_i v_(i) ((i / n)^k - ((i - 1) / n)^k)        v_(1) worst ... v_(n) best, drawn with replacement

Lucic et al. 2018, Are GANs Created Equal? (arXiv:1711.10337); Dodge et al. 2019, Show Your Work (arXiv:1909.03004).
One score selects the setting and another is reported: the weights follow the ranks of the first, the values are those
of the second. Tied settings share their weights equally.
"""

from collections.abc import Sequence

import numpy as np
from scipy.stats import rankdata

from saddlepoint.comparison.stats.interval import Array
from saddlepoint.error import Mistake


def expected_best_score(
    selection: Sequence[float] | Array, reported: Sequence[float] | Array, k: int, higher_is_better: bool
) -> float:
    """Return the expected reported score of the setting with the best selection score among k.

    `higher_is_better` is the direction of the selection score; the reported score may have the other direction. An
    infinite selection score marks a setting that is never, or always, selected. An infinite reported score makes the
    expectation infinite as soon as its setting can be selected. Raises Mistake unless 1 <= k <= n, if the two lists
    differ in length, and for nan.
    """
    values, selecting = np.asarray(reported, dtype=np.float64), np.asarray(selection, dtype=np.float64)
    n = values.size
    if selecting.shape != (n,) or np.isnan(selecting).any() or np.isnan(values).any():
        raise Mistake(f"each of {n} reported scores needs a selection score: {selecting.size} given, nan is none")
    if not 1 <= k <= n:
        raise Mistake(f"the best of k={k} of {n} settings: k goes from 1 to {n}")
    ascending = selecting if higher_is_better else -selecting
    below, upto = rankdata(ascending, "min") - 1, rankdata(ascending, "max")
    weights = ((upto / n) ** k - (below / n) ** k) / (upto - below)
    return float((weights * values)[weights > 0].sum())  # a weight may be 0, and 0 times infinity is nan
