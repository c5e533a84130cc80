"""Least squares: D's targets are b for reals and a for fakes; G's target is c.  Mao et al. 2016 (arXiv:1611.04076)."""

from torch import Tensor


def discriminator(real: Tensor, fake: Tensor, a: float = 0.0, b: float = 1.0) -> Tensor:
    """E[(D(x) - b)^2] / 2 + E[(D(G(z)) - a)^2] / 2."""
    return ((real - b).square().mean() + (fake - a).square().mean()) / 2


def generator(fake: Tensor, c: float = 1.0) -> Tensor:
    """E[(D(G(z)) - c)^2] / 2."""
    return (fake - c).square().mean() / 2
