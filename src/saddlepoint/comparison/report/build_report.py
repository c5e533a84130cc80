"""Builds the report of a comparison (sentences, sheets, figures) and writes its files.

The files are written to a hidden folder, which is renamed when all are complete.
"""

import math
import shutil
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from saddlepoint.comparison.arms.arm import Arm
from saddlepoint.comparison.arms.comparison import Comparison, short_names, with_short_names
from saddlepoint.comparison.arms.direction import higher_is_better, metric_of
from saddlepoint.comparison.report import plot
from saddlepoint.comparison.report.budget import budget_sheet
from saddlepoint.comparison.report.effects import design_effects, effect_name, effects_sheet, uses_ranks
from saddlepoint.comparison.report.findings import (
    arm_findings,
    effect_findings,
    extractor_findings,
    paper_sheet,
    summary_sheet,
)
from saddlepoint.comparison.report.markup import to_csv, to_html, to_latex
from saddlepoint.comparison.report.overview import commit_counts, overview_sentences
from saddlepoint.comparison.report.secondary import differences_sheet, runs_sheet, secondary_sheets
from saddlepoint.comparison.report.sheet import Picture, Recording, Report, Sheet
from saddlepoint.comparison.report.table import ArmRow, is_factorial, numbers_sheet, primary_sheet
from saddlepoint.comparison.stats.factorial import Effect
from saddlepoint.error import Mistake
from saddlepoint.redaction import redact
from saddlepoint.run.folder import unwritable_error, write_file
from saddlepoint.run.storage import atomic
from saddlepoint.template import render_template

MARKER = "report.html"  # marks the folder of a comparison, which another comparison may replace
KEPT = "wandb"  # is kept when the folder is replaced
MOST_ARMS = 24  # in a figure: more of them hide each other, and take minutes


def build_report(comparison: Comparison, rows: Sequence[ArmRow], arguments: Mapping[str, Any]) -> Report:
    """Return the report of a comparison with these table rows; `arguments` are those of the command.

    Findings, tables and figures use short names of arms; the overview and the differences of config use full names.
    """
    short, names = with_short_names(comparison), short_names(comparison)
    rows = [replace(row, arm=names[row.arm]) for row in rows]
    n = len(comparison.running)
    provisional = [f"PROVISIONAL: {n} run{'s are' if n > 1 else ' is'} under way and left out."] if n else []
    effects, primary = design_effects(short) if is_factorial(short) else [], primary_sheet(short, rows)
    sheets = [
        *([budget_sheet(short)] if short.options.tuning else []),
        *([effects_sheet(short, effects)] if effects else []),
        summary_sheet(short, rows),
        replace(primary, title=f"{primary.title}, all numbers", wide=True),
        *secondary_sheets(short),
    ]
    return Report(
        title=f"{comparison.primary.key} by {', '.join(comparison.by)}",
        overview=overview_sentences(comparison),
        sheets=tuple(sheets),
        pictures=tuple(_draw_pictures(short, rows, effects)),
        sounds=tuple(_collect_sounds(short)),
        differences=differences_sheet(comparison),
        details={
            "contract": comparison.primary.contract.to_dict(),
            "asked": redact(arguments),
            "command": redact(" ".join(["saddlepoint", *sys.argv[1:]])),
            "commits": commit_counts(comparison),
        },
        findings=(
            *provisional,
            *effect_findings(short, effects),
            *arm_findings(short, rows),
            *extractor_findings(short),
        ),
    )


def report_file_contents(comparison: Comparison, rows: Sequence[ArmRow], report: Report) -> dict[str, str | bytes]:
    """Return the contents of the report's files, by name."""
    main = [sheet for sheet in report.sheets if not sheet.is_secondary]
    return {
        "table.md": render_template("comparison/report/table.md.j2", report=report),
        "table.tex": "\n".join(to_latex(paper_sheet(sheet)) for sheet in main),
        "table.csv": to_csv(numbers_sheet(rows)),
        "runs.csv": to_csv(runs_sheet(comparison)),
        **{f"{picture.name}.png": picture.png for picture in report.pictures},
        **{f"{sound.name}.wav": sound.wav for sound in report.sounds},
        MARKER: to_html(report),
    }


def check_folder(to: Path) -> None:
    """Raise Mistake if `to` holds something other than a former comparison."""
    if to.exists() and not (to.is_dir() and ((to / MARKER).exists() or not any(to.iterdir()))):
        raise Mistake(f"to={to} exists and holds no comparison; choose another folder")


def write_comparison(to: Path, files: Mapping[str, str | bytes]) -> None:
    """Write the files to the folder `to`, replacing a former comparison. Raises Mistake if it cannot be written."""
    check_folder(to)
    try:
        with atomic.atomic_folder(to) as draft:
            for name, content in files.items():
                write_file(draft / name, content)
            if (to / KEPT).exists():
                (to / KEPT).rename(draft / KEPT)
            if to.exists():
                shutil.rmtree(to)
    except OSError as error:
        raise unwritable_error(to, error) from None


