"""Why two runs differ: their config, data, environment and commit, and the first event at which their curves part.

Two runs of one config and seed on one machine have equal curves, bit for bit. The first event at which the curves
differ shows when the cause took effect.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from saddlepoint.comparison.arms.grouping import NOT_SET, format_setting
from saddlepoint.comparison.arms.record import Record
from saddlepoint.comparison.report.sheet import format_number
from saddlepoint.config.training_keys import NO_VALUE, nested_difference

CLOCK = frozenset(("seconds", "images_per_second", "images", "final"))  # keys that are not values of the training
ENVIRONMENT = ("python", "packages", "hardware")
PARTS = ("config", "data", "environment", "commit", "end")


@dataclass(frozen=True)
class Divergence:
    """Where two curves part; None for each field if they do not."""

    events: int  # image counts that both curves have
    equal: int  # of these, the number before the first that differs
    images: int | None = None
    key: str | None = None
    a: float | None = None
    b: float | None = None
    keys: int = 0  # number of keys that differ at that point


def find_divergence(a: Record, b: Record) -> Divergence:
    """Return the first point at which a value that both curves have differs, bit for bit; nan equals nan."""
    curve_a, curve_b = _all_curves(a), _all_curves(b)
    common = sorted(curve_a.keys() & curve_b.keys())
    for i, images in enumerate(common):
        values_a, values_b = curve_a[images], curve_b[images]
        keys = [key for key in values_a if key in values_b and not _equal_or_nan(values_a[key], values_b[key])]
        if keys:
            return Divergence(len(common), i, images, keys[0], values_a[keys[0]], values_b[keys[0]], keys=len(keys))
    return Divergence(len(common), len(common))


def run_differences(a: Record, b: Record) -> list[tuple[str, str, Any, Any]]:
    """Return the differences of config, data, environment, commit and end, as (part, key, value in a, value in b)."""
    parts_a, parts_b = _compared_parts(a), _compared_parts(b)
    return [
        (part, key, NOT_SET if x is NO_VALUE else x, NOT_SET if y is NO_VALUE else y)
        for part in PARTS
        for key, (x, y) in nested_difference(parts_a[part], parts_b[part]).items()
    ]


def format_differences(differences: Sequence[tuple[str, str, Any, Any]]) -> list[str]:
    """Return the differences as lines: the part, and below it `key: a -> b`."""
    lines = []
    for part in PARTS:
        of_part = [
            f"  {key}: {format_setting(x)} -> {format_setting(y)}" for name, key, x, y in differences if name == part
        ]
        lines += [part, *of_part] if of_part else []
    equal = [part for part in PARTS if part not in {name for name, *_ in differences}]
    return lines + ([f"{', '.join(equal)}: the same"] if equal else [])


def describe_divergence(a: Record, b: Record, divergence: Divergence) -> list[str]:
    """Return sentences on where the curves part, and on points and lines that only one run has."""
    sentences = []
    if not divergence.events:
        sentences.append("Their curves have no point in common: no event of metrics.jsonl is at the same images.")
    elif divergence.images is None:
        where = f"all {divergence.events} common points" if divergence.events > 1 else "the one common point"
        sentences.append(f"Their curves are equal, bit for bit, at {where}.")
    else:
        more = f", and {divergence.keys - 1} more keys with it" if divergence.keys > 1 else ""
        before = f"equal before, at {divergence.equal} point{'s' * (divergence.equal > 1)}"
        before = before if divergence.equal else "the first of all"
        x, y = ("nothing" if value is None else format_number(value, 10) for value in (divergence.a, divergence.b))
        sentences.append(
            f"Their curves part at {divergence.images:,} images, {before}: {divergence.key} is {x} in a and {y} in "
            f"b{more}."
        )
    for name, record, other in (("a", a, b), ("b", b, a)):
        if extra := sorted(_all_curves(record).keys() - _all_curves(other).keys()):
            sentences.append(f"{len(extra)} points are only in {name}, from {extra[0]:,} images on.")
        if unreadable := record.journal[1]:
            sentences.append(f"{record.folder}/metrics.jsonl: {unreadable} unreadable lines were skipped.")
    return sentences


def _all_curves(record: Record) -> dict[int, dict[str, float]]:
    """Return, by images, every value of the curve; events at the same images are merged."""
    curve: dict[int, dict[str, float]] = {}
    for row in record.journal[0]:
        values = {key: value for key, value in row.items() if key not in CLOCK and isinstance(value, int | float)}
        curve.setdefault(row["images"], {}).update(values)
    return curve


def _compared_parts(record: Record) -> dict[str, Mapping[str, Any]]:
    provenance, summary = record.provenance, record.summary
    return {
        "config": {"seed": record.seed, **record.config.full},
        "data": provenance.get("data") or {},
        "environment": {key: provenance.get(key) for key in ENVIRONMENT},
        "commit": provenance.get("git") or {},
        "end": {"status": record.status, "images": summary.get("images"), "error": summary.get("error")},
    }


def _equal_or_nan(x: float, y: float) -> bool:
    return x == y or (math.isnan(x) and math.isnan(y))
