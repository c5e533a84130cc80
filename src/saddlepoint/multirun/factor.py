"""What varies over the runs of one command: factors, and the words that say each of their levels (docs/many.md)."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from saddlepoint.config import allow_list
from saddlepoint.config.override import UnreadableOverride, parse_override
from saddlepoint.error import Mistake, did_you_mean

PLAIN = re.compile(r"[\w@/.+%-]+")  # a word that needs no quotes


@dataclass(frozen=True)
class Level:
    """One value of a factor, and the words that say it."""

    name: str
    overrides: tuple[str, ...]


@dataclass(frozen=True)
class Factor:
    """What varies, and over which levels."""

    name: str  # "objective", "optimizer.generator.lr"; of an experiment's own also a name: "smoothing"
    levels: tuple[Level, ...]
    has_bundles: bool = False  # its levels are bundles of words, and are put on record under its name


def split_factors(words: Sequence[str]) -> tuple[list[str], list[Factor]]:
    """The words that say one value, and the factors of those that say several.  Raises Mistake for two of one name."""
    fixed: list[str] = []
    factors: dict[str, Factor] = {}
    for word in map(str, words):
        try:
            override = parse_override(word)
        except UnreadableOverride:
            fixed.append(word)  # compose says what is wrong with it
            continue
        if not override.is_sweep_override():
            fixed.append(word)
            continue
        key = word.partition("=")[0]
        if (name := key.lstrip("+~")) in factors:
            raise Mistake(f"{word}: {name} varies twice; give its values once, {key}=a,b,c")
        try:
            values = list(dict.fromkeys(str(value) for value in override.sweep_string_iterator()))
        except UnreadableOverride:  # of an interval or a glob nobody knows the values
            raise Mistake(f"{word}: give the values themselves, {key}=a,b,c or {key}=range(0,10)") from None
        factors[name] = Factor(name, tuple(Level(value, (f"{key}={value}",)) for value in values))
    return fixed, list(factors.values())


def merge_factors(
    fixed: Sequence[str], factors: dict[str, Factor], said: Sequence[Factor]
) -> tuple[list[str], dict[str, Factor]]:
    """What an experiment varies, after the command line has had the last word; and the words that are left to say.

    A key that it sets is not varied; of a factor with named levels it takes those that it names. Raises Mistake.
    """
    left, factors = [], dict(factors)
    for factor in said:
        one = factors.get(factor.name)
        names = [level.name for level in factor.levels]
        factors[factor.name] = _chosen(one, names) if one is not None and one.has_bundles else factor
    for word in fixed:
        name, equals, value = word.partition("=")
        one = factors.get(name)
        if one is None or not equals:
            left.append(word)
        elif one.has_bundles:
            factors[name] = _chosen(one, [value])
        else:
            del factors[name]
            left.append(word)
    return left, factors


def _chosen(factor: Factor, names: Sequence[str]) -> Factor:
    """The factor with the levels of these names.  Raises Mistake for one that it does not have."""
    levels = {level.name: level for level in factor.levels}
    for name in names:
        if name not in levels:
            raise Mistake(f"{factor.name}={name}: it can be {', '.join(levels)}.{did_you_mean(name, levels)}")
    return Factor(factor.name, tuple(levels[name] for name in names), has_bundles=True)


def parse_many(many: Mapping[Any, Any]) -> list[Factor]:
    """The factors of a config's `many`: key: [values], or name: {level: [words]}.  Raises Mistake."""
    found = []
    for name, levels in many.items():
        if isinstance(levels, Mapping) and all(isinstance(words, list) for words in levels.values()):
            said = (
                (level_name(level), allow_list.overrides_from_file(words, f"many.{name}"))
                for level, words in levels.items()
            )
            bundles = tuple(Level(level, tuple(words)) for level, words in said)
            found.append(Factor(str(name), bundles, has_bundles=True))
        elif isinstance(levels, list) and levels:
            values = [format_level(value) for value in levels]
            allow_list.overrides_from_file([name], "many")
            found.append(Factor(str(name), tuple(Level(value, (f"{name}={value}",)) for value in values)))
        else:
            raise Mistake(f"many.{name}: it is a list of values, or name: {{level: [words]}}")
    return found


def level_name(level: Any) -> str:
    """The name of a level; on and off, which yaml takes for true and false, as they were written."""
    return {True: "on", False: "off"}[level] if isinstance(level, bool) else str(level)


def format_level(value: Any) -> str:
    """A value as one types it on the command line: read there, it is the same value, of the same type."""
    if isinstance(value, Mapping):
        return f"{{{','.join(f'{key}:{format_level(part)}' for key, part in value.items())}}}"
    if isinstance(value, list):
        return f"[{','.join(map(format_level, value))}]"
    if isinstance(value, bool) or value is None:
        return {True: "true", False: "false", None: "null"}[value]
    if isinstance(value, str) and value[:1] not in tuple("[{") and not PLAIN.fullmatch(value):
        return "'" + value.replace("'", r"\'") + "'"
    return str(value)


def describe_factors(factors: Sequence[Factor]) -> str:
    """ "2 of objective x 3 of seed"."""
    return " x ".join(f"{len(factor.levels)} of {factor.name}" for factor in factors)
