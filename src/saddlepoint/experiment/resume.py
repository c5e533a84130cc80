"""How a training starts: fresh or resumed; and whether a run folder belongs to the run of a config."""

import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf

from saddlepoint.config.identity import (
    allowed_changes,
    compute_identity,
    describe_code_changes,
    describe_identity_differences,
    runs_with_other_code,
    stored_code_hashes,
)
from saddlepoint.config.instantiate import instantiate
from saddlepoint.config.training_keys import NO_VALUE, nested_difference
from saddlepoint.config.tree import CheckedConfig
from saddlepoint.error import Mistake
from saddlepoint.experiment.run_config import load_run_config
from saddlepoint.run import data_content
from saddlepoint.run.folder import Run, load_json

OPTIMIZER_CLASS = re.compile(r"optimizer\.\w+\._target_:")


def decide_start(run: Run, config: CheckedConfig, log: Callable[[str], None]) -> str:
    """Return fresh, resume, overwrite or finished, from the content of the folder.

    Raises Mistake if the folder holds something else that this config must not continue.
    """
    if not run.folder.exists() or all(path.name.startswith(".") for path in run.folder.iterdir()):
        for folder in runs_with_other_code(config, config.name)[:1]:
            changes = "; ".join(describe_code_changes(load_run_config(Run(folder))))
            log(f"this is not the run {folder}, whose code differs: {changes}. resume.allow=[code] resumes that one")
        return "fresh"  # hidden files are left by a crash during the first write
    if not run.config.exists():
        raise Mistake(f"{run.folder} is not empty and not a run; give this run another name=... or outputs=...")
    if config.overwrite:
        return "overwrite"
    old = load_run_config(run)
    if compute_identity(old) != config.identity:
        _check_changes_allowed(run, old, config, log)
    if config.images < old.images and run.summary.get("status") == "finished":
        raise Mistake(f"{run.folder} is finished at images={old.images:,}; it cannot end earlier, at {config.images:,}")
    if config.images == old.images and run.summary.get("status") == "finished":
        log(f"this run is finished; overwrite=true trains it again, a larger images=... resumes it: {run.folder}")
        return "finished"
    if (
        config.images != old.images
        and "images" not in allowed_changes(config)
        and (key := _find_key_using_images(config))
    ):
        raise Mistake(
            f"images={config.images:,}, but {key} depends on images, and the run was trained so far with "
            f"images={old.images:,}. resume.allow=[images] resumes it anyway"
        )
    return "resume"


def _check_changes_allowed(run: Run, old: DictConfig, config: CheckedConfig, log: Callable[[str], None]) -> None:
    """Log the settings that differ from those of the run.  Raises Mistake if resume.allow does not permit one."""
    changes, may_differ = describe_identity_differences(old, config), allowed_changes(config)
    if stored_code_hashes(config) and not stored_code_hashes(old):
        log(f"the run was started before user code was recorded; now it is: {', '.join(stored_code_hashes(config))}")
        may_differ = [*may_differ, "code"]
    other = describe_identity_differences(old, config, may_differ)
    if other and all(change.startswith("code.") for change in other):
        raise Mistake(
            f"{run.folder} was trained by other code: {'; '.join(describe_code_changes(old))}. Give this run "
            "another name=..., or resume with the current code: resume.allow=[code]"
        )
    if other:
        raise Mistake(
            f"{run.folder} holds another run: {'; '.join(other[:3])}. Give this run another name=..., "
            "overwrite=true to move the old one aside, or resume.allow=[...] with the keys that may change"
        )
    if optimizer := next((change for change in changes if OPTIMIZER_CLASS.match(change)), None):
        raise Mistake(
            f"{run.folder}: {optimizer}. The state of one optimizer cannot be used by another, so resume.allow "
            "does not permit this change: give this run another name=..."
        )
    log(f"resuming with changed settings, as resume.allow permits: {'; '.join(changes)}")


def _find_key_using_images(config: CheckedConfig) -> str | None:
    """Return the first key whose value interpolates `images`, None if there is none."""

    def walk(node: Any, path: str) -> str | None:
        if isinstance(node, dict | list):
            children = node.items() if isinstance(node, dict) else enumerate(node)
            return next((hit for key, value in children if (hit := walk(value, f"{path}.{key}".lstrip(".")))), None)
        return path if node == "${images}" else None

    return walk(OmegaConf.to_container(config), "")


