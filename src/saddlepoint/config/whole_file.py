"""Files of conf that one command reads whole and nothing composes: those of conf/sweep and conf/baseline."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from saddlepoint.config import catalogue
from saddlepoint.error import Mistake, did_you_mean


def path_of(folder: str, name: str, own: Path | None = None) -> Path:
    """The file of that name, ours or a researcher's own.  Raises Mistake where there is none, or one of each."""
    there = [place / folder / f"{name}.yaml" for place in catalogue.folders(own)]
    found = [path for path in there if path.is_file()]
    if len(found) > 1:
        raise Mistake(f"{found[1]}: {folder}={name} is one of Saddlepoint's own; give yours another name")
    if not found:
        names = catalogue.members(folder, own)
        raise Mistake(f"no such {folder}: {name}.{did_you_mean(name, names)} There are: {', '.join(names)}")
    return found[0]


def read(path: Path) -> Any:
    """What a file says, as plain values.  Raises Mistake where it cannot be read, with the line."""
    try:
        return OmegaConf.to_container(OmegaConf.load(path))
    except (OSError, ValueError, yaml.YAMLError, OmegaConfBaseException) as error:
        mark = getattr(error, "problem_mark", None)
        line = f", line {mark.line + 1}" if mark else ""
        what = getattr(error, "problem", None) or str(error).splitlines()[0]
        why = "it is not UTF-8 text" if isinstance(error, UnicodeDecodeError) else what
        raise Mistake(f"{path}{line} cannot be read: {why}") from None
