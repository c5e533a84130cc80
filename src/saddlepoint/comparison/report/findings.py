"""The findings of a comparison: a sentence per arm, and the summary table that fits a page."""

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import replace
from itertools import combinations
from statistics import fmean

from saddlepoint.comparison.arms.arm import Arm
from saddlepoint.comparison.arms.baseline_difference import BaselineDifference
from saddlepoint.comparison.arms.comparison import Comparison
from saddlepoint.comparison.report.effects import effect_name, uses_ranks
from saddlepoint.comparison.report.sheet import EMPTY, Cell, Sheet, interval_cell, number_cell, p_value_cell
from saddlepoint.comparison.report.table import SURVIVORS, ArmRow, failures_cell
from saddlepoint.comparison.stats.effect import pooled_std
from saddlepoint.comparison.stats.factorial import Effect
from saddlepoint.comparison.stats.interval import std_interval
from saddlepoint.comparison.stats.multiple_testing import DIFFERS, NOT_SHOWN, bonferroni_level, holm_p_values
from saddlepoint.comparison.stats.permutation import smallest_p, smallest_sign_flip_p
from saddlepoint.comparison.stats.power import detectable_difference
from saddlepoint.evaluation.contract import Score

BETTER, WORSE, UNSHOWN, TOO_FEW = "better", "worse", "not shown", "too few"
MAX_SEEDS = 1_000  # seeds per arm that are considered
MOST_PAIRS = 3  # that a sentence names


def arm_findings(comparison: Comparison, rows: Sequence[ArmRow]) -> tuple[str, ...]:
    """Return a sentence per arm tested against the baseline, the best first: better, worse, or not shown."""
    base = next(row for row in rows if row.arm == comparison.baseline.name)
    tested = [(row, row.difference, row.median or 0.0) for row in rows if row.difference is not None]
    sign = -1 if comparison.primary.higher_is_better else 1
    order = {BETTER: 0, UNSHOWN: 1, TOO_FEW: 1, WORSE: 2}
    tested.sort(key=lambda item: (order[relation_to_baseline(comparison, item[1])], sign * item[2]))
    return tuple(_finding_sentence(comparison, row, difference, base) for row, difference, _ in tested)


def effect_findings(comparison: Comparison, effects: Sequence[Effect]) -> tuple[str, ...]:
    """Return a sentence per main effect of a factorial design: better, worse, or not shown."""
    main = [(effect_name(comparison, effect), effect) for effect in effects if len(effect.factors) == 1]
    adjusted = holm_p_values({name: effect.p for name, effect in main if effect.p is not None})
    unit, sentences = "rank" if uses_ranks(comparison) else "score", []
    for name, effect in main:
        size = interval_cell(effect.effect, effect.interval).text
        numbers = f"{size} on the {unit}, Holm p {p_value_cell(adjusted[name]).text}"
        if adjusted[name] > comparison.options.level:
            sentences.append(f"{name}: no effect is shown ({numbers}).")
        else:
            is_better = (effect.effect < 0) != comparison.primary.higher_is_better
            sentences.append(f"{name} is {BETTER if is_better else WORSE}: {numbers}.")
    return tuple(sentences)


def relation_to_baseline(comparison: Comparison, difference: BaselineDifference) -> str:
    """Return BETTER, WORSE, UNSHOWN or TOO_FEW (seeds to show any difference)."""
    if difference.verdict == DIFFERS:
        return BETTER if (difference.mean_difference < 0) != comparison.primary.higher_is_better else WORSE
    return UNSHOWN if difference.verdict == NOT_SHOWN else TOO_FEW


