"""What to type to train a run again: the choices and keys in which its config differs from today's defaults."""

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

from omegaconf import DictConfig, OmegaConf

from saddlepoint.config import catalogue
from saddlepoint.config.compose import compose
from saddlepoint.config.identity import CODE_KEY, identity
from saddlepoint.config.training_keys import (
    NO_VALUE,
    NON_TRAINING_KEYS,
    dotted_items,
    is_same,
    nested_difference,
    training_keys,
)
from saddlepoint.error import Mistake

PLAIN = re.compile(r"[\w.+/~-]+|\$\{[\w.:]+\}")


def to_command_line(config: DictConfig) -> list[str] | None:
    """The words behind `saddlepoint train`; None where they would not make the same training (pieces of one's own)."""
    try:
        words = [*_choices(config)]
        try:
            usual = compose(words)
        except Mistake:  # a piece that is put somewhere may leave numbers to say
            words += _of_places(config)
            usual = compose(words)
        words += [*_settings(config, usual), f"images={config.images}", f"seed={config.seed}"]
        return words if identity(compose(words)) == identity(config) else None
    except Mistake:
        return None


def _choices(config: DictConfig) -> Iterator[str]:
    """The groups whose members are other than by default, or than an experiment says."""
    choice = config.choice
    words = [f"experiment={name}" for name in [choice.get("experiment")] if name]
    yield from words
    usual = compose(words).choice
    for key, name in choice.items():
        place = str(key).partition("@")
        if (
            place[0] in NON_TRAINING_KEYS
            or place[0] not in catalogue.groups()
            or is_same(told(usual.get(key)), told(name))
        ):
            continue
        yield f"{'+' if place[1] and key not in usual else ''}{key}={told(name)}"


def _of_places(config: DictConfig) -> Iterator[str]:
    """All keys of pieces that were put into a place, schedule@optimizer.generator.lr."""
    places = [str(key).partition("@")[2] for key in config.choice if "@" in str(key)]
    for key, value in _leaves(config).items():
        if any(key.startswith(f"{place}.") for place in places) and not key.endswith("_target_"):
            yield f"{key}={told(value)}"


def _settings(config: DictConfig, usual: DictConfig) -> Iterator[str]:
    """The keys that are other than in a config of the same choices."""
    ours, theirs = _leaves(config), _leaves(usual)
    for key, (there, own) in nested_difference(theirs, ours).items():
        if own is not NO_VALUE:
            yield f"{'+' if there is NO_VALUE and not _holds(key, theirs) else ''}{key}={told(own)}"
        elif not _holds(key, ours) and not any(key.startswith(f"{other}.") for other in ours):
            yield f"~{key}"


def _holds(key: str, there: Mapping[str, Any]) -> bool:
    """Whether a key is one of those that others lie in."""
    return any(other.startswith(f"{key}.") for other in there)


def _leaves(config: DictConfig) -> dict[str, Any]:
    whole: Any = OmegaConf.to_container(config, resolve=False)
    return dict(dotted_items({key: value for key, value in training_keys(whole).items() if key != CODE_KEY}))


def told(value: Any) -> str:
    """A value as a person types it."""
    if OmegaConf.is_config(value):
        value = OmegaConf.to_container(value, resolve=False)
    if isinstance(value, list):
        return f"[{','.join(map(told, value))}]"
    if isinstance(value, dict):
        return "{" + ",".join(f"{key}:{told(part)}" for key, part in value.items()) + "}"
    return value if isinstance(value, str) and PLAIN.fullmatch(value) else json.dumps(value)
