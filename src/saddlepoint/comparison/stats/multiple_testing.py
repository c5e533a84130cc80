"""Holm's correction for several comparisons, and the verdict on each.

    adjusted p of the i-th smallest of k:  max over j <= i of min(1, (k - j + 1) p_(j))

Holm 1979, A simple sequentially rejective multiple test procedure, Scand. J. Stat. 6 (2): 65-70. The probability of
one or more false differences is at most the level, whatever the dependence between the comparisons.
"""

from collections.abc import Mapping

DIFFERS = "differs"
NOT_SHOWN = "no difference shown"
TOO_FEW_SEEDS = "n seeds cannot show a difference at this level"
ROUNDING = 1e-12  # 3 * (0.05 / 3) is not always 0.05


def holm_p_values(p_values: Mapping[str, float]) -> dict[str, float]:
    """Return the adjusted p of each comparison, in the given order; compare them with the uncorrected level."""
    adjusted, largest = {}, 0.0
    for factor, name in zip(range(len(p_values), 0, -1), sorted(p_values, key=p_values.__getitem__), strict=True):
        largest = max(largest, min(1.0, factor * p_values[name]))
        adjusted[name] = largest
    return {name: adjusted[name] for name in p_values}


def bonferroni_level(level: float, comparisons: int) -> float:
    """Return the level that the smallest of so many p-values has to reach."""
    return level / max(comparisons, 1)


def difference_verdict(p_adjusted: float, smallest: float, comparisons: int, level: float = 0.05) -> str:
    """Return DIFFERS, NOT_SHOWN, or TOO_FEW_SEEDS if so few seeds cannot reach the level.

    `smallest` is the smallest unadjusted p that the sizes of the two arms allow.
    """
    if p_adjusted <= level + ROUNDING:
        return DIFFERS
    return TOO_FEW_SEEDS if smallest > bonferroni_level(level, comparisons) + ROUNDING else NOT_SHOWN
