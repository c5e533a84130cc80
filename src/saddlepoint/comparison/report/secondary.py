"""Sheets beside the primary table, all exploratory: other scores of a run, noise, what it took, every run."""

import math
from collections.abc import Iterator, Sequence

import numpy as np

from saddlepoint.comparison.arms.arm import Arm, ScoredRun
from saddlepoint.comparison.arms.comparison import Comparison, differing_settings
from saddlepoint.comparison.arms.grouping import format_setting, get_setting
from saddlepoint.comparison.arms.scoring import worst
from saddlepoint.comparison.report.sheet import EMPTY, Cell, Sheet, number_cell
from saddlepoint.comparison.report.table import failure_note, mean_cell, mean_estimate
from saddlepoint.comparison.stats.interval import estimate


def secondary_sheets(comparison: Comparison) -> Iterator[Sheet]:
    """Best and area, other scores, evaluation noise, compute and time to a quality: each where there is any."""
    yield _along(comparison)
    if comparison.other_scores:
        yield _others(comparison)
    yield _noise(comparison)
    yield cost_sheet(comparison)
    if comparison.asked.reach is not None:
        yield _reach(comparison)


def _along(comparison: Comparison) -> Sheet:
    arms = comparison.arms
    contracts = [one.selection_score.contract for arm in arms for one in arm.entries if one.selection_score is not None]
    columns = {
        "arm": [Cell(arm.name) for arm in arms],
        "best of run": [_mean(*_bests(arm)) for arm in arms],
        "final": [_mean(arm.values, arm.has_imputed) for arm in arms],
        "area under the curve": [_mean(*_areas(arm, comparison)) for arm in arms],
    }
    notes = [
        "Means and t-intervals. Best of run: the checkpoint that a score on other reals and other samples chose, so "
        "the reported score is not the one chosen by; it still stops each run at its luckiest moment, which flatters "
        "unstable arms."
        if contracts
        else "Means and t-intervals. Best of run, the best of many scores, is flattered by chance.",
        "Area: the mean of the score over images, by the trapezium rule.",
    ]
    distinct = [one for i, one in enumerate(contracts) if one not in contracts[:i]]
    if (several := len(distinct)) > 1:
        notes += [f"The best of run was chosen under {several} different contracts, so that column compares no like."]
    failed = [one for arm in arms for one in arm.entries if one.failed]
    if any(one.best is not None for one in failed):
        notes += ["A failed run counts with its best checkpoint in the one, with its failure in the others."]
    if failed:
        notes += [
            f"{failure_note(comparison)} A mean with such a value has no interval; none where it has no value at all."
        ]
    return Sheet.from_columns(f"{comparison.primary.key} along the run", columns, notes, exploratory=True)


def _bests(arm: Arm) -> tuple[list[float], bool]:
    """The score of each run's best checkpoint, else what the run counts; and whether one of them is imputed."""
    values = [one.value if one.best is None else one.best for one in arm.entries]
    return values, any(one.is_imputed and one.best is None for one in arm.entries)


def _areas(arm: Arm, comparison: Comparison) -> tuple[list[float], bool]:
    """The area of each run that has one, and whether one is imputed: a failed run's is level at the floor, or worse."""
    higher, least = comparison.primary.higher_is_better, comparison.failure_floor
    lowest = -math.inf if higher else math.inf
    areas, imputed = [], False
    for one in arm.entries:
        area = one.area
        if one.failed:
            area = lowest if least is None else worst(one.area, least, higher_is_better=higher)
            imputed |= area != one.area
        areas += [] if area is None else [area]
    return areas, imputed


def _others(comparison: Comparison) -> Sheet:
    columns = {"arm": [Cell(arm.name) for arm in comparison.arms]}
    for key in comparison.other_scores:
        values = [[one.other_scores[key] for one in arm.entries if key in one.other_scores] for arm in comparison.arms]
        columns[key] = [
            _mean(own, imputed=len(own) < len(arm.entries)) for own, arm in zip(values, comparison.arms, strict=True)
        ]
    notes = ["Means and t-intervals over the runs that ended with a score."]
    if any(one.final is None for arm in comparison.arms for one in arm.entries):
        notes += ["An arm of which a run ended without a score has no interval here, and its mean is that of the "
                  "others, which flatters it."]  # fmt: skip
    return Sheet.from_columns("other scores", columns, notes, exploratory=True)


