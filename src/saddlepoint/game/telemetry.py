"""The values that a game logs: losses, logits per side, and gradient norms."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from saddlepoint import ranks
from saddlepoint.game.player import ROLES
from saddlepoint.turn import Turn


def record_turn(game: Any, player: str, losses: Mapping[str, Tensor], turn: Turn) -> None:
    """Store the losses and logits of a player's turn in `game.last_losses`; a lazy term keeps its last value."""
    logits = {}
    for side in game.reported_sides:
        if (sample := turn.samples.get(side)) is not None and sample.is_judged:
            logits[side] = sample.logits.detach()
    values = dict(game.last_losses[player][0]) if player in game.last_losses else {}
    for term, loss in losses.items():
        values[term] = loss.detach()
    game.last_losses[player] = values, logits


def find_reported_sides(game: Any) -> list[str]:
    """Return the sides whose logits are reported: real, fake, and any others that objectives use."""
    objective_sides = (
        s for player in game.players.values() for term in player.adversarial_terms for s in term.sides.values()
    )
    return list(dict.fromkeys([*(role for role in ROLES if role in game.sides), *objective_sides]))


def report(game: Any) -> dict[str, float]:
    """Return the losses, mean logits and probabilities per side, and gradient norms of each player's last turn.

    Keys are <player>/<term>, such as discriminator/r1 and generator/adversarial. Values are means over ranks, so all
    ranks must call it. Norms are taken before clipping. After a resume, a player that has not taken a step yet has the
    values of the checkpoint.
    """
    values: dict[str, Tensor] = {}
    for name, (losses, logits) in game.last_losses.items():
        values |= {f"{name}/{term}": loss for term, loss in losses.items()}
        values |= {f"{name}/logit_{side}": value.mean() for side, value in logits.items()}
        values |= {f"{name}/probability_{side}": value.sigmoid().mean() for side, value in logits.items()}
        values[f"{name}/gradient_norm"] = gradient_norm(game, name)
    if values:
        means = ranks.mean(torch.stack([value.double() for value in values.values()])).tolist()
        game.last_report |= dict(zip(values, means, strict=True))
    return dict(game.last_report)


def gradient_norm(game: Any, name: str) -> Tensor:
    """Return the norm of the last gradient of a player, before clipping; a scalar."""
    if (norm := game.player(name).gradient_norm) is not None:
        return norm
    return nn.utils.get_total_norm([p.grad for p in game.trainable_parameters(name) if p.grad is not None])
