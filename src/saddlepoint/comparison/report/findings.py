"""What a comparison answers: a sentence per arm, and the table that fits a page."""

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import replace

from saddlepoint.comparison.arms.arm import Arm
from saddlepoint.comparison.arms.baseline_difference import BaselineDifference
from saddlepoint.comparison.arms.comparison import Comparison
from saddlepoint.comparison.report.effects import effect_name, uses_ranks
from saddlepoint.comparison.report.sheet import EMPTY, Cell, Sheet, interval_cell, number_cell, p_value_cell
from saddlepoint.comparison.report.table import SURVIVORS, ArmRow, failures_cell
from saddlepoint.comparison.stats.effect import pooled_std
from saddlepoint.comparison.stats.factorial import Effect
from saddlepoint.comparison.stats.multiple_testing import DIFFERS, NOT_SHOWN, bonferroni_level, holm_p_values
from saddlepoint.comparison.stats.permutation import smallest_p
from saddlepoint.comparison.stats.power import detectable_difference

BETTER, WORSE, UNSHOWN, TOO_FEW = "better", "worse", "not shown", "too few"
MOST = 1_000  # seeds per arm that are thought of


def arm_findings(comparison: Comparison, found: Sequence[ArmRow]) -> tuple[str, ...]:
    """A sentence per arm that was tested against the baseline, the best first: better, worse, or not shown."""
    base = next(line for line in found if line.arm == comparison.baseline.name)
    tested = [(line, line.against, line.median or 0.0) for line in found if line.against is not None]
    sign = -1 if comparison.primary.higher_is_better else 1
    order = {BETTER: 0, UNSHOWN: 1, TOO_FEW: 1, WORSE: 2}
    tested.sort(key=lambda one: (order[relation_to_baseline(comparison, one[1])], sign * one[2]))
    return tuple(_sentence(comparison, line, one, base) for line, one, _ in tested)


def effect_findings(comparison: Comparison, found: Sequence[Effect]) -> tuple[str, ...]:
    """A sentence per main effect of a factorial design: better, worse, or not shown."""
    main = [(effect_name(comparison, one), one) for one in found if len(one.factors) == 1]
    adjusted = holm_p_values({name: one.p for name, one in main if one.p is not None})
    what, sentences = "rank" if uses_ranks(comparison) else "score", []
    for name, one in main:
        numbers = (
            f"{interval_cell(one.effect, one.interval).text} on the {what}, Holm p {p_value_cell(adjusted[name]).text}"
        )
        if adjusted[name] > comparison.asked.level:
            sentences.append(f"{name}: no effect is shown ({numbers}).")
        else:
            good = (one.effect < 0) != comparison.primary.higher_is_better
            sentences.append(f"{name} is {BETTER if good else WORSE}: {numbers}.")
    return tuple(sentences)


def relation_to_baseline(comparison: Comparison, one: BaselineDifference) -> str:
    """better, worse, not shown, or too few seeds to show anything: of an arm against the baseline."""
    if one.verdict == DIFFERS:
        return BETTER if (one.mean_difference < 0) != comparison.primary.higher_is_better else WORSE
    return UNSHOWN if one.verdict == NOT_SHOWN else TOO_FEW


def _sentence(comparison: Comparison, line: ArmRow, one: BaselineDifference, base: ArmRow) -> str:
    what = "median" if one.uses_ranks else "mean"
    ours, theirs = (number_cell(side.median if one.uses_ranks or not side.estimate else side.estimate.mean).text
                    for side in (line, base))  # fmt: skip
    numbers = f"{what} {ours} against {theirs}, Holm p {p_value_cell(one.holm_p).text}"
    said = relation_to_baseline(comparison, one)
    if said in (BETTER, WORSE):
        sentence = f"{line.arm} is {said} than {base.arm}: {numbers}."
    elif said == UNSHOWN:
        sentence = f"{line.arm} is not shown to differ from {base.arm}: {numbers}."
    else:
        seeds = f"{line.runs}" if line.runs == base.runs else f"{line.runs} against {base.runs}"
        sentence = (
            f"{line.arm}: {seeds} seed{'s' * (seeds != '1')} cannot show a difference from {base.arm} ({numbers}); "
            f"{min_seeds(comparison)} per arm can at the earliest."
        )
    arm = next(arm for arm in comparison.arms if arm.name == line.arm)
    n = None if said in (BETTER, WORSE) or one.uses_ranks else seeds_needed(comparison, arm)
    if n is not None:
        count = f"About {n}" if n < MOST else f"More than {MOST:,}"
        sentence += f" {count} seeds per arm would show a difference of this size, four times in five."
    failures = [f" {side.failures} of {side.runs} runs of {side.arm} failed." for side in (line, base) if side.failures]
    return sentence + "".join(failures)


