"""A config in a file: as it is written, and as it is read back, also where somebody else wrote it.

Written, a config names nobody's home folder.  Read, it has this user's; it is small, its aliases do not unfold without
end, and it allows nothing, whatever it says (see `permission`).
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

LARGEST = 2**22  # bytes of a file: a config has some ten thousand
MOST = 100_000  # nodes, aliases unfolded: a page of nested aliases can stand for billions


def to_yaml(config: DictConfig) -> str:
    """The config as yaml, with its interpolations; the home folder as ~."""
    return OmegaConf.to_yaml(OmegaConf.create(redact(OmegaConf.to_container(config))))


def check_no_secrets(texts: Iterable[tuple[str, str]]) -> None:
    """Raises Mistake for the first (dotted path, text) that no record should hold, however it came about."""
    if found := find_secret(texts):
        raise Mistake(
            f"{found[0]}: {found[1]}, and a config is recorded. Leave it in the environment, for code to read from "
            "os.environ"
        )


def load_config(path: Path | str) -> DictConfig:
    """The config in a file.  Raises Mistake where it cannot be read, is no config, or is not of a config's size."""
    path = Path(path)
    try:
        if path.stat().st_size > LARGEST:
            raise Mistake(f"{path} has {path.stat().st_size:,} bytes, more than any config ({LARGEST:,})")
        content = path.read_text(encoding="utf-8")
        if "*" in content and count_values(yaml.compose(content, yaml.SafeLoader)) > MOST:
            raise Mistake(f"{path} unfolds to more than {MOST:,} values: its aliases stand for more than they say")
        config: Any = OmegaConf.load(StringIO(content))
    except OSError as error:
        raise Mistake(f"{path} cannot be read: {error.strerror}") from None
    except (yaml.YAMLError, UnicodeDecodeError, ValueError, RecursionError, OmegaConfBaseException) as error:
        raise Mistake(f"{path} cannot be read: {(str(error) or type(error).__name__).splitlines()[0]}") from None
    if not isinstance(config, DictConfig):
        raise Mistake(f"{path} is no config: it holds no keys")
    found = OmegaConf.create(
        _each(OmegaConf.to_container(config), lambda text: allow_list.MOVED.get(text) or expand_home(text))
    )
    assert isinstance(found, DictConfig)
    return allow_list.revoke(_of_this_edition(found))


def _of_this_edition(config: DictConfig) -> DictConfig:
    """The config with what the first edition called otherwise under its name of today."""
    if OmegaConf.select(config, "game._target_") == FIRST_EDITION_SIMULTANEOUS:
        config.game._target_ = "saddlepoint.game.game.Game"
        config.game.order = [list(config.game.players)]
    if (sides := OmegaConf.select(config, "game.sides")) is not None:
        config.game.sides = _with_named_conditions(OmegaConf.to_container(sides))
    return config


def _with_named_conditions(sides: Any) -> Any:
    """Sides whose conditions are mappings; once a class stood there by itself, as the networks' second argument."""
    if is_same(sides, FIRST_EDITION_SIDES):
        return LATER_GAME_KEYS["sides"]
    return {
        name: {**side, "condition": {"label": side["condition"]}} if isinstance(side.get("condition"), str) else side
        for name, side in sides.items()
    }


def count_values(node: yaml.Node | None) -> int:
    """How many values a yaml stands for, aliases unfolded; raises ValueError where one holds itself."""
    known: dict[int, int] = {}

    def of(node: Any) -> int:
        if id(node) not in known:
            known[id(node)] = MOST + 1  # of what is still open: an alias to it would have no end
            parts = node.value if isinstance(node, yaml.CollectionNode) else []
            known[id(node)] = 1 + sum(sum(map(of, part)) if isinstance(part, tuple) else of(part) for part in parts)
        return known[id(node)]

    return 0 if node is None else of(node)


def _each(value: Any, change: Callable[[str], str]) -> Any:
    """A plain value with each of its strings changed."""
    if isinstance(value, dict):
        return {key: _each(part, change) for key, part in value.items()}
    if isinstance(value, list):
        return [_each(part, change) for part in value]
    return change(value) if isinstance(value, str) else value


def training_command(file: Path, config: DictConfig) -> list[str]:
    """What to start for a process that trains `config`, which `freeze` has written to `file`."""
    return [sys.executable, "-m", "saddlepoint.cli.train", str(file), *allow_list.to_arguments(config)]


def write_config(file: Path, config: DictConfig) -> None:
    """Write a config where a process is to read it, whole or not at all."""
    file.parent.mkdir(parents=True, exist_ok=True)
    write_file(file, to_yaml(config))


def find_conf_file(folder: str, name: str, own: Path | None = None) -> Path:
    """A file of conf that one command reads and nothing composes, of sweep/ or baseline/: ours or a researcher's own.

    Raises Mistake where there is none, or one of each."""
    there = [place / folder / f"{name}.yaml" for place in catalogue.conf_folders(own)]
    found = [path for path in there if path.is_file()]
    if len(found) > 1:
        raise Mistake(f"{found[1]}: {folder}={name} is one of Saddlepoint's own; give yours another name")
    if not found:
        names = catalogue.option_names(folder, own)
        raise Mistake(f"no such {folder}: {name}.{did_you_mean(name, names)} There are: {', '.join(names)}")
    return found[0]


def load_plain_yaml(path: Path) -> Any:
    """What a file says, as plain values.  Raises Mistake where it cannot be read, with the line."""
    try:
        return OmegaConf.to_container(OmegaConf.load(path))
    except (OSError, ValueError, yaml.YAMLError, OmegaConfBaseException) as error:
        mark = getattr(error, "problem_mark", None)
        line = f", line {mark.line + 1}" if mark else ""
        what = getattr(error, "problem", None) or str(error).splitlines()[0]
        why = "it is not UTF-8 text" if isinstance(error, UnicodeDecodeError) else what
        raise Mistake(f"{path}{line} cannot be read: {why}") from None
