"""A comparison: arms of runs by one score under one contract, and everything that was left out or went wrong."""

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
from saddlepoint.comparison.arms.scoring import failure_floor
from saddlepoint.comparison.arms.scoring import score_arms as arms_of
from saddlepoint.error import Mistake, did_you_mean

SAYS_NOTHING = {"none", "null", "true", "false", "on", "off", "yes", "no"}  # values that need their key beside them
WORD = re.compile(r"[A-Za-z][\w-]*|\[[A-Za-z][\w,-]*\]")


@dataclass(frozen=True)
class ComparisonOptions:
    """What a person asked to have compared."""

    by: tuple[str, ...] | None = None  # None: every key in which the runs differ
    over: tuple[str, ...] = ()  # keys in which runs of one arm may differ
    metric: str | None = None
    baseline: Any = None  # a value or name of an arm, or several
    level: float = 0.05
    reach: float | None = None
    higher_is_better: bool | None = None
    factorial: bool | None = None  # None: where the arms are a full design
    tuning: bool = False


@dataclass(frozen=True)
class Comparison:
    """Arms, the baseline first, and what stands behind them."""

    asked: ComparisonOptions
    found: RunCollection
    by: tuple[str, ...]
    arms: tuple[Arm, ...]
    primary: PrimaryScore
    other_scores: tuple[str, ...]  # other scores that every finished run has under one contract
    mixed: tuple[str, ...]  # and those whose contracts differ
    shared_per_seed: tuple[str, ...]  # what runs of one seed have in common, by their configs

    @property
    def baseline(self) -> Arm:
        return self.arms[0]

    @property
    def other_arms(self) -> tuple[Arm, ...]:
        return self.arms[1:]

    @property
    def failure_floor(self) -> float | None:
        """The worst score of an untrained generator, from which all failures count; None where none has one."""
        return failure_floor([one for arm in self.arms for one in arm.entries], self.primary.higher_is_better)

    @property
    def running(self) -> list[Record]:
        """Runs under way, which are left out; with one of them the comparison is provisional."""
        return [record for record in self.found.records if record.status == RUNNING]

    @property
    def records(self) -> list[Record]:
        return [record for arm in self.arms for record in arm.records]

    @property
    def missing(self) -> dict[str, list[int]]:
        """By arm, the seeds that another arm has and it has not even begun; {} where arms hold searches."""
        if self.asked.over:
            return {}
        seeds = sorted({record.seed for record in self.found.records})
        under_way = {
            (format_settings({key: get_setting(one, key) for key in self.by}), one.seed) for one in self.running
        }
        held = under_way | {(arm.name, one.seed) for arm in self.arms for one in arm.entries}
        lacking = {arm.name: [seed for seed in seeds if (arm.name, seed) not in held] for arm in self.arms}
        return {name: absent for name, absent in lacking.items() if absent}

    @property
    def unnamed_differences(self) -> list[str]:
        """Keys in which the arms' trainings differ, though nothing in their names says so."""
        return unnamed_differences(self.records, (*self.by, *self.asked.over))


def build_comparison(found: RunCollection, asked: ComparisonOptions) -> Comparison:
    """The arms of the runs found, as asked.

    Raises Mistake for what cannot be compared: one group, two runs of one seed, runs of one arm that differ, other
    numbers of images, mixed contracts, an unknown key, metric or baseline.
    """
    records = [record for record in found.records if record.status != RUNNING]
    if not records:
        raise Mistake(f"all {len(found.records)} runs are under way; compare them when some have ended")
    by = (
        tuple(asked.by)
        if asked.by is not None
        else tuple(key for key in varying_keys(records) if key not in asked.over)
    )
    groups = group_runs(records, by, asked.over)
    _one_length(records, (*by, *asked.over))
    score = primary_score(records, asked.metric, asked.higher_is_better)
    others, mixed = common_scores(records, score.key)
    arms = arms_of(groups, score, others, asked.reach)
    arms.insert(0, arms.pop(_baseline(arms, asked.baseline)))
    return Comparison(asked, found, by, tuple(arms), score, tuple(others), tuple(mixed), _shared(records))