def _finding_sentence(comparison: Comparison, row: ArmRow, difference: BaselineDifference, base: ArmRow) -> str:
    use_median = difference.uses_ranks
    values = (number_cell(side.median if use_median or not side.estimate else side.estimate.mean).text
              for side in (row, base))  # fmt: skip
    numbers = f"{'median' if use_median else 'mean'} {' against '.join(values)}, "
    numbers += f"Holm p {p_value_cell(difference.holm_p).text}"
    relation = relation_to_baseline(comparison, difference)
    if relation in (BETTER, WORSE):
        sentence = f"{row.arm} is {relation} than {base.arm}: {numbers}."
    elif relation == UNSHOWN:
        sentence = f"{row.arm} is not shown to differ from {base.arm}: {numbers}."
    else:
        seeds = f"{row.n_runs}" if row.n_runs == base.n_runs else f"{row.n_runs} against {base.n_runs}"
        sentence = (
            f"{row.arm}: {seeds} seed{'s' * (seeds != '1')} cannot show a difference from {base.arm} ({numbers}); "
            f"at least {min_seeds(comparison)} per arm are needed."
        )
    arm = next(arm for arm in comparison.arms if arm.name == row.arm)
    n = None if relation in (BETTER, WORSE) or use_median else seeds_needed(comparison, arm)
    if n is not None:
        sentence += f" {_format_seeds(*n)} would show a difference of this size with power 0.8."
    failed = [side for side in (row, base) if side.failures]
    return sentence + "".join(f" {side.failures} of {side.n_runs} runs of {side.arm} failed." for side in failed)


def extractor_findings(comparison: Comparison) -> tuple[str, ...]:
    """Return a sentence per other extractor that orders two arms the other way round."""
    return tuple(
        f"By another extractor, {key}, these have the opposite order: {_format_pairs(pairs)}. Read them as tied."
        for key in comparison.other_scores
        if _is_by_another_extractor(comparison, key) and (pairs := _pairs_in_opposite_order(comparison, key))
    )


def _format_pairs(pairs: Sequence[str]) -> str:
    more = len(pairs) - MOST_PAIRS
    return "; ".join(pairs[:MOST_PAIRS]) + (f"; and {more} more pair{'s' * (more > 1)}" if more > 0 else "")


def _is_by_another_extractor(comparison: Comparison, key: str) -> bool:
    """Whether a score is the primary one but for the extractor."""
    score = next(record.final_scores[key] for record in comparison.records if key in record.final_scores)
    primary, other = comparison.primary.contract, Score.from_dict(dict(score)).contract
    extractor = {"extractor": primary.extractor, "extractor_sha256": primary.extractor_sha256}
    return other.extractor != primary.extractor and replace(other, **extractor, settings=primary.settings) == primary


def _pairs_in_opposite_order(comparison: Comparison, key: str) -> list[str]:
    """Return the pairs of arms whose means are in one order by the primary score, and in the other by `key`."""
    means: dict[str, tuple[float, float]] = {}
    for arm in comparison.arms:
        if values := [run.other_scores[key] for run in arm.runs if key in run.other_scores]:
            means[arm.name] = fmean(arm.values), fmean(values)
    return [
        f"{a} and {b}"
        for a, b in combinations(means, 2)
        if (means[a][0] - means[b][0]) * (means[a][1] - means[b][1]) < 0
    ]


def min_seeds(comparison: Comparison) -> int:
    """Return the smallest number of seeds per arm whose smallest p reaches the corrected level."""
    level = bonferroni_level(comparison.options.level, len(comparison.other_arms))
    least_p = smallest_sign_flip_p if comparison.is_paired else lambda n: smallest_p(n, n)
    return next(n for n in range(2, MAX_SEEDS) if least_p(n) <= level)


def _format_seeds(n: int, least: int, most: int) -> str:
    if n >= MAX_SEEDS:
        return f"More than {MAX_SEEDS:,} seeds per arm"
    bound = f"more than {MAX_SEEDS:,}" if most >= MAX_SEEDS else f"{most}"
    return f"About {n} seeds per arm (from {least} to {bound}, as the spread is estimated from few runs)"


def seeds_needed(comparison: Comparison, arm: Arm) -> tuple[int, int, int] | None:
    """Return the seeds per arm, up to `MAX_SEEDS`, that detect the observed difference of means with power 0.8.

    Also returned are the seeds for the least and the greatest spread of its 90% interval, that of the chi-square
    distribution. None if the means are equal, the runs give no estimate of the spread, or the arms are scores of the
    same runs.
    """
    a, b = arm.values, comparison.baseline.values
    difference = abs(sum(a) / len(a) - sum(b) / len(b))
    if comparison.is_paired or len(a) + len(b) < 4 or not difference or not (std := pooled_std(a, b)):
        return None
    level = bonferroni_level(comparison.options.level, len(comparison.other_arms))
    start = max(min_seeds(comparison), min(len(a), len(b)))

    def seeds_for(std: float) -> int:
        return bisect_left(
            range(MAX_SEEDS), True, lo=start, key=lambda n: detectable_difference(n, n, std, level) <= difference
        )

    spread = std_interval(std, len(a) + len(b) - 2, 0.90)
    return seeds_for(std), seeds_for(spread.low), seeds_for(spread.high)


