"""A comparison: arms of runs with one score under one contract, and what was left out or failed."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from saddlepoint.comparison.arms.arm import Arm
from saddlepoint.comparison.arms.grouping import (
    format_setting,
    format_settings,
    get_setting,
    group_runs,
    unnamed_differences,
    varying_keys,
)
from saddlepoint.comparison.arms.record import RUNNING, Record, RunCollection
from saddlepoint.comparison.arms.score import PrimaryScore, common_scores, primary_score
from saddlepoint.comparison.arms.score_arms import split_by_score
from saddlepoint.comparison.arms.scoring import failure_floor, score_arms
from saddlepoint.error import Mistake, did_you_mean

AMBIGUOUS = {"none", "null", "true", "false", "on", "off", "yes", "no"}  # values that mean nothing without their key
NAME = re.compile(r"[A-Za-z][\w-]*|\[[A-Za-z][\w,-]*\]")


@dataclass(frozen=True)
class ComparisonOptions:
    """What to compare; the keys of `saddlepoint compare`."""

    by: tuple[str, ...] | None = None  # None: every key in which the runs differ
    over: tuple[str, ...] = ()  # keys in which runs of one arm may differ
    metric: str | None = None
    baseline: Any = None  # a value or name of an arm, or several
    level: float = 0.05
    reach: float | None = None
    higher_is_better: bool | None = None
    factorial: bool | None = None  # None: if the arms are a full design
    tuning: bool = False
    against: str | None = None  # another score, by its key or metric, to draw the primary one against
    scores: tuple[str, ...] = ()  # scores of the same runs that are the arms, instead of runs


@dataclass(frozen=True)
class Comparison:
    """Arms, the baseline first, and the runs and options they come from."""

    options: ComparisonOptions
    collection: RunCollection
    by: tuple[str, ...]
    arms: tuple[Arm, ...]
    primary: PrimaryScore
    other_scores: tuple[str, ...]  # keys that every finished run has under one contract
    mixed_scores: tuple[str, ...]  # keys whose contracts differ
    shared_per_seed: tuple[str, ...]  # what runs of one seed have in common, as their configs declare

    @property
    def is_paired(self) -> bool:
        """Whether the arms are scores of the same runs, so that the test is that of paired differences."""
        return bool(self.options.scores)

    @property
    def baseline(self) -> Arm:
        return self.arms[0]

    @property
    def other_arms(self) -> tuple[Arm, ...]:
        return self.arms[1:]

    @property
    def failure_floor(self) -> float | None:
        """The worst score of any untrained generator: no failure is better; None if none has a score."""
        return failure_floor([run for arm in self.arms for run in arm.runs], self.primary.higher_is_better)

    @property
    def running(self) -> list[Record]:
        """Runs under way. They are left out, and make the comparison provisional."""
        return [record for record in self.collection.records if record.status == RUNNING]

    @property
    def records(self) -> list[Record]:
        return [record for arm in self.arms for record in arm.records]

    @property
    def missing_seeds(self) -> dict[str, list[int]]:
        """By arm, the seeds that another arm has and this one has not started; {} if arms are searches."""
        if self.options.over:
            return {}
        seeds = sorted({record.seed for record in self.collection.records})
        running = {(format_settings({key: get_setting(r, key) for key in self.by}), r.seed) for r in self.running}
        started = running | {(arm.name, run.seed) for arm in self.arms for run in arm.runs}
        missing = {arm.name: [seed for seed in seeds if (arm.name, seed) not in started] for arm in self.arms}
        return {name: absent for name, absent in missing.items() if absent}

    @property
    def unnamed_differences(self) -> list[str]:
        """Keys in which the trainings of the arms differ and which are not in their names."""
        return unnamed_differences(self.records, (*self.by, *self.options.over))


def build_comparison(collection: RunCollection, options: ComparisonOptions) -> Comparison:
    """Group the runs into arms and score them.

    Raises Mistake for what cannot be compared: one group, two runs of one seed, runs of one arm that differ, different
    numbers of images, mixed contracts, an unknown key, metric or baseline.
    """
    records = [record for record in collection.records if record.status != RUNNING]
    if not records:
        raise Mistake(f"all {len(collection.records)} runs are under way; compare them when some have ended")
    if options.scores:
        if options.metric is not None:
            raise Mistake(f"metric={options.metric}: scores={','.join(options.scores)} are compared; leave metric out")
        collection, higher = split_by_score(collection, options.scores, options.higher_is_better)
        records = [record for record in collection.records if record.status != RUNNING]
        options = replace(options, higher_is_better=higher)
    over = options.over
    by = options.by if options.by is not None else tuple(key for key in varying_keys(records) if key not in over)
    groups = group_runs(records, by, over)
    _check_equal_target_images(records, (*by, *over))
    score = primary_score(records, options.metric, options.higher_is_better)
    others, mixed = common_scores(records, score.key)
    arms = score_arms(groups, score, others, options.reach)
    arms.insert(0, arms.pop(_baseline_index(arms, options.baseline)))
    return Comparison(
        options, collection, by, tuple(arms), score, tuple(others), tuple(mixed),
        ("everything",) if options.scores else _shared_per_seed(records),
    )  # fmt: skip


def _check_equal_target_images(records: Sequence[Record], keys: Sequence[str]) -> None:
    """Raise Mistake if the target numbers of images differ and `images` is not among the keys."""
    records = [record for record in records if not record.is_imported] or records  # the length of an import is unknown
    first = records[0]
    other = next((record for record in records if record.target_images != first.target_images), None)
    if other is not None and "images" not in keys:
        raise Mistake(
            f"{first.folder} has images={first.target_images} and {other.folder} images={other.target_images}: a "
            "longer run is another setting. Compare runs of one length, or name it: by=[..., images]"
        )


def _baseline_index(arms: Sequence[Arm], requested: Any) -> int:
    """Return the index of the baseline; 0 if none is requested. Raises Mistake for an unknown one."""
    if requested is None:
        return 0
    settings = requested.split() if isinstance(requested, str) else as_list(requested)
    # arm names write 1.0 as 1
    settings = [format_setting(int(x) if isinstance(x, float) and x.is_integer() else x) for x in settings]
    matches = [i for i, arm in enumerate(arms) if _is_named(arm, settings)]
    if len(matches) == 1:
        return matches[0]
    name, names = " ".join(settings), [arm.name for arm in arms]
    if matches:
        raise Mistake(f"baseline={name} may be {' or '.join(names[i] for i in matches)}: write the whole name")
    values = {format_setting(value): None for arm in arms for value in arm.settings.values()}
    hint = did_you_mean(name, [*names, *values]) or f" There are: {', '.join(names)}"
    raise Mistake(f"baseline={name}: no arm has this name.{hint}")


def as_list(value: Any) -> list[Any]:
    """Return a list of none, one or several values."""
    return [] if value is None else list(value) if isinstance(value, list | tuple) else [value]


def _is_named(arm: Arm, settings: Sequence[str]) -> bool:
    """Whether the settings name an arm: "objective=hinge", "hinge", or its whole name."""
    assignments = {f"{key}={format_setting(value)}" for key, value in arm.settings.items()}
    values = {format_setting(value) for value in arm.settings.values()}
    return all(setting in assignments or setting in values for setting in settings)


def _shared_per_seed(records: Sequence[Record]) -> tuple[str, ...]:
    """Return what the configs of all runs declare that runs of one seed share."""
    declared = [as_list(record.config.full.get("shared")) for record in records]
    return tuple(str(name) for name in declared[0] if all(name in names for names in declared))


def differing_settings(comparison: Comparison) -> list[tuple[str, list[str]]]:
    """Return each config key in which the arms differ, with its value in each arm, in their order."""
    keys = dict.fromkeys([*comparison.by, *unnamed_differences(comparison.records, ())])
    rows = []
    for key in keys:
        values_of_runs = ([format_setting(get_setting(r, key)) for r in arm.records] for arm in comparison.arms)
        values = [" | ".join(dict.fromkeys(distinct)) for distinct in values_of_runs]
        if len(set(values)) > 1 or any(" | " in value for value in values):
            rows.append((key, values))
    return rows


def with_short_names(comparison: Comparison) -> Comparison:
    """Return the comparison with short names for its arms."""
    names = short_names(comparison)
    return replace(comparison, arms=tuple(replace(arm, name=names[arm.name]) for arm in comparison.arms))


def short_names(comparison: Comparison) -> dict[str, str]:
    """Return, by the name of an arm, its settings without redundant keys: "hinge penalty=none".

    The names themselves if two arms would have the same short name.
    """
    short = short_settings(comparison)
    names = {
        arm.name: " ".join(short[f"{key}={format_setting(arm.settings[key])}"] for key in comparison.by)
        for arm in comparison.arms
    }
    return names if len(set(names.values())) == len(names) else {name: name for name in names}


def short_settings(comparison: Comparison) -> dict[str, str]:
    """Return, by a setting as on the command line, "objective=hinge", its short form: "hinge".

    A key is left out if its value is a name that no other key has. Of a dotted key the last part is kept.
    """
    by = comparison.by
    values = {key: dict.fromkeys(format_setting(arm.settings[key]) for arm in comparison.arms) for key in by}
    last_parts = {key: re.split(r"[.@]", key)[-1] for key in by}
    short_keys = {key: part if list(last_parts.values()).count(part) == 1 else key for key, part in last_parts.items()}

    def short_form(key: str, value: str) -> str:
        is_unique = not any(value in others for other, others in values.items() if other != key)
        is_name = NAME.fullmatch(value) and value.lower() not in AMBIGUOUS
        return value if is_unique and is_name else f"{short_keys[key]}={value}"

    return {f"{key}={value}": short_form(key, value) for key in by for value in values[key]}
