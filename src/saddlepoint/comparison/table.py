"""The table of a comparison: an arm a line, and a second one of its survivors where runs failed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.stats import rankdata

from saddlepoint.comparison.against import Against, against
from saddlepoint.comparison.arm import Arm
from saddlepoint.comparison.comparison import Comparison
from saddlepoint.comparison.interval import Estimate, Interval, bootstrap, estimate, interquartile_mean, proportion
from saddlepoint.comparison.number import NOTHING, bracketed, number, probability, ranged
from saddlepoint.comparison.sheet import Cell, Sheet

MANY = 10  # runs from which BCa and the interquartile mean mean something
SURVIVORS = "survivors only"


@dataclass(frozen=True)
class Line:
    """An arm, or the runs of it that survived, in numbers."""

    arm: str
    runs: int  # all of the arm
    failures: int
    rate: Interval  # of failures
    estimate: Estimate | None  # None where nothing survived
    median: float | None
    rank: float | None  # median over seeds; 1 is best
    bca: Interval | None = None  # of the mean
    iqm: float | None = None
    iqm_bca: Interval | None = None
    against: Against | None = None
    survivors: bool = False

    @property
    def name(self) -> str:
        return f"{self.arm}, {SURVIVORS}" if self.survivors else self.arm


def lines(comparison: Comparison) -> list[Line]:
    """All arms, the baseline first, each followed by its survivors where some run failed."""
    pairwise = {} if factorial(comparison) or comparison.asked.tuning else against(comparison)
    ranks = median_ranks(comparison.arms, comparison.primary.higher_is_better)
    found = []
    for arm in comparison.arms:
        found.append(_line(arm, arm.values, ranks[arm.name], pairwise.get(arm.name)))
        if arm.failures:
            found.append(_line(arm, arm.survivors, None, None, survivors=True))
    return found


def _line(
    arm: Arm, values: Sequence[float], rank: float | None, beside: Against | None, survivors: bool = False
) -> Line:
    many = len(values) >= MANY
    return Line(
        arm=arm.name,
        runs=len(arm.values),
        failures=arm.failures,
        rate=proportion(arm.failures, len(arm.values)),
        estimate=estimate(values) if values else None,
        median=float(np.median(values)) if values else None,
        rank=rank,
        bca=bootstrap(values) if many else None,
        iqm=interquartile_mean(values) if many else None,
        iqm_bca=bootstrap(values, "iqm") if many else None,
        against=beside,
        survivors=survivors,
    )


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


def factorial(comparison: Comparison) -> bool:
    """Whether the arms are read as a two-level factorial design: as asked, else where they are a full balanced one."""
    if comparison.asked.factorial is not None or comparison.asked.tuning:
        return bool(comparison.asked.factorial)
    return len(comparison.by) > 1 and full_design(comparison)


def full_design(comparison: Comparison) -> bool:
    """Whether every key has two values, every combination is there, and all have as many runs, two at least."""
    arms, keys = comparison.arms, comparison.by
    two = all(len({repr(arm.settings[key]) for arm in arms}) == 2 for key in keys)
    sizes = {len(arm.values) for arm in arms}
    return two and len(arms) == 2 ** len(keys) and len(sizes) == 1 and min(sizes) > 1


def primary_sheet(comparison: Comparison, found: Sequence[Line]) -> Sheet:
    """The table for people: a value and its interval in one cell."""
    columns: dict[str, list[Cell]] = {
        "arm": [Cell(line.name) for line in found],
        "n": [number(line.estimate.n if line.estimate else 0) for line in found],
        "failed": [NOTHING if line.survivors else _failures(line) for line in found],
        "mean": [_mean(line) for line in found],
        "sd": [ranged(e.std, e.std_interval) if (e := line.estimate) else NOTHING for line in found],
        "median": [number(line.median) for line in found],
        "rank": [number(line.rank) for line in found],
    }
    if any(line.iqm is not None for line in found):
        columns["mean, BCa"] = [ranged(line.estimate.mean if line.bca and line.estimate else None, line.bca)
                                for line in found]  # fmt: skip
        columns["IQM"] = [ranged(line.iqm, line.iqm_bca) for line in found]
    if any(line.against for line in found):
        columns |= _beside_baseline([line.against for line in found])
    rows = tuple(zip(*columns.values(), strict=True))
    return Sheet(comparison.primary.key, tuple(columns), rows, notes(comparison, found))


def _beside_baseline(found: Sequence[Against | None]) -> dict[str, list[Cell]]:
    """What stands in a line about the arm against the baseline."""
    columns = {
        "Hedges g": [ranged(one.g, one.g_interval, 3) if one else NOTHING for one in found],
        "p": [probability(one.p if one else None) for one in found],
        "least p": [probability(one.smallest if one else None) for one in found],
        "Holm p": [probability(one.adjusted if one else None) for one in found],
        "verdict": [Cell(one.verdict, best=one.verdict == "differs") if one else NOTHING for one in found],
        "detectable": [ranged(one.detectable, one.detectable_interval, 3) if one else NOTHING for one in found],
    }
    pairs = [one.paired if one else None for one in found]
    if any(pairs):
        columns |= {
            "paired p": [probability(pair.p if pair else None) for pair in pairs],
            "least paired p": [probability(pair.smallest if pair else None) for pair in pairs],
            "correlation": [number(pair.correlation if pair else None, 2) for pair in pairs],
        }
    return columns


def _failures(line: Line) -> Cell:
    return Cell(f"{line.failures}/{line.runs} {bracketed(line.rate, 2)}", line.failures / line.runs)


def _mean(line: Line) -> Cell:
    if line.estimate is None:
        return Cell("none")
    if line.estimate.n == 1:
        return Cell(f"{number(line.estimate.mean).text} (n = 1)", line.estimate.mean)
    return ranged(line.estimate.mean, line.estimate.interval)


def notes(comparison: Comparison, found: Sequence[Line]) -> tuple[str, ...]:
    """How to read the table, a sentence each; only of what stands in it."""
    better = "higher" if comparison.primary.higher_is_better else "lower"
    level, family = comparison.asked.level, len(comparison.rest)
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
    if comparison.shared and any(line.against and line.against.paired for line in found):
        said += [f"Runs of one seed share {', '.join(comparison.shared)}: the sign-flip test of their differences, and "
                 "their correlation, stand beside; the verdict is by the unpaired test."]  # fmt: skip
    if any(line.failures for line in found):
        said += ["A failed run counts with the untrained generator's score. Survivors only is flattered: it leaves "
                 "out the runs that went wrong."]  # fmt: skip
    if comparison.asked.tuning:
        said += ["No arm is tested against another here: the settings that a search tried are no sample of seeds. Read "
                 "the expected best of k."]  # fmt: skip
    if any(line.iqm is None and line.estimate for line in found):
        said += [f"No BCa interval and no interquartile mean below {MANY} runs: a bootstrap of so few resamples the "
                 "same handful, and its intervals are too short."]  # fmt: skip
    return tuple(said)


def numbers(found: Sequence[Line]) -> Sheet:
    """The same for programs: one number a column, unrounded."""
    columns: dict[str, list[Cell]] = {"arm": [], "rows": []}
    for line in found:
        columns["arm"].append(Cell(line.arm))
        columns["rows"].append(Cell(SURVIVORS if line.survivors else "all"))
        for name, value in _numbers(line).items():
            columns.setdefault(name, []).append(Cell(value) if isinstance(value, str) else number(value))
    return Sheet("numbers", tuple(columns), tuple(zip(*columns.values(), strict=True)))


def _numbers(line: Line) -> dict[str, float | str | None]:
    e, a = line.estimate, line.against
    pair = a.paired if a else None
    return {
        "n": e.n if e else 0,
        "runs": line.runs,
        "failures": line.failures,
        **_ends("failure_rate", line.rate),
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
        "least_p": a.smallest if a else None,
        "holm_p": a.adjusted if a else None,
        "verdict": a.verdict if a else "",
        "detectable": a.detectable if a else None,
        **_ends("detectable", a.detectable_interval if a else None),
        "paired_n": pair.n if pair else None,
        "paired_p": pair.p if pair else None,
        "least_paired_p": pair.smallest if pair else None,
        "correlation": pair.correlation if pair else None,
    }


def _ends(name: str, interval: Interval | None) -> dict[str, float | None]:
    return {f"{name}_low": interval.low if interval else None, f"{name}_high": interval.high if interval else None}
