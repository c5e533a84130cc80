"""The state of a game in a checkpoint, besides what Lightning saves: counters, streams, generators, the last report."""

from collections.abc import Mapping
from typing import Any

from saddlepoint import ranks
from saddlepoint.error import Mistake
from saddlepoint.game.data_parallel import assert_ranks_identical
from saddlepoint.stream import global_random_state

FORMAT = 2  # 1: the global generators of one process only, not of each rank


def game_state(game: Any) -> dict[str, Any]:
    """Return the state of the game as plain values and tensors. Raises Mistake if the ranks have diverged."""
    content = {
        "format": FORMAT,
        "seed": game.seed,
        "reported": game.report(),
        "images": game.images,
        "rounds": game.rounds,
        "streams": {name: stream.state for name, stream in game.streams.items()},
        "global": ranks.all_gather_object(global_random_state()),
    }
    assert_ranks_identical(game)
    return content


def check_state(game: Any, state: Mapping[str, Any]) -> None:
    """Raise Mistake if a checkpoint has another format or seed, or if this game must not continue from it."""
    if state["format"] not in (1, FORMAT):
        raise Mistake(
            f"the checkpoint has format {state['format']}, and this version reads 1 and {FORMAT}: use the version "
            "that wrote it (see provenance.json)"
        )
    if state["seed"] != game.seed:
        raise Mistake(f"the checkpoint has seed {state['seed']} and this run has seed {game.seed}: it is another run's")
    game.check_resume(state)


def restore_state(game: Any, state: Mapping[str, Any]) -> None:
    """Restore counters and streams from a checkpoint. Global generators are restored before the first round."""
    check_state(game, state)
    game.images, game.rounds = state["images"], state["rounds"]
    for name, value in state["streams"].items():
        game.streams[name].state = value
    game.last_report = dict(state["reported"])
    game.resumed_state = {**state, "global": state["global"] if state["format"] > 1 else [state["global"]]}
