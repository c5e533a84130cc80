"""Paths in a config: which keys have one, and how a typed path is resolved.

~ is the user's home folder in every path. Paths that a run needs again, perhaps from another working directory, become
absolute; paths that a command reads or writes now stay relative.
"""

import os
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, ListConfig, OmegaConf, open_dict
from omegaconf.errors import OmegaConfBaseException

from saddlepoint.error import Mistake

ABSOLUTE_KEYS = (  # files that a run's config.yaml refers to
    "data.folder", "data.root", "data.source", "evaluation.weights", "start",
)  # fmt: skip
RELATIVE_KEYS = (  # paths that a command reads or writes
    "outputs", "cache", "to", "run", "runs", "samples", "from", "description", "dump", "against", "reference", "a", "b",
    "launcher.folder", "source", "mask", "truth",
)  # fmt: skip


def resolve_paths(config: DictConfig) -> str | None:
    """Expand ~ in each path of a config, and make those in ABSOLUTE_KEYS absolute.

    Returns data.folder as it was typed, None if there is none. Raises Mistake for a ~ without a home folder.
    """
    data = config.get("data")
    folder = data.get("folder") if isinstance(data, DictConfig) else None
    with open_dict(config):
        for key in (*ABSOLUTE_KEYS, *RELATIVE_KEYS):
            parent, _, name = key.rpartition(".")
            node = config.get(parent) if parent else config
            if isinstance(node, DictConfig) and name in node and not OmegaConf.is_missing(node, name):
                _resolve_path(node, name, key)
    return folder if isinstance(folder, str) else None


def _resolve_path(node: DictConfig, name: str, key: str) -> None:
    try:
        value = node[name]
    except OmegaConfBaseException:
        return  # an invalid interpolation, which `compose` reports
    if isinstance(value, ListConfig):
        node[name] = [expand_path(key, path) for path in value]
    elif isinstance(value, str) and value:
        path = expand_path(key, value)
        if key not in ABSOLUTE_KEYS:
            node[name] = path
        elif not (OmegaConf.is_interpolation(node, name) and os.path.isabs(path)):
            node[name] = os.path.abspath(path)  # an absolute path from the environment may differ on another machine


def expand_path(key: str, value: Any) -> Any:
    """Expand ~ in a path; other values are returned unchanged. Raises Mistake if there is no such home folder."""
    if not isinstance(value, str) or not value.startswith("~"):
        return value
    if (path := os.path.expanduser(value)) == value:
        user = value.split(os.sep)[0]
        raise Mistake(f"{key}={value}: there is no home folder {user} here; write the full path, or ./{value}")
    return path


def cache_folder(config: DictConfig) -> Path:
    """Return the cache folder: cache=..., else SADDLEPOINT_CACHE, else the user's cache folder.

    Without a home folder it is in the folder of temporary files.
    """
    if path := config.cache or expand_path("SADDLEPOINT_CACHE", os.environ.get("SADDLEPOINT_CACHE")):
        return Path(path)
    import tempfile

    import platformdirs

    try:
        return Path(platformdirs.user_cache_dir("saddlepoint"))
    except RuntimeError:
        return Path(tempfile.gettempdir(), f"saddlepoint-{os.getuid()}")
