"""Paths in a config: which keys hold one, and what they are once somebody has typed them.

~ is the user's home folder wherever a path is taken.  What a run will be read by again, possibly from another folder,
is made absolute; where a command reads or writes now is left relative.
"""

import os
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, ListConfig, OmegaConf, open_dict
from omegaconf.errors import OmegaConfBaseException

from saddlepoint.error import Mistake

ABSOLUTE_KEYS = ("data.folder", "data.root", "evaluation.weights")  # of a run: what its config.yaml leads to
RELATIVE_KEYS = (  # where a command reads and writes
    "outputs", "cache", "to", "run", "runs", "samples", "from", "description", "dump", "against", "reference", "a", "b",
    "launcher.folder",
)  # fmt: skip


def resolve_paths(config: DictConfig) -> str | None:
    """Put the home folder in the place of ~ in each path of a config, and make those of a run absolute.

    Returns data.folder as it was typed, None where there is none.  Raises Mistake where ~ stands for nobody's home.
    """
    data = config.get("data")
    folder = data.get("folder") if isinstance(data, DictConfig) else None
    with open_dict(config):
        for key in (*ABSOLUTE_KEYS, *RELATIVE_KEYS):
            parent, _, name = key.rpartition(".")
            node = config.get(parent) if parent else config
            if isinstance(node, DictConfig) and name in node and not OmegaConf.is_missing(node, name):
                _settle(node, name, key)
    return folder if isinstance(folder, str) else None


def _settle(node: DictConfig, name: str, key: str) -> None:
    try:
        value = node[name]
    except OmegaConfBaseException:
        return  # an interpolation that leads nowhere, of which `compose` knows what to say
    if isinstance(value, ListConfig):
        node[name] = [expand_path(key, one) for one in value]
    elif isinstance(value, str) and value:
        found = expand_path(key, value)
        if key not in ABSOLUTE_KEYS:
            node[name] = found
        elif not (OmegaConf.is_interpolation(node, name) and os.path.isabs(found)):
            node[name] = os.path.abspath(found)  # an absolute path from the environment is the next machine's own


def expand_path(key: str, value: Any) -> Any:
    """A path with the home folder in the place of ~; what is no text stays.  Raises Mistake where there is no home."""
    if not isinstance(value, str) or not value.startswith("~"):
        return value
    if (found := os.path.expanduser(value)) == value:
        whose = value.split(os.sep)[0]
        raise Mistake(f"{key}={value}: {whose} is nobody's home folder here; write the path in full, or ./{value}")
    return found


def cache_folder(config: DictConfig) -> Path:
    """Where shared things lie: cache=..., else SADDLEPOINT_CACHE, else the user's cache folder.

    A user without a home folder has it among the temporary files.
    """
    if chosen := config.cache or expand_path("SADDLEPOINT_CACHE", os.environ.get("SADDLEPOINT_CACHE")):
        return Path(chosen)
    import tempfile

    import platformdirs

    try:
        return Path(platformdirs.user_cache_dir("saddlepoint"))
    except RuntimeError:
        return Path(tempfile.gettempdir(), f"saddlepoint-{os.getuid()}")