def _noise(comparison: Comparison) -> Sheet:
    measured = [[one.noise for one in arm.entries if one.noise is not None] for arm in comparison.arms]
    spread = [estimate(arm.surviving_values).std if len(arm.surviving_values) > 1 else None for arm in comparison.arms]
    noise = [math.sqrt(sum(s * s for s in own) / len(own)) if own else None for own in measured]
    columns = {
        "arm": [Cell(arm.name) for arm in comparison.arms],
        "sd between runs": [number_cell(one) for one in spread],
        "sd of the measurement": [number_cell(one) for one in noise],
        "share of variance": [
            number_cell(one**2 / whole**2 if one is not None and whole else None, 2)
            for one, whole in zip(noise, spread, strict=True)
        ],
        "runs measured": [number_cell(len(own)) for own in measured],
    }
    notes = ["Between the runs that survived, against fresh generations of one generator."]
    if not any(measured):
        notes += ["The measurement's own noise was not measured: saddlepoint evaluate run=... uncertainty=true does."]
    return Sheet.from_columns("noise of the evaluation", columns, notes, exploratory=True)


def cost_sheet(comparison: Comparison) -> Sheet:
    """What the runs of each arm took."""
    arms = comparison.arms
    memory = [[one.peak_memory_mib for one in arm.entries if one.peak_memory_mib is not None] for arm in arms]
    columns = {
        "arm": [Cell(arm.name) for arm in arms],
        "images": [
            number_cell(_middle([one.images for one in arm.entries if one.images is not None]), 12) for arm in arms
        ],
        "seconds": [number_cell(_middle([one.seconds for one in arm.entries])) for arm in arms],
        "images/s": [
            number_cell(_middle([one.images / one.seconds for one in arm.entries if one.images and one.seconds]))
            for arm in arms
        ],
        "accelerator hours": [number_cell(sum(one.accelerator_hours for one in arm.entries)) for arm in arms],
        "peak memory, MiB": [number_cell(max(own, default=None)) for own in memory],
    }
    notes = ["Medians over runs; accelerator hours are the arm's sum (0 on CPUs), peak memory its largest."]
    return Sheet.from_columns("compute", columns, notes, exploratory=True)


def _reach(comparison: Comparison) -> Sheet:
    arms, quality = comparison.arms, comparison.asked.reach
    reached = [[one.images_to_reach is not None for one in arm.entries] for arm in arms]
    columns = {
        "arm": [Cell(arm.name) for arm in arms],
        "runs that reach it": [Cell(f"{sum(own)}/{len(own)}", sum(own) / len(own)) for own in reached],
        "images": [_median_time([one.images_to_reach for one in arm.entries]) for arm in arms],
        "seconds": [_median_time([one.seconds_to_reach for one in arm.entries]) for arm in arms],
    }
    notes = [
        "Medians over all runs, a run that never reaches it counting as never; to the evaluation that first saw it."
    ]
    return Sheet.from_columns(f"time to {comparison.primary.key} = {quality:g}", columns, notes, exploratory=True)


def _median_time(values: Sequence[float | None]) -> Cell:
    middle = float(np.median([math.inf if value is None else float(value) for value in values]))
    return number_cell(middle, 9) if math.isfinite(middle) else Cell("never", math.inf)


def runs_sheet(comparison: Comparison) -> Sheet:
    """One row per run, every number unrounded."""
    keys = [*comparison.by, *comparison.asked.over]
    columns: dict[str, list[Cell]] = {}
    for arm in comparison.arms:
        for record, one in zip(arm.records, arm.entries, strict=True):
            row = (
                {"arm": Cell(arm.name)}
                | {key: Cell(format_setting(get_setting(record, key))) for key in keys}
                | _run(one)
            )
            row |= {key: number_cell(one.other_scores.get(key)) for key in comparison.other_scores} | {
                "folder": Cell(str(one.run))
            }
            for name, cell in row.items():
                columns.setdefault(name, []).append(cell)
    return Sheet.from_columns("runs", columns, exploratory=True)


def _run(one: ScoredRun) -> dict[str, Cell]:
    return {
        "seed": number_cell(one.seed, 12),
        "outcome": Cell(one.outcome),
        "counts with": number_cell(one.value),
        "imputed": Cell("yes" if one.is_imputed else "no"),
        "final": number_cell(one.final),
        "untrained": number_cell(one.untrained),
        "best of run": number_cell(one.best),
        "area": number_cell(one.area),
        "noise": number_cell(one.noise),
        "images": number_cell(one.images, 12),
        "seconds": number_cell(one.seconds),
        "accelerator hours": number_cell(one.accelerator_hours),
        "peak memory, MiB": number_cell(one.peak_memory_mib),
        "reached at images": number_cell(one.images_to_reach, 12),
        "reached at seconds": number_cell(one.seconds_to_reach),
    }


def differences_sheet(comparison: Comparison) -> Sheet:
    """Every config key in which the arms differ."""
    rows = tuple((Cell(key), *map(Cell, values)) for key, values in differing_settings(comparison))
    return Sheet("differences of config", ("key", *(arm.name for arm in comparison.arms)), rows)


def _mean(values: Sequence[float], imputed: bool = False) -> Cell:
    return mean_cell(mean_estimate(values, imputed)) if values else EMPTY


def _middle(values: Sequence[float]) -> float | None:
    return float(np.median(values)) if values else None
