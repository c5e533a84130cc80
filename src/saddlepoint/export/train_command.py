"""The `saddlepoint train` command that reproduces a config: the overrides of today's defaults."""

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

from omegaconf import DictConfig, OmegaConf

from saddlepoint.config import catalogue
from saddlepoint.config.compose import compose
from saddlepoint.config.identity import CODE_KEY, START_KEY, compute_identity
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
    """Return the arguments of `saddlepoint train`; None if they would not give the same training (user-defined parts).

    The result is verified: it composes to a config of the same identity.
    """
    try:
        overrides = [*_group_overrides(config)]
        try:
            defaults = compose(overrides)
        except Mistake:  # a component that was placed at a key may have required arguments
            overrides += _placed_overrides(config)
            defaults = compose(overrides)
        overrides += [*_key_overrides(config, defaults), f"images={config.images}", f"seed={config.seed}"]
        return overrides if compute_identity(compose(overrides)) == compute_identity(config) else None
    except Mistake:
        return None


def _group_overrides(config: DictConfig) -> Iterator[str]:
    """Yield the experiment, then each group whose choice differs from that of the experiment or the defaults."""
    choice = config.choice
    experiment = [f"experiment={name}" for name in [choice.get("experiment")] if name]
    yield from experiment
    defaults = compose(experiment).choice
    for key, name in choice.items():
        group, at, _ = str(key).partition("@")
        if group in NON_TRAINING_KEYS or group not in catalogue.groups():
            continue
        if not is_same(_format_argument(defaults.get(key)), _format_argument(name)):
            yield f"{'+' if at and key not in defaults else ''}{key}={_format_argument(name)}"


def _placed_overrides(config: DictConfig) -> Iterator[str]:
    """Yield all keys of components that were placed at a key, such as schedule@optimizer.generator.lr."""
    placed = [str(key).partition("@")[2] for key in config.choice if "@" in str(key)]
    for key, value in _flat_training_keys(config).items():
        if any(key.startswith(f"{prefix}.") for prefix in placed) and not key.endswith("_target_"):
            yield f"{key}={_format_argument(value)}"


def _key_overrides(config: DictConfig, defaults: DictConfig) -> Iterator[str]:
    """Yield the keys whose values differ from those of `defaults`, a config of the same choices."""
    items, default_items = _flat_training_keys(config), _flat_training_keys(defaults)
    for key, (default, value) in nested_difference(default_items, items).items():
        if value is not NO_VALUE:
            is_new = default is NO_VALUE and not _is_section(key, default_items)
            yield f"{'+' if is_new else ''}{key}={_format_argument(value)}"
        elif not _is_section(key, items) and not any(key.startswith(f"{other}.") for other in items):
            yield f"~{key}"


def _is_section(key: str, items: Mapping[str, Any]) -> bool:
    """Whether other keys lie below `key`."""
    return any(other.startswith(f"{key}.") for other in items)


def _flat_training_keys(config: DictConfig) -> dict[str, Any]:
    """Return dotted key -> value of the settings that affect training, without the hashes of files."""
    plain: Any = OmegaConf.to_container(config, resolve=False)
    settings = {key: value for key, value in training_keys(plain).items() if key not in (CODE_KEY, START_KEY)}
    return dict(dotted_items(settings))


def _format_argument(value: Any) -> str:
    """Return a value as it is typed on the command line."""
    if OmegaConf.is_config(value):
        value = OmegaConf.to_container(value, resolve=False)
    if isinstance(value, list):
        return f"[{','.join(map(_format_argument, value))}]"
    if isinstance(value, dict):
        return "{" + ",".join(f"{key}:{_format_argument(item)}" for key, item in value.items()) + "}"
    return value if isinstance(value, str) and PLAIN.fullmatch(value) else json.dumps(value)
