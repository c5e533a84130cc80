"""What searching k settings is worth: the expected best of k draws from the settings tried.

    E[best of k] = sum_i v_(i) ((i / n)^k - ((i - 1) / n)^k)        v_(1) worst ... v_(n) best, drawn with replacement

Lucic et al. 2018, Are GANs Created Equal? (arXiv:1711.10337); Dodge et al. 2019, Show Your Work
(arXiv:1909.03004).  A setting is chosen by one score and reported by another: the weights are those of the
ranks of the first, the values those of the second.  Settings that are tied share their weights.
"""

from collections.abc import Sequence

import numpy as np
from scipy.stats import rankdata

from saddlepoint.comparison.stats.interval import Array
from saddlepoint.error import Mistake


def expected_best_score(
    selection: Sequence[float] | Array, reported: Sequence[float] | Array, k: int, higher_is_better: bool
) -> float:
    """The expected reported score of that of k settings whose selection score is best.

    `higher_is_better` is of the selection score; the reported one may have the other direction.  A selection score may
    be infinite: a setting never, or always, chosen; a reported one too: a setting without a score, of which nothing can
    be expected once it may be chosen.  Raises Mistake unless 1 <= k <= n, where the scores are not equally many, and
    where one is no number.
    """
    values, choosing = np.asarray(reported, dtype=np.float64), np.asarray(selection, dtype=np.float64)
    n = values.size
    if choosing.shape != (n,) or np.isnan(choosing).any() or np.isnan(values).any():
        raise Mistake(f"each of {n} reported scores needs one that chooses: {choosing.size} given, nan is none")
    if not 1 <= k <= n:
        raise Mistake(f"the best of k={k} of {n} settings: k goes from 1 to {n}")
    ranked = choosing if higher_is_better else -choosing
    below, upto = rankdata(ranked, "min") - 1, rankdata(ranked, "max")
    weights = ((upto / n) ** k - (below / n) ** k) / (upto - below)
    return float((weights * values)[weights > 0].sum())  # a weight may be 0, and 0 times infinity is no number
