"""Plots of a search, by Optuna: its history, the importance of each dimension, and parallel coordinates.

Each plot function returns the bytes of a PNG at 150 dpi.  Parallel coordinates: Inselberg 1985, The Plane with Parallel
Coordinates.  Importance: functional ANOVA of a random forest, Hutter, Hoos & Leyton-Brown 2014, An Efficient Approach
for Assessing Hyperparameter Importance (ICML).  With a few dozen trials, importance is only a hint: the forest has few
samples, and a sampler that follows good scores does not cover the space evenly.
"""

import warnings
from collections.abc import Callable
from math import isfinite
from typing import Any

from matplotlib import pyplot
from optuna.exceptions import OptunaError
from optuna.importance import FanovaImportanceEvaluator, get_param_importances
from optuna.visualization import matplotlib as optuna_plot

from saddlepoint.comparison.report.canvas import escape_mathtext, figure_to_png
from saddlepoint.sweep.study import FINISHED, Study

MIN_TRIALS = 4  # finished trials needed for importances


def history_plot(study: Study) -> bytes:
    """Plot the score of every finished trial in order, and the best score so far."""
    return _to_png(optuna_plot.plot_optimization_history, study)


def parallel_plot(study: Study) -> bytes:
    """Plot one axis per dimension and one for the score, and one line per finished trial, darker for better scores."""
    return _to_png(optuna_plot.plot_parallel_coordinate, study)


def importance_plot(study: Study) -> bytes:
    """Plot one bar per dimension: its share of the variance of the scores (see `importances`)."""
    return _to_png(optuna_plot.plot_param_importances, study, evaluator=FanovaImportanceEvaluator(seed=0))


def importances(study: Study) -> dict[str, float]:
    """Return the share of each dimension, the largest first; they sum to 1.  {} if too few trials have finished."""
    finished = [trial for trial in study.trial_records() if trial.state == FINISHED]
    if len(finished) < MIN_TRIALS or len({trial.value for trial in finished}) == 1:
        return {}
    try:
        shares = get_param_importances(study.optuna_study, evaluator=FanovaImportanceEvaluator(seed=0))
    except (OptunaError, ValueError, RuntimeError):  # every dimension has the same value in all trials
        return {}
    return shares if all(map(isfinite, shares.values())) else {}


def _to_png(plot: Callable[..., Any], study: Study, **settings: Any) -> bytes:
    """Return a plot of Optuna's as PNG.  Optuna changes pyplot's style, which is restored; no window opens."""
    pyplot.switch_backend("agg")
    metric = study.plan.metric
    name = escape_mathtext(f"{metric.name} on validation, {metric.direction_text}")
    width = max(8.0, 1.9 * (len(study.plan.space) + 1))
    with pyplot.rc_context({"figure.figsize": (width, 4.6)}), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about dimensions with a single value
        figure = plot(study.optuna_study, target_name=name, **settings).figure
        figure.set_layout_engine("tight")
        content = figure_to_png(figure)
        pyplot.close(figure)
    return content
