"""Which experiment a config is: what decides the training, whatever it is called, wherever it runs, however long."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from typing import Any

from omegaconf import DictConfig, OmegaConf

# whose run it is, how long, where, with what watching: none of these changes the game that is played
APART = frozenset(
    ("name", "seed", "images", "outputs", "cache", "device", "devices", "threads", "trainer", "logger", "callback")
) | {"metric", "evaluation", "protocol", "launcher", "many", "shared", "overwrite", "resume", "choice", "experiment"}
DATA_APART = frozenset(("root", "memory", "workers", "extractor"))  # where and how the same data are read, and measured


def identity(config: DictConfig) -> str:
    """sha256, hex, of what decides the training.

    Interpolations stay symbolic, so that a schedule that ends at ${images} is the same schedule for more images. The
    order of keys and the spelling of numbers (1 or 1.0) do not count.
    """
    return hashlib.sha256(json.dumps(_essence(config), sort_keys=True).encode()).hexdigest()


def differences(old: DictConfig, new: DictConfig) -> list[str]:
    """What makes the identities of two configs differ, one `key: old -> new` each."""
    ours, theirs = dict(_leaves(_essence(old))), dict(_leaves(_essence(new)))
    absent = "nothing"
    return [
        f"{key}: {ours.get(key, absent)} -> {theirs.get(key, absent)}"
        for key in {**ours, **theirs}
        if repr(ours.get(key, absent)) != repr(theirs.get(key, absent))  # True is not 1
    ]


def _essence(config: DictConfig) -> dict[str, Any]:
    whole = OmegaConf.to_container(config, resolve=False)
    assert isinstance(whole, dict)
    kept = {str(key): _canonical(value) for key, value in whole.items() if key not in APART}
    if isinstance(data := kept.get("data"), dict):
        kept["data"] = {key: value for key, value in data.items() if key not in DATA_APART}
    return kept


def _canonical(value: Any) -> Any:
    """The value with string keys and with each whole float as an int."""
    if isinstance(value, dict):
        return {str(key): _canonical(part) for key, part in value.items()}
    if isinstance(value, list):
        return [_canonical(part) for part in value]
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _leaves(value: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """Dotted keys and what stands there; lists and empty mappings are leaves."""
    if isinstance(value, dict) and value:
        for key, part in value.items():
            yield from _leaves(part, f"{path}.{key}" if path else key)
    else:
        yield path, value
