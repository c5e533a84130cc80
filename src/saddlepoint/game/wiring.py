"""Whether the parts of a game fit each other: its sides, its order, what its players see; and a batch in parts."""

from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor, nn

from saddlepoint.error import Mistake, did_you_mean
from saddlepoint.game.average import BatchNorm
from saddlepoint.game.side import LATENT, Side, check_sides
from saddlepoint.turn import BATCH_COLUMNS, Batch, batch_from_columns


def build_module_dict(kind: str, modules: Mapping[str, nn.Module]) -> nn.ModuleDict:
    """The players, or makers, by name.  Raises Mistake for a name that torch's modules have a use for."""
    for name in modules:
        if hasattr(nn.ModuleDict, name) or "." in name or not name:
            raise Mistake(f"game.{kind}.{name}: torch's modules cannot hold one of that name; give it another")
    return nn.ModuleDict(dict(modules))


def check_wiring(game: Any) -> Mapping[str, Side]:
    """The sides of the game.

    Raises Mistake for an order that names nobody, or leaves somebody out; for an objective that looks at a side which
    there is not, or which nobody judges; ValueError where players that move at once ask for different batches, and
    where a batch would be split though a layer looks at it as a whole.
    """
    _refuse_shared_names(game)
    check_sides(game.sides, list(game.players), list(game.makers))
    if game.samples not in game.sides:
        raise Mistake(f"game.samples={game.samples}: {_no_side(game, game.samples)}")
    _check_order(game)
    for name, player in game.players.items():
        if player.objective is not None and not any(look.sides for look in player.adversarial_terms):
            raise Mistake(f"{name} sees nothing: its objective names neither real nor fake")
        if player.objective is None and not player.regularizers:
            raise Mistake(f"{name} sees nothing: it has neither an objective nor a regularizer")
        for role, side in player.side_by_role.items():
            if side not in game.sides:
                raise Mistake(f"{name}: sees {role}={side}: {_no_side(game, side)}")
        for look in player.adversarial_terms if player.objective is not None else ():
            for role, side in look.sides.items():
                if side not in game.sides:
                    raise Mistake(f"{name}: its objective looks at {role}={side}: {_no_side(game, side)}")
                if game.sides[side].judge is None:
                    raise Mistake(f"{name}: its objective looks at side {side}, which nobody judges: give it a judge")
    _refuse_parts(game)
    _refuse_unlabelled(game)
    return game.sides


def _refuse_unlabelled(game: Any) -> None:
    """Raise Mistake where samples are conditioned on a label column, and the data have no classes."""
    for name, side in game.sides.items():
        for condition, column in side.condition.items():
            if column in game.conditions.classes and game.conditions.classes[column] is None:
                raise Mistake(
                    f"game.sides.{name}: condition {condition} is the column {column}, and these data have no classes. "
                    "Take data with classes (folders, labels), or game=two_player"
                )


def _no_side(game: Any, name: str) -> str:
    there = ", ".join(game.sides)
    return (
        f"there is no such side.{did_you_mean(name, game.sides)} There are: {there}; sees={{real: ..., fake: ...}} maps"
    )


def _refuse_shared_names(game: Any) -> None:
    """Raise Mistake where one name stands for two things, of which the wiring would take either."""
    if both := [name for name in game.makers if name in game.players]:
        raise Mistake(f"game.makers.{both[0]}: a player is called so too; give one of them another name")
    if LATENT in game.sides:
        raise Mistake(f"game.sides.{LATENT}: the latents are called so; give the side another name")
    for name in game.priors:
        if name in game.sides:
            raise Mistake(f"game.draws.{name}: a side is called so too; give one of them another name")
        if name in BATCH_COLUMNS:
            raise Mistake(f"game.draws.{name}: a column of the batch is called so; give the draw another name")


def _check_order(game: Any) -> None:
    if flat := [group for group in game.order if isinstance(group, str)]:
        raise Mistake(
            f"game.order: {flat[0]} stands there by itself; each group is a list of players, [[{flat[0]}], ...]"
        )
    moving = [name for group in game.order for name in group]
    for name in moving:
        if name not in game.players:
            raise Mistake(
                f"game.order: there is no player {name}.{did_you_mean(name, game.players)} "
                f"There are: {', '.join(game.players)}"
            )
        if moving.count(name) > 1:
            raise Mistake(f"game.order: {name} stands in it twice; a player moves once a round, or each every-th")
    if missing := [name for name in game.players if name not in moving]:
        raise Mistake(f"game.order leaves out {', '.join(missing)}, who would never move")
    for group in game.order:
        for setting in ("multiple", "accumulate"):
            if len({getattr(game.player(name), setting) for name in group}) > 1:
                raise ValueError(f"players that move at once share one batch: give them the same {setting}")


def _refuse_parts(game: Any) -> None:
    """Raise ValueError where batches are split though a layer of anybody's looks at them as a whole."""
    modules = list(game.makers.modules())
    for player in game.players.values():
        modules += player.network.modules()
    layers = [m for m in modules if getattr(m, "coupled", False) or isinstance(m, BatchNorm)]
    for name, player in game.players.items() if layers else ():
        if (parts := player.accumulate) > 1:
            what = type(layers[0]).__name__
            raise ValueError(
                f"{what} looks at a batch as a whole: game.players.{name}.accumulate={parts} would change it; set 1"
            )


def sides_with_due_slope(game: Any, names: Sequence[str]) -> frozenset[str]:
    """The sides, or the latent, at which a term takes a slope that counts on this turn of the named players."""
    players = [player for name in names if (player := game.players[name]).regularizers]
    terms = [(p, term) for p in players for term in p.due_terms(game.rounds // p.every).values() if term.slope_at]
    return frozenset(p.side_by_role.get(side, side) for p, term in terms for side in term.slope_at)


def split_rows(whole: Any, parts: int) -> list[Any]:
    """A batch, mappings of tensors, or a list of them, in `parts` equal parts, row by row and in order.

    Raises ValueError where a batch cannot be so split.
    """
    if isinstance(whole, Batch):
        if len(whole) % parts:
            raise ValueError(f"a batch of {len(whole)} cannot be split in accumulate={parts} equal parts")
        return [batch_from_columns(columns) for columns in split_rows(whole.columns(), parts)]
    if isinstance(whole, Tensor):
        return list(whole.tensor_split(parts))
    if isinstance(whole, Mapping):
        pieces = {name: split_rows(value, parts) for name, value in whole.items()}
        return [{name: own[i] for name, own in pieces.items()} for i in range(parts)]
    if isinstance(whole, Sequence) and not isinstance(whole, str):
        return [list(piece) for piece in zip(*(split_rows(one, parts) for one in whole), strict=True)]
    return [whole] * parts
