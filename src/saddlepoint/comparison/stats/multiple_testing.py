"""Several comparisons at once: Holm's correction, and what may be said of each.

    adjusted p of the i-th smallest of k:  max over j <= i of min(1, (k - j + 1) p_(j))

Holm 1979, A simple sequentially rejective multiple test procedure, Scand. J. Stat. 6 (2): 65-70.  The chance of even
one false difference is at most the level, however the comparisons depend on each other.
"""

from collections.abc import Mapping

DIFFERS = "differs"
NOT_SHOWN = "no difference shown"
TOO_FEW_SEEDS = "n seeds cannot show a difference at this level"
ROUNDING = 1e-12  # 3 * (0.05 / 3) is not always 0.05


def holm_p_values(p_values: Mapping[str, float]) -> dict[str, float]:
    """The adjusted p of each, in the order given; to be held against the level itself."""
    adjusted, reached = {}, 0.0
    for left, name in zip(range(len(p_values), 0, -1), sorted(p_values, key=lambda name: p_values[name]), strict=True):
        reached = max(reached, min(1.0, left * p_values[name]))
        adjusted[name] = reached
    return {name: adjusted[name] for name in p_values}


def bonferroni_level(level: float, comparisons: int) -> float:
    """The level that the smallest of so many p has to reach."""
    return level / max(comparisons, 1)


def difference_verdict(p_adjusted: float, smallest: float, comparisons: int, level: float = 0.05) -> str:
    """What may be said: that arms differ, that no difference was shown, or that so few seeds could not have shown one.

    `smallest` is the least p that the sizes of both arms can reach, unadjusted.
    """
    if p_adjusted <= level + ROUNDING:
        return DIFFERS
    return TOO_FEW_SEEDS if smallest > bonferroni_level(level, comparisons) + ROUNDING else NOT_SHOWN
