"""Secondary sheets, all exploratory: scores along the run, other scores, noise, cost, and every run."""

import math
from collections.abc import Iterator, Sequence

import numpy as np

from saddlepoint.comparison.arms.arm import Arm, ScoredRun
from saddlepoint.comparison.arms.comparison import Comparison, differing_settings
from saddlepoint.comparison.arms.grouping import format_setting, get_setting
from saddlepoint.comparison.arms.scoring import worst_score
from saddlepoint.comparison.report.sheet import EMPTY, Cell, Sheet, number_cell
from saddlepoint.comparison.report.table import failure_note, mean_cell, mean_estimate
from saddlepoint.comparison.stats.interval import estimate


def secondary_sheets(comparison: Comparison) -> Iterator[Sheet]:
    """Yield best and area, other scores, evaluation noise, cost, and time to a quality if `reach` is set."""
    yield _along_run_sheet(comparison)
    if comparison.other_scores:
        yield _other_scores_sheet(comparison)
    yield _noise_sheet(comparison)
    yield cost_sheet(comparison)
    if comparison.options.reach is not None:
        yield _time_to_quality_sheet(comparison)


def _along_run_sheet(comparison: Comparison) -> Sheet:
    arms, runs = comparison.arms, [run for arm in comparison.arms for run in arm.runs]
    contracts = [run.selection_score.contract for run in runs if run.selection_score is not None]
    columns = {
        "arm": [Cell(arm.name) for arm in arms],
        "best of run": [_mean_cell(*_best_scores(arm)) for arm in arms],
        "final": [_mean_cell(arm.values, arm.has_imputed) for arm in arms],
        "area under the curve": [_mean_cell(*_run_areas(arm, comparison)) for arm in arms],
    }
    notes = [
        "Means and t-intervals. Best of run: the checkpoint was selected by a score on other reals and other samples, "
        "not by the reported one; each run is still stopped at its luckiest point, which favours unstable arms."
        if contracts
        else "Means and t-intervals. Best of run is biased: it is the best of many scores.",
        "Area: the mean of the score over images, by the trapezium rule.",
    ]
    distinct = [contract for i, contract in enumerate(contracts) if contract not in contracts[:i]]
    if (n := len(distinct)) > 1:
        notes += [f"The best of run was selected under {n} different contracts, so that column is not comparable."]
    failed = [run for run in runs if run.failed]
    if any(run.best is not None for run in failed):
        notes += ["A failed run counts with its best checkpoint in the one, with its failure in the others."]
    if failed:
        notes += [f"{failure_note(comparison)} A mean with such a value has no interval; none if a value is infinite."]
    return Sheet.from_columns(f"{comparison.primary.key} along the run", columns, notes, exploratory=True)


def _best_scores(arm: Arm) -> tuple[list[float], bool]:
    """Return the score of each run's best checkpoint, else its value; and whether one of them is imputed."""
    values = [run.value if run.best is None else run.best for run in arm.runs]
    return values, any(run.is_imputed and run.best is None for run in arm.runs)


def _run_areas(arm: Arm, comparison: Comparison) -> tuple[list[float], bool]:
    """Return the known areas of the runs, and whether one is imputed: a failed run counts the floor, or worse."""
    higher, floor = comparison.primary.higher_is_better, comparison.failure_floor
    infinite = -math.inf if higher else math.inf
    areas, imputed = [], False
    for run in arm.runs:
        area = run.area
        if run.failed:
            is_worst = floor is None or run.finished_without_value
            area = infinite if is_worst else worst_score(run.area, floor, higher_is_better=higher)
            imputed |= area != run.area
        areas += [] if area is None else [area]
    return areas, imputed


def _other_scores_sheet(comparison: Comparison) -> Sheet:
    columns = {"arm": [Cell(arm.name) for arm in comparison.arms]}
    for key in comparison.other_scores:
        scores = [[run.other_scores[key] for run in arm.runs if key in run.other_scores] for arm in comparison.arms]
        columns[key] = [
            _mean_cell(values, imputed=len(values) < len(arm.runs))
            for values, arm in zip(scores, comparison.arms, strict=True)
        ]
    notes = ["Means and t-intervals over the runs that ended with a score."]
    if any(run.final is None for arm in comparison.arms for run in arm.runs):
        notes += ["If a run of an arm ended without a score, the arm has no interval, and its mean is that of the "
                  "other runs, which is biased towards good scores."]  # fmt: skip
    return Sheet.from_columns("other scores", columns, notes, exploratory=True)


