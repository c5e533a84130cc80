"""What the words of a command line say: which pieces they choose, which keys they set, and the setting of these.

The grammar is Hydra's: key=value, +key=value, ~key, group=name, group=[a,b], group@place=name.
"""

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

ChosenNames = Mapping[str, Any]  # group -> name, or list of names where several may be chosen
GroupOverride = tuple[str, Override]  # "group" or "group@place", and what is said of it
BARE = re.compile(r"""(?<=[=\[,])[^,\[\]{}"'\\=]+""")  # a value, or a part of a list, without quotes
UnreadableOverride = HydraException  # what parsing raises for a word that is no override
_PARSER = OverridesParser.create()


def parse_overrides(words: Sequence[str]) -> list[Override]:
    """Each word as an override.  Raises Mistake for what cannot be read or cannot be meant."""
    found = []
    for word in map(str, words):
        try:
            override = parse_override(word)
        except HydraException as error:
            raise Mistake(f"cannot read {word!r}: {_advice(word, words)}") from error
        if override.is_sweep_override():
            key, _, value = word.partition("=")
            raise Mistake(
                f"{word}: several values are several runs, which saddlepoint train -m starts. "
                f"A list stands in brackets: '{key}=[{value}]'; a large number is written 300_000"
            )
        if not override.key_or_group:
            raise Mistake(f"cannot read {word!r}: an override is key=value")
        if override.key_or_group.replace("/", ".").split(".")[0] == "hydra":
            raise Mistake(f"{word}: Hydra's own settings have no effect here; see saddlepoint train --help")
        found.append(override)
    return found


def parse_override(word: str) -> Override:
    """One word as an override; a path needs no quotes, whatever is in it: ~, é, brackets.  Raises HydraException."""
    try:
        return _PARSER.parse_override(word)
    except HydraException:
        if word.partition("=")[0].lstrip("+") not in (*ABSOLUTE_KEYS, *RELATIVE_KEYS):
            raise
        return _PARSER.parse_override(BARE.sub(r'"\g<0>"', word))


def _advice(word: str, words: Sequence[str]) -> str:
    key, equals, value = word.partition("=")
    if any(other.count("[") != other.count("]") for other in words) or value[:1] == "(":
        return f"a list stands in brackets, without blanks or all in quotes: '{key if equals else 'regularizer'}=[a,b]'"
    if not equals:
        meant = close_matches(word, [*catalogue.command_keys("train"), *catalogue.default_options()])
        return "an override is key=value" + (f"; did you mean {meant[0]}=...?" if meant else "")
    if value.startswith("="):
        return f"one = is enough: {key}={value.lstrip('=')}"
    if not key.strip("+~") or " " in key:
        return "an override is key=value, without blanks around ="
    return f"""put what is special in quotes: '{key}="{value.replace('"', "")}"'"""


def split_overrides(
    overrides: list[Override], own: Path | None, command: str = "train"
) -> tuple[list[GroupOverride], list[Override]]:
    """What chooses pieces, and what sets keys.  Raises Mistake for a group or a member that is not there."""
    chosen: list[GroupOverride] = []
    settings: list[Override] = []
    known = catalogue.groups(own) if command == "train" else list(catalogue.default_options(command))
    for override in overrides:
        group = override.key_or_group
        unknown = group not in known and "/" not in group
        if override.package is None and (unknown or group in catalogue.VALUE_GROUPS):
            settings.append(override)
        elif group not in known and not ("/" in group and catalogue.option_names(group, own)):
            raise Mistake(f"no such group: {group}.{did_you_mean(group, known)}")
        elif isinstance(override.value(), dict):
            settings.append(override)
        else:
            for name in chosen_names(override):
                _look_for(group, name, own)
            chosen.append((f"{group}@{override.package}" if override.package else group, override))
    return chosen, settings


def chosen_names(override: Override) -> list[str]:
    """The members that an override names; none for null, and for a deletion without a name."""
    value = override.value()
    if isinstance(value, list):
        return [str(name) for name in value]
    if value is None or value == "":
        return []
    return [value if isinstance(value, str) else str(override.input_line).partition("=")[2].strip()]


