"""Why two runs are not one: what differs in config, data, environment and commit, and where their curves part.

Two runs of one config and seed on one machine have one curve, to the last bit; the first event at which they differ
says when whatever made them differ began to act.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from saddlepoint.comparison.arms.grouping import ABSENT, format_setting
from saddlepoint.comparison.arms.record import Record
from saddlepoint.comparison.report.sheet import format_number
from saddlepoint.config.training_keys import NO_VALUE, nested_difference

CLOCK = frozenset(("seconds", "images_per_second", "images", "final"))  # what is no value of the training
ENVIRONMENT = ("python", "packages", "hardware")
PARTS = ("config", "data", "environment", "commit", "end")


@dataclass(frozen=True)
class Divergence:
    """Where two curves part, None for each part where they do not."""

    events: int  # moments, by images, that both have
    equal: int  # of these, how many came before the first that differs
    images: int | None = None
    key: str | None = None
    a: float | None = None
    b: float | None = None
    keys: int = 0  # how many differ at that moment


def find_divergence(a: Record, b: Record) -> Divergence:
    """The first moment at which a value that both curves have differs, bit for bit; nan equals nan."""
    one, two = _moments(a), _moments(b)
    common = sorted(one.keys() & two.keys())
    for i, images in enumerate(common):
        parted = [key for key in one[images] if key in two[images] and not _equal(one[images][key], two[images][key])]
        if parted:
            key = parted[0]
            values = one[images][key], two[images][key]
            return Divergence(len(common), i, images, key, *values, keys=len(parted))
    return Divergence(len(common), len(common))


def run_differences(a: Record, b: Record) -> list[tuple[str, str, Any, Any]]:
    """What differs, as (of, key, a's, b's): of config, data, environment, commit and end; clocks aside."""
    one, two = _told_of(a), _told_of(b)
    return [
        (part, key, ABSENT if own is NO_VALUE else own, ABSENT if other is NO_VALUE else other)
        for part in PARTS
        for key, (own, other) in nested_difference(one[part], two[part]).items()
    ]


def format_differences(found: Sequence[tuple[str, str, Any, Any]]) -> list[str]:
    """Differences for people: what they are of, and below it `key: a -> b`."""
    said = []
    for part in PARTS:
        own = [f"  {key}: {format_setting(one)} -> {format_setting(two)}" for of, key, one, two in found if of == part]
        said += [part, *own] if own else []
    equal = [part for part in PARTS if part not in {of for of, *_ in found}]
    return said + ([f"{', '.join(equal)}: the same"] if equal else [])


def describe_divergence(a: Record, b: Record, found: Divergence) -> list[str]:
    """Where the curves part, for people."""
    said = []
    if not found.events:
        said.append("Their curves have no moment in common: no event of metrics.jsonl is at the same images.")
    elif found.images is None:
        said.append(f"Their curves are equal, bit for bit, at all {found.events} moments that both have.")
    else:
        more = f", and {found.keys - 1} more keys with it" if found.keys > 1 else ""
        to = f"equal before, at {found.equal} moment{'s' * (found.equal > 1)}" if found.equal else "the first of all"
        ours, theirs = ("nothing" if value is None else format_number(value, 10) for value in (found.a, found.b))
        said.append(
            f"Their curves part at {found.images:,} images, {to}: {found.key} is {ours} in a and {theirs} in b{more}."
        )
    for name, record, other in (("a", a, b), ("b", b, a)):
        if alone := sorted(_moments(record).keys() - _moments(other).keys()):
            said.append(f"{len(alone)} moments are in {name} alone, from {alone[0]:,} images on.")
        if broken := record.journal[1]:
            said.append(f"{record.folder}/metrics.jsonl: {broken} unreadable lines were skipped.")
    return said


def _moments(record: Record) -> dict[int, dict[str, float]]:
    """By images, every value of the curve; several events of one moment are one."""
    found: dict[int, dict[str, float]] = {}
    for row in record.journal[0]:
        values = {key: value for key, value in row.items() if key not in CLOCK and isinstance(value, int | float)}
        found.setdefault(row["images"], {}).update(values)
    return found


def _told_of(record: Record) -> dict[str, Mapping[str, Any]]:
    own = record.provenance
    return {
        "config": {"seed": record.seed, **record.config.full},
        "data": own.get("data") or {},
        "environment": {key: own.get(key) for key in ENVIRONMENT},
        "commit": own.get("git") or {},
        "end": {"status": record.status, "images": record.summary.get("images"), "error": record.summary.get("error")},
    }


def _equal(one: float, two: float) -> bool:
    return one == two or (math.isnan(one) and math.isnan(two))
