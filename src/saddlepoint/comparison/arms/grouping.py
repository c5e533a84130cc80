"""Groups runs into arms: the runs of an arm differ only in their seed, and its name is what differs between arms.

A key is a config group (objective), a group with its package (layer@architecture.generator.norm) or a config key
(optimizer.generator.lr). A group's option covers every config key that it sets.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from saddlepoint.comparison.arms.arm import Arm
from saddlepoint.comparison.arms.record import Record
from saddlepoint.config.training_keys import NON_TRAINING_KEYS, is_same
from saddlepoint.error import Mistake, did_you_mean

NOT_SET = "none"  # stands for the value of a key that a config does not have


def varying_keys(records: Sequence[Record]) -> list[str]:
    """Return the keys that distinguish these runs.

    First the groups whose options differ, then the config keys that differ among runs with equal options. A group that
    follows from a bundle of `train -m` is part of that bundle and not a separate key. Imports, whose training is
    unknown, are distinguished by their names.
    """
    if any(record.is_imported for record in records):
        return [*varying_keys([record for record in records if not record.is_imported]), "imported"]
    groups = [
        key for key in _training_groups(records) if _any_differs([get_setting(record, key) for record in records])
    ]
    # a bundle is a name for several overrides and has no place in the config
    bundles = [key for key in groups if "@" not in key and all(key not in record.config.full for record in records)]
    groups = [key for key in groups if key in bundles or not _follows_from(records, key, bundles)]
    classes: dict[str, list[Record]] = {}
    for record in records:
        classes.setdefault(_name_of(record, groups), []).append(record)
    keys = dict.fromkeys(key for members in classes.values() for key in differing_keys(members))
    return groups + [key for key in keys if not any(other.startswith(f"{key}.") for other in keys)]


def _follows_from(records: Sequence[Record], key: str, bundles: Sequence[str]) -> bool:
    """Whether runs with equal settings of the bundles have equal values of `key`."""
    values: dict[str, Any] = {}
    return all(
        is_same(values.setdefault(_name_of(record, bundles), value := get_setting(record, key)), value)
        for record in records
    )


def unnamed_differences(records: Sequence[Record], by: Sequence[str]) -> list[str]:
    """Return the dotted keys in which the trainings differ and that neither `by` nor a group in it covers.

    Imports are left out: their training is unknown.
    """
    trained = [record for record in records if not record.is_imported]
    return [key for key in differing_keys(trained) if not any(_is_key_of_group(group, key) for group in by)]


def differing_keys(records: Sequence[Record]) -> list[str]:
    """Return the dotted keys in which the trainings of these runs differ, in the order of their configs."""
    configs = list({id(record.config): record.config.training_values for record in records}.values())
    keys = dict.fromkeys(key for config in configs for key in config)
    return [key for key in keys if _any_differs([config.get(key, NOT_SET) for config in configs])]


def group_runs(records: Sequence[Record], by: Sequence[str], over: Sequence[str] = ()) -> list[Arm]:
    """Return the arms, not scored yet: named after their settings of the keys `by` and in their order; runs by seed.

    `over`: keys in which runs of one arm may differ. Raises Mistake for an unknown key, for a single arm, and for runs
    of one arm that differ in another key or have the same seed.
    """
    for key in (*by, *over):
        check_key(records, key)
    groups: dict[str, list[Record]] = {}
    settings: dict[str, dict[str, Any]] = {}
    for record in records:
        values = {key: get_setting(record, key) for key in by}
        settings[(name := format_settings(values))] = values
        groups.setdefault(name, []).append(record)
    if len(groups) < 2:
        raise Mistake(_single_group_message(records, by))
    for name, members in groups.items():
        _check_equal_settings(name, members, by, over)
        _check_seeds(name, members, over)
    names = sorted(groups, key=lambda name: [_sort_key(value) for value in settings[name].values()])
    by_seed = {name: tuple(sorted(members, key=lambda record: record.seed)) for name, members in groups.items()}
    return [Arm(name, settings[name], (), by_seed[name]) for name in names]


def get_setting(record: Record, key: str) -> Any:
    """Return the value of a key in a run's config; NOT_SET if there is none."""
    if key == "seed":
        return record.seed
    for known in (record.config.choices, record.config.training_values):  # the training values write 1.0 as 1
        if key in known:
            return known[key]
    value: Any = record.config.full
    for part in key.split("."):
        if not isinstance(value, dict) or part not in value:
            return NOT_SET
        value = value[part]
    return value


