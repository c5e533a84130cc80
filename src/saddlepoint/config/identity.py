"""Which experiment a config is: what decides the training, whatever it is called, wherever it runs, however long.

Code of the researcher's own that a training is built from decides it too: `code` in a config has a hash of each module.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf, open_dict

from saddlepoint.config import allow_list, own_code
from saddlepoint.config.difference import difference
from saddlepoint.config.training_keys import essence

CODE = "code"  # the key of a config that has the hashes; absent where nothing is built from code of one's own


def identity(config: DictConfig, by_code: bool = True, folder: str | None = None) -> str:
    """sha256, hex, of what decides the training.

    Interpolations stay symbolic, so that a schedule that ends at ${images} is the same schedule for more images. The
    order of keys and the spelling of numbers (1 or 1.0) do not count.

    `by_code` False leaves open by which code of one's own; `folder` stands in the place of data.folder.
    """
    whole = _essence(config)
    if not by_code:
        whole.pop(CODE, None)
    if folder is not None:
        whole["data"]["folder"] = folder
    return hashlib.sha256(json.dumps(whole, sort_keys=True).encode()).hexdigest()


def differences(old: DictConfig, new: DictConfig, allowed: Collection[str] = ()) -> list[str]:
    """What makes the identities of two configs differ, one `key: old -> new` each; not keys at or below `allowed`."""
    found = difference(_essence(old), _essence(new), allowed)
    return [f"{key}: {one} -> {other}" for key, (one, other) in found.items()]


def _essence(config: DictConfig) -> dict[str, Any]:
    whole = OmegaConf.to_container(config, resolve=False)
    assert isinstance(whole, dict)
    return essence(whole)


def own_modules(config: DictConfig, everything: bool = False) -> dict[str, Path]:
    """Name -> file of the modules of one's own that the training is built from; `everything`: also what watches it."""
    whole: Any = OmegaConf.to_container(config, resolve=False)
    targets = set(_targets(config, whole if everything else essence(whole)))
    return own_code.modules(name for name in sorted(targets) if name.partition(".")[0] not in allow_list.ROOTS)


def put_code(config: DictConfig) -> None:
    """Put into a config the hashes of the modules of one's own that its training is built from, as they stand now."""
    found = own_code.digests(own_modules(config))
    with open_dict(config):
        if found:
            config[CODE] = found
        else:
            config.pop(CODE, None)


def code_of(config: DictConfig) -> dict[str, str]:
    """Module -> hash, as a config has them."""
    return {str(name): str(digest) for name, digest in (config.get(CODE) or {}).items()}


def code_changes(config: DictConfig) -> list[str]:
    """Which modules are other ones now than a config has them, a line each; [] for a config that has none."""
    return own_code.changes(then, own_code.digests(own_modules(config))) if (then := code_of(config)) else []


def _targets(config: DictConfig, node: Any, path: str = "") -> Iterator[str]:
    """Each `_target_` in a plain config, those that are interpolations as they are resolved."""
    for name, part in node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, list) else ():
        here = f"{path}.{name}" if path else str(name)
        if name == "_target_" and isinstance(part, str):
            found = OmegaConf.select(config, here) if "${" in part else part
            if allow_list.NAME.fullmatch(str(found)):
                yield str(found)
        else:
            yield from _targets(config, part, here)
