"""The table of a comparison: an arm a line, and a second one of its survivors where runs failed."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from scipy.stats import rankdata

from saddlepoint.comparison.arms.arm import Arm
from saddlepoint.comparison.arms.baseline_difference import BaselineDifference, compare_with_baseline
from saddlepoint.comparison.arms.comparison import Comparison
from saddlepoint.comparison.report.sheet import (
    EMPTY,
    Cell,
    Sheet,
    format_number,
    interval_cell,
    number_cell,
    p_value_cell,
)
from saddlepoint.comparison.stats import interval
from saddlepoint.comparison.stats.interval import Estimate, Interval

MANY = 10  # runs from which BCa and the interquartile mean mean something
SURVIVORS = "survivors only"


@dataclass(frozen=True)
class ArmRow:
    """An arm, or the runs of it that survived, in numbers."""

    arm: str
    runs: int  # all of the arm
    failures: int
    failure_rate: Interval  # of failures
    n: int  # runs of this line
    estimate: Estimate | None  # None where nothing survived or a value is infinite; the mean alone where one is imputed
    median: float | None
    rank: float | None = None  # median over seeds; 1 is best
    bca: Interval | None = None  # of the mean
    iqm: float | None = None
    iqm_bca: Interval | None = None
    against: BaselineDifference | None = None
    survivors: bool = False
    imputed: int = 0  # runs of this line whose values are imputed

    @property
    def name(self) -> str:
        return f"{self.arm}, {SURVIVORS}" if self.survivors else self.arm


def arm_rows(comparison: Comparison) -> list[ArmRow]:
    """All arms, the baseline first, each followed by its survivors where some run failed."""
    pairwise = {} if is_factorial(comparison) or comparison.asked.tuning else compare_with_baseline(comparison)
    ranks = median_ranks(comparison.arms, comparison.primary.higher_is_better)
    found = []
    for arm in comparison.arms:
        imputed = sum(one.is_imputed for one in arm.entries)
        found.append(_line(arm, arm.values, imputed, rank=ranks[arm.name], against=pairwise.get(arm.name)))
        if arm.failures:
            found.append(_line(arm, arm.surviving_values, survivors=True))
    return found


def _line(arm: Arm, values: Sequence[float], imputed: int = 0, **more: Any) -> ArmRow:
    many = len(values) >= MANY and not imputed and interval.has_spread(values)
    return ArmRow(
        arm=arm.name,
        runs=len(arm.values),
        failures=arm.failures,
        failure_rate=interval.proportion_interval(arm.failures, len(arm.values)),
        n=len(values),
        estimate=mean_estimate(values, bool(imputed)),
        median=float(np.median(values)) if values else None,
        bca=interval.bootstrap_interval(values) if many else None,
        iqm=interval.interquartile_mean(values) if many else None,
        iqm_bca=interval.bootstrap_interval(values, "iqm") if many else None,
        imputed=imputed,
        **more,
    )


def mean_estimate(values: Sequence[float], imputed: bool) -> Estimate | None:
    """Mean, spread and intervals of an arm; the mean alone where a value is imputed, None where one is infinite."""
    if not values or not np.isfinite(values).all():
        return None
    return Estimate(len(values), float(np.mean(values)), None, None, None) if imputed else interval.estimate(values)


def median_ranks(arms: Sequence[Arm], higher_is_better: bool) -> dict[str, float]:
    """Each arm's median rank, 1 the best, over the seeds that all arms have; by medians where they have none."""
    sign = -1 if higher_is_better else 1
    by_seed = [{entry.seed: sign * entry.value for entry in arm.entries} for arm in arms]
    seeds = sorted(set.intersection(*(set(own) for own in by_seed)))
    if seeds and all(len(own) == len(arm.entries) for own, arm in zip(by_seed, arms, strict=True)):
        scores = np.array([[own[seed] for own in by_seed] for seed in seeds])
    else:
        scores = np.array([[sign * np.median(arm.values) for arm in arms]])
    ranks = np.median(rankdata(scores, axis=1), axis=0)
    return {arm.name: float(rank) for arm, rank in zip(arms, ranks, strict=True)}


