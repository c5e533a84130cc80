"""A run as it enters a comparison: what it scored, or what a failure counts.

A run that ended in NaN, collapsed or did not finish is a bad result of its setting, not a missing one: it counts the
worse of its own last score and the floor, which is one for all arms: the worst score that an untrained generator has
under the same contract. Where none has a score (a reverse KL without a point of high quality), a failure has the worst
rank.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from saddlepoint.comparison.arms.arm import COLLAPSED, DIVERGED, FINISHED, UNFINISHED, Arm, ScoredRun
from saddlepoint.comparison.arms.record import Event, Record
from saddlepoint.comparison.arms.score import PrimaryScore
from saddlepoint.evaluation.contract import Score
from saddlepoint.run.layout import files_by_images

Curve = tuple[tuple[int, float], ...]  # (images, score)


def score_arms(
    groups: Sequence[Arm], primary: PrimaryScore, others: Sequence[str], reach: float | None = None
) -> list[Arm]:
    """The arms by the primary score, failures counted from the one floor of all runs."""
    entries = [[score_run(record, primary, others, reach) for record in group.records] for group in groups]
    least = failure_floor([one for some in entries for one in some], primary.higher_is_better)
    return [
        replace(group, entries=tuple(_counted(one, least, primary.higher_is_better) for one in some))
        for group, some in zip(groups, entries, strict=True)
    ]


def failure_floor(entries: Iterable[ScoredRun], higher_is_better: bool) -> float | None:
    """The worst score that an untrained generator of these runs has; None where none has one."""
    return worst(*(one.untrained for one in entries), higher_is_better=higher_is_better)


def worst(*values: float | None, higher_is_better: bool) -> float | None:
    """The worst of the values that are known, None where none is."""
    known = [value for value in values if value is not None and not math.isnan(value)]
    return (min if higher_is_better else max)(known, default=None)


def _counted(one: ScoredRun, least: float | None, higher_is_better: bool) -> ScoredRun:
    """The run with its outcome judged by its own untrained score, or else by the floor, and with what it counts."""
    untrained = least if one.untrained is None else one.untrained
    if (
        one.outcome == FINISHED
        and untrained is not None
        and worst(one.final, untrained, higher_is_better=higher_is_better) == one.final
    ):
        one = replace(one, outcome=COLLAPSED)
    if not one.failed:
        return one
    last = one.final
    if (last is None or math.isnan(last)) and one.curve and one.curve[-1][0] > 0:  # of one that was trained at all
        last = one.curve[-1][1]
    lowest = -math.inf if higher_is_better else math.inf
    value = lowest if least is None else worst(last, least, higher_is_better=higher_is_better)
    return replace(one, value=value)


def score_run(record: Record, primary: PrimaryScore, others: Sequence[str], reach: float | None = None) -> ScoredRun:
    """The run by the primary score, failures not counted yet: `value` is its final score, nan where it has none."""
    rows, _ = record.journal
    curve = _curve(rows, primary.key)
    final = _value(record.final_scores.get(primary.key)) if record.status == FINISHED else None
    at = _first(rows, primary, reach)
    summary = record.summary
    return ScoredRun(
        run=record.folder,
        seed=record.seed,
        outcome=_outcome(record.status, final),
        value=math.nan if final is None else final,
        final=final,
        untrained=next((score for images, score in curve if images == 0), None),
        best=_finite(((summary.get("best") or {}).get(primary.key) or {}).get("value")),
        area=_area(curve) if record.status == FINISHED else None,
        curve=curve,
        noise=_noise(record, primary.key),
        images=None if record.is_imported else int(summary.get("images") or 0),
        seconds=float(summary.get("seconds") or (rows[-1].get("seconds", 0.0) if rows else 0.0)),
        accelerator_hours=_accelerator_hours(record),
        peak_memory_mib=_finite(summary.get("peak_memory_mib")),
        images_to_reach=int(at["images"]) if at else None,
        seconds_to_reach=_finite(at.get("seconds")) if at else None,
        selection_score=_chosen(summary.get("chosen_by")),
        grid=next(reversed(files_by_images(record.folder / "samples", ".png").values()), None),
        other_scores={} if final is None else {key: float(record.final_scores[key]["value"]) for key in others},
    )


def _first(rows: Sequence[Event], primary: PrimaryScore, reach: float | None) -> Event | None:
    """The first event whose score is as good as the stated quality; None where none was stated."""
    for row in rows if reach is not None else ():
        score = _finite(row.get(primary.key))
        if score is not None and worst(score, reach, higher_is_better=primary.higher_is_better) == reach:
            return row
    return None


def _outcome(status: str, final: float | None) -> str:
    """How a run ended, as far as its own record tells; one that finished without a value has nothing to measure."""
    if status == DIVERGED or (final is not None and not math.isfinite(final)):
        return DIVERGED
    if status != FINISHED:
        return UNFINISHED
    return COLLAPSED if final is None else FINISHED


def _chosen(plain: Mapping[str, Any] | None) -> Score | None:
    """The score that chose the best checkpoint, None where none did or nothing says how it was measured."""
    if _value(plain) is None or "contract" not in (plain or {}):
        return None
    return Score.from_dict({"std": None, **(plain or {})})


def _curve(rows: Sequence[Event], key: str) -> Curve:
    """The score along the run, images ascending, the last word on each; without values that are none."""
    points = {row["images"]: float(row[key]) for row in rows if _finite(row.get(key)) is not None}
    return tuple(sorted(points.items()))


def _area(curve: Curve) -> float | None:
    """The mean of the score over images, by the trapezium rule."""
    if len(curve) < 2:
        return None
    images, scores = zip(*curve, strict=True)
    return float(np.trapezoid(scores, images) / (images[-1] - images[0]))


def _noise(record: Record, key: str) -> float | None:
    """Standard deviation over fresh generations of the one generator, as measured last."""
    measured = [row["uncertainty"][key] for row in record.evaluations if key in row.get("uncertainty", {})]
    return _finite(measured[-1].get("generations")) if measured else None


def _accelerator_hours(record: Record) -> float:
    """Hours times accelerators; 0 on a CPU."""
    there = (record.provenance.get("hardware") or {}).get("accelerators") or []
    if not there or record.config.full.get("device") == "cpu":
        return 0.0
    devices = record.config.full.get("devices")
    several = devices if isinstance(devices, int) and devices > 0 else 1
    return float(record.summary.get("seconds") or 0.0) / 3600 * several


def _value(score: Mapping[str, Any] | None) -> float | None:
    value = None if score is None else score.get("value")
    return float(value) if isinstance(value, int | float) else None


def _finite(value: Any) -> float | None:
    return float(value) if isinstance(value, int | float) and math.isfinite(value) else None
