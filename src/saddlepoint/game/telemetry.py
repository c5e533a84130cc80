"""What a game shows of itself: losses by the table's cells, logits by side, gradient norms."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from saddlepoint import ranks
from saddlepoint.game.player import ROLES
from saddlepoint.turn import Turn


def record_turn(game: Any, name: str, losses: Mapping[str, Tensor], turn: Turn) -> None:
    """Keep what a player's turn has shown; a lazy term stays as it was when last due."""
    made = ((side, turn.samples[side]) for side in game.reported_sides if side in turn.samples)
    seen = {side: sample.logits.detach() for side, sample in made if "output" in vars(sample)}
    earlier = game.last_losses.get(name, ({}, {}))[0]
    game.last_losses[name] = {**earlier, **{term: loss.detach() for term, loss in losses.items()}}, seen


def find_reported_sides(game: Any) -> list[str]:
    """The sides whose logits are reported: real, fake, and what objectives look at beside them."""
    looked = (
        side for player in game.players.values() for look in player.adversarial_terms for side in look.sides.values()
    )
    return list(dict.fromkeys([*(role for role in ROLES if role in game.sides), *looked]))


def report(game: Any) -> dict[str, float]:
    """What each player's last turn showed: its losses, the mean logit and probability per side, gradient norms.

    Means over ranks, so every rank has to ask. Norms are those before clipping. The keys are the cells of the table:
    discriminator/r1, generator/adversarial.
    """
    shown: dict[str, Tensor] = {}
    for name, (losses, logits) in game.last_losses.items():
        shown |= {f"{name}/{term}": loss for term, loss in losses.items()}
        shown |= {f"{name}/logit_{side}": value.mean() for side, value in logits.items()}
        shown |= {f"{name}/probability_{side}": value.sigmoid().mean() for side, value in logits.items()}
        shown[f"{name}/gradient_norm"] = gradient_norm(game, name)
    if shown:
        of_all = ranks.mean(torch.stack([value.double() for value in shown.values()])).tolist()
        game.last_report |= dict(zip(shown, of_all, strict=True))
    return dict(game.last_report)  # of who has not moved since a resume, what the checkpoint says


def gradient_norm(game: Any, name: str) -> Tensor:
    """The length of the gradient that `name` last followed, before clipping; a scalar."""
    if (norm := game.player(name).gradient_norm) is not None:
        return norm
    return nn.utils.get_total_norm([p.grad for p in game.trainable_parameters(name) if p.grad is not None])