def is_factorial(comparison: Comparison) -> bool:
    """Whether the arms are read as a factorial design: as asked, else where they are a full balanced one.

    There are several keys of two values or more then, every combination, and of all as many runs, two at least.
    """
    if comparison.asked.factorial is not None or comparison.asked.tuning:
        return bool(comparison.asked.factorial)
    arms, keys = comparison.arms, comparison.by
    levels = [len({repr(arm.settings[key]) for arm in arms}) for key in keys]
    sizes = {len(arm.values) for arm in arms}
    full = min(levels) > 1 and len(arms) == math.prod(levels) and len(sizes) == 1 and min(sizes) > 1
    return len(keys) > 1 and full


def primary_sheet(comparison: Comparison, found: Sequence[ArmRow]) -> Sheet:
    """The table for people: a value and its interval in one cell."""
    columns: dict[str, list[Cell]] = {
        "arm": [Cell(line.name) for line in found],
        "n": [number_cell(line.n) for line in found],
        "failed": [EMPTY if line.survivors else failures_cell(line, rate=True) for line in found],
        "mean": [replace(mean_cell(line.estimate), note=_without_interval(line)) for line in found],
        "sd": [interval_cell(e.std, e.std_interval) if (e := line.estimate) else EMPTY for line in found],
        "median": [number_cell(line.median) for line in found],
        "rank": [number_cell(line.rank) for line in found],
    }
    if any(line.iqm is not None for line in found):
        columns["mean, BCa"] = [interval_cell(line.estimate.mean if line.bca and line.estimate else None, line.bca)
                                for line in found]  # fmt: skip
        columns["IQM"] = [interval_cell(line.iqm, line.iqm_bca) for line in found]
    if any(line.against for line in found):
        columns |= _beside_baseline([line.against for line in found])
    return Sheet.from_columns(comparison.primary.key, columns, table_notes(comparison, found))


def _beside_baseline(found: Sequence[BaselineDifference | None]) -> dict[str, list[Cell]]:
    columns = {
        "Hedges g": [interval_cell(one.g, one.g_interval, 3) if one else EMPTY for one in found],
        "p": [p_value_cell(one.p if one else None) for one in found],
        "least p": [p_value_cell(one.smallest_p if one else None) for one in found],
        "Holm p": [p_value_cell(one.holm_p if one else None) for one in found],
        "verdict": [Cell(one.verdict, best=one.verdict == "differs") if one else EMPTY for one in found],
        "detectable": [interval_cell(one.detectable, one.detectable_interval, 3) if one else EMPTY for one in found],
    }
    pairs = [one.paired if one else None for one in found]
    if any(pairs):
        columns |= {
            "paired p": [p_value_cell(pair.p if pair else None) for pair in pairs],
            "least paired p": [p_value_cell(pair.smallest_p if pair else None) for pair in pairs],
            "correlation": [number_cell(pair.correlation if pair else None, 2) for pair in pairs],
        }
    return columns


def failures_cell(line: ArmRow, rate: bool = False) -> Cell:
    """How many of an arm's runs failed, with the interval of the rate where it is asked for."""
    ends = f" [{format_number(line.failure_rate.low, 2)}, {format_number(line.failure_rate.high, 2)}]" if rate else ""
    return Cell(f"{line.failures}/{line.runs}{ends}", line.failures / line.runs)


def mean_cell(found: Estimate | None) -> Cell:
    """A mean with its interval."""
    if found is None:
        return Cell("none")
    if found.n == 1:
        return Cell(f"{number_cell(found.mean).text} (n = 1)", found.mean)
    return interval_cell(found.mean, found.interval)


def _without_interval(line: ArmRow) -> str | None:
    if line.imputed:
        return (
            f"{line.imputed} of {line.n} values {'are' if line.imputed > 1 else 'is'} imputed: a mean of them is no "
            "estimate, so there is no interval, sd, g or detectable difference. Read median and rank."
        )
    if line.estimate is not None and line.n > 1 and line.estimate.interval is None:
        return "All runs have the same value: they tell nothing of their spread, and Student's t has no interval."
    return None


