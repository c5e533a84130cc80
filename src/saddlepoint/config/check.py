"""Checks of a composed config, once, before anything is built."""

import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from omegaconf import DictConfig, ListConfig, OmegaConf, open_dict

from saddlepoint.config import allow_list, catalogue, key_types
from saddlepoint.config.identity import compute_identity
from saddlepoint.config.instantiate import (
    import_target,
    instantiate,
    origin_path,
    settable_arguments,
    signature_parameters,
)
from saddlepoint.config.override import not_chosen_message
from saddlepoint.config.training_keys import LATER_ARCHITECTURE_KEYS, is_same
from saddlepoint.config.tree import CheckedConfig, target_nodes, to_plain
from saddlepoint.error import Mistake, did_you_mean
from saddlepoint.schema import Number, NumberOrSchedule, pydantic_type

HYDRA_KEYS = frozenset({"_target_", "_partial_", "_args_", "_convert_", "_recursive_"})  # Hydra's own keys
TARGET_GROUPS = {
    "regularizer": 2,
    "callback": 1,
    "metric": 1,
}  # groups whose nodes must have a _target_, and their depth
PLAYER_GROUPS = ("architecture", "objective", "regularizer", "optimizer")  # groups that are keyed by player


def check(config: DictConfig) -> CheckedConfig:
    """Check a config and return it read-only; a checked config is returned unchanged.

    Raises Mistake for a setting that has no effect or an invalid value: an unknown key, player or target, a key of an
    option that is not chosen, a text for a number. Values are converted to their types: 0 becomes 0.0 for a float, 1e5
    becomes 100000 for an integer.
    """
    if isinstance(config, CheckedConfig):
        return config
    _check_all(config)
    return CheckedConfig(config, compute_identity)


def _check_all(config: DictConfig) -> None:
    _check_players(config)
    if names := (config.get("choice") or {}).get("layer"):
        raise Mistake(
            f"layer={names[0]} has no effect: give its position, for example "
            f"+layer@architecture.discriminator.neck={names[0]} (also generator.norm, discriminator.readout)"
        )
    for group, depth in TARGET_GROUPS.items():
        nodes = [(group, config.get(group))]
        for _ in range(depth):
            parents = [(path, node) for path, node in nodes if isinstance(node, DictConfig) and not node._is_none()]
            nodes = [(f"{path}.{name}", node[name]) for path, node in parents for name in node]
        for path, node in nodes:
            if not isinstance(node, DictConfig) or "_target_" not in node:
                _raise_for_missing_target(path, node, group)
    allowed = allow_list.allowed_names(config)
    for path, node in target_nodes(config):
        if (known := signature_parameters(import_target(path, node._target_, allowed))) is not None:
            if unknown := {*map(str, node)} - known.keys() - HYDRA_KEYS:
                _check_unknown_arguments(path, node, known, [key for key in map(str, node) if key in unknown])
            _convert_arguments(path, node, known)
    _check_trainer(config)
    _check_logger(config)


def check_logger_installed(config: DictConfig) -> None:
    """Raise Mistake for a logger whose package is not installed. This is checked before a run, not for every config."""
    if isinstance(config.get("logger"), DictConfig) and "tensorboard" in config.logger:
        instantiate(config.logger.tensorboard, "logger.tensorboard")


def describe_terms(config: DictConfig) -> list[str]:
    """Return the loss terms, one line per player: "discriminator: adversarial (hinge), r1 x 1.0 every 16"."""
    lines = []
    for name, player in config.game.players.items():
        turn = f" (every {player.every})" if player.get("every", 1) != 1 else ""
        parts = []
        if (objective := player.get("objective")) is not None:
            *_, module, function = str(objective._target_).split(".")
            weight = "" if player.get("weight", 1) == 1 else f" x {_format_number(player.weight)}"
            parts.append(f"adversarial ({module if function == name else objective._target_}){weight}")
        for term, node in (player.get("regularizers") or {}).items():
            parts.append(f"{term} x {_format_number(node.get('weight', 1.0))} every {node.get('every', 1)}")
        lines.append(f"{name}{turn}: {', '.join(parts) or 'no loss'}")
    return lines


def config_warnings(config: DictConfig) -> list[str]:
    """Return warnings about settings that are valid but probably not intended, one line each."""
    lines = []
    for player, node in (config.get("objective") or {}).items():
        label = node.get("real_label") if isinstance(node, DictConfig) else None
        if isinstance(label, int | float) and 0 < label <= 0.5:
            lines.append(
                f"objective.{player}.real_label={label} labels reals as fake rather than real; one-sided smoothing "
                "uses about 0.9"
            )
    if "checkpoint" not in (config.get("callback") or {}):
        lines.append(
            "callback has no checkpoint: this run cannot be resumed, sampled or evaluated later: +callback=checkpoint"
        )
    return lines


def _format_number(value: Any) -> str:
    """Format a number or a schedule."""
    if isinstance(value, DictConfig):
        arguments = ", ".join(f"{key}={argument}" for key, argument in value.items() if key != "_target_")
        return f"{str(value._target_).rpartition('.')[2].lower()}({arguments})"
    return str(value)


