"""What a protocol stands for: keys of `evaluation` and a list of metrics, and nothing else.

Hydra merges it into a run that begins. A run that is there, measured again by a protocol, keeps the rest of its own
config, so there a protocol is the words that would have said the same.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf

from saddlepoint.config import catalogue
from saddlepoint.config.defaults_list import plain_yaml
from saddlepoint.error import Mistake, did_you_mean

_MEANT = "A protocol says evaluation.* and 'override /metric: [...]' alone."


def words(name: str, own: Path | None = None) -> list[str]:
    """metric=[...] and evaluation.<key>=..., those of a protocol that it stands on first.

    Raises Mistake where there is no such protocol, or it says more than how to measure.
    """
    found = _yaml(name, own)
    metrics: list[str] = []
    standing: list[str] = []
    for entry in found.pop("defaults", []):
        key, value = next(iter(entry.items())) if isinstance(entry, DictConfig) else (None, entry)
        if key == "override /metric":
            metrics = [f"metric=[{','.join(value)}]"]
        elif key is None and value != "_self_":
            standing += words(str(value).removeprefix("protocol/"), own)
        elif key is not None:
            raise Mistake(f"protocol={name}: defaults say {key}. {_MEANT}")
    whole: Any = OmegaConf.to_container(found)
    plain = whole.get("evaluation", {})
    for key in (key for key in found if key != "evaluation"):
        raise Mistake(f"protocol={name}: {key} is no part of one. {_MEANT}")
    # ++: a run of an earlier version may lack the key; a key that nothing reads is refused like any other
    known = catalogue.keys("train")
    marks = {key: "++" if f"evaluation.{key}" in known else "" for key in plain}
    return [*standing, *metrics, *(f"{marks[key]}evaluation.{key}={json.dumps(plain[key])}" for key in plain)]


def _yaml(name: str, own: Path | None) -> DictConfig:
    for folder in catalogue.folders(own):
        path = folder / "protocol" / f"{name}.yaml"
        if path.exists():
            found = plain_yaml(path)
            if isinstance(found, DictConfig):
                return found
            raise Mistake(f"{path}: a protocol is a file of key: value lines.")
    there = catalogue.members("protocol", own)
    raise Mistake(f"no such protocol: {name}.{did_you_mean(name, there)} There are: {', '.join(there)}")
