"""The table of a comparison: a row per arm, and a second row with the survivors of an arm with failed runs."""

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
from saddlepoint.comparison.stats.interval import MIN_RUNS, Estimate, Interval

SURVIVORS = "survivors only"


@dataclass(frozen=True)
class ArmRow:
    """The statistics of an arm, or of its surviving runs."""

    arm: str
    n_runs: int  # all of the arm
    failures: int
    failure_rate: Interval
    n: int  # runs of this row
    estimate: Estimate | None  # None if no run survived or a value is infinite; only the mean if one is imputed
    median: float | None
    rank: float | None = None  # median over seeds; 1 is best
    bca: Interval | None = None  # of the mean
    iqm: float | None = None
    iqm_bca: Interval | None = None
    difference: BaselineDifference | None = None
    survivors_only: bool = False
    n_imputed: int = 0  # runs of this row whose values are imputed

    @property
    def name(self) -> str:
        return f"{self.arm}, {SURVIVORS}" if self.survivors_only else self.arm


def arm_rows(comparison: Comparison) -> list[ArmRow]:
    """Return a row per arm, the baseline first, each followed by its survivors if some run failed."""
    differences = {}
    if not is_factorial(comparison) and not comparison.options.tuning:
        differences = compare_with_baseline(comparison)
    ranks = median_ranks(comparison.arms, comparison.primary.higher_is_better)
    rows = []
    for arm in comparison.arms:
        n_imputed = sum(run.is_imputed for run in arm.runs)
        rows.append(_arm_row(arm, arm.values, n_imputed, rank=ranks[arm.name], difference=differences.get(arm.name)))
        if arm.failure_count:
            rows.append(_arm_row(arm, arm.surviving_values, survivors_only=True))
    return rows


def _arm_row(arm: Arm, values: Sequence[float], n_imputed: int = 0, **more: Any) -> ArmRow:
    resample = len(values) >= MIN_RUNS and not n_imputed and interval.has_spread(values)
    return ArmRow(
        arm=arm.name,
        n_runs=len(arm.values),
        failures=arm.failure_count,
        failure_rate=interval.proportion_interval(arm.failure_count, len(arm.values)),
        n=len(values),
        estimate=mean_estimate(values, bool(n_imputed)),
        median=float(np.median(values)) if values else None,
        bca=interval.bootstrap_interval(values) if resample else None,
        iqm=interval.interquartile_mean(values) if resample else None,
        iqm_bca=interval.bootstrap_interval(values, "iqm") if resample else None,
        n_imputed=n_imputed,
        **more,
    )


def mean_estimate(values: Sequence[float], imputed: bool) -> Estimate | None:
    """Return mean, spread and intervals of an arm; only the mean if a value is imputed, None if one is infinite."""
    if not values or not np.isfinite(values).all():
        return None
    return Estimate(len(values), float(np.mean(values)), None, None, None) if imputed else interval.estimate(values)


def median_ranks(arms: Sequence[Arm], higher_is_better: bool) -> dict[str, float]:
    """Return each arm's median rank over the seeds that all arms have, 1 the best; without such seeds, by medians."""
    sign = -1 if higher_is_better else 1
    by_seed = [{run.seed: sign * run.value for run in arm.runs} for arm in arms]
    seeds = sorted(set.intersection(*(set(values) for values in by_seed)))
    if seeds and all(len(values) == len(arm.runs) for values, arm in zip(by_seed, arms, strict=True)):
        scores = np.array([[values[seed] for values in by_seed] for seed in seeds])
    else:
        scores = np.array([[sign * np.median(arm.values) for arm in arms]])
    ranks = np.median(rankdata(scores, axis=1), axis=0)
    return {arm.name: float(rank) for arm, rank in zip(arms, ranks, strict=True)}


def is_factorial(comparison: Comparison) -> bool:
    """Whether the arms are analysed as a factorial design: as requested, else if they are a full balanced one.

    That is: several keys of two or more values, every combination, and equally many runs of each, at least two.
    """
    if comparison.options.factorial is not None or comparison.options.tuning:
        return bool(comparison.options.factorial)
    arms, keys = comparison.arms, comparison.by
    levels = [len({repr(arm.settings[key]) for arm in arms}) for key in keys]
    sizes = {len(arm.values) for arm in arms}
    is_full = min(levels) > 1 and len(arms) == math.prod(levels) and len(sizes) == 1 and min(sizes) > 1
    return len(keys) > 1 and is_full


