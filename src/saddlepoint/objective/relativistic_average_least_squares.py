"""Relativistic average least squares: a = D(x) - E D(G(z)) regresses to 1 for D, b = D(G(z)) - E D(x) to -1.

Jolicoeur-Martineau 2018 (arXiv:1807.00734), appendix (RaLSGAN).
"""

from torch import Tensor

from saddlepoint.objective.relativistic_average import relative_logits


def discriminator(real: Tensor, fake: Tensor) -> Tensor:
    """(E[(a - 1)^2] + E[(b + 1)^2]) / 2, a scalar."""
    a, b = relative_logits(real, fake)
    return ((a - 1).square().mean() + (b + 1).square().mean()) / 2


def generator(real: Tensor, fake: Tensor) -> Tensor:
    """(E[(a + 1)^2] + E[(b - 1)^2]) / 2, a scalar."""
    return discriminator(fake, real)
