"""Dirac-GAN, the simplest game.  Mescheder et al. 2018 (arXiv:1801.04406), definition 2.1.

The generator is a point theta, the discriminator a slope psi: D(x) = psi . x. Both are initialised to `start`.
"""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from saddlepoint.turn import UNCONDITIONAL, Condition, DiscriminatorOutput


class Generator(nn.Module):
    """theta [*shape], independent of the latent."""

    def __init__(self, shape: Sequence[int], start: float = 1.0) -> None:
        super().__init__()
        self.theta = nn.Parameter(torch.full(tuple(shape), float(start)))

    def forward(self, latent: Mapping[str, Tensor], condition: Condition = UNCONDITIONAL) -> Tensor:
        """Return theta repeated N times, [N, *shape]."""
        n = next(iter(latent.values())).shape[0]
        return self.theta.expand(n, *self.theta.shape)


class Discriminator(nn.Module):
    """psi . x, without a bias."""

    def __init__(self, shape: Sequence[int], start: float = 1.0) -> None:
        super().__init__()
        self.psi = nn.Parameter(torch.full(tuple(shape), float(start)))

    def forward(self, x: Tensor, condition: Condition = UNCONDITIONAL) -> DiscriminatorOutput:
        """Return logits [N]; the only entry of `features` is x."""
        return DiscriminatorOutput((x * self.psi).flatten(1).sum(1), {"x": x})