# settings of paths, hardware and loggers, which change neither the training nor the scores
NEUTRAL_KEYS = ("device", "devices", "cache", "threads", "launcher", "logger", "allow_target")
NEUTRAL_DATA_KEYS = ("root", "memory", "workers")
_IGNORED_KEYS = {*NEUTRAL_KEYS, "name", "outputs", "overwrite", "many", "resume", "shared"}
_IGNORED_KEYS |= {f"choice.{group}" for group in NEUTRAL_KEYS} | {f"data.{key}" for key in NEUTRAL_DATA_KEYS}


def find_run_mismatches(run: Run, config: DictConfig, code: Mapping[str, Any]) -> list[str]:
    """Return the reasons why the folder is not a run of `config` by `code`, one line each; [] if it is one.

    `code` has the commit of a checkout, or the version of an installed package. All starts of a run are checked.
    """
    old, new = (OmegaConf.to_container(each, resolve=False) for each in (load_run_config(run), config))
    assert isinstance(old, dict)
    assert isinstance(new, dict)
    messages = [
        f"{key} is {_format_value(value)}, not {_format_value(expected)}"
        for key, (value, expected) in nested_difference(old, new, _IGNORED_KEYS).items()
        if not (value in (None, NO_VALUE) and expected in (None, NO_VALUE))  # a newer key that is not used
    ]
    record = load_json(run.folder / "provenance.json")
    starts = [record, *record.get("earlier", [])]
    return list(dict.fromkeys([*messages, *(message for start in starts for message in _code_mismatches(start, code))]))


def _format_value(value: Any) -> str:
    return "absent" if value is NO_VALUE else str(value)


def changed_data_message(
    run: Run, config: DictConfig, descriptions: dict[str, dict[str, Any]] | None = None
) -> str | None:
    """Return an error message if the data of a finished run have changed since; None if they have not.

    Missing data count as unchanged, and so do all data if resume.allow has data.  `descriptions` caches the description
    of the data of a config for calls on many runs.
    """
    if any(key.partition(".")[0] == "data" for key in allowed_changes(config)):
        return None
    recorded = load_json(run.folder / "provenance.json").get("data") or {}
    key = OmegaConf.to_yaml(config.data, resolve=True)
    descriptions = {} if descriptions is None else descriptions
    if key not in descriptions:
        descriptions[key] = _describe_data(config, recorded)
    if not (changes := data_content.data_differences(recorded, descriptions[key])):
        return None
    return (
        f"{run.folder} is finished, and its data have changed since: {'; '.join(changes)}. To train on the changed "
        "data: another name=..., or overwrite=true to move the old run aside; to keep it as it is: resume.allow=[data]"
    )


def _describe_data(config: DictConfig, recorded: Mapping[str, Any]) -> dict[str, Any]:
    """Describe the data of a config; {} if they are missing, or if they are a zip with the checksums of `recorded`."""
    data = instantiate(config.data, "data")
    folder = getattr(data, "folder", None)
    if getattr(data, "missing_files", None) or (folder is not None and not Path(folder).exists()):
        return {}
    listing = None if getattr(data, "is_array_file", False) else getattr(data, "listing", None)
    if listing is not None and listing.is_zip and listing.sha256 == recorded.get("files"):
        return {}  # unchanged by the checksums of the zip, so no image needs decoding
    return data.describe()


def _code_mismatches(start: Mapping[str, Any], code: Mapping[str, Any]) -> list[str]:
    """Return the reasons why one start of a run was not made by `code`."""
    git = start.get("git")
    if git is None and code["commit"] is None:
        version = (start.get("packages") or {}).get("saddlepoint")
        return [] if version == code["version"] else [f"it was trained by version {version}, not {code['version']}"]
    if git is None or git["commit"] != code["commit"]:
        return [f"it was trained at commit {str(git and git['commit'])[:12]}, not {str(code['commit'])[:12]}"]
    return ["it was trained in a git tree with uncommitted changes"] if git["dirty"] else []