def min_seeds(comparison: Comparison) -> int:
    """The least number of seeds per arm whose smallest p passes the corrected level."""
    strict = bonferroni_level(comparison.asked.level, len(comparison.other_arms))
    return next(n for n in range(2, MOST) if smallest_p(n, n) <= strict)


def seeds_needed(comparison: Comparison, arm: Arm) -> int | None:
    """Seeds per arm at which the observed difference of means is detectable with power 0.8; at most `MOST`.

    None where the runs tell nothing of their spread or the means are equal.
    """
    a, b = arm.values, comparison.baseline.values
    difference = abs(sum(a) / len(a) - sum(b) / len(b))
    if len(a) + len(b) < 4 or not difference or not (std := pooled_std(a, b)):
        return None
    strict = bonferroni_level(comparison.asked.level, len(comparison.other_arms))
    least = max(min_seeds(comparison), min(len(a), len(b)))
    return bisect_left(
        range(MOST), True, lo=least, key=lambda n: detectable_difference(n, n, std, strict) <= difference
    )


def summary_sheet(comparison: Comparison, found: Sequence[ArmRow]) -> Sheet:
    """The table that fits a terminal and a column of a paper: the mean, Holm's p and the verdict of each arm."""
    columns: dict[str, list[Cell]] = {
        "arm": [Cell(line.name) for line in found],
        "n": [number_cell(line.n) for line in found],
    }
    if any(line.failures for line in found):
        columns["failed"] = [EMPTY if line.survivors else failures_cell(line) for line in found]
    if any(line.imputed for line in found):
        columns["median"] = [number_cell(line.median) for line in found]
    columns["mean [95%]"] = [
        Cell("none") if line.estimate is None else EMPTY if line.imputed else
        interval_cell(line.estimate.mean, line.estimate.interval) for line in found
    ]  # fmt: skip
    if any(line.against for line in found):
        columns["Holm p"] = [p_value_cell(line.against.holm_p if line.against else None) for line in found]
        said = [relation_to_baseline(comparison, line.against) if line.against else "" for line in found]
        columns["verdict"] = [Cell(word, best=word == BETTER) for word in said]
        columns["verdict"][0] = Cell("baseline")
    better = "Higher" if comparison.primary.higher_is_better else "Lower"
    notes = [f"{better} is better. In brackets Student's 95% interval of the mean."]
    if any(line.against for line in found):
        family = len(comparison.other_arms)
        notes.append(
            f"Verdict: whether an arm differs from {comparison.baseline.name}, by the exact permutation test with "
            f"Holm's p over {family} comparison{'s' * (family > 1)}, at {comparison.asked.level}."
        )
    if any(line.imputed for line in found):
        notes.append(
            "Where the value of a failed run is imputed a mean is no estimate: read the median; the test is of ranks."
        )
    if any(line.survivors for line in found):
        notes.append(f"{SURVIVORS.capitalize()} is flattered: it leaves out the runs that went wrong.")
    return Sheet.from_columns(comparison.primary.key, columns, notes)


def paper_sheet(sheet: Sheet) -> Sheet:
    """The summary for a column of a paper: a row per arm, in bold where it is better than the baseline.

    Of effects in a factorial design the name, the interval and Holm's p, which interactions have none of.
    """
    if "effect of" in sheet.columns:
        kept = [i for i, name in enumerate(sheet.columns) if name not in ("runs", "p")]
        short = {"exploratory": EMPTY}
        rows = tuple(tuple(short.get(row[i].text, row[i]) for i in kept) for row in sheet.rows)
        return replace(sheet, columns=tuple(sheet.columns[i] for i in kept), rows=rows)
    if "verdict" not in sheet.columns:
        return sheet
    kept = [i for i, name in enumerate(sheet.columns) if name != "verdict"]
    last = max(i for i in kept if sheet.columns[i] in ("median", "mean [95%]"))
    rows = [row for row in sheet.rows if not row[0].text.endswith(SURVIVORS)]
    notes = [
        note.replace("Verdict: whether an arm differs from", "Bold: better than")
        for note in sheet.notes
        if not note.startswith("Survivors")
    ]
    return replace(
        sheet,
        columns=tuple(sheet.columns[i] for i in kept),
        rows=tuple(tuple(replace(row[i], best=row[-1].best and i in (0, last)) for i in kept) for row in rows),
        notes=tuple(notes),
    )
