"""What the players look at: named sides, which are data of the wiring (conf/game/*.yaml).

real:  {of: x, condition: {label: y}, judge: discriminator}         a column of the batch
fake:  {by: generator, condition: {label: y}, judge: discriminator} made of the latent
cycle: {by: g_ba, of: fake_b}                                       made of another side
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, fields
from typing import Any

from saddlepoint.error import Mistake, did_you_mean

LATENT = "latent"  # what a side starts from unless it names something else


@dataclass(frozen=True)
class Side:
    """One side.  Entries are columns of the batch, other sides, draws, or parts of the last two (latent.z, code.z).

    of               the entry that it starts from
    by               who makes it of that, in order: players, or makers without an optimizer; () leaves it as it is
    condition        the second argument of its makers, named tensors: name -> entry
    judge            the player whose output its logits are; None where nobody judges it
    judge_condition  the second argument of the judge: the maker's condition unless the judge has one of its own
    """

    of: str = LATENT
    by: tuple[str, ...] = ()
    condition: Mapping[str, str] = field(default_factory=dict)
    judge: str | None = None
    judge_condition: Mapping[str, str] = field(default_factory=dict)

    @property
    def required_entries(self) -> tuple[str, ...]:
        """The entries that have to be there before the side is made."""
        return (self.of, *self.condition.values())


TWO_PLAYER: dict[str, Any] = {
    "real": {"of": "x", "judge": "discriminator"},
    "fake": {"by": "generator", "judge": "discriminator"},
    "labelled": {"of": "labelled_x", "condition": {"label": "labelled_y"}, "judge": "discriminator"},
}


def parse_sides(nodes: Mapping[str, Mapping[str, Any]]) -> dict[str, Side]:
    """The sides that plain mappings describe.  Raises Mistake for a key that a side does not have."""
    return {str(name): _side(str(name), node) for name, node in nodes.items()}


def _side(name: str, node: Mapping[str, Any]) -> Side:
    known = [own.name for own in fields(Side) if own.name != "judge_condition"]
    if not isinstance(node, Mapping):
        raise Mistake(f"game.sides.{name}={node}: a side is a mapping of {', '.join(known)}")
    if strange := [str(key) for key in node if key not in known]:
        raise Mistake(
            f"game.sides.{name}.{strange[0]}: a side has {', '.join(known)}.{did_you_mean(strange[0], known)}"
        )
    by, judge, condition = node.get("by") or (), node.get("judge"), _condition(name, node.get("condition"))
    own = condition
    if isinstance(judge, Mapping):
        if "player" not in judge:
            raise Mistake(f"game.sides.{name}.judge: name its player, {{player: ..., condition: {{...}}}}")
        judge, own = judge["player"], _condition(name, judge["condition"]) if "condition" in judge else condition
    makers = (str(by),) if isinstance(by, str) else tuple(map(str, by))
    return Side(str(node.get("of") or LATENT), makers, condition, judge and str(judge), own)


def _condition(side: str, node: Any) -> Mapping[str, str]:
    """Name -> entry; a list names columns by their own names."""
    if isinstance(node, str):
        raise Mistake(
            f"game.sides.{side}.condition={node}: a condition names its entries, {{label: {node}}}; a list of columns, "
            f"[{node}], gives them their own names"
        )
    if node is None or isinstance(node, Mapping):
        return {str(name): str(entry) for name, entry in (node or {}).items()}
    return {str(name): str(name) for name in node}


def check_sides(sides: Mapping[str, Side], players: Collection[str], makers: Collection[str]) -> None:
    """Raises Mistake for a maker or a judge that there is none of, and for sides that need each other in a circle."""
    for name, side in sides.items():
        for maker in side.by:
            if maker not in players and maker not in makers:
                raise Mistake(f"game.sides.{name}.by={maker}: {_none_of(maker, [*players, *makers])}")
        if side.judge is not None and side.judge not in players:
            raise Mistake(f"game.sides.{name}.judge={side.judge}: {_none_of(side.judge, players)}")
        if not side.by and side.of == LATENT:
            raise Mistake(f"game.sides.{name} is made by nobody of the latent: name its maker, by: <player>, or of: x")
    for name in sides:
        _refuse_circle(sides, name, ())


def _none_of(name: str, known: Collection[str]) -> str:
    return f"no player or maker is called so.{did_you_mean(name, known)} There are: {', '.join(known)}"


def _refuse_circle(sides: Mapping[str, Side], name: str, path: tuple[str, ...]) -> None:
    if name in path:
        circle = " -> ".join([*path[path.index(name) :], name])
        raise Mistake(f"game.sides: {circle}: each needs the next to be made first. Start one of them from a column")
    for need in sides[name].required_entries:
        if (head := need.partition(".")[0]) in sides:
            _refuse_circle(sides, head, (*path, name))


def dependencies(sides: Mapping[str, Side]) -> dict[str, frozenset[str]]:
    """For each side, the players and makers, and the draws and columns, that its x is computed from."""

    def of(name: str) -> frozenset[str]:
        head = name.partition(".")[0]
        if head not in sides:
            return frozenset({head})
        return frozenset(sides[head].by).union(*map(of, sides[head].required_entries))

    return {name: of(name) for name in sides}


def find_per_row_draws(sides: Mapping[str, Side], draws: Collection[str]) -> frozenset[str]:
    """The named draws that a side which starts from a column is made or judged under: one row per row of the batch.

    So a mask belongs to a real, and to each of the `multiple` fakes beside that real.
    """

    def start(entry: str) -> str:
        head = entry.partition(".")[0]
        return start(sides[head].of) if head in sides else head

    rows = [side for side in sides.values() if start(side.of) not in draws]
    under = {start(entry) for side in rows for entry in (*side.condition.values(), *side.judge_condition.values())}
    return frozenset(under & {*draws} - {LATENT})


def check_entries(sides: Mapping[str, Side], columns: Collection[str], draws: Collection[str]) -> None:
    """Raises Mistake where a side starts from, or is conditioned on, what is no side, no draw and no column.

    And where a column of the data has the name of a side or a draw, which would stand in its place.
    """
    if shared := [column for column in columns if column in sides or column in draws]:
        raise Mistake(
            f"the data have a column {shared[0]}, and a side or a draw of the game is called so: give one another name"
        )
    for name, side in sides.items():
        for entry in [*side.required_entries, *side.judge_condition.values()]:
            known = [*columns, *sides, *draws]
            if entry.partition(".")[0] not in known:
                raise Mistake(
                    f"game.sides.{name} needs {entry}, which is no column of these data, no side and no draw."
                    f"{did_you_mean(entry, known)} There are: {', '.join(known)}"
                )
