"""Layers that start from something: reference latents when a game is built, the first data before a run begins."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor

from saddlepoint import ranks
from saddlepoint.game.hooks import having
from saddlepoint.game.sampling import inputs, sampled
from saddlepoint.stream import Stream
from saddlepoint.turn import Batch, Condition, batch_of

STARTING = 500  # samples that layers which start from data are shown, as in the code of Salimans et al. 2016


def set_reference(game: Any) -> None:
    """Give layers that refer to latents (virtual batch norm) some of a stream of their own; those of the average too.

    Raises ValueError where such a layer stands in a network that makes no samples.
    """
    for name, player in game.players.items():
        for network in [player.network, *([] if player.average is None else [player.average.network])]:
            for layer in having(network, "set_reference"):
                if name not in sampled(game):
                    raise ValueError(
                        f"{type(layer).__name__} refers to latents: it stands in the {' or '.join(sampled(game))} alone"
                    )
                stream = Stream(game.seed, "reference", joint=True)
                layer.set_reference(network, *inputs(game, name, layer.reference, stream))


def start_from_data(game: Any, batches: Iterable[Batch]) -> None:
    """Show layers that start from data (weight norm) the first reals, those of networks that make samples latents.

    To be called before anything looks at the game, since its networks are others afterwards.  `batches` are global
    ones: every rank is shown all of them.
    """
    for name, player in game.players.items():
        if layers := having(player.network, "data_dependent_init"):
            stream = Stream(game.seed, "start", joint=True)
            made = name in sampled(game)
            shown = inputs(game, name, STARTING, stream) if made else _first_reals(game, name, batches, stream)
            with ranks.apart():
                for layer in layers:
                    layer.data_dependent_init(player.network, *shown)
            if player.average is not None:
                player.average.network.load_state_dict(player.network.state_dict())


def _first_reals(game: Any, name: str, batches: Iterable[Batch], stream: Stream) -> tuple[Any, Condition]:
    """What a network that makes no samples is given of the first reals: as the judge of a side, or its first maker.

    A side that is made of columns alone comes before one of latents or of other networks.
    """
    batch = _first_batch(batches)
    draws = {own: prior.sample(len(batch), stream) for own, prior in game.priors.items()}
    sides = sorted(game.sides, key=lambda side: (bool(game.sides[side].by), len(game.computed_from[side])))
    turn = game.turn(batch, draws, ())
    with torch.no_grad():
        for side in sides:
            if game.sides[side].judge == name and turn.has(side):
                sample = turn.samples_of(side)
                return sample.x, sample.condition
        side = next(game.sides[side] for side in sides if name in game.sides[side].by)
        return turn.given(side, name)


def _first_batch(batches: Iterable[Batch]) -> Batch:
    """The first rows that training will show, as one batch."""
    first: list[Batch] = []
    for batch in batches:
        first.append(batch)
        if sum(map(len, first)) >= STARTING:
            break
    names = [name for name, column in first[0].columns().items() if column is not None]
    columns = {name: [batch.columns()[name] for batch in first] for name in names}
    return batch_of({name: torch.cat(_tensors(parts))[:STARTING] for name, parts in columns.items()})


def _tensors(parts: Iterable[Tensor | None]) -> list[Tensor]:
    return [part for part in parts if part is not None]
