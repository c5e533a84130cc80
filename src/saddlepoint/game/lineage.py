"""What samples of a game are computed from, and by which players, read from its sides.

All functions follow the sides back from the one that samples are drawn from (`game.samples`). It is computed from the
latent and from condition entries: columns of a batch (labels, a source) and parts of named draws (a mask).
"""

from collections.abc import Callable
from functools import wraps
from typing import Any, TypeVar, cast

from saddlepoint.error import Mistake
from saddlepoint.game.player import Player
from saddlepoint.game.side import LATENT, Side

T = TypeVar("T")


def cached_per_wiring(compute: Callable[[Any], T]) -> Callable[[Any], T]:
    """Cache `compute(game)` until `game.sides` or `game.samples` changes: it is needed for every draw of samples.

    Callers must not modify the returned value.
    """

    @wraps(compute)
    def cached(game: Any) -> T:
        sides, samples, value = game.__dict__.get(compute.__name__ + "_cache", (None, None, None))
        if sides is not game.sides or samples != game.samples:
            value = compute(game)
            game.__dict__[compute.__name__ + "_cache"] = game.sides, game.samples, value
        return cast(T, value)

    return cached


@cached_per_wiring
def sampling_players(game: Any) -> list[str]:
    """The players that make samples, from the last one (the maker of the sampled side) back to the first."""
    return [name for side in upstream_sides(game).values() for name in reversed(side.by) if name in game.players]


@cached_per_wiring
def sampling_players_in_order(game: Any) -> list[str]:
    """The players that make samples in topological order: each after the makers of its inputs."""
    order = sorted(upstream_sides(game), key=lambda side: len(game.dependencies[side]))
    return list(dict.fromkeys(name for side in order for name in game.sides[side].by if name in game.players))


def generator_player(game: Any) -> Player:
    """The player that makes samples last. Raises Mistake if no player makes them."""
    if not (names := sampling_players(game)):
        raise Mistake(
            f"game.samples={game.samples}: no player makes this side, so there is nothing to draw. Name a side that a "
            "player makes"
        )
    return game.player(names[0])


def judge_player(game: Any) -> Player:
    """The player that judges samples. Raises Mistake if there is none, or if it needs more than `can_judge_samples`."""
    side = game.sides[game.samples]
    if side.judge is None:
        raise Mistake(f"game.samples={game.samples}: this side has no judge")
    if not can_judge_samples(game):
        raise Mistake(
            f"game.samples={game.samples}: {side.judge} judges it under {', '.join(side.judge_condition.values())}, "
            "so it has no logits for samples alone"
        )
    return game.player(side.judge)


def can_judge_samples(game: Any) -> bool:
    """Whether samples have a judge whose condition needs no column other than those that samples are computed from."""
    side = game.sides[game.samples]
    heads = {entry.partition(".")[0] for entry in side.judge_condition.values()}
    needed = heads.union(*(game.dependencies[head] for head in heads if head in game.sides))
    available = {entry.partition(".")[0] for entry in condition_entries(game).values()}
    return side.judge is not None and needed <= {LATENT, *available, *game.sides, *game.players, *game.makers}


@cached_per_wiring
def condition_entries(game: Any) -> dict[str, str]:
    """The entries besides the latent that samples are computed from, name -> entry: columns, and parts of named draws.

    The name is that of the condition that uses the entry; if a side starts from the entry, it is the entry's own name.
    """
    entries: dict[str, str] = {}
    for side in upstream_sides(game).values():
        for name, entry in {**side.condition, side.of: side.of}.items():
            head, _, part_name = entry.partition(".")
            if head in game.sides or head == LATENT:
                continue
            is_draw = head in game.priors and not part_name
            parts = {key: f"{head}.{key}" for key in game.priors[head]} if is_draw else {}
            for short_name, full_entry in (parts or {name.rpartition(".")[2]: entry}).items():
                if full_entry not in entries.values():
                    entries[short_name if short_name not in entries else full_entry] = full_entry
    return entries


@cached_per_wiring
def condition_columns(game: Any) -> dict[str, str]:
    """The condition entries that are columns, name -> column."""
    return {name: entry for name, entry in condition_entries(game).items() if "." not in entry}


@cached_per_wiring
def condition_draws(game: Any) -> dict[str, tuple[str, str]]:
    """The condition entries that are parts of named draws, name -> (draw, part)."""
    entries = {name: entry.partition(".") for name, entry in condition_entries(game).items()}
    return {name: (draw, part_name) for name, (draw, dot, part_name) in entries.items() if dot}


def class_condition_name(game: Any) -> str | None:
    """The name of the condition that is the class, column y; None if samples have none."""
    return next((name for name, column in condition_entries(game).items() if column == "y"), None)


def latent_part_names(game: Any) -> list[str]:
    """The parts of the latent that samples are computed from, in the order of the prior; may be empty."""
    entries = {entry for side in upstream_sides(game).values() for entry in side.required_entries}
    return [name for name in game.priors.get(LATENT, ()) if not entries.isdisjoint({LATENT, f"{LATENT}.{name}"})]


@cached_per_wiring
def upstream_sides(game: Any) -> dict[str, Side]:
    """The side that samples are drawn from and all sides that it is computed from, by name."""
    sides, upstream, queue = game.sides, {}, [game.samples]
    for name in queue:
        upstream[name] = sides[name]
        for entry in upstream[name].required_entries:
            if (head := entry.partition(".")[0]) in sides and head not in queue:
                queue.append(head)
    return upstream
