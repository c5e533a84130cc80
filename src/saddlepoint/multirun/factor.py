"""Factors: what varies over the runs of one command, and the overrides of each level (docs/many.md)."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from saddlepoint.config import allow_list
from saddlepoint.config.override import UnreadableOverride, parse_override
from saddlepoint.error import Mistake, did_you_mean

UNQUOTED = re.compile(r"[\w@/.+%-]+")  # text that needs no quotes on the command line


@dataclass(frozen=True)
class Level:
    """One value of a factor, and its overrides."""

    name: str
    overrides: tuple[str, ...]

    def __repr__(self) -> str:  # the names of W&B groups are hashes of this text
        return f"Level(name={self.name!r}, words={self.overrides!r})"


@dataclass(frozen=True)
class Factor:
    """A name and its levels."""

    name: str  # "objective", "optimizer.generator.lr"; or a name that an experiment defines: "smoothing"
    levels: tuple[Level, ...]
    has_bundles: bool = False  # its levels are named lists of overrides; a run records the level under its name


def split_factors(overrides: Sequence[str]) -> tuple[list[str], list[Factor]]:
    """Split overrides into those with one value, and a factor for each with several.

    Raises Mistake if two factors have the same name, or if the values cannot be listed.
    """
    fixed: list[str] = []
    factors: dict[str, Factor] = {}
    for text in map(str, overrides):
        try:
            override = parse_override(text)
        except UnreadableOverride:
            fixed.append(text)  # `compose` raises the error
            continue
        if not override.is_sweep_override():
            fixed.append(text)
            continue
        key = text.partition("=")[0]
        if (name := key.lstrip("+~")) in factors:
            raise Mistake(f"{text}: {name} varies twice; give its values once, {key}=a,b,c")
        try:
            values = list(dict.fromkeys(str(value) for value in override.sweep_string_iterator()))
        except UnreadableOverride:  # an interval or a glob has no list of values
            raise Mistake(f"{text}: list the values, {key}=a,b,c or {key}=range(0,10)") from None
        factors[name] = Factor(name, tuple(Level(value, (f"{key}={value}",)) for value in values))
    return fixed, list(factors.values())


def merge_factors(
    fixed: Sequence[str], factors: dict[str, Factor], overriding: Sequence[Factor]
) -> tuple[list[str], dict[str, Factor]]:
    """Merge an experiment's factors with those of the command line, which take precedence.

    fixed       the overrides of the command line with one value: such a key is no longer a factor
    overriding  the factors of the command line
    Of a factor with bundles, the command line selects levels by name.  Returns the remaining overrides and the
    factors.  Raises Mistake for an unknown level.
    """
    remaining, factors = [], dict(factors)
    for factor in overriding:
        defined = factors.get(factor.name)
        if defined is not None and defined.has_bundles:
            factor = _select_levels(defined, [level.name for level in factor.levels])
        factors[factor.name] = factor
    for override in fixed:
        name, equals, value = override.partition("=")
        factor = factors.get(name)
        if factor is None or not equals:
            remaining.append(override)
        elif factor.has_bundles:
            factors[name] = _select_levels(factor, [value])
        else:
            del factors[name]
            remaining.append(override)
    return remaining, factors


def _select_levels(factor: Factor, names: Sequence[str]) -> Factor:
    """Return the factor with only these levels.  Raises Mistake for an unknown name."""
    levels = {level.name: level for level in factor.levels}
    for name in names:
        if name not in levels:
            raise Mistake(f"{factor.name}={name} must be one of {', '.join(levels)}.{did_you_mean(name, levels)}")
    return Factor(factor.name, tuple(levels[name] for name in names), has_bundles=True)


def parse_many(many: Mapping[Any, Any]) -> list[Factor]:
    """Return the factors of a config's `many`: key: [values], or name: {level: [overrides]}.  Raises Mistake."""
    factors = []
    for name, levels in many.items():
        if isinstance(levels, Mapping) and all(isinstance(overrides, list) for overrides in levels.values()):
            bundles = tuple(
                Level(level_name(level), tuple(allow_list.check_file_overrides(overrides, f"many.{name}")))
                for level, overrides in levels.items()
            )
            factors.append(Factor(str(name), bundles, has_bundles=True))
        elif isinstance(levels, list) and levels:
            values = [format_level(value) for value in levels]
            allow_list.check_file_overrides([name], "many")
            factors.append(Factor(str(name), tuple(Level(value, (f"{name}={value}",)) for value in values)))
        else:
            raise Mistake(f"many.{name} must be a list of values, or name: {{level: [overrides]}}")
    return factors


def level_name(level: Any) -> str:
    """Return the name of a level.  yaml reads on and off as booleans; they are converted back."""
    return {True: "on", False: "off"}[level] if isinstance(level, bool) else str(level)


def format_level(value: Any) -> str:
    """Return a value as it is typed on the command line, where it parses to the same value and type."""
    if isinstance(value, Mapping):
        return f"{{{','.join(f'{key}:{format_level(item)}' for key, item in value.items())}}}"
    if isinstance(value, list):
        return f"[{','.join(map(format_level, value))}]"
    if isinstance(value, bool) or value is None:
        return {True: "true", False: "false", None: "null"}[value]
    if isinstance(value, str) and value[:1] not in tuple("[{") and not UNQUOTED.fullmatch(value):
        return "'" + value.replace("'", r"\'") + "'"
    return str(value)


def describe_factors(factors: Sequence[Factor]) -> str:
    """Return the numbers of levels as text: "2 of objective x 3 of seed"."""
    return " x ".join(f"{len(factor.levels)} of {factor.name}" for factor in factors)
