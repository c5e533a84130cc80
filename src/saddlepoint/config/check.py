"""Whether a composed config makes sense, asked before anything is built; and building, with mistakes told by path."""

from __future__ import annotations

import ast
import importlib
import inspect
import pkgutil
import re
import textwrap
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cache
from typing import Any, cast

import hydra.utils
from hydra.errors import InstantiationException
from omegaconf import DictConfig, ListConfig, OmegaConf, open_dict

from saddlepoint.config import allow_list, catalogue, config_file, keys, own_error
from saddlepoint.config.assign import not_among
from saddlepoint.config.training_keys import ARCHITECTURE_ADDED, same
from saddlepoint.error import Mistake, did_you_mean
from saddlepoint.redaction import secrets
from saddlepoint.run.tracking.session import Session
from saddlepoint.schema import Number, Scheduled, annotation, kind_of

RESERVED = frozenset({"_target_", "_partial_", "_args_", "_convert_", "_recursive_"})  # Hydra's own keys
TERMS = {"regularizer": 2, "callback": 1, "metric": 1}  # groups of single pieces, and how deep these lie
REFUSALS = (ValueError, TypeError, RuntimeError, OSError)
COLUMNS = ("architecture", "objective", "regularizer", "optimizer")  # groups that are keyed by player


def check(config: DictConfig) -> None:
    """Raises Mistake for a setting that reaches nothing or is of a wrong kind.

    An unknown key, player or target, a piece not chosen; a text where a number belongs. Values are put as their kinds
    have them: 0 among floats becomes 0.0, 1e5 of a whole number 100000.
    """
    _look_at_players(config)
    if names := (config.get("choice") or {}).get("layer"):
        raise Mistake(
            f"layer={names[0]} stands nowhere: a layer is put in a place, "
            f"+layer@architecture.discriminator.neck={names[0]} for one (also generator.norm, discriminator.readout)"
        )
    for group, depth in TERMS.items():
        for path, node in _at_depth(config.get(group), depth, group):
            _look_at_term(path, node, group)
    allowed = allow_list.granted(config)
    for path, node in _targets(config):
        _look_at_keys(path, node, allowed)
        _look_at_values(path, node, allowed)
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


def instantiate(node: Any, path: str, **given: Any) -> Any:
    """What `node` describes, built, None for None; `given` arguments are passed as they are.

    What torch and the pieces themselves refuse (ValueError, TypeError, RuntimeError, OSError) is taken for a mistake in
    the config and told under its path; any other exception passes as it is.  Raises Mistake, and builds nothing, where
    a target is not permitted.
    """
    if node is None:
        return None
    try:
        node = _permitted(node, path)
        if given:
            return hydra.utils.instantiate(node, _convert_="all", _partial_=True)(**given)
        return hydra.utils.instantiate(node, _convert_="all")
    except InstantiationException as error:
        cause: BaseException = error.__cause__ or ValueError(" ".join(str(error).splitlines()[:2]))
        if match := re.search(r"full_key: (\S+)", str(error)):
            path = _origin(node._get_root(), match[1])
    except REFUSALS as error:
        cause = error
    cause.add_note(path)
    if isinstance(cause, REFUSALS):
        raise Mistake(f"{path}: {str(cause) or type(cause).__name__}{own_error.place(cause)}") from cause
    raise cause


def _permitted(node: Any, path: str) -> Any:
    """The node without interpolations, each of its targets looked at."""
    allowed = allow_list.granted(node)
    found = allow_list.settled(node)
    known = secrets()
    for where, value in _texts(found, path):
        config_file.look_for_secret(where, value, known)
    for where, part in _targets(found, path):
        target = part._get_node("_target_")
        if isinstance(name := target._value() if target is not None else None, str):
            located(_origin(node._get_root(), where), name, allowed)
    return found