def _one_length(records: Sequence[Record], named: Sequence[str]) -> None:
    """Raises Mistake where runs were to see different numbers of images and nobody named that."""
    records = [record for record in records if not record.is_imported] or records  # of an import nobody knows how long
    first = records[0]
    other = next((record for record in records if record.goal != first.goal), None)
    if other is not None and "images" not in named:
        raise Mistake(
            f"{first.folder} has images={first.goal} and {other.folder} images={other.goal}: a longer run is another "
            "setting. Compare runs of one length, or name it: by=[..., images]"
        )


def _baseline(arms: Sequence[Arm], said: Any) -> int:
    """Which arm is the baseline; the first where nobody said.  Raises Mistake for an unknown one."""
    if said is None:
        return 0
    words = said.split() if isinstance(said, str) else as_list(said)
    # as settings are told: 1.0 is 1 there
    words = [format_setting(int(word) if isinstance(word, float) and word.is_integer() else word) for word in words]
    hits = [i for i, arm in enumerate(arms) if _is(arm, words)]
    if len(hits) == 1:
        return hits[0]
    name, names = " ".join(words), [arm.name for arm in arms]
    if hits:
        raise Mistake(f"baseline={name} may be {' or '.join(names[i] for i in hits)}: say all of it")
    values = {format_setting(value): None for arm in arms for value in arm.settings.values()}
    meant = did_you_mean(name, [*names, *values]) or f" There are: {', '.join(names)}"
    raise Mistake(f"baseline={name}: no arm is called so.{meant}")


def as_list(said: Any) -> list[Any]:
    """What was said, as a list: nothing, one or several."""
    return [] if said is None else list(said) if isinstance(said, list | tuple) else [said]


def _is(arm: Arm, words: Sequence[str]) -> bool:
    """Whether words name an arm: "objective=hinge", "hinge", or its whole name."""
    own = {f"{key}={format_setting(value)}" for key, value in arm.settings.items()}
    values = {format_setting(value) for value in arm.settings.values()}
    return all(word in own or word in values for word in words)


def _shared(records: Sequence[Record]) -> tuple[str, ...]:
    """What the configs of all runs declare that runs of one seed share."""
    said = [as_list(record.config.full.get("shared")) for record in records]
    return tuple(str(one) for one in said[0] if all(one in own for own in said))


def differing_settings(comparison: Comparison) -> list[tuple[str, list[str]]]:
    """Each config key in which the arms differ, and what it is in each arm, in their order."""
    keys = dict.fromkeys([*comparison.by, *unnamed_differences(comparison.records, ())])
    found = []
    for key in keys:
        said = ([format_setting(get_setting(record, key)) for record in arm.records] for arm in comparison.arms)
        values = [" | ".join(dict.fromkeys(own)) for own in said]
        if len(set(values)) > 1 or any(" | " in value for value in values):
            found.append((key, values))
    return found


def with_short_names(comparison: Comparison) -> Comparison:
    """The comparison with its arms under short names."""
    names = short_names(comparison)
    return replace(comparison, arms=tuple(replace(arm, name=names[arm.name]) for arm in comparison.arms))


def short_names(comparison: Comparison) -> dict[str, str]:
    """By an arm's name, what makes it differ without the keys that need not be said: "hinge penalty=none".

    The names themselves where two arms would be called alike.
    """
    parts = short_settings(comparison)
    names = {
        arm.name: " ".join(parts[f"{key}={format_setting(arm.settings[key])}"] for key in comparison.by)
        for arm in comparison.arms
    }
    return names if len(set(names.values())) == len(names) else {name: name for name in names}


def short_settings(comparison: Comparison) -> dict[str, str]:
    """By a setting as one types it, "objective=hinge", what says it as well: "hinge".

    A key is left out where its value is a word that no other key has; of a dotted key the last part is enough.
    """
    by = comparison.by
    values = {key: dict.fromkeys(format_setting(arm.settings[key]) for arm in comparison.arms) for key in by}
    last = {key: re.split(r"[.@]", key)[-1] for key in by}
    keys = {key: part if list(last.values()).count(part) == 1 else key for key, part in last.items()}

    def part(key: str, value: str) -> str:
        alone = not any(value in own for other, own in values.items() if other != key)
        says = WORD.fullmatch(value) and value.lower() not in SAYS_NOTHING
        return value if alone and says else f"{keys[key]}={value}"

    return {f"{key}={value}": part(key, value) for key, own in values.items() for value in own}
