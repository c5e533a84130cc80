"""What the words of a command line say: which pieces they choose and which keys they set.

The grammar is Hydra's: key=value, +key=value, ~key, group=name, group=[a,b], group@place=name.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.errors import HydraException

from saddlepoint.config import catalogue, spelling
from saddlepoint.config.path import ABSOLUTE, TYPED
from saddlepoint.error import Mistake, close, did_you_mean

Chosen = tuple[str, Override]  # "group" or "group@place", and what is said of it
BARE = re.compile(r"""(?<=[=\[,])[^,\[\]{}"'\\=]+""")  # a value, or a part of a list, without quotes
_PARSER = OverridesParser.create()


def overrides_in(words: Sequence[str]) -> list[Override]:
    """Each word as an override.  Raises Mistake for what cannot be read or cannot be meant."""
    found = []
    for word in map(str, words):
        try:
            override = parsed(word)
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


def parsed(word: str) -> Override:
    """One word as an override; a path needs no quotes, whatever is in it: ~, é, brackets.  Raises HydraException."""
    try:
        return _PARSER.parse_override(word)
    except HydraException:
        if word.partition("=")[0].lstrip("+") not in (*ABSOLUTE, *TYPED):
            raise
        return _PARSER.parse_override(BARE.sub(r'"\g<0>"', word))


def _advice(word: str, words: Sequence[str]) -> str:
    key, equals, value = word.partition("=")
    if any(other.count("[") != other.count("]") for other in words) or value[:1] == "(":
        return f"a list stands in brackets, without blanks or all in quotes: '{key if equals else 'regularizer'}=[a,b]'"
    if not equals:
        meant = close(word, [*catalogue.keys("train"), *catalogue.defaults()])
        return "an override is key=value" + (f"; did you mean {meant[0]}=...?" if meant else "")
    if value.startswith("="):
        return f"one = is enough: {key}={value.lstrip('=')}"
    if not key.strip("+~") or " " in key:
        return "an override is key=value, without blanks around ="
    return f"""put what is special in quotes: '{key}="{value.replace('"', "")}"'"""


def divided(overrides: list[Override], own: Path | None, command: str = "train") -> tuple[list[Chosen], list[Override]]:
    """What chooses pieces, and what sets keys.  Raises Mistake for a group or a member that is not there."""
    chosen: list[Chosen] = []
    settings: list[Override] = []
    known = catalogue.groups(own) if command == "train" else list(catalogue.defaults(command))
    for override in overrides:
        group = override.key_or_group
        unknown = group not in known and "/" not in group
        if override.package is None and (unknown or group in catalogue.PLACED):
            settings.append(override)
        elif group not in known and not ("/" in group and catalogue.members(group, own)):
            raise Mistake(f"no such group: {group}.{did_you_mean(group, known)}")
        elif isinstance(override.value(), dict):
            settings.append(override)
        else:
            for name in names_in(override):
                _look_for(group, name, own)
            chosen.append((f"{group}@{override.package}" if override.package else group, override))
    return chosen, settings


def names_in(override: Override) -> list[str]:
    """The members that an override names; none for null, and for a deletion without a name."""
    value = override.value()
    if isinstance(value, list):
        return [str(name) for name in value]
    if value is None or value == "":
        return []
    return [value if isinstance(value, str) else str(override.input_line).partition("=")[2].strip()]


def _look_for(group: str, name: str, own: Path | None) -> None:
    there = catalogue.members(group, own)
    if not there:
        places = " nor ".join(str(folder / group) for folder in catalogue.folders(own))
        raise Mistake(f"no such {group}: {name}. There is no yaml in {places}")
    if name not in there:
        meant = spelling.of_name(group, name) or did_you_mean(name, there)
        raise Mistake(f"no such {group}: {name}.{meant} There are: {', '.join(there)}")