def _noise_sheet(comparison: Comparison) -> Sheet:
    measured = [[run.noise for run in arm.runs if run.noise is not None] for arm in comparison.arms]
    survivors = [arm.surviving_values for arm in comparison.arms]
    stds = [estimate(values).std if len(values) > 1 else None for values in survivors]
    noise = [math.sqrt(sum(s * s for s in values) / len(values)) if values else None for values in measured]
    columns = {
        "arm": [Cell(arm.name) for arm in comparison.arms],
        "sd between runs": [number_cell(std) for std in stds],
        "sd of the measurement": [number_cell(std) for std in noise],
        "share of variance": [
            number_cell(part**2 / total**2 if part is not None and total else None, 2)
            for part, total in zip(noise, stds, strict=True)
        ],
        "runs measured": [number_cell(len(values)) for values in measured],
    }
    notes = ["Spread between the surviving runs, and over fresh samples of one generator."]
    if not any(measured):
        notes += ["The measurement noise was not measured: saddlepoint evaluate run=... uncertainty=true measures it."]
    return Sheet.from_columns("noise of the evaluation", columns, notes, exploratory=True)


def cost_sheet(comparison: Comparison) -> Sheet:
    """Return the images, time, speed and memory of the runs of each arm."""
    arms = comparison.arms
    images = [[run.images for run in arm.runs if run.images is not None] for arm in arms]
    speeds = [[run.images / run.seconds for run in arm.runs if run.images and run.seconds] for arm in arms]
    memory = [[run.peak_memory_mib for run in arm.runs if run.peak_memory_mib is not None] for arm in arms]
    columns = {
        "arm": [Cell(arm.name) for arm in arms],
        "images": [number_cell(_median_or_none(values), 12) for values in images],
        "seconds": [number_cell(_median_or_none([run.seconds for run in arm.runs])) for arm in arms],
        "images/s": [number_cell(_median_or_none(values)) for values in speeds],
        "accelerator hours": [number_cell(sum(run.accelerator_hours for run in arm.runs)) for arm in arms],
        "peak memory, MiB": [number_cell(max(values, default=None)) for values in memory],
    }
    notes = ["Medians over runs; accelerator hours are the arm's sum (0 on CPUs), peak memory is the maximum."]
    return Sheet.from_columns("compute", columns, notes, exploratory=True)


def _time_to_quality_sheet(comparison: Comparison) -> Sheet:
    arms, quality = comparison.arms, comparison.options.reach
    reached = [[run.images_to_reach is not None for run in arm.runs] for arm in arms]
    columns = {
        "arm": [Cell(arm.name) for arm in arms],
        "runs that reach it": [Cell(f"{sum(flags)}/{len(flags)}", sum(flags) / len(flags)) for flags in reached],
        "images": [_median_time_cell([run.images_to_reach for run in arm.runs]) for arm in arms],
        "seconds": [_median_time_cell([run.seconds_to_reach for run in arm.runs]) for arm in arms],
    }
    notes = ["Medians over all runs, up to the first evaluation at this quality; a run that does not reach it counts "
             "as never."]  # fmt: skip
    return Sheet.from_columns(f"time to {comparison.primary.key} = {quality:g}", columns, notes, exploratory=True)


def _median_time_cell(values: Sequence[float | None]) -> Cell:
    median = float(np.median([math.inf if value is None else float(value) for value in values]))
    return number_cell(median, 9) if math.isfinite(median) else Cell("never", math.inf)


def runs_sheet(comparison: Comparison) -> Sheet:
    """Return a row per run, with unrounded numbers."""
    keys = [*comparison.by, *comparison.options.over]
    columns: dict[str, list[Cell]] = {}
    for arm in comparison.arms:
        for record, run in zip(arm.records, arm.runs, strict=True):
            row = {"arm": Cell(arm.name)} | {key: Cell(format_setting(get_setting(record, key))) for key in keys}
            row |= _run_cells(run) | {key: number_cell(run.other_scores.get(key)) for key in comparison.other_scores}
            for name, cell in (row | {"folder": Cell(str(run.folder))}).items():
                columns.setdefault(name, []).append(cell)
    return Sheet.from_columns("runs", columns, exploratory=True)


def _run_cells(run: ScoredRun) -> dict[str, Cell]:
    return {
        "seed": number_cell(run.seed, 12),
        "outcome": Cell(run.outcome),
        "counts with": number_cell(run.value),
        "imputed": Cell("yes" if run.is_imputed else "no"),
        "final": number_cell(run.final),
        "untrained": number_cell(run.untrained),
        "best of run": number_cell(run.best),
        "area": number_cell(run.area),
        "noise": number_cell(run.noise),
        "images": number_cell(run.images, 12),
        "seconds": number_cell(run.seconds),
        "accelerator hours": number_cell(run.accelerator_hours),
        "peak memory, MiB": number_cell(run.peak_memory_mib),
        "reached at images": number_cell(run.images_to_reach, 12),
        "reached at seconds": number_cell(run.seconds_to_reach),
    }


def differences_sheet(comparison: Comparison) -> Sheet:
    """Return a row per config key in which the arms differ."""
    rows = tuple((Cell(key), *map(Cell, values)) for key, values in differing_settings(comparison))
    return Sheet("differences of config", ("key", *(arm.name for arm in comparison.arms)), rows)


def _mean_cell(values: Sequence[float], imputed: bool = False) -> Cell:
    return mean_cell(mean_estimate(values, imputed)) if values else EMPTY


def _median_or_none(values: Sequence[float]) -> float | None:
    return float(np.median(values)) if values else None
