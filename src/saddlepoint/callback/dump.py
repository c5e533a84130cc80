"""A turn that came to no number, as it was before: dumps/<images>.pt, which `saddlepoint replay` plays again.

It holds the weights, buffers, optimizers and regularizers, the streams and torch's global generators, the batch, and
what was seen: each term, the logits, and a sha256 of the gradient.  Tensors and plain values only, sealed
(run/storage/checksum.py).  numpy's and Python's generators are as they were when it was noticed: no piece of ours draws
from them in a turn.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from saddlepoint import ranks, turn
from saddlepoint.error import Mistake
from saddlepoint.game.game import Game
from saddlepoint.run import checkpoint
from saddlepoint.stream import global_random_state
from saddlepoint.turn import Batch

FORMAT = 1


@dataclass(frozen=True)
class TurnState:
    """What a turn is about to move beside weights: noted before each turn, so it has to be cheap."""

    names: tuple[str, ...]  # of the players that move
    batch: Batch
    streams: Mapping[str, Tensor]
    generators: tuple[Tensor, list[Tensor]]  # torch's, of the CPU and of this rank's GPU
    buffers: Mapping[str, Tensor]


BufferOwner = tuple[
    str, nn.Module, str
]  # of a saved buffer that a turn may change: its place in the state, module, name


def find_buffer_owners(game: Game) -> list[BufferOwner]:
    """All of a game, looked up once."""
    return [
        (f"{prefix}.{key}", module, key)
        for prefix, module in game.named_modules()
        if ".average." not in f"{prefix}."
        for key in module._buffers.keys() - module._non_persistent_buffers_set
    ]


def capture_turn_state(game: Game, owners: Iterable[BufferOwner], names: Sequence[str], batch: Batch) -> TurnState:
    """What the turn that `game` is about to play will move."""
    device = game.device
    cuda = [torch.cuda.get_rng_state(device)] if device.type == "cuda" else []
    streams = {name: stream.state for name, stream in game.streams.items()}
    now = ((place, owner._buffers[key]) for place, owner, key in owners)
    buffers = {place: buffer.clone() for place, buffer in now if buffer is not None}
    return TurnState(tuple(names), batch, streams, (torch.get_rng_state(), cuda), buffers)


def write_dump(game: Game, state: TurnState, what: str, noticed: str, folder: Path, first: bool) -> Path:
    """Write the turn that began at `moment` into `folder`, and return where; `noticed`: before or after the step.

    `first`: whether this rank is the first to have seen it.  Raises Mistake where it cannot be written.
    """
    rank = "" if first else f"-rank{ranks.rank()}"
    path = folder / f"{game.images}{rank}.pt"
    cpu, cuda = state.generators
    content = {
        "dump": FORMAT,
        "what": what,
        "noticed": noticed,
        "players": list(state.names),
        "seed": game.seed,
        "images": game.images,
        "rounds": game.rounds,
        "rank": ranks.rank(),
        "world": ranks.world_size(),
        "device": game.device.type,
        "versions": {"torch": str(torch.__version__)},
        "state_dict": {**game.state_dict(), **state.buffers},
        "optimizers": {name: game.optimizer(name).state_dict() for name in game.players},
        "streams": dict(state.streams),
        "global": {**global_random_state(), "torch": cpu, "cuda": cuda},
        "batch": state.batch.columns(),
        "seen": turn_results(game, state.names),
    }
    checkpoint.save_torch_file(content, path)
    return path


def load_dump(path: Path) -> dict[str, Any]:
    """What `dump` wrote.  Raises Mistake where it is none, is broken, or of another format."""
    content = checkpoint.load_torch_file(path)
    if not isinstance(content, dict) or "dump" not in content:
        raise Mistake(f"{path} is no dump of a turn; a run that diverges leaves them in its folder, dumps/<images>.pt")
    if content["dump"] != FORMAT:
        raise Mistake(f"{path} is a dump of format {content['dump']}, this version reads {FORMAT}")
    return content


def batch_from_dump(content: Mapping[str, Any]) -> Batch:
    """The batch that a dump holds."""
    columns = dict(content["batch"])
    x, y = columns.pop("labelled", None) or (None, None)  # as the first edition wrote them
    return turn.batch_from_columns({"labelled_x": x, "labelled_y": y, **columns})


def turn_results(game: Game, names: Iterable[str]) -> dict[str, Any]:
    """The terms and logits of the last turns of `names`, and the sha256 of the gradient that each would follow."""
    found: dict[str, Any] = {}
    for name in names:
        terms, logits = game.last_losses.get(name, ({}, {}))
        found[name] = {
            "terms": {term: value.cpu() for term, value in terms.items()},
            "logits": {side: value.cpu() for side, value in logits.items()},
            "gradient": ranks.fingerprint(named_gradients(game, name)),
        }
    return found


def named_gradients(game: Game, name: str) -> dict[str, Tensor]:
    """What a player is to descend: the parameter's name -> its gradient."""
    parameters = game.player(name).network.named_parameters()
    return {place: p.grad.detach() for place, p in parameters if p.grad is not None}