def _texts(node: Any, path: str) -> Iterator[tuple[str, str]]:
    """Each text in a node that has no interpolations."""
    if isinstance(node, DictConfig | ListConfig) and not (node._is_none() or node._is_missing()):
        names: list[Any] = list(node) if isinstance(node, DictConfig) else list(range(len(node)))
        for name in names:
            yield from _texts(node._get_node(name), f"{path}.{name}")
    elif node is not None and isinstance(value := node._value(), str):
        yield path, value


def _origin(config: Any, path: str) -> str:
    """Where a node was written: architecture.generator rather than game.players.generator.network."""
    parts = path.split(".")
    for i in range(1, len(parts) + 1):
        node = OmegaConf.select(config, ".".join(parts[: i - 1])) if i > 1 else config
        raw = node._get_node(parts[i - 1]) if isinstance(node, DictConfig) else None
        if raw is not None and raw._is_interpolation() and (match := re.fullmatch(r"\$\{([\w.]+)\}", raw._value())):
            return ".".join([match[1], *parts[i:]])
    return path


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


def _at_depth(node: Any, depth: int, path: str) -> Iterator[tuple[str, Any]]:
    """What lies `depth` keys below, as (dotted path, node as it is written)."""
    if depth == 0:
        yield path, node
    elif isinstance(node, DictConfig) and not node._is_none():
        for name in node:
            yield from _at_depth(node[name], depth - 1, f"{path}.{name}")


def _look_at_term(path: str, node: Any, group: str) -> None:
    name = path.rpartition(".")[2]
    if isinstance(node, DictConfig) and "_target_" in node:
        return
    if not isinstance(node, DictConfig):
        raise Mistake(
            f"{path}={'null' if node is None else node}: to leave a piece out, take it off the list: ~{group}=<name>"
        )
    known = catalogue.members(group)
    if name not in known:
        raise Mistake(f"{path} is no {group}: it has no _target_.{did_you_mean(name, known)}")
    raise Mistake(not_among(f"{path}.{next(iter(node), '')}".rstrip("."), group, name))


def _targets(node: Any, path: str = "") -> Iterator[tuple[str, DictConfig]]:
    """Each node with a `_target_`, not through interpolations."""
    if isinstance(node, DictConfig | ListConfig) and not (node._is_none() or node._is_interpolation()):
        if "_target_" in node:
            yield path, cast(DictConfig, node)
        names: list[Any] = list(node) if isinstance(node, DictConfig) else list(range(len(node)))
        for name in names:
            yield from _targets(node._get_node(name), f"{path}.{name}".lstrip("."))


def _look_at_keys(path: str, node: DictConfig, allowed: Sequence[str]) -> None:
    """Raises Mistake for a key that the target does not take.

    A network of one's own in the place of ours need not take the keys that ours have got since: these go, where unused.
    """
    target = located(path, node._target_, allowed)
    known = parameters(target)
    beside = loggers_beside(node) if path == "logger" else ()
    for key in list(map(str, node)):
        if known is not None and key not in known and key not in RESERVED and key not in beside:
            if path.startswith("architecture.") and same(keys.plain(node[key]), ARCHITECTURE_ADDED.get(key, ...)):
                with open_dict(node):
                    del node[key]
                continue
            settable = [name for name, p in known.items() if p.default is not p.empty or name in node]
            raise Mistake(
                f"{path}.{key}: {node._target_} takes no {key}.{did_you_mean(key, settable)} "
                + (f"It takes {', '.join(settable)}" if settable else "It has no settings")
            )


def _look_at_values(path: str, node: DictConfig, allowed: Sequence[str]) -> None:
    """Put each argument as its signature has it.  Raises Mistake for one of a wrong kind."""
    known = parameters(located(path, node._target_, allowed)) or {}
    for key, parameter in known.items():
        if key not in node:
            continue
        value, default = keys.plain(node[key]), parameter.default
        if type(value) is type(default) and value == default:
            continue  # also where an annotation does not say so: eps: float = None
        kind = kind_of(parameter.annotation)
        if kind == Number and path.rpartition(".")[0] == "optimizer":
            kind = Scheduled  # a player puts a schedule's number in its place (game.player)
        keys.put(node, key, kind, _origin(node._get_root(), f"{path}.{key}"))


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
        Session(str(logger.mode))


