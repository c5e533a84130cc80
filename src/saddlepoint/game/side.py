"""Sides: the named samples that players and losses use, declared in the wiring (conf/game/*.yaml).

real:  {of: x, condition: {label: y}, judge: discriminator}         a column of the batch
fake:  {by: generator, condition: {label: y}, judge: discriminator} made from the latent
cycle: {by: g_ba, of: fake_b}                                       made from another side
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, fields
from typing import Any

from saddlepoint.error import Mistake, did_you_mean

LATENT = "latent"  # the entry that a side starts from by default


@dataclass(frozen=True)
class Side:
    """One side. Entries are columns of the batch, other sides, draws, or parts of the last two (latent.z, code.z).

    of               the entry that the side starts from
    by               the networks applied to it, in order: players, or makers, which have no optimizer; (): none
    condition        the second argument of these networks, named tensors: name -> entry
    judge            the player that computes the logits of the side; None: no judge
    judge_condition  the second argument of the judge; by default the same condition as for these networks
    """

    of: str = LATENT
    by: tuple[str, ...] = ()
    condition: Mapping[str, str] = field(default_factory=dict)
    judge: str | None = None
    judge_condition: Mapping[str, str] = field(default_factory=dict)

    @property
    def required_entries(self) -> tuple[str, ...]:
        """The entries that must exist before the side is computed."""
        return (self.of, *self.condition.values())


TWO_PLAYER: dict[str, Any] = {
    "real": {"of": "x", "judge": "discriminator"},
    "fake": {"by": "generator", "judge": "discriminator"},
    "labelled": {"of": "labelled_x", "condition": {"label": "labelled_y"}, "judge": "discriminator"},
}


def parse_sides(nodes: Mapping[str, Mapping[str, Any]]) -> dict[str, Side]:
    """Return the sides that plain mappings declare. Raises Mistake for an unknown key."""
    return {str(name): _parse_side(str(name), node) for name, node in nodes.items()}


def _parse_side(name: str, node: Mapping[str, Any]) -> Side:
    known = [entry.name for entry in fields(Side) if entry.name != "judge_condition"]
    if not isinstance(node, Mapping):
        raise Mistake(f"game.sides.{name}={node}: a side is a mapping of {', '.join(known)}")
    if unknown := [str(key) for key in node if key not in known]:
        raise Mistake(
            f"game.sides.{name}.{unknown[0]}: a side has the keys {', '.join(known)}.{did_you_mean(unknown[0], known)}"
        )
    by, judge, condition = node.get("by") or (), node.get("judge"), _parse_condition(name, node.get("condition"))
    judge_condition = condition
    if isinstance(judge, Mapping):
        if "player" not in judge:
            raise Mistake(f"game.sides.{name}.judge: name its player, {{player: ..., condition: {{...}}}}")
        if "condition" in judge:
            judge_condition = _parse_condition(name, judge["condition"])
        judge = judge["player"]
    makers = (str(by),) if isinstance(by, str) else tuple(map(str, by))
    return Side(str(node.get("of") or LATENT), makers, condition, judge and str(judge), judge_condition)


def _parse_condition(side: str, node: Any) -> Mapping[str, str]:
    """Return name -> entry; in a list, each name is a column of that name."""
    if isinstance(node, str):
        raise Mistake(
            f"game.sides.{side}.condition={node}: a condition maps names to entries, {{label: {node}}}; a list of "
            f"columns, [{node}], keeps their names"
        )
    if node is None or isinstance(node, Mapping):
        return {str(name): str(entry) for name, entry in (node or {}).items()}
    return {str(name): str(name) for name in node}


def check_sides(sides: Mapping[str, Side], players: Collection[str], makers: Collection[str]) -> None:
    """Raise Mistake if a network of `by` or a judge does not exist, or if sides depend on each other in a circle."""
    for name, side in sides.items():
        for maker in side.by:
            if maker not in players and maker not in makers:
                raise Mistake(f"game.sides.{name}.by={maker}: {_unknown_name_message(maker, [*players, *makers])}")
        if side.judge is not None and side.judge not in players:
            raise Mistake(f"game.sides.{name}.judge={side.judge}: {_unknown_name_message(side.judge, players)}")
        if not side.by and side.of == LATENT:
            raise Mistake(f"game.sides.{name} starts from the latent and is unchanged: set by: <player>, or of: x")
    for name in sides:
        _check_no_circle(sides, name, ())


def _unknown_name_message(name: str, known: Collection[str]) -> str:
    return f"there is no such player or maker.{did_you_mean(name, known)} There are: {', '.join(known)}"


def _check_no_circle(sides: Mapping[str, Side], name: str, path: tuple[str, ...]) -> None:
    if name in path:
        circle = " -> ".join([*path[path.index(name) :], name])
        raise Mistake(f"game.sides: {circle}: each of these needs the next one first. Start one of them from a column")
    for entry in sides[name].required_entries:
        if (head := entry.partition(".")[0]) in sides:
            _check_no_circle(sides, head, (*path, name))


def dependencies(sides: Mapping[str, Side]) -> dict[str, frozenset[str]]:
    """Return, for each side, the players, makers, draws and columns that its x is computed from."""

    def dependencies_of(name: str) -> frozenset[str]:
        head = name.partition(".")[0]
        if head not in sides:
            return frozenset({head})
        return frozenset(sides[head].by).union(*map(dependencies_of, sides[head].required_entries))

    return {name: dependencies_of(name) for name in sides}


def find_per_row_draws(sides: Mapping[str, Side], draws: Collection[str]) -> frozenset[str]:
    """Return the named draws that need one row per row of the batch.

    They are conditions of a side that starts from a column. For example, one mask belongs to a real and to each of the
    `multiple` fakes for that real.
    """

    def source(entry: str) -> str:
        head = entry.partition(".")[0]
        return source(sides[head].of) if head in sides else head

    column_sides = [side for side in sides.values() if source(side.of) not in draws]
    conditions = [entry for s in column_sides for entry in (*s.condition.values(), *s.judge_condition.values())]
    return frozenset({*map(source, conditions)} & {*draws} - {LATENT})


def check_entries(sides: Mapping[str, Side], columns: Collection[str], draws: Collection[str]) -> None:
    """Raise Mistake if a side uses an entry that is neither a column, nor a side, nor a draw.

    Also raise it if a column of the data has the name of a side or a draw, which would replace it.
    """
    if shared := [column for column in columns if column in sides or column in draws]:
        raise Mistake(
            f"the data have a column {shared[0]}, which is also the name of a side or draw: rename one of them"
        )
    for name, side in sides.items():
        for entry in [*side.required_entries, *side.judge_condition.values()]:
            known = [*columns, *sides, *draws]
            if entry.partition(".")[0] not in known:
                raise Mistake(
                    f"game.sides.{name} needs {entry}, which is not a column of these data, a side or a draw."
                    f"{did_you_mean(entry, known)} There are: {', '.join(known)}"
                )
