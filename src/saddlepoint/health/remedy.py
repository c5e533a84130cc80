"""Command-line overrides of a remedy, adapted to the config of a run.

In the overrides of a remedy `<penalty>` stands for each regularizer of D, and `<key / 10>` for a tenth of the value in
the config.
"""

import re
import shlex
from collections.abc import Mapping
from typing import Any

Config = Mapping[str, Any]


def remedy_overrides(overrides: str, config: Config) -> str | None:
    """Return the overrides to type; None if they do not apply to this config or are set.  "" always applies."""
    filled = _fill_divisions(_repeat_per_penalty(overrides, config), config)
    if filled is None:
        return None
    assignments = [override.partition("=")[::2] for override in shlex.split(filled)]
    if any(not _can_override(key, config) or _removes_members(key, value, config) for key, value in assignments):
        return None
    return None if assignments and all(_is_set(key, value, config) for key, value in assignments) else filled


def _repeat_per_penalty(overrides: str, config: Config) -> str:
    """Repeat the overrides for each regularizer of D that has a weight, if they contain <penalty>."""
    if "<penalty>" not in overrides:
        return overrides
    regularizers = config_value(config, "regularizer.discriminator") or {}
    names = [name for name, node in regularizers.items() if isinstance(node, Mapping) and "weight" in node]
    return " ".join(overrides.replace("<penalty>", name) for name in names) or "<nothing / 1>"


def _fill_divisions(overrides: str, config: Config) -> str | None:
    """Replace each <key / number> by its value; None if the config has no number at the key."""
    for match in re.findall(r"<[\w.]+ / \d+>", overrides):
        key, _, divisor = match.strip("<>").partition(" / ")
        value = config_value(config, key)
        if isinstance(value, bool) or not isinstance(value, int | float):
            return None
        overrides = overrides.replace(match, f"{value / float(divisor):g}")
    return overrides


def _can_override(key: str, config: Config) -> bool:
    """Whether the key can be overridden: it adds something, selects from a group, or is set in the config.

    A key with a package, such as +layer@architecture.discriminator.norm, needs that package, with nothing selected.
    """
    name, at, package = key.partition("@")
    if at:
        selected = key.removeprefix("+") in (config.get("choice") or {})
        return not selected and config_value(config, package, _ABSENT) is not _ABSENT
    return name.startswith("+") or name in config or config_value(config, name, _ABSENT) is not _ABSENT


def _removes_members(key: str, value: str, config: Config) -> bool:
    """Whether an override removes members of a list.  Their settings, if overridden, would then be unused."""
    selected = (config.get("choice") or {}).get(key)
    return isinstance(selected, list) and not set(selected) <= set(_split_names(value))


def _is_set(key: str, value: str, config: Config) -> bool:
    choice = config.get("choice") or {}
    selected = choice.get(key.removeprefix("+"))
    if isinstance(selected, list):
        return set(_split_names(value)) <= set(selected)
    return str(selected if selected is not None else config_value(config, key)).replace(" ", "") == value


def _split_names(value: str) -> list[str]:
    return [name.strip() for name in value.strip("[]").split(",")]


_ABSENT = object()


def config_value(config: Config, key: str, default: Any = None) -> Any:
    """Return the value at a dotted key, or `default` if there is none."""
    node: Any = config
    for part in key.split("."):
        if not isinstance(node, Mapping) or part not in node:
            return default
        node = node[part]
    return node
