"""torch.compile for the passes of training: all of a maker's, and a judge's where no slope is asked for.

A compiled function has a derivative, and no derivative of that (torch 2.15), which R1 and its kin need.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import nn

from saddlepoint.error import Mistake
from saddlepoint.turn import UNCONDITIONAL, Condition, needs_input_gradient


def compiled(game: Any, backend: str) -> dict[str, Callable[..., Any]]:
    """Each player's network, compiled.

    Raises Mistake where players move at once: a turn is gone back through once per player, a compiled pass can be once.
    """
    if any(len(group) > 1 for group in game.order):
        raise Mistake("players that move at once share one graph, which compiled code throws away: set compile=false")
    return {name: _eager_where_steep(player.network, backend) for name, player in game.players.items()}


def _eager_where_steep(network: nn.Module, backend: str) -> Callable[..., Any]:
    fast = torch.compile(network, backend=backend)

    def ask(x: Any, condition: Condition = UNCONDITIONAL) -> Any:
        return (network if needs_input_gradient(x) else fast)(x, condition)

    return ask
