"""Whether a composed config makes sense, asked once, before anything is built."""

import inspect
from collections.abc import Mapping, Sequence
from typing import Any

from omegaconf import DictConfig, ListConfig, OmegaConf, open_dict

from saddlepoint.config import allow_list, catalogue, keys
from saddlepoint.config.identity import identity
from saddlepoint.config.instantiate import instantiate, located, origin, parameters, settable
from saddlepoint.config.override import not_among
from saddlepoint.config.training_keys import ARCHITECTURE_ADDED, same
from saddlepoint.config.tree import Checked, plain, targets
from saddlepoint.error import Mistake, did_you_mean
from saddlepoint.schema import Number, Scheduled, kind_of

RESERVED = frozenset({"_target_", "_partial_", "_args_", "_convert_", "_recursive_"})  # Hydra's own keys
TERMS = {"regularizer": 2, "callback": 1, "metric": 1}  # groups of single pieces, and how deep these lie
COLUMNS = ("architecture", "objective", "regularizer", "optimizer")  # groups that are keyed by player


def check(config: DictConfig) -> Checked:
    """The config, checked and frozen; one that is checked already, as it is.

    Raises Mistake for a setting that reaches nothing or is of a wrong kind: an unknown key, player or target, a piece
    not chosen; a text where a number belongs. Values are put as their kinds have them: 0 among floats becomes 0.0, 1e5
    of a whole number 100000.
    """
    if isinstance(config, Checked):
        return config
    _look_at_all(config)
    return Checked(config, identity)


def _look_at_all(config: DictConfig) -> None:
    _look_at_players(config)
    if names := (config.get("choice") or {}).get("layer"):
        raise Mistake(
            f"layer={names[0]} stands nowhere: a layer is put in a place, "
            f"+layer@architecture.discriminator.neck={names[0]} for one (also generator.norm, discriminator.readout)"
        )
    for group, depth in TERMS.items():
        nodes = [(group, config.get(group))]
        for _ in range(depth):  # as they are written, by dotted path
            inside = [(path, node) for path, node in nodes if isinstance(node, DictConfig) and not node._is_none()]
            nodes = [(f"{path}.{name}", node[name]) for path, node in inside for name in node]
        for path, node in nodes:
            if not isinstance(node, DictConfig) or "_target_" not in node:
                _refuse_term(path, node, group)
    allowed = allow_list.granted(config)
    for path, node in targets(config):
        if (known := parameters(located(path, node._target_, allowed))) is not None:
            if strange := {*map(str, node)} - known.keys() - RESERVED:
                _look_at_strange_keys(path, node, known, [key for key in map(str, node) if key in strange])
            _look_at_values(path, node, known)
    _look_at_trainer(config)
    _look_at_logger(config)


def installed(config: DictConfig) -> None:
    """Raises Mistake for a logger whose package is not installed; asked before a run, and not of a config as such."""
    if isinstance(config.get("logger"), DictConfig) and "tensorboard" in config.logger:
        instantiate(config.logger.tensorboard, "logger.tensorboard")


def terms(config: DictConfig) -> list[str]:
    """The terms in force, a line per player:  discriminator: adversarial (hinge), r1 x 1.0 every 16."""
    lines = []
    for name, player in config.game.players.items():
        turn = f" (every {player.every})" if player.get("every", 1) != 1 else ""
        parts = []
        if (objective := player.get("objective")) is not None:
            *_, module, function = str(objective._target_).split(".")
            weight = "" if player.get("weight", 1) == 1 else f" x {_number(player.weight)}"
            parts.append(f"adversarial ({module if function == name else objective._target_}){weight}")
        for term, node in (player.get("regularizers") or {}).items():
            parts.append(f"{term} x {_number(node.get('weight', 1.0))} every {node.get('every', 1)}")
        lines.append(f"{name}{turn}: {', '.join(parts) or 'nothing to descend'}")
    return lines


def cautions(config: DictConfig) -> list[str]:
    """What is allowed and hardly meant, a line each."""
    lines = []
    for player, node in (config.get("objective") or {}).items():
        label = node.get("real_label") if isinstance(node, DictConfig) else None
        if isinstance(label, int | float) and 0 < label <= 0.5:
            lines.append(
                f"objective.{player}.real_label={label}: reals are to be called rather fake than real; one-sided "
                "smoothing is 0.9 or so"
            )
    return lines


def _number(value: Any) -> str:
    """A number, or the schedule that stands for it."""
    if isinstance(value, DictConfig):
        settings = ", ".join(f"{key}={part}" for key, part in value.items() if key != "_target_")
        return f"{str(value._target_).rpartition('.')[2].lower()}({settings})"
    return str(value)


