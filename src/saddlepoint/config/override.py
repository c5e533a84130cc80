"""Overrides of a command line: parsing, options that they choose, and keys that they set.

The grammar is Hydra's: key=value, +key=value, ~key, group=name, group=[a,b], group@place=name.
"""

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override, OverrideType
from hydra.errors import HydraException
from omegaconf import DictConfig, ListConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from saddlepoint.config import catalogue, synonym
from saddlepoint.config.path import ABSOLUTE_KEYS, RELATIVE_KEYS
from saddlepoint.config.tree import tree_entries
from saddlepoint.error import Mistake, close_matches, did_you_mean

ChosenNames = Mapping[str, Any]  # group -> name, or list of names for groups of several
GroupOverride = tuple[str, Override]  # "group" or "group@location", and its override
UNQUOTED = re.compile(r"""(?<=[=\[,])[^,\[\]{}"'\\=]+""")  # a value, or an element of a list, without quotes
PATH_LIST = "between"  # of sample: paths with commas between them are a list, not several runs
UnreadableOverride = HydraException  # raised if a text is not an override
_PARSER = OverridesParser.create()


def parse_overrides(texts: Sequence[str]) -> list[Override]:
    """Parse overrides. Raises Mistake for one that is invalid or has no meaning here."""
    overrides = []
    for text in map(catalogue.rename_override, map(str, texts)):
        try:
            override = parse_override(text)
        except HydraException as error:
            raise Mistake(f"cannot read {text!r}: {_syntax_advice(text, texts)}") from error
        if override.is_sweep_override():
            key, _, value = text.partition("=")
            raise Mistake(
                f"{text}: several values are several runs: use saddlepoint train -m. "
                f"A list is in brackets: '{key}=[{value}]'; a large number is written 300_000"
            )
        if not override.key_or_group:
            raise Mistake(f"cannot read {text!r}: an override is key=value")
        if override.key_or_group.replace("/", ".").split(".")[0] == "hydra":
            raise Mistake(f"{text}: Hydra's settings have no effect here; see saddlepoint train --help")
        overrides.append(override)
    return overrides


def parse_override(text: str) -> Override:
    """Parse one override; a path needs no quotes, even with ~, é or brackets. Raises HydraException."""
    key, equals, value = text.partition("=")
    if key == PATH_LIST and equals and not value.startswith("["):
        return _PARSER.parse_override(f"{key}=[{','.join(json.dumps(path) for path in value.split(','))}]")
    try:
        return _PARSER.parse_override(text)
    except HydraException:
        if text.partition("=")[0].lstrip("+") not in (*ABSOLUTE_KEYS, *RELATIVE_KEYS):
            raise
        return _PARSER.parse_override(UNQUOTED.sub(r'"\g<0>"', text))


def _syntax_advice(text: str, texts: Sequence[str]) -> str:
    key, equals, value = text.partition("=")
    if any(other.count("[") != other.count("]") for other in texts) or value[:1] == "(":
        return f"a list is in brackets, without spaces or in quotes: '{key if equals else 'regularizer'}=[a,b]'"
    if not equals:
        matches = close_matches(text, [*catalogue.command_keys("train"), *catalogue.default_options()])
        return "an override is key=value" + (f"; did you mean {matches[0]}=...?" if matches else "")
    if value.startswith("="):
        return f"one = is enough: {key}={value.lstrip('=')}"
    if not key.strip("+~") or " " in key:
        return "an override is key=value, without spaces around ="
    return f"""quote special characters: '{key}="{value.replace('"', "")}"'"""


def split_overrides(
    overrides: list[Override], user_conf: Path | None, command: str = "train"
) -> tuple[list[GroupOverride], list[Override]]:
    """Split overrides into those that choose options and those that set keys.

    Raises Mistake for an unknown group or option.
    """
    chosen: list[GroupOverride] = []
    settings: list[Override] = []
    known = catalogue.groups(user_conf) if command == "train" else list(catalogue.default_options(command))
    for override in overrides:
        group = override.key_or_group
        unknown = group not in known and "/" not in group
        if override.package is None and (unknown or group in catalogue.VALUE_GROUPS):
            settings.append(override)
        elif group not in known and not ("/" in group and catalogue.option_names(group, user_conf)):
            raise Mistake(f"no such group: {group}.{did_you_mean(group, known)}")
        elif isinstance(override.value(), dict):
            settings.append(override)
        else:
            for name in chosen_names(override):
                _check_option(group, name, user_conf)
            chosen.append((f"{group}@{override.package}" if override.package else group, override))
    return chosen, settings


def chosen_names(override: Override) -> list[str]:
    """Return the options that an override names; none for null, and for a deletion without a name."""
    value = override.value()
    if isinstance(value, list):
        return [str(name) for name in value]
    if value is None or value == "":
        return []
    return [value if isinstance(value, str) else str(override.input_line).partition("=")[2].strip()]


