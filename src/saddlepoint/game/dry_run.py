"""One round on copies, before anything is written: what would train nothing, or train on a wrong slope, is refused.

Nothing of the game changes: networks and terms are copied, streams and torch's global generators are put back.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator
from contextlib import contextmanager
from typing import cast

import torch
from torch import Tensor, nn

from saddlepoint import ranks
from saddlepoint.error import Mistake, kind, line_of
from saddlepoint.game.game import BatchNorm, Game
from saddlepoint.game.player import Player
from saddlepoint.regularizer.regularizer import Regularizer
from saddlepoint.schedule.schedule import moves
from saddlepoint.turn import Batch, Turn

ROWS = 8  # of the batch: enough for a layer that compares samples, and cheap for a large network
NAMED = 4  # parameters that a line names


def dry_run(game: Game, batch: Batch) -> None:
    """Play every player's turn on copies, on the first rows of `batch`.

    Raises Mistake where a loss of a player does not reach parameters of its network (frozen ones excepted; those whose
    terms have the constant weight 0 too), and where a term takes the slope of D at each sample though D's logit of one
    sample depends on the others of its batch, as it does behind batch norm.
    """
    with _copied(game) as trial, torch.enable_grad(), ranks.apart():
        trial.train()
        rows = _first_rows(batch)
        for name in trial.players:
            player = trial.player(name)
            latent = trial.prior.sample(len(rows) * player.multiple, trial.streams["latent"])
            turn = trial.turn(rows, latent, [player])
            for own, term in player.terms.items():
                if _counts(term) and (term.slope_at or term.sample_slope):
                    _refuse_coupled(f"regularizer.{name}.{own}", trial.discriminator.network, turn)
            _refuse_unreached(name, player, turn)


def _refuse_unreached(name: str, player: Player, turn: Turn) -> None:
    """Raise Mistake where no loss of a player reaches one of its parameters, by name."""
    moved = {place: p for place, p in player.network.named_parameters() if p.requires_grad}
    losses = [
        _scalar(f"regularizer.{name}.{own}", term(turn), term) for own, term in player.terms.items() if _counts(term)
    ]
    if player.objective is not None and _counts(player):
        losses.insert(0, _scalar(f"objective.{name}", player.adversarial(turn), player.objective))
    silent = len(losses) < len(player.terms) + (player.objective is not None)  # weight 0: a control, and meant so
    if not losses or not moved:
        return
    total = cast(Tensor, sum(losses))
    reached = torch.autograd.grad(total, list(moved.values()), allow_unused=True) if total.requires_grad else ()
    missing = [place for place, gradient in zip(moved, reached or [None] * len(moved), strict=True) if gradient is None]
    if not missing or (silent and len(missing) < len(moved)):
        return
    places = ", ".join(missing[:NAMED]) + (f" and {len(missing) - NAMED} more" if len(missing) > NAMED else "")
    raise Mistake(
        f"no loss of {name} reaches {'any' if len(missing) == len(moved) else len(missing)} of its {len(moved)} "
        f"parameters, so they would never move: {places}. Look for a detach() or a layer that is not used, or freeze "
        "them: requires_grad_(False)"
    )


def _scalar(path: str, loss: object, piece: object) -> Tensor:
    """The loss.  Raises Mistake where it is no scalar tensor."""
    if not isinstance(loss, Tensor) or loss.ndim:
        raise Mistake(f"{path} gives {kind(loss)}, and it is to give a scalar tensor: take the mean{line_of(piece)}")
    return loss


def _refuse_coupled(term: str, discriminator: nn.Module, turn: Turn) -> None:
    """Raise Mistake where D's logit of the first sample depends on another sample."""
    x = turn.real.x.detach().clone().requires_grad_()
    logits = discriminator(x, turn.real.y).logits
    if len(x) < 2 or len(logits) != len(x) or not logits.requires_grad:
        return
    (slope,) = torch.autograd.grad(logits[0].sum(), x, allow_unused=True)
    if slope is None or not slope[1:].any():
        return
    layers = [(p, m) for p, m in discriminator.named_modules() if isinstance(m, BatchNorm) or getattr(m, "coupled", 0)]
    where = f" ({type(layers[0][1]).__name__} at {layers[0][0]})" if layers else ""
    norm = any(isinstance(layer, BatchNorm) for _, layer in layers)
    mend = "architecture.discriminator.norm=null leaves it out" if norm else "Leave out the layer that compares samples"
    raise Mistake(
        f"{term} takes the slope of the discriminator at each sample, and this one's logit of a sample depends on the "
        f"others of its batch{where}, so the penalty would be wrong. {mend}, or drop the penalty"
    )


def _counts(term: Regularizer | Player) -> bool:
    """Whether a term, or a player's objective, will ever count: its weight is not the constant 0."""
    return moves(term.weight) or term.weight != 0


def _first_rows(batch: Batch) -> Batch:
    labelled = batch.labelled and (batch.labelled[0][:ROWS], batch.labelled[1][:ROWS])
    return Batch(batch.x[:ROWS], None if batch.y is None else batch.y[:ROWS], labelled)


@contextmanager
def _copied(game: Game) -> Iterator[Game]:
    """The game with copies of its players; its streams and torch's generators end as they began."""
    states = {name: stream.state for name, stream in game.streams.items()}
    trial = copy.copy(game)
    trial._modules = {**game._modules, "players": copy.deepcopy(game.players)}
    trial._compiled = {}
    with torch.random.fork_rng(devices=[]):
        yield trial
    for name, state in states.items():
        game.streams[name].state = state
