"""Historical averaging: || theta - (1/t) sum_{i<=t} theta[i] ||^2.  Salimans et al. 2016 (arXiv:1606.03498), 3.3.

The mean over a player's turns so far, including the current one, is updated online and is constant in the gradient. The
paper gives no coefficient and its code has no such term, so the weight must be tuned (on the paper's toy game 0.1
converges fastest, 0.01 is too weak and 1 too slow).
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from saddlepoint.regularizer.regularizer import Regularizer
from saddlepoint.turn import Turn


class HistoricalAveraging(Regularizer):
    """The squared distance of the player's trainable parameters from their mean over its turns.

    With every=k the mean is over every k-th turn, on which the term is due.
    """

    def __init__(self, weight: float | Callable[[int], float] = 1.0, every: int = 1) -> None:
        super().__init__(weight, every)
        self.turns = 0
        self.images = -1  # at the last counted turn; an accumulated turn counts once
        self.mean: dict[str, Tensor] = {}

    def forward(self, turn: Turn) -> Tensor:
        """Return ||theta - mean||^2 over the trainable parameters of turn.player, a scalar; 0 on the first turn."""
        weights = {name: p for name, p in turn.player.network.named_parameters() if p.requires_grad}
        if turn.images != self.images:
            self.turns, self.images = self.turns + 1, turn.images
            self._update_mean(weights)
        gaps = [(p - self.mean[name].to(p.dtype)).square().sum() for name, p in weights.items()]
        return torch.stack(gaps).sum()

    @torch.no_grad()
    def _update_mean(self, weights: dict[str, Tensor]) -> None:
        """mean <- mean + (theta - mean) / t, in float64: float32 rounds steps of 1 / t away for large t."""
        for name, p in weights.items():
            theta = p.detach().to(torch.float32 if p.device.type == "mps" else torch.float64)  # mps has no float64
            mean = self.mean.get(name, theta).to(theta)
            self.mean[name] = mean + (theta - mean) / self.turns

    def get_extra_state(self) -> dict[str, Any]:
        """Return the mean and its number of turns; not buffers, since the network is unknown before the first turn."""
        return {"turns": self.turns, "images": self.images, "mean": self.mean}

    def set_extra_state(self, state: dict[str, Any]) -> None:
        self.turns, self.images, self.mean = state["turns"], state["images"], dict(state["mean"])
