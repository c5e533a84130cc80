"""Which runs are one arm: those whose configs say the same but for the seed; what two arms differ in names them.

A key is a choice group (objective), the place of a choice (layer@architecture.generator.norm) or a config key
(optimizer.generator.lr).  A choice stands for all that it put into the config.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from saddlepoint.comparison.arms.arm import Arm
from saddlepoint.comparison.arms.record import Record
from saddlepoint.config.training_keys import NON_TRAINING_KEYS, is_same
from saddlepoint.error import Mistake, did_you_mean

ABSENT = "none"  # what stands where a config has no such key


def varying_keys(records: Sequence[Record]) -> list[str]:
    """The keys that tell these runs apart: the choices that differ, then what differs where all choices are equal.

    A choice that follows from a bundle of `train -m` is part of that bundle, and is no key of its own.  Imports, of
    whose training nothing is known, are told apart by their names.
    """
    if any(record.is_imported for record in records):
        return [*varying_keys([record for record in records if not record.is_imported]), "imported"]
    chosen = [key for key in _choices(records) if _differs([get_setting(record, key) for record in records])]
    # a bundle is the name of several words, and no place of the config
    bundles = [key for key in chosen if "@" not in key and all(key not in record.config.full for record in records)]
    chosen = [key for key in chosen if key in bundles or not _follows(records, key, bundles)]
    classes: dict[str, list[Record]] = {}
    for record in records:
        classes.setdefault(format_settings({key: get_setting(record, key) for key in chosen}), []).append(record)
    found = dict.fromkeys(key for members in classes.values() for key in differing_keys(members))
    return chosen + [key for key in found if not any(other.startswith(f"{key}.") for other in found)]


def _follows(records: Sequence[Record], key: str, bundles: Sequence[str]) -> bool:
    """Whether runs of one setting of the bundles make one choice."""
    made: dict[str, Any] = {}
    return all(
        is_same(
            made.setdefault(
                format_settings({one: get_setting(record, one) for one in bundles}), own := get_setting(record, key)
            ),
            own,
        )
        for record in records
    )


def unnamed_differences(records: Sequence[Record], by: Sequence[str]) -> list[str]:
    """The dotted keys in which the trainings differ though nobody named them, nor a choice that holds them.

    Of imports nothing is known, so they differ in everything and are left out.
    """
    trained = [record for record in records if not record.is_imported]
    return [key for key in differing_keys(trained) if not any(_covers(place, key) for place in by)]


def differing_keys(records: Sequence[Record]) -> list[str]:
    """The dotted keys in which these runs' trainings differ, in the order of their configs."""
    kinds = list({id(record.config): record.config.training_values for record in records}.values())
    keys = dict.fromkeys(key for kind in kinds for key in kind)
    return [key for key in keys if _differs([kind.get(key, ABSENT) for kind in kinds])]


def group_runs(records: Sequence[Record], by: Sequence[str], over: Sequence[str] = ()) -> list[Arm]:
    """The arms, not scored yet, named after their settings of the keys `by`, in the order of those; runs by seed.

    `over`: keys in which runs of one arm may differ.  Raises Mistake for an unknown key, for one arm alone, for runs of
    one arm that differ in another key, or that are one seed's twice.
    """
    for key in (*by, *over):
        check_key(records, key)
    groups: dict[str, list[Record]] = {}
    settings: dict[str, dict[str, Any]] = {}
    for record in records:
        own = {key: get_setting(record, key) for key in by}
        settings[(name := format_settings(own))] = own
        groups.setdefault(name, []).append(record)
    if len(groups) < 2:
        raise Mistake(_alone(records, by))
    for name, members in groups.items():
        _alike(name, members, by, over)
        _one_per_seed(name, members, over)
    order = sorted(groups, key=lambda name: [_order(value) for value in settings[name].values()])
    runs = {name: tuple(sorted(own, key=lambda record: record.seed)) for name, own in groups.items()}
    return [Arm(name, settings[name], (), runs[name]) for name in order]


def get_setting(record: Record, key: str) -> Any:
    """What a run's config says of a key; ABSENT where it has none."""
    if key == "seed":
        return record.seed
    for known in (record.config.choices, record.config.training_values):  # in leaves 1.0 is 1
        if key in known:
            return known[key]
    value: Any = record.config.full
    for part in key.split("."):
        if not isinstance(value, dict) or part not in value:
            return ABSENT
        value = value[part]
    return value


