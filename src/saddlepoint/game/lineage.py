"""What samples of a game are made of, and by whom: read off its sides, which are followed from the side `samples` back.

The side is computed from the latent and from its leaves: columns of a batch (labels, a source), and parts of named
draws (a mask).
"""

from collections.abc import Callable
from functools import wraps
from typing import Any, TypeVar, cast

from saddlepoint.error import Mistake
from saddlepoint.game.player import Player
from saddlepoint.game.side import LATENT, Side

T = TypeVar("T")


def per_wiring(compute: Callable[[Any], T]) -> Callable[[Any], T]:
    """What `compute` finds of a game, kept while it has the same sides and draws samples from the same one.

    It is asked for at each sample, and is not to be changed by who gets it.
    """

    @wraps(compute)
    def kept(game: Any) -> T:
        sides, samples, found = game.__dict__.get(compute.__name__ + "_kept", (None, None, None))
        if sides is not game.sides or samples != game.samples:
            found = compute(game)
            game.__dict__[compute.__name__ + "_kept"] = game.sides, game.samples, found
        return cast(T, found)

    return kept


@per_wiring
def sampling_players(game: Any) -> list[str]:
    """The players that make samples: the one that makes the side itself first, then those of what it is made of."""
    return [name for side in upstream_sides(game).values() for name in reversed(side.by) if name in game.players]


@per_wiring
def sampling_players_in_order(game: Any) -> list[str]:
    """The players that make samples, each after those that make what it is given."""
    order = sorted(upstream_sides(game), key=lambda side: len(game.dependencies[side]))
    return list(dict.fromkeys(name for side in order for name in game.sides[side].by if name in game.players))


def generator_of(game: Any) -> Player:
    """The player that makes samples last: the generator.  Raises Mistake where no player makes them."""
    if not (names := sampling_players(game)):
        raise Mistake(
            f"game.samples={game.samples}: no player makes this side, so there is nothing to draw. Name one that a "
            "player makes"
        )
    return game.player(names[0])


def judge_of(game: Any) -> Player:
    """The player that judges the side which samples are drawn from.

    Raises Mistake where nobody does, or where it sees more than samples and their conditions.
    """
    side = game.sides[game.samples]
    if side.judge is None:
        raise Mistake(f"game.samples={game.samples}: nobody judges this side")
    if not can_judge_samples(game):
        raise Mistake(
            f"game.samples={game.samples}: {side.judge} judges it beside {', '.join(side.judge_condition.values())}, "
            "so it has no logits for samples alone"
        )
    return game.player(side.judge)


def can_judge_samples(game: Any) -> bool:
    """Whether somebody judges samples, by what they are made of: not beside a column that they are not made of."""
    side = game.sides[game.samples]
    heads = {entry.partition(".")[0] for entry in side.judge_condition.values()}
    needed = heads.union(*(game.dependencies[head] for head in heads if head in game.sides))
    made_of = {entry.partition(".")[0] for entry in condition_entries(game).values()}
    return side.judge is not None and needed <= {LATENT, *made_of, *game.sides, *game.players, *game.makers}


@per_wiring
def condition_entries(game: Any) -> dict[str, str]:
    """What samples are computed from beside the latent, name -> entry: columns, and parts of named draws.

    A name is that of the condition in which the entry stands; of what a side starts from it is the entry's own.
    """
    found: dict[str, str] = {}
    for side in upstream_sides(game).values():
        for name, entry in {**side.condition, side.of: side.of}.items():
            head, _, part = entry.partition(".")
            if head in game.sides or head == LATENT:
                continue
            whole = {own: f"{head}.{own}" for own in game.priors[head]} if head in game.priors and not part else {}
            for short, own in (whole or {name.rpartition(".")[2]: entry}).items():
                if own not in found.values():
                    found[short if short not in found else own] = own
    return found


@per_wiring
def condition_columns(game: Any) -> dict[str, str]:
    """Those of the leaves that are columns, name -> column."""
    return {name: entry for name, entry in condition_entries(game).items() if "." not in entry}


@per_wiring
def condition_draws(game: Any) -> dict[str, tuple[str, str]]:
    """Those of the leaves that are parts of named draws, name -> (draw, part)."""
    parts = {name: entry.partition(".") for name, entry in condition_entries(game).items()}
    return {name: (draw, part) for name, (draw, dot, part) in parts.items() if dot}


def class_condition(game: Any) -> str | None:
    """The condition by which samples are asked for their class, column y; None where they are not."""
    return next((name for name, column in condition_entries(game).items() if column == "y"), None)


def latent_parts(game: Any) -> list[str]:
    """The parts of the latent that samples are computed from, in the order of the prior; [] where there are none."""
    needs = {entry for side in upstream_sides(game).values() for entry in side.required_entries}
    return [name for name in game.priors.get(LATENT, ()) if not needs.isdisjoint({LATENT, f"{LATENT}.{name}"})]


@per_wiring
def upstream_sides(game: Any) -> dict[str, Side]:
    """The side that samples are drawn from, and every side that it is computed from, each once, by name."""
    sides, found, waiting = game.sides, {}, [game.samples]
    for name in waiting:
        found[name] = sides[name]
        for entry in found[name].required_entries:
            if (head := entry.partition(".")[0]) in sides and head not in waiting:
                waiting.append(head)
    return found
