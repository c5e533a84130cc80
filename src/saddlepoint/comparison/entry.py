"""A run as it enters a comparison: what it scored, or what its untrained generator scored where it failed.

A run that ended in NaN, collapsed or did not finish is a bad result of its setting, not a missing one: it counts with
the score of the untrained generator under the same contract.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from saddlepoint.comparison.arm import COLLAPSED, DIVERGED, FINISHED, UNFINISHED, Arm, Entry
from saddlepoint.comparison.grouping import Group
from saddlepoint.comparison.reading import Event, Record
from saddlepoint.comparison.score import Primary
from saddlepoint.error import Mistake

Curve = tuple[tuple[int, float], ...]  # (images, score)


@dataclass(frozen=True)
class Reach:
    """A stated quality, to be reached as early as may be."""

    value: float
    higher_is_better: bool

    def first(self, rows: Sequence[Event], key: str) -> Event | None:
        """The first event whose score is as good."""
        sign = 1 if self.higher_is_better else -1
        scores = ((row, _finite(row.get(key))) for row in rows)
        return next((row for row, score in scores if score is not None and sign * score >= sign * self.value), None)


def arms(groups: Sequence[Group], primary: Primary, others: Sequence[str], reach: float | None = None) -> list[Arm]:
    """The groups as arms by the primary score.

    A failed run whose own untrained score is not on record gets the worst untrained one of its arm, or else of all.
    Raises Mistake where a run failed and no run has an untrained score.
    """
    wanted = None if reach is None else Reach(reach, primary.higher_is_better)
    entries = {group.name: [entry(record, primary, others, wanted) for record in group.records] for group in groups}
    worst = min if primary.higher_is_better else max
    every = [own for some in entries.values() for one in some if (own := one.untrained) is not None]
    found = []
    for group in groups:
        mine = [own for one in entries[group.name] if (own := one.untrained) is not None] or every
        _floor_known(entries[group.name], mine, primary.key)
        found.append(
            Arm(
                group.name,
                group.settings,
                tuple(
                    replace(one, value=worst(mine)) if one.failed and one.untrained is None else one
                    for one in entries[group.name]
                ),
            )
        )
    return found


def _floor_known(entries: Sequence[Entry], untrained: Sequence[float], key: str) -> None:
    failed = [one for one in entries if one.failed]
    if failed and not untrained:
        raise Mistake(
            f"{failed[0].run} is {failed[0].outcome}, and no run has {key} at 0 images on record, which it would count "
            "with.\nTrain with callback.evaluation, which measures the untrained generator, or leave it out of runs=..."
        )


def entry(record: Record, primary: Primary, others: Sequence[str], reach: Reach | None = None) -> Entry:
    """The run by the primary score; `value` is nan where it failed and its untrained score is not on record."""
    rows, _ = record.journal
    curve = _curve(rows, primary.key)
    untrained = next((score for images, score in curve if images == 0), None)
    final = _value(record.final.get(primary.key)) if record.status == FINISHED else None
    outcome = _outcome(record.status, final, untrained, primary.higher_is_better)
    floor = math.nan if untrained is None else untrained
    at = reach.first(rows, primary.key) if reach else None
    summary = record.summary
    return Entry(
        run=record.folder,
        seed=record.seed,
        outcome=outcome,
        value=final if outcome == FINISHED and final is not None else floor,
        final=final,
        untrained=untrained,
        best=_finite(((summary.get("best") or {}).get(primary.key) or {}).get("value")),
        area=_area(curve) if record.status == FINISHED else None,
        curve=curve,
        noise=_noise(record, primary.key),
        images=None if record.imported else int(summary.get("images") or 0),
        seconds=float(summary.get("seconds") or (rows[-1].get("seconds", 0.0) if rows else 0.0)),
        accelerator_hours=_accelerator_hours(record),
        peak_memory_mib=_finite(summary.get("peak_memory_mib")),
        reached=int(at["images"]) if at else None,
        reached_seconds=_finite(at.get("seconds")) if at else None,
        chosen=_value(summary.get("chosen_by")),
        grid=_grid(record.folder),
        others={} if final is None else {key: float(record.final[key]["value"]) for key in others},
    )


def _outcome(status: str, final: float | None, untrained: float | None, higher_is_better: bool) -> str:
    if status == DIVERGED or (status == FINISHED and (final is None or not math.isfinite(final))):
        return DIVERGED
    if status != FINISHED or final is None:
        return UNFINISHED
    better = untrained is None or (final > untrained if higher_is_better else final < untrained)
    return FINISHED if better else COLLAPSED


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
    if not there or record.config.whole.get("device") == "cpu":
        return 0.0
    return float(record.summary.get("seconds") or 0.0) / 3600 * _devices(record.config.whole.get("devices"))


def _devices(said: Any) -> int:
    return said if isinstance(said, int) and said > 0 else 1


def _grid(folder: Path) -> Path | None:
    """The last grid of samples."""
    grids = [path for path in (folder / "samples").glob("*.png") if path.stem.isdigit()]
    return max(grids, key=lambda path: int(path.stem), default=None)


def _value(score: Mapping[str, Any] | None) -> float | None:
    value = None if score is None else score.get("value")
    return float(value) if isinstance(value, int | float) else None


def _finite(value: Any) -> float | None:
    return float(value) if isinstance(value, int | float) and math.isfinite(value) else None