def loggers_beside(node: Any) -> list[str]:
    """The loggers that a config has beside W&B, whose own settings lie directly under `logger`."""
    parts = {name: node._get_node(name) for name in node} if isinstance(node, DictConfig) else {}
    return [str(name) for name, part in parts.items() if isinstance(part, DictConfig) and "_target_" in part]


# --------------------------------------------------------------------------------------------- what targets take


def located(path: str, name: Any, allowed: Sequence[str] = ()) -> Callable[..., Any]:
    """The class or function of a `_target_`.  Raises Mistake under `path`, with close names, where it is not there.

    Also where it is not on the list of what a config may build, nor among `allowed` (see `permission`).
    """
    parts = str(name).split(".")
    if len(parts) > 1:
        allow_list.look_up(path, str(name), allowed)
    for i in range(len(parts) - 1, 0, -1):
        module = ".".join(parts[:i])
        try:
            found: Any = importlib.import_module(module)
        except ModuleNotFoundError as error:
            if f"{module}.".startswith(f"{error.name}."):
                continue
            why = f"{path}: {module} needs the module {error.name}, which is not installed"
            raise Mistake(f"{why}{own_error.place(error)}") from None
        for part in parts[i:]:
            if not hasattr(found, part):
                inside = [m.name for m in pkgutil.iter_modules(getattr(found, "__path__", []))]
                raise Mistake(
                    f"{path}: {name} is not there: no {part} in {module}.{did_you_mean(part, [*dir(found), *inside])}"
                )
            found = getattr(found, part)
        if not callable(found):
            raise Mistake(f"{path}: {name} is no class or function")
        allow_list.look_at(path, str(name), found, allowed)
        return found
    raise Mistake(f"{path}: {name}: there is no module {parts[0]}. Run from the folder that holds it, or install it")


@cache
def parameters(target: Callable[..., Any]) -> Mapping[str, inspect.Parameter] | None:
    """What a class or function can be given by name, annotations evaluated; None where that is anything.

    Where __init__ hands its **keywords on to its parent's, the parent's optional ones belong to it.
    """
    found: dict[str, inspect.Parameter] = {}
    for function in _inits(target) if inspect.isclass(target) else [target]:
        try:
            signature = inspect.signature(function)
        except (ValueError, TypeError):
            return None
        named = {
            name: p.replace(annotation=annotation(function, p))
            for name, p in signature.parameters.items()
            if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)
        }
        if inspect.isclass(target):
            named.pop(next(iter(signature.parameters), ""), None)  # self
        found |= {name: p for name, p in named.items() if name not in found and (not found or p.default is not p.empty)}
        rest = next((p.name for p in signature.parameters.values() if p.kind == p.VAR_KEYWORD), None)
        if rest is None:
            return found
        if not _hands_on(function, rest):
            return None
    return found


def _inits(target: type) -> list[Callable[..., Any]]:
    return [vars(parent)["__init__"] for parent in target.__mro__ if "__init__" in vars(parent)]


def _hands_on(function: Callable[..., Any], rest: str) -> bool:
    """Whether an __init__ calls another __init__ with its own **rest."""
    try:
        tree = ast.parse(textwrap.dedent(inspect.getsource(function)))
    except (OSError, TypeError, SyntaxError):
        return False
    return any(
        keyword.arg is None and isinstance(keyword.value, ast.Name) and keyword.value.id == rest
        for call in ast.walk(tree)
        if isinstance(call, ast.Call) and isinstance(call.func, ast.Attribute) and call.func.attr == "__init__"
        for keyword in call.keywords
    )
