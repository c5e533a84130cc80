"""An arm against the baseline: how large the difference is, whether chance makes one as large, and what could be seen.

The test in use is the exact two-sample permutation test; Holm's correction counts every arm but the baseline, by the
one primary score.  Where the config declares what runs of one seed share, the paired sign-flip test stands beside it.
Where the value of a failed run is imputed, both tests are of ranks (Wilcoxon 1945, Biometrics Bull. 1 (6); ties have
their mean rank), and nothing is given that a distance between imputed scores would decide.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from scipy.stats import rankdata

from saddlepoint.comparison.arms.arm import Arm
from saddlepoint.comparison.arms.comparison import Comparison
from saddlepoint.comparison.stats.effect import hedges_g, hedges_interval, pooled_std
from saddlepoint.comparison.stats.interval import Interval, spread, std_interval
from saddlepoint.comparison.stats.multiple import CANNOT, corrected_level, holm, verdict
from saddlepoint.comparison.stats.permutation import (
    correlation,
    permutation_p,
    sign_flip_p,
    smallest_p,
    smallest_sign_flip_p,
)
from saddlepoint.comparison.stats.power import detectable, detectable_interval


@dataclass(frozen=True)
class Paired:
    """The same runs by the seeds that both arms have."""

    n: int
    p: float
    smallest: float
    correlation: float | None


@dataclass(frozen=True)
class Against:
    """An arm minus the baseline."""

    g: float | None  # None where an arm has one run, where no run differs from its arm's others, and by ranks
    g_interval: Interval | None
    p: float
    smallest: float  # that so many runs can reach
    adjusted: float  # by Holm
    verdict: str
    detectable: float | None  # difference of means that would be seen four times in five; None as for g
    detectable_interval: Interval | None
    paired: Paired | None
    difference: float  # of the means that are tested, of values or of ranks: its sign says which way
    by_ranks: bool = False  # the p are of ranks, since the value of some run of either arm is imputed


def against(comparison: Comparison) -> dict[str, Against]:
    """Every arm but the baseline against it, by name."""
    p = {arm.name: permutation_p(*_tested(arm, comparison.baseline)) for arm in comparison.rest}
    adjusted = holm(p)
    return {arm.name: _against(comparison, arm, p[arm.name], adjusted[arm.name]) for arm in comparison.rest}


def _against(comparison: Comparison, arm: Arm, p: float, adjusted: float) -> Against:
    base, level, family = comparison.baseline, comparison.asked.level, len(comparison.rest)
    a, b = arm.values, base.values
    smallest = smallest_p(len(a), len(b))
    by_ranks = arm.imputed or base.imputed
    measurable = not by_ranks and (spread(a) or spread(b))
    least, uncertainty = _visible(a, b, corrected_level(level, family)) if measurable else (None, None)
    several = measurable and min(len(a), len(b)) > 1
    ours, theirs = _tested(arm, base)
    return Against(
        g=hedges_g(a, b) if several else None,
        g_interval=hedges_interval(a, b) if several else None,
        p=p,
        smallest=smallest,
        adjusted=adjusted,
        verdict=_counted(verdict(adjusted, smallest, family, level), a, b),
        detectable=least,
        detectable_interval=uncertainty,
        paired=_paired(arm, base) if comparison.shared else None,
        difference=sum(ours) / len(ours) - sum(theirs) / len(theirs),
        by_ranks=by_ranks,
    )


def _tested(arm: Arm, base: Arm) -> tuple[Sequence[float], Sequence[float]]:
    """The numbers of both arms that are tested: their values, or where one is imputed their ranks, 1 the lowest."""
    return _ranked(arm.values, base.values) if arm.imputed or base.imputed else (arm.values, base.values)


def _ranked(a: Sequence[float], b: Sequence[float]) -> tuple[Sequence[float], Sequence[float]]:
    ranks = rankdata([*a, *b]).tolist()
    return ranks[: len(a)], ranks[len(a) :]


def _counted(said: str, a: Sequence[float], b: Sequence[float]) -> str:
    n = f"{len(a)}" if len(a) == len(b) else f"{len(a)} against {len(b)}"
    return said.replace("n seeds", f"{n} seed{'s' * (n != '1')}", 1) if said == CANNOT else said


def _visible(a: Sequence[float], b: Sequence[float], level: float) -> tuple[float | None, Interval | None]:
    """The detectable difference at 80% power with the pooled standard deviation, and with both ends of its interval."""
    freedom = len(a) + len(b) - 2
    if freedom < 1:
        return None, None
    std = pooled_std(a, b)
    least = detectable(len(a), len(b), std, level)
    return least, detectable_interval(len(a), len(b), std_interval(std, freedom), level)


def _paired(arm: Arm, base: Arm) -> Paired | None:
    """By the seeds that both have; None where they have none in common."""
    theirs = {entry.seed: entry.value for entry in base.entries}
    pairs = [(entry.value, theirs[entry.seed]) for entry in arm.entries if entry.seed in theirs]
    if not pairs:
        return None
    ours, others = zip(*pairs, strict=True)
    if arm.imputed or base.imputed:
        ours, others = _ranked(ours, others)
    flipped = sign_flip_p([one - other for one, other in zip(ours, others, strict=True)])
    return Paired(len(pairs), flipped, smallest_sign_flip_p(len(pairs)), correlation(ours, others))
