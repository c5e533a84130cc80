"""Samples of a game: from its averaged networks, in evaluation mode, of streams that training does not draw from."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from saddlepoint.error import Mistake
from saddlepoint.game.average import BatchNorm
from saddlepoint.game.player import Player
from saddlepoint.game.side import LATENT, entries
from saddlepoint.stream import Stream


def sampled(game: Any) -> list[str]:
    """The players that make the side which samples are drawn from, in order."""
    return [name for name in game.sides[game.samples].by if name in game.players]


def sampled_player(game: Any) -> Player:
    """The player whose network makes samples of latents.

    Raises Mistake where the side starts from something else, or is made in several steps: no batch is at hand here.
    """
    side = game.sides[game.samples]
    if side.of != LATENT or len(side.by) != 1 or side.by[0] not in game.players:
        raise Mistake(
            f"game.samples={game.samples}: samples are drawn of the latent by one player, and this side starts from "
            f"{side.of} by {', '.join(side.by) or 'nobody'}"
        )
    if side.condition not in (None, "y"):
        raise Mistake(
            f"game.samples={game.samples}: samples are drawn of the latent and the class, condition: y, and this side "
            f"is made under {', '.join(entries(side.condition))}"
            + (" as a mapping" if isinstance(side.condition, Mapping) else "")
        )
    return game.player(side.by[0])


def judged_alone(game: Any) -> bool:
    """Whether somebody judges samples by themselves and their classes: not as BiGAN's, beside a code."""
    side = game.sides[game.samples]
    return side.judge is not None and side.judge_condition in (None, "y")


def judge(game: Any) -> Player:
    """The player that judges the side which samples are drawn from.

    Raises Mistake where nobody does, or where it sees more than samples and their classes: no batch is at hand here.
    """
    side = game.sides[game.samples]
    if side.judge is None:
        raise Mistake(f"game.samples={game.samples}: nobody judges this side")
    if not judged_alone(game):
        raise Mistake(
            f"game.samples={game.samples}: {side.judge} judges it beside {', '.join(entries(side.judge_condition))}, "
            "so it has no logits for samples alone"
        )
    return game.player(side.judge)


def classes(game: Any) -> int | None:
    """How many classes the sampled player can be asked for; None where it is asked for none."""
    return getattr(sampled_player(game).network, "classes", None)


def labels(game: Any, n: int, stream: Stream) -> Tensor | None:
    """n classes, each as probable as the other, where samples are asked for by class; else None."""
    of = classes(game)
    return None if of is None else stream.integers(of, n)


def sampling_network(game: Any, average: bool = True) -> tuple[nn.Module, str]:
    """The network that samples come from, and whose weights those are: "averaged" or "raw".

    Raises Mistake where these are not at hand.
    """
    player = sampled_player(game)
    kept = player.average
    if not average or kept is None:
        if game.has_only_average:
            raise Mistake("snapshots hold averaged weights: average=false finds nothing in them; checkpoints do")
        return player.network, "raw"
    if kept.statistics == "reestimated" and kept.stale:
        kept.reestimate(_statistics_batches(game))
    return kept.network, "averaged"


def _statistics_batches(game: Any, batches: int = 16, size: int = 256) -> Iterator[tuple[Any, Any]]:
    stream = Stream(game.seed, "statistics", device=game.device, joint=True)
    return ((game.prior.sample(size, stream), labels(game, size, stream)) for _ in range(batches))


def latents(game: Any, n: int, seed: int | None = None) -> dict[str, Tensor]:
    """n latents, the named parts of the prior: [n, dim] each, on the game's device.

    The same ones at each call: those of `sample(n)`, or of another seed where one is given.
    """
    return game.prior.sample(n, Stream(game.seed if seed is None else seed, "evaluation", device=game.device))


@torch.no_grad()
def samples_of(
    game: Any,
    latent: Mapping[str, Tensor],
    y: Tensor | None = None,
    average: bool = True,
    batch_norm: str = "running",
) -> Tensor:
    """The samples [N, *shape] in [-1, 1], or points, of latents with parts [N, dim], in evaluation mode.

    y [N] are the classes asked for; None: those that `sample(N)` draws, where samples are asked for by class.
    batch_norm="batch" normalises by the statistics of these N samples instead of the running ones, which stay as they
    are.  Raises ValueError for latents of another prior.
    """
    expected = {name: part.dim for name, part in game.prior.items()}
    if {name: part.shape[-1] for name, part in latent.items() if part.ndim == 2} != expected:
        found = {name: list(part.shape) for name, part in latent.items()}
        raise ValueError(f"latents of this game have parts {expected} (name: dim), each [N, dim]; these are {found}")
    network, _ = sampling_network(game, average)
    if y is None:
        n = len(next(iter(latent.values())))
        y = labels(game, n, Stream(game.seed, "evaluation", device=game.device).child("labels"))
    code = {name: part.to(game.device) for name, part in latent.items()}
    modes = [(module, module.training) for module in network.modules()]
    try:
        with _batch_statistics(network if batch_norm == "batch" else None):
            return network.eval()(code, None if y is None else y.to(game.device))
    finally:
        for module, mode in modes:
            module.training = mode


def sample(
    game: Any,
    n: int,
    y: Tensor | None = None,
    stream: Stream | None = None,
    average: bool = True,
    batch_norm: str = "running",
) -> Tensor:
    """n samples in evaluation mode, of the average where there is one; [n, *shape] on the game's device.

    `stream` defaults to a fresh evaluation stream of this game's seed: the same latents at each call; y, where samples
    are asked for by class, to classes drawn from its child `labels`.  n samples and then m of one stream are the n + m
    drawn at once.
    """
    stream = stream or Stream(game.seed, "evaluation")
    stream.device = game.device
    y = labels(game, n, stream.child("labels")) if y is None else y
    return samples_of(game, game.prior.sample(n, stream), y, average, batch_norm)


@contextmanager
def _batch_statistics(network: nn.Module | None) -> Iterator[None]:
    """Batch norm without running statistics, which makes it use the batch's own; they are put back afterwards."""
    layers = [m for m in network.modules() if isinstance(m, BatchNorm)] if network else []
    kept = [(layer.running_mean, layer.running_var) for layer in layers]
    try:
        for layer in layers:
            layer.running_mean = layer.running_var = None
        yield
    finally:
        for layer, (mean, variance) in zip(layers, kept, strict=True):
            layer.running_mean, layer.running_var = mean, variance
