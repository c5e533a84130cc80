"""Arms that are searches, compared at equal budgets: the expected score of the best of k settings, for k = 1, 2, ...

The best setting is selected on the validation split and reported on the other split. A longer search has no advantage,
since all arms are compared at the same k (Lucic et al. 2018, arXiv:1711.10337; Dodge et al. 2019).
"""

import math

from saddlepoint.comparison.arms.arm import Arm
from saddlepoint.comparison.arms.comparison import Comparison
from saddlepoint.comparison.arms.direction import HIGHER_IS_BETTER, LOWER_IS_BETTER
from saddlepoint.comparison.report.sheet import Sheet, number_cell
from saddlepoint.comparison.stats.tuning import expected_best_score
from saddlepoint.error import Mistake
from saddlepoint.evaluation.contract import Contract, contract_differences


def budget_sheet(comparison: Comparison) -> Sheet:
    """Return the expected reported score of the best of k settings, with a column per arm.

    The selection score decides which setting is best. Raises Mistake if runs have no selection score, or selection
    scores under different contracts.
    """
    if not comparison.options.over:
        raise Mistake("tuning=true needs the keys that the searches varied: over=[optimizer.generator.lr, ...]")
    selection = _selection_contract(comparison)
    higher = _is_higher_better(comparison, selection)
    scores = {arm.name: _selection_and_reported(arm, higher) for arm in comparison.arms}
    most = min(len(selected) for selected, _ in scores.values())
    columns = {"k": [number_cell(k) for k in range(1, most + 1)]}
    for name, (selected, reported) in scores.items():
        columns[name] = [number_cell(expected_best_score(selected, reported, k, higher)) for k in range(1, most + 1)]
    notes = [
        f"Each arm is a search over {', '.join(comparison.options.over)}. The best of k settings is selected by the "
        "validation score of each run's best checkpoint and reported by the final score; the table gives the "
        f"expectation over k draws from the settings tried. The last k is {most}, the size of the smallest search.",
        f"Selected by {selection.score_name}: {'higher' if higher else 'lower'} is better.",
    ]
    if any(math.isinf(value) for _, reported in scores.values() for value in reported):
        notes += ["A failed run has no score here, so the expectation is infinite as soon as it can be selected."]
    return Sheet.from_columns(f"{comparison.primary.key}, expected best of k", columns, notes)


def _selection_contract(comparison: Comparison) -> Contract:
    """Return the one contract that selected every run's checkpoint. Raises Mistake if there are several or none."""
    scores = {}
    for run in (run for arm in comparison.arms for run in arm.runs):
        if run.selection_score is not None:
            scores[str(run.folder)] = run.selection_score
        elif not run.failed:
            raise Mistake(
                f"{run.folder} has no validation score to select it by: train with "
                "evaluation.selection.split=validation"
            )
    if not scores:
        raise Mistake("tuning=true: every run failed without a validation score, so no setting can be selected")
    first, *others = scores
    for other in others:
        for name, (a, b) in contract_differences(scores[first].contract, scores[other].contract).items():
            raise Mistake(
                f"{first} and {other} were selected by different scores: {name} is {a} there and {b} here.\n"
                "The runs of a search need one selection score: train them with the same first metric and evaluation.*"
            )
    return scores[first].contract


def _is_higher_better(comparison: Comparison, selection: Contract) -> bool:
    """Whether higher selection scores are better; their metric may differ from the reported one."""
    if selection.metric == comparison.primary.contract.metric:
        return comparison.primary.higher_is_better
    if selection.metric not in HIGHER_IS_BETTER | LOWER_IS_BETTER:
        direction = str(comparison.primary.higher_is_better).lower()
        raise Mistake(
            f"runs were selected by {selection.score_name}, and the direction of {selection.metric} is unknown; "
            f"higher_is_better={direction} applies to {comparison.primary.key}.\n"
            f"Compare the searches by it: metric={selection.metric} higher_is_better=true, or false"
        )
    return selection.metric in HIGHER_IS_BETTER


def _selection_and_reported(arm: Arm, higher_is_better: bool) -> tuple[list[float], list[float]]:
    """Return the selection and reported scores by run; a failed run is selected only if all runs drawn failed."""
    worst = float("-inf") if higher_is_better else float("inf")
    selected = [worst if run.failed or run.selection_score is None else run.selection_score.value for run in arm.runs]
    return selected, arm.values