def table_notes(comparison: Comparison, found: Sequence[ArmRow]) -> tuple[str, ...]:
    """How to read the table, a sentence each; only of what stands in it."""
    better = "higher" if comparison.primary.higher_is_better else "lower"
    level, family = comparison.asked.level, len(comparison.other_arms)
    said = [
        f"{better.capitalize()} is better. In brackets: 95% intervals, of the mean by Student's t, of sd by "
        "chi-square, of the rate of failures by Clopper and Pearson. Rank: median over seeds, 1 is best."
    ]
    if any(line.against for line in found):
        said += [
            f"Against {comparison.baseline.name}: Hedges g; p of the exact permutation test; the least p that so many "
            f"runs can reach; Holm's p over {family} comparison{'s' * (family > 1)} by this one score, at {level}; the "
            "difference that this test would show four times in five, with the uncertainty of sd."
        ]
    if any(line.against and line.against.uses_ranks for line in found):
        said += ["Where the value of a failed run is imputed, in the arm or the baseline, the permutation test is of "
                 "ranks."]  # fmt: skip
    if comparison.shared_per_seed and any(line.against and line.against.paired for line in found):
        said += [f"Runs of one seed share {', '.join(comparison.shared_per_seed)}: the sign-flip test of their differences, and "
                 "their correlation, stand beside; the verdict is by the unpaired test."]  # fmt: skip
    if any(line.failures for line in found):
        said += [f"{failure_note(comparison)} Survivors only is flattered: it leaves out the runs that went wrong."]
    if comparison.asked.tuning:
        said += ["No arm is tested against another here: the settings that a search tried are no sample of seeds. Read "
                 "the expected best of k."]  # fmt: skip
    if any(line.bca for line in found):
        said += [interval.BCA_COVERAGE]
    if any(0 < line.n < MANY for line in found):
        said += [f"No BCa interval and no interquartile mean below {MANY} runs: a bootstrap of so few resamples the "
                 "same handful, and its intervals are too short."]  # fmt: skip
    return tuple(said)


def failure_note(comparison: Comparison) -> str:
    """What a failed run counts."""
    if comparison.failure_floor is None:
        return "A failed run has the worst rank: no untrained generator has a score."
    return (
        "A failed run counts the worse of its own last score and the worst score of all untrained generators, "
        f"{format_number(comparison.failure_floor)}."
    )


def numbers_sheet(found: Sequence[ArmRow]) -> Sheet:
    """The same for programs: one number a column, unrounded."""
    rows = [_numbers(line) for line in found]
    columns = {name: [row[name] for row in rows] for name in rows[0]}
    cells = {name: [Cell(x) if isinstance(x, str) else number_cell(x) for x in own] for name, own in columns.items()}
    return Sheet.from_columns("numbers", cells)


def _numbers(line: ArmRow) -> dict[str, float | str | None]:
    e, a = line.estimate, line.against
    pair = a.paired if a else None
    return {
        "arm": line.arm,
        "rows": SURVIVORS if line.survivors else "all",
        "n": line.n,
        "runs": line.runs,
        "failures": line.failures,
        **_ends("failure_rate", line.failure_rate),
        "imputed": line.imputed,
        "mean": e.mean if e else None,
        **_ends("mean", e.interval if e else None),
        "sd": e.std if e else None,
        **_ends("sd", e.std_interval if e else None),
        "median": line.median,
        "rank": line.rank,
        **_ends("mean_bca", line.bca),
        "iqm": line.iqm,
        **_ends("iqm_bca", line.iqm_bca),
        "hedges_g": a.g if a else None,
        **_ends("hedges_g", a.g_interval if a else None),
        "p": a.p if a else None,
        "p_of": "" if a is None else "ranks" if a.uses_ranks else "means",
        "least_p": a.smallest_p if a else None,
        "holm_p": a.holm_p if a else None,
        "verdict": a.verdict if a else "",
        "detectable": a.detectable if a else None,
        **_ends("detectable", a.detectable_interval if a else None),
        "paired_n": pair.n if pair else None,
        "paired_p": pair.p if pair else None,
        "least_paired_p": pair.smallest_p if pair else None,
        "correlation": pair.correlation if pair else None,
    }


def _ends(name: str, own: Interval | None) -> dict[str, float | None]:
    return {f"{name}_low": own.low if own else None, f"{name}_high": own.high if own else None}