# ----------------------------------------------------------------------------------------------- what is looked for


def _look_at_players(config: DictConfig) -> None:
    players = OmegaConf.select(config, "game.players")
    if not isinstance(players, DictConfig):
        return  # a game of the researcher's own
    written = OmegaConf.to_yaml(config.game)  # interpolations as they stand: a wiring may bring networks of its own
    for group in (group for group in COLUMNS if f"${{{group}." in written):
        for name in map(str, config.get(group) or ()):
            if name not in players:
                known = list(map(str, players))
                meant = did_you_mean(name, known)
                # the defaults have columns for the two-player game: no terms, and an optimizer that nobody takes
                if (group == "regularizer" and not config[group][name]) or (group == "optimizer" and not meant):
                    continue
                raise Mistake(f"{group}.{name}: there is no such player.{meant} The players are {' and '.join(known)}")
    for name, player in players.items():
        if player.get("objective") is None and not player.get("regularizers"):
            raise Mistake(f"{name} has nothing to descend: give it objective.{name} or a regularizer of its own")


def _refuse_term(path: str, node: Any, group: str) -> None:
    name = path.rpartition(".")[2]
    if not isinstance(node, DictConfig):
        raise Mistake(
            f"{path}={'null' if node is None else node}: to leave a piece out, take it off the list: ~{group}=<name>"
        )
    known = catalogue.members(group)
    if name not in known:
        raise Mistake(f"{path} is no {group}: it has no _target_.{did_you_mean(name, known)}")
    raise Mistake(not_among(f"{path}.{next(iter(node), '')}".rstrip("."), group, name))


def _look_at_strange_keys(
    path: str, node: DictConfig, known: Mapping[str, inspect.Parameter], keys: Sequence[str]
) -> None:
    """Raises Mistake for a key that the target does not take.

    A network of one's own in the place of ours need not take the keys that ours have got since: these go, where unused.
    """
    beside = loggers_beside(node) if path == "logger" else ()
    for key in keys:
        if key in beside:
            continue
        if path.startswith("architecture.") and same(plain(node[key]), ARCHITECTURE_ADDED.get(key, ...)):
            with open_dict(node):
                del node[key]
            continue
        there = settable(known, node)
        raise Mistake(
            f"{path}.{key}: {node._target_} takes no {key}.{did_you_mean(key, there)} "
            + (f"It takes {', '.join(there)}" if there else "It has no settings")
        )


def _look_at_values(path: str, node: DictConfig, known: Mapping[str, inspect.Parameter]) -> None:
    """Put each argument as its signature has it.  Raises Mistake for one of a wrong kind."""
    kinds = {}
    for key, argument in known.items():
        if key not in node:
            continue
        value, default = node[key], argument.default
        if isinstance(value, DictConfig | ListConfig):
            value = OmegaConf.to_container(value, resolve=True)
        if type(value) is type(default) and value == default:
            continue  # also where an annotation does not say so: eps: float = None
        kind = kind_of(argument.annotation)
        if kind == Number and path.rpartition(".")[0] == "optimizer":
            kind = Scheduled  # a player puts a schedule's number in its place (game.player)
        kinds[key] = kind
    if not kinds:
        return
    try:
        keys.put(node, kinds, path)
    except Mistake:  # told under the key at which it was written
        for key, kind in kinds.items():
            parent, _, last = origin(node._get_root(), f"{path}.{key}").rpartition(".")
            keys.put(node, {key: kind}, parent if last == key else path)


def _look_at_trainer(config: DictConfig) -> None:
    known = list(catalogue.keys("trainer/lightning"))
    for key in map(str, config.get("trainer") or ()):
        if key not in known:
            raise Mistake(
                f"trainer.{key}: Lightning can be told {', '.join(known)}.{did_you_mean(key, known)} "
                "The rest is Saddlepoint's to say, or would change the game"
            )


def _look_at_logger(config: DictConfig) -> None:
    """Raises Mistake for a mode of W&B that there is none of, also where the user's own settings say it."""
    logger = config.get("logger")
    if isinstance(logger, DictConfig) and "mode" in logger:
        from saddlepoint.run.tracking.session import Session  # W&B's settings, where a config has them

        Session(str(logger.mode))


def loggers_beside(node: Any) -> list[str]:
    """The loggers that a config has beside W&B, whose own settings lie directly under `logger`."""
    parts = {name: node._get_node(name) for name in node} if isinstance(node, DictConfig) else {}
    return [str(name) for name, part in parts.items() if isinstance(part, DictConfig) and "_target_" in part]
