"""Configs in files: writing and loading, also of files from others.

A written config has ~ for the home folder; loading expands it. A loaded file is limited in size, also after its aliases
are expanded, and its `allow_target` is ignored (see `allow_list`).
"""

import sys
from collections.abc import Callable, Iterable
from io import StringIO
from pathlib import Path
from typing import Any

import yaml
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from saddlepoint.config import allow_list, catalogue
from saddlepoint.config.training_keys import FIRST_EDITION_SIDES, FIRST_EDITION_SIMULTANEOUS, LATER_GAME_KEYS, is_same
from saddlepoint.error import Mistake, did_you_mean
from saddlepoint.redaction import expand_home, find_secret, redact
from saddlepoint.run.folder import write_file

MAX_BYTES = 2**22  # bytes of a file; a config has about ten thousand
MAX_VALUES = 100_000  # values, with aliases expanded: nested aliases on one page can expand to billions


def to_yaml(config: DictConfig) -> str:
    """Return the config as yaml, interpolations unresolved, the home folder as ~."""
    return OmegaConf.to_yaml(OmegaConf.create(redact(OmegaConf.to_container(config))))


def check_no_secrets(texts: Iterable[tuple[str, str]]) -> None:
    """Raise Mistake for the first (dotted path, text) that contains a secret, which must not be recorded."""
    if secret := find_secret(texts):
        raise Mistake(
            f"{secret[0]}: {secret[1]}, and a config is recorded. Keep it in the environment, and read it from "
            "os.environ"
        )


def load_config(path: Path | str) -> DictConfig:
    """Load a config. Raises Mistake if the file cannot be read, is no config, or is too large for one."""
    path = Path(path)
    try:
        if path.stat().st_size > MAX_BYTES:
            raise Mistake(f"{path} has {path.stat().st_size:,} bytes, more than any config ({MAX_BYTES:,})")
        content = path.read_text(encoding="utf-8")
        if "*" in content and count_values(yaml.compose(content, yaml.SafeLoader)) > MAX_VALUES:
            raise Mistake(f"{path} has more than {MAX_VALUES:,} values once its aliases are expanded")
        config: Any = OmegaConf.load(StringIO(content))
    except OSError as error:
        raise Mistake(f"{path} cannot be read: {error.strerror}") from None
    except (yaml.YAMLError, UnicodeDecodeError, ValueError, RecursionError, OmegaConfBaseException) as error:
        raise Mistake(f"{path} cannot be read: {(str(error) or type(error).__name__).splitlines()[0]}") from None
    if not isinstance(config, DictConfig):
        raise Mistake(f"{path} is no config: it holds no keys")
    loaded = OmegaConf.create(
        _map_strings(OmegaConf.to_container(config), lambda text: allow_list.MOVED.get(text) or expand_home(text))
    )
    assert isinstance(loaded, DictConfig)
    catalogue.rename_keys(loaded)
    return allow_list.clear_allowed_names(_upgrade_config(loaded))


def _upgrade_config(config: DictConfig) -> DictConfig:
    """Convert a config of the first edition to today's keys, in place. Return it."""
    if OmegaConf.select(config, "game._target_") == FIRST_EDITION_SIMULTANEOUS:
        config.game._target_ = "saddlepoint.game.game.Game"
        config.game.order = [list(config.game.players)]
    if (sides := OmegaConf.select(config, "game.sides")) is not None:
        config.game.sides = _with_named_conditions(OmegaConf.to_container(sides))
    return config


def _with_named_conditions(sides: Any) -> Any:
    """Convert conditions of sides to mappings; in the first edition a condition was a single class."""
    if is_same(sides, FIRST_EDITION_SIDES):
        return LATER_GAME_KEYS["sides"]
    return {
        name: {**side, "condition": {"label": side["condition"]}} if isinstance(side.get("condition"), str) else side
        for name, side in sides.items()
    }


def count_values(node: yaml.Node | None) -> int:
    """Return the number of values in a yaml, aliases expanded. Raises ValueError for an alias that contains itself."""
    counts: dict[int, int] = {}

    def count(node: Any) -> int:
        if id(node) not in counts:
            counts[id(node)] = MAX_VALUES + 1  # while it is being counted: an alias to it from inside would never end
            items = node.value if isinstance(node, yaml.CollectionNode) else []
            counts[id(node)] = 1 + sum(sum(map(count, i)) if isinstance(i, tuple) else count(i) for i in items)
        return counts[id(node)]

    return 0 if node is None else count(node)


def _map_strings(value: Any, change: Callable[[str], str]) -> Any:
    """Return a plain value with `change` applied to each string."""
    if isinstance(value, dict):
        return {key: _map_strings(item, change) for key, item in value.items()}
    if isinstance(value, list):
        return [_map_strings(item, change) for item in value]
    return change(value) if isinstance(value, str) else value


def training_command(file: Path, config: DictConfig) -> list[str]:
    """Return the command of a process that trains `config`, which `write_config` has written to `file`."""
    return [sys.executable, "-m", "saddlepoint.cli.train", str(file), *allow_list.allowed_as_arguments(config)]


def write_config(file: Path, config: DictConfig) -> None:
    """Write a config for another process, atomically."""
    file.parent.mkdir(parents=True, exist_ok=True)
    write_file(file, to_yaml(config))


def find_conf_file(folder: str, name: str, user_conf: Path | None = None) -> Path:
    """Return the path of a yaml in sweep/, baseline/ or protocol/ of the package or the user.

    Raises Mistake if there is none, or one of each.
    """
    candidates = [conf / folder / f"{name}.yaml" for conf in catalogue.conf_folders(user_conf)]
    paths = [path for path in candidates if path.is_file()]
    if len(paths) > 1:
        raise Mistake(f"{paths[1]}: {folder}={name} is built in; give yours another name")
    if not paths:
        names = catalogue.option_names(folder, user_conf)
        raise Mistake(f"no such {folder}: {name}.{did_you_mean(name, names)} There are: {', '.join(names)}")
    return paths[0]


def load_plain_yaml(path: Path) -> Any:
    """Load a yaml as plain values. Raises Mistake, with the line, if it cannot be read."""
    try:
        return OmegaConf.to_container(OmegaConf.load(path))
    except (OSError, ValueError, yaml.YAMLError, OmegaConfBaseException) as error:
        mark = getattr(error, "problem_mark", None)
        line = f", line {mark.line + 1}" if mark else ""
        problem = getattr(error, "problem", None) or str(error).splitlines()[0]
        reason = "it is not UTF-8 text" if isinstance(error, UnicodeDecodeError) else problem
        raise Mistake(f"{path}{line} cannot be read: {reason}") from None
