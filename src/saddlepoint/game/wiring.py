"""Checks that the components of a game fit together, and helpers for sides and batches."""

from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor, nn

from saddlepoint.error import Mistake, did_you_mean
from saddlepoint.game.average import BatchNorm
from saddlepoint.game.side import LATENT, check_sides
from saddlepoint.turn import BATCH_COLUMNS, Batch, batch_from_columns


def build_module_dict(kind: str, modules: Mapping[str, nn.Module]) -> nn.ModuleDict:
    """Return the players, or makers, as a ModuleDict. Raises Mistake for a name that ModuleDict does not accept."""
    for name in modules:
        if hasattr(nn.ModuleDict, name) or "." in name or not name:
            raise Mistake(f"game.{kind}.{name}: torch.nn.ModuleDict does not accept this name; choose another")
    return nn.ModuleDict(dict(modules))


def check_wiring(game: Any) -> None:
    """Raise Mistake if the names, sides, order and objectives of a game do not fit together.

    Raises ValueError if players that move at once need different batches, or if a batch would be split although a layer
    uses it as a whole.
    """
    _check_names(game)
    check_sides(game.sides, list(game.players), list(game.makers))
    if game.samples not in game.sides:
        raise Mistake(f"game.samples={game.samples}: {_unknown_side_message(game, game.samples)}")
    _check_order(game)
    for name, player in game.players.items():
        if player.objective is not None and not any(term.sides for term in player.adversarial_terms):
            raise Mistake(f"{name} has no samples: its objective has neither a real nor a fake argument")
        if player.objective is None and not player.regularizers:
            raise Mistake(f"{name} has no loss: it has neither an objective nor a regularizer")
        for role, side in player.side_by_role.items():
            if side not in game.sides:
                raise Mistake(f"{name}: sees {role}={side}: {_unknown_side_message(game, side)}")
        for term in player.adversarial_terms if player.objective is not None else ():
            for role, side in term.sides.items():
                if side not in game.sides:
                    raise Mistake(f"{name}: its objective uses {role}={side}: {_unknown_side_message(game, side)}")
                if game.sides[side].judge is None:
                    raise Mistake(f"{name}: its objective uses side {side}, which has no judge: give it one")
    _check_accumulate(game)
    _check_labels(game)


def _check_labels(game: Any) -> None:
    """Raise Mistake if samples are conditioned on a label column and the data have no classes."""
    for name, side in game.sides.items():
        for condition, column in side.condition.items():
            if column in game.conditions.classes and game.conditions.classes[column] is None:
                raise Mistake(
                    f"game.sides.{name}: condition {condition} is the column {column}, and these data have no classes. "
                    "Use data with classes (folders, labels), or game=two_player"
                )


def _unknown_side_message(game: Any, name: str) -> str:
    return (
        f"there is no such side.{did_you_mean(name, game.sides)} There are: {', '.join(game.sides)}; "
        "choose with sees={real: ..., fake: ...}"
    )


def _check_names(game: Any) -> None:
    """Raise Mistake if two components of the game have the same name."""
    if shared := [name for name in game.makers if name in game.players]:
        raise Mistake(f"game.makers.{shared[0]}: a player has this name too; rename one of them")
    if LATENT in game.sides:
        raise Mistake(f"game.sides.{LATENT}: this is the name of the latents; rename the side")
    for name in game.priors:
        if name in game.sides:
            raise Mistake(f"game.draws.{name}: a side has this name too; rename one of them")
        if name in BATCH_COLUMNS:
            raise Mistake(f"game.draws.{name}: a column of the batch has this name; rename the draw")


def _check_order(game: Any) -> None:
    if bare := [group for group in game.order if isinstance(group, str)]:
        raise Mistake(f"game.order: {bare[0]} is not in a group; each group is a list of players, [[{bare[0]}], ...]")
    moving = [name for group in game.order for name in group]
    for name in moving:
        if name not in game.players:
            raise Mistake(
                f"game.order: there is no player {name}.{did_you_mean(name, game.players)} "
                f"There are: {', '.join(game.players)}"
            )
        if moving.count(name) > 1:
            raise Mistake(f"game.order has {name} twice; a player moves at most once per round (see `every`)")
    if missing := [name for name in game.players if name not in moving]:
        raise Mistake(f"game.order lacks {', '.join(missing)}, which would never move")
    for group in game.order:
        for key in ("multiple", "accumulate"):
            if len({getattr(game.players[name], key) for name in group}) > 1:
                raise ValueError(f"players that move at once share one batch: give them the same {key}")


def _check_accumulate(game: Any) -> None:
    """Raise ValueError if batches are split although a layer of any player or maker uses them as a whole."""
    modules = list(game.makers.modules())
    for player in game.players.values():
        modules += player.network.modules()
    layers = [m for m in modules if getattr(m, "coupled", False) or isinstance(m, BatchNorm)]
    for name, player in game.players.items() if layers else ():
        if (chunks := player.accumulate) > 1:
            layer = type(layers[0]).__name__
            raise ValueError(
                f"{layer} uses the whole batch: game.players.{name}.accumulate={chunks} would change its output; set 1"
            )


def sides_with_due_slope(game: Any, names: Sequence[str]) -> frozenset[str]:
    """Return the sides, or the latent, at which a due term of the named players takes a slope on this turn."""
    players = [player for name in names if (player := game.players[name]).regularizers]
    terms = [(p, term) for p in players for term in p.due_terms(game.rounds // p.every).values() if term.slope_at]
    return frozenset(p.side_by_role.get(side, side) for p, term in terms for side in term.slope_at)


def split_rows(value: Any, chunks: int) -> list[Any]:
    """Split a batch, mappings of tensors, or a list of them by rows into `chunks` equal chunks, in order.

    Raises ValueError if the rows of a batch do not divide evenly.
    """
    if isinstance(value, Batch):
        if len(value) % chunks:
            raise ValueError(f"a batch of {len(value)} does not divide into accumulate={chunks} equal chunks")
        return [batch_from_columns(columns) for columns in split_rows(value.columns(), chunks)]
    if isinstance(value, Tensor):
        return list(value.tensor_split(chunks))
    if isinstance(value, Mapping):
        split = {name: split_rows(item, chunks) for name, item in value.items()}
        return [{name: items[i] for name, items in split.items()} for i in range(chunks)]
    if isinstance(value, Sequence) and not isinstance(value, str):
        return [list(chunk) for chunk in zip(*(split_rows(item, chunks) for item in value), strict=True)]
    return [value] * chunks
