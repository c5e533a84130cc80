"""Path length: E(||J_z^T y|| - a)^2, y ~ N(0, I) in image space, a the running mean of the lengths.

Karras et al. 2019 (arXiv:1912.04958), eq. 4; there with every=4, weight 2 and decay 0.01, and y divided by the square
root of the number of pixels per channel.
"""

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from saddlepoint import ranks
from saddlepoint.regularizer.regularizer import Regularizer
from saddlepoint.regularizer.seeded_noise import seeded_noise
from saddlepoint.stream import Stream
from saddlepoint.turn import Turn


class PathLength(Regularizer):
    """The mean squared deviation of ||J^T y|| from its running mean, over the fakes of a turn.

    decay  weight of the current mean length in the running mean, which is initialised on the first turn
    The gradient is taken with respect to all parts of the latent.
    """

    slope_at = frozenset({"latent"})
    needs_draw = coupled = over_ranks = True
    mean: Tensor

    def __init__(self, weight: float | Callable[[int], float] = 2.0, every: int = 4, decay: float = 0.01) -> None:
        super().__init__(weight, every)
        if not 0 < decay <= 1:
            raise ValueError(f"path length: decay={decay} must be above 0 and at most 1")
        self.decay = decay
        self.register_buffer("mean", torch.zeros(()))
        self.register_buffer("turns", torch.zeros((), dtype=torch.int64))

    def draw(self, n: int, stream: Stream) -> Any:
        """Draw a seed per fake for its direction y, since the shape of a sample is not known before the turn."""
        return stream.integers(2**31 - 1, n)

    def forward(self, turn: Turn) -> Tensor:
        """Return the penalty, a scalar."""
        x, latents = turn["fake"].x, list(turn.latent.values())
        y = seeded_noise(turn.term_draw, x) / math.sqrt(math.prod(x.shape[2:]))
        slopes = torch.autograd.grad((x[: len(y)] * y).sum(), latents, create_graph=True)
        lengths = torch.cat([slope[: len(y)].flatten(1) for slope in slopes], 1).square().sum(1).sqrt()
        mean = ranks.mean(lengths.mean().detach()).to(self.mean)
        self.mean.lerp_(mean, self.decay if self.turns else 1.0)
        self.turns += 1
        return (lengths - self.mean).square().mean()
