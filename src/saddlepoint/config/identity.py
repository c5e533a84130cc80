"""The identity of a config: a hash of the settings that affect training, without its name, devices and length.

The content of files that the training uses is included: `code` in a config has a hash of each module of user-defined
code, and `start_sha256` that of the file of the initial weights (`start`).
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
from saddlepoint.run.folder import Run

CODE_KEY = "code"  # key of the hashes in a config; absent without user-defined code
START_KEY = "start_sha256"  # key of the hash of the initial weights; absent without start


def compute_identity(config: DictConfig, with_code: bool = True, folder: str | None = None) -> str:
    """Return the sha256, hex, of the settings that affect training.

    Interpolations stay unresolved, so that a schedule that ends at ${images} is the same schedule for more images. The
    order of keys and the notation of numbers (1 or 1.0) do not matter.

    `with_code=False` leaves out user-defined code; `folder` replaces data.folder.
    """
    settings = _training_keys(config)
    if not with_code:
        settings.pop(CODE_KEY, None)
    if folder is not None:
        settings["data"]["folder"] = folder
    return hashlib.sha256(json.dumps(settings, sort_keys=True).encode()).hexdigest()


def describe_identity_differences(old: DictConfig, new: DictConfig, allowed: Collection[str] = ()) -> list[str]:
    """Return the differences of two configs that affect training, "key: old -> new", except at or below `allowed`."""
    differences = nested_difference(_training_keys(old), _training_keys(new), allowed)
    return [f"{key}: {before} -> {after}" for key, (before, after) in differences.items()]


def _training_keys(config: DictConfig) -> dict[str, Any]:
    content = OmegaConf.to_container(config, resolve=False)
    assert isinstance(content, dict)
    return training_keys(content)


def user_modules(config: DictConfig, with_observers: bool = False) -> dict[str, Path]:
    """Return name -> file of the user-defined modules of the training; `with_observers`: also of callbacks etc."""
    content: Any = OmegaConf.to_container(config, resolve=False)
    if not with_observers:
        content = {key: value for key, value in content.items() if key not in NON_TRAINING_KEYS}
    targets = _all_targets(config, content)
    return user_code.find_modules(sorted(name for name in targets if name.partition(".")[0] not in allow_list.ROOTS))


def set_code_hashes(config: DictConfig) -> None:
    """Store the current hashes of the user-defined modules that the training uses in the config."""
    hashes = user_code.module_hashes(user_modules(config))
    with open_dict(config):
        if hashes:
            config[CODE_KEY] = hashes
        else:
            config.pop(CODE_KEY, None)


def check_and_set_code_hashes(config: DictConfig) -> None:
    """Store the current hashes of user-defined code.

    Raises Mistake if it changed after the config was composed, unless `resume.allow` contains code.
    """
    changed = describe_code_changes(config)
    if changed and "code" not in allowed_changes(config):
        raise Mistake(f"{'; '.join(changed)} changed after this run was composed: repeat the command")
    set_code_hashes(config)


def set_start_hash(config: DictConfig) -> None:
    """Store the current hash of the initial weights in the config.

    There is none if `start` is null, missing (training reports that), or one path per seed, an interpolation.
    """
    with open_dict(config):
        config.pop(START_KEY, None)
        if config.get("start") is not None and (file := _initial_weights_file(config)) is not None:
            with file.open("rb") as content:
                config[START_KEY] = hashlib.file_digest(content, "sha256").hexdigest()


def check_and_set_start_hash(config: DictConfig) -> None:
    """Store the current hash of the initial weights.  Raises Mistake if they changed after the config was composed."""
    before = config.get(START_KEY)
    set_start_hash(config)
    if before is not None and config.get(START_KEY) != before:
        raise Mistake(f"start={config.start} changed after this run was composed: repeat the command")


def _initial_weights_file(config: DictConfig) -> Path | None:
    if OmegaConf.is_interpolation(config, "start"):
        return None
    start = config.start
    checkpoints = [Run(start).checkpoints / f"{name}.ckpt" for name in ("last", "previous")]
    return next((file for file in (Path(start), *checkpoints) if file.is_file()), None)


def stored_code_hashes(config: DictConfig) -> dict[str, str]:
    """Return module -> hash as stored in a config."""
    return {str(name): str(digest) for name, digest in (config.get(CODE_KEY) or {}).items()}


def describe_code_changes(config: DictConfig) -> list[str]:
    """Return the modules that changed since the config stored their hashes, one line each; [] without hashes."""
    recorded = stored_code_hashes(config)
    return user_code.describe_hash_changes(recorded, user_code.module_hashes(user_modules(config))) if recorded else []


def _all_targets(config: DictConfig, content: Any) -> set[str]:
    """Return every `_target_` in a plain config, interpolations resolved."""
    targets, waiting = set(), [("", content)]
    while waiting:
        path, node = waiting.pop()
        for name, child in node.items() if isinstance(node, dict) else enumerate(node):
            key = f"{path}.{name}" if path else str(name)
            if isinstance(child, dict | list):
                waiting.append((key, child))
            elif name == "_target_" and isinstance(child, str):
                targets.add(str(OmegaConf.select(config, key)) if "${" in child else child)
    return {name for name in targets if allow_list.DOTTED_NAME.fullmatch(name)}


# ------------------------------------------------------------------------------------------------- the name of a run


def find_run_name(config: DictConfig, typed: str | None = None) -> str:
    """Return `name` if it is set, else <data>-<architecture>-<objective>[-<regularizers>]-<8 hex of the identity>.

    The name of an experiment comes first. An existing run keeps its name: one of an earlier edition, whose identity had
    data.folder as `typed` or no user-defined code; or, if resume.allow has code, one with other code. Raises Mistake
    for a name that is not a valid folder name everywhere.
    """
    if config.name is not None:
        name = str(config.name)
        if not re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,199}", name):
            plain = re.sub(r"[^A-Za-z0-9._-]+", "-", name).lstrip("-.")[:200] or "run"
            raise Mistake(f"name={name}: a name has letters, digits, . _ and - only, no . or - in front: name={plain}")
        return name
    choice = config.choice
    labels = [choice.get("experiment"), choice.data, choice.architecture, choice.objective, *choice.regularizer]
    readable = re.sub(r"[^A-Za-z0-9._-]+", "-", "-".join(label for label in labels if label))[:150]
    names = [
        f"{readable}-{compute_identity(config)[:8]}",
        *(f"{readable}-{digest[:8]}" for digest in _earlier_identities(config, typed)),
    ]
    existing = [name for name in names if any(Path(config.outputs, name).glob("seed*/config.yaml"))]
    if not existing and "code" in allowed_changes(config) and (others := runs_with_other_code(config, names[0])):
        return others[0].parent.name
    return (existing or names)[0]


def _earlier_identities(config: DictConfig, typed: str | None) -> Iterator[str]:
    """Yield the identities that this training had in earlier editions."""
    folders = [None] if typed in (None, config.data.get("folder")) else [None, typed]
    for folder in folders:
        for with_code in [True, False] if stored_code_hashes(config) else [True]:
            if folder is not None or not with_code:
                yield compute_identity(config, with_code, folder)


def runs_with_other_code(config: DictConfig, name: str) -> list[Path]:
    """Return the folders of runs of this training and seed with other user-defined code, newest first.

    `name`: the name of this run.
    """
    if not stored_code_hashes(config) or not re.search(r"-[0-9a-f]{8}$", name):
        return []
    expected, runs = compute_identity(config, with_code=False), []
    for file in Path(config.outputs).glob(f"{name[:-8]}{'[0-9a-f]' * 8}/seed{config.seed}/config.yaml"):
        old = config_file.load_config(file)
        resolve_paths(old)
        if (
            stored_code_hashes(old) != stored_code_hashes(config)
            and stored_code_hashes(old)
            and compute_identity(old, with_code=False) == expected
        ):
            runs.append((file.stat().st_mtime, file.parent))
    return [folder for _, folder in sorted(runs, reverse=True)]


def allowed_changes(config: DictConfig) -> list[str]:
    """Return the keys that may change when a run resumes (`resume.allow`); a single text is one key."""
    keys = config.resume.allow
    return [keys] if isinstance(keys, str) else list(keys or ())
