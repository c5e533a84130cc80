"""What of a config decides the training: the config without whose run it is, how long, where, and what watches.

And in what two configs, or other mappings, differ.  Plain values in, plain values out, interpolations as they are
written: a run folder is read without composing anything.
"""

import os
from collections.abc import Collection, Iterator, Mapping
from typing import Any, Final

from saddlepoint.redaction import shorten_home

# whose run it is, how long, where, with what watching: none of these changes the game that is played
NON_TRAINING_KEYS = frozenset(
    ("name", "seed", "images", "outputs", "cache", "device", "devices", "nodes", "compile", "threads", "trainer")
) | {"logger", "callback", "metric", "evaluation", "protocol", "launcher", "many", "shared", "overwrite", "resume"}
NON_TRAINING_KEYS |= {"choice", "experiment", "allow_target"}
# keys of data that came after the first runs, at the value that does what was done before there was the key
LATER_DATA_KEYS = {"fit": "crop", "flip": False, "bits": 8}
# and keys of the game, with the sides and the order of the two-player game, which the first edition had built in
LATER_GAME_KEYS = {
    "sides": {
        "real": {"of": "x", "judge": "discriminator"},
        "fake": {"by": "generator", "judge": "discriminator"},
        "labelled": {"of": "labelled_x", "condition": {"label": "labelled_y"}, "judge": "discriminator"},
    },
    "makers": {},
    "samples": "fake",
    "draws": {},
    "conditions": "none",
    "classes": {},
    "dropout": False,
}
LATER_ARCHITECTURE_KEYS = {"condition": {}, "bounded": None}  # and keys of networks
# the sides of the two-player game as they were first written: networks got the class, and none of ours took it
FIRST_EDITION_SIDES = {
    "real": {"of": "x", "condition": "y", "judge": "discriminator"},
    "fake": {"by": "generator", "condition": "y", "judge": "discriminator"},
    "labelled": {"of": "labelled_x", "condition": "labelled_y", "judge": "discriminator"},
}
FIRST_EDITION_SIMULTANEOUS = (
    "saddlepoint.game.simultaneous.Simultaneous"  # the class that the first edition had for one order of play
)
DATA_APART = frozenset(("root", "memory", "workers", "extractor"))  # where and how the same data are read, and measured


def training_keys(config: Mapping[Any, Any]) -> dict[str, Any]:
    """The part of a plain config that decides the training; 1.0 and 1 are one number there."""
    kept = _canonical({key: value for key, value in config.items() if key not in NON_TRAINING_KEYS})
    if isinstance(data := kept.get("data"), dict):
        kept["data"] = {
            key: value
            for key, value in data.items()
            if key not in DATA_APART and not (key in LATER_DATA_KEYS and is_same(value, LATER_DATA_KEYS[key]))
        }
        if isinstance(folder := kept["data"].get("folder"), str):
            kept["data"]["folder"] = _in_utf8(folder)
    if isinstance(game := kept.get("game"), dict):
        kept["game"] = _game(game)
    if isinstance(networks := kept.get("architecture"), dict):
        kept["architecture"] = {name: _network(own) for name, own in networks.items()}
    return kept


def _network(node: Any) -> Any:
    """A network without the keys that came later, where they stand at what was done before."""
    if not isinstance(node, dict):
        return node
    return {
        k: v for k, v in node.items() if k not in LATER_ARCHITECTURE_KEYS or not is_same(v, LATER_ARCHITECTURE_KEYS[k])
    }


def _game(game: Mapping[str, Any]) -> dict[str, Any]:
    """A game without what the first edition did not name: sides, makers and samples of the two-player game, its order.

    All players at once is written as the class that stood for it then, so that runs keep their names.
    """
    kept = {
        key: value
        for key, value in game.items()
        if key not in LATER_GAME_KEYS or not is_same(value, LATER_GAME_KEYS[key])
    }
    if is_same(kept.get("sides"), FIRST_EDITION_SIDES):
        del kept["sides"]
    if isinstance(players := kept.get("players"), dict):
        kept["players"] = {
            name: {key: value for key, value in player.items() if (key, value) != ("sees", None)}
            if isinstance(player, dict) else player
            for name, player in players.items()
        }  # fmt: skip
        order = kept.get("order")
        if order is None or is_same(order, [[name] for name in players]):
            kept.pop("order", None)
        elif is_same(order, [list(players)]):
            del kept["order"]
            kept["_target_"] = FIRST_EDITION_SIMULTANEOUS
    return kept


def _in_utf8(path: str) -> str:
    """A path as it reads where names of files are UTF-8, so that a locale does not make another one of it."""
    try:
        return os.fsencode(path).decode("utf-8", "surrogateescape")
    except UnicodeEncodeError:  # it was not typed here, but read from a file
        return path


def dotted_items(value: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """Dotted keys and what stands there; lists and empty mappings are leaves."""
    if isinstance(value, dict) and value:
        for key, part in value.items():
            yield from dotted_items(part, f"{path}.{key}" if path else str(key))
    else:
        yield path, value


def is_same(one: Any, other: Any) -> bool:
    """Whether two leaves are equal; True is not 1."""
    return one is other or repr(one) == repr(other)


def _canonical(value: Any) -> Any:
    """The value with string keys, each whole float as an int, and no path that depends on whose home it is in."""
    whole: list[Any] = [value]
    waiting: list[Any] = [whole]
    while waiting:
        container = waiting.pop()
        for key, part in container.items() if isinstance(container, dict) else enumerate(container):
            if isinstance(part, dict):
                container[key] = dict(zip(map(str, part), part.values(), strict=True))
                waiting.append(container[key])
            elif isinstance(part, list):
                container[key] = list(part)
                waiting.append(container[key])
            elif isinstance(part, str):
                container[key] = shorten_home(part) if os.sep in part else part
            elif isinstance(part, float) and part.is_integer():
                container[key] = int(part)
    return whole[0]


class _Nothing:
    """What stands at a key that a config has not; no value of a config is equal to it."""

    def __repr__(self) -> str:
        return "nothing"


NO_VALUE: Final = _Nothing()


def nested_difference(
    old: Mapping[Any, Any], new: Mapping[Any, Any], ignore: Collection[str] = ()
) -> dict[str, tuple[Any, Any]]:
    """By dotted key, what stands in `old` and in `new` where that differs, NOTHING where one has no such key.

    Lists and empty mappings are leaves; 1, 1.0 and true are three values.  Keys at or below one of `ignore` are left
    out.  In the order of `new`, then what is in `old` alone.
    """
    ours, theirs = (dict(dotted_items(own)) if own else {} for own in (old, new))
    both = {key: (ours.get(key, NO_VALUE), theirs.get(key, NO_VALUE)) for key in {**theirs, **ours}}
    return {key: pair for key, pair in both.items() if not is_same(*pair) and not _below(key, ignore)}


def _below(key: str, places: Collection[str]) -> bool:
    return any(f"{key}.".startswith(f"{place}.") for place in places)
