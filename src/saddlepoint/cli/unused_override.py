"""Overrides that a command does not use: refused, with the command that uses them.

Keys of locations and devices (data.root, cache, device, threads) are accepted by every command.
"""

from collections.abc import Iterator, Sequence

from saddlepoint.config.override import UnreadableOverride, parse_override
from saddlepoint.error import Mistake

# keys -> what uses them; a key includes all below it
RUNNING = {
    "devices nodes compile trainer overwrite resume shared many": "saddlepoint train uses it",
    "callback logger": "saddlepoint train uses it",
    "launcher": "saddlepoint train -m uses it",
}
NAMED = {"name outputs": "the run is named by run="}
TRAINING = {
    "images": "at=<images> selects a snapshot of the run",
    "optimizer objective regularizer": "saddlepoint train uses it; the run is trained already",
}
READER = "saddlepoint evaluate uses it"
EVALUATION = {"metric protocol evaluation": READER}
SELECTION = {"evaluation.selection": "saddlepoint train uses it to select the best checkpoint"}
MEASURING = {
    "evaluation.n": "memorisation takes n=...",
    "evaluation.average": "memorisation takes average=...",
    "evaluation.split evaluation.second_extractor evaluation.batch_norm metric": "saddlepoint evaluate uses it",
}
GROUPS = {
    "evaluation.n": "fairness takes n=...",
    "evaluation.average": "fairness takes average=...",
    "evaluation.split": "fairness takes split=...",
    "evaluation.second_extractor evaluation.batch_norm metric": "saddlepoint evaluate uses it",
}
MADE = {
    "architecture prior game": "samples=... have no network",
    "evaluation.average evaluation.batch_norm": "samples=... have no network",
    "seed": "samples=... are already drawn",
}
NOWHERE = {"name outputs": "nothing is trained here"}
UNREAD = {
    "sample": RUNNING | NAMED | TRAINING | EVALUATION,
    "apply": RUNNING | NAMED | TRAINING | SELECTION | {"metric protocol evaluation.n evaluation.split": READER},
    "evaluate": RUNNING | NAMED | TRAINING | SELECTION,
    "directions": RUNNING | NAMED | TRAINING | SELECTION | {"metric protocol evaluation.n evaluation.split": READER},
    "memorisation": RUNNING | NAMED | TRAINING | MEASURING | SELECTION,
    "fairness": RUNNING | NAMED | TRAINING | GROUPS | SELECTION,
    "export": RUNNING | SELECTION,  # it refuses other changes of the training itself
    "import": RUNNING | TRAINING | SELECTION | MADE | {"images": "evaluation.n is the number of samples"},
}


def check_overrides_used(command: str, overrides: Sequence[str], samples: bool = False) -> None:
    """Raise Mistake for the first override of a run's config that a command does not use.

    `samples`: the command measures stored samples, without a run.
    """
    unused = {**UNREAD[command], **(MADE | NOWHERE if samples else {})}
    readers = {key: reader for keys, reader in unused.items() for key in keys.split()}
    for override in map(str, overrides):
        path = override.lstrip("+~").partition("=")[0]
        path = path.partition("@")[2] or path  # a group with a location
        for key, reader in readers.items():
            if f"{path}.".startswith(f"{key}."):
                raise Mistake(f"{override}: saddlepoint {command} does not use {key}; {reader}. Leave it out")


def check_no_launcher(overrides: Sequence[str]) -> None:
    """Raise Mistake for overrides of the launcher, which only several runs use. An experiment may set it."""
    for override in map(str, overrides):
        if override.lstrip("+~").partition("=")[0].partition(".")[0] == "launcher":
            raise Mistake(
                f"{override}: a single run has no launcher; saddlepoint train -m uses it. Leave it out; threads=... "
                "and devices=... also work for one run"
            )


def describe_shadowed_overrides(overrides: Sequence[str]) -> Iterator[str]:
    """Yield a message for each override that has no effect because a later one sets its key to another value."""
    latest: dict[str, str] = {}
    for override in map(str, overrides):
        key, equals, _ = override.partition("=")
        if not equals or key[:1] in ("+", "~"):
            continue
        before, latest[key] = latest.get(key, override), override
        if before != override and _override_value(before) != _override_value(override):
            yield f"{before} has no effect: {override} comes after it"


def _override_value(override: str) -> object:
    try:
        return parse_override(override).value()
    except UnreadableOverride:  # compose reports the error
        return override