def _check_option(group: str, name: str, user_conf: Path | None) -> None:
    names = catalogue.option_names(group, user_conf)
    if not names:
        folders = " nor ".join(str(folder / group) for folder in catalogue.conf_folders(user_conf))
        raise Mistake(f"no such {group}: {name}. There is no yaml in {folders}")
    if name not in names:
        suggestion = synonym.suggest_for_name(group, name) or did_you_mean(name, names)
        hint = "" if user_conf or suggestion else " If it is yours, name its folder: --config-dir conf."
        raise Mistake(f"no such {group}: {name}.{suggestion}{hint} There are: {', '.join(names)}")


# ---------------------------------------------------------------------------------------- setting a key by its path


def apply_override(config: DictConfig, override: Override, choice: ChosenNames) -> None:
    """Set, add (+) or delete (~) a key. Raises Mistake if that is not possible."""
    key, value, line = override.key_or_group, override.value(), str(override.input_line)
    exists, old = _lookup(config, key)
    adds, replaces = override.type == OverrideType.ADD, not isinstance(value, dict)
    if adds and exists and old is not None and replaces and not isinstance(value, list):
        raise Mistake(f"{line}: {key} exists already; to change it, write {line.lstrip('+')}")
    if not exists and (override.type == OverrideType.CHANGE or override.is_delete()):
        raise Mistake(_unknown_key_message(key, line.partition("=")[2], config, choice, value))
    if replaces and value is None and isinstance(old, DictConfig) and "_target_" in old:
        _check_not_listed(key, line, choice)
    if override.is_delete():
        _delete_key(config, key, line)
        return
    if isinstance(old, DictConfig) and "_target_" not in old and replaces and value is not None and value != "":
        keys = [str(name) for name in old]
        if key == "resume":
            raise Mistake(f"{line}: a run resumes by itself: repeat its command, without {line}")
        raise Mistake(
            f"{line}: {key} has the keys {', '.join(keys) or '(none yet)'}; set {key}.{(keys or ['<key>'])[0]}=..."
        )
    if isinstance(old, ListConfig) and isinstance(value, int | float):
        raise Mistake(f"{line}: {key} is a list: {key}=[{','.join(map(str, _fill_list(list(old), value)))}]")
    # a new target replaces the node, because it accepts other keys
    old_target = old.get("_target_") if isinstance(old, DictConfig) else None
    has_new_target = (
        old_target is not None and isinstance(value, dict) and value.get("_target_", old_target) != old_target
    )
    try:
        OmegaConf.update(config, key, value, merge=not has_new_target, force_add=override.type != OverrideType.CHANGE)
    except OmegaConfBaseException as error:
        raise Mistake(f"{line}: {str(error).splitlines()[0]}") from error


def _fill_list(old: list[Any], value: Any) -> list[Any]:
    """Return a list of the old length with `value` for each element if all were equal, else for the first."""
    return [value] * max(1, len(old)) if len(set(map(str, old))) < 2 else [value, *old[1:]]


def _delete_key(config: DictConfig, key: str, line: str) -> None:
    parent, _, last = key.rpartition(".")
    first = key.partition(".")[0]
    if first in catalogue.command_keys("train") and first not in catalogue.groups():
        raise Mistake(f"{line}: {key} cannot be deleted; set it")
    del (OmegaConf.select(config, parent) if parent else config)[last]


def _check_not_listed(key: str, line: str, choice: ChosenNames) -> None:
    """Raise Mistake if a listed option would be deleted but stay in `choice`."""
    group, last = key.partition(".")[0], key.rpartition(".")[2]
    if isinstance(names := choice.get(group), list):
        name = last if last in names else "<name>"
        raise Mistake(
            f"{line}: to leave it out, remove it from the list: ~{group}={name}, of {group}=[{','.join(names)}]"
        )


def _lookup(config: DictConfig, key: str) -> tuple[bool, Any]:
    """Return whether a dotted key exists, and its value; "${}" for an interpolation, None for ???."""
    parent, _, last = key.rpartition(".")
    try:
        node = OmegaConf.select(config, parent) if parent else config
        if isinstance(node, ListConfig):
            return last.isdigit() and int(last) < len(node), None
        if not isinstance(node, DictConfig) or last not in list(node.keys()):  # `in node` does not see ???
            return False, None
        return True, "${}" if OmegaConf.is_interpolation(node, last) else OmegaConf.select(node, last)
    except OmegaConfBaseException:
        return False, None


