"""DRAGAN: E(||grad D(x + d)|| - k)^2 near real x.  Kodali et al. 2017 (arXiv:1705.07215), eq. 6 and algorithm 1.

d = C std(x) u with u ~ U(0, 1) per entry, C = 0.5 and std over all entries of the batch, as in the authors' code; the
weight is 10 and k is 1 there.
"""

from collections.abc import Callable

import torch
from torch import Tensor

from saddlepoint import ranks
from saddlepoint.regularizer.regularizer import Regularizer
from saddlepoint.regularizer.seeded_noise import seeded_noise
from saddlepoint.regularizer.slope import squared_slope
from saddlepoint.stream import Stream
from saddlepoint.turn import Sample, Turn


class Dragan(Regularizer):
    """The mean squared deviation of the slope from `target`, at reals perturbed by `scale` standard deviations.

    Raises ValueError unless scale > 0 and target >= 0.
    """

    needs_sample_slope = needs_draw = True
    coupled = over_ranks = True  # the standard deviation is that of the batch

    def __init__(
        self,
        weight: float | Callable[[int], float] = 10.0,
        every: int = 1,
        scale: float = 0.5,
        target: float = 1.0,
    ) -> None:
        super().__init__(weight, every)
        if scale <= 0 or target < 0:
            raise ValueError(f"dragan: scale={scale} must be above 0 and target={target} at least 0")
        self.scale, self.target = scale, target

    def draw(self, n: int, stream: Stream) -> Tensor:
        """A seed for the perturbation of each real, int64 [n]."""
        return stream.integers(2**31 - 1, n)

    def forward(self, turn: Turn) -> Tensor:
        """E(||grad D(x + d)|| - target)^2, a scalar."""
        real = turn["real"]
        x = real.x.detach()
        uniform = torch.special.ndtr(seeded_noise(turn.term_draw, x))  # the normal distribution function: U(0, 1)
        mean = ranks.mean(x.mean())
        spread = ranks.mean((x - mean).square().mean()).sqrt()
        near = Sample((x + self.scale * spread * uniform).requires_grad_(), real.condition, real.judge)
        return ((squared_slope(near) + 1e-12).sqrt() - self.target).square().mean()