def check_key(records: Sequence[Record], key: str) -> None:
    """Raise Mistake for a key that no config has, with the closest one, and for a key that holds other keys."""
    values = [get_setting(record, key) for record in records]
    if key == "seed":
        raise Mistake("by=seed: runs of one arm differ in their seed; name another key")
    if inner := next((value for value in values if isinstance(value, dict) and value), None):
        raise Mistake(f"by={key}: {key} holds {', '.join(map(str, inner))}; name one, {key}.{next(iter(inner))}")
    if all(isinstance(value, str) and value == NOT_SET for value in values) and key not in _training_groups(records):
        known = {
            **_training_groups(records),
            **{leaf: None for record in records for leaf in record.config.training_values},
        }
        hint = did_you_mean(key, known) or f" Config groups: {', '.join(_training_groups(records))}"
        raise Mistake(f"by={key}: no run has such a config group or key.{hint}")


def format_settings(settings: Mapping[str, Any]) -> str:
    """Return settings as on the command line: "objective=hinge regularizer=[r1,r2]"."""
    return " ".join(f"{key}={format_setting(value)}" for key, value in settings.items())


def format_setting(value: Any) -> str:
    """Return a value as on the command line."""
    if isinstance(value, list):
        return f"[{','.join(format_setting(part) for part in value)}]"
    if isinstance(value, bool) or value is None:
        return {True: "true", False: "false", None: "null"}[value]
    return str(value)


def _name_of(record: Record, keys: Sequence[str]) -> str:
    return format_settings({key: get_setting(record, key) for key in keys})


def _training_groups(records: Sequence[Record]) -> dict[str, None]:
    """Return the config groups in which some run has an option that affects its training."""
    choices = {id(record.config): record.config.choices for record in records}.values()
    groups = (str(group) for options in choices for group in options)
    return dict.fromkeys(group for group in groups if group.partition("@")[0] not in NON_TRAINING_KEYS)


def _is_key_of_group(group: str, key: str) -> bool:
    """Whether a dotted key is one that the option of a group sets."""
    package = group.partition("@")[2] or group
    return key == package or key.startswith(f"{package}.")


def _any_differs(values: Sequence[Any]) -> bool:
    return any(not is_same(values[0], value) for value in values[1:])


def _single_group_message(records: Sequence[Record], by: Sequence[str]) -> str:
    compared = ", ".join(by) or "any key"
    keys = varying_keys(records)
    hint = f"They differ in {', '.join(keys[:5])}: by={keys[0]}" if keys else "They differ only in their seeds"
    return f"one group: the {len(records)} runs do not differ in {compared}, so there is nothing to compare. {hint}"


def _check_equal_settings(name: str, members: Sequence[Record], by: Sequence[str], over: Sequence[str]) -> None:
    """Raise Mistake if runs of one arm differ in a key that `over` does not cover."""
    keys = [key for key in differing_keys(members) if not any(_is_key_of_group(group, key) for group in over)]
    if not keys:
        return
    key, first = keys[0], members[0]
    values = [record.config.training_values.get(key, NOT_SET) for record in members]
    i = next(i for i, value in enumerate(values) if not is_same(value, values[0]))
    more = f" (and in {len(keys) - 1} more keys)" if len(keys) > 1 else ""
    raise Mistake(
        f"{name} holds runs that differ in {key}: {format_setting(values[0])} in {first.folder}, "
        f"{format_setting(values[i])} in {members[i].folder}{more}.\n"
        f"Name it, by=[{','.join([*by, key])}], or leave one of them out of runs=..."
    )


def _check_seeds(name: str, members: Sequence[Record], over: Sequence[str]) -> None:
    """Raise Mistake if two runs of one arm have the same seed and settings."""
    first: dict[tuple[int, str], Record] = {}
    for record in members:
        other = first.setdefault((record.seed, _name_of(record, over)), record)
        if other is not record:
            raise Mistake(
                f"duplicate seeds: {other.folder} and {record.folder} are both seed {record.seed} of {name}; one run "
                "would count twice. Leave one of them out of runs=..."
            )


def _sort_key(value: Any) -> tuple[int, float, str]:
    """Numbers by size, then names."""
    is_number = isinstance(value, int | float)
    return (0, float(value), "") if is_number else (1, 0.0, format_setting(value))
