"""Each arm compared with the baseline: effect size, p-values and the detectable difference.

The test is the exact two-sample permutation test; Holm's correction counts every arm but the baseline, on the one
primary score. If the config declares what runs of one seed share, the paired sign-flip test is reported too; it is the
only test if the arms are scores of the same runs. If the value of a failed run is imputed, both tests are of ranks
(Wilcoxon 1945, Biometrics Bull. 1 (6); ties have their mean rank), and nothing that depends on the distance between
imputed scores is reported.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from scipy.stats import rankdata

from saddlepoint.comparison.arms.arm import Arm
from saddlepoint.comparison.arms.comparison import Comparison
from saddlepoint.comparison.stats.effect import hedges_g, hedges_interval, pooled_std
from saddlepoint.comparison.stats.interval import Estimate, Interval, estimate, has_spread, std_interval
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
    """The sign-flip test over the seeds that both arms have."""

    n: int
    p: float
    smallest_p: float
    correlation: float | None
    difference: Estimate | None  # mean of the paired differences, with its t-interval; None if a value is imputed


@dataclass(frozen=True)
class BaselineDifference:
    """An arm minus the baseline."""

    g: float | None  # None if an arm has one run, if neither arm has any spread, and for ranks
    g_interval: Interval | None
    p: float
    smallest_p: float  # that so many runs can reach
    holm_p: float
    verdict: str
    detectable: float | None  # the difference of means that is shown with power 0.8; None as for g
    detectable_interval: Interval | None
    paired: PairedTest | None
    mean_difference: float  # of the values or ranks that are tested: its sign gives the direction
    uses_ranks: bool = False  # the p are of ranks, because a value of either arm is imputed


def compare_with_baseline(comparison: Comparison) -> dict[str, BaselineDifference]:
    """Test each other arm against the baseline; by the name of the arm."""
    p = {arm.name: _p_value(comparison, arm) for arm in comparison.other_arms}
    holm_p = holm_p_values(p)
    return {
        arm.name: _build_difference(comparison, arm, p[arm.name], holm_p[arm.name]) for arm in comparison.other_arms
    }


def _p_value(comparison: Comparison, arm: Arm) -> float:
    """Return the p of the exact test: of paired differences if the arms are scores of the same runs."""
    paired = _paired_test(arm, comparison.baseline) if comparison.is_paired else None
    return permutation_p(*_tested_numbers(arm, comparison.baseline)) if paired is None else paired.p


def _build_difference(comparison: Comparison, arm: Arm, p: float, holm_p: float) -> BaselineDifference:
    base, level, family = comparison.baseline, comparison.options.level, len(comparison.other_arms)
    a, b = arm.values, base.values
    paired = _paired_test(arm, base) if comparison.shared_per_seed else None
    least_p = paired.smallest_p if comparison.is_paired and paired else smallest_p(len(a), len(b))
    uses_ranks = arm.has_imputed or base.has_imputed
    # g and the detectable difference are of independent runs
    measurable = not uses_ranks and not comparison.is_paired and (has_spread(a) or has_spread(b))
    least, interval = _detectable_difference(a, b, bonferroni_level(level, family)) if measurable else (None, None)
    has_g = measurable and min(len(a), len(b)) > 1
    tested_a, tested_b = _tested_numbers(arm, base)
    return BaselineDifference(
        g=hedges_g(a, b) if has_g else None,
        g_interval=hedges_interval(a, b) if has_g else None,
        p=p,
        smallest_p=least_p,
        holm_p=holm_p,
        verdict=_with_seed_count(difference_verdict(holm_p, least_p, family, level), a, b),
        detectable=least,
        detectable_interval=interval,
        paired=paired,
        mean_difference=sum(tested_a) / len(tested_a) - sum(tested_b) / len(tested_b),
        uses_ranks=uses_ranks,
    )


def _tested_numbers(arm: Arm, base: Arm) -> tuple[Sequence[float], Sequence[float]]:
    """Return the values of both arms or, if one is imputed, their ranks; 1 is the lowest."""
    return _joint_ranks(arm.values, base.values) if arm.has_imputed or base.has_imputed else (arm.values, base.values)


def _joint_ranks(a: Sequence[float], b: Sequence[float]) -> tuple[Sequence[float], Sequence[float]]:
    ranks = rankdata([*a, *b]).tolist()
    return ranks[: len(a)], ranks[len(a) :]


def _with_seed_count(verdict: str, a: Sequence[float], b: Sequence[float]) -> str:
    n = f"{len(a)}" if len(a) == len(b) else f"{len(a)} against {len(b)}"
    return verdict.replace("n seeds", f"{n} seed{'s' * (n != '1')}", 1) if verdict == TOO_FEW_SEEDS else verdict


def _detectable_difference(
    a: Sequence[float], b: Sequence[float], level: float
) -> tuple[float | None, Interval | None]:
    """Return the difference that is detectable with power 0.8, and its interval over that of the pooled std."""
    freedom = len(a) + len(b) - 2
    if freedom < 1:
        return None, None
    std = pooled_std(a, b)
    least = detectable_difference(len(a), len(b), std, level)
    return least, detectable_difference_interval(len(a), len(b), std_interval(std, freedom), level)


def _paired_test(arm: Arm, base: Arm) -> PairedTest | None:
    """Test the differences over common seeds; None if there are none."""
    base_values = {run.seed: run.value for run in base.runs}
    pairs = [(run.value, base_values[run.seed]) for run in arm.runs if run.seed in base_values]
    if not pairs:
        return None
    a, b = zip(*pairs, strict=True)
    if uses_ranks := arm.has_imputed or base.has_imputed:
        a, b = _joint_ranks(a, b)
    differences = [x - y for x, y in zip(a, b, strict=True)]
    p, least_p = sign_flip_p(differences), smallest_sign_flip_p(len(pairs))
    return PairedTest(len(pairs), p, least_p, correlation(a, b), None if uses_ranks else estimate(differences))
