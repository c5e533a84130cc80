"""Overrides that a command would not read: refused by name, with what reads them.

Where things lie and run (data.root, cache, device, threads) may be said to every command alike.
"""

from collections.abc import Iterator, Sequence

from saddlepoint.config.override import UnreadableOverride, parse_override
from saddlepoint.error import Mistake

# keys -> what reads them; a key stands for all below it
RUNNING = {
    "devices nodes compile trainer overwrite resume shared many": "saddlepoint train reads it",
    "callback logger": "saddlepoint train reads it",
    "launcher": "saddlepoint train -m reads it",
}
NAMED = {"name outputs": "the run is named by run="}
TRAINING = {
    "images": "at=<images> names a snapshot of the run",
    "optimizer objective regularizer": "saddlepoint train reads it; the run has been trained",
}
EVALUATION = {"metric protocol evaluation": "saddlepoint evaluate reads it"}
SELECTION = {"evaluation.selection": "saddlepoint train reads it, which chooses the best checkpoint by it"}
MEASURING = {
    "evaluation.n": "memorisation takes n=...",
    "evaluation.average": "memorisation takes average=...",
    "evaluation.split evaluation.second evaluation.batch_norm metric": "saddlepoint evaluate reads it",
}
MADE = {
    "architecture prior game": "of samples=... there is no network",
    "evaluation.average evaluation.batch_norm": "of samples=... there is no network",
    "seed": "samples=... are as they are",
}
NOWHERE = {"name outputs": "nothing is trained here"}
UNREAD = {
    "sample": RUNNING | NAMED | TRAINING | EVALUATION,
    "evaluate": RUNNING | NAMED | TRAINING | SELECTION,
    "memorisation": RUNNING | NAMED | TRAINING | MEASURING | SELECTION,
    "export": RUNNING | SELECTION,  # the others make another training, which it refuses itself
    "import": RUNNING | TRAINING | SELECTION | MADE | {"images": "evaluation.n says how many samples"},
}


def check_overrides_used(command: str, words: Sequence[str], samples: bool = False) -> None:
    """Raises Mistake for the first of `words`, on top of a run's config, that a command does not read.

    `samples`: the command measures stored samples, for which there is no run.
    """
    known = {**UNREAD[command], **(MADE | NOWHERE if samples else {})}
    readers = {key: reader for keys, reader in known.items() for key in keys.split()}
    for word in map(str, words):
        path = word.lstrip("+~").partition("=")[0]
        path = path.partition("@")[2] or path  # a group that is put in a place
        for key, reader in readers.items():
            if f"{path}.".startswith(f"{key}."):
                raise Mistake(f"{word}: saddlepoint {command} does not read {key}; {reader}. Leave it out")


def check_no_launcher(words: Sequence[str]) -> None:
    """Raises Mistake for what only many runs of one command read; an experiment may carry it for these."""
    for word in map(str, words):
        if word.lstrip("+~").partition("=")[0].partition(".")[0] == "launcher":
            raise Mistake(
                f"{word}: one run alone needs no launcher; saddlepoint train -m reads it, which starts several. Leave "
                "it out; threads=... and devices=... are for one run too"
            )


def shadowed_overrides(words: Sequence[str]) -> Iterator[str]:
    """A line for each word of a command line that does not count, since a later one sets its key to another value."""
    said: dict[str, str] = {}
    for word in map(str, words):
        key, equals, _ = word.partition("=")
        if not equals or key[:1] in ("+", "~"):
            continue
        before, said[key] = said.get(key, word), word
        if before != word and _value(before) != _value(word):
            yield f"{before} does not count: {word} comes after it"


def _value(word: str) -> object:
    try:
        return parse_override(word).value()
    except UnreadableOverride:  # compose says what is wrong with it
        return word