def primary_sheet(comparison: Comparison, rows: Sequence[ArmRow]) -> Sheet:
    """Return the table for people: a value and its interval in one cell."""
    columns: dict[str, list[Cell]] = {
        "arm": [Cell(row.name) for row in rows],
        "n": [number_cell(row.n) for row in rows],
        "failed": [EMPTY if row.survivors_only else failures_cell(row, rate=True) for row in rows],
        "mean": [replace(mean_cell(row.estimate), note=_missing_interval_note(row)) for row in rows],
        "sd": [interval_cell(e.std, e.std_interval) if (e := row.estimate) else EMPTY for row in rows],
        "median": [number_cell(row.median) for row in rows],
        "rank": [number_cell(row.rank) for row in rows],
    }
    if any(row.iqm is not None for row in rows):
        columns["mean, BCa"] = [interval_cell(row.estimate.mean if row.bca and row.estimate else None, row.bca)
                                for row in rows]  # fmt: skip
        columns["IQM"] = [interval_cell(row.iqm, row.iqm_bca) for row in rows]
    if any(row.difference for row in rows):
        columns |= _difference_columns([row.difference for row in rows])
    return Sheet.from_columns(comparison.primary.key, columns, table_notes(comparison, rows))


def _difference_columns(differences: Sequence[BaselineDifference | None]) -> dict[str, list[Cell]]:
    columns = {
        "Hedges g": [interval_cell(d.g, d.g_interval, 3) if d else EMPTY for d in differences],
        "p": [p_value_cell(d.p if d else None) for d in differences],
        "least p": [p_value_cell(d.smallest_p if d else None) for d in differences],
        "Holm p": [p_value_cell(d.holm_p if d else None) for d in differences],
        "verdict": [Cell(d.verdict, best=d.verdict == "differs") if d else EMPTY for d in differences],
        "detectable": [interval_cell(d.detectable, d.detectable_interval, 3) if d else EMPTY for d in differences],
    }
    pairs = [d.paired if d else None for d in differences]
    if any(pairs):
        estimates = [pair.difference if pair else None for pair in pairs]
        columns |= {
            "paired difference": [interval_cell(e.mean, e.interval) if e else EMPTY for e in estimates],
            "paired p": [p_value_cell(pair.p if pair else None) for pair in pairs],
            "least paired p": [p_value_cell(pair.smallest_p if pair else None) for pair in pairs],
            "correlation": [number_cell(pair.correlation if pair else None, 2) for pair in pairs],
        }
    return columns


def failures_cell(row: ArmRow, rate: bool = False) -> Cell:
    """Return how many of an arm's runs failed, with the interval of the rate if `rate`."""
    low, high = (format_number(end, 2) for end in (row.failure_rate.low, row.failure_rate.high))
    ends = f" [{low}, {high}]" if rate else ""
    return Cell(f"{row.failures}/{row.n_runs}{ends}", row.failures / row.n_runs)


def mean_cell(estimate: Estimate | None) -> Cell:
    """Return a mean with its interval."""
    if estimate is None:
        return Cell("none")
    if estimate.n == 1:
        return Cell(f"{number_cell(estimate.mean).text} (n = 1)", estimate.mean)
    return interval_cell(estimate.mean, estimate.interval)


def _missing_interval_note(row: ArmRow) -> str | None:
    if row.n_imputed:
        return (
            f"{row.n_imputed} of {row.n} values {'are' if row.n_imputed > 1 else 'is'} imputed: their mean is not "
            "an estimate, so there is no interval, sd, g or detectable difference. Use median and rank."
        )
    if row.estimate is not None and row.n > 1 and row.estimate.interval is None:
        return "All runs have the same value: their spread is unknown, and Student's t has no interval."
    return None


