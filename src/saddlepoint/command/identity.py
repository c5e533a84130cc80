"""Which experiment a config is: what decides the training, whatever it is called, wherever it runs, however long."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection
from typing import Any

from omegaconf import DictConfig, OmegaConf

from saddlepoint.record.essence import essence, leaves, same


def identity(config: DictConfig) -> str:
    """sha256, hex, of what decides the training.

    Interpolations stay symbolic, so that a schedule that ends at ${images} is the same schedule for more images. The
    order of keys and the spelling of numbers (1 or 1.0) do not count.
    """
    return hashlib.sha256(json.dumps(_essence(config), sort_keys=True).encode()).hexdigest()


def differences(old: DictConfig, new: DictConfig, allowed: Collection[str] = ()) -> list[str]:
    """What makes the identities of two configs differ, one `key: old -> new` each; not keys at or below `allowed`."""
    ours, theirs = dict(leaves(_essence(old))), dict(leaves(_essence(new)))
    absent = "nothing"
    return [
        f"{key}: {ours.get(key, absent)} -> {theirs.get(key, absent)}"
        for key in {**ours, **theirs}
        if not same(ours.get(key, absent), theirs.get(key, absent))
        and not any(f"{key}.".startswith(f"{name}.") for name in allowed)
    ]


def _essence(config: DictConfig) -> dict[str, Any]:
    whole = OmegaConf.to_container(config, resolve=False)
    assert isinstance(whole, dict)
    return essence(whole)