def report_to_plain(comparison: Comparison, rows: Sequence[ArmRow], report: Report) -> dict[str, Any]:
    """Return the report as plain values for `--json`; the numbers of an arm are those of table.csv."""
    return {
        "score": comparison.primary.key,
        "higher_is_better": comparison.primary.higher_is_better,
        "by": list(comparison.by),
        "baseline": comparison.baseline.name,
        "answers": list(report.findings),
        "lead": list(report.overview),
        "arms": _rows_as_dicts(numbers_sheet(rows)),
        "runs": _rows_as_dicts(runs_sheet(comparison)),
        "sheets": {sheet.title: _rows_as_dicts(sheet) for sheet in report.sheets},
        **dict(report.details),
    }


def _rows_as_dicts(sheet: Sheet) -> list[dict[str, Any]]:
    """Return a mapping per row: the number of a cell if it has one, else its text."""
    return [
        {name: cell.text if cell.number is None else cell.number for name, cell in zip(sheet.columns, row, strict=True)}
        for row in sheet.rows
    ]


def _draw_pictures(comparison: Comparison, rows: Sequence[ArmRow], effects: Sequence[Effect]) -> Iterator[Picture]:
    arms = plotted_arms(comparison)
    key, lower = comparison.primary.key, not comparison.primary.higher_is_better
    subset = f" The baseline and the best of {len(comparison.arms)} arms." if len(arms) < len(comparison.arms) else ""
    means = {row.arm: row.estimate for row in rows if row.estimate and not row.survivors_only}
    imputed = " An arm with imputed values has no interval." if any(arm.has_imputed for arm in arms) else ""
    caption = f"Every run: a dot, or a cross if it failed; the mean and its 95% t-interval.{imputed}{subset}"
    yield Picture("seeds", caption, plot.plot_seeds(arms, means, key, lower, comparison.baseline.name))
    if any(len(run.curve) > 1 for arm in arms for run in arm.runs):
        caption = f"The score along the runs: every seed, the mean and its t-band.{subset}"
        yield Picture("curves", caption, plot.plot_curves(arms, key, lower))
    if effects:
        ranks = uses_ranks(comparison)
        by_name = {effect_name(comparison, effect): effect for effect in effects}
        png = plot.plot_effects(by_name, f"the rank by {key}" if ranks else key, lower)
        yield Picture("effects", "Effects on ranks." if ranks else "Effects and their intervals.", png)
    if comparison.options.against is not None:
        yield _against_picture(comparison, arms, comparison.options.against, subset)
    if (grids := plot.plot_grids(arms)) is not None:
        yield Picture("grids", f"Final samples of the median run of each arm.{subset}", grids)
    if (pairs := plot.plot_grids(arms, "pair_grid")) is not None:
        yield Picture("pairs", f"Input, sample and truth, of the median run of each arm.{subset}", pairs)


def _collect_sounds(comparison: Comparison) -> Iterator[Recording]:
    """Yield the last sounds of the median run of each plotted arm that has any."""
    for number, arm in enumerate(plotted_arms(comparison), 1):
        run = plot.median_run(arm, "sound")
        if run is not None and run.sound is not None:
            caption = f"{arm.name}, seed {run.seed}: {run.value:.4g}. The samples of its grid, one after the other."
            yield Recording(f"sounds{number}", caption, run.sound.read_bytes())


def _only_number(arm: Arm) -> float | None:
    """Return the number that an arm is named by, such as a weight; None if it has another name."""
    try:
        (value,) = arm.settings.values()
        return float(value)
    except (TypeError, ValueError):
        return None


def _against_picture(comparison: Comparison, arms: Sequence[Arm], requested: str, subset: str) -> Picture:
    """Return the figure of the primary score against another one, by its key or its metric.

    If the arms differ in one number, such as a weight, a line joins them in its order.
    """
    primary, keys = comparison.primary, comparison.other_scores
    matches = [key for key in keys if requested in (key, metric_of(key, requested))]
    if len(matches) != 1:
        known = ", ".join(matches or keys) or "none"
        raise Mistake(f"against={requested} must be one other score that all runs have, by its key: {known}")
    other, metric = matches[0], metric_of(matches[0], requested)
    numbers = [_only_number(arm) for arm in arms]
    if ordered := None not in numbers:
        arms = [arm for _, arm in sorted(zip(numbers, arms, strict=True), key=lambda pair: pair[0])]  # pyright: ignore[reportArgumentType, reportCallIssue]
    runs = [[run for run in arm.runs if math.isfinite(run.value) and other in run.other_scores] for arm in arms]
    known = [(arm, runs_of_arm) for arm, runs_of_arm in zip(arms, runs, strict=True) if runs_of_arm]
    scores = [[(run.other_scores[other], run.value) for run in runs_of_arm] for _, runs_of_arm in known]
    labels = (
        plot.metric_label(other, not higher_is_better(metric)),
        plot.metric_label(primary.key, not primary.higher_is_better),
    )
    png = plot.plot_against([arm for arm, _ in known], scores, *labels, connect=ordered)
    caption = f"{primary.key} against {other}: every run, and the means with their 95% t-intervals.{subset}"
    return Picture("against", caption, png)


def plotted_arms(comparison: Comparison) -> tuple[Arm, ...]:
    """Return the arms that figures show: all, or the baseline and the best by their medians."""
    sign = -1 if comparison.primary.higher_is_better else 1
    best = sorted(comparison.other_arms, key=lambda arm: sign * float(np.median(arm.values)))[: MOST_ARMS - 1]
    return (comparison.baseline, *(arm for arm in comparison.other_arms if arm in best))