def table_notes(comparison: Comparison, rows: Sequence[ArmRow]) -> tuple[str, ...]:
    """Return the notes on the columns that the table has, a sentence each."""
    better = "higher" if comparison.primary.higher_is_better else "lower"
    level, family = comparison.options.level, len(comparison.other_arms)
    notes = [
        f"{better.capitalize()} is better. In brackets: 95% intervals, of the mean by Student's t, of sd by "
        "chi-square, of the rate of failures by Clopper and Pearson. Rank: median over seeds, 1 is best."
    ]
    if comparison.is_paired and any(row.difference for row in rows):
        notes += [
            f"Against {comparison.baseline.name}, paired by run: the mean difference with Student's 95% interval; p of "
            f"the exact sign-flip test; the least p that so many runs can reach; Holm's p over {family} "
            f"comparison{'s' * (family > 1)} by this one score, at {level}."
        ]
    elif any(row.difference for row in rows):
        notes += [
            f"Against {comparison.baseline.name}: Hedges g; p of the exact permutation test; the least p that so many "
            f"runs can reach; Holm's p over {family} comparison{'s' * (family > 1)} by this one score, at {level}; the "
            "difference that this test shows with power 0.8, for both ends of the interval of sd."
        ]
    if any(row.difference and row.difference.uses_ranks for row in rows):
        notes += ["If the value of a failed run is imputed, in the arm or the baseline, the permutation test uses "
                  "ranks."]  # fmt: skip
    if (
        comparison.shared_per_seed
        and not comparison.is_paired
        and any(row.difference and row.difference.paired for row in rows)
    ):
        shared = ", ".join(comparison.shared_per_seed)
        notes += [f"Runs of one seed share {shared}: their mean difference with its t-interval, the sign-flip test and "
                  "their correlation are listed too; the verdict is that of the unpaired test."]  # fmt: skip
    if any(row.failures for row in rows):
        notes += [f"{failure_note(comparison)} Survivors only is biased towards good scores: it leaves out the runs "
                  "that failed."]  # fmt: skip
    if comparison.options.tuning:
        notes += ["Arms are not tested against each other here: the settings of a search are not a sample of seeds. "
                  "Use the expected best of k."]  # fmt: skip
    if any(row.bca for row in rows):
        notes += [interval.BCA_COVERAGE]
    if any(0 < row.n < MIN_RUNS for row in rows):
        notes += [f"No BCa interval and no interquartile mean below {MIN_RUNS} runs: a bootstrap of so few resamples "
                  "the same few values, and its intervals are too short."]  # fmt: skip
    return tuple(notes)


def failure_note(comparison: Comparison) -> str:
    """Return the sentence on the value of a failed run."""
    if comparison.failure_floor is None:
        return "A failed run has the worst rank: no untrained generator has a score."
    note = (
        "A failed run gets the worse of its own last score and the worst score of all untrained generators, "
        f"{format_number(comparison.failure_floor)}."
    )
    if any(run.finished_without_value for arm in comparison.arms for run in arm.runs):
        note += " A run that was measured and has no value has the worst rank."
    return note


def numbers_sheet(rows: Sequence[ArmRow]) -> Sheet:
    """Return the table for programs: one unrounded number per column."""
    records = [_json_row(row) for row in rows]
    columns = {name: [record[name] for record in records] for name in records[0]}
    cells = {
        name: [Cell(x) if isinstance(x, str) else number_cell(x) for x in values] for name, values in columns.items()
    }
    return Sheet.from_columns("numbers", cells)


def _json_row(row: ArmRow) -> dict[str, float | str | None]:
    e, d = row.estimate, row.difference
    pair = d.paired if d else None
    return {
        "arm": row.arm,
        "rows": SURVIVORS if row.survivors_only else "all",
        "n": row.n,
        "runs": row.n_runs,
        "failures": row.failures,
        **_interval_ends("failure_rate", row.failure_rate),
        "imputed": row.n_imputed,
        "mean": e.mean if e else None,
        **_interval_ends("mean", e.interval if e else None),
        "sd": e.std if e else None,
        **_interval_ends("sd", e.std_interval if e else None),
        "median": row.median,
        "rank": row.rank,
        **_interval_ends("mean_bca", row.bca),
        "iqm": row.iqm,
        **_interval_ends("iqm_bca", row.iqm_bca),
        "hedges_g": d.g if d else None,
        **_interval_ends("hedges_g", d.g_interval if d else None),
        "p": d.p if d else None,
        "p_of": "" if d is None else "ranks" if d.uses_ranks else "means",
        "least_p": d.smallest_p if d else None,
        "holm_p": d.holm_p if d else None,
        "verdict": d.verdict if d else "",
        "detectable": d.detectable if d else None,
        **_interval_ends("detectable", d.detectable_interval if d else None),
        "paired_n": pair.n if pair else None,
        "paired_difference": pair.difference.mean if pair and pair.difference else None,
        **_interval_ends("paired_difference", pair.difference.interval if pair and pair.difference else None),
        "paired_p": pair.p if pair else None,
        "least_paired_p": pair.smallest_p if pair else None,
        "correlation": pair.correlation if pair else None,
    }


def _interval_ends(name: str, bounds: Interval | None) -> dict[str, float | None]:
    return {f"{name}_low": bounds.low if bounds else None, f"{name}_high": bounds.high if bounds else None}
