"""Arms that are searches, at equal budgets: the best of k settings as it may be expected, for k = 1, 2, ...

A best setting is chosen on the validation split and reported on the other; an arm that was searched longer gains
nothing by it, since every arm is read at the same k (Lucic et al. 2018, arXiv:1711.10337; Dodge et al. 2019).
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
    """Expected reported score of the best of k, an arm a column.

    The best is that of the score that chose, in the direction of that score.  Raises Mistake where nothing chose, and
    where runs were chosen by scores of different contracts.
    """
    if not comparison.asked.over:
        raise Mistake("tuning=true: what did the searches vary? over=[optimizer.generator.lr, ...]")
    choosing = _choosing(comparison)
    higher = _direction(comparison, choosing)
    sides = {arm.name: _sides(arm, higher) for arm in comparison.arms}
    most = min(len(chosen) for chosen, _ in sides.values())
    columns = {"k": [number_cell(k) for k in range(1, most + 1)]}
    for name, (chosen, reported) in sides.items():
        columns[name] = [number_cell(expected_best_score(chosen, reported, k, higher)) for k in range(1, most + 1)]
    notes = [
        "Each arm is a search over " + ", ".join(comparison.asked.over) + ". The best of k settings is chosen by the "
        "validation score of each run's best checkpoint and reported by the final score; what is expected of k draws "
        f"from the settings tried. k ends at {most}, the smallest search.",
        f"Chosen by {choosing.score_name}: {'higher' if higher else 'lower'} is better.",
    ]
    if any(math.isinf(value) for _, reported in sides.values() for value in reported):
        notes += ["A failed run has no score here, so where it may be chosen nothing can be expected."]
    return Sheet.from_columns(f"{comparison.primary.key}, expected best of k", columns, notes)


def _choosing(comparison: Comparison) -> Contract:
    """The one contract by which every run's checkpoint was chosen.  Raises Mistake for several, and for none."""
    scores = {}
    for one in (one for arm in comparison.arms for one in arm.entries):
        if one.selection_score is not None:
            scores[str(one.run)] = one.selection_score
        elif not one.failed:
            raise Mistake(
                f"{one.run} has no validation score that could choose it: train with "
                "evaluation.selection.split=validation"
            )
    if not scores:
        raise Mistake(
            "tuning=true: every run failed, and none has a validation score: there is nothing to choose between"
        )
    first, *rest = scores
    for other in rest:
        for name, (one, two) in contract_differences(scores[first].contract, scores[other].contract).items():
            raise Mistake(
                f"{first} and {other} were chosen by different scores: {name} is {one} there and {two} here.\n"
                "A search is compared where one score chose in all of its runs: train them with the same first metric "
                "and evaluation.*"
            )
    return scores[first].contract


def _direction(comparison: Comparison, choosing: Contract) -> bool:
    """Whether more of the score that chose is better: by its own metric, which may not be the one reported."""
    if choosing.metric == comparison.primary.contract.metric:
        return comparison.primary.higher_is_better
    if choosing.metric not in HIGHER_IS_BETTER | LOWER_IS_BETTER:
        raise Mistake(
            f"{choosing.score_name} chose between the runs, and nobody knows whether a high {choosing.metric} is good; "
            f"higher_is_better={str(comparison.primary.higher_is_better).lower()} is of {comparison.primary.key}.\n"
            f"Read the searches by it: metric={choosing.metric} higher_is_better=true, or false"
        )
    return choosing.metric in HIGHER_IS_BETTER


def _sides(arm: Arm, higher_is_better: bool) -> tuple[list[float], list[float]]:
    """What chooses and what is reported, run by run; a failed run is never chosen while another is there."""
    never = float("-inf") if higher_is_better else float("inf")
    return [
        never if one.failed or one.selection_score is None else one.selection_score.value for one in arm.entries
    ], arm.values
