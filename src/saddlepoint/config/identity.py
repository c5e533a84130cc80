"""Which experiment a config is: what decides the training, whatever it is called, wherever it runs, however long.

Code of the researcher's own that a training is built from decides it too: `code` in a config has a hash of each module.
"""

import hashlib
import json
import re
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf, open_dict

from saddlepoint.config import allow_list, config_file, user_code
from saddlepoint.config.path import resolve_paths
from saddlepoint.config.training_keys import NON_TRAINING_KEYS, nested_difference, training_keys
from saddlepoint.error import Mistake

CODE_KEY = "code"  # the key of a config that has the hashes; absent where nothing is built from code of one's own


def identity(config: DictConfig, with_code: bool = True, folder: str | None = None) -> str:
    """sha256, hex, of what decides the training.

    Interpolations stay symbolic, so that a schedule that ends at ${images} is the same schedule for more images. The
    order of keys and the spelling of numbers (1 or 1.0) do not count.

    `by_code` False leaves open by which code of one's own; `folder` stands in the place of data.folder.
    """
    whole = _essence(config)
    if not with_code:
        whole.pop(CODE_KEY, None)
    if folder is not None:
        whole["data"]["folder"] = folder
    return hashlib.sha256(json.dumps(whole, sort_keys=True).encode()).hexdigest()


def identity_differences(old: DictConfig, new: DictConfig, allowed: Collection[str] = ()) -> list[str]:
    """What makes the identities of two configs differ, one `key: old -> new` each; not keys at or below `allowed`."""
    found = nested_difference(_essence(old), _essence(new), allowed)
    return [f"{key}: {one} -> {other}" for key, (one, other) in found.items()]


def _essence(config: DictConfig) -> dict[str, Any]:
    whole = OmegaConf.to_container(config, resolve=False)
    assert isinstance(whole, dict)
    return training_keys(whole)


def user_modules(config: DictConfig, with_observers: bool = False) -> dict[str, Path]:
    """Name -> file of the modules of one's own that the training is built from; `everything`: also what watches it."""
    whole: Any = OmegaConf.to_container(config, resolve=False)
    named = _targets(
        config, whole if with_observers else {key: part for key, part in whole.items() if key not in NON_TRAINING_KEYS}
    )
    return user_code.find_modules(sorted(name for name in named if name.partition(".")[0] not in allow_list.ROOTS))


def set_code_hashes(config: DictConfig) -> None:
    """Put into a config the hashes of the modules of one's own that its training is built from, as they stand now."""
    found = user_code.module_hashes(user_modules(config))
    with open_dict(config):
        if found:
            config[CODE_KEY] = found
        else:
            config.pop(CODE_KEY, None)


def refresh_code_hashes(config: DictConfig) -> None:
    """Put the code of one's own as it is now on record.  Raises Mistake where it was edited after it was composed."""
    changed = code_changes(config)
    if changed and "code" not in allowed_changes(config):
        raise Mistake(f"{'; '.join(changed)} changed after this run was composed: give the command again")
    set_code_hashes(config)


def code_hashes(config: DictConfig) -> dict[str, str]:
    """Module -> hash, as a config has them."""
    return {str(name): str(digest) for name, digest in (config.get(CODE_KEY) or {}).items()}


def code_changes(config: DictConfig) -> list[str]:
    """Which modules are other ones now than a config has them, a line each; [] for a config that has none."""
    return (
        user_code.hash_changes(then, user_code.module_hashes(user_modules(config)))
        if (then := code_hashes(config))
        else []
    )


def _targets(config: DictConfig, whole: Any) -> set[str]:
    """Every `_target_` in a plain config, those that are interpolations as they are resolved."""
    found, waiting = set(), [("", whole)]
    while waiting:
        path, node = waiting.pop()
        for name, part in node.items() if isinstance(node, dict) else enumerate(node):
            here = f"{path}.{name}" if path else str(name)
            if isinstance(part, dict | list):
                waiting.append((here, part))
            elif name == "_target_" and isinstance(part, str):
                found.add(str(OmegaConf.select(config, here)) if "${" in part else part)
    return {name for name in found if allow_list.DOTTED_NAME.fullmatch(name)}


# ------------------------------------------------------------------------------------------------- the name of a run


def run_name(config: DictConfig, typed: str | None = None) -> str:
    """The run's name: as given, or <data>-<architecture>-<objective>[-<regularizers>]-<8 hex of the identity>.

    An experiment's name stands in front.  A run keeps the name under which it was begun: by an edition whose identity
    had data.folder as it was `typed`, or none of one's own code; or, where resume.allow has code, by other code.
    Raises Mistake for a name that could not be a folder's everywhere.
    """
    if config.name is not None:
        name = str(config.name)
        if not re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,199}", name):
            plain = re.sub(r"[^A-Za-z0-9._-]+", "-", name).lstrip("-.")[:200] or "run"
            raise Mistake(f"name={name}: a name has letters, digits, . _ and - only, no . or - in front: name={plain}")
        return name
    choice = config.choice
    parts = [choice.get("experiment"), choice.data, choice.architecture, choice.objective, *choice.regularizer]
    readable = re.sub(r"[^A-Za-z0-9._-]+", "-", "-".join(part for part in parts if part))[:150]
    names = [f"{readable}-{identity(config)[:8]}", *(f"{readable}-{one[:8]}" for one in _earlier(config, typed))]
    there = [name for name in names if any(Path(config.outputs, name).glob("seed*/config.yaml"))]
    if not there and "code" in allowed_changes(config) and (others := runs_with_other_code(config, names[0])):
        return others[0].parent.name
    return (there or names)[0]


def _earlier(config: DictConfig, typed: str | None) -> Iterator[str]:
    """The identities that this training may have had before all of it was in its identity."""
    folders = [None] if typed in (None, config.data.get("folder")) else [None, typed]
    for folder in folders:
        for by_code in [True, False] if code_hashes(config) else [True]:
            if folder is not None or not by_code:
                yield identity(config, by_code, folder)


def runs_with_other_code(config: DictConfig, name: str) -> list[Path]:
    """The folders of runs of this training and seed by other code of one's own, newest first; `name` is this run's."""
    if not code_hashes(config) or not re.search(r"-[0-9a-f]{8}$", name):
        return []
    asked, found = identity(config, with_code=False), []
    for file in Path(config.outputs).glob(f"{name[:-8]}{'[0-9a-f]' * 8}/seed{config.seed}/config.yaml"):
        old = config_file.load_config(file)
        resolve_paths(old)
        if code_hashes(old) != code_hashes(config) and code_hashes(old) and identity(old, with_code=False) == asked:
            found.append((file.stat().st_mtime, file.parent))
    return [folder for _, folder in sorted(found, reverse=True)]


def allowed_changes(config: DictConfig) -> list[str]:
    """The keys that may differ where a run goes on; a word by itself is one."""
    said = config.resume.allow
    return [said] if isinstance(said, str) else list(said or ())
