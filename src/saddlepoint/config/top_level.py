"""The keys that every run has at top level: whether their values make sense, and the run's name."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from omegaconf import DictConfig, OmegaConf

from saddlepoint.config import catalogue, config_file, spelling
from saddlepoint.config.identity import code_of, identity
from saddlepoint.config.path import settle
from saddlepoint.error import Mistake, did_you_mean


def checked(config: DictConfig) -> None:
    """Each key that every run has, as its kind has it.  Raises Mistake where a value makes no sense."""
    from saddlepoint.config import keys  # pydantic, of which a mistyped word need not wait

    keys.settle(config, "train")
    if config.images < config.batch:
        raise Mistake(f"images={config.images} is less than one batch of {config.batch}: raise images or lower batch")


def look_for_strangers(config: DictConfig, among: Sequence[str] | None = None) -> None:
    """Raises Mistake for a key at top level, or within a section such as `evaluation`, that nothing reads.

    `among` holds the dotted keys that are looked at; None: all.
    """
    known, written = catalogue.keys("train"), OmegaConf.to_yaml(config)
    sections = {key.partition(".")[0] for key in known if "." in key}
    for key in map(str, config):
        if key in sections:
            inner = [f"{key}.{name}" for name in config[key]]
        elif key in catalogue.groups() or key == "choice" or re.search(rf"\$\{{[^}}]*\b{re.escape(key)}\b", written):
            inner = []
        else:
            inner = [key]
        for name in inner:
            named = among is None or any(f"{key}.".startswith(f"{name}.") for key in among)
            if named and name not in known:
                meant = spelling.of_key(name, str(config.get(name)), config, config.choice)
                raise Mistake(meant or f"nothing reads {name}.{did_you_mean(name, known)}")


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
