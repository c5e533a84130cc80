"""Arms that are searches, at equal budgets: the best of k settings as it may be expected, for k = 1, 2, ...

A best setting is chosen on the validation split and reported on the other; an arm that was searched longer gains
nothing by it, since every arm is read at the same k (Lucic et al. 2018, arXiv:1711.10337; Dodge et al. 2019).
"""

from __future__ import annotations

from saddlepoint.comparison.arm import Arm
from saddlepoint.comparison.comparison import Comparison
from saddlepoint.comparison.number import number
from saddlepoint.comparison.sheet import Sheet
from saddlepoint.comparison.tuning import expected_best_reported
from saddlepoint.error import Mistake


def budgets(comparison: Comparison) -> Sheet:
    """Expected reported score of the best of k, an arm a column.  Raises Mistake where nothing chose."""
    if not comparison.asked.over:
        raise Mistake("tuning=true: what did the searches vary? over=[optimizer.generator.lr, ...]")
    higher = comparison.primary.higher_is_better
    sides = {arm.name: _sides(arm, higher) for arm in comparison.arms}
    most = min(len(chosen) for chosen, _ in sides.values())
    columns = {"k": [number(k) for k in range(1, most + 1)]}
    for name, (chosen, reported) in sides.items():
        columns[name] = [number(expected_best_reported(chosen, reported, k, higher)) for k in range(1, most + 1)]
    notes = [
        "Each arm is a search over " + ", ".join(comparison.asked.over) + ". The best of k settings is chosen by the "
        "validation score of each run's best checkpoint and reported by the final score; what is expected of k draws "
        f"from the settings tried. k ends at {most}, the smallest search.",
    ]
    rows = tuple(zip(*columns.values(), strict=True))
    return Sheet(f"{comparison.primary.key}, expected best of k", tuple(columns), rows, tuple(notes))


def _sides(arm: Arm, higher_is_better: bool) -> tuple[list[float], list[float]]:
    """What chooses and what is reported, run by run; a failed run is never chosen while another is there."""
    never = float("-inf") if higher_is_better else float("inf")
    chosen = [never if one.failed else one.chosen for one in arm.entries]
    if None in chosen:
        at = chosen.index(None)
        raise Mistake(
            f"{arm.entries[at].run} has no validation score that could choose it: train with "
            "evaluation.selection.split=validation"
        )
    return [float(one) for one in chosen if one is not None], arm.values