def _look_for(group: str, name: str, own: Path | None) -> None:
    there = catalogue.option_names(group, own)
    if not there:
        places = " nor ".join(str(folder / group) for folder in catalogue.conf_folders(own))
        raise Mistake(f"no such {group}: {name}. There is no yaml in {places}")
    if name not in there:
        meant = synonym.suggest_for_name(group, name) or did_you_mean(name, there)
        raise Mistake(f"no such {group}: {name}.{meant} There are: {', '.join(there)}")


# ---------------------------------------------------------------------------------------- setting one key by its path


def apply_override(config: DictConfig, override: Override, choice: ChosenNames) -> None:
    """Set, add (+) or take out (~) what an override says.  Raises Mistake where that makes no sense."""
    key, value, line = override.key_or_group, override.value(), str(override.input_line)
    there, old = _at(config, key)
    adds, replaces = override.type == OverrideType.ADD, not isinstance(value, dict)
    if adds and there and old is not None and replaces and not isinstance(value, list):
        raise Mistake(f"{line}: {key} is there already; to change it, write {line.lstrip('+')}")
    if not there and (override.type == OverrideType.CHANGE or override.is_delete()):
        raise Mistake(_unknown(key, line.partition("=")[2], config, choice, value))
    if replaces and value is None and isinstance(old, DictConfig) and "_target_" in old:
        _keep_listed(key, line, choice)
    if override.is_delete():
        _delete(config, key, line)
        return
    if isinstance(old, DictConfig) and "_target_" not in old and replaces and value is not None and value != "":
        inner = [str(name) for name in old]
        if key == "resume":
            raise Mistake(f"{line}: a run goes on by itself: give its own command again, without {line}")
        raise Mistake(
            f"{line}: {key} holds {', '.join(inner) or 'nothing yet'}; set {key}.{(inner or ['<key>'])[0]}=..."
        )
    if isinstance(old, ListConfig) and isinstance(value, int | float):
        raise Mistake(f"{line}: {key} is a list: {key}=[{','.join(map(str, _listed(list(old), value)))}]")
    # another target takes other keys: those of the one before it would be refused under it
    was = old.get("_target_") if isinstance(old, DictConfig) else None
    another = was is not None and isinstance(value, dict) and value.get("_target_", was) != was
    try:
        OmegaConf.update(config, key, value, merge=not another, force_add=override.type != OverrideType.CHANGE)
    except OmegaConfBaseException as error:
        raise Mistake(f"{line}: {str(error).splitlines()[0]}") from error


def _listed(old: list[Any], value: Any) -> list[Any]:
    """A list of as many as stood there, for a value that was given alone: each where all were equal, else the first."""
    return [value] * max(1, len(old)) if len(set(map(str, old))) < 2 else [value, *old[1:]]


def _delete(config: DictConfig, key: str, line: str) -> None:
    parent, _, last = key.rpartition(".")
    first = key.partition(".")[0]
    if first in catalogue.command_keys("train") and first not in catalogue.groups():
        raise Mistake(f"{line}: {key} cannot be left out; set it")
    del (OmegaConf.select(config, parent) if parent else config)[last]


def _keep_listed(key: str, line: str, choice: ChosenNames) -> None:
    """Raise Mistake where a listed piece would vanish but stay on record as chosen."""
    group, last = key.partition(".")[0], key.rpartition(".")[2]
    if isinstance(names := choice.get(group), list):
        name = last if last in names else "<name>"
        raise Mistake(
            f"{line}: to leave a piece out, take it off the list: ~{group}={name}, of {group}=[{','.join(names)}]"
        )


def _at(config: DictConfig, key: str) -> tuple[bool, Any]:
    """Whether a dotted key is there, and what stands there; "${}" for an interpolation, None for ??? too."""
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