def summary_sheet(comparison: Comparison, rows: Sequence[ArmRow]) -> Sheet:
    """Return the table that fits a terminal and a column of a paper: mean, Holm's p and verdict of each arm."""
    columns: dict[str, list[Cell]] = {
        "arm": [Cell(row.name) for row in rows],
        "n": [number_cell(row.n) for row in rows],
    }
    if any(row.failures for row in rows):
        columns["failed"] = [EMPTY if row.survivors_only else failures_cell(row) for row in rows]
    if any(row.n_imputed for row in rows):
        columns["median"] = [number_cell(row.median) for row in rows]
    columns["mean [95%]"] = [
        Cell("none") if row.estimate is None else EMPTY if row.n_imputed else
        interval_cell(row.estimate.mean, row.estimate.interval) for row in rows
    ]  # fmt: skip
    if comparison.is_paired:
        pairs = [row.difference.paired if row.difference else None for row in rows]
        columns["difference [95%]"] = [
            interval_cell(pair.difference.mean, pair.difference.interval) if pair and pair.difference else EMPTY
            for pair in pairs
        ]
    if any(row.difference for row in rows):
        columns["Holm p"] = [p_value_cell(row.difference.holm_p if row.difference else None) for row in rows]
        relations = [relation_to_baseline(comparison, row.difference) if row.difference else "" for row in rows]
        columns["verdict"] = [Cell(relation, best=relation == BETTER) for relation in relations]
        columns["verdict"][0] = Cell("baseline")
    better = "Higher" if comparison.primary.higher_is_better else "Lower"
    notes = [f"{better} is better. In brackets: Student's 95% interval of the mean."]
    if any(row.difference for row in rows):
        family = len(comparison.other_arms)
        test = "sign-flip test of the differences of each run" if comparison.is_paired else "permutation test"
        notes.append(
            f"Verdict: whether an arm differs from {comparison.baseline.name}, by the exact {test} with "
            f"Holm's p over {family} comparison{'s' * (family > 1)}, at {comparison.options.level}."
        )
    if any(row.n_imputed for row in rows):
        notes.append("Values of failed runs are imputed: read the median instead of the mean; the test uses ranks.")
    if any(row.survivors_only for row in rows):
        notes.append(f"{SURVIVORS.capitalize()}: biased towards good scores, since the failed runs are left out.")
    return Sheet.from_columns(comparison.primary.key, columns, notes)


def paper_sheet(sheet: Sheet) -> Sheet:
    """Return the summary for a column of a paper: a row per arm, bold if it is better than the baseline.

    Effects of a factorial design keep their name, their interval and Holm's p, which interactions do not have.
    """
    if "effect of" in sheet.columns:
        indices = [i for i, name in enumerate(sheet.columns) if name not in ("runs", "p")]
        shorter = {"exploratory": EMPTY}
        rows = tuple(tuple(shorter.get(row[i].text, row[i]) for i in indices) for row in sheet.rows)
        return replace(sheet, columns=tuple(sheet.columns[i] for i in indices), rows=rows)
    if "verdict" not in sheet.columns:
        return sheet
    indices = [i for i, name in enumerate(sheet.columns) if name != "verdict"]
    score = max(i for i in indices if sheet.columns[i] in ("median", "mean [95%]"))
    rows = [row for row in sheet.rows if not row[0].text.endswith(SURVIVORS)]
    notes = [
        note.replace("Verdict: whether an arm differs from", "Bold: better than")
        for note in sheet.notes
        if not note.startswith("Survivors")
    ]
    return replace(
        sheet,
        columns=tuple(sheet.columns[i] for i in indices),
        rows=tuple(tuple(replace(row[i], best=row[-1].best and i in (0, score)) for i in indices) for row in rows),
        notes=tuple(notes),
    )
