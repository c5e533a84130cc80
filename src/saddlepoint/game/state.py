"""What a checkpoint holds of a game beside Lightning's own: counters, streams, generators, the last report."""

from collections.abc import Mapping
from typing import Any

from saddlepoint import ranks
from saddlepoint.error import Mistake
from saddlepoint.game.data_parallel import assert_ranks_identical
from saddlepoint.stream import global_random_state

FORMAT = 2  # 1: the global generators of one process, not of each rank


def game_state(game: Any) -> dict[str, Any]:
    """The game's own state, plain values and tensors.  Raises Mistake where the ranks have drifted apart."""
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
    """Raise Mistake where a checkpoint is of another format or another seed's."""
    if state["format"] not in (1, FORMAT):
        raise Mistake(
            f"the checkpoint is of format {state['format']}, this version reads 1 and {FORMAT}: take the version "
            "that wrote it (provenance.json says which)"
        )
    if state["seed"] != game.seed:
        raise Mistake(f"the checkpoint is of seed {state['seed']}, this run of seed {game.seed}: it is another run's")


def restore_state(game: Any, state: Mapping[str, Any]) -> None:
    """Put counters and streams where a checkpoint had them; torch's generators follow at the first round."""
    check_state(game, state)
    game.images, game.rounds = state["images"], state["rounds"]
    for name, value in state["streams"].items():
        game.streams[name].state = value
    game.last_report = dict(state["reported"])
    game.resumed_state = {**state, "global": state["global"] if state["format"] > 1 else [state["global"]]}
