"""Whether a run folder is the run that a config asks for: same game, length, seed and way of measuring, same code."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf

from saddlepoint.config.identity import allowed
from saddlepoint.config.instantiate import instantiate
from saddlepoint.config.training_keys import NOTHING, difference
from saddlepoint.experiment.run_config import config_of
from saddlepoint.run import data_content
from saddlepoint.run.folder import Run, read_json

# where a run lies and works, and who watches: a word on these changes neither what is trained nor what is measured
ELSEWHERE = ("device", "devices", "cache", "threads", "launcher", "logger", "allow_target")
DATA_ELSEWHERE = ("root", "memory", "workers")
_APART = {*ELSEWHERE, "name", "outputs", "overwrite", "many", "resume", "shared"}
_APART |= {f"choice.{group}" for group in ELSEWHERE} | {f"data.{key}" for key in DATA_ELSEWHERE}


def mismatches(run: Run, config: DictConfig, code: Mapping[str, Any]) -> list[str]:
    """What speaks against taking the folder for a run of `config` by `code`, a line each; [] where nothing does.

    `code` has the commit of a checkout, or the version of an installed package. A run may have been started several
    times; each of its starts counts.
    """
    old, new = (OmegaConf.to_container(one, resolve=False) for one in (config_of(run), config))
    assert isinstance(old, dict)
    assert isinstance(new, dict)
    found = [
        f"{key} is {'not there' if own is NOTHING else own}, not {'there' if asked is NOTHING else asked}"
        for key, (own, asked) in difference(old, new, _APART).items()
        if not (own in (None, NOTHING) and asked in (None, NOTHING))  # a key that came later, and is not used
    ]
    record = read_json(run.folder / "provenance.json")
    starts = [record, *record.get("earlier", [])]
    return list(dict.fromkeys([*found, *(line for start in starts for line in _other_code(start, code))]))


def finished_on_other_data(run: Run, config: DictConfig, known: dict[str, dict[str, Any]] | None = None) -> str | None:
    """Why a finished run is not the one that is asked for: its data have changed since.  None where they have not.

    Data that are no longer there change nothing, nor do any where resume.allow has data.  `known` keeps what the data
    of a config say of themselves, for who asks of many runs.
    """
    if any(key.partition(".")[0] == "data" for key in allowed(config)):
        return None
    then = read_json(run.folder / "provenance.json").get("data") or {}
    key = OmegaConf.to_yaml(config.data, resolve=True)
    known = {} if known is None else known
    if key not in known:
        known[key] = _described(config, then)
    if not (changed := data_content.differences(then, known[key])):
        return None
    return (
        f"{run.folder} is finished, on other data than are there now: {'; '.join(changed)}. A run on these: name=..., "
        "or overwrite=true, which moves the old one aside; the finished one as it is: resume.allow=[data]"
    )


def _described(config: DictConfig, then: Mapping[str, Any]) -> dict[str, Any]:
    """What the data of a config say of themselves; {} where they are not there, or a zip holds what `then` has."""
    data = instantiate(config.data, "data")
    folder = getattr(data, "folder", None)
    if getattr(data, "missing", None) or (folder is not None and not Path(folder).exists()):
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
