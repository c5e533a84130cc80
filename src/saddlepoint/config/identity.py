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

from saddlepoint.config import allow_list, config_file, own_code
from saddlepoint.config.path import settle
from saddlepoint.config.training_keys import APART, difference, essence
from saddlepoint.error import Mistake

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
    named = _targets(config, whole if everything else {key: part for key, part in whole.items() if key not in APART})
    return own_code.modules(sorted(name for name in named if name.partition(".")[0] not in allow_list.ROOTS))


def put_code(config: DictConfig) -> None:
    """Put into a config the hashes of the modules of one's own that its training is built from, as they stand now."""
    found = own_code.digests(own_modules(config))
    with open_dict(config):
        if found:
            config[CODE] = found
        else:
            config.pop(CODE, None)


def record_code(config: DictConfig) -> None:
    """Put the code of one's own as it is now on record.  Raises Mistake where it was edited after it was composed."""
    changed = code_changes(config)
    if changed and "code" not in allowed(config):
        raise Mistake(f"{'; '.join(changed)} changed after this run was composed: give the command again")
    put_code(config)


def code_of(config: DictConfig) -> dict[str, str]:
    """Module -> hash, as a config has them."""
    return {str(name): str(digest) for name, digest in (config.get(CODE) or {}).items()}


def code_changes(config: DictConfig) -> list[str]:
    """Which modules are other ones now than a config has them, a line each; [] for a config that has none."""
    return own_code.changes(then, own_code.digests(own_modules(config))) if (then := code_of(config)) else []


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
    return {name for name in found if allow_list.NAME.fullmatch(name)}


# ------------------------------------------------------------------------------------------------- the name of a run


def name_of(config: DictConfig, typed: str | None = None) -> str:
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
    if not there and "code" in allowed(config) and (others := by_other_code(config, names[0])):
        return others[0].parent.name
    return (there or names)[0]


def _earlier(config: DictConfig, typed: str | None) -> Iterator[str]:
    """The identities that this training may have had before all of it was in its identity."""
    folders = [None] if typed in (None, config.data.get("folder")) else [None, typed]
    for folder in folders:
        for by_code in [True, False] if code_of(config) else [True]:
            if folder is not None or not by_code:
                yield identity(config, by_code, folder)


def by_other_code(config: DictConfig, name: str) -> list[Path]:
    """The folders of runs of this training and seed by other code of one's own, newest first; `name` is this run's."""
    if not code_of(config) or not re.search(r"-[0-9a-f]{8}$", name):
        return []
    asked, found = identity(config, by_code=False), []
    for file in Path(config.outputs).glob(f"{name[:-8]}{'[0-9a-f]' * 8}/seed{config.seed}/config.yaml"):
        old = config_file.read(file)
        settle(old)
        if code_of(old) != code_of(config) and code_of(old) and identity(old, by_code=False) == asked:
            found.append((file.stat().st_mtime, file.parent))
    return [folder for _, folder in sorted(found, reverse=True)]


def allowed(config: DictConfig) -> list[str]:
    """The keys that may differ where a run goes on; a word by itself is one."""
    said = config.resume.allow
    return [said] if isinstance(said, str) else list(said or ())
