"""Layers that start from something: reference latents when a game is built, the first data before a run begins."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn

from saddlepoint import ranks
from saddlepoint.game.sampling import labels, sampled
from saddlepoint.stream import Stream
from saddlepoint.turn import Batch

STARTING = 500  # samples that layers which start from data are shown, as in the code of Salimans et al. 2016


def set_reference(game: Any) -> None:
    """Give layers that refer to latents (virtual batch norm) some of a stream of their own; those of the average too.

    Raises ValueError where such a layer stands in a network that does not start from the latents.
    """
    for name, player in game.players.items():
        for network in [player.network, *([] if player.average is None else [player.average.network])]:
            for layer in _having(network, "refer_to"):
                if name not in sampled(game):
                    raise ValueError(
                        f"{type(layer).__name__} refers to latents: it stands in the {' or '.join(sampled(game))} alone"
                    )
                stream = Stream(game.seed, "reference", joint=True)
                latent = game.prior.sample(layer.reference, stream)
                layer.refer_to(network, latent, labels(game, layer.reference, stream))


def start_from_data(game: Any, batches: Iterable[Batch]) -> None:
    """Show layers that start from data (weight norm) the first reals, those of the sampled player latents.

    To be called before anything looks at the game, since its networks are others afterwards.  `batches` are global
    ones: every rank is shown all of them.
    """
    for name, player in game.players.items():
        if layers := _having(player.network, "start_from"):
            shown = _first_latents(game) if name in sampled(game) else _first_reals(batches)
            with ranks.apart():
                for layer in layers:
                    layer.start_from(player.network, *shown)
            if player.average is not None:
                player.average.network.load_state_dict(player.network.state_dict())


def _having(network: nn.Module, method: str) -> list[Any]:
    return [module for module in network.modules() if hasattr(module, method)]


def _first_latents(game: Any) -> tuple[dict[str, Tensor], Tensor | None]:
    stream = Stream(game.seed, "start", joint=True)
    return game.prior.sample(STARTING, stream), labels(game, STARTING, stream)


def _first_reals(batches: Iterable[Batch]) -> tuple[Tensor, Tensor | None]:
    """The first reals that training will show, and their classes."""
    first: list[Batch] = []
    for batch in batches:
        first.append(batch)
        if sum(map(len, first)) >= STARTING:
            break
    y = [batch.y for batch in first if batch.y is not None]
    return torch.cat([batch.x for batch in first])[:STARTING], torch.cat(y)[:STARTING] if y else None
