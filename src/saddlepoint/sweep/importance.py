"""How much of the spread of the scores each dimension accounts for: functional ANOVA of a random forest.

Hutter, Hoos & Leyton-Brown 2014, An Efficient Approach for Assessing Hyperparameter Importance (ICML), by Optuna. Of a
few dozen trials it is a hint: the forest has seen little, and a sampler that follows good scores has not looked evenly.
"""

from __future__ import annotations

from math import isfinite

from optuna.exceptions import OptunaError
from optuna.importance import FanovaImportanceEvaluator, get_param_importances

from saddlepoint.sweep.study import FINISHED, Study

ENOUGH = 4  # finished trials, below which there is nothing to say


def importances(study: Study, seed: int = 0) -> dict[str, float]:
    """The share of each dimension, the largest first, adding up to 1; {} where too few trials finished to tell."""
    finished = [one for one in study.standings() if one.state == FINISHED]
    if len(finished) < ENOUGH or len({one.value for one in finished}) == 1:
        return {}
    try:
        shares = get_param_importances(study.optuna, evaluator=FanovaImportanceEvaluator(seed=seed))
    except (OptunaError, ValueError, RuntimeError):  # trials that all have one value of everything
        return {}
    return shares if all(map(isfinite, shares.values())) else {}