def check_key(records: Sequence[Record], key: str) -> None:
    """Raises Mistake for a key that no config has, with the closest, or that holds other keys."""
    found = [get_setting(record, key) for record in records]
    if key == "seed":
        raise Mistake("by=seed: runs of one arm differ in their seed; name another key")
    if inner := next((value for value in found if isinstance(value, dict) and value), None):
        raise Mistake(f"by={key}: {key} holds {', '.join(map(str, inner))}; name one, {key}.{next(iter(inner))}")
    if all(isinstance(value, str) and value == ABSENT for value in found) and key not in _choices(records):
        there = {**_choices(records), **{leaf: None for record in records for leaf in record.config.training_values}}
        meant = did_you_mean(key, there) or f" Choices: {', '.join(_choices(records))}"
        raise Mistake(f"by={key}: no run has such a choice or key.{meant}")


def format_settings(settings: Mapping[str, Any]) -> str:
    """ "objective=hinge regularizer=[r1,r2]": settings as a person types them."""
    return " ".join(f"{key}={format_setting(value)}" for key, value in settings.items())


def format_setting(value: Any) -> str:
    """A value as a person types it."""
    if isinstance(value, list):
        return f"[{','.join(format_setting(part) for part in value)}]"
    if isinstance(value, bool) or value is None:
        return {True: "true", False: "false", None: "null"}[value]
    return str(value)


def _choices(records: Sequence[Record]) -> dict[str, None]:
    """Every choice that some run has made of what it trains."""
    kinds = {id(record.config): record.config.choices for record in records}.values()
    return dict.fromkeys(
        str(key) for choice in kinds for key in choice if str(key).partition("@")[0] not in NON_TRAINING_KEYS
    )


def _covers(choice: str, key: str) -> bool:
    """Whether a dotted key is of what a choice put into the config."""
    place = choice.partition("@")[2] or choice
    return key == place or key.startswith(f"{place}.")


def _differs(values: Sequence[Any]) -> bool:
    return any(not is_same(values[0], value) for value in values[1:])


def _alone(records: Sequence[Record], by: Sequence[str]) -> str:
    told_by = ", ".join(by) or "any key"
    keys = varying_keys(records)
    meant = f"They differ in {', '.join(keys[:5])}: by={keys[0]}" if keys else "They differ in their seeds alone"
    return f"one group: the {len(records)} runs do not differ in {told_by}, so there is nothing to compare. {meant}"


def _alike(name: str, members: Sequence[Record], by: Sequence[str], over: Sequence[str]) -> None:
    """Raises Mistake where runs of one arm differ in a key that nobody named."""
    keys = [key for key in differing_keys(members) if not any(_covers(place, key) for place in over)]
    if not keys:
        return
    key, first = keys[0], members[0]
    said = [record.config.training_values.get(key, ABSENT) for record in members]
    own, other = next(
        (value, record) for value, record in zip(said, members, strict=True) if not is_same(value, said[0])
    )
    more = f" (and in {len(keys) - 1} more keys)" if len(keys) > 1 else ""
    raise Mistake(
        f"{name} holds runs that differ in {key}: {format_setting(said[0])} in {first.folder}, "
        f"{format_setting(own)} in {other.folder}{more}.\n"
        f"Name it, by=[{','.join([*by, key])}], or leave one of them out of runs=..."
    )


def _one_per_seed(name: str, members: Sequence[Record], over: Sequence[str]) -> None:
    seen: dict[tuple[int, str], Record] = {}
    for record in members:
        own = record.seed, format_settings({key: get_setting(record, key) for key in over})
        if other := seen.get(own):
            raise Mistake(
                f"duplicate seeds: {other.folder} and {record.folder} are both seed {record.seed} of {name}; one run "
                "would count twice. Leave one of them out of runs=..."
            )
        seen[own] = record


def _order(value: Any) -> tuple[int, float, str]:
    """Numbers by size, then words."""
    number = isinstance(value, int | float)
    return (0, float(value), "") if number else (1, 0.0, format_setting(value))
