"""Layers that start from something: reference latents when a game is built, the first data before a run begins."""

from collections import defaultdict
from collections.abc import Iterable, Iterator
from typing import Any

import torch
from torch import Tensor, nn

from saddlepoint import ranks
from saddlepoint.game.hooks import modules_with_hook
from saddlepoint.game.sampling import network_inputs, sampling_modules
from saddlepoint.stream import Stream
from saddlepoint.turn import Batch, Condition, batch_from_columns

STARTING = 500  # samples that layers which start from data are shown, as in the code of Salimans et al. 2016


def set_reference_latents(game: Any) -> None:
    """Give what refers to latents (virtual batch norm) some of a stream of its own.

    Layers of networks and makers that samples pass through, and of averages' copies, are given what their network is;
    terms what the generator is.  Raises ValueError where such a layer stands in a network that makes no samples.
    """
    copies = [(name, own.average.network) for name, own in game.players.items() if own.average is not None]
    for name, network, holder in [*_holders(game), *((name, copy, copy) for name, copy in copies)]:
        for layer in modules_with_hook(holder, "set_reference"):
            makes = [*sampling_modules(game)[0]]
            if name not in makes and holder is network:
                raise ValueError(
                    f"{type(layer).__name__} refers to latents: it stands in the {' or '.join(makes)} alone"
                )
            stream = Stream(game.seed, "reference", joint=True)
            layer.set_reference(
                network, *network_inputs(game, name if name in makes else makes[0], layer.reference, stream)
            )


def run_data_dependent_init(game: Any, batches: Iterable[Batch]) -> None:
    """Show what starts from data (weight norm) the first reals; what makes samples, and its terms, latents.

    To be called before anything looks at the game, since its networks are others afterwards.  `batches` are global
    ones: every rank is shown all of them.
    """
    for name, network, holder in _holders(game):
        if layers := modules_with_hook(holder, "data_dependent_init"):
            stream = Stream(game.seed, "start", joint=True)
            made = name in sampling_modules(game)[0]
            shown = network_inputs(game, name, STARTING, stream) if made else _first_reals(game, name, batches, stream)
            with ranks.local():
                for layer in layers:
                    layer.data_dependent_init(network, *shown)
    for player in game.players.values():
        if player.average is not None and modules_with_hook(player.network, "data_dependent_init"):
            player.average.network.load_state_dict(player.network.state_dict())


def _holders(game: Any) -> Iterator[tuple[str, nn.Module, nn.Module]]:
    """Each network and maker by name, and where its layers with hooks are: in itself, and in its player's terms."""
    for name, player in game.players.items():
        yield name, player.network, player.network
        yield name, player.network, player.regularizers
    yield from ((name, maker, maker) for name, maker in game.makers.items())


def _first_reals(game: Any, name: str, batches: Iterable[Batch], stream: Stream) -> tuple[Any, Condition]:
    """What a network that makes no samples is given of the first reals: as the judge of a side, or its first maker.

    A side that is made of columns alone comes before one of latents or of other networks.
    """
    batch = _first_batch(batches)
    draws = {own: prior.sample(len(batch), stream) for own, prior in game.priors.items()}
    sides = sorted(game.sides, key=lambda side: (bool(game.sides[side].by), len(game.dependencies[side])))
    turn = game.build_turn(batch, draws, ())
    with torch.no_grad():
        for side in sides:
            if game.sides[side].judge == name and turn.has(side):
                sample = turn.side_sample(side)
                return sample.x, sample.condition
        side = next(game.sides[side] for side in sides if name in game.sides[side].by)
        return turn.given(side, name)


def _first_batch(batches: Iterable[Batch]) -> Batch:
    """The first rows that training will show, as one batch."""
    rows, columns = 0, defaultdict[str, list[Tensor]](list)
    for batch in batches:
        for name, column in batch.columns().items():
            if column is not None:
                columns[name].append(column)
        rows += len(batch)
        if rows >= STARTING:
            break
    return batch_from_columns({name: torch.cat(parts)[:STARTING] for name, parts in columns.items()})
