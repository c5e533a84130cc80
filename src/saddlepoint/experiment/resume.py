"""Where a training starts; and whether a run folder is the run that a config asks for."""

import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf

from saddlepoint.config.identity import (
    allowed_changes,
    code_changes,
    code_hashes,
    identity,
    identity_differences,
    runs_with_other_code,
)
from saddlepoint.config.instantiate import instantiate
from saddlepoint.config.training_keys import NO_VALUE, nested_difference
from saddlepoint.config.tree import CheckedConfig
from saddlepoint.error import Mistake
from saddlepoint.experiment.run_config import load_run_config
from saddlepoint.run import data_content
from saddlepoint.run.folder import Run, read_json

ANOTHER_OPTIMIZER = re.compile(r"optimizer\.\w+\._target_:")


def decide_start(run: Run, config: CheckedConfig, log: Callable[[str], None]) -> str:
    """fresh, resume, overwrite or finished: what the folder holds, and whether this config may go on with it."""
    if not run.folder.exists() or all(path.name.startswith(".") for path in run.folder.iterdir()):
        for folder in runs_with_other_code(config, config.name)[:1]:
            changed = "; ".join(code_changes(load_run_config(Run(folder))))
            log(f"another run than {folder}, by other code: {changed}. resume.allow=[code] goes on with that one")
        return "fresh"  # a dot-file is what a crash left of a first write
    if not run.config.exists():
        raise Mistake(f"{run.folder} is not empty and is no run; give this run another name=... or outputs=...")
    if config.overwrite:
        return "overwrite"
    old = load_run_config(run)
    if identity(old) != config.identity:
        changed, may_differ = identity_differences(old, config), allowed_changes(config)
        if code_hashes(config) and not code_hashes(old):
            log(f"begun when no code of one's own was put on record; now it is: {', '.join(code_hashes(config))}")
            may_differ = [*may_differ, "code"]
        if (other := identity_differences(old, config, may_differ)) and all(line.startswith("code.") for line in other):
            raise Mistake(
                f"{run.folder} was trained by other code: {'; '.join(code_changes(old))}. That is another run: give it "
                "a name=... of its own, or go on by the code of now: resume.allow=[code]"
            )
        if other:
            raise Mistake(
                f"{run.folder} holds another run: {'; '.join(other[:3])}. Give this one a name=... of its own, "
                "overwrite=true to move the old one aside, or resume.allow=[...] with the keys that may change"
            )
        if another := next((line for line in changed if ANOTHER_OPTIMIZER.match(line)), None):
            raise Mistake(
                f"{run.folder}: {another}. What one optimizer remembers is nothing to another, so no resume.allow lets "
                "it change: give this run a name=... of its own"
            )
        log(f"going on with another game than before, as resume.allow says: {'; '.join(changed)}")
    if config.images < old.images and run.summary.get("status") == "finished":
        raise Mistake(f"{run.folder} is finished at images={old.images:,}; it cannot end earlier, at {config.images:,}")
    if config.images == old.images and run.summary.get("status") == "finished":
        log(f"this run is finished; overwrite=true trains it again, a larger images=... goes on: {run.folder}")
        return "finished"
    if config.images != old.images and "images" not in allowed_changes(config) and (key := _leans_on_images(config)):
        raise Mistake(
            f"images={config.images:,} where the run had {old.images:,}, and {key} depends on images, so this is not "
            "the same run gone on with. resume.allow=[images] does it all the same"
        )
    return "resume"


def _leans_on_images(config: CheckedConfig) -> str | None:
    """The first key whose value interpolates the run's length, None where nothing does."""

    def walk(node: Any, path: str) -> str | None:
        if isinstance(node, dict | list):
            parts = node.items() if isinstance(node, dict) else enumerate(node)
            return next((hit for key, value in parts if (hit := walk(value, f"{path}.{key}".lstrip(".")))), None)
        return path if node == "${images}" else None

    return walk(OmegaConf.to_container(config), "")


# where a run lies and works, and who watches: a word on these changes neither what is trained nor what is measured
NEUTRAL_KEYS = ("device", "devices", "cache", "threads", "launcher", "logger", "allow_target")
NEUTRAL_DATA_KEYS = ("root", "memory", "workers")
_APART = {*NEUTRAL_KEYS, "name", "outputs", "overwrite", "many", "resume", "shared"}
_APART |= {f"choice.{group}" for group in NEUTRAL_KEYS} | {f"data.{key}" for key in NEUTRAL_DATA_KEYS}


def mismatches(run: Run, config: DictConfig, code: Mapping[str, Any]) -> list[str]:
    """What speaks against taking the folder for a run of `config` by `code`, a line each; [] where nothing does.

    `code` has the commit of a checkout, or the version of an installed package. A run may have been started several
    times; each of its starts counts.
    """
    old, new = (OmegaConf.to_container(one, resolve=False) for one in (load_run_config(run), config))
    assert isinstance(old, dict)
    assert isinstance(new, dict)
    found = [
        f"{key} is {'not there' if own is NO_VALUE else own}, not {'there' if asked is NO_VALUE else asked}"
        for key, (own, asked) in nested_difference(old, new, _APART).items()
        if not (own in (None, NO_VALUE) and asked in (None, NO_VALUE))  # a key that came later, and is not used
    ]
    record = read_json(run.folder / "provenance.json")
    starts = [record, *record.get("earlier", [])]
    return list(dict.fromkeys([*found, *(line for start in starts for line in _other_code(start, code))]))


def changed_data_message(
    run: Run, config: DictConfig, descriptions: dict[str, dict[str, Any]] | None = None
) -> str | None:
    """Why a finished run is not the one that is asked for: its data have changed since.  None where they have not.

    Data that are no longer there change nothing, nor do any where resume.allow has data.  `known` keeps what the data
    of a config say of themselves, for who asks of many runs.
    """
    if any(key.partition(".")[0] == "data" for key in allowed_changes(config)):
        return None
    then = read_json(run.folder / "provenance.json").get("data") or {}
    key = OmegaConf.to_yaml(config.data, resolve=True)
    descriptions = {} if descriptions is None else descriptions
    if key not in descriptions:
        descriptions[key] = _described(config, then)
    if not (changed := data_content.data_differences(then, descriptions[key])):
        return None
    return (
        f"{run.folder} is finished, on other data than are there now: {'; '.join(changed)}. A run on these: name=..., "
        "or overwrite=true, which moves the old one aside; the finished one as it is: resume.allow=[data]"
    )


def _described(config: DictConfig, then: Mapping[str, Any]) -> dict[str, Any]:
    """What the data of a config say of themselves; {} where they are not there, or a zip holds what `then` has."""
    data = instantiate(config.data, "data")
    folder = getattr(data, "folder", None)
    if getattr(data, "missing_files", None) or (folder is not None and not Path(folder).exists()):
        return {}
    listing = None if getattr(data, "is_array", False) else getattr(data, "listing", None)
    if listing is not None and listing.zipped and listing.sha256 == then.get("files"):
        return {}  # the checksums of a zip's members say so; its images need not be decoded
    return data.describe()


def _other_code(start: Mapping[str, Any], code: Mapping[str, Any]) -> list[str]:
    git = start.get("git")
    if git is None and code["commit"] is None:
        version = (start.get("packages") or {}).get("saddlepoint")
        return [] if version == code["version"] else [f"it was trained by version {version}, not {code['version']}"]
    if git is None or git["commit"] != code["commit"]:
        return [f"it was trained at commit {str(git and git['commit'])[:12]}, not {str(code['commit'])[:12]}"]
    return ["it was trained in a tree that was not clean"] if git["dirty"] else []
