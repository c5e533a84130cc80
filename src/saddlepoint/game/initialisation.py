"""Initialisation from samples: reference latents when a game is built, and the first data before training."""

from collections import defaultdict
from collections.abc import Iterable, Iterator
from typing import Any

import torch
from torch import Tensor, nn

from saddlepoint import ranks
from saddlepoint.game.hooks import modules_with_hook
from saddlepoint.game.sampling import draw_network_inputs, sampling_modules
from saddlepoint.stream import Stream
from saddlepoint.turn import Batch, Condition, batch_from_columns

INIT_ROWS = 500  # samples for data-dependent initialisation, as in the code of Salimans et al. 2016


def set_reference_latents(game: Any) -> None:
    """Call every `set_reference` hook (virtual batch norm) with latents from the stream "reference".

    Layers of networks, makers and averages get the inputs of their own network; terms get those of the generator.
    Raises ValueError if such a layer is in a network that does not make samples.
    """
    copies = [(name, player.average.network) for name, player in game.players.items() if player.average is not None]
    for name, network, root in [*_hook_roots(game), *((name, copy, copy) for name, copy in copies)]:
        for layer in modules_with_hook(root, "set_reference"):
            sampling = [*sampling_modules(game)[0]]
            if name not in sampling and root is network:
                raise ValueError(
                    f"{type(layer).__name__} needs reference latents: use it only in the {' or '.join(sampling)}"
                )
            stream = Stream(game.seed, "reference", joint=True)
            source = name if name in sampling else sampling[0]
            layer.set_reference(network, *draw_network_inputs(game, source, layer.reference, stream))


def run_data_dependent_init(game: Any, batches: Iterable[Batch]) -> None:
    """Call every `data_dependent_init` hook (weight norm) with the first reals, or with latents if the network samples.

    Must run before anything else uses the game, because it changes the networks. `batches` are global: all ranks use
    all of them.
    """
    for name, network, root in _hook_roots(game):
        if layers := modules_with_hook(root, "data_dependent_init"):
            stream = Stream(game.seed, "start", joint=True)
            if name in sampling_modules(game)[0]:
                inputs = draw_network_inputs(game, name, INIT_ROWS, stream)
            else:
                inputs = _first_reals(game, name, batches, stream)
            with ranks.local():
                for layer in layers:
                    layer.data_dependent_init(network, *inputs)
    for player in game.players.values():
        if player.average is not None and modules_with_hook(player.network, "data_dependent_init"):
            player.average.network.load_state_dict(player.network.state_dict())


def _hook_roots(game: Any) -> Iterator[tuple[str, nn.Module, nn.Module]]:
    """Yield (name, network, root of a search for hooks): each network and maker itself, and each player's terms."""
    for name, player in game.players.items():
        yield name, player.network, player.network
        yield name, player.network, player.regularizers
    yield from ((name, maker, maker) for name, maker in game.makers.items())


def _first_reals(game: Any, name: str, batches: Iterable[Batch], stream: Stream) -> tuple[Any, Condition]:
    """Return the inputs of a network that makes no samples, for the first reals: as a judge, or else as a maker.

    Sides made from columns alone are preferred to sides made from latents or other networks.
    """
    batch = _join_first_batches(batches)
    draws = {key: prior.sample(len(batch), stream) for key, prior in game.priors.items()}
    sides = sorted(game.sides, key=lambda side: (bool(game.sides[side].by), len(game.dependencies[side])))
    turn = game.build_turn(batch, draws, ())
    with torch.no_grad():
        for side in sides:
            if game.sides[side].judge == name and turn.has_data_for(side):
                sample = turn.side_sample(side)
                return sample.x, sample.condition
        side = next(game.sides[side] for side in sides if name in game.sides[side].by)
        return turn.maker_inputs(side, name)


def _join_first_batches(batches: Iterable[Batch]) -> Batch:
    """Return the first INIT_ROWS training rows as one batch."""
    rows, columns = 0, defaultdict[str, list[Tensor]](list)
    for batch in batches:
        for name, column in batch.columns().items():
            if column is not None:
                columns[name].append(column)
        rows += len(batch)
        if rows >= INIT_ROWS:
            break
    return batch_from_columns({name: torch.cat(chunks)[:INIT_ROWS] for name, chunks in columns.items()})
