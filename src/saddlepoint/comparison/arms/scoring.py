"""The score of each run, and the value of a failed run.

A run that ended in NaN, collapsed or did not finish is a bad result of its setting, not a missing one. Its value is
the worse of its own last score and the floor, which is the same for all arms: the worst score of any untrained
generator under the same contract. If no untrained generator has a score (a reverse KL without a point of high quality),
a failure has the worst rank. So has a run that finished and was measured, and has no value.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from saddlepoint.comparison.arms.arm import COLLAPSED, DIVERGED, FINISHED, UNFINISHED, Arm, ScoredRun
from saddlepoint.comparison.arms.direction import PERFECT_UNTRAINED
from saddlepoint.comparison.arms.record import Event, Record
from saddlepoint.comparison.arms.score import PrimaryScore
from saddlepoint.evaluation.contract import Score
from saddlepoint.run.layout import files_by_images

Curve = tuple[tuple[int, float], ...]  # (images, score)


def score_arms(
    groups: Sequence[Arm], primary: PrimaryScore, other_keys: Sequence[str], reach: float | None = None
) -> list[Arm]:
    """Return the arms with their runs scored; the failures of all arms have one floor."""
    scored = [[score_run(record, primary, other_keys, reach) for record in group.records] for group in groups]
    floor = failure_floor([run for runs in scored for run in runs], primary.higher_is_better)
    return [
        replace(group, runs=tuple(_score_if_failed(run, floor, primary.higher_is_better) for run in runs))
        for group, runs in zip(groups, scored, strict=True)
    ]


def failure_floor(runs: Iterable[ScoredRun], higher_is_better: bool) -> float | None:
    """Return the worst score of the untrained generators of these runs; None if none has a score."""
    return worst_score(*(run.untrained for run in runs), higher_is_better=higher_is_better)


def worst_score(*values: float | None, higher_is_better: bool) -> float | None:
    """Return the worst of the known values; None if there are none."""
    known = [value for value in values if value is not None and not math.isnan(value)]
    return (min if higher_is_better else max)(known, default=None)


def _score_if_failed(run: ScoredRun, floor: float | None, higher_is_better: bool) -> ScoredRun:
    """Mark a finished run as collapsed if it is no better than its untrained score, and set the value of a failure."""
    untrained = floor if run.untrained is None else run.untrained
    if (
        run.outcome == FINISHED
        and untrained is not None
        and worst_score(run.final, untrained, higher_is_better=higher_is_better) == run.final
    ):
        run = replace(run, outcome=COLLAPSED)
    if not run.failed:
        return run
    infinite = -math.inf if higher_is_better else math.inf
    if floor is None or run.finished_without_value:
        return replace(run, value=infinite)
    last = run.final
    if (last is None or math.isnan(last)) and run.curve and run.curve[-1][0] > 0:  # only of a run that was trained
        last = run.curve[-1][1]
    return replace(run, value=worst_score(last, floor, higher_is_better=higher_is_better))


def score_run(
    record: Record, primary: PrimaryScore, other_keys: Sequence[str], reach: float | None = None
) -> ScoredRun:
    """Return the run with its scores; `value` is the final score, nan if there is none, until failures are scored."""
    rows, _ = record.journal
    curve = _score_curve(rows, primary.key)
    final = _score_value(record.final_scores.get(primary.key)) if record.status == FINISHED else None
    reached = _first_event(rows, primary, reach)
    summary = record.summary
    return ScoredRun(
        folder=record.folder,
        seed=record.seed,
        outcome=_run_outcome(record.status, final),
        value=math.nan if final is None else final,
        final=final,
        untrained=None if primary.contract.metric in PERFECT_UNTRAINED else next((y for n, y in curve if n == 0), None),
        best=_finite_or_none(((summary.get("best") or {}).get(primary.key) or {}).get("value")),
        area=_curve_mean(curve) if record.status == FINISHED else None,
        curve=curve,
        noise=_last_sampling_std(record, primary.key),
        images=None if record.is_imported else int(summary.get("images") or 0),
        seconds=float(summary.get("seconds") or (rows[-1].get("seconds", 0.0) if rows else 0.0)),
        accelerator_hours=_accelerator_hours(record),
        peak_memory_mib=_finite_or_none(summary.get("peak_memory_mib")),
        images_to_reach=int(reached["images"]) if reached else None,
        seconds_to_reach=_finite_or_none(reached.get("seconds")) if reached else None,
        selection_score=_selection_score(summary.get("chosen_by")),
        grid=_last_picture(record.folder / "samples"),
        pair_grid=_last_picture(record.folder / "samples" / "pairs"),
        sound=_last_picture(record.folder / "samples", ".wav"),
        other_scores={} if final is None else {key: float(record.final_scores[key]["value"]) for key in other_keys},
    )


def _last_picture(folder: Path, suffix: str = ".png") -> Path | None:
    return next(reversed(files_by_images(folder, suffix).values()), None)


def _first_event(rows: Sequence[Event], primary: PrimaryScore, reach: float | None) -> Event | None:
    """Return the first event whose score is as good as `reach`; None if there is none or `reach` is None."""
    for row in rows if reach is not None else ():
        score = _finite_or_none(row.get(primary.key))
        if score is not None and worst_score(score, reach, higher_is_better=primary.higher_is_better) == reach:
            return row
    return None


def _run_outcome(status: str, final: float | None) -> str:
    """Return the outcome by the run's own record; a run that finished without a value has collapsed."""
    if status == DIVERGED or (final is not None and not math.isfinite(final)):
        return DIVERGED
    if status != FINISHED:
        return UNFINISHED
    return COLLAPSED if final is None else FINISHED


def _selection_score(plain: Mapping[str, Any] | None) -> Score | None:
    """Return the score that selected the best checkpoint; None if there is none or its contract is missing."""
    if _score_value(plain) is None or "contract" not in (plain or {}):
        return None
    return Score.from_dict({"std": None, **(plain or {})})


def _score_curve(rows: Sequence[Event], key: str) -> Curve:
    """Return the finite scores along the run, images ascending; the last event at each image count wins."""
    points = {row["images"]: float(row[key]) for row in rows if _finite_or_none(row.get(key)) is not None}
    return tuple(sorted(points.items()))


def _curve_mean(curve: Curve) -> float | None:
    """Return the mean of the score over images, by the trapezium rule."""
    if len(curve) < 2:
        return None
    images, scores = zip(*curve, strict=True)
    return float(np.trapezoid(scores, images) / (images[-1] - images[0]))


def _last_sampling_std(record: Record, key: str) -> float | None:
    """Return the last measured standard deviation over fresh samples of one generator."""
    measured = [row["uncertainty"][key] for row in record.evaluations if key in row.get("uncertainty", {})]
    return _finite_or_none(measured[-1].get("generations")) if measured else None


def _accelerator_hours(record: Record) -> float:
    """Return hours times accelerators; 0 on a CPU."""
    accelerators = (record.provenance.get("hardware") or {}).get("accelerators") or []
    if not accelerators or record.config.full.get("device") == "cpu":
        return 0.0
    devices = record.config.full.get("devices")
    count = devices if isinstance(devices, int) and devices > 0 else 1
    return float(record.summary.get("seconds") or 0.0) / 3600 * count


def _score_value(score: Mapping[str, Any] | None) -> float | None:
    value = None if score is None else score.get("value")
    return float(value) if isinstance(value, int | float) else None


def _finite_or_none(value: Any) -> float | None:
    return float(value) if isinstance(value, int | float) and math.isfinite(value) else None
