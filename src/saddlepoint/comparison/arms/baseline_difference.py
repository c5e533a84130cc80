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
from saddlepoint.comparison.stats.interval import Interval, has_spread, std_interval
from saddlepoint.comparison.stats.multiple_testing import (
    TOO_FEW_SEEDS,
    bonferroni_level,
    difference_verdict,
    holm_p_values,
)
from saddlepoint.comparison.stats.permutation import (
    correlation,
    permutation_p,
    sign_flip_p,
    smallest_p,
    smallest_sign_flip_p,
)
from saddlepoint.comparison.stats.power import detectable_difference, detectable_difference_interval


@dataclass(frozen=True)
class PairedTest:
    """The same runs by the seeds that both arms have."""

    n: int
    p: float
    smallest_p: float
    correlation: float | None


@dataclass(frozen=True)
class BaselineDifference:
    """An arm minus the baseline."""

    g: float | None  # None where an arm has one run, where no run differs from its arm's others, and by ranks
    g_interval: Interval | None
    p: float
    smallest_p: float  # that so many runs can reach
    holm_p: float  # by Holm
    verdict: str
    detectable: float | None  # difference of means that would be seen four times in five; None as for g
    detectable_interval: Interval | None
    paired: PairedTest | None
    mean_difference: float  # of the means that are tested, of values or of ranks: its sign says which way
    uses_ranks: bool = False  # the p are of ranks, since the value of some run of either arm is imputed


def compare_with_baseline(comparison: Comparison) -> dict[str, BaselineDifference]:
    """Every arm but the baseline against it, by name."""
    p = {arm.name: permutation_p(*_tested(arm, comparison.baseline)) for arm in comparison.other_arms}
    adjusted = holm_p_values(p)
    return {arm.name: _against(comparison, arm, p[arm.name], adjusted[arm.name]) for arm in comparison.other_arms}


def _against(comparison: Comparison, arm: Arm, p: float, adjusted: float) -> BaselineDifference:
    base, level, family = comparison.baseline, comparison.asked.level, len(comparison.other_arms)
    a, b = arm.values, base.values
    smallest = smallest_p(len(a), len(b))
    by_ranks = arm.has_imputed or base.has_imputed
    measurable = not by_ranks and (has_spread(a) or has_spread(b))
    least, uncertainty = _visible(a, b, bonferroni_level(level, family)) if measurable else (None, None)
    several = measurable and min(len(a), len(b)) > 1
    ours, theirs = _tested(arm, base)
    return BaselineDifference(
        g=hedges_g(a, b) if several else None,
        g_interval=hedges_interval(a, b) if several else None,
        p=p,
        smallest_p=smallest,
        holm_p=adjusted,
        verdict=_counted(difference_verdict(adjusted, smallest, family, level), a, b),
        detectable=least,
        detectable_interval=uncertainty,
        paired=_paired(arm, base) if comparison.shared_per_seed else None,
        mean_difference=sum(ours) / len(ours) - sum(theirs) / len(theirs),
        uses_ranks=by_ranks,
    )


def _tested(arm: Arm, base: Arm) -> tuple[Sequence[float], Sequence[float]]:
    """The numbers of both arms that are tested: their values, or where one is imputed their ranks, 1 the lowest."""
    return _ranked(arm.values, base.values) if arm.has_imputed or base.has_imputed else (arm.values, base.values)


def _ranked(a: Sequence[float], b: Sequence[float]) -> tuple[Sequence[float], Sequence[float]]:
    ranks = rankdata([*a, *b]).tolist()
    return ranks[: len(a)], ranks[len(a) :]


def _counted(said: str, a: Sequence[float], b: Sequence[float]) -> str:
    n = f"{len(a)}" if len(a) == len(b) else f"{len(a)} against {len(b)}"
    return said.replace("n seeds", f"{n} seed{'s' * (n != '1')}", 1) if said == TOO_FEW_SEEDS else said


def _visible(a: Sequence[float], b: Sequence[float], level: float) -> tuple[float | None, Interval | None]:
    """The detectable difference at 80% power with the pooled standard deviation, and with both ends of its interval."""
    freedom = len(a) + len(b) - 2
    if freedom < 1:
        return None, None
    std = pooled_std(a, b)
    least = detectable_difference(len(a), len(b), std, level)
    return least, detectable_difference_interval(len(a), len(b), std_interval(std, freedom), level)


def _paired(arm: Arm, base: Arm) -> PairedTest | None:
    """By the seeds that both have; None where they have none in common."""
    theirs = {entry.seed: entry.value for entry in base.entries}
    pairs = [(entry.value, theirs[entry.seed]) for entry in arm.entries if entry.seed in theirs]
    if not pairs:
        return None
    ours, others = zip(*pairs, strict=True)
    if arm.has_imputed or base.has_imputed:
        ours, others = _ranked(ours, others)
    flipped = sign_flip_p([one - other for one, other in zip(ours, others, strict=True)])
    return PairedTest(len(pairs), flipped, smallest_sign_flip_p(len(pairs)), correlation(ours, others))
