"""Whether a run folder is the run that a config asks for: same game, length, seed and way of measuring, same code."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from omegaconf import DictConfig, OmegaConf

from saddlepoint.command.build import config_of
from saddlepoint.record.essence import leaves, same
from saddlepoint.record.run import Run, read_json

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
    old, new = (dict(leaves(OmegaConf.to_container(one, resolve=False))) for one in (config_of(run), config))
    found = [
        f"{key} is {old.get(key, 'not there')}, not {new.get(key, 'there')}"
        for key in {**new, **old}
        if not same(old.get(key), new.get(key)) and not _APART & set(_prefixes(key))
    ]
    record = read_json(run.folder / "provenance.json")
    for start in [record, *record.get("earlier", [])]:
        found += _other_code(start, code)
    return list(dict.fromkeys(found))


def _other_code(start: Mapping[str, Any], code: Mapping[str, Any]) -> list[str]:
    """What speaks against one start of a run."""
    git = start.get("git")
    if git is None and code["commit"] is None:
        version = (start.get("packages") or {}).get("saddlepoint")
        return [] if version == code["version"] else [f"it was trained by version {version}, not {code['version']}"]
    if git is None or git["commit"] != code["commit"]:
        return [f"it was trained at commit {str(git and git['commit'])[:12]}, not {str(code['commit'])[:12]}"]
    return ["it was trained in a tree that was not clean"] if git["dirty"] else []


def _prefixes(key: str) -> Iterator[str]:
    """a, a.b, a.b.c of a.b.c."""
    parts = key.split(".")
    return (".".join(parts[: i + 1]) for i in range(len(parts)))