# ----------------------------------------------------------------------------------------------- the single checks


def _check_players(config: DictConfig) -> None:
    players = OmegaConf.select(config, "game.players")
    if not isinstance(players, DictConfig):
        return  # a user-defined game
    game_yaml = OmegaConf.to_yaml(config.game)  # interpolations unresolved: a wiring may add its own networks
    for group in (group for group in PLAYER_GROUPS if f"${{{group}." in game_yaml):
        for name in map(str, config.get(group) or ()):
            if name not in players:
                known = list(map(str, players))
                suggestion = did_you_mean(name, known)
                # the defaults contain an empty regularizer and an optimizer for both players of the two-player game
                if (group == "regularizer" and not config[group][name]) or (group == "optimizer" and not suggestion):
                    continue
                raise Mistake(
                    f"{group}.{name}: there is no such player.{suggestion} The players are {' and '.join(known)}"
                )
    for name, player in players.items():
        if player.get("objective") is None and not player.get("regularizers"):
            raise Mistake(f"{name} has no loss: give it objective.{name} or a regularizer")


def _raise_for_missing_target(path: str, node: Any, group: str) -> None:
    name = path.rpartition(".")[2]
    if not isinstance(node, DictConfig):
        raise Mistake(
            f"{path}={'null' if node is None else node}: to leave it out, remove it from the list: ~{group}=<name>"
        )
    known = catalogue.option_names(group)
    if name not in known:
        raise Mistake(f"{path} is not a {group}: it has no _target_.{did_you_mean(name, known)}")
    raise Mistake(not_chosen_message(f"{path}.{next(iter(node), '')}".rstrip("."), group, name))


def _check_unknown_arguments(
    path: str, node: DictConfig, known: Mapping[str, inspect.Parameter], keys: Sequence[str]
) -> None:
    """Raise Mistake for a key that the target does not accept.

    A user-defined network need not accept keys that were added later: they are deleted if they have their default.
    """
    loggers = extra_loggers(node) if path == "logger" else ()
    for key in keys:
        if key in loggers:
            continue
        if path.startswith("architecture.") and is_same(to_plain(node[key]), LATER_ARCHITECTURE_KEYS.get(key, ...)):
            with open_dict(node):
                del node[key]
            continue
        accepted = settable_arguments(known, node)
        raise Mistake(
            f"{path}.{key}: {node._target_} takes no {key}.{did_you_mean(key, accepted)} "
            + (f"It takes {', '.join(accepted)}" if accepted else "It has no settings")
        )


def _convert_arguments(path: str, node: DictConfig, known: Mapping[str, inspect.Parameter]) -> None:
    """Convert each argument to its annotation. Raises Mistake for an invalid value."""
    value_types = {}
    for key, argument in known.items():
        if key not in node:
            continue
        value, default = node[key], argument.default
        if isinstance(value, DictConfig | ListConfig):
            value = OmegaConf.to_container(value, resolve=True)
        if type(value) is type(default) and value == default:
            continue  # even if the annotation excludes it: eps: float = None
        expected = pydantic_type(argument.annotation)
        if path.rpartition(".")[0] == "optimizer":  # the player applies schedules (game.player)
            if expected == Number:
                expected = NumberOrSchedule
            elif isinstance(value, list) and dict in map(type, value):
                expected = pydantic_type(tuple[*[float | Callable[[int], float]] * len(value)])
        value_types[key] = expected
    if not value_types:
        return
    try:
        key_types.convert_in_place(node, value_types, path)
    except Mistake:  # report the key at which it was written
        for key, expected in value_types.items():
            parent, _, last = origin_path(node._get_root(), f"{path}.{key}").rpartition(".")
            key_types.convert_in_place(node, {key: expected}, parent if last == key else path)


def _check_trainer(config: DictConfig) -> None:
    known = list(catalogue.command_keys("trainer/lightning"))
    for key in map(str, config.get("trainer") or ()):
        if key not in known:
            raise Mistake(
                f"trainer.{key} cannot be set; available: {', '.join(known)}.{did_you_mean(key, known)} "
                "Saddlepoint sets the other arguments of the trainer, or they would change the game"
            )


def _check_logger(config: DictConfig) -> None:
    """Raise Mistake for an unknown mode of W&B, also if it comes from the user's W&B settings."""
    logger = config.get("logger")
    if isinstance(logger, DictConfig) and "mode" in logger:
        from saddlepoint.run.tracking.wandb_session import WandbSession  # validates the mode

        WandbSession(str(logger.mode))


def extra_loggers(node: Any) -> list[str]:
    """Return the names of the loggers next to W&B, whose settings are directly under `logger`."""
    nodes = {name: node._get_node(name) for name in node} if isinstance(node, DictConfig) else {}
    return [str(name) for name, child in nodes.items() if isinstance(child, DictConfig) and "_target_" in child]
