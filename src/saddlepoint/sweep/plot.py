"""The drawings of a search, by Optuna: its history, what mattered, and every trial as a line through all dimensions.

Each function returns the bytes of a PNG at 150 dpi.  Parallel coordinates: Inselberg 1985, The Plane with Parallel
Coordinates.  Importance: functional ANOVA of a random forest, Hutter, Hoos & Leyton-Brown 2014, An Efficient Approach
for Assessing Hyperparameter Importance (ICML).  Of a few dozen trials it is a hint: the forest has seen little, and a
sampler that follows good scores has not looked evenly.
"""

import warnings
from collections.abc import Callable
from math import isfinite
from typing import Any

from matplotlib import pyplot
from optuna.exceptions import OptunaError
from optuna.importance import FanovaImportanceEvaluator, get_param_importances
from optuna.visualization import matplotlib as drawn

from saddlepoint.comparison.report.canvas import escape_mathtext, figure_to_png
from saddlepoint.sweep.study import FINISHED, Study

ENOUGH = 4  # finished trials, below which there is nothing to say of importance


def history_plot(study: Study) -> bytes:
    """The score of every finished trial in order, and the best so far."""
    return _png(drawn.plot_optimization_history, study)


def parallel_plot(study: Study) -> bytes:
    """An axis per dimension and one of the score; a line per finished trial, darker where better."""
    return _png(drawn.plot_parallel_coordinate, study)


def importance_plot(study: Study) -> bytes:
    """A bar per dimension: its share of the spread of the scores (see `importances`)."""
    return _png(drawn.plot_param_importances, study, evaluator=FanovaImportanceEvaluator(seed=0))


def importances(study: Study) -> dict[str, float]:
    """The share of each dimension, the largest first, adding up to 1; {} where too few trials finished to tell."""
    finished = [one for one in study.trial_records() if one.state == FINISHED]
    if len(finished) < ENOUGH or len({one.value for one in finished}) == 1:
        return {}
    try:
        shares = get_param_importances(study.optuna_study, evaluator=FanovaImportanceEvaluator(seed=0))
    except (OptunaError, ValueError, RuntimeError):  # trials that all have one value of everything
        return {}
    return shares if all(map(isfinite, shares.values())) else {}


def _png(draw: Callable[..., Any], study: Study, **settings: Any) -> bytes:
    """Optuna draws by pyplot, and in a style of its own: no window opens, and the style is put back."""
    pyplot.switch_backend("agg")
    asked = study.plan.metric
    name = escape_mathtext(f"{asked.name} on validation, {asked.direction_text}")
    width = max(8.0, 1.9 * (len(study.plan.space) + 1))
    with pyplot.rc_context({"figure.figsize": (width, 4.6)}), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of a dimension of one value
        figure = draw(study.optuna_study, target_name=name, **settings).figure
        figure.set_layout_engine("tight")
        content = figure_to_png(figure)
        pyplot.close(figure)
    return content
