"""What to type for a remedy, in a run that is there: words of a rule made to fit its config.

In a remedy's words `<penalty>` stands for each regularizer of D, and `<key / 10>` for a tenth of what the config says.
"""

import re
import shlex
from collections.abc import Mapping
from typing import Any

Config = Mapping[str, Any]


def remedy_overrides(words: str, config: Config) -> str | None:
    """The words to type; None where they do not fit this config, or it is so already.  Words of "" fit always."""
    fitting = _divided(_each_penalty(words, config), config)
    if fitting is None:
        return None
    said = [word.partition("=")[::2] for word in shlex.split(fitting)]
    if any(not _exists(key, config) or _takes_off(key, value, config) for key, value in said):
        return None
    return None if said and all(_in_force(key, value, config) for key, value in said) else fitting


def _each_penalty(words: str, config: Config) -> str:
    """The words once per regularizer of D that has a weight; words that name none are theirs."""
    if "<penalty>" not in words:
        return words
    own = config_value(config, "regularizer.discriminator") or {}
    names = [name for name, node in own.items() if isinstance(node, Mapping) and "weight" in node]
    return " ".join(words.replace("<penalty>", name) for name in names) or "<nothing / 1>"


def _divided(words: str, config: Config) -> str | None:
    """The words with each <key / number> worked out; None where the config has no number there."""
    for match in re.findall(r"<[\w.]+ / \d+>", words):
        key, _, by = match.strip("<>").partition(" / ")
        value = config_value(config, key)
        if isinstance(value, bool) or not isinstance(value, int | float):
            return None
        words = words.replace(match, f"{value / float(by):g}")
    return words


def _exists(key: str, config: Config) -> bool:
    """Whether the key of one word can be said: it adds something, chooses from a group, or is there to be set.

    What is put in a place, +layer@architecture.discriminator.norm, needs that place, and nobody's choice there.
    """
    name, put, place = key.partition("@")
    if put:
        taken = key.removeprefix("+") in (config.get("choice") or {})
        return not taken and config_value(config, place, _ABSENT) is not _ABSENT
    return name.startswith("+") or name in config or config_value(config, name, _ABSENT) is not _ABSENT


def _takes_off(key: str, value: str, config: Config) -> bool:
    """Whether a word takes a piece off a list: who chose it may have said settings of it, which nothing reads then."""
    chosen = (config.get("choice") or {}).get(key)
    return isinstance(chosen, list) and not set(chosen) <= set(_names(value))


def _in_force(key: str, value: str, config: Config) -> bool:
    choice = config.get("choice") or {}
    chosen = choice.get(key.removeprefix("+"))
    if isinstance(chosen, list):
        return set(_names(value)) <= set(chosen)
    return str(chosen if chosen is not None else config_value(config, key)).replace(" ", "") == value


def _names(value: str) -> list[str]:
    return [name.strip() for name in value.strip("[]").split(",")]


_ABSENT = object()


def config_value(config: Config, key: str, default: Any = None) -> Any:
    """What stands at a dotted key; `default` where nothing does."""
    node: Any = config
    for part in key.split("."):
        if not isinstance(node, Mapping) or part not in node:
            return default
        node = node[part]
    return node