def _unknown_key_message(key: str, text: str, config: DictConfig, choice: ChosenNames, value: Any = None) -> str:
    """Return the message about an unknown key."""
    group, *parts = key.split(".")
    last = key.rpartition(".")[2]
    trains = "batch" in config  # other commands have few keys
    if (
        trains
        and (not parts or synonym.is_training_length(last))
        and (foreign := synonym.suggest_for_key(last, text, config, choice))
    ):
        return foreign
    if (how_to_add := _how_to_add(key, text, config)) is not None:
        return how_to_add
    chosen = choice.get(group)
    if isinstance(chosen, list):
        for option in parts:
            if option in catalogue.option_names(group) and option not in chosen:
                return not_chosen_message(key, group, option)
    if isinstance(chosen, str) and parts:
        options = [
            name
            for name in catalogue.option_names(group)
            if re.search(
                rf"\b{re.escape(parts[-1])}:",
                catalogue.read_text_cached(catalogue.conf_folder() / group / f"{name}.yaml"),
            )
        ]
        if options and chosen not in options:
            return f"{group}={chosen} takes no {'.'.join(parts)}; {parts[-1]} belongs to {group}={' or '.join(options)}"
    if matches := _similar_keys(key, config, value):
        return f"no such key: {key}. Did you mean {' or '.join(matches)}?"
    if trains and parts and (foreign := synonym.suggest_for_key(last, text, config, choice)):
        return foreign
    return _no_similar_key_message(key, text, config)


def _similar_keys(key: str, config: DictConfig, value: Any) -> list[str]:
    """Return at most three keys that accept the value: with the same last name, or with a similar one."""
    group, *parts = key.split(".")
    last = key.rpartition(".")[2]
    keys = [
        path
        for path, node, name, _ in tree_entries(config)
        if isinstance(node, DictConfig) and not (str(name)[:1] == "_" and "_target_" in node)
    ]
    candidates = [other for other in keys if _same_type(_lookup(config, other)[1], value)]
    same_name = [other for other in candidates if other.rpartition(".")[2] == last]
    same_group = [other for other in same_name if other.startswith(f"{group}.")]
    similar_names = close_matches(last, (other.rpartition(".")[2] for other in candidates))
    similar_name = [other for other in candidates if other.rpartition(".")[2] in similar_names]
    node = _lookup(config, key.rpartition(".")[0])[1] if parts else None
    has_target = isinstance(node, DictConfig) and "_target_" in node  # its own message lists what it takes
    similar = [
        other
        for other in close_matches(key, similar_name or ([] if has_target else candidates))
        if not key.startswith(f"{other}.")
    ]
    similar_groups = () if parts else close_matches(key, catalogue.groups())
    return list(dict.fromkeys([*same_group, *similar, *same_name, *similar_groups]))[:3]


def _same_type(old: Any, value: Any) -> bool:
    """Whether a value may replace `old`: whether it has the same type, as far as that is known."""
    if old is None or value is None or (isinstance(old, str) and old == "${}"):
        return not isinstance(value, dict)
    if isinstance(old, DictConfig | ListConfig) or isinstance(value, dict | list):
        return isinstance(value, dict if isinstance(old, DictConfig) else list)
    return isinstance(old, bool) == isinstance(value, bool) and isinstance(old, str) == isinstance(value, str)


def _how_to_add(key: str, text: str, config: DictConfig) -> str | None:
    """Return how to add a key to an open mapping: an empty one, such as an architecture's conditions, or a side."""
    parent, _, last = key.rpartition(".")
    node = _lookup(config, parent)[1] if parent else None
    if not isinstance(node, DictConfig) or "_target_" in node:
        return None
    if not len(node):
        return f"no such key: {key}; to add it, write '{parent}={{{last}: {text}}}'"
    if parent.startswith("game.sides.") and last in ("of", "by", "condition", "judge"):
        return f"no such key: {key}; to add it, write '+{key}={text}'"
    return None


def _no_similar_key_message(key: str, text: str, config: DictConfig) -> str:
    """Return the message about a key without similar ones: how to add it, or what the target accepts."""
    from saddlepoint.config import allow_list
    from saddlepoint.config.instantiate import (  # imports torch, but only for an error
        import_target,
        settable_arguments,
        signature_parameters,
    )

    parent, _, last = key.rpartition(".")
    node = _lookup(config, parent)[1] if parent else None
    if isinstance(node, DictConfig) and "_target_" in node:
        known = signature_parameters(import_target(parent, node._target_, allow_list.allowed_names(config)))
        if known is None or last in known:
            return f"no such key: {key}; to add it, write +{key}={text}"
        return f"no such key: {key}. {node._target_} takes {', '.join(settable_arguments(known, node)) or 'nothing'}"
    return f"no such key: {key}. saddlepoint train --cfg job prints every key"


def not_chosen_message(key: str, group: str, name: str) -> str:
    """Return the message about a key of an option that is not chosen."""
    return f"{key} is set but {name} is not among the {group}s: add +{group}={name}"