def _unknown(key: str, said: str, config: DictConfig, choice: ChosenNames, value: Any = None) -> str:
    """What to say of a key that is not there, and was given a value."""
    group, *parts = key.split(".")
    last = key.rpartition(".")[2]
    trains = "batch" in config  # of the other commands' own keys there are few
    if (
        trains
        and (not parts or synonym.is_training_length(last))
        and (theirs := synonym.suggest_for_key(last, said, config, choice))
    ):
        return theirs
    if (added := _added(key, said, config)) is not None:
        return added
    chosen = choice.get(group)
    if isinstance(chosen, list):
        for part in parts:
            if part in catalogue.option_names(group) and part not in chosen:
                return not_chosen_message(key, group, part)
    if isinstance(chosen, str) and parts:
        having = [
            name
            for name in catalogue.option_names(group)
            if re.search(
                rf"\b{re.escape(parts[-1])}:", catalogue.cached_text(catalogue.conf_folder() / group / f"{name}.yaml")
            )
        ]
        if having and chosen not in having:
            return f"{group}={chosen} takes no {'.'.join(parts)}; {parts[-1]} belongs to {group}={' or '.join(having)}"
    settable = [
        path
        for path, node, name, _ in tree_entries(config)
        if isinstance(node, DictConfig) and not (str(name)[:1] == "_" and "_target_" in node)
    ]
    there = [other for other in settable if _takes(_at(config, other)[1], value)]
    same = [other for other in there if other.rpartition(".")[2] == last]
    near = [other for other in same if other.startswith(f"{group}.")]
    lasts = close_matches(last, (other.rpartition(".")[2] for other in there))
    spelt = [other for other in there if other.rpartition(".")[2] in lasts]  # not all that lie in one place with it
    node = _at(config, key.rpartition(".")[0])[1] if parts else None
    piece = isinstance(node, DictConfig) and "_target_" in node  # which says itself what it takes
    alike = [
        other for other in close_matches(key, spelt or ([] if piece else there)) if not key.startswith(f"{other}.")
    ]
    meant = list(dict.fromkeys([*near, *alike, *same, *(() if parts else close_matches(key, catalogue.groups()))]))[:3]
    if meant:
        return f"no such key: {key}. Did you mean {' or '.join(meant)}?"
    if trains and parts and (theirs := synonym.suggest_for_key(last, said, config, choice)):
        return theirs
    return _not_there(key, said, config)


def _takes(old: Any, value: Any) -> bool:
    """Whether a value may be meant for the place where `old` stands: of its kind, as far as that can be told."""
    if old is None or value is None or (isinstance(old, str) and old == "${}"):
        return not isinstance(value, dict)
    if isinstance(old, DictConfig | ListConfig) or isinstance(value, dict | list):
        return isinstance(value, dict if isinstance(old, DictConfig) else list)
    return isinstance(old, bool) == isinstance(value, bool) and isinstance(old, str) == isinstance(value, str)


def _added(key: str, said: str, config: DictConfig) -> str | None:
    """How to add a key to a mapping that is open: an empty one, as that of an architecture's conditions, or a side."""
    place, _, last = key.rpartition(".")
    node = _at(config, place)[1] if place else None
    if not isinstance(node, DictConfig) or "_target_" in node:
        return None
    if not len(node):
        return f"no such key: {key}; to add it, write '{place}={{{last}: {said}}}'"
    if place.startswith("game.sides.") and last in ("of", "by", "condition", "judge"):
        return f"no such key: {key}; to add it, write '+{key}={said}'"
    return None


def _not_there(key: str, said: str, config: DictConfig) -> str:
    """What to say of a key that is like no other: how to add it where its target takes it, else what that takes."""
    from saddlepoint.config import allow_list
    from saddlepoint.config.instantiate import (  # torch, for what is refused anyway
        locate,
        settable_arguments,
        signature_parameters,
    )

    place, _, last = key.rpartition(".")
    node = _at(config, place)[1] if place else None
    if isinstance(node, DictConfig) and "_target_" in node:
        known = signature_parameters(locate(place, node._target_, allow_list.allowed_names(config)))
        if known is None or last in known:
            return f"no such key: {key}; to add it, write +{key}={said}"
        return f"no such key: {key}. {node._target_} takes {', '.join(settable_arguments(known, node)) or 'nothing'}"
    return f"no such key: {key}. saddlepoint train --cfg job prints every key"


def not_chosen_message(key: str, group: str, name: str) -> str:
    """What to say of a setting of a piece that is not chosen."""
    return f"{key} is set but {name} is not among the {group}s: add +{group}={name}"
