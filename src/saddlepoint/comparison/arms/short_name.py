"""Arms and their settings by short names: "hinge" for "objective=hinge" where no other key has that word."""

from __future__ import annotations

import re
from dataclasses import replace

from saddlepoint.comparison.arms.comparison import Comparison
from saddlepoint.comparison.arms.grouping import told

SAYS_NOTHING = {"none", "null", "true", "false", "on", "off", "yes", "no"}  # values that need their key beside them
WORD = re.compile(r"[A-Za-z][\w-]*|\[[A-Za-z][\w,-]*\]")


def shortened(comparison: Comparison) -> Comparison:
    """The comparison with its arms under short names."""
    names = short_names(comparison)
    return replace(comparison, arms=tuple(replace(arm, name=names[arm.name]) for arm in comparison.arms))


def short_names(comparison: Comparison) -> dict[str, str]:
    """By an arm's name, what makes it differ without the keys that need not be said: "hinge penalty=none".

    The names themselves where two arms would be called alike.
    """
    parts = short_settings(comparison)
    names = {
        arm.name: " ".join(parts[f"{key}={told(arm.settings[key])}"] for key in comparison.by)
        for arm in comparison.arms
    }
    return names if len(set(names.values())) == len(names) else {name: name for name in names}


def short_settings(comparison: Comparison) -> dict[str, str]:
    """By a setting as one types it, "objective=hinge", what says it as well: "hinge".

    A key is left out where its value is a word that no other key has; of a dotted key the last part is enough.
    """
    by = comparison.by
    values = {key: dict.fromkeys(told(arm.settings[key]) for arm in comparison.arms) for key in by}
    last = {key: re.split(r"[.@]", key)[-1] for key in by}
    keys = {key: part if list(last.values()).count(part) == 1 else key for key, part in last.items()}

    def part(key: str, value: str) -> str:
        alone = not any(value in own for other, own in values.items() if other != key)
        says = WORD.fullmatch(value) and value.lower() not in SAYS_NOTHING
        return value if alone and says else f"{keys[key]}={value}"

    return {f"{key}={value}": part(key, value) for key, own in values.items() for value in own}
