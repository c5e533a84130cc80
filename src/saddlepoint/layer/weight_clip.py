"""Weight clipping: after each step of D every weight is set to the nearest number in [-c, c].

Arjovsky et al. 2017 (arXiv:1701.07875), algorithm 1, line 7, with c = 0.01, together with RMSprop of rate 5e-5 and five
steps of D per step of G.  As in the authors' code all parameters are clipped, biases and those of norms included.
"""

from typing import Any

import torch
from torch import nn

from saddlepoint.turn import UNCONDITIONAL, Condition, Turn


class WeightClip(nn.Module):
    """`network` with all parameters clipped to [-limit, limit] after every turn; those inside do not change.

    The initial weights are clipped after the first turn.  A moving average of the network is updated before the
    clipping, and is then clipped itself.
    Raises ValueError unless limit > 0.
    """

    def __init__(self, network: nn.Module, limit: float = 0.01) -> None:
        super().__init__()
        if limit <= 0:
            raise ValueError(f"weight clip: limit={limit} must be above 0: it is the largest absolute weight")
        self.network, self.limit = network, limit

    def forward(self, x: Any, condition: Condition = UNCONDITIONAL) -> Any:
        """The output of `network`."""
        return self.network(x, condition)

    @torch.no_grad()
    def after_turn(self, player: str, turn: Turn) -> None:
        """Clip after the turn of any player: only the turns of its own player change the network."""
        for weight in self.network.parameters():
            weight.clamp_(-self.limit, self.limit)

    def extra_repr(self) -> str:
        return f"limit={self.limit}"
