"""The config folders, their groups and options, and the keys of each command.

The yaml is read as text, because `--help` must be fast and importing a yaml parser takes time. The package's own files
use only the subset of yaml that is parsed here (a test compares it with a real parser).
"""

import os
import re
from collections.abc import MutableMapping
from functools import cache
from io import StringIO
from pathlib import Path
from typing import Any

from saddlepoint.error import Mistake

COMMANDS = {
    "train": "train a game, measure it during training, and write a run folder",
    "evaluate": "measure a run again, also by another protocol",
    "sample": "draw samples from a run's generator",
    "apply": "repair, translate, colour, enlarge, reconstruct or encode your own images with a run's networks",
    "directions": "find directions of a generator's latent, draw a sheet of traversals, and measure what each changes",
    "memorisation": "test whether samples are copies of training images",
    "fairness": "measure frequency and coverage of each group of the data in a run's samples",
    "reproduce": "train a baseline's runs and test whether its published figure is met: a verdict and a certificate",
    "sweep": "search settings by the score on the validation split; write the best as an experiment",
    "compare": "compare arms of runs over seeds: differences, intervals, exact tests, a report",
    "runs": "list all runs with status, scores, time and the next step; write an HTML index",
    "why": "show what differs between two runs, and where their curves diverge",
    "export": "write a run's generator as safetensors, ONNX and torch.export, checked, with a model card",
    "import": "measure another generator, or its samples, under our contracts, so that compare can use it",
    "replay": "repeat a turn that gave nan or inf, and find the module where it began",
    "init": "write a folder for your own research: a loss, its config, an experiment, a test",
    "doctor": "report what this machine has, and how to fix what is missing",
}

# commands that print a result to stdout; as one JSON document with --json (or to=-, if the command has `to`)
COMMANDS_WITH_RESULT = (
    "train", "evaluate", "directions", "memorisation", "fairness", "reproduce", "sweep", "compare",
    "runs", "why", "import", "init", "doctor",
)  # fmt: skip

COMMAND_MODULES = {"import": "importing"}  # commands whose name is a Python keyword -> module

_texts: dict[str, tuple[str, tuple[int, int]]] = {}  # path -> text, and the file's modification time and size
NOT_GROUPS = {"baseline", "sweep"}  # folders of yaml that one command reads; they are not composed

# groups whose options are values of keys: evaluation.extractor=digits
VALUE_GROUPS = {"extractor": ("evaluation.extractor", "evaluation.second_extractor")}

RENAMED_KEYS = {"evaluation.second": "evaluation.second_extractor"}  # old names that are still accepted

_DEFAULT_LINE = re.compile(r"^  - (?P<group>\w+): (?P<value>[^#]*?)\s*(#.*)?$")
_KEY_LINE = re.compile(r"^(?P<inner>  )?(?P<key>\w+):(?P<value>[^#]*?)\s*(# (?P<comment>.*))?$")


@cache
def conf_folder() -> Path:
    """Return the package's config folder: `conf` of the checkout if there is one, else the copy in the wheel."""
    package = Path(__file__).resolve().parents[1]
    checkout = package.parents[1] / "conf"
    return checkout if package.parent.name == "src" and checkout.is_dir() else package / "conf"


def resolve_config_dir(config_dir: str | Path | None) -> Path | None:
    """Return the absolute path of --config-dir, None if it is None or the package's own folder.

    Raises Mistake if the folder is missing or has an option with the name of a built-in one: `choice` and the name of a
    run would be ambiguous.
    """
    if config_dir is None:
        return None
    user_conf = Path(os.path.expanduser(config_dir)).absolute()
    if not user_conf.is_dir():
        raise Mistake(f"--config-dir {config_dir}: there is no such folder")
    if user_conf.resolve() == conf_folder():
        return None
    for group in groups():
        builtin = set(option_names(group))
        for path in sorted((user_conf / group).rglob("*.yaml")):
            if (name := path.relative_to(user_conf / group).with_suffix("").as_posix()) in builtin:
                raise Mistake(f"{path}: {group}={name} is built in; give yours another name")
    return user_conf


