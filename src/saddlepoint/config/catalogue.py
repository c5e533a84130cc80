"""What there is to choose from: the folders of yaml, their groups and members, and the keys of each command.

Read as text, so that `--help` answers before a yaml parser could be imported. Our own files keep to the form that is
read here (a test compares with a real parser).
"""

import os
import re
from functools import cache
from io import StringIO
from pathlib import Path

from saddlepoint.error import Mistake

COMMANDS = {
    "train": "train a game, measure it along the way, and leave a run folder",
    "evaluate": "measure a run again, by another protocol if you like",
    "sample": "draw from a run's generator",
    "memorisation": "whether samples are copies of training images",
    "reproduce": "whether a published figure is met: a verdict and a certificate",
    "sweep": "search settings by the score on the validation split; leave the winner as an experiment",
    "compare": "arms of runs over seeds: differences, intervals, exact tests, a report",
    "why": "what differs between two runs, and where their curves part",
    "export": "a run's generator as safetensors, ONNX and torch.export, checked, with a model card",
    "import": "somebody else's generator, or their samples, measured on our contracts for compare",
    "replay": "a turn that came to no number, played again: where it went wrong",
    "doctor": "what this machine has, and what to do about what it lacks",
}

# commands that end with a result: on stdout, and with --json (or to=-, of those with a `to`) as one JSON document
COMMANDS_WITH_RESULT = ("train", "evaluate", "memorisation", "reproduce", "sweep", "compare", "why", "import", "doctor")

COMMAND_MODULES = {
    "import": "importing"
}  # where a command's word cannot be the name of its module: it is one of Python's

_texts: dict[str, tuple[str, tuple[int, int]]] = {}  # what was read, and when it was written
READ_WHOLE = {"baseline", "sweep"}  # folders of yaml that one command reads and nothing composes: no groups

# groups whose names are values of a key, and the keys: evaluation.extractor=digits
VALUE_GROUPS = {"extractor": ("evaluation.extractor", "evaluation.second")}

_DEFAULT = re.compile(r"^  - (?P<group>\w+): (?P<value>[^#]*?)\s*(#.*)?$")
_KEY = re.compile(r"^(?P<inner>  )?(?P<key>\w+):(?P<value>[^#]*?)\s*(# (?P<comment>.*))?$")


@cache
def conf_folder() -> Path:
    """The folder of yaml: that of the checkout, where this file lies in one, else the wheel's copy."""
    package = Path(__file__).resolve().parents[1]
    checkout = package.parents[1] / "conf"
    return checkout if package.parent.name == "src" and checkout.is_dir() else package / "conf"


def resolve_config_dir(config_dir: str | Path | None) -> Path | None:
    """A researcher's folder, absolute.  Raises Mistake where it is missing or has a piece by one of our names.

    Two pieces of one name would make `choice`, and the name of a run, say less than they seem to.
    """
    if config_dir is None:
        return None
    own = Path(os.path.expanduser(config_dir)).absolute()
    if not own.is_dir():
        raise Mistake(f"--config-dir {config_dir}: there is no such folder")
    if own.resolve() == conf_folder():
        return None
    for group in groups():
        ours = set(option_names(group))
        for path in sorted((own / group).rglob("*.yaml")):
            if (name := path.relative_to(own / group).with_suffix("").as_posix()) in ours:
                raise Mistake(f"{path}: {group}={name} is a piece of Saddlepoint's own; give yours another name")
    return own


def conf_folders(own: Path | None = None) -> list[Path]:
    """Where pieces are looked for: Saddlepoint's folder, then the researcher's own."""
    return [conf_folder(), *([own] if own else [])]


def default_options(command: str = "train") -> dict[str, str | list[str] | None]:
    """Group -> what is chosen by default: a list where several may be, None where nothing need be."""
    return dict(_form(cached_text(conf_folder() / f"{command}.yaml"))[0])


def command_keys(command: str) -> dict[str, tuple[str, str]]:
    """The keys of a command's yaml, the inner ones dotted: key -> (value as written, comment)."""
    return dict(_form(cached_text(conf_folder() / f"{command}.yaml"))[1])


@cache
def _form(text: str) -> tuple[dict[str, str | list[str] | None], dict[str, tuple[str, str]]]:
    """The defaults and the keys of a yaml of our own form."""
    chosen: dict[str, str | list[str] | None] = {}
    found: dict[str, tuple[str, str]] = {}
    outer = ""
    for line in text.splitlines():
        if match := _DEFAULT.match(line):
            value = match["value"]
            names = re.findall(r"[^\[\], ]+", value)
            chosen[match["group"]] = names if value.startswith("[") else None if value == "null" else value
        elif (match := _KEY.match(line)) and match["key"] != "defaults":
            outer = outer if match["inner"] else match["key"]
            key = f"{outer}.{match['key']}" if match["inner"] else outer
            found[key] = match["value"].strip(), match["comment"] or ""
    return chosen, found


def groups(own: Path | None = None) -> list[str]:
    """Every group: those of train's defaults in their order, then whatever else has a folder."""
    there = {path.name for folder in conf_folders(own) for path in folder.iterdir() if path.is_dir()} - READ_WHOLE
    first = list(default_options())
    return first + sorted(name for name in there - set(first) if name[0] not in "._")


def option_names(group: str, own: Path | None = None) -> list[str]:
    """The names that a group can be given, sorted; those in subfolders as folder/name."""
    found = {
        path.relative_to(folder / group).with_suffix("").as_posix()
        for folder in conf_folders(own)
        for path in (folder / group).rglob("*.yaml")
    }
    return sorted(found)


def header(command: str) -> str:
    """The comment on top of a command's yaml."""
    lines = cached_text(conf_folder() / f"{command}.yaml").splitlines()
    first = next((i for i, line in enumerate(lines) if not line.startswith("#")), len(lines))
    return " ".join(line.lstrip("# ") for line in lines[:first])


def cached_text(path: str | Path) -> str:
    """What stands in a yaml, see `stream`."""
    return cached_stream(path).getvalue()


def cached_stream(path: str | Path) -> StringIO:
    """A yaml that has not changed since is not read again.  Raises OSError, UnicodeDecodeError."""
    about = os.stat(path)
    stamp = about.st_mtime_ns, about.st_size
    if _texts.get(str(path), ("", None))[1] != stamp:
        _texts[str(path)] = Path(path).read_text(encoding="utf-8"), stamp
    found = StringIO(_texts[str(path)][0])
    found.name = str(path)  # type: ignore[misc]  # yaml's errors have it
    return found
