"""The toy game of historical averaging.  Salimans et al. 2016 (arXiv:1606.03498), section 3.3.

    min_x max_y (f(x) - 1)(y - 1),  f(x) = x for x < 0, else x^2

The generator is the number x, the discriminator the number y, with logit -(f(x) - 1)(y - 1) at x. Under the wasserstein
objective each player descends its own loss, and a real at 1 adds 0, since f(1) = 1. The equilibrium is (1, 1); plain
gradient descent orbits it.
"""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from saddlepoint.turn import UNCONDITIONAL, Condition, DiscriminatorOutput


class Generator(nn.Module):
    """x, independent of the latent."""

    def __init__(self, shape: Sequence[int], start: float = 1.5) -> None:
        super().__init__()
        self.x = nn.Parameter(torch.full(tuple(shape), float(start)))

    def forward(self, latent: Mapping[str, Tensor], condition: Condition = UNCONDITIONAL) -> Tensor:
        """Return x repeated N times, [N, *shape]."""
        return self.x.expand(next(iter(latent.values())).shape[0], *self.x.shape)


class Discriminator(nn.Module):
    """-(f(x) - 1)(y - 1) with one parameter y."""

    def __init__(self, shape: Sequence[int], start: float = 1.5) -> None:
        super().__init__()
        self.y = nn.Parameter(torch.full(tuple(shape), float(start)))

    def forward(self, x: Tensor, condition: Condition = UNCONDITIONAL) -> DiscriminatorOutput:
        """Return logits [N]; the only feature is x."""
        f = torch.where(x < 0, x, x.square())
        return DiscriminatorOutput((-(f - 1) * (self.y - 1)).flatten(1).sum(1), {"x": x})