def conf_folders(user_conf: Path | None = None) -> list[Path]:
    """Return the folders that are searched for options: the package's, then the user's."""
    return [conf_folder(), *([user_conf] if user_conf else [])]


def default_options(command: str = "train") -> dict[str, str | list[str] | None]:
    """Return group -> default option: a list for groups of several, None if nothing is chosen."""
    return dict(_parse_command_yaml(read_text_cached(conf_folder() / f"{command}.yaml"))[0])


def command_keys(command: str) -> dict[str, tuple[str, str]]:
    """Return the keys of a command's yaml, nested ones dotted: key -> (value as written, comment)."""
    return dict(_parse_command_yaml(read_text_cached(conf_folder() / f"{command}.yaml"))[1])


@cache
def _parse_command_yaml(text: str) -> tuple[dict[str, str | list[str] | None], dict[str, tuple[str, str]]]:
    """Parse the defaults and the keys of a command's yaml."""
    defaults: dict[str, str | list[str] | None] = {}
    keys: dict[str, tuple[str, str]] = {}
    section = ""
    for line in text.splitlines():
        if match := _DEFAULT_LINE.match(line):
            value = match["value"]
            names = re.findall(r"[^\[\], ]+", value)
            defaults[match["group"]] = names if value.startswith("[") else None if value == "null" else value
        elif (match := _KEY_LINE.match(line)) and match["key"] != "defaults":
            section = section if match["inner"] else match["key"]
            key = f"{section}.{match['key']}" if match["inner"] else section
            keys[key] = match["value"].strip(), match["comment"] or ""
    return defaults, keys


def groups(user_conf: Path | None = None) -> list[str]:
    """Return all groups: those of train's defaults in their order, then the other folders by name."""
    names = {path.name for folder in conf_folders(user_conf) for path in folder.iterdir() if path.is_dir()}
    first = list(default_options())
    return first + sorted(name for name in names - NOT_GROUPS - set(first) if name[0] not in "._")


def option_names(group: str, user_conf: Path | None = None) -> list[str]:
    """Return the sorted names of a group's options; those in subfolders as folder/name."""
    names = {
        path.relative_to(folder / group).with_suffix("").as_posix()
        for folder in conf_folders(user_conf)
        for path in (folder / group).rglob("*.yaml")
    }
    return sorted(names)


def rename_keys(config: MutableMapping[Any, Any]) -> list[str]:
    """Rename the old keys of a config in place. Return a message for each."""
    messages = []
    for old, new in RENAMED_KEYS.items():
        section, _, name = old.rpartition(".")
        node = config.get(section)
        if isinstance(node, MutableMapping) and name in node:
            node[new.rpartition(".")[2]] = node.pop(name)
            messages.append(f"{old} is now {new}")
    return messages


def rename_override(override: str) -> str:
    """Return an override, also one of a group at a location, with the new name of its key."""
    for old, new in RENAMED_KEYS.items():
        override = re.sub(rf"^([+~]*(?:\w+@)?){re.escape(old)}(?=[.=]|$)", rf"\g<1>{new}", override)
    return override


def read_header_comment(command: str) -> str:
    """Return the comment at the top of a command's yaml."""
    lines = read_text_cached(conf_folder() / f"{command}.yaml").splitlines()
    first = next((i for i, line in enumerate(lines) if not line.startswith("#")), len(lines))
    return " ".join(line.lstrip("# ") for line in lines[:first])


def read_text_cached(path: str | Path) -> str:
    """Return the text of a file, see `open_text_cached`."""
    return open_text_cached(path).getvalue()


def open_text_cached(path: str | Path) -> StringIO:
    """Open a text file; an unchanged file is read only once. Raises OSError, UnicodeDecodeError."""
    about = os.stat(path)
    stamp = about.st_mtime_ns, about.st_size
    if _texts.get(str(path), ("", None))[1] != stamp:
        _texts[str(path)] = Path(path).read_text(encoding="utf-8"), stamp
    stream = StringIO(_texts[str(path)][0])
    stream.name = str(path)  # type: ignore[misc]  # shown in yaml's errors
    return stream
