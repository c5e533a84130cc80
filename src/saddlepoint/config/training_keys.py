"""The settings of a config that affect training, without name, length, devices and observers; differences of configs.

All functions take and return plain values with unresolved interpolations, so that a run folder can be read without
composing its config.
"""

import os
from collections.abc import Collection, Iterator, Mapping
from typing import Any, Final

from saddlepoint.redaction import shorten_home

# keys that do not change the game: name, length, devices, observers
NON_TRAINING_KEYS = frozenset(
    ("name", "seed", "images", "outputs", "cache", "device", "devices", "nodes", "compile", "threads", "trainer")
) | {"logger", "callback", "metric", "evaluation", "protocol", "launcher", "many", "shared", "overwrite", "resume"}
NON_TRAINING_KEYS |= {"block", "choice", "experiment", "allow_target"}
LATER_KEYS = {
    "start": None,
    "start_average": True,
}  # added after the first runs, with the value of the behaviour before
# keys of data that were added after the first runs, with the value that keeps the behaviour before them
LATER_DATA_KEYS = {"fit": "crop", "flip": False, "bits": 8, "reserved": None}
LATER_DATA_KEYS |= {"convert": False, "spectrogram": False, "standardisation": None, "only_labelled": False}
# the same for keys of the game, with the sides of the two-player game, which were fixed in the first edition
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
LATER_ARCHITECTURE_KEYS = {"condition": {}, "bounded": None}  # the same for networks
LATER_TERM_KEYS = {"mask": None, "extractor": None}  # the same for terms (reconstruction)
# the sides of the two-player game in the first edition, which passed the class to every network
FIRST_EDITION_SIDES = {
    "real": {"of": "x", "condition": "y", "judge": "discriminator"},
    "fake": {"by": "generator", "condition": "y", "judge": "discriminator"},
    "labelled": {"of": "labelled_x", "condition": "labelled_y", "judge": "discriminator"},
}
FIRST_EDITION_SIMULTANEOUS = (
    "saddlepoint.game.simultaneous.Simultaneous"  # a class of the first edition, now game.order
)
NON_TRAINING_DATA_KEYS = frozenset(("root", "memory", "workers", "extractor"))  # how data are read and measured


def training_keys(config: Mapping[Any, Any]) -> dict[str, Any]:
    """Return the part of a plain config that affects training; 1.0 is equal to 1 in it."""
    result = _canonical_value({key: value for key, value in config.items() if key not in NON_TRAINING_KEYS})
    result = {k: v for k, v in result.items() if k not in LATER_KEYS or not is_same(v, LATER_KEYS[k])}
    if isinstance(data := result.get("data"), dict):
        result["data"] = {
            key: value
            for key, value in data.items()
            if key not in NON_TRAINING_DATA_KEYS
            and not (key in LATER_DATA_KEYS and is_same(value, LATER_DATA_KEYS[key]))
        }
        if isinstance(folder := result["data"].get("folder"), str):
            result["data"]["folder"] = _in_utf8(folder)
    if isinstance(game := result.get("game"), dict):
        result["game"] = _first_edition_game(game)
    if isinstance(networks := result.get("architecture"), dict):
        result["architecture"] = {name: _without(node, LATER_ARCHITECTURE_KEYS) for name, node in networks.items()}
    if isinstance(regularizer := result.get("regularizer"), dict) and any(regularizer.values()):
        result["regularizer"] = {
            player: {name: _without(node, LATER_TERM_KEYS) for name, node in terms.items()}
            if isinstance(terms, dict) else terms
            for player, terms in regularizer.items()
        }  # fmt: skip
    return result


def _without(node: Any, later: Mapping[str, Any]) -> Any:
    """Return a network or term without later keys that have the value of the behaviour before them."""
    if not isinstance(node, dict):
        return node
    return {key: value for key, value in node.items() if key not in later or not is_same(value, later[key])}


def _first_edition_game(game: Mapping[str, Any]) -> dict[str, Any]:
    """Return a game without the keys that the first edition lacked, if they describe the two-player game.

    An order with all players at once becomes the first edition's class, so that old runs keep their names.
    """
    result = {
        key: value
        for key, value in game.items()
        if key not in LATER_GAME_KEYS or not is_same(value, LATER_GAME_KEYS[key])
    }
    if is_same(result.get("sides"), FIRST_EDITION_SIDES):
        del result["sides"]
    if isinstance(players := result.get("players"), dict):
        result["players"] = {
            name: {key: value for key, value in player.items() if (key, value) != ("sees", None)}
            if isinstance(player, dict) else player
            for name, player in players.items()
        }  # fmt: skip
        order = result.get("order")
        if order is None or is_same(order, [[name] for name in players]):
            result.pop("order", None)
        elif is_same(order, [list(players)]):
            del result["order"]
            result["_target_"] = FIRST_EDITION_SIMULTANEOUS
    return result


def _in_utf8(path: str) -> str:
    """Return a path decoded as UTF-8, so that it does not depend on the locale."""
    try:
        return os.fsencode(path).decode("utf-8", "surrogateescape")
    except UnicodeEncodeError:  # read from a file, not typed
        return path


def dotted_items(value: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """Yield dotted keys and values; lists and empty mappings are values."""
    if isinstance(value, dict) and value:
        for key, item in value.items():
            yield from dotted_items(item, f"{path}.{key}" if path else str(key))
    else:
        yield path, value


def is_same(a: Any, b: Any) -> bool:
    """Whether two values are equal; True is not 1."""
    return a is b or repr(a) == repr(b)


def _canonical_value(value: Any) -> Any:
    """Return the value with string keys, integral floats as int, and paths relative to the home folder."""
    root: list[Any] = [value]
    waiting: list[Any] = [root]
    while waiting:
        container = waiting.pop()
        for key, item in container.items() if isinstance(container, dict) else enumerate(container):
            if isinstance(item, dict):
                container[key] = dict(zip(map(str, item), item.values(), strict=True))
                waiting.append(container[key])
            elif isinstance(item, list):
                container[key] = list(item)
                waiting.append(container[key])
            elif isinstance(item, str):
                container[key] = shorten_home(item) if os.sep in item else item
            elif isinstance(item, float) and item.is_integer():
                container[key] = int(item)
    return root[0]


class _NoValue:
    """The value of a missing key; not equal to any value of a config."""

    def __repr__(self) -> str:
        return "nothing"


NO_VALUE: Final = _NoValue()


def nested_difference(
    old: Mapping[Any, Any], new: Mapping[Any, Any], ignore: Collection[str] = ()
) -> dict[str, tuple[Any, Any]]:
    """Return dotted key -> (old, new) for each value that differs; NO_VALUE for a missing key.

    Lists and empty mappings are values; 1, 1.0 and true are three different values. Keys at or below one of `ignore`
    are left out. The order is that of `new`, then the keys that only `old` has.
    """
    before, after = (dict(dotted_items(mapping)) if mapping else {} for mapping in (old, new))
    pairs = {key: (before.get(key, NO_VALUE), after.get(key, NO_VALUE)) for key in {**after, **before}}
    return {key: pair for key, pair in pairs.items() if not is_same(*pair) and not _is_below(key, ignore)}


def _is_below(key: str, prefixes: Collection[str]) -> bool:
    return any(f"{key}.".startswith(f"{prefix}.") for prefix in prefixes)
