"""Dumps of a turn with NaN or infinite values: dumps/<images>.pt, which `saddlepoint replay` repeats.

A dump holds the state before the turn (weights, buffers, optimizers, regularizers, streams, torch's global generators),
the batch, and the results: each term, the logits, and a sha256 of the gradient. It contains only tensors and plain
values, with a checksum (run/storage/checksum.py). The states of numpy's and Python's generators are those at the time
of writing, because no component of Saddlepoint draws from them in a turn.
"""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from saddlepoint import ranks, turn
from saddlepoint.error import Mistake
from saddlepoint.game.game import Game
from saddlepoint.run import checkpoint
from saddlepoint.stream import global_random_state
from saddlepoint.turn import Batch

FORMAT = 1


class TurnState(NamedTuple):
    """What a turn may change besides weights. Captured before each turn, so it must be cheap."""

    names: tuple[str, ...]  # of the players that move
    batch: Batch
    streams: Mapping[str, Tensor]
    generators: tuple[Tensor, list[Tensor]]  # torch's: of the CPU, and of the GPU of this rank
    buffers: Mapping[str, Tensor]


BufferOwner = tuple[str, nn.Module, str]  # of a saved buffer that a turn may change: state_dict key, module, name


def find_buffer_owners(game: Game) -> list[BufferOwner]:
    """Return the owners of all buffers in the state_dict, except those of averages."""
    return [
        (f"{prefix}.{key}", module, key)
        for prefix, module in game.named_modules()
        if ".average." not in f"{prefix}."
        for key in module._buffers.keys() - module._non_persistent_buffers_set
    ]


def capture_turn_state(game: Game, owners: Iterable[BufferOwner], names: Sequence[str], batch: Batch) -> TurnState:
    """Return copies of everything besides weights that the next turn of `game` may change."""
    device = batch.x.device
    cuda = [torch.cuda.get_rng_state(device)] if device.type == "cuda" else []
    streams = {name: stream.state for name, stream in game.streams.items()}
    current = ((key, module._buffers[name]) for key, module, name in owners)
    buffers = {key: buffer.clone() for key, buffer in current if buffer is not None}
    return TurnState(tuple(names), batch, streams, (torch.get_rng_state(), cuda), buffers)


def write_dump(game: Game, state: TurnState, what: str, noticed: str, folder: Path, first: bool) -> Path:
    """Write the turn that started from `state` into `folder` and return the path.

    what     the first value that is NaN or infinite
    noticed  "before" or "after" the step
    first    whether this rank found it first
    Raises Mistake if the file cannot be written.
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
    """Load a file written by `write_dump`. Raises Mistake if it is not a dump, is damaged, or has another format."""
    content = checkpoint.load_torch_file(path)
    if not isinstance(content, dict) or "dump" not in content:
        raise Mistake(f"{path} is not a dump of a turn; a run that diverges writes dumps/<images>.pt in its folder")
    if content["dump"] != FORMAT:
        raise Mistake(f"{path} is a dump of format {content['dump']}, and this version reads {FORMAT}")
    return content


def batch_from_dump(content: Mapping[str, Any]) -> Batch:
    """Return the batch of a loaded dump."""
    columns = dict(content["batch"])
    x, y = columns.pop("labelled", None) or (None, None)  # the format of the first edition
    return turn.batch_from_columns({"labelled_x": x, "labelled_y": y, **columns})


def turn_results(game: Game, names: Iterable[str]) -> dict[str, Any]:
    """Return the terms and logits of the last turns of `names`, and the sha256 of their gradients."""
    results: dict[str, Any] = {}
    for name in names:
        terms, logits = game.last_losses.get(name, ({}, {}))
        results[name] = {
            "terms": {term: value.cpu() for term, value in terms.items()},
            "logits": {side: value.cpu() for side, value in logits.items()},
            "gradient": ranks.fingerprint(named_gradients(game, name)),
        }
    return results


def named_gradients(game: Game, name: str) -> dict[str, Tensor]:
    """Return the gradients of a player by parameter name."""
    parameters = game.player(name).network.named_parameters()
    return {key: p.grad.detach() for key, p in parameters if p.grad is not None}
