"""Historical averaging: || theta - (1/t) sum_{i<=t} theta[i] ||^2.  Salimans et al. 2016 (arXiv:1606.03498), 3.3.

The mean over a player's turns so far, this one included, is kept online and is a constant of the gradient. The paper
gives no coefficient and its code has no such term: the weight is to be searched (0.1 settles the paper's toy game
fastest; 0.01 is too weak there, 1 too slow).
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from saddlepoint.regularizer.regularizer import Regularizer
from saddlepoint.turn import Turn


class HistoricalAveraging(Regularizer):
    """The squared distance of the player's weights from their mean over its turns, summed over all that it moves.

    With every=k the mean is over each k-th turn, those on which the term is due.
    """

    def __init__(self, weight: float | Callable[[int], float] = 1.0, every: int = 1) -> None:
        super().__init__(weight, every)
        self.turns = 0
        self.images = -1  # before the turn last counted: a turn that is played in parts counts once
        self.mean: dict[str, Tensor] = {}

    def forward(self, turn: Turn) -> Tensor:
        """||theta - mean||^2 over the parameters that turn.player moves, a scalar; 0 on its first turn."""
        weights = {name: p for name, p in turn.player.network.named_parameters() if p.requires_grad}
        if turn.images != self.images:
            self.turns, self.images = self.turns + 1, turn.images
            self._remember(weights)
        gaps = [(p - self.mean[name].to(p.dtype)).square().sum() for name, p in weights.items()]
        return torch.stack(gaps).sum()

    @torch.no_grad()
    def _remember(self, weights: dict[str, Tensor]) -> None:
        """mean <- mean + (theta - mean) / t, in float64: in float32 a step of 1 / t is rounded away for large t."""
        for name, p in weights.items():
            theta = p.detach().to(torch.float32 if p.device.type == "mps" else torch.float64)  # mps has no float64
            before = self.mean.get(name, theta).to(theta)
            self.mean[name] = before + (theta - before) / self.turns

    def get_extra_state(self) -> dict[str, Any]:
        """The mean and how many turns it is of; no buffers, since the network is met on the first turn."""
        return {"turns": self.turns, "images": self.images, "mean": self.mean}

    def set_extra_state(self, state: dict[str, Any]) -> None:
        self.turns, self.images, self.mean = state["turns"], state["images"], dict(state["mean"])
