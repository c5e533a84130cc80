"""A comparison as a report: sentences, sheets, drawings and what stands behind them; and the files that it makes.

The files are written beside each other in a hidden folder that takes its name when all are there.
"""

import shutil
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from saddlepoint.comparison.arms.arm import Arm
from saddlepoint.comparison.arms.comparison import Comparison, short_names, with_short_names
from saddlepoint.comparison.report import plot
from saddlepoint.comparison.report.budget import budget_sheet
from saddlepoint.comparison.report.effects import design_effects, effect_name, effects_sheet, uses_ranks
from saddlepoint.comparison.report.findings import arm_findings, effect_findings, paper_sheet, summary_sheet
from saddlepoint.comparison.report.markup import to_csv, to_html, to_latex
from saddlepoint.comparison.report.overview import commit_counts, overview_sentences
from saddlepoint.comparison.report.secondary import differences_sheet, runs_sheet, secondary_sheets
from saddlepoint.comparison.report.sheet import Picture, Report, Sheet
from saddlepoint.comparison.report.table import ArmRow, is_factorial, numbers_sheet, primary_sheet
from saddlepoint.comparison.stats.factorial import Effect
from saddlepoint.error import Mistake
from saddlepoint.redaction import redact
from saddlepoint.run.folder import unwritable_error, write_file
from saddlepoint.run.storage import atomic
from saddlepoint.template import render_template

MARK = "report.html"  # what makes a folder a comparison's, which another may replace
KEPT = "wandb"  # of the one that is replaced
DRAWN = 24  # arms in a drawing: more of them hide each other, and take minutes


def build_report(comparison: Comparison, found: Sequence[ArmRow], asked: Mapping[str, Any]) -> Report:
    """Everything that the comparison has to say, its table's lines `found`; `asked` are the words of the command.

    Answers, tables and drawings have the arms under short names; what was compared, and the differences of config, keep
    them in full.
    """
    short, names = with_short_names(comparison), short_names(comparison)
    found = [replace(line, arm=names[line.arm]) for line in found]
    n = len(comparison.running)
    provisional = [f"PROVISIONAL: {n} run{'s are' if n > 1 else ' is'} under way and left out."] if n else []
    contrasts, primary = design_effects(short) if is_factorial(short) else [], primary_sheet(short, found)
    sheets = [
        *([budget_sheet(short)] if short.asked.tuning else []),
        *([effects_sheet(short, contrasts)] if contrasts else []),
        summary_sheet(short, found),
        replace(primary, title=f"{primary.title}, all numbers", wide=True),
        *secondary_sheets(short),
    ]
    return Report(
        title=f"{comparison.primary.key} by {', '.join(comparison.by)}",
        lead=overview_sentences(comparison),
        sheets=tuple(sheets),
        pictures=tuple(_pictures(short, found, contrasts)),
        differences=differences_sheet(comparison),
        details={
            "contract": comparison.primary.contract.to_dict(),
            "asked": redact(asked),
            "command": redact(" ".join(["saddlepoint", *sys.argv[1:]])),
            "commits": commit_counts(comparison),
        },
        answers=(*provisional, *effect_findings(short, contrasts), *arm_findings(short, found)),
    )


def report_files(comparison: Comparison, found: Sequence[ArmRow], whole: Report) -> dict[str, str | bytes]:
    """The files of a report by name."""
    main = [sheet for sheet in whole.sheets if not sheet.is_secondary]
    return {
        "table.md": render_template("comparison/report/table.md.j2", report=whole),
        "table.tex": "\n".join(to_latex(paper_sheet(sheet)) for sheet in main),
        "table.csv": to_csv(numbers_sheet(found)),
        "runs.csv": to_csv(runs_sheet(comparison)),
        **{f"{picture.name}.png": picture.png for picture in whole.pictures},
        MARK: to_html(whole),
    }


def check_folder(to: Path) -> None:
    """Raises Mistake where `to` holds something else than a former comparison."""
    if to.exists() and not (to.is_dir() and ((to / MARK).exists() or not any(to.iterdir()))):
        raise Mistake(f"to={to} is there and holds no comparison; choose another folder")


def write_comparison(to: Path, files: Mapping[str, str | bytes]) -> None:
    """Put these files into the folder `to`, in the place of a former comparison.  Raises Mistake where it cannot be."""
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


def report_content(comparison: Comparison, found: Sequence[ArmRow], whole: Report) -> dict[str, Any]:
    """The same for programs, as plain values: an arm's numbers are those of table.csv."""
    return {
        "score": comparison.primary.key,
        "higher_is_better": comparison.primary.higher_is_better,
        "by": list(comparison.by),
        "baseline": comparison.baseline.name,
        "answers": list(whole.answers),
        "lead": list(whole.lead),
        "arms": _records(numbers_sheet(found)),
        "runs": _records(runs_sheet(comparison)),
        "sheets": {sheet.title: _records(sheet) for sheet in whole.sheets},
        **dict(whole.details),
    }


def _records(sheet: Sheet) -> list[dict[str, Any]]:
    """A mapping per row: a number where a cell is ordered by one, else its text."""
    return [
        {name: cell.text if cell.number is None else cell.number for name, cell in zip(sheet.columns, row, strict=True)}
        for row in sheet.rows
    ]


def _pictures(comparison: Comparison, found: Sequence[ArmRow], contrasts: Sequence[Effect]) -> Iterator[Picture]:
    arms = plotted_arms(comparison)
    key, lower = comparison.primary.key, not comparison.primary.higher_is_better
    some = f" The baseline and the best of {len(comparison.arms)} arms." if len(arms) < len(comparison.arms) else ""
    means = {line.arm: line.estimate for line in found if line.estimate and not line.survivors}
    bare = " An arm with imputed values has no interval." if any(arm.has_imputed for arm in arms) else ""
    caption = f"Every run: a dot, or a cross where it failed; the mean and its 95% t-interval.{bare}{some}"
    yield Picture("seeds", caption, plot.plot_seeds(arms, means, key, lower, comparison.baseline.name))
    if any(len(one.curve) > 1 for arm in arms for one in arm.entries):
        caption = f"Along the runs: every seed, the mean and its t-band.{some}"
        yield Picture("curves", caption, plot.plot_curves(arms, key, lower))
    if contrasts:
        ranks = uses_ranks(comparison)
        named = {effect_name(comparison, one): one for one in contrasts}
        shown = plot.plot_effects(named, f"the rank by {key}" if ranks else key, lower)
        yield Picture("effects", "Effects on ranks." if ranks else "Effects and their intervals.", shown)
    if (grids := plot.plot_grids(arms)) is not None:
        yield Picture("grids", f"Samples at the end of the median run of each arm.{some}", grids)


def plotted_arms(comparison: Comparison) -> tuple[Arm, ...]:
    """The arms that drawings show: all, or the baseline and the best by their medians."""
    sign = -1 if comparison.primary.higher_is_better else 1
    best = sorted(comparison.other_arms, key=lambda arm: sign * float(np.median(arm.values)))[: DRAWN - 1]
    return (comparison.baseline, *(arm for arm in comparison.other_arms if arm in best))
